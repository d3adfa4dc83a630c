"""resizing: a program with symbols, planned and compiled, for other numbers than it was compiled for.

    launch, length, address, 4*b, 2, slot 0, slot 1, b      ->      at b = 24: the same words with 96 and 24 in them

Nothing is optimized, scheduled, emitted or encoded again: all that depends on sizes is one list of them, which one
function counts out. What its words cannot be known of before (calls of Python) is planned anew.

1. Storage of the arena lies in lanes (see schedule.lanes).
2. The numbers of products are filled in by what cuts these (see matmul), since that looks at sizes.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from operator import itemgetter
from time import perf_counter

import numpy as np

from codegen.cache import Cache
from codegen.executable import Aliases, Executable, Measured, storage_of_ends
from codegen.ir.dims import Size, ceil_div, evaluate
from codegen.ir.evaluation import evaluator
from codegen.ir.generalize import Binding
from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu import matmul
from codegen.llvm_cpu.blas_panels import multiplier
from codegen.llvm_cpu.build import build, host_machine
from codegen.llvm_cpu.control import BlockWriter
from codegen.llvm_cpu.drafts import follow_drafts
from codegen.llvm_cpu.driver import CHECK, CHECK_EXIT, COPY_CHUNK_BYTES, FRAME_SLOTS, LAUNCH, POLL, SLOT_BITS
from codegen.llvm_cpu.encode import MANY_LAUNCHES, held
from codegen.llvm_cpu.encoding import PROGRAM, Encoding
from codegen.llvm_cpu.executables import executable, kernel_key, product_key, require_memory
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.gemm_panels import LITERALS
from codegen.llvm_cpu.host_calls import HostCalls
from codegen.llvm_cpu.listings import LISTINGS
from codegen.llvm_cpu.runtime import runtime
from codegen.llvm_cpu.tile_registers import multiplies_halves
from codegen.schedule.blocks import BoundTree, schedule_tree
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.lanes import Laned, in_lanes
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
    Lane,
    Launch,
    Matmul,
    Output,
    Place,
    PlannedBlock,
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
        self._template, self._machine = None, host_machine(multiplies_halves(source.tree))
        if not source.binding.constants:
            types = tree.types()
            outputs = [[types[v] for v in values] for values in tree.ends().values()]
            laned = in_lanes(tree, *storage_of_ends(len(tree.inputs), outputs, aliases), self._machine)
            if not any(isinstance(step, Host) or isinstance(step, Matmul) and 0 in _sizes(step)
                       for step in laned.program.steps):
                self._template = _Template(laned, tuple(source.binding.numbers), cache, tree.name, self._program)

    def at(self, numbers: Mapping[str, int]) -> Executable:
        """The executable at these numbers; CannotLower where the plan does not serve them."""
        if any(number < 2 for number in numbers.values()):
            raise CannotLower(f"a symbol stands for sizes from 2 on, not for one of {dict(numbers)}")
        made = None if self._template is None else self._template.at(numbers)
        if made is None:
            made = replace(build(self._program(numbers), self._cache, name=self._tree.name), shares_kernels=True)
        require_memory(made.arena_bytes, self._source.memory_budget)
        return made

    def _program(self, numbers: Mapping[str, int]) -> ProgramPlan:
        bound = BoundTree(self._tree, Binding(numbers, self._source.binding.constants))
        return schedule_tree(bound, *storage_of_ends(bound.known_inputs, bound.outputs(), self._aliases),
                             self._machine)


def _sizes(step: Matmul) -> tuple[Size, Size, Size, Size]:
    return step.batch, step.m, step.n, step.k


_PRODUCT_LITERALS = max(len(LITERALS), 9)
"""So many literals has a launch of a product at most."""


class _Writer(BlockWriter):
    """The words of a program in lanes, with sizes in them. Addresses are 0: `calls` says of what, by slot of the
    constant or PROGRAM, and word. The numbers of `products` are yet to come: their word, and the slots of operands.

    `constants`: what is in slots from `first_constant` on. `chunks`: of every launch. `step_at`, `widest`: see encode.
    """

    def __init__(self, laned: Laned):
        super().__init__(laned.program)
        self._lane_of, self._together = laned.lane_of, runtime().symbols["together"]
        data = dict.fromkeys(b.place.data for plan in laned.program.plans for b in plan.buffers
                             if isinstance(b.place, Constant))
        self.first_constant = self.arguments + len(laned.lanes)
        self._constant_of = {one: self.first_constant + k for k, one in enumerate(data)}
        self.constants: list[np.ndarray | list[Size]] = [held(one) for one in data]
        self.chunks: list[Size] = []
        self.calls: list[tuple[int, int, str]] = []
        self.products: list[tuple[int, Matmul, tuple[Size, Size, Size]]] = []
        self.step_at: dict[int, tuple[int, int]] = {}
        self.widest = 4
        self._keys: dict[int, str] = {}
        self.write()

    def _steps(self, number: int, block: PlannedBlock) -> None:
        plan, may_leave = block.plan, True
        for numbers in at_once(plan.steps):
            step = plan.steps[numbers.start]
            if isinstance(step, Check):
                self.words += [CHECK, CHECK_EXIT]
                continue
            at = len(self.words)
            self.step_at[at] = number, numbers.start
            match step:
                case Matmul(a, b, c):
                    self.products.append((at, step, (self._operand(block, a), self._operand(block, b),
                                                     self._operand(block, c))))
                    self.words += [LAUNCH, 8 + _PRODUCT_LITERALS, 0, 0, 3, *[0] * (3 + _PRODUCT_LITERALS)]
                case Copy(source, target):
                    size = _bytes(plan.buffers[target])
                    self._launch(runtime().symbols["copy"], ceil_div(size, COPY_CHUNK_BYTES),
                                 [self._operand(block, source), self._operand(block, target)], [size])
                case Launch() if len(numbers) == 1:
                    self.calls.append((PROGRAM, at + 2, self._key(step)))
                    self._launch(0, _chunks(step), [self._operand(block, b) for b in step.buffers], step.words)
                case Launch():
                    self._several(block, [one for k in numbers if isinstance(one := plan.steps[k], Launch)])
            may_leave = may_leave and not any(self._is_input(block, b)
                                              for k in numbers for b in written(plan.steps[k]))
            if may_leave:
                self.words.append(POLL)

    def _launch(self, address: int, chunks: Size, operands: Sequence[Size], literals: Sequence[Size]) -> None:
        self.chunks.append(chunks)
        self.words += [LAUNCH, 5 + len(operands) + len(literals), address, chunks, len(operands), *operands, *literals]
        self.widest = max(self.widest, len(operands) + 1)

    def _several(self, block: PlannedBlock, steps: Sequence[Launch]) -> None:
        """Launches that are one (see encode)."""
        whole = self._table()
        operands: list[Size] = [whole]
        table: list[Size] = [len(steps)]
        first: Size = 0
        for step in steps:
            self.calls.append((whole, len(table), self._key(step)))
            table += [0, first, len(operands)]
            first = first + _chunks(step)
            operands += [self._operand(block, b) for b in step.buffers]
            own = self._table()
            self.constants[own - self.first_constant] = [*step.words]
            operands.append(own)
        self.constants[whole - self.first_constant] = [*table, 0, first]
        self._launch(self._together, first, operands, ())

    def _table(self) -> int:
        """The slot of words that are yet to be written."""
        self.constants.append([])
        return self.first_constant + len(self.constants) - 1

    def _key(self, step: Launch) -> str:
        found = self._keys.get(id(step.kernel))
        if found is None:
            found = self._keys[id(step.kernel)] = kernel_key(print_kernel(step.kernel))
        return found

    @staticmethod
    def _is_input(block: PlannedBlock, buffer: int) -> bool:
        place = block.plan.buffers[buffer].place
        return isinstance(place, Input | Output) and isinstance(block.place(place), Input)

    def _operand(self, block: PlannedBlock, buffer: int) -> Size:
        """The slot of a buffer, and how many bytes of it come before."""
        b, room = block.plan.buffers[buffer], block.room
        assert isinstance(room, tuple)
        before = b.start * DTYPES[b.dtype].itemsize
        match b.place:
            case LiveRange():
                slot = self._slot(Lane(room[self._lane_of[id(block.plan)][id(b.place)]]))
            case Arena(offset):                         # of a plan without symbols, which has one lane
                slot, before = self._slot(Lane(room[-1])), before + offset
            case place:
                slot = self._slot(block.place(place))
        return slot + before * (1 << SLOT_BITS)

    def _slot(self, place: Place) -> int:
        match place:
            case Lane(index):
                return self.arguments + index
            case Constant(data):
                return self._constant_of[data]
            case _:
                return super()._slot(place)


class _Template:
    """The words of a program in lanes, and how to count what is in them. `program`: it, planned for some numbers."""

    def __init__(self, laned: Laned, names: tuple[str, ...], cache: Cache, name: str,
                 program: Callable[[Mapping[str, int]], ProgramPlan]):
        self._names, self._cache, self._name, self._program = names, cache, name, program
        plan = laned.program
        self._types, self._ends = (plan.inputs, plan.slots), plan.ends
        self._steps = max(len(one.steps) for one in plan.plans)
        self._writer = writer = _Writer(laned)
        self._lanes = [len(lane) for lane in laned.lanes]
        parts: dict[str, list[Size]] = {
            "words": [word for word in writer.words if not isinstance(word, int)],
            "tables": [word for content in writer.constants if isinstance(content, list) for word in content],
            "lanes": [size for lane in laned.lanes for size in lane],
            "chunks": writer.chunks,
            "types": [size for types in self._types for t in types for size in t.shape],
            "positive": [size for one in plan.plans for size in one.symbolic],
            "reaches": [size for s in plan.steps if isinstance(s, Launch) for size in reaches(s.kernel, s.words)],
            "products": [size for _, step, slots in writer.products for size in (*_sizes(step), *slots)]}
        self._fixed = np.array([w if isinstance(w, int) else 0 for w in writer.words], np.int64)
        self._holes = np.array([k for k, w in enumerate(writer.words) if not isinstance(w, int)], np.int64)
        every = dict.fromkeys(size for sizes in parts.values() for size in sizes)
        number = {size: k for k, size in enumerate(every)}
        self._count = evaluator(tuple(every), names)
        self._parts = {part: _those_at([number[size] for size in sizes]) for part, sizes in parts.items()}

    def at(self, numbers: Mapping[str, int]) -> Executable | None:
        """The executable; None where it is not known what it calls, or not sure that an index is in range."""
        start = perf_counter()
        writer, counted = self._writer, self._count(*[numbers[name] for name in self._names])
        of = {part: those_of(counted) for part, those_of in self._parts.items()}
        if min(of["positive"], default=1) < 1:
            raise CannotLower(f"a size is less than 1 at {dict(numbers)}")
        if max(of["reaches"], default=0) >= LARGEST:
            return None
        words = self._fixed.copy()
        words[self._holes] = of["words"]
        calls = list(writer.calls)
        is_long = max(of["chunks"], default=1) > 1 or self._steps > MANY_LAUNCHES
        blas, base = multiplier(host_features()), runtime()
        symbol_at: dict[int, int] = {}
        products = iter(of["products"])
        for at, step, _ in writer.products:
            batch, m, n, inner, *slot_of = islice(products, 7)
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
        tables: dict[int, np.ndarray] = {}
        used = 0
        for slot, content in enumerate(writer.constants, writer.first_constant):
            if isinstance(content, list):
                tables[slot] = np.array(of["tables"][used:used + len(content)], np.int64)
                used += len(content)
            else:
                tables[slot] = content
        lengths = iter(of["lanes"])
        offsets, arena_bytes = [], 0
        for count in self._lanes:
            offsets.append(arena_bytes)
            arena_bytes += aligned(max(islice(lengths, count)))
        with self._cache.lock:
            for slot, at, key in calls:
                address = self._cache.addresses.get(key)
                if address is None:
                    return None
                (words if slot == PROGRAM else tables[slot])[at] = address
        for at, address in symbol_at.items():
            words[at] = address
        room = FRAME_SLOTS + writer.first_constant + len(writer.constants)
        words[0], words[2] = writer.arguments, room
        encoded = Encoding(words, writer.arguments, tuple(enumerate(offsets, writer.arguments)), tuple(tables.items()),
                           room + writer.widest, HostCalls(), writer.step_at, is_long,
                           tuple((slot, at) for slot, at, _ in calls))
        if self._cache.callers:
            follow_drafts(encoded, {self._cache.addresses[key]: key for _, _, key in calls}, self._cache)
        types = iter(of["types"])
        inputs, slots = (tuple([TensorType(t.dtype, tuple([next(types) for _ in t.shape])) for t in given])
                         for given in self._types)
        measured = Measured(self._name, partial(self._program, dict(numbers)), LISTINGS)
        return executable(inputs, slots, self._ends, arena_bytes, encoded, measured, [], start, shares_kernels=True)


def _those_at(places: Sequence[int]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """What gives a tuple of what a tuple has at some places."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda counted: tuple([counted[place] for place in places])


@cache
def _key_of_product(name: str) -> str:
    return product_key(name)


def _chunks(step: Launch) -> Size:
    return evaluate(step.kernel.chunks, {f"n{k}": word for k, word in enumerate(step.words)})   # type: ignore[misc]


def _bytes(buffer: Buffer) -> Size:
    return buffer.size * DTYPES[buffer.dtype].itemsize
