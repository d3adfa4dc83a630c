"""Indexing: x[key], by ops.

    x[1:5, None, -1]    slice, then reshape: a view            x[::-2]       slice, then flip: a view
    x[i]  x[:, i]       one index tensor: gather               x[i, j]       two that broadcast together: gather twice
"""
from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import bool_
from tracegrad.movement import broadcast_shapes, broadcast_to, index_operand, reshape, take
from tracegrad.operands import tensor_operand
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def get(x: Tensor, key: Any, /) -> Tensor:
    """x[key]. IndexError out of bounds, NotImplementedError for a key that tracegrad does not have yet."""
    if type(key) is int and x.array.ndim:
        return row(x, key)
    keys = expanded(x, key)
    arrays = [k for k in keys if is_indices(k)]
    if not arrays:
        return basic(x, keys)
    return with_indices(x, keys, arrays)


def row(x: Tensor, k: int) -> Tensor:
    """x[k]."""
    shape = x.array.shape
    at, rest = position(k, shape[0], 0), shape[1:]
    zeros, ones = (0,) * len(rest), (1,) * len(shape)
    found = dispatch("slice", x, start=(at, *zeros), stop=(at + 1, *rest), step=ones)
    return dispatch("reshape", found, shape=rest)


def is_indices(k: Any) -> bool:
    return isinstance(k, Tensor | np.ndarray | list)


def is_mask(k: Any) -> bool:
    return (k.dtype if hasattr(k, "dtype") else np.asarray(k).dtype) == bool_


def expanded(x: Tensor, key: Any) -> list[Any]:
    """The key with an entry for each axis of x: None, an int, a slice or indices; Ellipsis written out."""
    keys = list(key) if isinstance(key, tuple) else [key]
    for place, k in enumerate(keys):
        if isinstance(k, np.generic) and not isinstance(k, np.bool_):
            keys[place] = k.item()
        elif isinstance(k, bool | np.bool_) or is_indices(k) and is_mask(k):
            raise NotImplementedError(at_user_line(
                "indexing: tracegrad has no boolean mask as an index yet; use tg.where, or multiply by the mask"))
    used = sum(k is not None and k is not Ellipsis for k in keys)
    ellipses = [place for place, k in enumerate(keys) if k is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError(at_user_line("indexing: an index can only have one ellipsis"))
    if used > x.array.ndim:
        raise IndexError(at_user_line(f"indexing: {used} indices for the {x.array.ndim} axes of {type_of(x.array)}"))
    place = ellipses[0] if ellipses else len(keys)
    return keys[:place] + [slice(None)] * (x.array.ndim - used) + keys[place + 1:]


def basic(x: Tensor, keys: list[Any]) -> Tensor:
    """x[keys] for ints, slices and None: at most a slice, a flip and a reshape."""
    start, stop, step, shape, reversed_axes = [], [], [], [], []
    sizes = iter(enumerate(x.array.shape))
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        axis, size = next(sizes)
        if isinstance(k, slice):
            steps = range(*k.indices(size))
            if steps.step < 0:
                reversed_axes.append(axis)
                steps = steps[::-1]
            n = len(steps)
            start.append(steps[0] if n else 0)
            stop.append(steps[-1] + 1 if n else 0)
            step.append(steps.step if n else 1)
            shape.append(n)
        else:
            at = position(k, size, axis)
            start.append(at)
            stop.append(at + 1)
            step.append(1)
    if any(a != 0 or b != size or s != 1 for a, b, s, size in zip(start, stop, step, x.array.shape)):
        x = dispatch("slice", x, start=tuple(start), stop=tuple(stop), step=tuple(step))
    elif tuple(shape) == x.array.shape and not reversed_axes:
        return dispatch("reshape", x, shape=x.array.shape)              # x[...]: a view of the whole
    if reversed_axes:
        x = dispatch("flip", x, axes=tuple(reversed_axes))
    return x if x.array.shape == tuple(shape) else dispatch("reshape", x, shape=tuple(shape))


def position(k: Any, size: int, axis: int) -> int:
    """An int index, counted from the end if below 0."""
    try:
        at = index(k)
    except TypeError:
        raise TypeError(at_user_line(
            f"indexing: {type(k).__name__} is no index; an index is an int, a slice, None, ... or a tensor of integers",
        )) from None
    if not -size <= at < size:
        raise IndexError(at_user_line(f"indexing: index {at} is out of bounds for axis {axis} of size {size}"))
    return at % size


def with_indices(x: Tensor, keys: list[Any], arrays: list[Any]) -> Tensor:
    """x[keys] with one index tensor, or with two at neighboring axes."""
    axis = next(place for place, k in enumerate([k for k in keys if k is not None]) if is_indices(k))
    place = next(place for place, k in enumerate(keys) if is_indices(k))
    if len(arrays) > 2 or len(arrays) == 2 and not is_indices(keys[place + 1]) or any(
            not isinstance(k, slice) and not is_indices(k) for k in keys):
        raise NotImplementedError(at_user_line(
            "indexing: tracegrad has no index yet that mixes tensors with ints or None, has tensors at axes that are "
            "not neighbors, or more than two of them; index in two steps"))
    indices = [integers(k) for k in arrays]
    x = basic(x, [slice(None) if is_indices(k) else k for k in keys])
    if len(indices) == 1:
        return take(x, indices[0], axis)
    return take_pairs(x, indices[0], indices[1], axis)


def integers(k: Any) -> Tensor:
    if not isinstance(k, Tensor):
        array = np.asarray(k)
        k = tensor_operand("indexing", array if array.size or isinstance(k, np.ndarray) else array.astype(np.int64))
    return index_operand("indexing", k)


def take_pairs(x: Tensor, rows: Tensor, columns: Tensor, axis: int) -> Tensor:
    """x[.., rows, columns, ..] at axes axis and axis + 1."""
    places = broadcast_shapes("indexing", rows.array.shape, columns.array.shape)
    rows, columns = (reshape(broadcast_to(k, places), (-1,)) for k in (rows, columns))
    taken = take(x, rows, axis)                                         # [.., n, c, ..]
    shape = taken.array.shape
    n = shape[axis]
    column = tuple(n if k == axis else 1 for k in range(len(shape)))
    target = (*shape[:axis + 1], 1, *shape[axis + 2:])
    taken = dispatch("gather", taken, broadcast_to(reshape(columns, column), target), axis=axis + 1)
    return dispatch("reshape", taken, shape=(*shape[:axis], *places, *shape[axis + 2:]))
