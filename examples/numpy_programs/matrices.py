"""Programs of linear algebra, by rows and columns."""
import numpy as np


def cholesky(A):
    """A = L L^T, one row after another."""
    n = len(A)
    L = np.zeros_like(A)
    for i in range(n):
        for j in range(i + 1):
            s = A[i, j] - L[i, :j] @ L[j, :j]
            L[i, j] = np.sqrt(s) if i == j else s / L[j, j]
    return L


def lu(A):
    """Doolittle's decomposition without pivoting, both factors in one matrix."""
    U = A.astype(float)
    n = U.shape[0]
    for k in range(n - 1):
        U[k + 1:, k] /= U[k, k]
        U[k + 1:, k + 1:] -= np.outer(U[k + 1:, k], U[k, k + 1:])
    return U


def power_iteration(A, steps=20):
    """The largest eigenvalue and its vector."""
    v = np.ones(A.shape[0]) / np.sqrt(A.shape[0])
    for _ in range(steps):
        w = A @ v
        v = w / np.linalg.norm(w)
    return v @ A @ v, v


def principal_components(X, k=2, steps=15):
    """The first components of centered data, by orthogonal iteration."""
    X = X - X.mean(axis=0)
    C = X.T @ X / (len(X) - 1)
    Q = np.eye(C.shape[0])[:, :k]
    for _ in range(steps):
        Q = C @ Q
        for i in range(k):
            for j in range(i):
                Q[:, i] -= (Q[:, j] @ Q[:, i]) * Q[:, j]
            Q[:, i] /= np.sqrt(np.sum(Q[:, i] ** 2))
    return X @ Q


def conjugate_gradient(A, b, steps=8):
    """A fixed number of steps."""
    x = np.zeros_like(b)
    r = b - A @ x
    p = r.copy()
    rs = r @ r
    for _ in range(steps):
        Ap = A @ p
        alpha = rs / (p @ Ap)
        x += alpha * p
        r -= alpha * Ap
        new = r @ r
        p = r + (new / rs) * p
        rs = new
    return x


def newton(A, tolerance=1e-10):
    """The square root of a matrix; how long it takes depends on the values."""
    X = np.eye(len(A))
    while np.abs(X @ X - A).max() > tolerance:
        X = 0.5 * (X + np.linalg.inv(X) @ A)
    return X
