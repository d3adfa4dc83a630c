"""Writes at indices, as functions: PyTorch's scatter, index_add and the like. The operand stays as it is.

Of several writes to one element the last one stays. Extrema and products are composed of such writes: updates are put
in an order in which the last one is the right one. Each method with a trailing underscore writes to its tensor.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import writes
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import FLOATING, bool_
from tracegrad.functional import equal, greater, logical_and, maximum, minimum, multiply
from tracegrad.functional import where as choose
from tracegrad.movement import broadcast_to, index_operand, one_axis, reshape, take
from tracegrad.mutation import beside
from tracegrad.operands import Operand, convert, scalar, tensor_operand, truth
from tracegrad.sorting import order
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Write = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""(x, indices, updates, axis) -> x with the updates; shapes differ along the axis only."""


def scatter(x: Operand, axis: int, indices: Operand, updates: Operand, /, *, reduce: str | None = None) -> Tensor:
    """x with updates[.., i, ..] (or one number) written at [.., indices[.., i, ..], ..] along `axis`.

    Indices may be shorter than x along the other axes, and updates longer than the indices along all of them.

        >>> tg.scatter(tg.zeros(3), 0, tg.tensor([2, 0]), tg.tensor([5.0, 7.0]))
        tensor([7., 0., 5.])
    """
    if reduce is not None:
        return scatter_reduce(x, axis, indices, updates, {"add": "sum", "multiply": "prod"}.get(reduce, reduce))
    return written("scatter", x, axis, indices, updates, over("scatter"))


def scatter_add(x: Operand, axis: int, indices: Operand, updates: Operand, /) -> Tensor:
    """x with updates[.., i, ..] added at [.., indices[.., i, ..], ..] along `axis`; repeated indices add up.

        >>> tg.scatter_add(tg.zeros(2), 0, tg.tensor([1, 1]), tg.tensor([5.0, 7.0]))
        tensor([ 0., 12.])
    """
    return written("scatter_add", x, axis, indices, updates, over("scatter_add"))


def scatter_reduce(x: Operand, axis: int, indices: Operand, updates: Operand, /, reduce: str, *,
                   include_self: bool = True) -> Tensor:
    """x with each element combined with the updates that are indexed to it: reduce is sum, prod, mean, amax or amin.

    Without include_self the elements that have updates are replaced by what these combine to.

        >>> tg.scatter_reduce(tg.ones(3), 0, tg.tensor([0, 0, 2]), tg.tensor([2.0, 5.0, 0.0]), "amax")
        tensor([5., 1., 1.])
    """
    if reduce not in REDUCTIONS:
        raise ValueError(at_user_line(f"scatter_reduce: reduce {reduce!r} is none of {', '.join(REDUCTIONS)}"))

    def write(x: Tensor, indices: Tensor, updates: Tensor, axis: int) -> Tensor:
        return REDUCTIONS[reduce](x, indices, updates, axis, include_self)
    return written("scatter_reduce", x, axis, indices, updates, write)


def over(op: str) -> Write:
    """The primitive itself."""
    return lambda x, indices, updates, axis: dispatch(op, x, indices, updates, axis=axis)


