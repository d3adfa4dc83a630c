"""Programs that loop or recur as long as their values ask for: iterations, solvers, networks of changing depth."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from control_flow_programs import EXPERTS, Program, Seed, lists, numbers, scalars, signed_lists, vectors, weights

import tracegrad as tg

# ---- loops ----------------------------------------------------------------------------------------------------------


def newton(a):
    """The square root."""
    x = a * 0.5 + 0.5
    while abs(x * x - a) > 1e-12 * a:
        x = x - (x * x - a) / (2 * x)
    return x


def fixed_point(b):
    """x = cos(x + b)."""
    x = b
    while True:
        new = tg.cos(x + b)
        if (new - x).abs().max() < 0.03:
            return new
        x = new


def bisection(c):
    """The root of x**3 + x = c in [-2, 2]."""
    low, high = c * 0 - 2, c * 0 + 2
    for _ in range(8):
        middle = (low + high) * 0.5
        if middle * middle * middle + middle > c:
            high = middle
        else:
            low = middle
    return (low + high) * 0.5 + c


def backtracking(x):
    """One step down, the largest of 1, 1/2, 1/4, ... that decreases enough."""
    def value(x):
        return (x * x * x * x).sum() + (x * x).sum()

    slope = 4 * x * x * x + 2 * x
    rate = 1.0
    while value(x - rate * slope) > value(x) - 0.1 * rate * (slope * slope).sum():
        rate *= 0.5
    return x - rate * slope


def break_and_continue(xs):
    total = xs[0] * 0.0
    for x in xs:
        if x.sum() < 0:
            continue
        if x.sum() > 4:
            break
        total = total * 0.5 + x
    else:
        total = total + 100
    return total


def nested_while(x):
    """Multiply below 10, halving back above 4, until two rounds are done."""
    rounds = 0
    while rounds < 2:
        while x < 10:
            x = x * 3
        while x > 4:
            x = x / 2
        rounds += 1
    return x


def escape(re, im):
    """The number of steps in which z*z + c leaves the disk of radius 2, and where to."""
    a, b = re * 0, im * 0
    for k in range(9):
        if a * a + b * b > 4:
            return a, b, k
        a, b = a * a - b * b + re, 2 * a * b + im
    return a, b, None


def gram_schmidt(rows):
    """An orthonormal basis of what the rows span."""
    basis: list[Any] = []
    for k in range(rows.shape[0]):
        v = rows[k]
        for e in basis:
            v = v - (v * e).sum() * e
        norm = (v * v).sum().sqrt()
        if norm > 1e-6:
            basis.append(v / norm)
    return tg.stack(basis)


def conjugate_gradients(b):
    """Solve (A'A + I) x = b."""
    a = EXPERTS[1]
    x, r = b * 0, b
    p, rr = r, (r * r).sum()
    for _ in range(5):
        if rr < 1e-16:
            break
        q = (p @ a.T) @ a + p
        step = rr / (p * q).sum()
        x, r = x + step * p, r - step * q
        before, rr = rr, (r * r).sum()
        p = r + rr / before * p
    return x


def decay(y):
    return -y * (y + 2.0)


def adaptive_ode(y):
    """y' = -y (y + 2) from 0 to 1 by Bogacki and Shampine's pair; steps are tensors, accepted or made again shorter."""
    t, h = y.sum() * 0, y.sum() * 0 + 0.5
    k1 = decay(y)
    while t < 1:
        if t + h > 1:
            h = 1 - t
        k2 = decay(y + h * 0.5 * k1)
        k3 = decay(y + h * 0.75 * k2)
        new = y + h * (k1 * (2 / 9) + k2 * (1 / 3) + k3 * (4 / 9))
        k4 = decay(new)
        error = (h * (k1 * (-5 / 72) + k2 * (1 / 12) + k3 * (1 / 9) - k4 * (1 / 8))).abs().max()
        if error <= 1e-2:
            t, y, k1 = t + h, new, k4
            if error < 1e-3:
                h = h * 2
        else:
            h = h * 0.5
    return y


# ---- networks -------------------------------------------------------------------------------------------------------

STAGES = [weights(3, 3, seed=10 + k) for k in range(3)]
HEADS = [weights(3, 4, seed=20 + k, scale=1.5) for k in range(3)]
WORDS = weights(6, 3, seed=30)
JOIN = weights(6, 3, seed=31)


def early_exit(x):
    """A deep network that answers as soon as it is sure."""
    p = x
    for stage, head in zip(STAGES, HEADS):
        x = tg.tanh(x @ stage) + x
        p = tg.softmax(x @ head, axis=-1)
        if p.max() > 0.8:
            break
    return p


def rnn(xs):
    h = xs[0] * 0.0
    for x in xs:
        h = tg.tanh(x @ STAGES[0] + h @ STAGES[1])
    return h


def tree_network(tree):
    """A tree is a word, an index of one, or a pair of trees."""
    if isinstance(tree, tuple):
        left, right = (tree_network(t) for t in tree)
        return tg.tanh(tg.concat([left, right]) @ JOIN)
    return WORDS[tree] if isinstance(tree, int) else tree


def rejection_sampling(bound, generator):
    """Uniform points until one lies below a parabola."""
    tries = 0
    while True:
        u, v = tg.rand(generator=generator, dtype="float64"), tg.rand(generator=generator, dtype="float64")
        tries += 1
        if v < bound * (4 * u * (1 - u)):
            return u * bound, tries


def positive_parts(xs) -> Iterator[Any]:
    for x in xs:
        if x.sum() > 0:
            yield x
        elif x.max() > 0:
            yield x * 0.5


def with_generator(xs):
    total = xs[0] * 0.0
    for part in positive_parts(xs):
        total = total * 2 + part
    return total


PROGRAMS = (
    Program(newton, scalars(2.0, 10.0, 1.0)),
    Program(fixed_point, ((np.array([0.2, 0.3]),), (np.array([-0.5, -1.0]),)), exact=False),
    Program(bisection, scalars(0.7, -3.0, 5.0)),
    Program(backtracking, ((np.array([0.1, 0.2]),), (np.array([2.0, 1.0]),))),
    Program(break_and_continue, signed_lists()),
    Program(nested_while, scalars(1.0, 5.0, 30.0)),
    Program(escape, tuple((np.array(a), np.array(b)) for a, b in ((0.0, 0.1), (1.0, 1.0), (-0.5, 1.0)))),
    Program(gram_schmidt, ((numbers(3, 4),), (np.array([[1.0, 0, 1, 0], [2.0, 0, 2, 0], [0.0, 1, 0, 1]]),)),
            exact=False),
    Program(conjugate_gradients, vectors(1, 2), exact=False, parameters=(EXPERTS[1],)),
    Program(adaptive_ode, ((np.array([0.1, 0.2]),), (np.array([1.0, 3.0]),))),
    Program(early_exit, tuple((numbers(3, seed=seed) * scale,) for seed, scale in ((1, 0.1), (5, 1.0), (3, 4.0))),
            exact=False, parameters=(*STAGES, *HEADS)),
    Program(rnn, lists(2, 3, 5), exact=False, parameters=(STAGES[0], STAGES[1])),
    Program(tree_network, tuple((tree,) for tree in (
        (numbers(3), 1), ((numbers(3), 2), 3), (4, ((numbers(3), 0), (1, 2))))), exact=False, parameters=(WORDS, JOIN)),
    Program(rejection_sampling, tuple((np.array(0.5), Seed(k)) for k in (1, 2, 3))),
    Program(with_generator, signed_lists()),
)
