"""driver: a Plan as an array of words, and the native function that runs it.

    Launch(kernel, buffers=(0, 2))          launch, length, address, chunks, 2, slot 0, slot 2
    Matmul(a, b, c, ...)             ->     launch, length, address, chunks, 3, slot a, slot b, slot c, m, n, k, ...
    Host(op, ...)                           launch, length, address, 1, n, slots ...
    Check()                                 check, exit number
                                            done

A run has a frame: words of its own, where the driver finds the program, the storage of every buffer, and room.

    frame:    program | failed | slot 0 .. slot s-1 | room for the params of a launch

1. Slots 0..arguments-1 are the arguments of the run: inputs, then the outputs that are not aliased. Their pointers are
   filled in by each run; the others point into the arena of the frame and stay.
2. A program is only read, so any number of runs may be in it, each with a frame.
3. The function is compiled once for a machine. A new plan is new data; whatever a launch needs beyond its buffers are
   literals behind the slots, whose address follows the buffers' among the params.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.ir.dims import number_of
from codegen.ir.types import DTYPES
from codegen.llvm_cpu import matmul
from codegen.llvm_cpu.blas import Blas
from codegen.llvm_cpu.host_calls import HostCalls
from codegen.schedule.kernel import Kernel
from codegen.schedule.memory import LiveRange
from codegen.schedule.plan import Arena, Buffer, Check, Constant, Copy, Host, Input, Launch, Matmul, Output, Plan, Step
from codegen.schedule.sizes import chunks_at

DONE, CHECK, LAUNCH = range(3)
"""The first word of each instruction."""

CHECK_EXIT = 0
"""The exit taken where a check fails."""

_COPY_CHUNK_BYTES = 1 << 18

HEADER_WORDS = 3
"""arguments, does it multiply matrices, word of the frame where the room for params begins."""

FRAME_SLOTS = 2
"""The word of a frame where the slots begin."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """`words` is the program; `arena_slots`: (slot, offset) of what is in the arena; `constant_slots`: (slot, content)
    of what is in neither it nor the arguments; `frame_words`: a frame's size.

    `host_calls`: the functions in Python that it launches.
    """

    words: np.ndarray
    arguments: int
    arena_slots: tuple[tuple[int, int], ...]
    constant_slots: tuple[tuple[int, np.ndarray], ...]
    frame_words: int
    host_calls: HostCalls


def encode(plan: Plan, kernels: Mapping[Kernel, int], symbols: Mapping[str, int], blas: Blas) -> Encoding:
    """The program of `plan`; `kernels` and `symbols` give the addresses of what it launches, `blas` multiplies."""
    owner = dict(plan.aliases)
    fresh = [k for k in range(len(plan.outputs)) if k not in owner]
    arguments = len(plan.inputs) + len(fresh)
    offsets = sorted({b.place.offset for b in plan.buffers if isinstance(b.place, Arena)})
    slot_of_offset = {offset: arguments + k for k, offset in enumerate(offsets)}

    constants = {buffer.place.data: 0 for buffer in plan.buffers if isinstance(buffer.place, Constant)}
    slot_of_constant = {data: arguments + len(offsets) + k for k, data in enumerate(constants)}

    def slot(place: Input | Output | Arena | Constant | LiveRange) -> int:
        match place:
            case Input(index):
                return index
            case Output(index):
                return owner[index] if index in owner else len(plan.inputs) + fresh.index(index)
            case Arena(offset):
                return slot_of_offset[offset]
            case Constant(data):
                return slot_of_constant[data]
            case LiveRange():
                raise ValueError("a plan with symbols has to be bound to numbers first")

    slots = [slot(buffer.place) for buffer in plan.buffers]
    instructions: list[int] = []
    host_calls = HostCalls()
    widest = 0
    for step in plan.steps:
        if isinstance(step, Check):
            instructions += [CHECK, CHECK_EXIT]
            continue
        address, chunks, buffers, literals = _launch(step, plan, kernels, symbols, blas, host_calls)
        if chunks:
            operands = [len(buffers), *(slots[b] for b in buffers), *literals]
            instructions += [LAUNCH, 4 + len(operands), address, chunks, *operands]
            widest = max(widest, len(buffers) + 1)
    room = FRAME_SLOTS + arguments + len(offsets) + len(constants)
    multiplies = any(isinstance(step, Matmul) for step in plan.steps)
    words = np.array([arguments, int(multiplies), room, *instructions, DONE], np.int64)
    held = tuple((slot, _held(data)) for data, slot in slot_of_constant.items())
    return Encoding(words, arguments, tuple((slot, offset) for offset, slot in slot_of_offset.items()), held,
                    room + widest, host_calls)


def _held(data: bytes) -> np.ndarray:
    """Bytes as words: aligned for whatever they are, and with room to be read as a word."""
    return np.frombuffer(data.ljust(-(-len(data) // 8) * 8, bytes(1)), np.int64).copy()


def _launch(step: Launch | Matmul | Host | Copy, plan: Plan, kernels: Mapping[Kernel, int], symbols: Mapping[str, int],
            blas: Blas, host_calls: HostCalls) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    """(address, chunks, buffers, literals) of a step; no chunks when there is nothing to do."""
    match step:
        case Launch(kernel, buffers, words):
            numbers = tuple(map(number_of, words))
            return kernels[kernel], chunks_at(kernel, numbers), buffers, numbers
        case Matmul() if 0 in (step.batch, step.m, step.n):
            return 0, 0, (), ()
        case Matmul(k=0):
            size = _bytes(plan.buffers[step.c])
            return symbols["fill_zero"], -(-size // _COPY_CHUNK_BYTES), (step.c,), (size,)
        case Matmul():
            launch = matmul.launch(step, blas)
            return symbols[launch.symbol], launch.chunks, launch.buffers, launch.literals
        case Host(operands=operands, result=result):
            return host_calls.address(step), 1, (*(k for k, _ in operands if k is not None), result), ()
        case Copy(source, target):
            size = _bytes(plan.buffers[target])
            return symbols["copy"], -(-size // _COPY_CHUNK_BYTES), (source, target), (size,)


def _bytes(buffer: Buffer) -> int:
    return number_of(buffer.size) * DTYPES[buffer.dtype].itemsize


def unsupported(step: Step) -> str | None:
    """Why the driver cannot run `step`, if it cannot."""
    if isinstance(step, Matmul) and step.dtype not in matmul.LLVM_TYPES:
        return f"matmul of {step.dtype} is not compiled; the dtypes are {', '.join(matmul.LLVM_TYPES)}"
    return None


EXPORTS = ("copy", "fill_zero", "after_fork")
"""What DRIVER_TEXT defines to be called from outside."""

DRIVER_TEXT = f"""
; ---- the driver
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; buffers: source, target; literals: bytes
define void @copy(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {{
  %target.at = getelementptr ptr, ptr %buffers, i64 1
  %literals.at = getelementptr ptr, ptr %buffers, i64 2
  %source = load ptr, ptr %buffers
  %target = load ptr, ptr %target.at
  %literals = load ptr, ptr %literals.at
  %size = load i64, ptr %literals
  %begin = mul i64 %first, {_COPY_CHUNK_BYTES}
  %end.whole = mul i64 %last, {_COPY_CHUNK_BYTES}
  %end = call i64 @llvm.umin.i64(i64 %end.whole, i64 %size)
  %length = sub i64 %end, %begin
  %from = getelementptr i8, ptr %source, i64 %begin
  %to = getelementptr i8, ptr %target, i64 %begin
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %length, i1 false)
  ret void
}}

