"""encode: a ProgramPlan as the array of words that the driver runs.

    Launch(kernel, buffers=(0, 2))          launch, length, address, chunks, 2, slot 0, slot 2
    Launch, beside it Launch, ..            launch, length, @together, chunks of all, n, a table, the slots of each
    Matmul(a, b, c, ...)             ->     launch, length, address, chunks, 3, slot a, slot b, slot c, m, n, k, ...
    Host(op, ...)                           launch, length, address, 1, n, slots ...
    Check()                                 check, exit number
    after a launch of several chunks        poll
    terminators                             see control

1. Slots 0..arguments-1 are the arguments of a run: inputs, then the arrays for the slots of the plan. The others are
   places in the arena, and constants.
2. A new plan is new data; whatever a launch needs beyond its buffers are literals behind the slots, whose address
   follows the buffers' among the params.
3. There is a poll (see interruptions) until a step writes an input: from there on a run does not leave.
4. The slot of a buffer that is part of a storage has beside it, in the higher bits, how many bytes come before.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

import numpy as np

from codegen.ir.dims import number_of
from codegen.ir.types import DTYPES
from codegen.llvm_cpu.blas import Blas
from codegen.llvm_cpu.control import BlockWriter
from codegen.llvm_cpu.driver import (
    CHECK,
    CHECK_EXIT,
    COPY_CHUNK_BYTES,
    FRAME_SLOTS,
    HEADER_WORDS,
    LAUNCH,
    POLL,
    SLOT_BITS,
)
from codegen.llvm_cpu.encoding import PROGRAM, Encoding
from codegen.llvm_cpu.host_calls import HostCalls
from codegen.schedule.plan import (
    Arena,
    Attention,
    Buffer,
    Check,
    Constant,
    Copy,
    Host,
    Input,
    Launch,
    Matmul,
    Place,
    Plan,
    PlannedBlock,
    ProgramPlan,
    Spliced,
    at_once,
    written,
)
from codegen.schedule.sizes import chunks_at

MANY_LAUNCHES = 32
"""So many in a block, or one of many chunks, take long: compared with releasing the interpreter lock, some 50 ns."""


def encode(plan: ProgramPlan, kernels: Mapping[int, int], symbols: Mapping[str, int], blas: Blas) -> Encoding:
    """The program of `plan`; `kernels`, by id, and `symbols` give the addresses of what it launches, `blas` multiplies.
    """
    host_calls = HostCalls()
    launches = {id(p): [None if isinstance(step, Check) else _launch(step, p, kernels, symbols, blas, host_calls)
                        for step in p.steps] for p in plan.plans}
    writer = _Writer(plan, launches, symbols["together"])
    writer.write()
    room = FRAME_SLOTS + writer.arguments + len(writer.slot_of_offset) + len(writer.slot_of_constant)
    multiplies = any(isinstance(step, Matmul) and _by_blas(step, blas) for step in plan.steps)
    writer.words[:HEADER_WORDS] = writer.arguments, int(multiplies), room
    return Encoding(np.array(writer.words, np.int64), writer.arguments,
                    tuple((slot, offset) for offset, slot in writer.slot_of_offset.items()),
                    tuple((slot, held(data)) for data, slot in writer.slot_of_constant.items()),
                    room + writer.widest, host_calls, writer.step_at, writer.is_long,
                    tuple(dict.fromkeys(writer.calls)))


def _by_blas(step: Matmul, blas: Blas) -> bool:
    from codegen.llvm_cpu.matmul import by_blas  # which programs without products do not need

    return by_blas(step, blas)


def held(data: bytes) -> np.ndarray:
    """Bytes as words: aligned for whatever they are, and with room to be read as a word."""
    return np.frombuffer(data.ljust(-(-len(data) // 8) * 8, bytes(1)), np.int64).copy()


_Launched = tuple[int, int, tuple[int, ...], tuple[int, ...]]
"""address, chunks, buffers, literals; no chunks when there is nothing to do"""


class _Writer(BlockWriter):
    """The words of a program; `widest`: the most params of a launch; `step_at`: see Encoding.steps; `is_long`: see
    Encoding.
    """

    def __init__(self, plan: ProgramPlan, launches: Mapping[int, list[_Launched | None]], together: int):
        super().__init__(plan)
        self.widest, self.is_long, self.launches = 0, False, launches
        self.step_at: dict[int, tuple[int, int]] = {}
        self.calls: list[tuple[int, int]] = []                      # see Encoding
        self.together = together                                    # the address of what runs several launches in one
        places = {place: None for block in plan.blocks for place in _places(block)}
        offsets = sorted(place.offset for place in places if isinstance(place, Arena))
        constants = [place.data for place in places if isinstance(place, Constant)]
        self.slot_of_offset = {offset: self.arguments + k for k, offset in enumerate(offsets)}
        self.slot_of_constant = {data: self.arguments + len(offsets) + k for k, data in enumerate(constants)}

    def _steps(self, number: int, block: PlannedBlock) -> None:
        launches = self.launches[id(block.plan)]
        places = [block.place(buffer.place) for buffer in block.plan.buffers]
        slots = [self._slot(place) | _start(buffer) << SLOT_BITS for place, buffer in zip(places, block.plan.buffers)]
        may_leave = True
        for numbers in at_once(block.plan.steps):
            several = [launched for k in numbers if (launched := launches[k]) is not None]
            if not several:
                self.words += [CHECK, CHECK_EXIT]
                continue
            address, chunks, operands, literals = self._one(several, slots)
            if chunks:
                at = len(self.words)
                self.step_at[at] = number, numbers.start
                self.calls.append((PROGRAM, at + 2))
                self.words += [LAUNCH, 5 + len(operands) + len(literals), address, chunks, len(operands), *operands,
                               *literals]
                self.widest = max(self.widest, len(operands) + 1)
                may_leave = may_leave and not any(isinstance(places[b], Input)
                                              for k in numbers for b in written(block.plan.steps[k]))
                if may_leave and chunks > 1:
                    self.words.append(POLL)
                self.is_long |= chunks > 1
        self.is_long |= len(launches) > MANY_LAUNCHES

    def _one(self, several: list[_Launched], slots: list[int]) -> _Launched:
        """Launches as one whose operands are slots."""
        if len(several) == 1:
            ((address, chunks, buffers, literals),) = several
            return address, chunks, tuple(slots[b] for b in buffers), literals
        operands = [0]
        table, first = [len(several)], 0
        for address, chunks, buffers, literals in several:
            table += [address, first, len(operands)]
            first += chunks
            operands += [*[slots[b] for b in buffers], self._words_of_its_own(literals)]
        operands[0] = self._words_of_its_own((*table, 0, first))
        self.calls += [(operands[0], 1 + 3 * k) for k in range(len(several))]
        return self.together, first, tuple(operands), ()

    def _words_of_its_own(self, words: Sequence[int]) -> int:
        """The slot of a constant that is these words."""
        data = np.array(words, np.int64).tobytes()
        free = self.arguments + len(self.slot_of_offset) + len(self.slot_of_constant)
        return self.slot_of_constant.setdefault(data, free)

    def _slot(self, place: Place) -> int:
        match place:
            case Arena(offset):
                return self.slot_of_offset[offset]
            case Constant(data):
                return self.slot_of_constant[data]
            case _:
                return super()._slot(place)


def _places(block: PlannedBlock) -> Iterator[Place]:
    """Where what a block reads and writes is."""
    yield from (block.place(buffer.place) for buffer in block.plan.buffers)
    if block.decider is not None:
        yield block.decider[0]


def _launch(step: Launch | Matmul | Spliced | Attention | Host | Copy, plan: Plan, kernels: Mapping[int, int],
            symbols: Mapping[str, int], blas: Blas, host_calls: HostCalls) -> _Launched:
    match step:
        case Launch(kernel, buffers, words):
            numbers = tuple(map(number_of, words))
            return kernels[id(kernel)], chunks_at(kernel, numbers), buffers, numbers
        case Matmul() if 0 in (step.batch, step.m, step.n):
            return 0, 0, (), ()
        case Matmul(k=0):
            size = _bytes(plan.buffers[step.c])
            return symbols["fill_zero"], -(-size // COPY_CHUNK_BYTES), (step.c,), (size,)
        case Matmul():
            from codegen.llvm_cpu.matmul import launch as launched_by

            launch = launched_by(step, blas)
            return symbols[launch.symbol], launch.chunks, launch.buffers, launch.literals
        case Host(operands=operands, result=result):
            return host_calls.address(step), 1, (*(k for k, _ in operands if k is not None), result), ()
        case Copy(source, target):
            size = _bytes(plan.buffers[target])
            return symbols["copy"], -(-size // COPY_CHUNK_BYTES), (source, target), (size,)
        case Spliced() | Attention():
            raise AssertionError("the machine that was planned for splices nothing")
        case _:
            assert_never(step)


def _start(buffer: Buffer) -> int:
    return number_of(buffer.start) * DTYPES[buffer.dtype].itemsize


def _bytes(buffer: Buffer) -> int:
    return number_of(buffer.size) * DTYPES[buffer.dtype].itemsize
