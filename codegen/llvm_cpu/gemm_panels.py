"""gemm_panels: what a function that multiplies matrices starts with: its sizes, its panels, and words for their parts.

    @symbol(buffers, first panel, last panel, failed)        buffers: a, b, c, literals (see LITERALS)
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.llvm_cpu.assembler import I32, I64, PTR, Assembler, Type, Value, vector
from codegen.llvm_cpu.features import Features

LITERALS = ("m", "n", "k", "a_row", "a_term", "transposed", "copied", "b_pitch", "rows", "columns", "across", "panels")
"""What the functions read behind their buffers: sizes; elements of a from row to row and from term to term; is b stored
by columns; else are its strips copied; elements from one of its lines to the next; sizes of a panel; panels
across; panels of one product."""

MOST_ROWS = 264
"""The most rows of a panel: a stretch of them stays in the second cache while strips pass by."""

MOST_COLUMNS = 512
"""The most columns of a panel, a multiple of those of a strip: more save nothing more."""

_ADDRESSED = 6
"""So many lines are addressed from the first of them."""

_BYTE = vector("u8")


@struct
class Tile:
    """What is held in registers at once, and how deep a stretch of terms is.

    rows of c; few: those of the smaller block that takes what is left; vectors: the width of a strip. terms: the most
    of a stretch, a multiple of 16, so that whole squares of it fit where it is arranged; with AVX2 a strip of it is 16
    KB, so that half of the first cache is left for the rows that pass by.
    """

    rows: int
    few: int
    vectors: int
    terms: int


Width = Literal["usual", "wide", "narrow"]
USUAL: Width = "usual"


def tile(features: Features, width: Width = USUAL) -> Tile:
    """For a processor with 32 registers (AVX-512) or 16: 24 sums or 12, and what is multiplied.

    wide: rather wide than high, for large products: of fewer columns more is lost. Half as much of a passes by a
    strip. Where 16 registers allow it that takes 0.97 to 1.0 of the time (f64 0.95), and leaves one register, which a
    multiplication before an addition would need. With AVX-512 it takes 0.96 (f64 0.93): half as many rows share a place
    of the first cache, and strips twice as deep as it is come from the second in time, with half of the stretches.
    narrow, with AVX-512: for products of no more columns than a vector has, 12 sums: as many as are under way.
    """
    if features.vector_bytes == 64:
        return {"usual": Tile(12, 4, 2, 272), "wide": Tile(6, 3, 4, 528), "narrow": Tile(12, 4, 1, 528)}[width]
    return Tile(3, 2, 4, 136) if width == "wide" and features.fma else Tile(6, 4, 2, 272)


class Elements:
    """Vectors and addresses of the elements of a dtype, and the whole numbers that count them."""

    def __init__(self, a: Assembler, dtype: str, features: Features):
        self.a, self.features = a, features
        self.item = DTYPES[dtype].itemsize
        self.real = vector("u16" if dtype == "bf16" else dtype)
        self.lanes = features.vector_bytes // self.item
        self.lane = vector(self.real.dtype, self.lanes)

    def at(self, pointer: Value, elements: Value) -> Value:
        return self.a.address(pointer, self.real, elements)

    def number(self, number: int) -> Value:
        return self.a.constant(I64, number)

    def plus(self, x: Value, y: Value) -> Value:
        return self.a.binary("add", x, y)

    def minus(self, x: Value, y: Value) -> Value:
        return self.a.binary("sub", x, y)

    def times(self, x: Value, y: Value) -> Value:
        return self.a.binary("mul", x, y)

    def down_to(self, x: Value, multiple: int) -> Value:
        """The last multiple of a power of two that is not above x."""
        return self.a.binary("and", x, self.number(-multiple))

    def less(self, x: Value, y: Value) -> Value:
        return self.a.compare("icmp slt", x, y)

    def least(self, x: Value, y: Value) -> Value:
        return self.a.intrinsic("smin", x, y)

    def not_(self, x: Value) -> Value:
        return self.a.binary("xor", x, self.a.constant(vector("bool"), True))

    def mask(self, count: Value, lanes: int) -> Value:
        """Those of so many lanes that are below `count`."""
        few = self.a.convert("trunc", count, I32)
        return self.a.compare("icmp slt", self.a.lane_numbers(vector("i32", lanes)), self.a.splat(few, lanes))

    def lines(self, start: Value, pitch: Value, count: int) -> list[Value]:
        """The addresses of `count` lines, `pitch` elements apart, of which loads add up nearly all themselves.

        A load adds to a register 1, 2 or 4 times another: the pitch is in one, 3 and 5 times the pitch in two more, and
        every sixth line is an address of its own. LLVM, which would rather have an address for each, is not told.
        """
        a, bytes = self.a, self.times(pitch, self.number(self.item))
        found: list[Value] = []
        for number in range(count):
            here = number % _ADDRESSED
            if here == 0:
                first = a.inside(a.address(start, _BYTE, self.times(bytes, self.number(number))) if number else start)
                found.append(first)
                continue
            doubled = (here & -here).bit_length() - 1
            step = a.inside(self.times(bytes, self.number(here >> doubled)))
            found.append(a.address(first, _BYTE, a.binary("shl", step, self.number(doubled)) if doubled else step))
        return found

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        if self.features.fma:
            return self.a.intrinsic("fma", x, y, z)
        return self.a.binary("fadd", self.a.binary("fmul", x, y), z)


@struct
class Panel:
    """Where a panel's rows of a, columns of b and elements of c start, and how many rows and columns it has."""

    x: Value
    y: Value
    z: Value
    rows: Value
    columns: Value


