"""Sets of elements: which are there, how often, and in which of two tensors.

How many there are is known from the values, which are read: a function that is traced runs eagerly there. Values are
gathered from the operand, so derivatives go to the first element of each.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tracegrad import host
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import bfloat16
from tracegrad.indexing_keys import known
from tracegrad.movement import concat, one_axis, reshape, take
from tracegrad.operands import Operand, pair, refuse_names, tensor_operand
from tracegrad.sorting import flatnonzero, isin
from tracegrad.tensors import Tensor


class UniqueAll(NamedTuple):
    """Distinct elements in order, the place of the first of each, for each element of x its number, their counts."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct elements in order, and how often each is there."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct elements in order, and for each element of x its number among them."""

    values: Tensor
    inverse_indices: Tensor


def distinct(op: str, x: Operand, equal_nan: bool, axis: int | None = None) -> UniqueAll:
    """What is distinct in x, along `axis` (None: flattened)."""
    x = tensor_operand(op, x)
    array = host.read(x, op)
    if array.dtype == bfloat16:
        array = array.astype(np.float32)            # NumPy cannot sort bfloat16
    k = None if axis is None else one_axis(op, x, axis, x.ndim)
    _, first, inverse, counts = np.unique(array, return_index=True, return_inverse=True, return_counts=True, axis=k,
                                          equal_nan=equal_nan)
    found = [known(part) for part in (
        first, inverse.reshape(array.shape if k is None else -1), counts)]
    values = dispatch("gather", reshape(x, (-1,)), found[0], axis=0) if k is None else take(x, found[0], axis=k)
    return UniqueAll(values, *found)


def unique_all(x: Operand, /) -> UniqueAll:
    """The distinct elements of x (each NaN is one), in order; places, numbers and counts.

        >>> tg.unique_all(tg.tensor([3, 1, 3])).counts
        tensor([1, 2])
    """
    return distinct("unique_all", x, False)


def unique_counts(x: Operand, /) -> UniqueCounts:
    """The distinct elements of x (each NaN is one), in order, and how often each is there."""
    found = distinct("unique_counts", x, False)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Operand, /) -> UniqueInverse:
    """The distinct elements of x (each NaN is one), in order, and of each element of x its number among them."""
    found = distinct("unique_inverse", x, False)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Operand, /) -> Tensor:
    """The distinct elements of x (each NaN is one), in order.

        >>> tg.unique_values(tg.tensor([3, 1, 3]))
        tensor([1, 3])
    """
    return distinct("unique_values", x, False).values


def unique(x: Operand, /, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
           axis: int | None = None, *, equal_nan: bool = True, sorted: bool = True, **names: Any) -> Any:
    """The distinct elements of x, or slices along `axis`, in order; with them, as asked, the place of the first of
    each, the number of each element, and counts (NumPy's: NaNs are equal to each other).

        >>> tg.unique(tg.tensor([3, 1, 3]), return_inverse=True)
        (tensor([1, 3]), tensor([1, 0, 1]))
    """
    refuse_names("unique", names)
    values, *others = distinct("unique", x, equal_nan, axis)
    asked = [part for part, wanted in zip(others, (return_index, return_inverse, return_counts)) if wanted]
    return (values, *asked) if asked else values


def two(op: str, x1: Operand, x2: Operand) -> tuple[Tensor, Tensor]:
    """The distinct elements of each of two operands, in their common dtype."""
    a, b = (tensor_operand(op, x) for x in pair(op, x1, x2))
    return distinct(op, a, True).values, distinct(op, b, True).values


def union1d(x1: Operand, x2: Operand, /) -> Tensor:
    """What is in x1 or in x2, in order."""
    a, b = (tensor_operand("union1d", x) for x in pair("union1d", x1, x2))
    return unique(concat([a, b], axis=None))


def intersect1d(x1: Operand, x2: Operand, /) -> Tensor:
    """What is in x1 and in x2, in order.

        >>> tg.intersect1d(tg.tensor([3, 1, 3]), tg.tensor([3, 4]))
        tensor([3])
    """
    a, b = two("intersect1d", x1, x2)
    return take(a, flatnonzero(isin(a, b)))


def setdiff1d(x1: Operand, x2: Operand, /) -> Tensor:
    """What is in x1 and not in x2, in order."""
    a, b = two("setdiff1d", x1, x2)
    return take(a, flatnonzero(isin(a, b, invert=True)))


def setxor1d(x1: Operand, x2: Operand, /) -> Tensor:
    """What is in exactly one of x1 and x2, in order."""
    a, b = two("setxor1d", x1, x2)
    apart = [take(a, flatnonzero(isin(a, b, invert=True))), take(b, flatnonzero(isin(b, a, invert=True)))]
    return dispatch("sort", concat(apart), axis=0)
