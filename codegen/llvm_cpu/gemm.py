"""gemm: matrix products in registers, as LLVM text: a function compiled once for each dtype; sizes and layout are data.

    for each panel of c, for each stretch of terms:
      a's rows of the stretch, arranged where they do not lie well
      for each strip of columns, two vectors wide:
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
from codegen.llvm_cpu.gemm_packing import LINE, SQUARE, STRIP_VECTORS, Part, Room, copy_strip, fetch_strip, transpose
from codegen.llvm_cpu.gemm_panels import Panel, Panels

STRETCH = 256
"""Terms in a stretch: a strip of b this deep stays in the first cache, or near it, while the rows pass by."""

MOST_ROWS = 264
"""The most rows of a panel: a stretch of them stays in the second cache while strips pass by."""

MOST_COLUMNS = 512
"""The most columns of a panel, a multiple of those of a strip: more save nothing more."""

_MARGIN = 64
"""Bytes between lines in a room, so that lines of a power of two do not all fall into the same place of a cache."""

_FEW_ROWS = 4
"""Rows of the smaller block that takes what the larger leaves."""

_BEGUN = 2
"""So many lines of a cache are asked for of a row, from where the processor goes on by itself."""

TERMS = 4
"""Terms in a turn of the innermost loop, a power of two."""


def row_block(features: Features) -> int:
    """Rows of c held in registers at once; an AVX-512 processor has 32 registers, others may have 16."""
    return 12 if features.vector_bytes == 64 else 6


def emit_gemm(dtype: str, symbol: str, features: Features) -> str:
    """The text of a module with @symbol, a function of gemm_panels, for products of more than one row."""
    gemm = _Gemm(Assembler(), dtype, features)
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
    def __init__(self, a: Assembler, dtype: str, features: Features):
        super().__init__(a, dtype, features)
        self.strip, self.block = STRIP_VECTORS * self.lanes, row_block(features)
        self.margin = _MARGIN // self.item
        self.rows_room = a.room((MOST_ROWS + SQUARE) * (STRETCH * self.item + _MARGIN))
        self.strip_room = a.room(STRETCH * STRIP_VECTORS * features.vector_bytes)
        self.sums_room = a.room(MOST_ROWS * MOST_COLUMNS * self.item)

    def panel(self, panel: Panel) -> list[Value]:
        """c[panel]."""
        return self.a.loop(self.number(0), self.literal["k"], STRETCH, [], lambda p, _: self._stretch(panel, p))

    def _stretch(self, panel: Panel, p: Value) -> list[Value]:
        """c[panel] gets the terms p .. p + depth - 1."""
        a, of, zero = self.a, self.literal, self.number(0)
        depth = self.least(self.number(STRETCH), self.minus(of["k"], p))
        x = self.at(panel.x, self.times(p, of["a_term"]))
        y = self.at(panel.y, self.times(p, a.select(self.transposed, self.number(1), of["b_pitch"])))
        by_columns = a.compare("icmp ne", of["a_term"], self.number(1))
        pitch = self.plus(self.down_to(self.plus(depth, self.number(SQUARE - 1)), SQUARE), self.number(self.margin))
        rows, strip_room = Room(self.rows_room, pitch), Room(self.strip_room, self.number(self.strip))
        arranged = Part(a.select(by_columns, rows.start, x), panel.rows, depth,
                        a.select(by_columns, rows.pitch, of["a_row"]))

        def strip(j: Value) -> list[Value]:
            first, columns = a.compare("icmp eq", j, zero), self.minus(panel.columns, j)
            start = self.at(y, a.select(self.transposed, self.times(j, of["b_pitch"]), j))
            width = self.least(columns, self.number(self.strip))

            def transposes(operand: Value) -> list[Value]:
                """Of a, once, in the first turn, of b in the second: the same code."""
                of_a = a.compare("icmp eq", operand, zero)

                def either(one: Value, other: Value) -> Value:
                    return a.select(of_a, one, other)

                part = Part(either(x, start), either(depth, width), either(panel.rows, depth),
                            either(of["a_term"], of["b_pitch"]))
                room = Room(either(rows.start, strip_room.start), either(rows.pitch, strip_room.pitch))
                needed = either(a.binary("and", by_columns, first), self.transposed)
                return a.when(needed, [], lambda: transpose(self, part, room))

            a.loop(zero, self.number(2), 1, [], lambda operand, _: transposes(operand))
            copied = a.binary("or", self.copied, self.less(columns, self.number(self.strip)))
            a.when(a.binary("and", copied, self.not_(self.transposed)), [], lambda: copy_strip(
                self, Part(start, depth, width, of["b_pitch"]), strip_room))
            moved = a.binary("or", copied, self.transposed)
            lines = Part(a.select(moved, strip_room.start, start), depth, self.number(self.strip),
                         a.select(moved, strip_room.pitch, of["b_pitch"]))
            following = self.at(start, a.select(self.transposed, self.times(
                of["b_pitch"], self.number(self.strip)), self.number(self.strip)))
            last = a.compare("icmp eq", self.plus(p, depth), of["k"])
            sums = Sums(self.at(self.sums_room, self.times(j, self.number(MOST_ROWS))), self.at(panel.z, j), columns,
                        a.compare("icmp ne", p, zero), last)
            return self._strip(arranged, lines, sums, first, following)

        return a.loop(zero, panel.columns, self.strip, [], lambda j, _: strip(j))

    def _strip(self, x: Part, y: Part, sums: Sums, first: Value, following: Value) -> list[Value]:
        """c[:, strip] gets the terms of a stretch, in the room until the last.

        `first`: no strip of the stretch came before, so a may be far away; `following`: where the next one starts.
        """
        a, rows, zero = self.a, x.lines, self.number(0)
        partial = self.less(sums.columns, self.number(self.strip))
        done = a.binary("and", sums.last, self.not_(partial))
        out = a.select(done, sums.z, sums.room)
        pitch = a.select(done, self.literal["n"], self.number(self.strip))
        whole = self.times(a.binary("udiv", rows, self.number(self.block)), self.number(self.block))

        def block(i: Value) -> list[Value]:
            self._fetch(self.plus(i, self.number(self.block)), x, out, pitch, first)
            self._fetch_strip(i, y, following)
            return self._block(self.block, i, x, y, sums, out, pitch)

        a.when(self.less(zero, whole), [], lambda: a.loop(zero, whole, self.block, [], lambda i, _: block(i)))
        a.when(self.less(whole, rows), [], lambda: a.loop(whole, rows, _FEW_ROWS, [], lambda i, _: self._block(
            _FEW_ROWS, i, x, y, sums, out, pitch)))
        return a.when(a.binary("and", partial, sums.last), [], lambda: self._columns_out(sums, rows))

    def _columns_out(self, sums: Sums, rows: Value) -> list[Value]:
        """Copy the columns that there are of each row out of the room."""
        masks = [self.mask(self.minus(sums.columns, self.number(v * self.lanes)), self.lanes)
                 for v in range(STRIP_VECTORS)]

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
        a = self.a
        for line in self.lines(self.at(z, self.times(i, pitch)), pitch, self.block):
            fetch_strip(self, line)

        def of_a() -> list[Value]:
            for line in self.lines(self.at(x.start, self.times(i, x.pitch)), x.pitch, self.block):
                for k in range(_BEGUN):
                    a.prefetch(self.at(line, self.number(k * LINE // self.item)))
            return []

        a.when(first, [], of_a)

    def _fetch_strip(self, i: Value, y: Part, start: Value) -> None:
        """Ask for a share of the strip at `start`, which comes next: lines of terms, or pieces of columns."""
        a, pitch = self.a, self.literal["b_pitch"]
        rows, pieces = (self.times(i, self.number(n)) for n in (2, max(1, LINE // self.item // self.block)))

        def some() -> list[Value]:
            at = self.at(start, a.select(self.transposed, pieces, self.times(rows, pitch)))
            for line in self.lines(at, pitch, max(self.strip, 2 * self.block)):
                fetch_strip(self, line)
            return []

        a.when(self.less(a.select(self.transposed, pieces, rows), y.lines), [], some)

    def _block(self, block: int, i: Value, x: Part, y: Part, of: Sums, out: Value, pitch: Value) -> list[Value]:
        """c[i : i + block, strip] gets the terms of a stretch, from the room to `out`, whose rows are `pitch` apart."""
        a = self.a
        numbers = [self.plus(i, self.number(r)) for r in range(block)]
        if block != self.block:
            last = self.minus(x.lines, self.number(1))
            numbers = [self.least(r, last) for r in numbers]
        offsets = [self.times(self.minus(r, i), x.pitch) for r in numbers]
        kept, outs = ([self.at(self.at(start, self.times(r, step)), self.number(v * self.lanes))
                       for r in numbers for v in range(STRIP_VECTORS)]
                      for start, step in ((of.room, self.number(self.strip)), (out, pitch)))
        sums = a.when(of.going_on, [a.constant(self.lane, 0.0)] * len(outs), lambda: [
            a.load(self.lane, at, invariant=False) for at in kept])

        def rows(start: Value) -> list[Value]:
            if block == self.block:
                return self.lines(start, x.pitch, block)
            return [self.at(start, a.inside(offset)) for offset in offsets]

        def terms(count: int, carried: list[Value]) -> list[Value]:
            start, line, *sums = carried
            starts = rows(start)
            for p, at in enumerate(self.lines(line, y.pitch, count)):
                ys = [a.load(self.lane, self.at(at, self.number(v * self.lanes)), False) for v in range(STRIP_VECTORS)]
                for r, row in enumerate(starts):
                    element = a.splat(a.load(self.real, self.at(row, self.number(p)), invariant=False), self.lanes)
                    for k, of_b in enumerate(ys, r * STRIP_VECTORS):
                        sums[k] = self.fma(element, of_b, sums[k])
            return [self.at(start, self.number(count)), self.at(line, self.times(y.pitch, self.number(count))), *sums]

        carried, several = [self.at(x.start, self.times(i, x.pitch)), y.start, *sums], self.down_to(y.lines, TERMS)
        for first, last, count in ((self.number(0), several, TERMS), (several, y.lines, 1)):
            carried = self._turns(first, last, count, carried, partial(terms, count))
        for total, at in zip(carried[2:], outs, strict=True):
            a.store(total, at)
        return []

    def _turns(self, first: Value, last: Value, step: int, carried: list[Value],
               turn: Callable[[list[Value]], list[Value]]) -> list[Value]:
        """carried = turn(carried) for each step from `first` to `last`, which may be none."""
        return self.a.when(self.less(first, last), carried, lambda: self.a.loop(
            first, last, step, carried, lambda _, carried: turn(carried)))
