"""gemm_rows: one row times a matrix, which is read once, in the order in which it lies in memory.

    stored by columns:   c[j] = the dot product of the row and line j          a vector of sums each, several at once
    stored by rows:      c[:] = the sum of lines, each times an element        several at once for a pass over c

1. Every element of c is one chain of multiply-adds over the terms in order where the matrix is stored by rows, and one
   for each lane, added up in the same way, where it is stored by columns: whatever the panels, strips and threads.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.gemm_panels import Elements, Panel, Panels
from codegen.llvm_cpu.squares import NEAR

_DOTS = 8
"""Dot products at once: chains in flight. A power of two."""

_LINES = 8
"""Lines summed at once."""


def emit_row_product(dtype: str, symbol: str, features: Features) -> str:
    """The text of a module with @symbol, a function of gemm_panels, for products of one row."""
    e = Panels(Assembler(), dtype, features)

    def product(panel: Panel) -> list[Value]:
        k, pitch = e.literal["k"], e.literal["b_pitch"]
        e.a.when(e.transposed, [], lambda: _dot_products(e, panel, k, pitch))
        e.a.when(e.not_(e.transposed), [], lambda: _sum_of_lines(e, panel, k, e.literal["a_term"], pitch))
        return []

    e.each(product)
    return e.text(symbol)


def _dot_products(e: Elements, panel: Panel, k: Value, pitch: Value) -> list[Value]:
    """z[j] = x[:k] times y[j, :k] for j < columns; lines of y are `pitch` apart.

    The last are computed with those before them, so that they are several, too; where all are fewer, the last again.
    """
    a, x, y, columns, zero = e.a, panel.x, panel.y, panel.columns, e.number(0)
    whole = e.down_to(k, e.lanes)
    everywhere = a.splat(a.constant(vector("bool"), True), e.lanes)
    rest = e.mask(e.minus(k, whole), e.lanes)
    last, few = e.minus(columns, e.number(1)), e.less(columns, e.number(_DOTS))
    offsets = [e.times(e.least(e.number(c), last), pitch) for c in range(_DOTS)]
    room = a.room(_DOTS * e.item)
    z, farthest = a.select(few, room, panel.z), a.select(few, zero, e.minus(columns, e.number(_DOTS)))

    def several(j: Value) -> list[Value]:
        start = e.at(y, e.times(j, pitch))
        lines = [e.at(start, offset) for offset in offsets]

        def terms(p: Value, carried: list[Value], mask: Value) -> list[Value]:
            xs, *ys = (a.masked_load(e.lane, e.at(line, p), mask, False) for line in (x, *lines))
            return [e.fma(xs, y, sum) for y, sum in zip(ys, carried, strict=True)]

        sums = [a.constant(e.lane, 0.0)] * _DOTS
        sums = a.when(e.less(zero, whole), sums, lambda: a.loop(
            zero, whole, e.lanes, sums, lambda p, carried: terms(p, carried, everywhere)))
        sums = a.when(e.less(whole, k), sums, lambda: terms(whole, sums, rest))
        totals = _added_up(e, sums)
        for v, total in enumerate(totals):
            a.store(total, e.at(z, e.plus(j, e.number(v * _DOTS // len(totals)))))
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


def _sum_of_lines(e: Elements, panel: Panel, k: Value, step: Value, pitch: Value) -> list[Value]:
    """z[:columns] = the sum over p < k of x[p * step] times y[p, :columns]; lines of y are `pitch` apart."""
    x, y, z, columns = panel.x, panel.y, panel.z, panel.columns
    whole = e.down_to(columns, e.lanes)
    rest = e.mask(e.minus(columns, whole), e.lanes)
    several = e.down_to(k, _LINES)

    def add(p: Value, count: int) -> list[Value]:
        """z += lines p .. p + count - 1; the first of all are added to nothing."""
        numbers = [e.plus(p, e.number(q)) for q in range(count)]
        factors = [e.a.splat(e.a.load(e.real, e.at(x, e.times(q, step)), False), e.lanes) for q in numbers]
        lines = [e.at(y, e.times(q, pitch)) for q in numbers]
        zero = e.a.constant(e.lane, 0.0)
        going_on = e.a.splat(e.less(e.number(0), p), e.lanes)

        def vector_of(j: Value, read: Callable[[Value], Value]) -> Value:
            total = e.a.select(going_on, read(e.at(z, j)), zero)
            for factor, line in zip(factors, lines, strict=True):
                total = e.fma(factor, read(e.at(line, j)), total)
            return total

        def full(j: Value) -> list[Value]:
            e.a.store(vector_of(j, lambda at: e.a.load(e.lane, at, False)), e.at(z, j))
            return []

        def partial() -> list[Value]:
            total = vector_of(whole, lambda at: e.a.masked_load(e.lane, at, rest, False))
            e.a.masked_store(total, e.at(z, whole), rest)
            return []

        e.a.when(e.less(e.number(0), whole), [], lambda: e.a.loop(
            e.number(0), whole, e.lanes, [], lambda j, _: full(j)))
        return e.a.when(e.less(whole, columns), [], partial)

    e.a.when(e.less(e.number(0), several), [], lambda: e.a.loop(
        e.number(0), several, _LINES, [], lambda p, _: add(p, _LINES)))
    return e.a.when(e.less(several, k), [], lambda: e.a.loop(several, k, 1, [], lambda p, _: add(p, 1)))