class Panels(Elements):
    """A function that is being written: its literals, and a body for each of the panels it is called for."""

    def __init__(self, a: Assembler, dtype: str, features: Features):
        super().__init__(a, dtype, features)
        table = Value("%buffers", PTR)
        self.x, self.y, self.z, literals = (self._entry(table, PTR, k) for k in range(4))
        self.literal = {name: self._entry(literals, I64, k) for k, name in enumerate(LITERALS)}
        self.transposed, self.copied = (
            a.compare("icmp ne", self.literal[name], self.number(0)) for name in ("transposed", "copied"))

    def each(self, body: Callable[[Panel], list[Value]]) -> None:
        """Write `body` for every panel of a call."""
        first, last = Value("%first", I64), Value("%last", I64)
        self.a.when(self.less(first, last), [], lambda: self.a.loop(
            first, last, 1, [], lambda number, _: body(self._panel(number))))

    def text(self, symbol: str) -> str:
        """The text of a module with the function."""
        return self.a.function(symbol, "ptr noalias readonly %buffers, i64 %first, i64 %last, ptr noalias %failed")

    def _panel(self, number: Value) -> Panel:
        a, of = self.a, self.literal
        product, panel = a.binary("udiv", number, of["panels"]), a.binary("urem", number, of["panels"])
        row = self.times(a.binary("udiv", panel, of["across"]), of["rows"])
        column = self.times(a.binary("urem", panel, of["across"]), of["columns"])
        before = self.times(product, self.times(of["m"], of["k"]))
        across = a.select(self.transposed, self.times(column, of["b_pitch"]), column)
        inside = self.plus(self.times(row, of["n"]), column)
        return Panel(
            self.at(self.x, self.plus(before, self.times(row, of["a_row"]))),
            self.at(self.y, self.plus(self.times(product, self.times(of["k"], of["n"])), across)),
            self.at(self.z, self.plus(self.times(product, self.times(of["m"], of["n"])), inside)),
            self.least(of["rows"], self.minus(of["m"], row)), self.least(of["columns"], self.minus(of["n"], column)))

    def _entry(self, table: Value, type: Type, k: int) -> Value:
        return self.a.load(type, self.a.address(table, type, self.number(k)), invariant=True)
