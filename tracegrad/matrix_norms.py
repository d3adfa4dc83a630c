"""Norms of vectors and matrices, and the rank.

A norm of complex numbers is that of their sizes, so it is real. Where it is 0 its derivative is 0, as in PyTorch.
"""
from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import float32
from tracegrad.functional import abs, max, min, root_of, sum, where
from tracegrad.manipulation import moveaxis
from tracegrad.movement import expand_dims, one_axis, reshape
from tracegrad.operands import Axis, Operand, axes_of, convert, floating, refuse_names, tensor_operand
from tracegrad.refusals import check
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Order = int | float | str | None


def real_dtype(x: Tensor) -> np.dtype:
    """The dtype of the size of an element."""
    return x.array.real.dtype if x.dtype.kind == "c" else x.dtype


def vector_norm(x: Operand, /, ord: Order = 2, axis: Axis = None, keepdims: bool = False, **names: Any) -> Tensor:
    """(sum |x|^ord)^(1/ord) over `axis` (None: all); the largest size for inf, the smallest for -inf, for 0 how many
    are not 0.

        >>> tg.linalg.vector_norm(tg.tensor([[3.0, 4.0], [0.0, 2.0]]), axis=1, ord=1)
        tensor([7., 2.])
    """
    refuse_names("vector_norm", names)
    x = floating(tensor_operand("vector_norm", x))
    axes = axes_of(axis, x.ndim)
    if ord == 2:
        return euclidean(x, axes, keepdims)
    size = abs(x)
    if ord == inf:
        return max(size, axes, keepdims=keepdims)
    if ord == -inf:
        return min(size, axes, keepdims=keepdims)
    if ord == 0:
        return sum(convert(dispatch("ne", size, 0), size.dtype), axes, keepdims=keepdims)
    if ord == 1:
        return sum(size, axes, keepdims=keepdims)
    if not isinstance(ord, int | float):
        raise ValueError(at_user_line(f"vector_norm: there is no norm of vectors of order {ord!r}"))
    wide = in_single(size)
    powers = wide ** float(ord)
    if 0 < ord < 1:                                         # steep at 0, which counts as a constant
        nothing = dispatch("eq", wide, 0)
        powers = where(nothing, 0.0, where(nothing, 1.0, wide) ** float(ord))
    return root(sum(powers, axes, keepdims=keepdims), float(ord), size.dtype)


def in_single(x: Tensor) -> Tensor:
    """Half precision, whose powers are soon beyond what that holds, in float32; else x itself."""
    return convert(x, float32) if x.itemsize == 2 else x


def euclidean(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """The root of the sum of squares."""
    size = abs(x) if x.dtype.kind == "c" else x
    wide = in_single(size)
    return root(sum(wide * wide, axes, keepdims=keepdims), 2.0, size.dtype)


def root(total: Tensor, degree: float, dtype: np.dtype) -> Tensor:
    """A root of what is not below 0, in `dtype`; where that is 0, a constant."""
    if degree == 2:
        return convert(root_of(total), dtype)
    nothing = dispatch("eq", total, 0)
    return convert(where(nothing, 0.0, where(nothing, 1.0, total) ** (1 / degree)), dtype)


def matrix_norm(x: Operand, /, ord: Order = "fro", axis: Any = (-2, -1), keepdims: bool = False,
                **names: Any) -> Tensor:
    """The norm of matrices: "fro", "nuc", 1 and -1 (columns), inf and -inf (rows), 2 and -2 (singular values).

        >>> tg.linalg.matrix_norm(tg.tensor([[1.0, -2.0], [3.0, 4.0]]), ord=1)
        tensor(6.)
    """
    refuse_names("matrix_norm", names)
    x = floating(tensor_operand("matrix_norm", x))
    a, b = (one_axis("matrix_norm", x, index(k), x.ndim) for k in axis)
    if ord == "fro":
        return euclidean(x, (a, b), keepdims)
    if ord in (1, -1, inf, -inf):
        combine = max if ord > 0 else min
        first = a if ord in (1, -1) else b
        second = b if ord in (1, -1) else a
        return combine(sum(abs(x), first, keepdims=True), (first, second), keepdims=keepdims)
    if ord not in (2, -2, "nuc"):
        raise ValueError(at_user_line(f"matrix_norm: there is no norm of matrices of order {ord!r}"))
    values = singular_values(moveaxis(x, (a, b), (-2, -1)))
    found = sum(values, -1) if ord == "nuc" else max(values, -1) if ord == 2 else min(values, -1)
    for k in sorted((a, b)) if keepdims else ():
        found = expand_dims(found, k)
    return found


def singular_values(x: Tensor) -> Tensor:
    check("svdvals", (x,), {})
    return dispatch("svdvals", x)


def norm(x: Operand, /, ord: Order = None, axis: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """NumPy's and PyTorch's: the norm of a vector, or of the matrices of two axes. Without `ord` the root of the sum of
    squares; without `axis` of all elements if there is no `ord`, else of a tensor of 1 or 2 axes.

        >>> tg.linalg.norm(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor(5.)
        >>> tg.linalg.norm(tg.tensor([[3.0, 0.0], [0.0, 4.0]]), 2)
        tensor(4.)
    """
    refuse_names("norm", names)
    x = floating(tensor_operand("norm", x))
    n = x.ndim
    if axis is None and ord is not None and n not in (1, 2):
        raise ValueError(at_user_line(f"norm: of order {ord!r} of {type_of(x)}: say which axis"))
    axes = axes_of(axis, n)
    if ord is None:
        return euclidean(x, axes, keepdims)
    return vector_norm(x, ord, axes, keepdims) if len(axes) == 1 else matrix_norm(x, ord, axes, keepdims)


def matrix_rank(x: Operand, /, *, rtol: Any = None, tol: Any = None) -> Tensor:
    """How many singular values are above rtol (default: max(m, n) eps) times the largest; above `tol`, if given.

        >>> tg.linalg.matrix_rank(tg.tensor([[1.0, 2.0], [2.0, 4.0]]))
        tensor(1)
    """
    x = floating(tensor_operand("matrix_rank", x))
    values = singular_values(x)
    m, n = x.shape[-2:]
    if tol is None:
        relative = max_of(m, n) * float(np.finfo(real_dtype(x)).eps) if rtol is None else rtol
        if isinstance(relative, Tensor):
            relative = expand_dims(relative, -1)
        largest = max(values, -1, keepdims=True) if m and n else reshape(values, (*values.shape[:-1], 0))
        tol = largest * relative
    elif isinstance(tol, Tensor):
        tol = expand_dims(tol, -1)
    return sum(values > tol, -1)


def max_of(m: int, n: int) -> int:
    return m if m > n else n
