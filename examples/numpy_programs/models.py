"""Programs of statistics, physics and finance."""
import numpy as np


def n_body(position, velocity, mass, dt=0.01, steps=4):
    """Leapfrog steps of gravity between all pairs."""
    for _ in range(steps):
        d = position[None, :, :] - position[:, None, :]
        r2 = (d ** 2).sum(axis=-1) + 0.01
        force = (d * (mass[None, :, None] / (r2 * np.sqrt(r2))[:, :, None])).sum(axis=1)
        velocity = velocity + dt * force
        position = position + dt * velocity
    return position, velocity


def k_means(X, centers, steps=3):
    """Lloyd's steps; an empty cluster keeps its center."""
    centers = centers.copy()
    for _ in range(steps):
        distances = ((X[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2)
        labels = np.argmin(distances, axis=1)
        for k in range(len(centers)):
            chosen = (labels == k)
            count = chosen.sum()
            centers[k] = np.where(count > 0, (X * chosen[:, None]).sum(axis=0) / np.maximum(count, 1), centers[k])
    return labels, centers


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(Q, K, V):
    """Scaled dot products with a causal mask."""
    scores = Q @ np.swapaxes(K, -1, -2) / np.sqrt(Q.shape[-1])
    scores[..., np.triu(np.ones(scores.shape[-2:], dtype=bool), k=1)] = -np.inf
    return softmax(scores) @ V


def logistic_step(w, X, y, rate=0.1):
    """One step of gradient descent, in place; gives the loss."""
    p = 1 / (1 + np.exp(-(X @ w)))
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    w -= rate * X.T @ (p - y) / len(y)
    return loss


def runge_kutta(y, dt, steps=10):
    """Predators and prey by the classical method of order four."""
    def f(y):
        a, b = y
        return np.array([1.1 * a - 0.4 * a * b, 0.1 * a * b - 0.4 * b])

    for _ in range(steps):
        k1 = f(y)
        k2 = f(y + dt / 2 * k1)
        k3 = f(y + dt / 2 * k2)
        k4 = f(y + dt * k3)
        y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def normal_cdf(x):
    """Abramowitz and Stegun, 26.2.17."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * poly
    return np.where(x > 0, 1 - tail, tail)


def black_scholes(spot, strike, time, rate=0.02, volatility=0.3):
    """The price of European calls and puts."""
    root = volatility * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + volatility ** 2 / 2) * time) / root
    d2 = d1 - root
    discounted = strike * np.exp(-rate * time)
    call = spot * normal_cdf(d1) - discounted * normal_cdf(d2)
    return call, call - spot + discounted


def two_layers(X, y, W1, b1, W2, b2, rate=0.1):
    """One step of training a network by hand; the weights change in place."""
    h = np.maximum(X @ W1 + b1, 0)
    p = softmax(h @ W2 + b2)
    n = len(X)
    loss = -np.log(p[np.arange(n), y]).mean()
    g = p.copy()
    g[np.arange(n), y] -= 1
    g /= n
    gh = g @ W2.T
    gh[h <= 0] = 0
    W2 -= rate * h.T @ g
    b2 -= rate * g.sum(axis=0)
    W1 -= rate * X.T @ gh
    b1 -= rate * gh.sum(axis=0)
    return loss


def monte_carlo(points):
    """Pi from random points in a square, some of them its own."""
    more = np.random.random(points.shape)
    inside = (points ** 2).sum(axis=1) < 1
    return 4 * (inside.mean() + ((more ** 2).sum(axis=1) < 1).mean()) / 2
