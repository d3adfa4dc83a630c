"""The programs with arguments for them, and why some are not replayed."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from examples.numpy_programs import grids, images, matrices, models
from tracegrad import Abort


@dataclass(frozen=True, slots=True)
class Program:
    """A function of NumPy arrays; `arguments` makes new ones of some size.

    `reason`: why it runs eagerly, if it does. `made`: is it given no array, so that its first call shows what it is?
    """

    function: Callable[..., Any]
    arguments: Callable[[np.random.Generator, int], tuple[Any, ...]]
    size: int
    reason: Abort | None = None
    made: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__


def _positive(r: np.random.Generator, n: int) -> np.ndarray:
    A = r.normal(size=(n, n))
    return A @ A.T / n + np.eye(n)


def _networks(r: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (r.normal(size=(n, 20)), r.integers(0, 5, n), r.normal(size=(20, 32)) * 0.2, np.zeros(32),
            r.normal(size=(32, 5)) * 0.2, np.zeros(5))


PROGRAMS: tuple[Program, ...] = (
    Program(grids.heat, lambda r, n: (r.random((n, n)), 0.1), 256),
    Program(grids.wave, lambda r, n: (r.random(n), np.zeros(n), 0.1), 100_000),
    Program(grids.life, lambda r, n: (r.integers(0, 2, (n, n)),), 128),
    Program(grids.jacobi, lambda r, n: (_positive(r, n) + n * np.eye(n), r.random(n)), 100),
    Program(grids.escape_times, lambda r, n: (np.linspace(-2.0, 0.6, n), np.linspace(-1.2, 1.2, n)), 200),
    Program(grids.mandelbrot, lambda r, n: (n, n + 10), 200, made=True),
    Program(grids.floyd_warshall, lambda r, n: (r.random((n, n)),), 32),
    Program(images.convolve, lambda r, n: (r.random((n, n)), r.random((3, 3))), 256),
    Program(images.sobel, lambda r, n: (r.random((n, n)),), 256),
    Program(images.bilateral, lambda r, n: (r.random((n, n)),), 128),
    Program(images.moving_average, lambda r, n: (r.random(n),), 100_000),
    Program(images.histogram, lambda r, n: (r.random(n),), 100_000),
    Program(images.spectral_step, lambda r, n: (r.random(n), 0.5), 4096),
    Program(images.resize, lambda r, n: (r.random((n, n)), n // 2, n // 2), 256),
    Program(matrices.cholesky, lambda r, n: (_positive(r, n),), 8),
    Program(matrices.lu, lambda r, n: (_positive(r, n),), 12),
    Program(matrices.power_iteration, lambda r, n: (_positive(r, n),), 100),
    Program(matrices.principal_components, lambda r, n: (r.normal(size=(n, 6)),), 500),
    Program(matrices.conjugate_gradient, lambda r, n: (_positive(r, n), r.random(n)), 100),
    Program(matrices.newton, lambda r, n: (_positive(r, n),), 16),
    Program(models.n_body, lambda r, n: (r.normal(size=(n, 3)), np.zeros((n, 3)), r.random(n)), 100),
    Program(models.k_means, lambda r, n: (r.normal(size=(n, 2)), r.normal(size=(4, 2))), 1000),
    Program(models.attention, lambda r, n: tuple(r.normal(size=(4, n, 32)) for _ in range(3)), 64),
    Program(models.logistic_step, lambda r, n: (np.zeros(20), r.normal(size=(n, 20)), r.integers(0, 2, n)), 1000),
    Program(models.runge_kutta, lambda r, n: (r.random((2, n)) + 0.5, 0.01), 1000),
    Program(models.black_scholes,
            lambda r, n: (r.uniform(50, 150, n), r.uniform(50, 150, n), r.random(n) + 0.1), 100_000),
    Program(models.two_layers, _networks, 64),
    Program(models.monte_carlo, lambda r, n: (r.random((n, 2)),), 1000, Abort.HIDDEN_STATE),
)
"""Every program, with the size at which the speed table is measured."""
