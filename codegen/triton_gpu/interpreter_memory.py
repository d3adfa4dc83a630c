"""The memory of a launch in Triton's interpreter: addresses that say which buffer they are of, every access checked.

    buffer 0, element 3 of f32   <->   1 << 44 | 1 << 43 | 12

Triton's interpreter reads and writes whatever address it is given. Here a pointer is no address of the machine: its
high bits are the number of a buffer, so an access is either inside the buffer that it was meant for or an IndexError.

1. A pointer that left its buffer by less than 2**43 bytes still says which buffer that was.
2. A lane that is masked off neither reads nor writes. Where the load says no other value, it holds `garbage`, as such a
   lane of a GPU may: what is right here by a zero that nobody asked for is found out.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from codegen.triton_gpu.interpreter_races import Race, Races

_BITS = 44
_MIDDLE = 1 << _BITS - 1


@struct
class Places:
    """The lanes of an access: where they are for the machine, and which elements of which buffer those that are active
    access."""

    addresses: np.ndarray
    number: int
    elements: np.ndarray


class Memory:
    """The buffers of a launch, by number."""

    def __init__(self) -> None:
        self.buffers: list[np.ndarray] = []
        self.writeable: Sequence[bool] = ()
        self.written: set[int] = set()
        self.races = Races()

    def hold(self, buffers: Sequence[np.ndarray], writeable: Sequence[bool], threads: int) -> None:
        """From now on the memory is `buffers`, for programs of so many threads."""
        self.buffers, self.writeable, self.written = list(buffers), writeable, set()
        self.races.begin([buffer.size for buffer in buffers], threads)

    def places(self, kind: str, pointers: np.ndarray, mask: np.ndarray | None, itemsize: int) -> Places | None:
        """Where an access goes; None if nowhere. IndexError where a lane that is not masked off has no element."""
        active = pointers.reshape(-1) if mask is None or mask.all() else pointers[mask]
        if not active.size:
            return None
        number = (int(active[0]) >> _BITS) - 1
        if not 0 <= number < len(self.buffers):
            raise IndexError(f"{kind} through what is no pointer to a buffer")
        buffer = self.buffers[number]
        offsets = (active - np.uint64(_base(number))).view(np.int64)
        last = buffer.nbytes - itemsize
        if offsets.min() < 0 or offsets.max() > last or (offsets & itemsize - 1).any():
            offset = int(offsets[(offsets < 0) | (offsets > last) | (offsets & itemsize - 1 != 0)][0])
            if abs(offset) >= _MIDDLE:
                raise IndexError(f"one {kind} through pointers to several buffers")
            raise IndexError(f"{kind} out of bounds: element {offset // itemsize} of buffer {number}, "
                             f"which has {buffer.nbytes // itemsize}")
        if kind != "load":
            if not self.writeable[number]:
                raise IndexError(f"{kind} to buffer {number}, which is only read")
            self.written.add(number)
        distance = np.uint64((buffer.ctypes.data - _base(number)) % (1 << 64))
        return Places(pointers + distance, number, offsets >> buffer.itemsize.bit_length() - 1)


def _base(number: int) -> int:
    return (number + 1 << _BITS) + _MIDDLE


def pointer(number: int) -> np.ndarray:
    """The pointer to the first element of a buffer."""
    return np.array([_base(number)], np.uint64)


def garbage(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """What stands where nothing defined does: NaNs, or integers of an odd pattern."""
    if dtype.kind == "f":
        return np.full(shape, np.nan, dtype)
    return np.full(shape, True if dtype.kind == "b" else np.frombuffer(b"\xa5" * dtype.itemsize, dtype)[0], dtype)


def guard(interpreter: Any, memory: Memory) -> None:
    """Make every access of the interpreter one of `memory`."""
    builder, native, handle = interpreter.InterpreterBuilder, interpreter._interpreter, interpreter.TensorHandle

    def size(pointers: Any) -> int:
        return max(1, pointers.get_element_ty().primitive_bitwidth // 8)

    def load(self: Any, pointers: Any, mask: Any, other: Any, *_: Any) -> Any:
        element, shape = pointers.get_element_ty(), pointers.data.shape
        dtype = interpreter._get_np_dtype(element)
        inside = np.broadcast_to(mask.data, shape)
        filling = garbage(shape, dtype) if other is None else np.broadcast_to(other.data, shape)
        places = memory.places("load", pointers.data, inside, size(pointers))
        if places is None:
            return handle(filling.astype(dtype), element)
        memory.races.load(places.number, places.elements, pointers.data.size)
        return handle(native.load(places.addresses, inside, filling, dtype), element)

    def store(self: Any, pointers: Any, value: Any, mask: Any, *_: Any) -> Any:
        inside = np.broadcast_to(mask.data, pointers.data.shape)
        values = np.broadcast_to(value.data, pointers.data.shape)
        places = memory.places("store", pointers.data, inside, size(pointers))
        if places is None:
            return
        buffer = memory.buffers[places.number]
        before = bits(buffer[places.elements])
        native.store(places.addresses, values, inside)
        after = bits(buffer[places.elements])
        if (bits(values[inside].astype(buffer.dtype, copy=False)) != after).any():
            raise Race(f"lanes of one store write different values to an element of buffer {places.number}")
        memory.races.store(places.number, places.elements, before != after)

    def guarded(original: Any, at: int, mask_at: int | None) -> Any:
        def access(self: Any, *args: Any) -> Any:
            pointers = args[at]
            mask = None if mask_at is None else np.broadcast_to(args[mask_at].data, pointers.data.shape)
            places = memory.places("atomic access", pointers.data, mask, size(pointers))
            addresses = np.zeros_like(pointers.data)
            if places is not None:
                memory.races.atomic(places.number, places.elements)
                addresses = places.addresses
            return original(self, *args[:at], handle(addresses, pointers.dtype), *args[at + 1:])
        return access

    def barrier(self: Any, *_: Any) -> None:
        memory.races.barriers += 1

    builder.create_masked_load, builder.create_masked_store, builder.create_barrier = load, store, barrier
    builder.create_atomic_rmw = guarded(builder.create_atomic_rmw, 1, 3)
    builder.create_atomic_cas = guarded(builder.create_atomic_cas, 0, None)


def bits(x: np.ndarray) -> np.ndarray:
    """Numbers as integers, so that two are equal if their bits are."""
    return x.view(np.dtype(f"u{x.itemsize}"))
