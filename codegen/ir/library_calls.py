"""Routines of NumPy and SciPy on whole matrices and lines, as ops: their references and type rules.

    slogdet : f64[5,3,3]                      ->  f64[5,2]           the sign, and log|det|
    svd full=false : f32[4,3]                 ->  f32[24]            U[4,3], s[3], Vh[3,3], one after the other

1. An op has one result. Where a routine has several, they are flattened and laid one after the other along the last
   axis, in the dtype of the result; `packing` says which shapes they have. Axes before the matrices are a batch.
2. Element types are f32, f64, c64 and c128. What cannot be computed of the values is numpy.linalg.LinAlgError.
3. A transform (fft) is not scaled in either direction.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from codegen.ir.dims import Size, element_count
from codegen.ir.type_rules import AxisError, TypeRuleError
from codegen.ir.types import PARTS, TensorType

Shape = tuple[Size, ...]

ELEMENTS = frozenset({"f32", "f64", "c64", "c128"})
COMPLEX_OF = {part: whole for whole, part in PARTS.items()}


# ---- what the parts of a packed result are --------------------------------------------------------------------------


def packing(op: str, shape: Shape, **attrs: bool) -> tuple[Shape, ...]:
    """The shapes of the parts of a packed result for a matrix (of the last two axes of `shape`), without the batch."""
    m, n = shape[-2:]
    k = min(m, n)
    match op:
        case "slogdet":
            return (), ()
        case "qr":
            inner = m if attrs["complete"] else k
            return (m, inner), (inner, n)
        case "svd":
            return ((m, m), (k,), (n, n)) if attrs["full"] else ((m, k), (k,), (k, n))
        case "eigh" | "eig":
            return (n,), (n, n)
        case _:
            raise KeyError(op)


def packed_size(parts: Sequence[Shape]) -> Size:
    """The size of the last axis of a packed result."""
    return sum(map(element_count, parts))


def pack(parts: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]], dtype: np.dtype) -> np.ndarray:
    """The parts, each of its shape behind a batch, one after the other along the last axis."""
    flat = [np.reshape(p, (*p.shape[:p.ndim - len(s)], prod(s))) for p, s in zip(parts, shapes)]
    return np.concatenate(flat, axis=-1, dtype=dtype, casting="unsafe")


# ---- type rules -----------------------------------------------------------------------------------------------------


def _matrices(*types: TensorType) -> str:
    """The common dtype of matrices of one batch."""
    first = types[0]
    for type in types:
        if type.dtype not in ELEMENTS:
            raise TypeRuleError(f"{type} is not f32, f64, c64 or c128")
        if type.ndim < 2:
            raise TypeRuleError(f"{type} is no matrix: it has {type.ndim} axes")
        if type.dtype != first.dtype:
            raise TypeRuleError(f"operands {' and '.join(map(str, types))} have different dtypes")
        if type.shape[:-2] != first.shape[:-2]:
            raise TypeRuleError(f"operands {' and '.join(map(str, types))} have different batch shapes")
    return first.dtype


def square(x: TensorType, **attrs: bool) -> TensorType:
    """A function of square matrices that gives such matrices."""
    _matrices(x)
    if x.shape[-1] != x.shape[-2]:
        raise TypeRuleError(f"{x} is not square")
    return x


def determinant(x: TensorType) -> TensorType:
    return TensorType(x.dtype, square(x).shape[:-2])


def log_determinant(x: TensorType) -> TensorType:
    return TensorType(x.dtype, (*square(x).shape[:-2], 2))


def solved(a: TensorType, b: TensorType, **attrs: bool) -> TensorType:
    """The x of a x = b."""
    _matrices(a, b)
    if square(a).shape[-1] != b.shape[-2]:
        raise TypeRuleError(f"operands {a} and {b} do not fit each other ({a.shape[-1]} vs {b.shape[-2]} rows)")
    return b


def factored(x: TensorType, *, complete: bool) -> TensorType:
    _matrices(x)
    return TensorType(x.dtype, (*x.shape[:-2], packed_size(packing("qr", x.shape, complete=complete))))


def decomposed(x: TensorType, *, full: bool) -> TensorType:
    _matrices(x)
    return TensorType(x.dtype, (*x.shape[:-2], packed_size(packing("svd", x.shape, full=full))))


def singular_values(x: TensorType) -> TensorType:
    _matrices(x)
    return TensorType(PARTS.get(x.dtype, x.dtype), (*x.shape[:-2], min(x.shape[-2:])))


def hermitian_vectors(x: TensorType) -> TensorType:
    return TensorType(x.dtype, (*square(x).shape[:-2], packed_size(packing("eigh", x.shape))))


def hermitian_values(x: TensorType) -> TensorType:
    return TensorType(PARTS.get(x.dtype, x.dtype), square(x).shape[:-1])


def general_vectors(x: TensorType) -> TensorType:
    return TensorType(COMPLEX_OF.get(x.dtype, x.dtype), hermitian_vectors(x).shape)


def general_values(x: TensorType) -> TensorType:
    return TensorType(COMPLEX_OF.get(x.dtype, x.dtype), square(x).shape[:-1])


def pseudoinverse(x: TensorType, rtol: TensorType) -> TensorType:
    dtype = _matrices(x)
    wanted = TensorType(PARTS.get(dtype, dtype), x.shape[:-2])
    if rtol != wanted:
        raise TypeRuleError(f"the tolerance {rtol} is not {wanted}")
    return TensorType(dtype, (*x.shape[:-2], x.shape[-1], x.shape[-2]))


# ---- references -----------------------------------------------------------------------------------------------------


def cholesky(x: np.ndarray) -> np.ndarray:
    """The lower L of x = L L^H; of x the lower triangle is read. LinAlgError if x is not positive definite."""
    return np.linalg.cholesky(x)


def triangular_solve(a: np.ndarray, b: np.ndarray, *, lower: bool, adjoint: bool, unit: bool) -> np.ndarray:
    """The x of t x = b, where t is the lower or upper triangle of a, its diagonal 1 if `unit`, or its adjoint."""
    from scipy.linalg import solve_triangular
    result = np.empty_like(b, order="C")
    for k in np.ndindex(b.shape[:-2]):
        result[k] = solve_triangular(a[k], b[k], trans="C" if adjoint else "N", lower=lower, unit_diagonal=unit,
                                     check_finite=False)
    return result


def slogdet(x: np.ndarray) -> np.ndarray:
    sign, size = np.linalg.slogdet(x)
    return np.stack([sign, size.astype(sign.dtype)], axis=-1)


def expm(x: np.ndarray) -> np.ndarray:
    """Al-Mohy and Higham, "A new scaling and squaring algorithm for the matrix exponential", SIMAX 2009."""
    from scipy.linalg import expm as routine
    return np.asarray(routine(x)) if x.size else x.copy()


def svdvals(x: np.ndarray) -> np.ndarray:
    return np.linalg.svd(x, compute_uv=False)


def qr(x: np.ndarray, *, complete: bool) -> np.ndarray:
    parts = np.linalg.qr(x, "complete" if complete else "reduced")
    return pack(parts, packing("qr", x.shape, complete=complete), x.dtype)      # type: ignore[arg-type]


def svd(x: np.ndarray, *, full: bool) -> np.ndarray:
    """U, the singular values, descending, and V^H; square U and V if `full`."""
    parts = np.linalg.svd(x, full_matrices=full)
    return pack(parts, packing("svd", x.shape, full=full), x.dtype)         # type: ignore[arg-type]


def eigh(x: np.ndarray) -> np.ndarray:
    """Of a hermitian x, of which the lower triangle is read: the eigenvalues, ascending, then the eigenvectors."""
    return pack(np.linalg.eigh(x), packing("eigh", x.shape), x.dtype)       # type: ignore[arg-type]


def eig(x: np.ndarray) -> np.ndarray:
    """The eigenvalues, then the eigenvectors of length 1: complex, whatever x is."""
    parts = np.linalg.eig(x)
    return pack(parts, packing("eig", x.shape), np.result_type(x.dtype, np.complex64))      # type: ignore[arg-type]


def eigvals(x: np.ndarray) -> np.ndarray:
    return np.linalg.eigvals(x).astype(np.result_type(x.dtype, np.complex64))


def pinv(x: np.ndarray, rtol: np.ndarray) -> np.ndarray:
    """The Moore-Penrose inverse; singular values up to rtol times the largest are taken for 0."""
    return np.linalg.pinv(x, rtol)


# ---- transforms -----------------------------------------------------------------------------------------------------


def _transformed(x: TensorType, axes: Sequence[int]) -> None:
    for k in axes:
        if not 0 <= k < x.ndim:
            raise AxisError(f"axis {k} is out of range for {x}")
        if x.shape[k] == 0:
            raise TypeRuleError(f"{x} has no element along axis {k}")


def spectrum(x: TensorType, *, axes: tuple[int, ...], inverse: bool) -> TensorType:
    if x.dtype not in PARTS:
        raise TypeRuleError(f"{x} is not a complex number")
    _transformed(x, axes)
    if len(set(axes)) < len(axes):
        raise TypeRuleError(f"axes {list(axes)} name an axis twice")
    return x


def half_spectrum(x: TensorType, *, axis: int) -> TensorType:
    if x.dtype not in COMPLEX_OF:
        raise TypeRuleError(f"{x} is not f32 or f64")
    _transformed(x, (axis,))
    return TensorType(COMPLEX_OF[x.dtype], (*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1:]))


def from_half_spectrum(x: TensorType, *, axis: int, size: int) -> TensorType:
    if x.dtype not in PARTS:
        raise TypeRuleError(f"{x} is not a complex number")
    _transformed(x, (axis,))
    if size < 1 or x.shape[axis] != size // 2 + 1:
        raise TypeRuleError(f"{x} is no half of a spectrum of size {size}: axis {axis} must have {size // 2 + 1}")
    return TensorType(PARTS[x.dtype], (*x.shape[:axis], size, *x.shape[axis + 1:]))


def fft(x: np.ndarray, *, axes: tuple[int, ...], inverse: bool) -> np.ndarray:
    """sum over j of x[j] exp(-+ 2 pi i j k / n), along each of the axes. NumPy's since 2.0 keeps single precision."""
    if len(axes) == 1:                  # the same numbers sooner
        return np.fft.ifft(x, axis=axes[0], norm="forward") if inverse else np.fft.fft(x, axis=axes[0])
    return np.fft.ifftn(x, axes=axes, norm="forward") if inverse else np.fft.fftn(x, axes=axes)


def rfft(x: np.ndarray, *, axis: int) -> np.ndarray:
    """The first n // 2 + 1 elements of the transform of real numbers; the others are their conjugates."""
    return np.fft.rfft(x, axis=axis)


def irfft(x: np.ndarray, *, axis: int, size: int) -> np.ndarray:
    """The inverse transform, not scaled, of the spectrum whose first half is x: `size` real numbers."""
    return np.fft.irfft(x, size, axis=axis, norm="forward")