def written(op: str, x: Operand, axis: int, indices: Operand, updates: Operand, write: Write) -> Tensor:
    """PyTorch's rules for shapes: the write is made to the part of x that the indices cover."""
    x, indices = tensor_operand(op, x), index_operand(op, indices)
    k = one_axis(op, x, axis, x.ndim)
    updates = convert(beside(x.dtype, updates, op), x.dtype)
    shape, covered, given = x.shape, indices.shape, updates.shape
    if updates.ndim == 0:
        updates, given = broadcast_to(updates, covered), covered
    fits = len(shape) == len(covered) == len(given) and all(
        n <= m and (j == k or n <= size) for j, (size, n, m) in enumerate(zip(shape, covered, given)))
    if not fits:
        raise TypeRuleError(at_user_line(
            f"{op}: indices {type_of(indices)} and updates {type_of(updates)} do not fit into "
            f"{type_of(x)} along axis {k}"))
    zeros, ones = (0,) * len(shape), (1,) * len(shape)
    if given != covered:
        updates = dispatch("slice", updates, start=zeros, stop=covered, step=ones)
    stop = tuple(size if j == k else n for j, (size, n) in enumerate(zip(shape, covered)))
    if stop == shape:
        return write(x, indices, updates, k)
    part = write(dispatch("slice", x, start=zeros, stop=stop, step=ones), indices, updates, k)
    high = tuple(size - n for size, n in zip(shape, stop))
    inside = dispatch("pad", broadcast_to(scalar(True, bool_), stop), low=zeros, high=high,
                      interior=zeros)
    return dispatch("where", inside, dispatch("pad", part, low=zeros, high=high, interior=zeros), x)


# ---- what updates of one element combine to ---------------------------------------------------------------------


def filled(x: Tensor, indices: Tensor, axis: int, number: int) -> Tensor:
    """x with a number wherever it has an update."""
    return dispatch("scatter", x, indices, broadcast_to(scalar(number, x.dtype), indices.shape), axis=axis)


def summed(x: Tensor, indices: Tensor, updates: Tensor, axis: int, include_self: bool) -> Tensor:
    start = x if include_self else filled(x, indices, axis, 0)
    return dispatch("scatter_add", start, indices, updates, axis=axis)


def averaged(x: Tensor, indices: Tensor, updates: Tensor, axis: int, include_self: bool) -> Tensor:
    if x.dtype not in FLOATING:
        raise TypeRuleError(at_user_line(f"scatter_reduce: mean of {type_of(x)}, which is not floating-point"))
    total = summed(x, indices, updates, axis, include_self)
    start = scalar(int(include_self), x.dtype)
    ones = broadcast_to(scalar(1, x.dtype), indices.shape)
    count = dispatch("scatter_add", broadcast_to(start, x.shape), indices, ones, axis=axis)
    return total / maximum(count, 1)


def greatest(x: Tensor, indices: Tensor, updates: Tensor, axis: int, include_self: bool) -> Tensor:
    last = in_order(x, indices, updates, axis, order(updates, axis, False))
    return maximum(x, last) if include_self else last


def least(x: Tensor, indices: Tensor, updates: Tensor, axis: int, include_self: bool) -> Tensor:
    floating = updates.dtype in FLOATING
    places = order(-updates, axis, False) if floating else order(updates, axis, True)       # NaNs last: they win
    last = in_order(x, indices, updates, axis, places)
    return minimum(x, last) if include_self else last


def in_order(x: Tensor, indices: Tensor, updates: Tensor, axis: int, places: Tensor) -> Tensor:
    """scatter, with the updates in another order."""
    indices, updates = (dispatch("gather", o, places, axis=axis) for o in (indices, updates))
    return dispatch("scatter", x, indices, updates, axis=axis)


def multiplied(x: Tensor, indices: Tensor, updates: Tensor, axis: int, include_self: bool) -> Tensor:
    """Updates in the order of their indices; then each is multiplied by those before it that have its index.

    Doubling: after step d, an update is the product of up to 2*d that end with it.
    """
    size, n = x.shape[axis], indices.shape[axis]
    indices = choose(dispatch("lt", indices, 0), indices + size, indices)
    places = order(indices, axis, False)
    indices, updates = (dispatch("gather", o, places, axis=axis) for o in (indices, updates))
    d = 1
    while d < n:
        same = logical_and(equal(indices, earlier(indices, axis, d)),
                           greater(dispatch("iota", shape=indices.shape, axis=axis, dtype="i64"), d - 1))
        updates = choose(same, multiply(updates, earlier(updates, axis, d)), updates)
        d *= 2
    start = x if include_self else filled(x, indices, axis, 1)
    ones = broadcast_to(scalar(1, x.dtype), x.shape)
    return multiply(start, dispatch("scatter", ones, indices, updates, axis=axis))