; buffers: target; literals: bytes
define void @fill_zero(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {{
  %literals.at = getelementptr ptr, ptr %buffers, i64 1
  %target = load ptr, ptr %buffers
  %literals = load ptr, ptr %literals.at
  %size = load i64, ptr %literals
  %begin = mul i64 %first, {_COPY_CHUNK_BYTES}
  %end.whole = mul i64 %last, {_COPY_CHUNK_BYTES}
  %end = call i64 @llvm.umin.i64(i64 %end.whole, i64 %size)
  %length = sub i64 %end, %begin
  %to = getelementptr i8, ptr %target, i64 %begin
  call void @llvm.memset.p0.i64(ptr %to, i8 0, i64 %length, i1 false)
  ret void
}}

; run the program of a frame whose slots are filled; -1 when it is done, else the number of the exit
define internal i64 @drive(ptr %frame) nounwind {{
entry:
  %program = load ptr, ptr %frame
  %failed = getelementptr i64, ptr %frame, i64 1
  %slots = getelementptr i64, ptr %frame, i64 {FRAME_SLOTS}
  store i64 0, ptr %failed
  %multiplies.at = getelementptr i64, ptr %program, i64 1
  %room.at = getelementptr i64, ptr %program, i64 2
  %multiplies = load i64, ptr %multiplies.at
  %room = load i64, ptr %room.at
  %params = getelementptr i64, ptr %frame, i64 %room
  %start = getelementptr i64, ptr %program, i64 {HEADER_WORDS}
  %blas = icmp ne i64 %multiplies, 0
  br i1 %blas, label %hold, label %next
hold:
  call void @hold_blas()
  br label %next
next:
  %at = phi ptr [ %start, %entry ], [ %start, %hold ], [ %after.check, %passed ], [ %after.launch, %launched ]
  %word.1.at = getelementptr i64, ptr %at, i64 1
  %code = load i64, ptr %at
  switch i64 %code, label %done [ i64 {CHECK}, label %check i64 {LAUNCH}, label %gather ]

check:
  %flag = load i32, ptr %failed
  %bad = icmp ne i32 %flag, 0
  br i1 %bad, label %leave, label %passed
passed:
  %after.check = getelementptr i64, ptr %at, i64 2
  br label %next
leave:
  %exit = load i64, ptr %word.1.at
  br label %finish

gather:
  %kernel.at = getelementptr i64, ptr %at, i64 2
  %chunks.at = getelementptr i64, ptr %at, i64 3
  %count.at = getelementptr i64, ptr %at, i64 4
  %operands = getelementptr i64, ptr %at, i64 5
  %length = load i64, ptr %word.1.at
  %kernel = load ptr, ptr %kernel.at
  %chunks = load i64, ptr %chunks.at
  %count = load i64, ptr %count.at
  br label %param
param:
  %index = phi i64 [ 0, %gather ], [ %index.next, %resolve ]
  %complete = icmp eq i64 %index, %count
  br i1 %complete, label %run, label %resolve
resolve:
  %slot.at = getelementptr i64, ptr %operands, i64 %index
  %slot = load i64, ptr %slot.at
  %storage.at = getelementptr ptr, ptr %slots, i64 %slot
  %storage = load ptr, ptr %storage.at
  %param.at = getelementptr ptr, ptr %params, i64 %index
  store ptr %storage, ptr %param.at
  %index.next = add i64 %index, 1
  br label %param
run:
  %literals = getelementptr i64, ptr %operands, i64 %count
  %last.at = getelementptr ptr, ptr %params, i64 %count
  store ptr %literals, ptr %last.at
  call void @launch(ptr %kernel, ptr %params, i64 %chunks, ptr %failed)
  br label %launched
launched:
  %after.launch = getelementptr i64, ptr %at, i64 %length
  br label %next

done:
  br label %finish
finish:
  %result = phi i64 [ -1, %done ], [ %exit, %leave ]
  br i1 %blas, label %release, label %out
release:
  call void @release_blas()
  br label %out
out:
  ret i64 %result
}}

; a forked child has no helpers and no runs under way
define void @after_fork() nounwind {{
  call void @reset_pool()
  call void @reset_blas()
  ret void
}}
"""
"""@copy, @fill_zero, @drive(frame) and @after_fork(); needs the texts of threads and blas in the same module."""
