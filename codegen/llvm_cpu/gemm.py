"""gemm: matrix products in registers, as LLVM text: a function compiled once for each dtype; sizes and layout are data.

    for each panel of c, for each stretch of terms:
      a's rows and b's strips of columns (two vectors wide) of the stretch, arranged where they do not lie well
      for each strip, for each block of rows:
        c[block, strip] in registers;  for p: += a[block, p], in every lane, * b[p, strip]

1. Every element of c is one chain of fused multiply-adds over the terms in order, whatever the sizes, the panels, the
   vectors and the threads; a stretch goes on from what the one before it stored.
2. The innermost loop reads rows of a that lie term by term, and full strips of b. A strip with fewer columns is always
   arranged, and its part of c is computed in a room: no loop over terms has a mask.
3. Rows beyond the last are computed as copies of it, and stored to the same place.
4. The innermost loop has no instruction but loads and multiply-adds for most of its length (see lines in gemm_panels):
   a neighbor on the same core, another program's thread, leaves half of the instructions that a core takes in.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from codegen.llvm_cpu.assembler import Assembler, Value
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.gemm_packing import SQUARE, STRIP_VECTORS, Part, Room, copy_lines, transpose
from codegen.llvm_cpu.gemm_panels import Panel, Panels

STRETCH = 256
"""Terms in a stretch: a strip of b this deep stays in the first cache, or near it, while the rows pass by."""

MOST_ROWS = 264
"""The most rows of a panel."""

_ARRANGED_BYTES = 208 << 10
"""Room for what is arranged of a, and as much for b: with c they stay in the second cache."""

_MARGIN = 64
"""Bytes between lines in a room, so that lines of a power of two do not all fall into the same place of a cache."""

_FEW_ROWS = 4
"""Rows of the smaller block that takes what the larger leaves."""

LINE, _BEGUN = 64, 2
"""Bytes of a line of a cache; so many of a row are asked for, from where the processor goes on by itself."""

TERMS = 4
"""Terms in a turn of the innermost loop, a power of two."""


def row_block(features: Features) -> int:
    """Rows of c held in registers at once; an AVX-512 processor has 32 registers, others may have 16."""
    return 12 if features.vector_bytes == 64 else 6


def most_arranged(k: int, item: int) -> int:
    """The most rows, and columns, of a panel that is arranged; `item`: bytes of an element."""
    terms = -(-min(k, STRETCH) // SQUARE) * SQUARE
    return _ARRANGED_BYTES // (terms * item + _MARGIN)


def emit_gemm(dtype: str, symbol: str, features: Features) -> str:
    """The text of a module with @symbol, a function of gemm_panels, for products of more than one row."""
    gemm = _Gemm(Assembler(), dtype, features)
    gemm.each(gemm.panel)
    return gemm.text(symbol)


class _Gemm(Panels):
    def __init__(self, a: Assembler, dtype: str, features: Features):
        super().__init__(a, dtype, features)
        self.strip, self.block = STRIP_VECTORS * self.lanes, row_block(features)
        self.margin = _MARGIN // self.item
        room = _ARRANGED_BYTES + SQUARE * (STRETCH * self.item + _MARGIN)
        self.rows_room, self.strips_room = a.room(room), a.room(room)
        self.part_room = a.room(MOST_ROWS * STRIP_VECTORS * features.vector_bytes)

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
        rows = Room(self.rows_room, pitch, self.number(1))
        step = self.plus(self.times(depth, self.number(self.strip)), self.number(self.margin))
        strips = Room(self.strips_room, self.number(self.strip), a.binary("udiv", step, self.number(self.strip)))

        def transposes(operand: Value) -> list[Value]:
            """Of a in the first turn, of b in the second: the same code."""
            first = a.compare("icmp eq", operand, zero)

            def either(of_a: Value, of_b: Value) -> Value:
                return a.select(first, of_a, of_b)

            part = Part(either(x, y), either(depth, panel.columns), either(panel.rows, depth),
                        either(of["a_term"], of["b_pitch"]))
            room = Room(either(rows.start, strips.start), either(rows.pitch, strips.pitch),
                        either(rows.per_column, strips.per_column))
            return a.when(either(by_columns, self.transposed), [], lambda: transpose(self, part, room))

        a.loop(zero, self.number(2), 1, [], lambda operand, _: transposes(operand))
        # the first column whose strip is arranged
        first = a.select(a.binary("or", self.copied, self.transposed), zero, self.down_to(panel.columns, self.strip))
        a.when(self.not_(self.transposed), [], lambda: copy_lines(
            self, Part(self.at(y, first), depth, self.minus(panel.columns, first), of["b_pitch"]), strips))
        x, x_pitch = a.select(by_columns, rows.start, x), a.select(by_columns, rows.pitch, of["a_row"])

        def strip(j: Value) -> list[Value]:
            arranged = a.compare("icmp sge", j, first)
            place = self.at(strips.start, self.times(self.minus(j, first), strips.per_column))
            lines = Part(a.select(arranged, place, self.at(y, j)), depth, self.number(self.strip),
                         a.select(arranged, strips.pitch, of["b_pitch"]))
            rows = Part(x, panel.rows, depth, x_pitch)
            return self._strip(rows, lines, self.at(panel.z, j), self.minus(panel.columns, j),
                               a.compare("icmp ne", p, zero), a.compare("icmp eq", j, zero))

        return a.loop(zero, panel.columns, self.strip, [], lambda j, _: strip(j))

    def _strip(self, x: Part, y: Part, z: Value, columns: Value, going_on: Value, first: Value) -> list[Value]:
        """c[:, strip] gets the terms of a stretch; without `columns` enough for a strip, in a room and from there.

        `first`: no strip of the stretch came before, so a may be far away.
        """
        a, rows, zero = self.a, x.lines, self.number(0)
        masks = [self.mask(self.minus(columns, self.number(v * self.lanes)), self.lanes) for v in range(STRIP_VECTORS)]
        partial = self.less(columns, self.number(self.strip))
        apart = self.literal["n"]
        here, room_pitch = a.select(partial, self.part_room, z), self.number(self.strip)
        pitch = a.select(partial, room_pitch, apart)
        a.when(a.binary("and", partial, going_on), [], lambda: self._each_row(
            rows, masks, (z, apart), (self.part_room, room_pitch), into_room=True))
        whole = self.times(a.binary("udiv", rows, self.number(self.block)), self.number(self.block))

        def block(i: Value) -> list[Value]:
            self._fetch(self.plus(i, self.number(self.block)), x, here, pitch, first)
            return self._block(self.block, i, x, y, here, pitch, going_on)

        a.when(self.less(zero, whole), [], lambda: a.loop(zero, whole, self.block, [], lambda i, _: block(i)))
        a.when(self.less(whole, rows), [], lambda: a.loop(whole, rows, _FEW_ROWS, [], lambda i, _: self._block(
            _FEW_ROWS, i, x, y, here, pitch, going_on)))
        return a.when(partial, [], lambda: self._each_row(
            rows, masks, (z, apart), (self.part_room, room_pitch), into_room=False))

    def _each_row(self, rows: Value, masks: list[Value], outside: tuple[Value, Value], inside: tuple[Value, Value],
                  into_room: bool) -> list[Value]:
        """Copy the columns of the masks of each row, into the room or out of it."""
        def row(i: Value) -> list[Value]:
            out, own = (self.at(start, self.times(i, pitch)) for start, pitch in (outside, inside))
            for v, mask in enumerate(masks):
                at, room = (self.at(line, self.number(v * self.lanes)) for line in (out, own))
                if into_room:
                    self.a.store(self.a.masked_load(self.lane, at, mask, False), room)
                else:
                    self.a.masked_store(self.a.load(self.lane, room, False), at, mask)
            return []

        return self.a.loop(self.number(0), rows, 1, [], lambda i, _: row(i))

    def _fetch(self, i: Value, x: Part, z: Value, pitch: Value, first: Value) -> None:
        """Ask for what the block of rows from i on begins with: its part of c, and of a if that may be far away."""
        last = self.minus(x.lines, self.number(1))
        rows = [self.least(self.plus(i, self.number(r)), last) for r in range(self.block)]
        for r in rows:
            self.a.prefetch(self.at(z, self.times(r, pitch)))

        def of_a() -> list[Value]:
            for r in rows:
                for line in range(_BEGUN):
                    self.a.prefetch(self.at(x.start, self.plus(
                        self.times(r, x.pitch), self.number(line * LINE // self.item))))
            return []

        self.a.when(first, [], of_a)

    def _block(self, block: int, i: Value, x: Part, y: Part, z: Value, pitch: Value, going_on: Value) -> list[Value]:
        """c[i : i + block, strip] gets the terms of a stretch."""
        a = self.a
        numbers = [self.plus(i, self.number(r)) for r in range(block)]
        if block != self.block:
            last = self.minus(x.lines, self.number(1))
            numbers = [self.least(r, last) for r in numbers]
        offsets = [self.times(self.minus(r, i), x.pitch) for r in numbers]
        outs = [self.at(self.at(z, self.times(r, pitch)), self.number(v * self.lanes))
                for r in numbers for v in range(STRIP_VECTORS)]
        sums = a.when(going_on, [a.constant(self.lane, 0.0)] * len(outs), lambda: [
            a.load(self.lane, out, invariant=False) for out in outs])

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
        for total, out in zip(carried[2:], outs, strict=True):
            a.store(total, out)
        return []

    def _turns(self, first: Value, last: Value, step: int, carried: list[Value],
               turn: Callable[[list[Value]], list[Value]]) -> list[Value]:
        """carried = turn(carried) for each step from `first` to `last`, which may be none."""
        return self.a.when(self.less(first, last), carried, lambda: self.a.loop(
            first, last, step, carried, lambda _, carried: turn(carried)))
