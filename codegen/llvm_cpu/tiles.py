"""Tiles: transposed accesses of a tile of a kernel, square by square through a room beside it.

    for tiles, for a < 32, for v < 128 vector:           for tiles:
      v0 = load b0[4096*a+v+..]                            room[a, v] = b0[4096*v+a+..]     in squares of 8 by 8
      v1 = load b0[4096*v+a+..]                    ->      for a < 32, for v < 128 vector:
      store b1[4096*a+v+..] (v0 + v1)                        v1 = load room[a, v] ..
                                                           and the other way, if what is stored is transposed

Lane by lane every element is an access of its own. Square by square, lines of memory are used up when they are there,
wherever the rows lie: those a page apart share eight places of the first cache. Meanwhile the next tile is fetched,
which processors do not foresee from row to row, and what is stored is whole lines, so that it may go past the caches.

1. A tile begins where a line of memory does: its bounds are moved from multiples of its lengths to where arrays are.
   No value depends on where tiles begin.
2. A room has the elements as they are in memory. What is in it beyond the tile is not used.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from codegen.ir.dims import Size, number_of
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.llvm_cpu import indexing
from codegen.llvm_cpu.assembler import BYTES, I64, Type, Value, vector
from codegen.llvm_cpu.indexing import Point
from codegen.llvm_cpu.memory import FARTHEST, LINE, Buffers
from codegen.llvm_cpu.nest import Body, Nest, Range
from codegen.llvm_cpu.prefetch import SECOND, Ahead
from codegen.llvm_cpu.squares import side, transposed
from codegen.schedule.index import coefficient, shift
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Scan,
    Statement,
    Store,
    indices_of,
)
from codegen.schedule.nest import walks_as_one

MOST_ROOMS = 4
"""So many of them stay in the nearest caches."""

@struct
class Turned:
    """A transposed access, the buffer that is its room, and how many elements are from row to row of that."""

    buffer: int
    index: Index
    room: int
    pitch: int


@struct
class Tile:
    """Pass `number` of a kernel goes over `across` and `along`, the vector axis, a tile at each point of outer axes.

    kernel: the one that has rooms, as buffers behind its own. reads, writes: what is transposed on its way in and out.
    straight: other accesses, stores first. counters: the outer axes that count the tiles, where there are such.
    """

    kernel: Kernel
    number: int
    across: Axis
    along: Axis
    counters: tuple[str | None, str | None]
    reads: tuple[Turned, ...]
    writes: tuple[Turned, ...]
    straight: tuple[tuple[int, Index], ...]

    @property
    def ahead(self) -> Ahead | None:
        """What the next tile reads straight."""
        if self.counters[0] is None:
            return None
        steps = [(buffer, index, coefficient(index, self.across.name)) for buffer, index in self.straight]
        places = tuple((buffer, shift(index, step * number_of(self.across.extent))) for buffer, index, step in steps
                       if step and self.kernel.params[buffer].access == "in")
        return Ahead(self.number, places, SECOND) if places else None


def tile_of(kernel: Kernel) -> Tile | None:
    """The tile of a kernel that has one, and transposed accesses in it."""
    if any(isinstance(s, Accumulate | Scan) for p in kernel.passes for s in p.body):
        return None
    for number, one in enumerate(kernel.passes):
        if len(one.axes) == 2 and one.axes[-1].name == kernel.vector:
            return _tile(kernel, number, one)
    return None


def _tile(kernel: Kernel, number: int, one: Pass) -> Tile | None:
    across, along = one.axes
    if not isinstance(across.extent, int) or not isinstance(along.extent, int):
        return None

    def is_transposed(s: Load | Store) -> bool:
        step = coefficient(s.index, along.name)
        near = step is None or isinstance(step, int) and -1 <= step <= FARTHEST
        return not near and coefficient(s.index, across.name) == 1 and not (isinstance(s, Load) and s.guards)

    accesses = [s for s in one.body if isinstance(s, Load | Store)]
    found: dict[tuple[int, Index], Turned] = {}
    params = list(kernel.params)
    for s in accesses:
        if is_transposed(s) and (s.buffer, s.index) not in found:
            param = kernel.params[s.buffer]
            line = LINE // DTYPES[param.dtype].itemsize
            pitch = along.extent + line
            found[s.buffer, s.index] = Turned(s.buffer, s.index, len(params), pitch)
            params.append(Param(param.dtype, (across.extent + line) * pitch, "inout"))
    if not 0 < len(found) <= MOST_ROOMS:
        return None

    def moved(s: Statement) -> Statement:
        if not isinstance(s, Load | Store) or (s.buffer, s.index) not in found or not is_transposed(s):
            return s
        turned = found[s.buffer, s.index]
        return replace(s, buffer=turned.room, index=Index(((across.name, turned.pitch), (along.name, 1))))

    passes = list(kernel.passes)
    passes[number] = Pass(one.axes, tuple(map(moved, one.body)))
    of_stores, of_loads = ({(s.buffer, s.index): None for s in accesses if isinstance(s, kind)}
                           for kind in (Store, Load))
    return Tile(replace(kernel, params=tuple(params), passes=tuple(passes)), number, across, along,
                (_counter(kernel, across), _counter(kernel, along)),
                tuple(turned for at, turned in found.items() if at in of_loads),
                tuple(turned for at, turned in found.items() if at in of_stores),
                tuple(at for at in {**of_stores, **of_loads} if at not in found))


def _counter(kernel: Kernel, axis: Axis) -> str | None:
    """The outer axis that goes on where an axis ends, in every index."""
    indices = [index for p in kernel.passes for s in p.body for index in indices_of(s)]
    indices += [axis.clip[0]] if axis.clip else []
    return next((outer.name for outer in kernel.axes if all(
        walks_as_one(index, outer.name, axis.name, axis.extent) for index in indices)), None)


# ---- code ----------------------------------------------------------------------------------------------------------


class TileLoops:
    """Goes through tiles, what is transposed in them arranged in rooms."""

    def __init__(self, tile: Tile, nest: Nest, buffers: Buffers):
        """`buffers`: those of the kernel with rooms, where these are."""
        self.tile, self.nest, self.a = tile, nest, nest.a
        turned = (*tile.reads, *tile.writes)
        self.moved = (self._moved(buffers, tile.across, tile.counters[0], [(one.buffer, one.index) for one in turned]),
                      self._moved(buffers, tile.along, tile.counters[1], tile.straight))
        pointers = list(buffers.pointers)
        for room, one in {one.room: one for one in turned}.items():
            rows, columns = (self._number(0) if by is None else by for by in self.moved)
            start = self._plus(self._times(rows, one.pitch), columns)
            pointers[room] = self.a.address(buffers.pointers[room], buffers.element(room), start)
        self.buffers = replace(buffers, pointers=tuple(pointers))

    def _moved(self, buffers: Buffers, axis: Axis, counter: str | None,
               accesses: Iterable[tuple[int, Index]]) -> Value | None:
        """By how many points tiles begin before multiples of their length, so that they begin with a line."""
        for buffer, index in accesses if counter is not None else ():
            if buffers.by_lines(buffer, index, axis.name):
                return buffers.phase(self.a, buffer)
        return None

    def over(self, point: Point, body: Body) -> list[Value]:
        """`body` at every point of the tile that is at a point of the outer axes; it carries nothing."""
        tile, nest = self.tile, self.nest
        rows = self._points(tile.across, tile.counters[0], self.moved[0], point)
        columns = self._points(tile.along, tile.counters[1], self.moved[1], point)

        def along(at: Point, carried: list[Value]) -> list[Value]:
            return nest.over((tile.along,), at, carried, body, columns)

        for one in tile.reads:
            self._arrange(one, point, rows, columns, False)
        nest.over((tile.across,), point, [], along, rows)
        for one in tile.writes:
            self._arrange(one, point, rows, columns, True)
        return []

    def _points(self, axis: Axis, counter: str | None, moved: Value | None, point: Point) -> Range:
        """The points of an axis that are in a tile."""
        a, part = self.a, self.nest.points(axis, point)
        if counter is None or moved is None:
            return part
        number, zero = point.indices[counter], self._number(0)
        last = self._plus(a.size(point.extents[counter]), self._number(-1))
        start = a.select(a.compare("icmp eq", number, zero), zero, a.binary("sub nsw", zero, moved))
        until = a.binary("sub nsw", a.size(axis.extent), moved)
        return Range(start, a.select(a.compare("icmp eq", number, last), part.stop, until), 1, aligned=1)

    def _arrange(self, one: Turned, point: Point, rows: Range, columns: Range, out: bool) -> None:
        """What is in a tile goes into its room, or `out` of it.

        In squares, the last of which end where the tile does; one element after the other where it is too thin.
        """
        a, element = self.a, self.buffers.element(one.buffer)
        item = self.buffers.item(one.buffer)
        side_length = side(item, self.buffers.features.vector_bytes)
        size, zero = self._number(side_length), self._number(0)
        origin = replace(point, indices={**point.indices, self.tile.across.name: zero, self.tile.along.name: zero})
        form, step = indexing.affine(a, origin, one.index), coefficient(one.index, self.tile.along.name)
        assert form is not None and step is not None
        start = a.address(self.buffers.pointers[one.buffer], element, form.base)

        def line(v: Value, k: int = 0) -> Value:
            return a.address(start, element, self._times(self._plus(v, self._number(k)), step))

        def in_room(r: Value, v: Value) -> Value:
            return a.address(self.buffers.pointers[one.room], element, self._plus(self._times(r, one.pitch), v))

        def elements(v: Value, _: list[Value]) -> list[Value]:
            def move(r: Value, _: list[Value]) -> list[Value]:
                places = a.address(line(v), element, r), in_room(r, v)
                source, target = reversed(places) if out else places
                a.store(a.load(element, source, False), target)
                return []

            return a.loop(rows.start, rows.stop, 1, [], move)

        def squares(first: Value, _: list[Value]) -> list[Value]:
            v = a.intrinsic("smin", first, a.binary("sub nsw", columns.stop, size))
            lines = [line(v, k) for k in range(side_length)]
            if not out and self.tile.counters[0] is not None:
                self._fetch_next(lines, rows, element)

            def move(first: Value, _: list[Value]) -> list[Value]:
                r = a.intrinsic("smin", first, a.binary("sub nsw", rows.stop, size))
                own = in_room(r, v)
                places = ([a.address(at, element, r) for at in lines],
                          [a.address(own, element, self._number(k * one.pitch)) for k in range(side_length)])
                sources, targets = reversed(places) if out else places
                read = [a.load(vector(element.dtype, side_length), at, False) for at in sources]
                for x, at in zip(transposed(a, read, item), targets, strict=True):
                    a.store(x, at)
                return []

            return a.loop(rows.start, rows.stop, side_length, [], move)

        def all_of(step_by: int, what: Callable[[Value, list[Value]], list[Value]]) -> list[Value]:
            return a.loop(columns.start, columns.stop, step_by, [], what)

        shortest = a.intrinsic("smin", *(a.binary("sub nsw", part.stop, part.start) for part in (rows, columns)))
        a.when(a.compare("icmp slt", shortest, size), [], partial(all_of, 1, elements))
        a.when(a.compare("icmp sge", shortest, size), [], partial(all_of, side_length, squares))

    def _fetch_next(self, lines: list[Value], rows: Range, element: Type) -> None:
        """Ask for what the next tile has in these lines."""
        length = number_of(self.tile.across.extent)
        for at in lines:
            for k in range(0, length, LINE // BYTES[element.element]):
                self.a.prefetch(self.a.address(at, element, self._plus(rows.start, self._number(length + k))), SECOND)

    def _number(self, number: int) -> Value:
        return self.a.constant(I64, number)

    def _plus(self, x: Value, y: Value) -> Value:
        return x if y.number == 0 else self.a.binary("add nsw", x, y)

    def _times(self, x: Value, by: Size) -> Value:
        return self.a.binary("mul nsw", x, self.a.size(by))
