"""Our counterpart of each function of numpy.linalg and numpy.fft, with NumPy's argument names and orders.

    np.linalg.svd(x, compute_uv=False)  ->  FUNCTIONS[np.linalg.svd](x, compute_uv=False)  ->  tg.linalg.svdvals(x)

eig and eigvals have none: NumPy gives real numbers where all eigenvalues happen to be real. Nor has lstsq, whose
residuals have a shape that depends on the rank. They leave for Python.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import fft, linalg
from tracegrad.numpy_functions import array_like, deliver
from tracegrad.tensors import Tensor


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Tensor:
    """np.linalg.pinv, whose rcond is 1e-15 where neither it nor rtol is given."""
    tolerance = rtol if rtol is not None else 1e-15 if rcond is None else rcond
    return linalg.pinv(array_like("pinv", a), rtol=tolerance)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """np.linalg.svd."""
    return linalg.svd(array_like("svd", a), full_matrices, compute_uv)


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Tensor:
    """np.linalg.matrix_rank."""
    return linalg.matrix_rank(array_like("matrix_rank", A), tol=tol, rtol=rtol)


def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    """np.linalg.multi_dot."""
    return deliver(linalg.multi_dot([array_like("multi_dot", a) for a in arrays]), out)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """np.linalg.norm."""
    return linalg.norm(array_like("norm", x), ord, axis, bool(keepdims))


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """np.linalg.cross."""
    return linalg.cross(array_like("cross", x1), array_like("cross", x2), axis=axis)


def of_arrays(ours: Callable[..., Any], count: int = 1) -> Callable[..., Any]:
    """The function whose first `count` arguments NumPy would make arrays of; NumPy calls the first one `a`."""
    def apply(a: Any, *more: Any, **options: Any) -> Any:
        given = (a, *more)
        return ours(*(array_like(ours.__name__, x) for x in given[:count]), *given[count:], **options)
    apply.__name__ = apply.__qualname__ = ours.__name__
    return apply


def transform(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """A Fourier transform: (a, n or s, axis or axes, norm, out)."""
    def apply(a: Any, n: Any = None, axis: Any = None, norm: str | None = None, out: Any = None, **axes: Any) -> Any:
        several = ours in SEVERAL
        size = axes.pop("s", n) if several else n
        along = axes.pop("axes", axis) if several else axis
        if axes:
            raise TypeError(f"{ours.__name__}: there is no argument {next(iter(axes))}=")
        where = () if along is None and several else (-1 if along is None else along,)
        x = array_like(ours.__name__, a)
        return deliver(ours(x, size, *where, norm=norm), out)
    apply.__name__ = apply.__qualname__ = ours.__name__
    return apply


SEVERAL = frozenset({fft.fftn, fft.ifftn, fft.rfftn, fft.irfftn, fft.fft2, fft.ifft2, fft.rfft2, fft.irfft2})

FUNCTIONS: dict[Callable, Callable] = {
    np.linalg.pinv: pinv, np.linalg.svd: svd, np.linalg.matrix_rank: matrix_rank, np.linalg.multi_dot: multi_dot,
    np.linalg.norm: norm, np.linalg.cross: cross,
    np.linalg.solve: of_arrays(linalg.solve, 2), np.linalg.vecdot: of_arrays(linalg.vecdot, 2),
    np.linalg.outer: of_arrays(linalg.outer, 2), np.linalg.tensordot: of_arrays(linalg.tensordot, 2),
    np.linalg.matmul: of_arrays(linalg.matmul, 2),
    **{getattr(np.linalg, name): of_arrays(getattr(linalg, name)) for name in (
        "inv", "det", "slogdet", "cholesky", "qr", "svdvals", "eigh", "eigvalsh", "matrix_power", "cond",
        "vector_norm", "matrix_norm", "matrix_transpose", "diagonal", "trace")},
    **{getattr(np.fft, name): transform(getattr(fft, name)) for name in (
        "fft", "ifft", "fftn", "ifftn", "fft2", "ifft2", "rfft", "irfft", "rfftn", "irfftn", "rfft2", "irfft2",
        "hfft", "ihfft")},
    np.fft.fftshift: lambda x, axes=None: fft.fftshift(array_like("fftshift", x), axes),
    np.fft.ifftshift: lambda x, axes=None: fft.ifftshift(array_like("ifftshift", x), axes),
}
"""Our function for each of NumPy's that has one."""
