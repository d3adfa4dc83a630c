"""emit: Kernel -> LLVM IR text of one function, in the shape that instruction selection wants. No pass follows.

    define void @symbol(ptr %buffers, i64 %first_chunk, i64 %last_chunk, ptr %failed)

%buffers points to the data pointers of the kernel's params, in order. The function runs the chunks first_chunk ..
last_chunk - 1. Where a check fails it stores i32 1 to %failed, which it never writes otherwise.

1. A value along the vector axis is a vector of `lanes`, or a scalar if it is the same in every lane.
2. The vector axis is a loop of whole vectors and one masked remainder, both written from the same statements.
3. What is invariant in a loop is computed before it, and nothing is computed twice: the assembler sees to that.
4. The order in which values are combined depends on the kernel and the features, not on the chunks of a call.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import gcd
from typing import assert_never

from codegen.ir.references import literal
from codegen.llvm_cpu import indexing, memory, operations
from codegen.llvm_cpu.assembler import I64, PTR, Assembler, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.indexing import Point
from codegen.llvm_cpu.lanes import lane_count
from codegen.llvm_cpu.memory import Buffers
from codegen.llvm_cpu.philox import random_word
from codegen.llvm_cpu.reductions import Accumulator
from codegen.llvm_cpu.value_types import value_dtypes
from codegen.schedule.kernel import (
    Accumulate, Axis, Binary, Cast, Const, Gather, Index, Kernel, Load, Pass, Position, RandomWord, ScatterAdd, Select,
    Statement, Store, Unary,
)

Body = Callable[[Point, list[Value]], list[Value]]
"""Writes what is inside a loop: the place and the carried values before it -> the carried values after it."""


def emit_kernel(kernel: Kernel, symbol: str, features: Features) -> str:
    """The text of a module with the one function `symbol`."""
    return _Emitter(kernel, features).function(symbol)


class _Emitter:
    """The state of writing one kernel: the assembler, and the values made so far by their numbers."""

    def __init__(self, kernel: Kernel, features: Features):
        self.kernel, self.features = kernel, features
        self.a = Assembler()
        self.values: dict[int, Value] = {}
        self.dtypes = value_dtypes(kernel)
        self.lanes = lane_count(kernel, self.dtypes, features)
        self.buffers = Buffers(kernel.params, self._pointers(), Value("%failed", PTR))

    def function(self, symbol: str) -> str:
        kernel = self.kernel
        extents = {axis.name: axis.extent for p in (kernel, *kernel.passes) for axis in p.axes}
        if all(axis.extent for axis in kernel.axes):
            self._nest(kernel.axes, Point({}, extents, kernel.vector), [], self._passes, chunked=kernel.grain > 0)
        return self.a.function(symbol, "ptr noalias readonly %buffers, i64 %first_chunk, i64 %last_chunk, ptr noalias %failed",
                               "icmp slt i64 %first_chunk, %last_chunk")

    def _pointers(self) -> tuple[Value, ...]:
        table = Value("%buffers", PTR)
        return tuple(self.a.load(PTR, self.a.address(table, PTR, self.a.constant(I64, k)), True) for k in range(len(self.kernel.params)))

    # ---- passes -------------------------------------------------------------------------------------------------------

    def _passes(self, point: Point, carried: list[Value]) -> list[Value]:
        """All passes at one point of the outer axes."""
        first = 0
        for p in self.kernel.passes:
            self._pass(p, point, first)
            first += sum(not isinstance(s, Store | ScatterAdd) for s in p.body)
        return carried

    def _pass(self, p: Pass, point: Point, first: int) -> None:
        if not p.axes:
            self._statements(p, point, first, None)
            return
        across = p.axes[-1].name == self.kernel.vector
        lanes = self.lanes if across else point.lanes
        numbered = [s for s in p.body if not isinstance(s, Store | ScatterAdd)]
        accumulators = {first + k: Accumulator(s.kind, self.dtypes[s.x], lanes) for k, s in enumerate(numbered) if isinstance(s, Accumulate)}
        if not all(axis.extent for axis in p.axes):
            self.values.update({number: accumulator.empty(self.a) for number, accumulator in accumulators.items()})
            return

        def body(inside: Point, carried: list[Value]) -> list[Value]:
            states = _divided(carried, accumulators, self.a)
            self._statements(p, inside, first, states)
            return [value for state in states.values() for value in state]

        start = [value for accumulator in accumulators.values() for value in accumulator.start(self.a)]
        states = _divided(self._nest(p.axes, point, start, body), accumulators, self.a)
        for number, accumulator in accumulators.items():
            self.values[number] = accumulator.finish(self.a, states[number], across)

    # ---- loops --------------------------------------------------------------------------------------------------------

    def _nest(self, axes: tuple[Axis, ...], point: Point, carried: list[Value], body: Body, chunked: bool = False) -> list[Value]:
        """`body` at each point of the axes, the first of which is cut to the chunks of the call if `chunked`."""
        if not axes:
            return body(point, carried)
        axis, inner = axes[0], axes[1:]

        def inside(at: Point, values: list[Value]) -> list[Value]:
            return self._nest(inner, at, values, body)

        loop = self._vector_loop if axis.name == self.kernel.vector and not inner else self._scalar_loop
        if chunked:
            return loop(axis, point, carried, inside, *self._chunks(axis))
        if axis.clip is None:
            return loop(axis, point, carried, inside, self.a.constant(I64, 0), self.a.constant(I64, axis.extent), axis.extent, axis.extent, 0)
        return loop(axis, point, carried, inside, self.a.constant(I64, 0), self._clipped(axis, point), 0, 1, 0)

    def _chunks(self, axis: Axis) -> tuple[Value, Value, int, int, int]:
        """The part of the parallel axis that the call runs: start, stop, at least how many points, a multiple of what, from a multiple of what."""
        a, grain = self.a, self.kernel.grain
        first, last = Value("%first_chunk", I64), Value("%last_chunk", I64)
        start = a.binary("mul nsw", first, a.constant(I64, grain))
        stop = a.intrinsic("smin", a.binary("mul nsw", last, a.constant(I64, grain)), a.constant(I64, axis.extent))
        ragged = axis.extent % grain
        return start, stop, ragged or grain, gcd(grain, axis.extent), grain

    def _clipped(self, axis: Axis, point: Point) -> Value:
        """How many points an axis with a clip has here."""
        assert axis.clip is not None
        index, bound = axis.clip
        a, coefficient = self.a, dict(index.terms)[axis.name]
        rest = indexing.affine(a, replace(point, lanes=1), Index(tuple(t for t in index.terms if t[0] != axis.name), index.constant))
        assert rest is not None and coefficient > 0
        room = a.binary("sub nsw", a.constant(I64, bound + coefficient - 1), rest.base)
        count = a.binary("sdiv", room, a.constant(I64, coefficient)) if coefficient > 1 else room
        return a.intrinsic("smax", a.intrinsic("smin", count, a.constant(I64, axis.extent)), a.constant(I64, 0))

    def _scalar_loop(self, axis: Axis, point: Point, carried: list[Value], body: Body,
                     start: Value, stop: Value, least: int, multiple: int, aligned: int) -> list[Value]:
        """One point after another."""
        def at(index: Value, values: list[Value]) -> list[Value]:
            return body(replace(point, indices={**point.indices, axis.name: index}), values)

        if least == multiple == 1 and not start.text.startswith("%"):
            return at(start, carried)
        return self._possibly(least > 0, start, stop, carried, lambda: self.a.loop(start, stop, 1, carried, at))

    def _vector_loop(self, axis: Axis, point: Point, carried: list[Value], body: Body,
                     start: Value, stop: Value, least: int, multiple: int, aligned: int) -> list[Value]:
        """Whole vectors, then those lanes of one more vector that are left."""
        a, lanes = self.a, self.lanes

        def at(index: Value, values: list[Value], mask: Value | None = None) -> list[Value]:
            alignment = gcd(lanes, aligned) if index.text.startswith("%") else gcd(lanes, int(index.text))
            return body(replace(point, indices={**point.indices, axis.name: index}, lanes=lanes, aligned=alignment, mask=mask), values)

        if not stop.text.startswith("%"):
            count = int(stop.text)
            whole = count - count % lanes
            middle = a.constant(I64, whole)
            if whole == lanes:
                carried = at(start, carried)
            elif whole:
                carried = a.loop(start, middle, lanes, carried, at)
            return at(middle, carried, _first_lanes(lanes, count - whole)) if whole < count else carried
        left = a.binary("and", a.binary("sub nsw", stop, start), a.constant(I64, -lanes))
        middle = a.binary("add nsw", start, left)
        carried = self._possibly(least >= lanes, start, middle, carried, lambda: a.loop(start, middle, lanes, carried, at))
        if multiple % lanes == 0:
            return carried

        def remainder() -> list[Value]:
            count = a.convert("trunc", a.binary("sub nsw", stop, middle), vector("i32"))
            mask = a.compare("icmp ult", a.lane_numbers(vector("i32", lanes)), a.splat(count, lanes))
            return at(middle, carried, mask)

        return a.when(a.compare("icmp slt", middle, stop), carried, remainder)

    def _possibly(self, certain: bool, start: Value, stop: Value, carried: list[Value], loop: Callable[[], list[Value]]) -> list[Value]:
        """`loop()`, which needs start < stop: at once if that is certain, else under a test."""
        return loop() if certain else self.a.when(self.a.compare("icmp slt", start, stop), carried, loop)

    # ---- statements ---------------------------------------------------------------------------------------------------

    def _statements(self, p: Pass, point: Point, first: int, states: dict[int, list[Value]] | None) -> None:
        """The body of a pass at one point. `states`, the accumulators by value number, are stepped; without them an accumulation is of one value."""
        number = first
        for s in p.body:
            match s:
                case Store():
                    memory.store(self.a, self.buffers, point, s, self.values[s.x])
                    continue
                case ScatterAdd():
                    memory.scatter_add(self.a, self.buffers, point, s, self.values[s.k], self.values[s.x])
                    continue
                case Accumulate() if states is not None:
                    lanes = self.lanes if point.lanes > 1 else 1
                    accumulator = Accumulator(s.kind, self.dtypes[s.x], lanes)
                    states[number] = accumulator.step(self.a, states[number], self.values[s.x], point.mask)
                case _:
                    self.values[number] = self._value(s, point)
            number += 1

    def _value(self, s: Statement, point: Point) -> Value:
        a, values = self.a, self.values
        match s:
            case Const():
                return a.constant(vector(s.dtype), literal(s.literal))
            case Position():
                return self._position(s, point)
            case Load():
                return memory.load(a, self.buffers, point, s)
            case Gather():
                return memory.gather(a, self.buffers, point, s, values[s.k])
            case Unary():
                return operations.unary(a, self.features, s.op, values[s.x])
            case Binary():
                return operations.binary(a, s.op, values[s.x], values[s.y])
            case Select():
                return operations.select(a, values[s.condition], values[s.x], values[s.y])
            case Cast():
                return operations.cast(a, values[s.x], s.dtype)
            case RandomWord():
                return random_word(a, point, s, values[s.key], values[s.counter])
            case Accumulate():
                return values[s.x]
            case Store() | ScatterAdd():
                raise AssertionError("makes no value")
            case _:
                assert_never(s)

    def _position(self, s: Position, point: Point) -> Value:
        form = indexing.affine(self.a, point, s.index)
        if form is not None and form.step == 0:
            return operations.cast(self.a, form.base, s.dtype)
        return operations.cast(self.a, indexing.lanes(self.a, point, s.index), s.dtype)


def _divided(carried: list[Value], accumulators: dict[int, Accumulator], a: Assembler) -> dict[int, list[Value]]:
    """The carried values of a loop as the states of its accumulators."""
    states, position = {}, 0
    for number, accumulator in accumulators.items():
        count = len(accumulator.start(a))
        states[number] = carried[position:position + count]
        position += count
    return states


def _first_lanes(lanes: int, count: int) -> Value:
    """A mask of the first `count` lanes."""
    text = ", ".join("i1 true" if k < count else "i1 false" for k in range(lanes))
    return Value(f"<{text}>", vector("bool", lanes))
