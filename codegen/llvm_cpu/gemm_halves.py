"""gemm_halves: products of bf16 in the tile registers of AMX, as LLVM text; sums and results are f32.

    for each panel of c, for each stretch of terms:
      a's rows of the stretch, arranged in tiles; for each 128 columns:
        b's columns of the stretch, arranged in tiles; for each 32 rows and 32 columns: c += 32 terms at a time

A tile is 16 lines of 64 bytes. One of a holds 16 rows of 32 terms, one of b 16 pairs of terms of 16 columns: pair by
pair, the two terms of a column side by side, so that 32 bits are a pair in either. What lies otherwise in memory is
arranged so:

    lines of terms (a by rows, b by columns)      copied, 32 terms of 16 lines: a tile of a; turned: one of b
    lines of one term (a by columns, b by rows)   two interleaved: pairs of 16 columns: a tile of b; turned: one of a

1. Every element of c is the sum, over each 32 terms in order, of two chains of 16 fused multiply-adds, of the even
   terms and of the odd ones, whatever the sizes, the panels and the threads. Terms beyond the last are 0 times 0.
2. The processor takes subnormal operands for 0, and what would be a subnormal sum becomes 0.
3. Lines beyond the last are copies of it, and what they give is stored nowhere.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.structs import struct
from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.gemm_packing import LINE, columns_of_square
from codegen.llvm_cpu.gemm_panels import Elements, Panel, Panels

SIDE, TERMS = 16, LINE // 2
"""Lines of a tile of a, and the terms in each; columns of a tile of b."""

TILE = SIDE * LINE
"""Bytes of a tile."""

GROUP = 128
"""Rows or columns that are arranged at once: more of a line while it is near."""

BLOCK = 2 * SIDE
"""Rows and columns of a block of c: four tiles of sums. What is arranged of a and of b is two tiles wide as well."""

MOST_ROWS, MOST_COLUMNS, DEPTH = 512, 512, 512
"""Of a panel, and the most terms of a stretch, all multiples of 32: a panel's part of a stays in the second cache."""

_AT_ONCE = 4
"""So many lines are copied in a turn, a part of 16."""

_SUMS, _ROWS, _COLUMNS = 0, 4, 6
"""The first register for tiles of c, of a and of b."""


def emit_gemm_halves(dtype: str, symbol: str, features: Features) -> str:
    """The text of a module with @symbol, a function of gemm_panels, for products of `dtype`, bf16."""
    gemm = _Gemm(Assembler(), dtype, features)
    configure(gemm.a)
    gemm.each(gemm.panel)
    gemm.a.call("x86.tilerelease")
    return gemm.text(symbol)


