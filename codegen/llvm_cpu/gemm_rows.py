"""gemm_rows: one row times a matrix, which is read once, in the order in which it lies in memory.

    stored by columns:   c[j] = the dot product of the row and line j          a vector of sums each, several at once
    stored by rows:      c[:] = the sum of lines, each times an element        several at once for a pass over c
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.gemm_panels import Elements, Panel, Panels

_DOTS = 8
"""Dot products at once: chains in flight."""

_LINES = 8
"""Lines summed at once."""


def emit_row_product(dtype: str, symbol: str, features: Features) -> str:
    """The text of a module with @symbol, a function of gemm_panels, for products of one row."""
    e = Panels(Assembler(), dtype, features)

    def product(panel: Panel) -> list[Value]:
        e.a.when(e.transposed, [], lambda: _dot_products(e, panel, e.literal["k"], e.literal["b_pitch"]))
        return e.a.when(e.not_(e.transposed), [], lambda: _sum_of_lines(
            e, panel, e.literal["k"], e.literal["a_term"], e.literal["b_pitch"]))

    e.each(product)
    return e.text(symbol)


def _dot_products(e: Elements, panel: Panel, k: Value, pitch: Value) -> list[Value]:
    """z[j] = x[:k] times y[j, :k] for j < columns; lines of y are `pitch` apart."""
    x, y, z, columns = panel.x, panel.y, panel.z, panel.columns
    last = e.minus(columns, e.number(1))
    whole = e.down_to(k, e.lanes)
    everywhere = e.a.splat(e.a.constant(vector("bool"), True), e.lanes)
    rest = e.mask(e.minus(k, whole), e.lanes)

    def several(j: Value) -> list[Value]:
        numbers = [e.least(e.plus(j, e.number(c)), last) for c in range(_DOTS)]      # beyond the last: the last again
        lines = [e.at(y, e.times(number, pitch)) for number in numbers]

        def terms(p: Value, carried: list[Value], mask: Value) -> list[Value]:
            xs, *ys = (e.a.masked_load(e.lane, e.at(line, p), mask, False) for line in (x, *lines))
            return [e.fma(xs, y, sum) for y, sum in zip(ys, carried, strict=True)]

        sums = [e.a.constant(e.lane, 0.0)] * _DOTS
        sums = e.a.when(e.less(e.number(0), whole), sums, lambda: e.a.loop(
            e.number(0), whole, e.lanes, sums, lambda p, carried: terms(p, carried, everywhere)))
        sums = e.a.when(e.less(whole, k), sums, lambda: terms(whole, sums, rest))
        for number, total in zip(numbers, sums, strict=True):
            e.a.store(_added_up(e, total), e.at(z, number))
        return []

    return e.a.loop(e.number(0), columns, _DOTS, [], lambda j, _: several(j))


def _added_up(e: Elements, x: Value) -> Value:
    """The sum of the lanes, by halves."""
    while (half := x.type.lanes // 2) > 1:
        x = e.a.binary("fadd", e.a.shuffle(x, x, range(half)), e.a.shuffle(x, x, range(half, 2 * half)))
    return e.a.binary("fadd", e.a.extract(x, 0), e.a.extract(x, 1))


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