def earlier(x: Tensor, axis: int, d: int) -> Tensor:
    """x[i-d] at i."""
    ndim = x.ndim
    none = (0,) * ndim
    moved = dispatch("pad", x, low=tuple(d if k == axis else 0 for k in range(ndim)), high=none, interior=none)
    return dispatch("slice", moved, start=none, stop=x.shape, step=(1,) * ndim)


REDUCTIONS: dict[str, Callable[[Tensor, Tensor, Tensor, int, bool], Tensor]] = {
    "sum": summed, "prod": multiplied, "mean": averaged, "amax": greatest, "amin": least,
}


# ---- whole slices -----------------------------------------------------------------------------------------------


def index_select(x: Operand, axis: int, indices: Operand, /) -> Tensor:
    """PyTorch's name and order of arguments for `take`."""
    return take(x, indices, axis)


def index_add(x: Operand, axis: int, indices: Operand, source: Operand, /, *, alpha: float = 1) -> Tensor:
    """x with alpha times the slices of source added at the indices along `axis`.

        >>> tg.index_add(tg.zeros(3), 0, tg.tensor([0, 0]), tg.tensor([1.0, 2.0]))
        tensor([3., 0., 0.])
    """
    source = tensor_operand("index_add", source)
    return slices("index_add", x, axis, indices, source if alpha == 1 else source * alpha, over("scatter_add"))


def index_copy(x: Operand, axis: int, indices: Operand, source: Operand, /) -> Tensor:
    """x with the slices of source written at the indices along `axis`."""
    return slices("index_copy", x, axis, indices, source, over("scatter"))


def index_fill(x: Operand, axis: int, indices: Operand, value: Operand, /) -> Tensor:
    """x with one value written at the indices along `axis`."""
    return slices("index_fill", x, axis, indices, value, over("scatter"))


def slices(op: str, x: Operand, axis: int, indices: Operand, source: Operand, write: Write) -> Tensor:
    x, indices = tensor_operand(op, x), reshape(index_operand(op, indices), (-1,))
    k = one_axis(op, x, axis, x.ndim)
    shape = tuple(indices.size if j == k else n for j, n in enumerate(x.shape))
    source = convert(beside(x.dtype, source, op), x.dtype)
    if source.ndim and source.shape != shape:
        raise TypeRuleError(at_user_line(
            f"{op}: the source {type_of(source)} is not {list(shape)}, slices of {type_of(x)}"))
    column = reshape(indices, tuple(-1 if j == k else 1 for j in range(len(shape))))
    return write(x, broadcast_to(column, shape), broadcast_to(source, shape), k)


# ---- by masks ---------------------------------------------------------------------------------------------------


def masked_fill(x: Operand, mask: Operand, value: Operand, /) -> Tensor:
    """x with a value (a number or a 0-d tensor) where the mask holds.

        >>> tg.masked_fill(tg.tensor([1.0, 2.0]), tg.tensor([True, False]), 0)
        tensor([0., 2.])
    """
    x = tensor_operand("masked_fill", x)
    return dispatch("where", truth(mask), convert(beside(x.dtype, value, "masked_fill"), x.dtype), x)


def put_along_axis(x: Tensor, indices: Operand, values: Operand, /, axis: int) -> None:
    """Write values at the indices along `axis` into x itself (NumPy's)."""
    indices = index_operand("put_along_axis", indices)
    values = broadcast_to(tensor_operand("put_along_axis", values), indices.shape)
    writes.copy_(x, scatter(x, axis, indices, values))


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method that writes what `function` gives to its tensor."""
    def apply(x: Tensor, *args: Any, **options: Any) -> Tensor:
        return writes.copy_(x, function(x, *args, **options))
    apply.__name__ = apply.__qualname__ = f"{function.__name__}_"
    apply.__doc__ = f"`{function.__name__}`, written to the tensor itself."
    return apply
