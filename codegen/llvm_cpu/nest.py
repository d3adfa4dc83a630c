"""Loops over the axes of a kernel.

    for i < 1000, vector of 64          for i = 0, 64 .. 896:  body with lanes i .. i+63
                                 ->     once, i = 960:         body with lanes 960 .. 1023, of which 40 exist (a mask)

1. The vector axis becomes a loop of whole vectors and one masked remainder; what would be empty is left out.
2. `body` is given the point and the values carried so far, and gives the carried values after it.
3. Where a nest says where lines of memory begin, whole vectors begin there: what comes before is under a mask, too.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import gcd

from codegen.ir.dims import Size, content, number_of
from codegen.ir.structs import struct
from codegen.llvm_cpu import indexing
from codegen.llvm_cpu.assembler import I64, Assembler, Value
from codegen.llvm_cpu.indexing import Point
from codegen.schedule.kernel import Axis, Index

STRIP = "@strip"
"""The name, among the indices of a point, of where its strip begins."""

Body = Callable[[Point, list[Value]], list[Value]]


@struct
class Range:
    """start .. stop - 1: at least `least`, a multiple of `multiple`, from a multiple of `aligned` on (0: from 0)."""

    start: Value
    stop: Value
    least: int
    multiple: int = 1
    aligned: int = 0


@struct
class Lines:
    """A line of memory begins where the number along the vector axis plus `phase` is a multiple of `line`.

    That is so for what is stored at `index`, and wherever else goes along with it by whole lines.
    """

    phase: Value
    line: int
    index: Index


@struct
class Nest:
    """What all loops of a kernel share: its vector axis, `lanes` at a time, and the extents of its axes.

    lines: for the vector axis at a point of the axes around it, what Lines are there.
    """

    a: Assembler
    vector: str | None
    lanes: int
    extents: dict[str, Size]
    lines: Callable[[str, Point], Lines] | None = None

    def outside(self) -> Point:
        """The point outside of all loops."""
        return Point({}, self.extents, self.vector)

    def over(self, axes: tuple[Axis, ...], point: Point, carried: list[Value], body: Body,
             first: Range | None = None) -> list[Value]:
        """`body` at every point of the axes, none of which is empty; of the first only those in `first`, if given."""
        if not axes:
            return body(point, carried)
        axis, inner = axes[0], axes[1:]
        part = first or self.points(axis, point)

        def inside(at: Point, values: list[Value]) -> list[Value]:
            return self.over(inner, at, values, body)

        loop = self._vector_loop if axis.name == self.vector and not inner else self._scalar_loop
        return loop(axis.name, part, point, carried, inside)

    def chunks(self, axis: Axis, grain: Size, first_chunk: Value, last_chunk: Value) -> Range:
        """The points of the parallel axis in the chunks first_chunk .. last_chunk - 1."""
        a, size = self.a, self.a.size(grain)
        start, end = a.binary("mul nsw", first_chunk, size), a.binary("mul nsw", last_chunk, size)
        stop = a.intrinsic("smin", end, a.size(axis.extent))
        known = isinstance(axis.extent, int) and isinstance(grain, int)
        least = number_of(axis.extent) % number_of(grain) or number_of(grain) if known else 1
        return Range(start, stop, least, gcd(content(grain), content(axis.extent)), content(grain))

    def strips(self, axis: Axis, width: int, point: Point, body: Callable[[Point, Range], None],
               first: Range | None = None) -> None:
        """`body` for `width` points of an axis at a time, the last maybe fewer; of all points or those in `first`."""
        part = first or self.points(axis, point)
        whole = isinstance(axis.extent, int) and axis.extent % width == 0 and part.aligned % width == 0

        def at(start: Value, carried: list[Value]) -> list[Value]:
            end = self.a.binary("add nsw", start, self.a.constant(I64, width))
            stop = end if whole else self.a.intrinsic("smin", end, part.stop)
            here = replace(point, indices={**point.indices, STRIP: start})
            body(here, Range(start, stop, width if whole else 1, gcd(part.multiple, width), gcd(part.aligned, width)))
            return carried

        self._loop(part.start, part.stop, width, part.least > 0, [], at)

    def rows(self, axis: Axis, count: int, point: Point, body: Callable[[list[dict[str, Value]]], None]) -> None:
        """`body` at `count` points of an axis at a time, a power of two, and at those that are left one by one."""
        a, part = self.a, self.points(axis, point)

        def at(number: int, index: Value, carried: list[Value]) -> list[Value]:
            places = [a.binary("add nsw", index, a.constant(I64, k)) if k else index for k in range(number)]
            body([{axis.name: place} for place in places])
            return carried

        stop = part.stop.number
        together = (a.binary("and", part.stop, a.constant(I64, -count)) if stop is None
                    else a.constant(I64, stop - stop % count))
        if stop is None or stop >= count:
            self._loop(part.start, together, count, part.least >= count, [], partial(at, count))
        if count > 1 and (stop is None or stop % count):
            self._loop(together, part.stop, 1, stop is not None, [], partial(at, 1))

    def points(self, axis: Axis, point: Point) -> Range:
        """All points of an axis at a point of those around it."""
        a, zero = self.a, self.a.constant(I64, 0)
        if axis.clip is None:
            least = axis.extent if isinstance(axis.extent, int) else 1
            return Range(zero, a.size(axis.extent), least, content(axis.extent))
        index, bound = axis.clip      # coefficient * axis + rest < bound
        coefficient = dict(index.terms)[axis.name]
        others = Index(tuple(term for term in index.terms if term[0] != axis.name), index.constant)
        rest = indexing.affine(a, replace(point, lanes=1), others)
        assert rest is not None and coefficient > 0
        room = a.binary("sub nsw", a.size(bound + coefficient - 1), rest.base)
        count = a.binary("sdiv", room, a.size(coefficient)) if coefficient > 1 else room
        count = a.intrinsic("smax", a.intrinsic("smin", count, a.size(axis.extent)), zero)
        return Range(zero, count, 0)

    def _scalar_loop(self, name: str, part: Range, point: Point, carried: list[Value], body: Body) -> list[Value]:
        def at(index: Value, values: list[Value]) -> list[Value]:
            return body(replace(point, indices={**point.indices, name: index}), values)

        if part.stop.number == 1:
            return at(part.start, carried)
        return self._loop(part.start, part.stop, 1, part.least > 0, carried, at)

    def _vector_loop(self, name: str, part: Range, point: Point, carried: list[Value], body: Body) -> list[Value]:
        a, lanes = self.a, self.lanes
        lines = self.lines(name, point) if self.lines else None

        def at(index: Value, values: list[Value], count: Value | None = None) -> list[Value]:
            known = part.aligned if index.number is None else index.number
            aligned = 1 if lines else gcd(lanes, known)
            indices = {**point.indices, name: index}
            return body(replace(point, indices=indices, lanes=lanes, aligned=aligned, count=count,
                                with_lines=lines.index if lines and count is None else None), values)

        if lines:
            assert not carried
            return self._along_lines(part, lines.phase, lines.line, at)
        count = part.stop.number
        if count is not None:
            whole, left = count - count % lanes, count % lanes
            if whole == lanes:
                carried = at(part.start, carried)
            elif whole:
                carried = a.loop(part.start, a.constant(I64, whole), lanes, carried, at)
            return at(a.constant(I64, whole), carried, a.constant(I64, left)) if left else carried
        vectors = a.binary("and", a.binary("sub nsw", part.stop, part.start), a.constant(I64, -lanes))
        middle = a.binary("add nsw", part.start, vectors)
        carried = self._loop(part.start, middle, lanes, part.least >= lanes, carried, at)
        if part.multiple % lanes == 0:
            return carried
        rest = a.binary("sub nsw", part.stop, middle)
        return a.when(a.compare("icmp slt", middle, part.stop), carried, partial(at, middle, carried, rest))

    def _along_lines(self, part: Range, phase: Value, line: int, at: Callable[..., list[Value]]) -> list[Value]:
        """What is before the first line, whole vectors, what is left; the two that are under a mask are one code."""
        a, zero = self.a, self.a.constant(I64, 0)
        before = a.binary("sub nsw", zero, a.binary("add nsw", phase, part.start))
        before = a.intrinsic("smin", a.binary("and", before, a.constant(I64, line - 1)),
                             a.binary("sub nsw", part.stop, part.start))
        first = a.binary("add nsw", part.start, before)
        whole = a.binary("and", a.binary("sub nsw", part.stop, first), a.constant(I64, -self.lanes))
        middle = a.binary("add nsw", first, whole)

        def one_end(number: Value, _: list[Value]) -> list[Value]:
            leading = a.compare("icmp eq", number, zero)
            start = a.select(leading, part.start, middle)
            count = a.select(leading, before, a.binary("sub nsw", part.stop, middle))
            a.when(a.compare("icmp slt", zero, count), [], partial(at, start, [], count))
            return a.when(leading, [], partial(self._loop, first, middle, self.lanes, False, [], at))

        return a.loop(zero, a.constant(I64, 2), 1, [], one_end)

    def _loop(self, start: Value, stop: Value, step: int, certain: bool, carried: list[Value],
              at: Callable[[Value, list[Value]], list[Value]]) -> list[Value]:
        """A loop that is under a test unless it is certain that start < stop."""
        loop = partial(self.a.loop, start, stop, step, carried, at)
        return loop() if certain else self.a.when(self.a.compare("icmp slt", start, stop), carried, loop)
