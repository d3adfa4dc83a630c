"""Indexing: x[key], by ops.

    x[1:5, None, -1]    a view: see `slicing`
    x[i]  x[:, i]       one index tensor: gather
    x[mask]             the places where the mask holds, as indices; while a run is recorded see `selections`
    x[i, :, j]          the indexed axes made one: reshape, and one gather at i * n + j

1. What has no history and is not recorded is NumPy's own x[key].
2. An index out of bounds is an IndexError that names it, its axis and the size; where a run is replayed, the gather
   refuses it: a wrong index along any axis makes the joint index a wrong one.
3. How many elements a mask selects is a value. Where it is needed the mask is read, which a recording cannot follow.
"""
from __future__ import annotations

from math import prod
from typing import Any, cast

import numpy as np

from codegen.ir.structs import struct
from codegen.ir.type_rules import TypeRuleError, broadcast_shapes
from tracegrad.devices import CUPY, there
from tracegrad.dispatch import GRAD, complete, dispatch
from tracegrad.dtypes import int32, int64, uint64
from tracegrad.host import read
from tracegrad.indexing_keys import ARRAYS, WHOLE, Key, is_apart, is_mask, known, normal_form
from tracegrad.movement import broadcast_to, take
from tracegrad.operands import convert
from tracegrad.recorder import ACTIVE
from tracegrad.selections import masked, selected
from tracegrad.size_numbers import number_in
from tracegrad.slicing import basic, position, row
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def get(x: Tensor, key: Any, /) -> Tensor:
    """x[key]: a view for ints, slices, None and Ellipsis, else a copy. IndexError out of bounds."""
    if type(key) is int and x.ndim:
        return row(x, key)
    form = normal_form(x, key)
    if not form.advanced:
        return basic(x, form.entries)
    recorder = ACTIVE.get()
    if recorder is not None:
        selects = recorder.selects and not any(isinstance(k, np.ndarray) for k in form.entries)
        part = masked(x, form) if selects else None
        return picked(x, form) if part is None else selected(part)
    return picked(x, form) if CUPY or GRAD.enabled and x.requires_grad else picked_directly(x, form)


# ---- indices ----------------------------------------------------------------------------------------------------


@struct
class Places:
    """What an advanced key selects of a view of x: the elements at `index` along axis `at` of `lined_up(whole)`.

    whole: x at the key's ints, slices and None; axes: those of it that are indexed; index: of any shape, out of bounds
    where one of the key's is. The result has the axes of `index` in the place of axis `at`.
    """

    whole: Tensor
    axes: tuple[int, ...]
    at: int
    index: Tensor

    @property
    def order(self) -> tuple[int, ...]:
        """The axes of `whole` as `lined_up` has them: the indexed ones together, at `at`."""
        others = [k for k in range(self.whole.ndim) if k not in self.axes]
        return (*others[:self.at], *self.axes, *others[self.at:])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        others = [n for k, n in enumerate(self.whole.shape) if k not in self.axes]
        return (*others[:self.at], *self.index.shape, *others[self.at:])

    def lined_up(self, whole: Tensor) -> Tensor:
        """`whole` with the indexed axes made one, axis `at`; an axis of size 1 where none is."""
        order, shape = self.order, whole.shape
        if order != tuple(range(len(order))):
            whole = dispatch("transpose", whole, axes=order)
        if len(self.axes) == 1:
            return whole
        line = prod(shape[k] for k in self.axes)
        turned, n = whole.shape, len(self.axes)
        return dispatch("reshape", whole, shape=(*turned[:self.at], line, *turned[self.at + n:]))

    def put_back(self, line: Tensor) -> Tensor:
        """What `lined_up` made `line` of."""
        order, shape = self.order, self.whole.shape
        if len(self.axes) != 1:
            line = dispatch("reshape", line, shape=tuple(shape[k] for k in order))
        if order == tuple(range(len(order))):
            return line
        return dispatch("transpose", line, axes=tuple(order.index(k) for k in range(len(order))))


def picked_directly(x: Tensor, form: Key) -> Tensor:
    """x[key] by NumPy."""
    narrowed = [axis for axis, k in enumerate(form.entries) if k is not WHOLE]
    try:
        if len(narrowed) == 1:
            k = form.entries[narrowed[0]]
            if isinstance(k, Tensor) and k.dtype in (int32, int64):       # faster than NumPy's x[..]
                return Tensor(np.asarray(x.array.take(k.array, narrowed[0])))
        return Tensor(x.array[plain(form)])
    except IndexError as error:
        raise key_error(x, form, error) from None


def plain(form: Key) -> Any:
    """The key for NumPy. An Ellipsis, even of no axes, keeps its neighbors apart, and gives an array, not a number."""
    entries = tuple([signed(k.array) if isinstance(k, Tensor) else k for k in form.entries])
    if len(entries) == 1 and is_mask(form.entries[0]):
        return entries[0]                   # a mask of the whole alone is what NumPy is fast at
    place = len(entries)
    if form.apart and not is_apart(form.entries):
        place = 1 + next(p for p, k in enumerate(form.entries) if isinstance(k, bool | int | Tensor | np.ndarray))
    return (*entries[:place], ..., *entries[place:])


