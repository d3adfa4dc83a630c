"""Programs on grids: stencils with slices assigned, masks, sweeps."""
import numpy as np


def heat(u, k, steps=5):
    """Explicit steps of the heat equation, with fixed edges."""
    for _ in range(steps):
        new = u.copy()
        new[1:-1, 1:-1] = u[1:-1, 1:-1] + k * (
            u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        u = new
    return u


def wave(u, v, dt):
    """One leapfrog step of the wave equation, both fields changed in place."""
    laplacian = np.zeros_like(u)
    laplacian[1:-1] = u[2:] - 2 * u[1:-1] + u[:-2]
    v += dt * laplacian
    u += dt * v


def life(grid, generations=3):
    """Conway's game on a torus."""
    for _ in range(generations):
        neighbors = sum(np.roll(np.roll(grid, i, 0), j, 1) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
        grid = ((neighbors == 3) | ((grid == 1) & (neighbors == 2))).astype(grid.dtype)
    return grid


def jacobi(A, b, iterations=10):
    """Jacobi iterations for A x = b."""
    x = np.zeros_like(b)
    D = np.diag(A)
    R = A - np.diagflat(D)
    for _ in range(iterations):
        x = (b - R @ x) / D
    return x


def mandelbrot(width, height, iterations=12):
    """How long each point stays: only points that are still inside are computed."""
    x = np.linspace(-2.0, 0.6, width)
    y = np.linspace(-1.2, 1.2, height)
    return escape_times(x, y, iterations)


def escape_times(x, y, iterations=12):
    """The inner part of mandelbrot, in real numbers."""
    cr, ci = np.meshgrid(x, y)
    zr, zi = np.zeros_like(cr), np.zeros_like(ci)
    times = np.zeros(cr.shape, dtype=np.int64)
    inside = np.ones(cr.shape, dtype=bool)
    for _ in range(iterations):
        a, b = zr[inside], zi[inside]
        zr[inside] = a * a - b * b + cr[inside]
        zi[inside] = 2 * a * b + ci[inside]
        inside = zr * zr + zi * zi < 4
        times[inside] += 1
    return times


def floyd_warshall(distances):
    """All shortest paths, in place on a copy."""
    d = distances.copy()
    n = len(d)
    np.fill_diagonal(d, 0)
    for k in range(n):
        d = np.minimum(d, d[:, k, None] + d[None, k, :])
    return d
