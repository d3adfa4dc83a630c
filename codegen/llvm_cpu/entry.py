"""entry: from a tuple of arrays in Python to the driver, in one native call.

    run((x, w, y))    ->    the data pointers of x, w and y into the slots of a frame, then @drive

The pointers are read natively out of the tuple and the array objects, whose layouts CPython and NumPy fix. Whether
they are as expected is tested once (`object_layout`); where not, the pointers come from Python in a table.

1. A run trusts its caller: the arrays are of the right number and types, C-contiguous, and stay alive.
2. The call releases the interpreter lock. Each run takes a frame of its own from the free list, so runs may overlap.
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping

import numpy as np

from codegen.executable import EntryRun
from codegen.llvm_cpu.driver import FRAME_SLOTS
from codegen.llvm_cpu.encoding import Encoding
from codegen.llvm_cpu.host_calls import HostCalls
from codegen.llvm_cpu.interruptions import INTERRUPTED, raiser
from codegen.llvm_cpu.objects import Layout

_HUGE_PAGE = 1 << 21
_LINE = 64

KEPT_FRAMES = 4
"""How many idle frames an executable keeps; more exist while more runs are under way."""


def entry_text(layout: Layout | None) -> str:
    """The LLVM text of @enter_table(table, frame) and, where objects can be read, @enter(tuple, frame)."""
    table = _entry("enter_table", "table", "", 0)
    if layout is None:
        return table
    data = f"""
  %data.at = getelementptr i8, ptr %item, i64 {layout.data}
  %data = load ptr, ptr %data.at"""
    return table + _entry("enter", "tuple", data, layout.items)


def _entry(symbol: str, source: str, dereference: str, offset: int) -> str:
    data = "%data" if dereference else "%item"
    return f"""
; fill the first slots of the frame from the {source}, then run
define i64 @{symbol}(ptr %{source}, ptr %frame) nounwind {{
entry:
  %program = load ptr, ptr %frame
  %count = load i64, ptr %program
  %items = getelementptr i8, ptr %{source}, i64 {offset}
  %slots = getelementptr i64, ptr %frame, i64 {FRAME_SLOTS}
  br label %check
check:
  %index = phi i64 [ 0, %entry ], [ %next, %fill ]
  %more = icmp ult i64 %index, %count
  br i1 %more, label %fill, label %run
fill:
  %item.at = getelementptr ptr, ptr %items, i64 %index
  %item = load ptr, ptr %item.at{dereference}
  %slot = getelementptr ptr, ptr %slots, i64 %index
  store ptr {data}, ptr %slot
  %next = add i64 %index, 1
  br label %check
run:
  %result = call i64 @drive(ptr %frame)
  ret i64 %result
}}
"""


class Frame:
    """The words and the arena of a run; `address` is where the words are."""

    __slots__ = ("address", "memory")

    def __init__(self, encoding: Encoding, arena_bytes: int):
        alignment = _HUGE_PAGE if arena_bytes >= _HUGE_PAGE else _LINE
        room = -(-arena_bytes // _LINE) * _LINE
        self.memory = np.empty(room + 8 * encoding.frame_words + alignment, np.uint8)
        start = self.memory.ctypes.data
        arena = -(-start // alignment) * alignment
        self.address = arena + room
        words = self.memory[self.address - start:][:8 * encoding.frame_words].view(np.int64)
        words[:] = 0
        words[0] = encoding.words.ctypes.data
        for slot, offset in encoding.arena_slots:
            words[FRAME_SLOTS + slot] = arena + offset
        for slot, content in encoding.constant_slots:
            words[FRAME_SLOTS + slot] = content.ctypes.data


Run = Callable[[tuple[np.ndarray, ...]], int]


class Frames:
    """The frames of a program, of which each run takes one that is idle."""

    def __init__(self, encoding: Encoding, arena_bytes: int):
        self.idle: list[Frame] = []
        self._encoding, self._arena_bytes = encoding, arena_bytes

    def take(self) -> Frame:
        """One that nobody else has."""
        try:
            return self.idle.pop()
        except IndexError:
            return Frame(self._encoding, self._arena_bytes)

    def entry_run(self) -> EntryRun | None:
        """How native code that found the arrays itself runs the program; None where Python is called in it."""
        return None if self._encoding.host_calls else EntryRun(self.take, self._encoding.is_long)


def make_run(encoding: Encoding, arena_bytes: int, symbols: Mapping[str, int], frames: Frames | None = None) -> Run:
    """The function that runs a program: arrays (inputs, then outputs not aliased) -> -1, or the number of an exit."""
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    raise_interruption = raiser(symbols)
    take = (frames := frames or Frames(encoding, arena_bytes)).take
    idle = frames.idle
    if "enter" in symbols:
        enter = prototype(symbols["enter"])

        def run(arrays: tuple[np.ndarray, ...]) -> int:
            try:
                frame = idle.pop()
            except IndexError:
                frame = take()
            left_at = enter(id(arrays), frame.address)
            if len(idle) < KEPT_FRAMES:
                idle.append(frame)
            if left_at == INTERRUPTED:
                raise_interruption()
            return left_at
        return interruptible(run, encoding.host_calls)

    enter_table = prototype(symbols["enter_table"])

    def run_with_table(arrays: tuple[np.ndarray, ...]) -> int:
        frame = take()
        table = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        left_at = enter_table(ctypes.addressof(table), frame.address)
        if len(idle) < KEPT_FRAMES:
            idle.append(frame)
        if left_at == INTERRUPTED:
            raise_interruption()
        return left_at
    return interruptible(run_with_table, encoding.host_calls)


def interruptible(run: Run, host_calls: HostCalls) -> Run:
    """`run`, which raises what interrupted the host in it."""
    if not host_calls:
        return run

    def run_and_raise(arrays: tuple[np.ndarray, ...]) -> int:
        left_at = run(arrays)
        host_calls.raise_interruption()
        return left_at
    return run_and_raise
