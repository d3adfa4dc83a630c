"""gemm: matrix products in registers, as LLVM text: functions compiled once for each dtype; sizes and layout are data.

    for each panel of c, for each stretch of terms:
      a's rows of the stretch, arranged where they do not lie well
      for each strip of columns, two vectors wide, four or one:
        b's strip of the stretch, arranged where it does not lie well; for each block of rows:
          c[block, strip] in registers;  for p: += a[block, p], in every lane, * b[p, strip]

1. Every element of c is one chain of fused multiply-adds over the terms in order, whatever the sizes, the panels, the
   vectors and the threads; a stretch goes on from what the one before it left in a room, and the last stores c.
2. The innermost loop reads rows of a that lie term by term, and full strips of b. A strip with fewer columns is always
   arranged, and its part of c goes through the room, too: no loop over terms has a mask.
3. Rows beyond the last are computed as copies of it, and stored to the same place.
4. The innermost loop has no instruction but loads and multiply-adds for most of its length (see lines in gemm_panels):
   a neighbor on the same core, another program's thread, leaves half of the instructions that a core takes in.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from codegen.ir.structs import struct
from codegen.llvm_cpu.assembler import Assembler, Value
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.gemm_packing import LINE, Part, Room, copy_strips, transpose
from codegen.llvm_cpu.gemm_panels import MOST_COLUMNS, MOST_ROWS, USUAL, Panel, Panels, Tile, Width, tile

_MARGIN = 64
"""Bytes between lines in a room, so that lines of a power of two do not all fall into the same place of a cache."""

STRIPS = 4
"""So many strips of b are copied at once, a power of two: more of a line of b while it is near. Lines a power of two
apart, of which a cache keeps few, take a third of the time of strips that are copied one by one."""

_SQUARE = 8
"""Stretches are multiples of so many terms, or of as many as a vector has elements: of whole squares."""

_BEGUN = 2
"""So many lines of a cache are asked for of a row, from where the processor goes on by itself."""

TERMS = 4
"""Terms in a turn of the innermost loop, a power of two."""


def emit_gemm(dtype: str, symbol: str, features: Features, width: Width = USUAL) -> str:
    """The text of a module with @symbol, a function of gemm_panels, for products of more than one row.

    `width`: of strips (see gemm_panels.tile).
    """
    gemm = _Gemm(Assembler(), dtype, features, tile(features, width))
    gemm.each(gemm.panel)
    return gemm.text(symbol)


@struct
class Sums:
    """A strip of a panel of c: where its sums are until the last stretch, and where they belong.

    columns: those that there are, from here to the end of the panel. going_on: not the first stretch; last: the last.
    """

    room: Value
    z: Value
    columns: Value
    going_on: Value
    last: Value


class _Gemm(Panels):
    def __init__(self, a: Assembler, dtype: str, features: Features, tile: Tile):
        super().__init__(a, dtype, features)
        self.tile = tile
        self.strip, self.margin = self.tile.vectors * self.lanes, _MARGIN // self.item
        self.square = max(_SQUARE, self.lanes)
        self.rows_room = a.room((MOST_ROWS + self.square) * (self.tile.terms * self.item + _MARGIN))
        self.strips_room = a.room(STRIPS * (self.tile.terms * self.strip * self.item + _MARGIN))
        self.sums_room = a.room(MOST_ROWS * MOST_COLUMNS * self.item)

    def panel(self, panel: Panel) -> list[Value]:
        """c[panel], in stretches of as many terms each, and whole squares: a few that are left cost as many blocks."""
        k, zero = self.literal["k"], self.number(0)

        def pieces(whole: Value, size: Value) -> Value:
            return self.a.binary("udiv", self.minus(self.plus(whole, size), self.number(1)), size)

        terms = pieces(k, pieces(k, self.number(self.tile.terms)))
        terms = self.down_to(self.plus(terms, self.number(self.square - 1)), self.square)
        return self.a.loop(zero, pieces(k, terms), 1, [], lambda s, _: self._stretch(
            panel, self.times(s, terms), terms))

    def _stretch(self, panel: Panel, p: Value, terms: Value) -> list[Value]:
        """c[panel] gets the terms p .. p + depth - 1."""
        a, of, zero = self.a, self.literal, self.number(0)
        depth = self.least(terms, self.minus(of["k"], p))
        x = self.at(panel.x, self.times(p, of["a_term"]))
        y = self.at(panel.y, self.times(p, a.select(self.transposed, self.number(1), of["b_pitch"])))
        by_columns = a.compare("icmp ne", of["a_term"], self.number(1))
        whole = self.down_to(self.plus(depth, self.number(self.square - 1)), self.square)
        pitch = self.plus(whole, self.number(self.margin))
        rows, strips = Room(self.rows_room, pitch), Room(self.strips_room, self.number(self.strip))
        group, apart = STRIPS * self.strip, self.number(self.tile.terms * self.strip + self.margin)
        arranged = Part(a.select(by_columns, rows.start, x), panel.rows, depth,
                        a.select(by_columns, rows.pitch, of["a_row"]))

        def strip(j: Value) -> list[Value]:
            first, columns = a.compare("icmp eq", j, zero), self.minus(panel.columns, j)
            start = self.at(y, a.select(self.transposed, self.times(j, of["b_pitch"]), j))
            width = self.least(columns, self.number(self.strip))
            within = a.binary("and", j, self.number(group - 1))
            own = Room(self.at(strips.start, self.times(a.binary("udiv", within, self.number(self.strip)), apart)),
                       strips.pitch)

            def transposes(operand: Value) -> list[Value]:
                """Of a, once, in the first turn, of b in the second: the same code."""
                of_a = a.compare("icmp eq", operand, zero)

                def either(one: Value, other: Value) -> Value:
                    return a.select(of_a, one, other)

                part = Part(either(x, start), either(depth, width), either(panel.rows, depth),
                            either(of["a_term"], of["b_pitch"]))
                room = Room(either(rows.start, own.start), either(rows.pitch, own.pitch))
                needed = either(a.binary("and", by_columns, first), self.transposed)
                return a.when(needed, [], lambda: transpose(self, part, room))

            a.loop(zero, self.number(2), 1, [], lambda operand, _: transposes(operand))
            copied = a.binary("or", self.copied, self.less(columns, self.number(self.strip)))
            begins = a.binary("and", a.compare("icmp eq", within, zero), self.not_(self.transposed))
            several = Part(start, depth, self.least(columns, self.number(group)), of["b_pitch"])
            a.when(begins, [], lambda: copy_strips(self, several, self.tile.vectors, self.copied, strips, apart))
            moved = a.binary("or", copied, self.transposed)
            lines = Part(a.select(moved, own.start, start), depth, self.number(self.strip),
                         a.select(moved, own.pitch, of["b_pitch"]))
            last = a.compare("icmp eq", self.plus(p, depth), of["k"])
            sums = Sums(self.at(self.sums_room, self.times(j, self.number(MOST_ROWS))), self.at(panel.z, j), columns,
                        a.compare("icmp ne", p, zero), last)
            return self._strip(arranged, lines, sums, first)

        return a.loop(zero, panel.columns, self.strip, [], lambda j, _: strip(j))

    def _strip(self, x: Part, y: Part, sums: Sums, first: Value) -> list[Value]:
        """c[:, strip] gets the terms of a stretch, in the room until the last.

        `first`: no strip of the stretch came before, so a may be far away.
        """
        a, rows, zero = self.a, x.lines, self.number(0)
        partial = self.less(sums.columns, self.number(self.strip))
        done = a.binary("and", sums.last, self.not_(partial))
        out = a.select(done, sums.z, sums.room)
        pitch = a.select(done, self.literal["n"], self.number(self.strip))
        many, few = self.tile.rows, self.tile.few
        whole = self.times(a.binary("udiv", rows, self.number(many)), self.number(many))

        def block(i: Value) -> list[Value]:
            self._fetch(self.plus(i, self.number(many)), x, out, pitch, first)
            return self._block(many, i, x, y, sums, out, pitch)

        a.when(self.less(zero, whole), [], lambda: a.loop(zero, whole, many, [], lambda i, _: block(i)))
        a.when(self.less(whole, rows), [], lambda: a.loop(whole, rows, few, [], lambda i, _: self._block(
            few, i, x, y, sums, out, pitch)))
        return a.when(a.binary("and", partial, sums.last), [], lambda: self._columns_out(sums, rows))

    def _columns_out(self, sums: Sums, rows: Value) -> list[Value]:
        """Copy the columns that there are of each row out of the room."""
        masks = [self.mask(self.minus(sums.columns, self.number(v * self.lanes)), self.lanes)
                 for v in range(self.tile.vectors)]

        def row(i: Value) -> list[Value]:
            out = self.at(sums.z, self.times(i, self.literal["n"]))
            own = self.at(sums.room, self.times(i, self.number(self.strip)))
            for v, mask in enumerate(masks):
                at, room = (self.at(line, self.number(v * self.lanes)) for line in (out, own))
                self.a.masked_store(self.a.load(self.lane, room, False), at, mask)
            return []

        return self.a.loop(self.number(0), rows, 1, [], lambda i, _: row(i))

    def _fetch(self, i: Value, x: Part, z: Value, pitch: Value, first: Value) -> None:
        """Ask for what the block of rows from i on begins with: its part of c, and of a if that may be far away.

        There may be no such rows; asking for what is not there does nothing.
        """
        a, width = self.a, self.strip * self.item
        for line in self.lines(self.at(z, self.times(i, pitch)), pitch, self.tile.rows):
            for end in range(min(LINE, width), width + 1, LINE):        # the strip before has brought where it begins
                a.prefetch(self.at(line, self.number(end // self.item - 1)))

        def of_a() -> list[Value]:
            for line in self.lines(self.at(x.start, self.times(i, x.pitch)), x.pitch, self.tile.rows):
                for k in range(_BEGUN):
                    a.prefetch(self.at(line, self.number(k * LINE // self.item)))
            return []

        a.when(first, [], of_a)

    def _block(self, block: int, i: Value, x: Part, y: Part, of: Sums, out: Value, pitch: Value) -> list[Value]:
        """c[i : i + block, strip] gets the terms of a stretch, from the room to `out`, whose rows are `pitch` apart."""
        a = self.a
        numbers = [self.plus(i, self.number(r)) for r in range(block)]
        if block != self.tile.rows:
            last = self.minus(x.lines, self.number(1))
            numbers = [self.least(r, last) for r in numbers]
        offsets = [self.times(self.minus(r, i), x.pitch) for r in numbers]
        kept, outs = ([self.at(self.at(start, self.times(r, step)), self.number(v * self.lanes))
                       for r in numbers for v in range(self.tile.vectors)]
                      for start, step in ((of.room, self.number(self.strip)), (out, pitch)))
        sums = a.when(of.going_on, [a.constant(self.lane, 0.0)] * len(outs), lambda: [
            a.load(self.lane, at, invariant=False) for at in kept])

        def rows(start: Value) -> list[Value]:
            if block == self.tile.rows:
                return self.lines(start, x.pitch, block)
            return [self.at(start, a.inside(offset)) for offset in offsets]

        def terms(count: int, carried: list[Value]) -> list[Value]:
            start, line, *sums = carried
            starts = rows(start)
            for p, at in enumerate(self.lines(line, y.pitch, count)):
                self._term([self.at(row, self.number(p)) for row in starts],
                           [self.at(at, self.number(v * self.lanes)) for v in range(self.tile.vectors)], sums)
            return [self.at(start, self.number(count)), self.at(line, self.times(y.pitch, self.number(count))), *sums]

        carried, several = [self.at(x.start, self.times(i, x.pitch)), y.start, *sums], self.down_to(y.lines, TERMS)
        for first, last, count in ((self.number(0), several, TERMS), (several, y.lines, 1)):
            carried = self._turns(first, last, count, carried, partial(terms, count))
        for total, at in zip(carried[2:], outs, strict=True):
            a.store(total, at)
        return []

    def _term(self, rows: list[Value], vectors: list[Value], sums: list[Value]) -> None:
        """sums += an element of each row, in every lane, * each vector. The fewer of them are held in registers."""
        a = self.a

        def of_a(row: Value) -> Value:
            return a.splat(a.load(self.real, row, invariant=False), self.lanes)

        def of_b(vector: Value) -> Value:
            return a.load(self.lane, vector, invariant=False)

        def add(r: int, v: int, x: Value, y: Value) -> None:
            sums[r * len(vectors) + v] = self.fma(x, y, sums[r * len(vectors) + v])

        if len(rows) < len(vectors):
            held = [of_a(row) for row in rows]
            for v, vector in enumerate(vectors):
                y = of_b(vector)
                for r, x in enumerate(held):
                    add(r, v, x, y)
        else:
            held = [of_b(vector) for vector in vectors]
            for r, row in enumerate(rows):
                x = of_a(row)
                for v, y in enumerate(held):
                    add(r, v, x, y)

    def _turns(self, first: Value, last: Value, step: int, carried: list[Value],
               turn: Callable[[list[Value]], list[Value]]) -> list[Value]:
        """carried = turn(carried) for each step from `first` to `last`, which may be none."""
        return self.a.when(self.less(first, last), carried, lambda: self.a.loop(
            first, last, step, carried, lambda _, carried: turn(carried)))