def configure(a: Assembler) -> None:
    """Have all eight registers hold whole tiles."""
    bytes = [1, *[0] * 15, *[LINE, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8]
    room, type = a.room(len(bytes)), vector("u8", len(bytes))
    a.store(a.numbers(type, bytes), room)
    a.call("x86.ldtilecfg", room)


def register(number: int) -> Value:
    """A register, as instructions name it."""
    return Value(str(number), vector("u8"))


@struct
class _Group:
    """Rows of a, or columns of b: so many `lines` of so many `terms`, `pitch` elements from one to the next if a line
    lies `along` in memory, else from one term to the next."""

    start: Value
    lines: Value
    terms: Value
    pitch: Value
    along: Value


_Arrange = Callable[[_Group, Value, Callable[[Value], Value]], list[Value]]
"""(group, number of a pair of tiles, where that begins for the block of a line)"""


@struct
class _Block:
    """Where a block of c is, the rows and columns that there are from there on, and where its sums are, row by row."""

    z: Value
    rows: Value
    columns: Value
    room: Value


class _Gemm(Panels):
    def __init__(self, a: Assembler, dtype: str, features: Features):
        super().__init__(a, dtype, features)
        self.pairs = Elements(a, "f32", features)
        self.rows_room, self.strips_room = (a.room(lines * DEPTH * self.item) for lines in (MOST_ROWS, GROUP))
        self.turning, self.sums_room = a.room(GROUP * LINE), a.room(MOST_ROWS * MOST_COLUMNS * 4)

    def panel(self, panel: Panel) -> list[Value]:
        """c[panel], in stretches of as many terms each, and of whole tiles."""
        k, zero = self.literal["k"], self.number(0)
        terms = self._pieces(k, self._pieces(k, self.number(DEPTH)))
        terms = self.down_to(self.plus(terms, self.number(TERMS - 1)), TERMS)
        return self.a.loop(zero, self._pieces(k, terms), 1, [], lambda s, _: self._stretch(
            panel, self.times(s, terms), self.least(terms, self.minus(k, self.times(s, terms)))))

    def _pieces(self, whole: Value, size: Value) -> Value:
        return self.a.binary("udiv", self.minus(self.plus(whole, size), self.number(1)), size)

    def _stretch(self, panel: Panel, p: Value, depth: Value) -> list[Value]:
        """c[panel] gets the terms p .. p + depth - 1."""
        a, of, zero = self.a, self.literal, self.number(0)
        by_rows = a.compare("icmp eq", of["a_term"], self.number(1))
        tiles = self._pieces(depth, self.number(TERMS))
        block = self.times(tiles, self.number(2 * TILE))                # its bytes, once arranged
        going_on, last = a.compare("icmp ne", p, zero), a.compare("icmp eq", self.plus(p, depth), of["k"])
        one = a.binary("and", self.not_(going_on), last)
        x = self.at(panel.x, self.times(p, of["a_term"]))
        y = self.at(panel.y, self.times(p, a.select(self.transposed, self.number(1), of["b_pitch"])))

        def room_of(i: Value, room: Value) -> Value:
            return self._after(room, self.times(a.binary("udiv", i, self.number(BLOCK)), block))

        def rows(i: Value) -> list[Value]:
            pitch = a.select(by_rows, of["a_row"], of["a_term"])
            some = self.least(self.minus(panel.rows, i), self.number(GROUP))
            return self._arranged(_Group(self.at(x, self.times(i, of["a_row"])), some, depth, pitch, by_rows),
                                  tiles, room_of(i, self.rows_room), of_b=False)

        def strips(j: Value) -> list[Value]:
            some = self.least(self.minus(panel.columns, j), self.number(GROUP))
            start = self.at(y, a.select(self.transposed, self.times(j, of["b_pitch"]), j))
            self._arranged(_Group(start, some, depth, of["b_pitch"], self.transposed), tiles, self.strips_room,
                           of_b=True)
            return a.loop(zero, panel.rows, BLOCK, [], lambda i, _: blocks(i, j, some))

        def blocks(i: Value, j: Value, some: Value) -> list[Value]:
            z = self.at(panel.z, self.plus(self.times(i, of["n"]), j))
            return a.loop(zero, some, BLOCK, [], lambda s, _: self._block(
                _Block(self.at(z, s), self.minus(panel.rows, i), self.minus(some, s), room_of_sums(i, self.plus(j, s))),
                room_of(i, self.rows_room), room_of(s, self.strips_room), tiles, going_on, last))

        def room_of_sums(i: Value, j: Value) -> Value:
            """One for each block of the panel, where more stretches than one need them."""
            number = self.plus(self.times(i, self.number(MOST_COLUMNS // BLOCK)), j)
            return self._after(self.sums_room, a.select(one, zero, self.times(number, self.number(4 * TILE // BLOCK))))

        a.loop(zero, panel.rows, GROUP, [], lambda i, _: rows(i))
        return a.loop(zero, panel.columns, GROUP, [], lambda j, _: strips(j))

    def _after(self, start: Value, bytes: Value) -> Value:
        return self.a.address(start, vector("u8"), bytes)

    # ---- arranging ------------------------------------------------------------------------------------------------

    def _arranged(self, group: _Group, tiles: Value, room: Value, of_b: bool) -> list[Value]:
        """Rows of a, or columns of b, become blocks of pairs of tiles, one after the other."""
        a, zero = self.a, self.number(0)
        block = self.times(tiles, self.number(2 * TILE))

        def place(i: Value, q: Value) -> Value:
            """Where the pair of tiles number q of the block belongs that begins with line i."""
            number = a.binary("udiv", i, self.number(BLOCK))
            return self._after(room, self.plus(self.times(number, block), self.times(q, self.number(2 * TILE))))

        def turning(i: Value) -> Value:
            return self._after(self.turning, self.times(self.down_to(i, BLOCK), self.number(LINE)))

        def turned(i: Value, q: Value) -> list[Value]:
            """The tile that begins with line i, its words of 32 bits as columns instead of lines."""
            own = self._after(place(i, q), self.times(a.binary("and", i, self.number(SIDE)), self.number(LINE)))
            return self._turned(self._after(self.turning, self.times(i, self.number(LINE))), own)

        def pairs(q: Value, arrange: _Arrange, turn: bool) -> list[Value]:
            arrange(group, q, turning if turn else lambda i: place(i, q))
            return a.loop(zero, group.lines, SIDE, [], lambda i, _: turned(i, q)) if turn else []

        def under(condition: Value, arrange: _Arrange, turn: bool) -> None:
            a.when(condition, [], lambda: a.loop(zero, tiles, 1, [], lambda q, _: pairs(q, arrange, turn)))

        under(group.along, self._copied, of_b)
        under(self.not_(group.along), self._interleaved, not of_b)
        return []

    def _copied(self, group: _Group, q: Value, place: Callable[[Value], Value]) -> list[Value]:
        """32 terms of each line become a line of a tile; as many lines as whole tiles have."""
        last, first = self.minus(group.lines, self.number(1)), self.times(q, self.number(TERMS))
        there = self.mask(self.minus(group.terms, first), TERMS)

        def line(i: Value) -> list[Value]:
            own, within = place(i), a.binary("and", i, self.number(BLOCK - 1))
            for k in range(_AT_ONCE):
                number = self.least(self.plus(i, self.number(k)), last)
                at = self.at(group.start, self.plus(self.times(number, group.pitch), first))
                a.store(a.masked_load(self.lane, at, there, False),
                        self._after(own, self.times(self.plus(within, self.number(k)), self.number(LINE))))
            return []

        a = self.a
        whole = self.down_to(self.plus(group.lines, self.number(SIDE - 1)), SIDE)
        return a.loop(self.number(0), whole, _AT_ONCE, [], lambda i, _: line(i))

    def _interleaved(self, group: _Group, q: Value, place: Callable[[Value], Value]) -> list[Value]:
        """The elements of 16 pairs of lines of one term become lines of tiles, two by two."""
        a, zero, last = self.a, self.number(0), self.minus(group.terms, self.number(1))

        def pair(r: Value) -> list[Value]:
            first = self.plus(self.times(q, self.number(TERMS)), self.times(r, self.number(2)))
            numbers = [first, self.plus(first, self.number(1))]
            starts = [self.at(group.start, self.times(self.least(number, last), group.pitch)) for number in numbers]
            exist = [a.splat(self.less(number, group.terms), BLOCK) for number in numbers]

            def block(i: Value) -> list[Value]:
                there = self.mask(self.minus(group.lines, i), BLOCK)
                even, odd = (a.masked_load(self.lane, self.at(start, i), a.binary("and", there, exists), False)
                             for start, exists in zip(starts, exist))
                for half in range(2):
                    order = [k + other * BLOCK for k in range(half * SIDE, half * SIDE + SIDE) for other in range(2)]
                    at = self._after(place(i), self.times(r, self.number(LINE)))
                    a.store(a.shuffle(even, odd, order), self._after(at, self.number(half * TILE)))
                return []

            return a.loop(zero, group.lines, BLOCK, [], lambda i, _: block(i))

        return a.loop(zero, self.number(SIDE), 1, [], lambda r, _: pair(r))

    def _turned(self, source: Value, target: Value) -> list[Value]:
        lines, own = ([self._after(start, self.number(l * LINE)) for l in range(SIDE)] for start in (source, target))
        for column, at in zip(columns_of_square(self.pairs, lines), own, strict=True):
            self.a.store(column, at)
        return []

    # ---- multiplying ----------------------------------------------------------------------------------------------

    def _block(self, at: _Block, x: Value, y: Value, tiles: Value, going_on: Value, last: Value) -> list[Value]:
        """A block of c gets the terms of a stretch, in its room until the last."""
        a, several = self.a, self.less(self.number(SIDE), at.rows)
        a.when(several, [], lambda: self._products(2, at, x, y, tiles, going_on))
        a.when(self.not_(several), [], lambda: self._products(1, at, x, y, tiles, going_on))
        return a.when(last, [], lambda: self._rounded(at))

    def _products(self, height: int, at: _Block, x: Value, y: Value, tiles: Value, going_on: Value) -> list[Value]:
        """The sums of `height` by 2 tiles."""
        a, parts = self.a, [(r, v) for r in range(height) for v in range(2)]

        def each(name: str) -> list[Value]:
            for r, v in parts:
                place = self._after(at.room, self.number(2 * r * TILE + v * LINE)), self.number(2 * LINE)
                a.call(f"x86.{name}", register(_SUMS + 2 * r + v), *(() if name == "tilezero" else place))
            return []

        a.when(going_on, [], lambda: each("tileloadd64"))
        a.when(self.not_(going_on), [], lambda: each("tilezero"))

        def two(q: Value) -> list[Value]:
            offset = self.times(q, self.number(2 * TILE))
            for first, count, room in ((_ROWS, height, x), (_COLUMNS, 2, y)):
                for t in range(count):
                    source = self._after(self._after(room, offset), self.number(t * TILE))
                    a.call("x86.tileloadd64", register(first + t), source, self.number(LINE))
            for r, v in parts:
                a.call("x86.tdpbf16ps", *map(register, (_SUMS + 2 * r + v, _ROWS + r, _COLUMNS + v)))
            return []

        a.loop(self.number(0), tiles, 1, [], lambda q, _: two(q))
        return each("tilestored64")

    def _rounded(self, at: _Block) -> list[Value]:
        """What there is of a block goes from its room to c."""
        a, sums = self.a, vector("f32", SIDE)
        there = self.mask(at.columns, BLOCK)

        def row(i: Value) -> list[Value]:
            start = self._after(at.room, self.times(i, self.number(2 * LINE)))
            low, high = (a.load(sums, self._after(start, self.number(v * LINE)), False) for v in range(2))
            a.masked_store(a.halved(low, high), self.at(at.z, self.times(i, self.literal["n"])), there)
            return []

        return a.loop(self.number(0), self.least(at.rows, self.number(BLOCK)), 1, [], lambda i, _: row(i))
