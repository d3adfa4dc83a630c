"""Order and places: sort and what is found by sorting, searches, the places of elements that are not 0.

NaNs come after all numbers, and first where the order is descending. Equal elements keep their order. What has as many
elements as the values say (`nonzero` and the like) is read, so a function that is traced runs eagerly there, unless the
values follow from constants.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes, functional, host
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import bool_
from tracegrad.functional import less_equal, logical_not, subtract
from tracegrad.indexing_keys import known
from tracegrad.movement import (
    broadcast_shapes,
    broadcast_to,
    flip,
    one_axis,
    reshape,
    squeeze,
    stack,
    take_along_axis,
)
from tracegrad.operands import Axis, Operand, convert, pair, refuse_names, tensor_operand, truth
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.splitting import part
from tracegrad.tensors import Tensor


class Chosen(NamedTuple):
    """Elements, and where they are along the axis."""

    values: Tensor
    indices: Tensor


def chosen(values: Tensor, indices: Tensor) -> Chosen:
    """A Chosen, made without entering the code of its class, of which a recording knows nothing."""
    return tuple.__new__(Chosen, (values, indices))


def lines(op: str, x: Operand, axis: int | None) -> tuple[Tensor, int]:
    """x and an axis of it; None: x flattened."""
    x = tensor_operand(op, x)
    if axis is None or x.ndim == 0 and axis in (0, -1):
        return reshape(x, (-1,)), 0
    return x, one_axis(op, x, axis, x.ndim)


def real(op: str, x: Tensor) -> Tensor:
    """x; TypeRuleError if it is complex, which NumPy would order by real parts."""
    if x.dtype.kind == "c":
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} is not a real number or bool"))
    return x


def sort(x: Operand, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True,
         **names: Any) -> Tensor:
    """The elements along `axis` (None: flattened) in order.

        >>> tg.sort(tg.tensor([3, 1, 2]), descending=True)
        tensor([3, 2, 1])
    """
    refuse_names("sort", names)
    shape = tensor_operand("sort", x).shape
    line, k = lines("sort", x, axis)
    result = dispatch("sort", real("sort", line), axis=k)
    result = flip(result, k) if descending else result
    return result if axis is None else reshape(result, shape)


def argsort(x: Operand, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True,
            **names: Any) -> Tensor:
    """Where the elements of `sort` come from; of equal ones, the first comes first.

        >>> tg.argsort(tg.tensor([3, 1, 3]), descending=True)
        tensor([0, 2, 1])
    """
    refuse_names("argsort", names)
    shape = tensor_operand("argsort", x).shape
    line, k = lines("argsort", x, axis)
    result = order(line, k, descending)
    return result if axis is None else reshape(result, shape)


def order(x: Tensor, axis: int, descending: bool) -> Tensor:
    """argsort; descending it is the order of the reverse, counted from the end."""
    real("argsort", x)
    if not descending:
        return dispatch("argsort", x, axis=axis)
    backwards = flip(dispatch("argsort", flip(x, axis), axis=axis), axis)
    return subtract(x.shape[axis] - 1, backwards)


def topk(x: Operand, /, k: int, axis: int = -1, *, largest: bool = True, sorted: bool = True, **names: Any) -> Chosen:
    """The k largest (or smallest) elements along `axis`, in order, and where they are.

        >>> tg.topk(tg.tensor([3, 1, 2]), 2)
        Chosen(values=tensor([3, 2]), indices=tensor([0, 2]))
    """
    refuse_names("topk", names)
    line, along = lines("topk", x, axis)
    count = index(k)
    if not 0 <= count <= line.shape[along]:
        raise ValueError(at_user_line(f"topk: {count} of the {line.shape[along]} elements along axis {along}"))
    places = part(order(line, along, largest), along, 0, count)
    return chosen(take_along_axis(line, places, axis=along), places)


def kthvalue(x: Operand, /, k: int, axis: int = -1, *, keepdims: bool = False, **names: Any) -> Chosen:
    """The k-th smallest element along `axis`, counted from 1, and where it is (PyTorch's)."""
    refuse_names("kthvalue", names)
    line, along = lines("kthvalue", x, axis)
    place, n = index(k), line.shape[along]
    if not 1 <= place <= n:
        raise ValueError(at_user_line(f"kthvalue: {place} of the {n} elements along axis {along}"))
    places = part(order(line, along, False), along, place - 1, place)
    values = take_along_axis(line, places, axis=along)
    return chosen(values, places) if keepdims else chosen(squeeze(values, along), squeeze(places, along))


def argmin(x: Operand, /, axis: int | None = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """The position of the first smallest element along `axis` (None: in the flattened tensor); of the first NaN.

        >>> tg.argmin(tg.tensor([[1, 7], [9, 4]]), axis=1)
        tensor([0, 1])
    """
    refuse_names("argmin", names)
    x = tensor_operand("argmin", x)
    line, k = lines("argmin", convert(x, dtypes.uint8) if x.dtype is bool_ else x, axis)
    result = dispatch("argmin", line, axis=k, keepdims=keepdims)
    return reshape(result, (1,) * x.ndim) if axis is None and keepdims else result


# ---- searches ---------------------------------------------------------------------------------------------------


def searchsorted(x1: Operand, x2: Operand, /, *, side: str = "left", right: bool = False,
                 sorter: Operand | None = None, **names: Any) -> Tensor:
    """Where the values x2 belong in x1, whose rows are sorted: before equal elements, or with side="right" after them.

    x1 of one axis serves all values; else its rows serve the rows of x2. `sorter` is what sorts x1.

        >>> tg.searchsorted(tg.tensor([1, 3, 3, 5]), tg.tensor([3, 4]), side="right")
        tensor([3, 3])
    """
    refuse_names("searchsorted", names)
    if side not in ("left", "right"):
        raise ValueError(at_user_line(f"searchsorted: side {side!r} is neither 'left' nor 'right'"))
    x, values = (tensor_operand("searchsorted", o) for o in pair("searchsorted", x1, x2))
    if sorter is not None:
        x = take_along_axis(x, sorter, axis=-1)
    shape = values.shape
    if real("searchsorted", x).ndim == 0:
        raise TypeRuleError(at_user_line(f"searchsorted: {type_of(x)} has no axis"))
    if x.ndim == 1:
        values = reshape(values, (-1,))
    found = dispatch("searchsorted", x, values, right=right or side == "right")
    return reshape(found, shape)


def bucketize(x: Operand, boundaries: Operand, /, *, right: bool = False) -> Tensor:
    """The number of boundaries, which are sorted, below each element; those equal to it count too if `right`."""
    return searchsorted(boundaries, x, right=right)


def digitize(x: Operand, bins: Operand, /, right: bool = False) -> Tensor:
    """In which of the bins between bins[i-1] and bins[i] each element is; bins ascend or descend.

    The left end belongs to a bin; the right one if `right`.

        >>> tg.digitize(tg.tensor([0.5, 1.0, 9.0]), tg.tensor([0.0, 1.0, 2.0]))
        tensor([1, 2, 3])
    """
    bins = tensor_operand("digitize", bins)
    n = bins.shape[0] if bins.ndim == 1 else 0
    if n == 0:
        raise TypeRuleError(at_user_line(f"digitize: bins {type_of(bins)} are not a line of numbers"))
    up = searchsorted(bins, x, right=not right)
    down = subtract(n, searchsorted(flip(bins), x, right=not right))
    ascending = less_equal(part(bins, 0, 0, 1), part(bins, 0, n - 1, n))
    return dispatch("where", reshape(ascending, ()), up, down)


# ---- places -----------------------------------------------------------------------------------------------------


def nonzero(x: Operand, /) -> tuple[Tensor, ...]:
    """The places of the elements that are not 0: along each axis a tensor of their indices.

        >>> tg.nonzero(tg.tensor([[0, 2], [3, 0]]))
        (tensor([0, 1]), tensor([1, 0]))
    """
    x = tensor_operand("nonzero", x)
    if x.ndim == 0:
        raise TypeRuleError(at_user_line(f"nonzero: {type_of(x)} has no axis"))
    return tuple(map(known, np.nonzero(host.read(x, "nonzero"))))


def argwhere(x: Operand, /) -> Tensor:
    """i64[n,axes]: the places of the n elements that are not 0."""
    x = tensor_operand("argwhere", x)
    return stack(nonzero(x), 1) if x.ndim else known(np.argwhere(host.read(x, "argwhere")))


def flatnonzero(x: Operand, /) -> Tensor:
    """The places, in the flattened tensor, of the elements that are not 0."""
    return nonzero(reshape(x, (-1,)))[0]


def where(condition: Operand, x1: Operand | None = None, x2: Operand | None = None, /) -> Any:
    """x1 where the condition holds, else x2; all three broadcast. Of a condition alone, `nonzero`.

        >>> tg.where(tg.tensor([True, False]), tg.tensor([1.0, 2.0]), 0.0)
        tensor([1., 0.])
    """
    if x1 is None and x2 is None:
        return nonzero(condition)
    if x1 is None or x2 is None:
        raise TypeError(at_user_line("where: give both what is taken where the condition holds and what is elsewhere"))
    return functional.where(condition, x1, x2)


def count_nonzero(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """How many elements over `axis` (None: all) are not 0."""
    refuse_names("count_nonzero", names)
    return functional.sum(truth(x), axis, keepdims=keepdims)


def isin(x: Operand, elements: Operand, /, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Is each element of x one of `elements`? A NaN never is.

        >>> tg.isin(tg.tensor([1, 2, 3]), tg.tensor([3, 1]))
        tensor([ True, False,  True])
    """
    a, b = (tensor_operand("isin", o) for o in pair("isin", x, elements))
    n = b.size
    if n == 0:
        found = broadcast_to(tensor_operand("isin", False), a.shape)
    else:
        line, wanted = dispatch("sort", real("isin", reshape(b, (-1,))), axis=0), reshape(a, (-1,))
        place = functional.minimum(dispatch("searchsorted", line, wanted, right=False), n - 1)
        found = reshape(dispatch("eq", dispatch("gather", line, place, axis=0), wanted), a.shape)
    return logical_not(found) if invert else found


def masked_select(x: Operand, mask: Operand, /) -> Tensor:
    """The elements of x where the mask holds, in their order, along one axis; both broadcast.

        >>> tg.masked_select(tg.tensor([1, 2, 3]), tg.tensor([True, False, True]))
        tensor([1, 3])
    """
    x, mask = tensor_operand("masked_select", x), truth(mask)
    shape = broadcast_shapes("masked_select", x.shape, mask.shape)
    places = flatnonzero(broadcast_to(mask, shape))
    return dispatch("gather", reshape(broadcast_to(x, shape), (-1,)), places, axis=0)


def extract(condition: Operand, x: Operand, /) -> Tensor:
    """NumPy's name and order of arguments for `masked_select` of tensors of as many elements."""
    return masked_select(reshape(x, (-1,)), reshape(condition, (-1,)))


def compress(condition: Operand, x: Operand, /, axis: int | None = None) -> Tensor:
    """The slices of x along `axis` (None: flattened) where the condition, a line, holds."""
    line, k = lines("compress", x, axis)
    places = flatnonzero(condition)
    column = reshape(places, tuple(-1 if j == k else 1 for j in range(line.ndim)))
    return take_along_axis(line, column, axis=k)
