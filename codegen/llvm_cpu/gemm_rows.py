"""gemm_rows: one row times a matrix, which is read once, in the order in which it lies in memory.

    stored by columns:   c[j] = the dot product of the row and line j          a vector of sums each, several at once
    stored by rows:      c[:] = the sum of lines, each times an element        several at once for a pass over c

1. Every element of c is one chain of multiply-adds over the terms in order where the matrix is stored by rows, and one
   for each lane, added up in the same way, where it is stored by columns: whatever the panels, strips and threads.
2. Of bf16 sums are f32, in a room until the last, and rounded once.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.gemm_panels import Elements, Panel, Panels
from codegen.llvm_cpu.halves import HALVES, load_bits, rounded, store_bits
from codegen.llvm_cpu.squares import NEAR

_DOTS = 8
"""Dot products at once: chains in flight. A power of two."""

_LINES = 8
"""Lines summed at once."""

MOST_SUMS = 1024
"""The most columns of a panel of bf16 by lines: so many sums there is room for."""


def emit_row_product(dtype: str, symbol: str, features: Features) -> str:
    """The text of a module with @symbol, a function of gemm_panels, for products of one row."""
    e = _Rows(Assembler(), dtype, features)

    def product(panel: Panel) -> list[Value]:
        k, pitch = e.literal["k"], e.literal["b_pitch"]
        e.a.when(e.transposed, [], lambda: _dot_products(e, panel, k, pitch))
        e.a.when(e.not_(e.transposed), [], lambda: _sum_of_lines(e, panel, k, e.literal["a_term"], pitch))
        return []

    e.each(product)
    return e.text(symbol)


class _Rows(Panels):
    """Elements as they are in memory, and `sums`, as they are added up."""

    def __init__(self, a: Assembler, dtype: str, features: Features):
        super().__init__(a, dtype, features)
        self.dtype, self.sums = dtype, Elements(a, "f32" if dtype in HALVES else dtype, features)
        self.room = a.room(MOST_SUMS * self.sums.item) if dtype in HALVES else None
        self.bits = vector(self.real.dtype, self.sums.lanes)

    def read(self, at: Value, mask: Value | None = None) -> Value:
        """A vector of elements, or those where `mask` holds, as numbers to add up."""
        if mask is None:
            return self._widened(self.a.load(self.bits, at, False))
        return self._widened(self.a.masked_load(self.bits, at, mask, False))

    def factor(self, at: Value) -> Value:
        """An element in every lane."""
        return self.a.splat(self._widened(self.a.load(self.real, at, False)), self.sums.lanes)

    def write(self, sums: Value, at: Value, mask: Value | None = None) -> None:
        """Store sums as elements, or those where `mask` holds."""
        if self.dtype in HALVES:
            sums = store_bits(self.a, self.features, rounded(self.a, self.features, sums, self.dtype))
        if mask is None:
            self.a.store(sums, at)
        else:
            self.a.masked_store(sums, at, mask)

    def _widened(self, x: Value) -> Value:
        if self.dtype not in HALVES:
            return x
        return self.a.relabel(load_bits(self.a, self.features, x, self.dtype), vector("f32", x.type.lanes))


def _dot_products(e: _Rows, panel: Panel, k: Value, pitch: Value) -> list[Value]:
    """z[j] = x[:k] times y[j, :k] for j < columns; lines of y are `pitch` apart.

    The last are computed with those before them, so that they are several, too; where all are fewer, the last again.
    """
    a, x, y, columns, zero = e.a, panel.x, panel.y, panel.columns, e.number(0)
    lanes = e.sums.lanes
    whole, rest = e.down_to(k, lanes), e.mask(e.minus(k, e.down_to(k, lanes)), lanes)
    last, few = e.minus(columns, e.number(1)), e.less(columns, e.number(_DOTS))
    offsets = [e.times(e.least(e.number(c), last), pitch) for c in range(_DOTS)]
    room = a.room(_DOTS * e.item)
    z, farthest = a.select(few, room, panel.z), a.select(few, zero, e.minus(columns, e.number(_DOTS)))

    def several(j: Value) -> list[Value]:
        start = e.at(y, e.times(j, pitch))
        starts = [e.at(start, offset) for offset in offsets]

        def terms(p: Value, carried: list[Value], mask: Value | None) -> list[Value]:
            xs, *ys = (e.read(e.at(line, p), mask) for line in (x, *starts))
            return [e.fma(xs, y, sum) for y, sum in zip(ys, carried, strict=True)]

        sums = [a.constant(e.sums.lane, 0.0)] * _DOTS
        sums = a.when(e.less(zero, whole), sums, lambda: a.loop(
            zero, whole, lanes, sums, lambda p, carried: terms(p, carried, None)))
        sums = a.when(e.less(whole, k), sums, lambda: terms(whole, sums, rest))
        totals = _added_up(e.sums, sums)
        for v, total in enumerate(totals):
            e.write(total, e.at(z, e.plus(j, e.number(v * _DOTS // len(totals)))))
        return []

    def copied(j: Value) -> list[Value]:
        a.store(a.load(e.real, e.at(room, j), False), e.at(panel.z, j))
        return []

    a.loop(zero, columns, _DOTS, [], lambda j, _: several(e.least(j, farthest)))
    return a.when(few, [], lambda: a.loop(zero, columns, 1, [], lambda j, _: copied(j)))


def _added_up(e: Elements, vectors: list[Value]) -> list[Value]:
    """The sums of the lanes of each vector, as lanes in order: neighbors are added, then those, and so on."""
    unit = 1
    while unit < e.lanes:
        pairs = zip(vectors[::2], vectors[1::2]) if len(vectors) > 1 else ((x, x) for x in vectors)
        vectors = [_neighbors_added(e, x, y, unit, several=len(vectors) > 1) for x, y in pairs]
        unit *= 2
    return vectors


def _neighbors_added(e: Elements, x: Value, y: Value, unit: int, several: bool) -> Value:
    """Each second lane and the one after it, of x and then of y: within 16 bytes as long as there are such in them,
    then 16 bytes and those after them. `several`: y is another than x."""
    lanes, near = x.type.lanes, NEAR // e.item
    inside = unit < near
    step, width = (1, near) if inside else (near, lanes)
    taken = [[part * lanes + start + k + i for start in range(0, lanes, width) for part in range(1 + several)
              for k in range(odd * step, width, 2 * step) for i in range(step)] for odd in (0, 1)]
    return e.a.binary("fadd", *(e.a.shuffle(x, y, order) for order in taken))


def _sum_of_lines(e: _Rows, panel: Panel, k: Value, step: Value, pitch: Value) -> list[Value]:
    """z[:columns] = the sum over p < k of x[p * step] times y[p, :columns]; lines of y are `pitch` apart."""
    a, x, y, columns, lanes, zero = e.a, panel.x, panel.y, panel.columns, e.sums.lanes, e.number(0)
    z = panel.z if e.room is None else e.room
    whole, several = e.down_to(columns, lanes), e.down_to(k, _LINES)
    rest = e.mask(e.minus(columns, whole), lanes)

    def across(full: Callable[[Value], list[Value]], partial: Callable[[], list[Value]]) -> list[Value]:
        a.when(e.less(zero, whole), [], lambda: a.loop(zero, whole, lanes, [], lambda j, _: full(j)))
        return a.when(e.less(whole, columns), [], partial)

    def add(p: Value, count: int) -> list[Value]:
        """z += lines p .. p + count - 1; the first of all are added to nothing."""
        numbers = [e.plus(p, e.number(q)) for q in range(count)]
        factors = [e.factor(e.at(x, e.times(q, step))) for q in numbers]
        lines = [e.at(y, e.times(q, pitch)) for q in numbers]
        going_on = a.splat(e.less(zero, p), lanes)

        def vector_of(j: Value, before: Value, mask: Value | None = None) -> Value:
            total = a.select(going_on, before, a.constant(e.sums.lane, 0.0))
            for factor, line in zip(factors, lines, strict=True):
                total = e.fma(factor, e.read(e.at(line, j), mask), total)
            return total

        def full(j: Value) -> list[Value]:
            own = e.sums.at(z, j)
            a.store(vector_of(j, a.load(e.sums.lane, own, False)), own)
            return []

        def partial() -> list[Value]:
            own = e.sums.at(z, whole)
            a.masked_store(vector_of(whole, a.masked_load(e.sums.lane, own, rest, False), rest), own, rest)
            return []

        return across(full, partial)

    def out(j: Value, mask: Value | None = None) -> list[Value]:
        e.write(a.load(e.sums.lane, e.sums.at(z, j), False), e.at(panel.z, j), mask)
        return []

    a.when(e.less(zero, several), [], lambda: a.loop(zero, several, _LINES, [], lambda p, _: add(p, _LINES)))
    a.when(e.less(several, k), [], lambda: a.loop(several, k, 1, [], lambda p, _: add(p, 1)))
    return [] if e.room is None else across(out, lambda: out(whole, rest))
