"""emit: Kernel -> LLVM IR text of one function, in the shape that instruction selection wants. No pass follows.

    define void @symbol(ptr %buffers, i64 %first_chunk, i64 %last_chunk, ptr %failed)

%buffers points to the data pointers of the kernel's params, in order, and that of the words it is given. The function
runs the chunks first_chunk .. last_chunk - 1. Where a check fails it stores i32 1 to %failed, which it never writes
otherwise.

1. A value along the vector axis is a vector, or a scalar if it is the same in every lane.
2. What is invariant in a loop is computed before it, and nothing is computed twice: the assembler sees to that.
3. The order in which values are combined depends on the kernel and the features, not on the chunks of a call.
4. A pass with guards is written twice: where they all are, in a whole vector, what they are at most points of the
   kernel, there are none.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from math import prod
from typing import assert_never

from codegen.ir.dims import number_of
from codegen.ir.references import literal
from codegen.ir.types import DTYPES
from codegen.llvm_cpu import indexing, indirect, memory, operations
from codegen.llvm_cpu.assembler import BOOL, I64, PTR, Assembler, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.indexing import Point
from codegen.llvm_cpu.lanes import all_axes, lane_count
from codegen.llvm_cpu.memory import BROKEN_ROW, LINE, LONG_ROW, Buffers
from codegen.llvm_cpu.nest import Lines, Nest, Range
from codegen.llvm_cpu.philox import random_word
from codegen.llvm_cpu.prefetch import SECOND, Ahead, ahead_in_strips, ahead_of, gathered_ahead
from codegen.llvm_cpu.reductions import Accumulator
from codegen.llvm_cpu.scans import Scanner
from codegen.llvm_cpu.shelves import Shelf, make_shelves
from codegen.llvm_cpu.strips import make_room, make_rooms, rows_together, strip_width
from codegen.llvm_cpu.tiles import TileLoops, tile_of
from codegen.schedule.index import axes_of, coefficient
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Const,
    Gather,
    Holds,
    Index,
    Kernel,
    Load,
    Pass,
    Position,
    RandomWord,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Unary,
    Within,
    indices_of,
    makes_value,
    operands,
)
from codegen.schedule.signs import never_positive
from codegen.schedule.value_types import value_dtypes

WORTH_TWICE = 1 << 15
"""From so many points on, code for vectors in which guards are what they usually are is worth its compilation."""

MOST_TWICE = 64
"""So many statements are written twice at most."""

_PARAMETERS = "ptr noalias readonly %buffers, i64 %first_chunk, i64 %last_chunk, ptr noalias %failed"
_FIRST_CHUNK, _LAST_CHUNK = Value("%first_chunk", I64), Value("%last_chunk", I64)


def emit_kernel(kernel: Kernel, symbol: str, features: Features) -> str:
    """The text of a module that defines the function `symbol`. KeyError for a dtype or an op there is no code for."""
    a = Assembler()
    dtypes = value_dtypes(kernel)
    extents = {axis.name: axis.extent for axis in all_axes(kernel)}
    nest = Nest(a, kernel.vector, lane_count(kernel, dtypes, features), extents)
    writer = _Writer(kernel, dtypes, features, nest)

    def run() -> list[Value]:
        chunks = nest.chunks(kernel.axes[0], kernel.grain, _FIRST_CHUNK, _LAST_CHUNK) if kernel.grain else None
        return writer.streaming(lambda: writer.all_passes(chunks))

    if all(axis.extent for axis in kernel.axes):
        a.when(a.compare("icmp slt", _FIRST_CHUNK, _LAST_CHUNK), [], run)
    return a.function(symbol, _PARAMETERS)


class _Writer:
    """Writes the passes of one kernel; `values` holds those made so far, by their numbers."""

    def __init__(self, kernel: Kernel, dtypes: list[str], features: Features, nest: Nest):
        self.tile = tile_of(kernel)
        self.kernel = self.tile.kernel if self.tile else kernel
        self.dtypes, self.features, self.nest, self.a = dtypes, features, nest, nest.a
        self.below_0 = never_positive(kernel)
        self.strip = strip_width(kernel, nest.lanes)
        self.ahead = self.tile.ahead if self.tile else None if self.strip else ahead_of(kernel, features)
        self.gathered = gathered_ahead(self.kernel)
        self.shelves = make_shelves(nest.a, kernel, dtypes, nest.lanes)
        if self.strip:
            self.shelves = make_rooms(nest.a, kernel, dtypes, nest.lanes, self.strip)
        self.states = self._states() if self.strip else {}          # of accumulators of a strip, and where these are
        self.values: dict[int, Value] = {}
        self.scans: dict[int, tuple[Scanner, Value]] = {}           # of the pass that is being written, and where it is
        table = Value("%buffers", PTR)
        entries = [self.a.address(table, PTR, self.a.constant(I64, k)) for k in range(len(kernel.params))]
        pointers = tuple(self.a.load(PTR, entry, invariant=True) for entry in entries)
        if kernel.words:
            words = self.a.load(PTR, self.a.address(table, PTR, self.a.constant(I64, len(entries))), invariant=True)
            places = [self.a.address(words, I64, self.a.constant(I64, k)) for k in range(kernel.words)]
            self.a.words = {f"n{k}": self.a.load(I64, at, invariant=True) for k, at in enumerate(places)}
        rooms = self.kernel.params[len(pointers):]
        pointers += tuple(self.a.room(number_of(room.size) * DTYPES[room.dtype].itemsize) for room in rooms)
        self.buffers = Buffers(self.kernel.params, pointers, Value("%failed", PTR), features)

    def _states(self) -> dict[int, tuple[Accumulator, list[Shelf]]]:
        found = {}
        for number, s in enumerate(s for p in self.kernel.passes for s in p.body if makes_value(s)):
            if isinstance(s, Accumulate):
                one = Accumulator(s.kind, self.dtypes[s.x], self.nest.lanes, False, self.features)
                rooms = [make_room(self.a, self.kernel, one.state_dtype, one.lanes, self.strip)
                         for _ in range(one.width)]
                found[number] = one, rooms
        return found

    def streaming(self, write: Callable[[], list[Value]]) -> list[Value]:
        """The code that `write` gives, with stores past the caches where something is, or may be, large.

        Twice where rows are long: with loops that begin where lines of memory do, and for arrays that differ in that.
        """
        a, plain, whole, large = self.a, self.buffers, self.nest, self.buffers.large()
        by_lines = bool(large) and not self._short(large) and self._may_begin_anywhere()
        if not by_lines and large and self._broken(large):
            return write()
        self.buffers = replace(plain, streamed=large or plain.perhaps_large())
        if not by_lines:
            written = write()
            self._settle()
            return written
        fits = plain.alike(a, large)
        self.nest = replace(whole, lines=self._lines(large))
        a.when(fits, [], write)
        a.settle()
        self.buffers, self.nest = plain, whole
        return a.when(a.binary("xor", fits, a.constant(BOOL, True)), [], write)

    def _settle(self) -> None:
        """What was streamed is seen by all threads; nothing is waited for where nothing was."""
        def settle() -> list[Value]:
            self.a.settle()
            return []

        tests = [self.buffers.is_large(self.a, k) for k in self.buffers.streamed]
        if None in tests:
            settle()
        elif tests:
            self.a.when(reduce(partial(self.a.binary, "or"), filter(None, tests)), [], settle)

    def _lines(self, large: frozenset[int]) -> Callable[[str, Point], Lines]:
        """Where lines begin of what is stored to these buffers: if rows are no whole lines, in each row elsewhere."""
        a, phase, first = self.a, self.buffers.phase(self.a, min(large)), min(large)
        line = min(LINE // self.buffers.item(first), self.nest.lanes)
        rows = [] if self.tile else self._broken(large)

        def at(axis: str, point: Point) -> Lines:
            for index in rows:
                if axes_of(index) <= {axis, *point.indices}:
                    start = {**point.indices, axis: a.constant(I64, 0)}
                    form = indexing.affine(a, replace(point, indices=start, lanes=1), index)
                    assert form is not None
                    return Lines(a.binary("add nsw", phase, form.base), line, index)
            return Lines(phase, line, Index(((axis, 1),)))

        return at

    def _broken(self, large: frozenset[int]) -> list[Index]:
        """Where these buffers are stored to in rows that are no whole lines."""
        along = self.kernel.vector or ""
        return [s.index for p in self.kernel.passes for s in p.body if isinstance(s, Store) and s.buffer in large
                and coefficient(s.index, along) == 1 and not self.buffers.by_lines(min(large), s.index, along)]

    def _short(self, large: frozenset[int]) -> bool:
        """Are rows too short to begin and end under masks?"""
        along, first = self.kernel.vector or "", min(large)
        extent = self.nest.extents.get(along, 0)
        if self.tile or not isinstance(extent, int):
            return False
        return extent * self.buffers.item(first) < (BROKEN_ROW if self._broken(large) else LONG_ROW)

    def _may_begin_anywhere(self) -> bool:
        """Is it no matter to the code for a vector where on the vector axis it begins?"""
        body, along = [s for p in self.kernel.passes for s in p.body], self.kernel.vector or ""
        return not any(isinstance(s, RandomWord) for s in body) and all(
            coefficient(index, along) is not None for s in body for index in indices_of(s))

    def all_passes(self, chunks: Range | None) -> list[Value]:
        """All passes at all points of the outer axes, of the first only those in `chunks`, if given."""
        nest, axes = self.nest, self.kernel.axes
        if not self.strip:
            return nest.over(axes, nest.outside(), [], self.passes, chunks)

        def columns(point: Point, carried: list[Value]) -> list[Value]:
            nest.strips(axes[-1], self.strip, point, self._strip, None if axes[:-1] else chunks)
            return carried

        return nest.over(axes[:-1], nest.outside(), [], columns, chunks)

    def passes(self, point: Point, carried: list[Value]) -> list[Value]:
        """All passes at one point of the outer axes."""
        first = 0
        for number, p in enumerate(self.kernel.passes):
            self._pass(p, point, first, self.ahead if self.ahead and self.ahead.number == number else None)
            first += sum(makes_value(s) for s in p.body)
        return carried

    def _strip(self, point: Point, part: Range) -> None:
        """All passes at the points `part` of the vector axis, one pass after the other."""
        first = 0
        for p in self.kernel.passes:
            self._strip_pass(p, point, part, first)
            first += sum(makes_value(s) for s in p.body)

    def _strip_pass(self, p: Pass, point: Point, part: Range, first: int) -> None:
        """One pass at the points of a strip, row by row; its accumulators are in rooms meanwhile."""
        a, accumulators = self.a, {number: self.states[number] for number, s in enumerate(
            filter(makes_value, p.body), first) if isinstance(s, Accumulate)}
        nest = replace(self.nest, lines=None) if accumulators else self.nest
        together = rows_together(p)
        ahead = ahead_in_strips(self.kernel, p, together)

        def along(at: Point, write: Callable[[Point], None]) -> None:
            def body(inside: Point, carried: list[Value]) -> list[Value]:
                write(inside)
                return carried

            nest.over(self.kernel.axes[-1:], at, [], body, part)

        def start(inside: Point) -> None:
            for one, rooms in accumulators.values():
                for room, value in zip(rooms, one.start(a), strict=True):
                    room.put(a, inside, value)

        def rows(places: list[dict[str, Value]], inside: Point) -> None:
            found: dict[int, list[Value]] = {number: [] for number in accumulators}
            for indices in places:
                self._statements(p, replace(inside, indices={**inside.indices, **indices}), first)
                for number, several in found.items():
                    several.append(self.values[number])
            if len(places) == together and inside.count is None:
                for at in places:
                    for buffer, index in ahead:
                        where = replace(inside, indices={**inside.indices, **at})
                        self.buffers.fetch(a, where, buffer, index, SECOND)
            for number, (one, rooms) in accumulators.items():
                state = one.step_all(a, [room.take(a, inside) for room in rooms], found[number])
                for room, value in zip(rooms, state, strict=True):
                    room.put(a, inside, value)

        def finish(inside: Point) -> None:
            for number, (one, rooms) in accumulators.items():
                self.shelves[number].put(a, inside, one.finish(a, [room.take(a, inside) for room in rooms]))

        def down(at: Point, carried: list[Value]) -> list[Value]:
            nest.rows(p.axes[-1], together, at, lambda places: along(at, partial(rows, places)))
            return carried

        if not p.axes:
            along(point, lambda inside: self._statements(p, inside, first))
            return
        along(point, start)
        nest.over(p.axes[:-1], point, [], down)
        along(point, finish)

    def _pass(self, p: Pass, point: Point, first: int, ahead: Ahead | None) -> None:
        """One pass, whose first value is number `first`, and in which `ahead` is asked for."""
        across = bool(p.axes) and p.axes[-1].name == self.kernel.vector
        lanes = self.nest.lanes if across else point.lanes
        numbered = list(enumerate(filter(makes_value, p.body), first))
        accumulators = {number: Accumulator(s.kind, self.dtypes[s.x], lanes, across, self.features)
                        for number, s in numbered if isinstance(s, Accumulate)}
        scanners = {number: Scanner(s.op, self.dtypes[s.args[0]], lanes, self.features)
                    for number, s in numbered if isinstance(s, Scan)}
        if any(axis.extent == 0 for axis in p.axes):
            self.values.update({number: accumulator.empty(self.a) for number, accumulator in accumulators.items()})
            return
        carriers: dict[int, Accumulator | Scanner] = {**accumulators, **scanners}

        guards = self._guards(p)

        def body(inside: Point, carried: list[Value]) -> list[Value]:
            test, told = indexing.usual(self.a, inside, guards) if inside.count is None else (None, {})
            if test is None:
                return written(inside, carried)
            found = self.a.when(test, carried, lambda: written(replace(inside, assumed=told), carried))
            rest = self.a.binary("xor", test, self.a.constant(test.type, True))
            return self.a.when(rest, found, lambda: written(inside, carried))

        def written(inside: Point, carried: list[Value]) -> list[Value]:
            states = _divided(carried, carriers)
            self.scans = {number: (scanner, states[number][0]) for number, scanner in scanners.items()}
            self._statements(p, inside, first)
            if ahead and inside.count is None:
                for buffer, index in ahead.places:
                    self.buffers.fetch(self.a, inside, buffer, index, ahead.near)
            after = [accumulator.step(self.a, states[number], self.values[number], inside.mask(self.a))
                     for number, accumulator in accumulators.items()]
            return [value for state in after for value in state] + [state for _, state in self.scans.values()]

        if self.tile and p is self.kernel.passes[self.tile.number]:
            whole = self.buffers
            loops = TileLoops(self.tile, self.nest, whole)
            self.buffers = loops.buffers
            loops.over(point, body)
            self.buffers = whole
            return
        nest = replace(self.nest, lines=None) if carriers else self.nest
        start = [value for carrier in carriers.values() for value in carrier.start(self.a)]
        states = _divided(nest.over(p.axes, point, start, body), carriers)
        for number, accumulator in accumulators.items():
            self.values[number] = accumulator.finish(self.a, states[number])

    def _guards(self, p: Pass) -> list[Within]:
        """The guards of a pass that is worth being written twice: for vectors in which all are as usual, and others."""
        axes = {axis.name: axis.extent for axis in (*self.kernel.axes, *p.axes)}
        points, along = prod(axes.values()), axes.get(self.kernel.vector or "", 1)
        if not isinstance(points, int) or not isinstance(along, int) or len(p.body) > MOST_TWICE:
            return []
        lasts = not p.axes and len(self.kernel.passes) > 1          # its values are seen by later passes
        if points < WORTH_TWICE or along < 2 * self.nest.lanes or lasts:
            return []
        return sorted({guard for s in p.body if isinstance(s, Load | Holds | Gather) for guard in s.guards}, key=str)

    def _statements(self, p: Pass, point: Point, first: int) -> None:
        """The body of a pass at one point. The value of an Accumulate is, until the pass is over, what it adds here."""
        number = first
        for x in sorted({x for s in p.body for x in operands(s) if x < first} & self.shelves.keys()):
            self.values[x] = self.shelves[x].take(self.a, point)
        for s in p.body:
            if isinstance(s, Store):
                memory.store(self.a, self.buffers, point, s, self.values[s.x])
            elif isinstance(s, Scatter):
                indirect.scatter(self.a, self.buffers, point, s, self.values[s.k], self.values[s.x])
            else:
                self.values[number] = self._scanned(s, number) if isinstance(s, Scan) else self._value(s, point)
                if number in self.shelves and not isinstance(s, Accumulate):
                    self.shelves[number].put(self.a, point, self.values[number])
                number += 1

    def _scanned(self, s: Scan, number: int) -> Value:
        """The value of a scan here, which goes on from where it was."""
        scanner, state = self.scans[number]
        state = scanner.step(self.a, state, [self.values[x] for x in s.args])
        self.scans[number] = scanner, state
        return scanner.value(self.a, state)

    def _value(self, s: Statement, point: Point) -> Value:
        a, values = self.a, self.values
        match s:
            case Const():
                return a.constant(vector(s.dtype), literal(s.literal))
            case Position():
                return operations.cast(a, self.features, indexing.number(a, point, s.index), s.dtype)
            case Load():
                return memory.load(a, self.buffers, point, s)
            case Holds(guards):
                if indexing.fails(point, guards):
                    return a.constant(vector("bool"), False)
                held = indexing.holds(a, point, guards)
                return a.constant(vector("bool"), True) if held is None else held
            case Gather():
                if s in self.gathered and point.count is None:
                    indirect.fetch_row(a, self.buffers, point, s, self.gathered[s])
                return indirect.gather(a, self.buffers, point, s, values[s.k])
            case Unary():
                return operations.unary(a, self.features, s.op, values[s.x], s.x in self.below_0)
            case Binary():
                return operations.binary(a, self.features, s.op, values[s.x], values[s.y])
            case Select():
                return operations.select(a, values[s.condition], values[s.x], values[s.y])
            case Cast():
                return operations.cast(a, self.features, values[s.x], s.dtype)
            case RandomWord():
                return random_word(a, point, s, values[s.key], values[s.counter])
            case Accumulate():
                return values[s.x]
            case Scan() | Store() | Scatter():
                raise AssertionError("these make no value of their own")
            case _:
                assert_never(s)


def _divided(carried: list[Value], carriers: dict[int, Accumulator | Scanner]) -> dict[int, list[Value]]:
    """The values that a loop carries, as the states of its accumulators and scanners by number."""
    rest = iter(carried)
    return {number: [next(rest) for _ in range(carrier.width)] for number, carrier in carriers.items()}
