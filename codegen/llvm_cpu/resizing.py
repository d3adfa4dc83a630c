"""resizing: a program with symbols, planned and compiled, for other numbers than it was compiled for.

    launch, length, address, 4*b, 2, slot 0, slot 1, b      ->      at b = 24: the same words with 96 and 24 in them

Nothing is optimized, scheduled, emitted or encoded again: all that depends on sizes is one list of them, which one
function counts out. What its words cannot be known of before (calls of Python, several blocks) is planned anew.

1. Storage of the arena lies in lanes, each as long as the longest of those that are in it one after the other: which is
   in which lane does not depend on sizes.
2. The numbers of products are filled in by what cuts these (see matmul), since that looks at sizes.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from time import perf_counter

import numpy as np

from codegen.cache import Cache
from codegen.executable import Aliases, Executable, Measured, storage_of_ends
from codegen.ir.dims import Size, ceil_div, evaluate, number_of, typical
from codegen.ir.evaluation import evaluator
from codegen.ir.generalize import Binding
from codegen.ir.tree import graph_of
from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu import matmul
from codegen.llvm_cpu.blas_panels import multiplier
from codegen.llvm_cpu.build import build, host_machine
from codegen.llvm_cpu.drafts import follow_drafts
from codegen.llvm_cpu.driver import (
    CHECK,
    CHECK_EXIT,
    COPY_CHUNK_BYTES,
    FRAME_SLOTS,
    LAUNCH,
    POLL,
    SLOT_BITS,
    STOP,
)
from codegen.llvm_cpu.encode import MANY_LAUNCHES
from codegen.llvm_cpu.encoding import PROGRAM, Encoding
from codegen.llvm_cpu.executables import executable, kernel_key, product_key
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.gemm_panels import LITERALS
from codegen.llvm_cpu.host_calls import HostCalls
from codegen.llvm_cpu.listings import LISTINGS
from codegen.llvm_cpu.runtime import runtime
from codegen.schedule.binding import plan_at
from codegen.schedule.blocks import BoundTree, planned, program_of_plan, schedule_tree
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.memory import LiveRange, aligned
from codegen.schedule.plan import (
    Arena,
    Buffer,
    CannotLower,
    Check,
    Constant,
    Copy,
    Host,
    Input,
    Launch,
    Matmul,
    Output,
    Plan,
    ProgramPlan,
    at_once,
    written,
)
from codegen.schedule.sizes import LARGEST, reaches
from codegen.source import Source


class Resizing:
    """One program with symbols."""

    def __init__(self, source: Source, aliases: tuple[Aliases, ...], cache: Cache):
        self._source, self._aliases, self._cache = source, aliases, cache
        self._tree = tree = source.optimized()
        self._template = None
        if len(tree.blocks) == 1 and not source.binding.constants:
            (values,) = tree.ends().values()
            plan = planned(graph_of(tree, tree.types(), 0, values)[0], aliases[0], host_machine())
            if not any(isinstance(step, Host) or isinstance(step, Matmul) and 0 in _sizes(step) for step in plan.steps):
                self._template = _Template(plan, tuple(source.binding.numbers), cache, tree.name)

    def at(self, numbers: Mapping[str, int]) -> Executable:
        """The executable at these numbers; CannotLower where the plan does not serve them."""
        made = None if self._template is None else self._template.at(numbers)
        if made is None:
            made = replace(build(self._program(numbers), self._cache, name=self._tree.name), shares_kernels=True)
        return made

    def _program(self, numbers: Mapping[str, int]) -> ProgramPlan:
        bound = BoundTree(self._tree, Binding(numbers, self._source.binding.constants))
        return schedule_tree(bound, *storage_of_ends(bound.known_inputs, bound.outputs(), self._aliases),
                             host_machine())


def _sizes(step: Matmul) -> tuple[Size, Size, Size, Size]:
    return step.batch, step.m, step.n, step.k


_PRODUCT_LITERALS = max(len(LITERALS), 9)
"""So many literals has a launch of a product at most."""


class _Template:
    """The words of a plan, with sizes in them."""

    def __init__(self, plan: Plan, names: tuple[str, ...], cache: Cache, name: str):
        self._plan, self._names, self._cache, self._name = plan, names, cache, name
        program = program_of_plan(plan)
        self._ends = program.ends
        (block,) = program.blocks
        self._outputs = block.outputs
        self._arguments = len(program.inputs) + len(program.slots)
        self._types = program.inputs, program.slots
        self._lane_of, lanes = _lanes([b.place for b in plan.buffers if isinstance(b.place, LiveRange)])
        constants = dict.fromkeys(b.place.data for b in plan.buffers if isinstance(b.place, Constant))
        self._first_lane = self._arguments
        self._constants: list[np.ndarray | list[Size]] = [
            np.frombuffer(data.ljust(-(-len(data) // 8) * 8, bytes(1)), np.int64).copy() for data in constants]
        self._placed = sorted({b.place.offset for b in plan.buffers if isinstance(b.place, Arena)})     # for any size
        self._first_placed = self._first_lane + len(lanes)
        self._first_constant = self._first_placed + len(self._placed)
        self._constant_of = {data: self._first_constant + k for k, data in enumerate(constants)}
        self._words: list[Size] = []
        self._chunks: list[Size] = []
        self._calls: list[tuple[int, int, str]] = []            # slot of the constant or PROGRAM, word, key
        self._products: list[tuple[int, Matmul]] = []
        self._steps: dict[int, tuple[int, int]] = {}
        self._widest = 4
        self._keys: dict[int, str] = {}
        self._write()
        parts: dict[str, list[Size]] = {
            "words": [word for word in self._words if not isinstance(word, int)],
            "tables": [word for content in self._constants if isinstance(content, list) for word in content],
            "lanes": [size for lane in lanes for size in lane],
            "chunks": self._chunks,
            "types": [size for types in self._types for t in types for size in t.shape],
            "positive": [*plan.symbolic],
            "reaches": [size for s in plan.steps if isinstance(s, Launch) for size in reaches(s.kernel, s.words)],
            "products": [size for _, step in self._products
                         for size in (*_sizes(step), *map(self._slot, (step.a, step.b, step.c)))]}
        self._lanes = [len(lane) for lane in lanes]
        self._fixed = np.array([w if isinstance(w, int) else 0 for w in self._words], np.int64)
        self._holes = np.array([k for k, w in enumerate(self._words) if not isinstance(w, int)], np.int64)
        self._ranges: dict[str, slice] = {}
        every: list[Size] = []
        for part, sizes in parts.items():
            self._ranges[part] = slice(len(every), len(every) + len(sizes))
            every += sizes
        self._count = evaluator(every, names)

    # ---- words with sizes in them -----------------------------------------------------------------------------------

    def _write(self) -> None:
        symbols_of, may_leave = runtime().symbols, True
        self._words += [self._arguments, 0, 0]
        for numbers in at_once(self._plan.steps):
            step = self._plan.steps[numbers.start]
            if isinstance(step, Check):
                self._words += [CHECK, CHECK_EXIT]
                continue
            at = len(self._words)
            self._steps[at] = 0, numbers.start
            match step:
                case Matmul():
                    self._products.append((at, step))
                    self._words += [LAUNCH, 8 + _PRODUCT_LITERALS, 0, 0, 3, *[0] * (3 + _PRODUCT_LITERALS)]
                case Copy(source, target):
                    size = _bytes(self._plan.buffers[target])
                    self._launch(symbols_of["copy"], ceil_div(size, COPY_CHUNK_BYTES),
                                 [self._slot(source), self._slot(target)], [size])
                case Launch() if len(numbers) == 1:
                    self._calls.append((PROGRAM, at + 2, self._key(step)))
                    self._launch(0, _chunks(step), [self._slot(b) for b in step.buffers], step.words)
                case Launch():
                    several = [one for k in numbers if isinstance(one := self._plan.steps[k], Launch)]
                    self._several(several, symbols_of["together"])
            may_leave = may_leave and not any(isinstance(self._plan.buffers[b].place, Input) or self._is_input(b)
                                              for k in numbers for b in written(self._plan.steps[k]))
            if may_leave:
                self._words.append(POLL)
        self._words += [STOP, -1]

    def _launch(self, address: int, chunks: Size, operands: Sequence[Size], literals: Sequence[Size]) -> None:
        self._chunks.append(chunks)
        self._words += [LAUNCH, 5 + len(operands) + len(literals), address, chunks, len(operands), *operands, *literals]
        self._widest = max(self._widest, len(operands) + 1)

    def _several(self, steps: Sequence[Launch], together: int) -> None:
        """Launches that are one (see encode)."""
        operands: list[Size] = [self._table()]
        table: list[Size] = [len(steps)]
        first: Size = 0
        for step in steps:
            self._calls.append((operands[0], len(table), self._key(step)))      # type: ignore[arg-type]
            table += [0, first, len(operands)]
            first = first + _chunks(step)
            operands += [self._slot(b) for b in step.buffers]
            own = self._table()
            self._constants[own - self._first_constant] = [*step.words]
            operands.append(own)
        self._constants[number_of(operands[0]) - self._first_constant] = [*table, 0, first]
        self._launch(together, first, operands, ())

    def _table(self) -> int:
        """The slot of words that are yet to be written."""
        self._constants.append([])
        return self._first_constant + len(self._constants) - 1

    def _key(self, step: Launch) -> str:
        found = self._keys.get(id(step.kernel))
        if found is None:
            found = self._keys[id(step.kernel)] = kernel_key(print_kernel(step.kernel))
        return found

    def _is_input(self, buffer: int) -> bool:
        place = self._plan.buffers[buffer].place
        return isinstance(place, Output) and isinstance(self._outputs[place.index], Input)

    def _slot(self, buffer: int) -> Size:
        """An operand: the slot of a buffer, and how many bytes of it come before."""
        b = self._plan.buffers[buffer]
        return self._place(b) + b.start * (DTYPES[b.dtype].itemsize << SLOT_BITS)

    def _place(self, buffer: Buffer) -> int:
        match buffer.place:
            case Input(index):
                return index
            case Output(index):
                owner = self._outputs[index]
                assert isinstance(owner, Input | Output)
                return owner.index + len(self._types[0]) * isinstance(owner, Output)
            case Constant(data):
                return self._constant_of[data]
            case LiveRange():
                return self._first_lane + self._lane_of[id(buffer.place)]
            case Arena(offset):
                return self._first_placed + self._placed.index(offset)

    # ---- numbers ----------------------------------------------------------------------------------------------------

    def at(self, numbers: Mapping[str, int]) -> Executable | None:
        """The executable; None where it is not known what it calls, or not sure that an index is in range."""
        start = perf_counter()
        counted = self._count(*[numbers[name] for name in self._names])
        of = {part: counted[where] for part, where in self._ranges.items()}
        if min(of["positive"], default=1) < 1:
            raise CannotLower(f"a size is less than 1 at {dict(numbers)}")
        if max(of["reaches"], default=0) >= LARGEST:
            return None
        words = self._fixed.copy()
        words[self._holes] = of["words"]
        calls = list(self._calls)
        is_long = max(of["chunks"], default=1) > 1 or len(self._plan.steps) > MANY_LAUNCHES
        blas, base = multiplier(host_features()), runtime()
        symbol_at: dict[int, int] = {}
        for k, (at, step) in enumerate(self._products):
            batch, m, n, inner, *slot_of = of["products"][7 * k:7 * k + 7]
            launch = matmul.launch(Matmul(0, 1, 2, step.dtype, batch, m, n, inner, step.transpose_a, step.transpose_b),
                                   blas)
            words[at + 3] = launch.chunks
            words[at + 5:at + 8 + len(launch.literals)] = (*(slot_of[b] for b in launch.buffers), *launch.literals)
            is_long |= launch.chunks > 1
            if launch.symbol in base.symbols:
                symbol_at[at + 2] = base.symbols[launch.symbol]
                words[1] = 1
            else:
                calls.append((PROGRAM, at + 2, _key_of_product(launch.symbol)))
        tables, left = {}, iter(of["tables"])
        for k, content in enumerate(self._constants):
            tables[self._first_constant + k] = (content if isinstance(content, np.ndarray)
                                                else np.fromiter(left, np.int64, len(content)))
        lengths = iter(of["lanes"])
        offsets, arena_bytes = [], 0
        for count in self._lanes:
            offsets.append(arena_bytes)
            arena_bytes += aligned(max(next(lengths) for _ in range(count)))
        if self._placed:
            offsets += [arena_bytes + offset for offset in self._placed]
            arena_bytes += self._plan.arena_bytes
        with self._cache.lock:
            for slot, at, key in calls:
                address = self._cache.addresses.get(key)
                if address is None:
                    return None
                (words if slot == PROGRAM else tables[slot])[at] = address
        for at, address in symbol_at.items():
            words[at] = address
        words[2] = room = FRAME_SLOTS + self._first_constant + len(self._constants)
        encoded = Encoding(words, self._arguments, tuple(zip(range(self._first_lane, self._first_constant), offsets)),
                           tuple(tables.items()), room + self._widest, HostCalls(), self._steps, is_long,
                           tuple((slot, at) for slot, at, _ in calls))
        if self._cache.callers:
            follow_drafts(encoded, {self._cache.addresses[key]: key for _, _, key in calls}, self._cache)
        types = iter(of["types"])
        inputs, slots = (tuple([TensorType(t.dtype, tuple([next(types) for _ in t.shape])) for t in given])
                         for given in self._types)
        measured = Measured(self._name, partial(self._program, dict(numbers)), LISTINGS)
        return executable(inputs, slots, self._ends, arena_bytes, encoded, measured, [], start, shares_kernels=True)

    def _program(self, numbers: Mapping[str, int]) -> ProgramPlan:
        return program_of_plan(plan_at(self._plan, numbers))


@cache
def _key_of_product(name: str) -> str:
    return product_key(name)


def _chunks(step: Launch) -> Size:
    return evaluate(step.kernel.chunks, {f"n{k}": word for k, word in enumerate(step.words)})   # type: ignore[misc]


def _bytes(buffer: Buffer) -> Size:
    return buffer.size * DTYPES[buffer.dtype].itemsize


def _lanes(ranges: Sequence[LiveRange]) -> tuple[dict[int, int], list[list[Size]]]:
    """The lane of each range, by its id, and the bytes of those that are in each: the largest first, each in the lane
    whose length, where symbols have usual numbers, is nearest."""
    lanes: list[list[LiveRange]] = []
    lane_of: dict[int, int] = {}
    for one in sorted({id(r): r for r in ranges}.values(), key=lambda r: (-typical(r.bytes), r.first)):
        free = [k for k, lane in enumerate(lanes)
                if all(one.last < other.first or other.last < one.first for other in lane)]
        if free:
            k = min(free, key=lambda k: typical(lanes[k][0].bytes))
        else:
            k = len(lanes)
            lanes.append([])
        lanes[k].append(one)
        lane_of[id(one)] = k
    return lane_of, [[r.bytes for r in lane] for lane in lanes]
