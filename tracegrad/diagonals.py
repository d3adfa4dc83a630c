"""Triangles and diagonals of matrices. Leading axes are a batch, except where NumPy and PyTorch say otherwise."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.creation import tensor
from tracegrad.dispatch import dispatch
from tracegrad.manipulation import moveaxis
from tracegrad.movement import one_axis, reshape
from tracegrad.operands import Operand, refuse_names, scalar, tensor_operand
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def tril(x: Operand, /, k: int = 0, **names: Any) -> Tensor:
    """The lower triangle of each matrix, up to diagonal k; zeros above.

        >>> tg.tril(tg.ones(2, 3))
        tensor([[1., 0., 0.],
                [1., 1., 0.]])
    """
    return triangle("tril", "ge", x, k, names)


def triu(x: Operand, /, k: int = 0, **names: Any) -> Tensor:
    """The upper triangle of each matrix, from diagonal k on; zeros below."""
    return triangle("triu", "le", x, k, names)


def triangle(op: str, comparison: str, x: Operand, k: int, names: dict[str, Any]) -> Tensor:
    """x where row + k and column compare so, else 0."""
    k = index(names.pop("diagonal", k))         # PyTorch's name for it
    refuse_names(op, names)
    x = tensor_operand(op, x)
    if x.ndim < 2:
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} has fewer than 2 axes"))
    n, m = x.shape[-2:]
    rows = dispatch("iota", shape=(n, 1), axis=0, dtype="i64")
    columns = dispatch("iota", shape=(1, m), axis=1, dtype="i64")
    return dispatch("where", dispatch(comparison, dispatch("add", rows, k), columns), x, scalar(0, x.dtype))


def diagonal(x: Operand, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements x[.., i, .., i + offset, ..] of axes axis1 and axis2, as a last axis: a view where x lies in order.

        >>> tg.diagonal(tg.tensor([[1, 2, 3], [4, 5, 6]]), 1)
        tensor([2, 6])
    """
    x, offset = tensor_operand("diagonal", x), index(offset)
    a, b = (one_axis("diagonal", x, axis, x.ndim) for axis in (axis1, axis2))
    if a == b:
        raise TypeRuleError(at_user_line(f"diagonal: axes {a} and {b} are one"))
    x = moveaxis(x, (a, b), (-2, -1))
    *batch, n, m = x.shape
    start = offset if offset >= 0 else -offset * m
    count = max(0, min(n, m - offset) if offset >= 0 else min(n + offset, m))
    stop = start + (count - 1) * (m + 1) + 1 if count else 0
    line, whole = reshape(x, (*batch, n * m)), (0,) * len(batch)
    return dispatch("slice", line, start=(*whole, start if count else 0), stop=(*batch, stop),
                    step=(*(1 for _ in batch), m + 1))


def diag_embed(x: Operand, /, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """Matrices, in axes axis1 and axis2, whose diagonal `offset` is the last axis of x, and that are 0 elsewhere.

        >>> tg.diag_embed(tg.tensor([1, 2]), 1)
        tensor([[0, 1, 0],
                [0, 0, 2],
                [0, 0, 0]])
    """
    x, offset = tensor_operand("diag_embed", x), index(offset)
    if x.ndim == 0:
        raise TypeRuleError(at_user_line(f"diag_embed: {type_of(x)} has no axis"))
    *batch, count = x.shape
    n = count + (offset if offset >= 0 else -offset)
    start = offset if offset >= 0 else -offset * n
    none = (0,) * len(batch)
    rest = n * n - start - (count + (count - 1) * n if count else 0)
    line = dispatch("pad", x, low=(*none, start), high=(*none, rest), interior=(*none, n))
    matrices = reshape(line, (*batch, n, n))
    ndim = matrices.ndim
    a, b = (one_axis("diag_embed", x, axis, ndim) for axis in (axis1, axis2))
    return moveaxis(matrices, (ndim - 2, ndim - 1), (a, b))


def diag(x: Operand, /, k: int = 0) -> Tensor:
    """The diagonal k of a matrix; or the matrix that has a 1-d tensor as its diagonal k.

        >>> tg.diag(tg.tensor([1, 2]))
        tensor([[1, 0],
                [0, 2]])
    """
    x = tensor_operand("diag", x)
    if x.ndim == 1:
        return diag_embed(x, k)
    if x.ndim != 2:
        raise TypeRuleError(at_user_line(f"diag: {type_of(x)} has neither 1 axis nor 2"))
    return diagonal(x, k)


def diagflat(x: Operand, /, k: int = 0) -> Tensor:
    """The matrix that has the flattened x as its diagonal k."""
    return diag_embed(reshape(x, (-1,)), k)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the lower triangle, up to diagonal k, of an n x m matrix (NumPy's arguments).

        >>> tg.tril_indices(2)
        (tensor([0, 1, 1]), tensor([0, 0, 1]))
    """
    return places(np.tril_indices, n, k, m)


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the upper triangle, from diagonal k on, of an n x m matrix (NumPy's arguments)."""
    return places(np.triu_indices, n, k, m)


def places(triangle: Callable, n: int, k: int, m: int | None) -> tuple[Tensor, Tensor]:
    rows, columns = (tensor(where.tolist(), "int64") for where in triangle(n, k, m))
    return rows, columns
