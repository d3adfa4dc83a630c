"""Indexing: x[key], by ops.

    x[1:5, None, -1]    slice, then reshape: a view            x[::-2]       slice, then flip: a view
    x[i]  x[:, i]       one index tensor: gather               x[i, j]       two that broadcast together: gather twice
"""
from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch, view
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
    array = x.array
    size, *others = array.shape
    at, rest = position(k, size, 0), tuple(others)
    cut = {"start": (at, *[0] * len(rest)), "stop": (at + 1, *rest), "step": (1,) * array.ndim}
    return view("reshape", view("slice", x, array[at:at + 1], cut), array[at, ...], {"shape": rest})


INDICES = (Tensor, np.ndarray, list)


def is_indices(k: Any) -> bool:
    return type(k) is not slice and isinstance(k, INDICES)


WHOLE = slice(None)


def is_mask(k: Any) -> bool:
    return (k.dtype if hasattr(k, "dtype") else np.asarray(k).dtype) == bool_


def expanded(x: Tensor, key: Any) -> list[Any]:
    """The key with an entry for each axis of x: None, an int, a slice or indices; Ellipsis written out."""
    keys = list(key) if isinstance(key, tuple) else [key]
    used = 0
    for place, k in enumerate(keys):
        if k is None or k is Ellipsis:
            continue
        used += 1
        if type(k) is slice or type(k) is int:
            continue
        if isinstance(k, np.generic) and not isinstance(k, np.bool_):
            keys[place] = k.item()
        elif isinstance(k, bool | np.bool_) or is_indices(k) and is_mask(k):
            raise NotImplementedError(at_user_line(
                "indexing: tracegrad has no boolean mask as an index yet; use tg.where, or multiply by the mask"))
    ellipses = [place for place, k in enumerate(keys) if k is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError(at_user_line("indexing: an index can only have one ellipsis"))
    if used > x.array.ndim:
        raise IndexError(at_user_line(f"indexing: {used} indices for the {x.array.ndim} axes of {type_of(x.array)}"))
    place = ellipses[0] if ellipses else len(keys)
    return keys[:place] + [WHOLE] * (x.array.ndim - used) + keys[place + 1:]


def basic(x: Tensor, keys: list[Any]) -> Tensor:
    """x[keys] for ints, slices and None: at most a slice, a flip and a reshape."""
    cuts: list[slice] = []                  # one for each axis, from a start below the stop, forwards
    shape: list[int] = []
    reversed_axes: list[int] = []
    sizes = x.array.shape
    for k in keys:
        axis = len(cuts)
        if k is None:
            shape.append(1)
        elif type(k) is slice:
            steps = range(sizes[axis]) if k is WHOLE else range(*k.indices(sizes[axis]))
            if steps.step < 0:
                reversed_axes.append(axis)
                steps = steps[::-1]
            n = len(steps)
            cuts.append(slice(steps[0], steps[-1] + 1, steps.step) if n else slice(0, 0, 1))
            shape.append(n)
        else:
            at = position(k, sizes[axis], axis)
            cuts.append(slice(at, at + 1, 1))
    part, wanted = x.array[tuple(cuts)], tuple(shape)
    if part.shape != sizes:                 # a slice that keeps every size is the whole
        ends = {"start": tuple([cut.start for cut in cuts]), "stop": tuple([cut.stop for cut in cuts])}
        x = view("slice", x, part, {**ends, "step": tuple([cut.step for cut in cuts])})
    elif wanted == sizes and not reversed_axes:
        return view("reshape", x, part, {"shape": sizes})               # x[...]: a view of the whole
    if reversed_axes:
        x = dispatch("flip", x, axes=tuple(reversed_axes))
    return x if x.array.shape == wanted else view("reshape", x, x.array.reshape(wanted), {"shape": wanted})


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
    x = basic(x, [WHOLE if is_indices(k) else k for k in keys])
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
