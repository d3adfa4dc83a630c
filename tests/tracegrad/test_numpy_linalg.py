"""numpy.linalg and numpy.fft: on Tensors, and in traced NumPy functions, which are replayed as they stand."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.numpy_linalg import FUNCTIONS

X = np.random.default_rng(0).normal(size=(4, 4)) / 3 + np.diag([1.0, 2.0, 3.0, 4.0])

CALLS: dict[Callable, Callable] = {
    np.linalg.inv: np.linalg.inv, np.linalg.det: np.linalg.det, np.linalg.slogdet: np.linalg.slogdet,
    np.linalg.solve: lambda x: np.linalg.solve(x, x[:, 0]), np.linalg.cholesky: lambda x: np.linalg.cholesky(x @ x.T),
    np.linalg.qr: lambda x: np.linalg.qr(x, mode="complete"),
    np.linalg.svd: lambda x: np.linalg.svd(x, compute_uv=False),
    np.linalg.svdvals: np.linalg.svdvals, np.linalg.eigh: lambda x: np.linalg.eigh(x + x.T)[0],
    np.linalg.eigvalsh: lambda x: np.linalg.eigvalsh(x + x.T, UPLO="U"),
    np.linalg.pinv: lambda x: np.linalg.pinv(x[:, :2]),
    np.linalg.matrix_power: lambda x: np.linalg.matrix_power(x, -2), np.linalg.cond: np.linalg.cond,
    np.linalg.norm: lambda x: np.linalg.norm(x, axis=1), np.linalg.vector_norm: np.linalg.vector_norm,
    np.linalg.matrix_norm: lambda x: np.linalg.matrix_norm(x, ord=1), np.linalg.matrix_rank: np.linalg.matrix_rank,
    np.linalg.multi_dot: lambda x: np.linalg.multi_dot([x, x.T, x[0]]), np.linalg.trace: np.linalg.trace,
    np.linalg.cross: lambda x: np.linalg.cross(x[:, :3], x[:, 1:]), np.linalg.diagonal: np.linalg.diagonal,
    np.linalg.vecdot: lambda x: np.linalg.vecdot(x, x), np.linalg.outer: lambda x: np.linalg.outer(x[0], x[1]),
    np.linalg.tensordot: lambda x: np.linalg.tensordot(x, x, axes=1),
    np.linalg.matmul: lambda x: np.linalg.matmul(x, x),
    np.linalg.matrix_transpose: np.linalg.matrix_transpose,
    np.fft.fft: lambda x: np.fft.fft(x, 6, axis=0), np.fft.ifft: lambda x: np.fft.ifft(x, norm="ortho"),
    np.fft.fftn: np.fft.fftn, np.fft.ifftn: lambda x: np.fft.ifftn(x, s=(3, 5), axes=(0, 1)), np.fft.fft2: np.fft.fft2,
    np.fft.ifft2: lambda x: np.fft.ifft2(x, axes=(1, 0)), np.fft.rfft: np.fft.rfft,
    np.fft.irfft: lambda x: np.fft.irfft(x, 5),
    np.fft.rfftn: np.fft.rfftn, np.fft.irfftn: np.fft.irfftn, np.fft.rfft2: np.fft.rfft2, np.fft.irfft2: np.fft.irfft2,
    np.fft.hfft: np.fft.hfft, np.fft.ihfft: np.fft.ihfft, np.fft.fftshift: np.fft.fftshift,
    np.fft.ifftshift: lambda x: np.fft.ifftshift(x, axes=1),
}


def flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def test_every_function_has_a_call() -> None:
    assert CALLS.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_on_tensors(function: Callable) -> None:
    found, expected = CALLS[function](tg.tensor(X)), CALLS[function](X)
    for y, z in zip(flat(found), flat(expected), strict=True):
        assert isinstance(y, tg.Tensor)
        np.testing.assert_allclose(y.numpy(), z, 1e-10, 1e-12)


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_in_traced_numpy_functions(function: Callable) -> None:
    call = CALLS[function]
    traced = tg.trace(lambda x: call(x))
    for _ in range(3):
        found, expected = traced(X), call(X)
        for y, z in zip(flat(found), flat(expected), strict=True):
            assert type(y) is type(z) and np.asarray(y).dtype == np.asarray(z).dtype
            np.testing.assert_allclose(y, z, 1e-10, 1e-12)
    assert traced.stats.replays >= 1, traced.explain()


def test_integers_are_computed_in_double_precision() -> None:
    f = tg.trace(lambda x: np.linalg.inv(x))
    for _ in range(2):
        assert f(np.array([[2, 0], [0, 4]])).dtype == np.float64
