"""The normal form of a key: what x[key] selects, before anything is read or written.

    x: f32[2,3,4,5]
    x[0, ..., [1, 2]]       entries 0, :, :, i64[2]                 apart: the int and the list are not neighbors
    x[None, mask]           entries None, bool[2,3], :, :           the mask stands for as many axes as it has
    x[True]                 entries True, :, :, :, :                a bool stands for none

1. Entries are in the order of the axes of x. Ellipsis is written out, and axes that the key does not reach are `:`.
2. An entry is None (a new axis), a slice, an int, a bool, a Tensor of integers (indices) or bools (a mask), or an
   array of bools: a mask that the program writes out.
3. A key with a bool or an array is *advanced*. Its ints, bools and arrays broadcast together; the axes of what they
   select stand where the first of them is, or in front if something else is between them (`apart`): NumPy's rule.
4. Nothing here reads the value of a Tensor.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from codegen.ir.structs import struct
from codegen.ir.types import type_of
from tracegrad.conversions import moved
from tracegrad.devices import CPU, CUPY, is_gpu_array, make_placeless
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import bool_
from tracegrad.movement import stack
from tracegrad.operands import adopt
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Entry: TypeAlias = None | slice | bool | int | Tensor | np.ndarray

WHOLE = slice(None)
ARRAYS = (Tensor, np.ndarray)


@struct
class Key:
    """A key in its normal form."""

    entries: tuple[Entry, ...]
    advanced: bool = False
    apart: bool = False

    def by_axis(self) -> Iterator[tuple[int, Entry]]:
        """(axis of x where it begins, entry)."""
        axis = 0
        for entry in self.entries:
            yield axis, entry
            axis += axes_used(entry)

    @property
    def masks(self) -> list[Tensor | np.ndarray]:
        """The masks among the entries."""
        return [k for k in self.entries if is_mask(k)]      # type: ignore[misc]


def is_mask(entry: Any) -> bool:
    """Is it an array of bools?"""
    return isinstance(entry, ARRAYS) and entry.dtype == bool_


def axes_used(entry: Any) -> int:
    """How many axes of x an entry stands for."""
    if entry is None or isinstance(entry, bool):
        return 0
    return entry.ndim if is_mask(entry) else 1


def normal_form(x: Tensor, key: Any) -> Key:
    """The key, for x. IndexError for what is no key of x; int indices may still be out of bounds."""
    given = key if isinstance(key, tuple) else (key,)
    entries: list[Any] = []                 # with Ellipsis
    for k in given:
        if k is None or k is Ellipsis or type(k) is int:
            entries.append(k)
        elif type(k) is slice:
            if k.step == 0:
                raise ValueError(at_user_line("indexing: the step of a slice is 0"))
            entries.append(WHOLE if k.start is None and k.stop is None and k.step is None else k)
        else:
            entries.append(entry_of(k))
    if CUPY and x.device != CPU:
        entries = [moved(k, x.device) if isinstance(k, Tensor) else k for k in entries]
    used = sum(axes_used(k) for k in entries if k is not Ellipsis)
    shape = x.shape
    if used > len(shape):
        raise IndexError(at_user_line(f"indexing: {used} indices for the {len(shape)} axes of {type_of(x)}"))
    ellipses = [place for place, k in enumerate(entries) if k is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError(at_user_line("indexing: an index can only have one ellipsis"))
    advanced = any(isinstance(k, (bool, *ARRAYS)) for k in entries)
    apart = advanced and is_apart(entries)
    place = ellipses[0] if ellipses else len(entries)
    found = Key((*entries[:place], *[WHOLE] * (len(shape) - used), *entries[place + 1:]), advanced, apart)
    if advanced:
        check_masks(found, shape)
    return found


def is_apart(entries: Sequence[Any]) -> bool:
    """Is there something else between the advanced entries?"""
    places = [place for place, k in enumerate(entries) if isinstance(k, (bool, int, *ARRAYS))]
    return places[-1] - places[0] >= len(places)


def entry_of(k: Any) -> Entry:
    """What one part of a key stands for."""
    if isinstance(k, Tensor):
        if k.dtype.kind not in "iub":
            raise IndexError(at_user_line(f"indexing: indices {type_of(k)} are neither integers nor a mask"))
        if k.dtype == bool_ and k.shape == (0,):        # NumPy takes it along an axis of any size
            return dispatch("iota", shape=(0,), axis=0, dtype="i64")
        return k
    if isinstance(k, bool | np.bool_):
        return bool(k)
    if isinstance(k, np.ndarray):
        return entry_of(adopt(k, is_operand=True))
    if isinstance(k, list | tuple):
        return of_sequence(k)
    try:
        return index(k)
    except TypeError:
        raise no_index(k) from None


def no_index(k: Any) -> IndexError:
    return IndexError(at_user_line(
        f"indexing: {type(k).__name__} is no index; an index is an int, a slice, None, ..., or integers or bools in a "
        "tensor, an array or a list"))


def of_sequence(k: list | tuple) -> Entry:
    """Nested lists of ints are indices, of bools a mask; Tensors among them are stacked."""
    from_tensors = stacked(k)
    if from_tensors is not None:
        return entry_of(from_tensors)
    try:
        array = np.asarray(k)
    except ValueError:
        raise no_index(k) from None
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind not in "iu":
        raise no_index(first_wrong(k))
    return known(array)


def first_wrong(k: Any) -> Any:
    """What in a nested list is no int."""
    while isinstance(k, list | tuple) and k:
        k = next((part for part in k if not isinstance(part, int | np.integer)), k[0])
    return k


def stacked(k: list | tuple) -> Tensor | None:
    """Lists with Tensors in them as one Tensor; None if there are none."""
    parts = [stacked(part) if isinstance(part, list | tuple) else part for part in k]
    if not any(isinstance(part, Tensor) for part in parts):
        return None
    return stack([k[place] if part is None else part for place, part in enumerate(parts)])


def known(array: np.ndarray) -> Tensor:
    """A Tensor of indices, or a mask, that the program writes out."""
    made = Tensor(array if array.dtype == bool_ else array.astype(np.int64))
    if CUPY and not is_gpu_array(array):
        make_placeless(made.array)
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.record_creation(made, array.tolist())
    return made


def check_masks(key: Key, shape: tuple[int, ...]) -> None:
    """IndexError for a mask whose shape is not that of the axes it stands for."""
    for axis, k in key.by_axis():
        if is_mask(k):
            sizes = k.shape                 # type: ignore[union-attr]
            for j, (size, wanted) in enumerate(zip(sizes, shape[axis:axis + len(sizes)]), axis):
                if size != wanted:
                    raise IndexError(at_user_line(
                        f"indexing: a mask of size {size} does not fit axis {j} of size {wanted}"))