def signed(array: np.ndarray) -> np.ndarray:
    """Indices as NumPy takes them, who makes u64 i64 unseen: beyond its range is out of bounds."""
    return np.minimum(array, np.uint64(2**63 - 1)).astype(np.int64) if array.dtype is uint64 else array


def key_error(x: Tensor, form: Key, error: Exception) -> Exception:
    """Our error for a key that NumPy refused."""
    try:
        if form.advanced:
            places(x, form)
        else:
            basic(x, form.entries)
    except IndexError as ours:
        return ours
    return IndexError(at_user_line(f"indexing: {error}"))


def picked(x: Tensor, form: Key) -> Tensor:
    """x[key], for an advanced key, by ops."""
    found = places(x, form)
    line = found.lined_up(found.whole)
    if not any(isinstance(k, ARRAYS) for k in form.entries):            # only bools beside ints and slices: no index
        array = np.broadcast_to(line.array, found.shape)
        return complete("broadcast", (line,), {"shape": found.shape}, Tensor(array.copy())) if array.size else (
            dispatch("slice", line, start=(0,) * line.ndim, stop=found.shape, step=(1,) * line.ndim))
    return take(line, found.index, found.at)


def places(x: Tensor, form: Key) -> Places:
    """What an advanced key selects. Reads masks; IndexError for an index that is out of bounds."""
    keys = [part for k in form.entries for part in (positions(k) if is_mask(k) else (k,))]
    whole = basic(x, [WHOLE if isinstance(k, Tensor) else k for k in keys if not isinstance(k, bool)])
    indices: list[Tensor] = []
    axes: list[int] = []
    axis, at = 0, 0 if form.apart else None
    for k in keys:
        if at is None and isinstance(k, bool | int | Tensor):
            at = axis
        if isinstance(k, Tensor):
            indices.append(k)
            axes.append(axis)
        axis += k is None or isinstance(k, slice | Tensor)
    assert at is not None
    bools = [(int(k),) for k in keys if isinstance(k, bool)]
    try:
        shape = cast(tuple[int, ...], broadcast_shapes(*(k.shape for k in indices), *bools))
    except TypeRuleError:
        texts = " and ".join(str(list(k.shape)) for k in indices)
        raise IndexError(at_user_line(f"indexing: indices of the shapes {texts} do not broadcast together")) from None
    check_bounds([k for k in keys if k is not None and not isinstance(k, bool)], x.shape, 0 in shape)
    if not indices:
        return Places(whole, (), at, known(np.zeros(shape, np.int64)))
    sizes = [whole.shape[k] for k in axes]
    return Places(whole, tuple(axes), at, broadcast_to(joint_index(indices, sizes, shape), shape))


def positions(mask: Any) -> tuple[Any, ...]:
    """Where a mask holds: indices for each of its axes; of a 0-d one, a bool."""
    array = read(mask, "indexing by a mask") if isinstance(mask, Tensor) else mask
    if array.ndim == 0:
        return bool(array),
    with there(array):
        return tuple([known(k) for k in np.nonzero(array)])


def check_bounds(keys: list[Any], shape: tuple[int, ...], empty: bool) -> None:
    """IndexError if an index, one entry for each axis, is out of bounds. Where nothing is taken, only 0-d ones do."""
    for axis, (k, size) in enumerate(zip(keys, shape)):
        if isinstance(k, Tensor) and k.size and not (empty and k.ndim):
            size = number_in(size)              # where it is another, the gather refuses what is out of bounds
            with there(k.memory):
                low, high = k.memory.min(), k.memory.max()
                if low < -size or high >= size:
                    position(int(low if low < -size else high), size, axis)


def joint_index(indices: list[Tensor], sizes: list[int], shape: tuple[int, ...]) -> Tensor:
    """One index into the line of `sizes` for several into its axes: out of bounds where one of them is."""
    if len(indices) == 1:
        return bounded(indices[0], sizes[0])
    line = prod(sizes)
    if ACTIVE.get() is None and not CUPY:
        if 0 in shape:
            return Tensor(np.zeros(shape, np.int64))
        wrapped = [np.where(k.array < 0, k.array + n, k.array).astype(np.int64) for k, n in zip(indices, sizes)]
        return Tensor(np.asarray(np.ravel_multi_index(tuple(wrapped), tuple(sizes))))
    joint = inside = None
    for k, n in zip(indices, sizes):
        wide = convert(bounded(k, n), int64)
        wide = dispatch("where", dispatch("lt", wide, 0), dispatch("add", wide, n), wide)
        fits = dispatch("and", dispatch("ge", wide, 0), dispatch("lt", wide, n))
        joint = wide if joint is None else dispatch("add", dispatch("mul", joint, n), wide)
        inside = fits if inside is None else dispatch("and", inside, fits)
    return dispatch("where", inside, joint, line)


def bounded(index: Tensor, size: int) -> Tensor:
    """Indices that keep their meaning when they are made i64: u64 beyond its range stays out of bounds."""
    return dispatch("minimum", index, size) if index.dtype is uint64 else index

