"""gemm: matrix products in registers, as LLVM text: a function compiled once for each dtype; sizes and layout are data.

    for each panel of c, for each stretch of `_DEPTH` terms, for each strip of columns (two vectors wide):
      b's part of the strip, transposed into a buffer first if b is stored by columns
      for each block of rows:  c[block, strip] in registers;  for p: += a[block, p], in every lane, * b[p, strip]

1. Every element of c is one chain of fused multiply-adds over the terms in order, whatever the sizes, the panels, the
   vectors and the threads; a stretch goes on from what the one before it stored.
2. But one row times columns that lie together in memory is as many dot products: chains in the lanes of a vector, which
   are then added up by halves.
3. Rows beyond the last are computed as copies of it and not stored; columns beyond the last are masked.
"""
from __future__ import annotations

from codegen.llvm_cpu.assembler import I64, PTR, Assembler, Type, Value, vector
from codegen.llvm_cpu.features import Features

_DEPTH = 512
"""Terms in a stretch: a strip of b this deep stays in the cache while the rows pass by."""

_STRIP_VECTORS = 2

_SQUARE = 8
"""Transposition is done in squares of at most so many rows and columns."""

LITERALS = ("m", "n", "k", "a_row", "a_term", "transposed", "copied", "b_pitch", "rows", "columns", "across", "panels",
            "dots")
"""What the function reads behind its buffers: sizes; elements of a from row to row and from term to term; is b stored
by columns; else are its strips copied together; elements from one of its lines to the next; sizes of a panel; panels
across; panels of one product; is it one row by columns stored by columns."""

_DOTS = 8
"""Dot products at once: chains in flight."""


def row_block(features: Features) -> int:
    """Rows of c held in registers at once; an AVX-512 processor has 32 registers, others may have 16."""
    return 12 if features.vector_bytes == 64 else 6


_FEW_ROWS = 4
"""Rows of the smaller block that takes what the larger leaves."""


def emit_gemm(dtype: str, symbol: str, features: Features) -> str:
    """The text of a module with @symbol(buffers, first panel, last panel, failed); buffers are a, b, c, literals."""
    a = Assembler()
    _Gemm(a, dtype, features).panels()
    return a.function(symbol, "ptr noalias readonly %buffers, i64 %first, i64 %last, ptr noalias %failed")


class _Gemm:
    def __init__(self, a: Assembler, dtype: str, features: Features):
        self.a, self.features = a, features
        self.real = vector(dtype)
        self.lanes = features.vector_bytes // (8 if dtype == "f64" else 4)
        self.lane = vector(dtype, self.lanes)
        self.strip = _STRIP_VECTORS * self.lanes
        table = Value("%buffers", PTR)
        self.x, self.y, self.z, literals = (self._entry(table, PTR, k) for k in range(4))
        self.literal = {name: self._entry(literals, I64, k) for k, name in enumerate(LITERALS)}
        self.room = a.room(_DEPTH * _STRIP_VECTORS * features.vector_bytes)
        self.transposed, self.copied, self.dots = (a.compare("icmp ne", self.literal[name], a.constant(I64, 0))
                                                   for name in ("transposed", "copied", "dots"))

    def panels(self) -> None:
        """All panels of a call."""
        self.a.when(self._less(Value("%first", I64), Value("%last", I64)), [], lambda: self.a.loop(
            Value("%first", I64), Value("%last", I64), 1, [], lambda panel, _: self._panel(panel)))

    def _panel(self, number: Value) -> list[Value]:
        a, of = self.a, self.literal
        product, panel = a.binary("udiv", number, of["panels"]), a.binary("urem", number, of["panels"])
        row = self._times(a.binary("udiv", panel, of["across"]), of["rows"])
        column = self._times(a.binary("urem", panel, of["across"]), of["columns"])
        rows = self._least(of["rows"], self._minus(of["m"], row))
        columns = self._least(of["columns"], self._minus(of["n"], column))
        before = self._times(product, self._times(of["m"], of["k"]))
        x = self._at(self.x, self._plus(before, self._times(row, of["a_row"])))
        across = a.select(self.transposed, self._times(column, of["b_pitch"]), column)
        y = self._at(self.y, self._plus(self._times(product, self._times(of["k"], of["n"])), across))
        inside = self._plus(self._times(row, of["n"]), column)
        z = self._at(self.z, self._plus(self._times(product, self._times(of["m"], of["n"])), inside))
        zero = a.constant(I64, 0)
        a.when(self.dots, [], lambda: a.loop(zero, columns, _DOTS, [], lambda j, _: self._dot(x, y, z, j, columns)))
        others = a.binary("xor", self.dots, a.constant(vector("bool"), True))
        return a.when(others, [], lambda: a.loop(zero, of["k"], _DEPTH, [], lambda p, _: a.loop(
            zero, columns, self.strip, [], lambda j, _: self._strip(x, y, z, p, j, rows, columns))))

    def _dot(self, x: Value, y: Value, z: Value, j: Value, columns: Value) -> list[Value]:
        """c[0, j : j + _DOTS] = a[0, :] times lines of b; columns beyond the last are the last."""
        a, k = self.a, self.literal["k"]
        last, zero = self._minus(columns, a.constant(I64, 1)), a.constant(I64, 0)
        numbers = [self._least(self._plus(j, a.constant(I64, c)), last) for c in range(_DOTS)]
        lines = [self._at(y, self._times(number, self.literal["b_pitch"])) for number in numbers]
        whole = a.binary("and", k, a.constant(I64, -self.lanes))

        def terms(p: Value, carried: list[Value], mask: Value) -> list[Value]:
            xs, *ys = (a.masked_load(self.lane, self._at(line, p), mask, False) for line in (x, *lines))
            return [self._fma(xs, y, sum) for y, sum in zip(ys, carried, strict=True)]

        everywhere = a.splat(a.constant(vector("bool"), True), self.lanes)
        sums = [a.constant(self.lane, 0.0)] * _DOTS
        sums = a.when(self._less(zero, whole), sums, lambda: a.loop(
            zero, whole, self.lanes, sums, lambda p, carried: terms(p, carried, everywhere)))
        rest = self._mask(self._minus(k, whole), self.lanes)
        sums = a.when(self._less(whole, k), sums, lambda: terms(whole, sums, rest))
        for number, total in zip(numbers, sums, strict=True):
            a.store(self._added_up(total), self._at(z, number))
        return []

    def _added_up(self, x: Value) -> Value:
        """The sum of the lanes, by halves."""
        while (half := x.type.lanes // 2) > 1:
            x = self.a.binary("fadd", self.a.shuffle(x, x, range(half)), self.a.shuffle(x, x, range(half, 2 * half)))
        return self.a.binary("fadd", self.a.extract(x, 0), self.a.extract(x, 1))

    def _strip(self, x: Value, y: Value, z: Value, p: Value, j: Value, rows: Value, columns: Value) -> list[Value]:
        """c[:, j : j + strip] gets the terms p .. p + depth - 1."""
        a, of = self.a, self.literal
        depth = self._least(a.constant(I64, _DEPTH), self._minus(of["k"], p))
        width = self._least(a.constant(I64, self.strip), self._minus(columns, j))
        masks = [self._mask(self._minus(width, a.constant(I64, v * self.lanes)), self.lanes)
                 for v in range(_STRIP_VECTORS)]
        x = self._at(x, self._times(p, of["a_term"]))
        z = self._at(z, j)
        lines, inside = a.select(self.transposed, j, p), a.select(self.transposed, p, j)
        line = self._at(y, self._plus(self._times(lines, of["b_pitch"]), inside))
        y, pitch = a.when(self.transposed, [line, of["b_pitch"]], lambda: self._transpose(line, width, depth))
        y, pitch = a.when(self.copied, [y, pitch], lambda: self._copy(line, masks, depth))
        going_on = a.compare("icmp ne", p, a.constant(I64, 0))
        full = row_block(self.features)
        whole = self._times(a.binary("udiv", rows, a.constant(I64, full)), a.constant(I64, full))
        zero = a.constant(I64, 0)
        for block, start, stop in ((full, zero, whole), (_FEW_ROWS, whole, rows)):
            def blocks(block: int = block, start: Value = start, stop: Value = stop) -> list[Value]:
                return a.loop(start, stop, block, [], lambda i, _: self._block(
                    block, x, y, z, i, rows, depth, pitch, masks, going_on))

            a.when(self._less(start, stop), [], blocks)
        return []

    def _block(self, block: int, x: Value, y: Value, z: Value, i: Value, rows: Value, depth: Value, pitch: Value,
               masks: list[Value], going_on: Value) -> list[Value]:
        """c[i : i + block, strip] += the terms of this stretch."""
        a, of = self.a, self.literal
        clamp = block != row_block(self.features)
        last = self._minus(rows, a.constant(I64, 1))
        numbers = [self._plus(i, a.constant(I64, r)) for r in range(block)]
        kept = [self._less(r, rows) for r in numbers]
        if clamp:
            numbers = [self._least(r, last) for r in numbers]
        starts = [self._at(x, self._times(r, of["a_row"])) for r in numbers]
        lines = [self._at(z, self._times(r, of["n"])) for r in numbers]
        outs = [[self._at(line, a.constant(I64, v * self.lanes)) for v in range(_STRIP_VECTORS)] for line in lines]
        more = [a.binary("and", a.splat(going_on, self.lanes), mask) for mask in masks]
        sums = [a.masked_load(self.lane, at, mask, invariant=False) for out in outs for at, mask in zip(out, more)]

        def term(p: Value, carried: list[Value]) -> list[Value]:
            line = self._at(y, self._times(p, pitch))
            ys = [a.masked_load(self.lane, self._at(line, a.constant(I64, v * self.lanes)), masks[v], False)
                  for v in range(_STRIP_VECTORS)]
            offset = self._times(p, of["a_term"])
            sums = []
            for r in range(block):
                element = a.splat(a.load(self.real, self._at(starts[r], offset), invariant=False), self.lanes)
                sums += [self._fma(element, ys[v], carried[_STRIP_VECTORS * r + v]) for v in range(_STRIP_VECTORS)]
            return sums

        sums = a.loop(a.constant(I64, 0), depth, 1, sums, term)
        for r in range(block):
            for v in range(_STRIP_VECTORS):
                mask = a.binary("and", a.splat(kept[r], self.lanes), masks[v]) if clamp else masks[v]
                a.masked_store(sums[_STRIP_VECTORS * r + v], outs[r][v], mask)
        return []

    def _copy(self, y: Value, masks: list[Value], depth: Value) -> list[Value]:
        """room[p, c] = y[p, c] for p < depth; the room and its pitch."""
        a, pitch = self.a, self.a.constant(I64, self.strip)

        def term(p: Value, _: list[Value]) -> list[Value]:
            source = self._at(y, self._times(p, self.literal["b_pitch"]))
            target = self._at(self.room, self._times(p, pitch))
            for v, mask in enumerate(masks):
                offset = a.constant(I64, v * self.lanes)
                a.store(a.masked_load(self.lane, self._at(source, offset), mask, False), self._at(target, offset))
            return []

        a.loop(a.constant(I64, 0), depth, 1, [], term)
        return [self.room, pitch]

    def _transpose(self, y: Value, width: Value, depth: Value) -> list[Value]:
        """room[p, c] = y[c, p] for p < depth and c < width; the room and its pitch."""
        a, of = self.a, self.literal
        size = min(_SQUARE, self.lanes)
        line = vector(self.real.dtype, size)
        last = self._minus(width, a.constant(I64, 1))
        zero, pitch = a.constant(I64, 0), a.constant(I64, self.strip)

        def square(p: Value, c: Value) -> list[Value]:
            mask = self._mask(self._minus(depth, p), size)
            columns = [self._least(self._plus(c, a.constant(I64, k)), last) for k in range(size)]
            starts = [self._plus(self._times(column, of["b_pitch"]), p) for column in columns]
            lines = [a.masked_load(line, self._at(y, start), mask, False) for start in starts]
            for k, terms in enumerate(_transposed(a, lines)):
                start = self._times(self._plus(p, a.constant(I64, k)), pitch)
                a.store(terms, self._at(self.room, self._plus(start, c)))
            return []

        a.loop(zero, width, size, [], lambda c, _: a.loop(zero, depth, size, [], lambda p, _: square(p, c)))
        return [self.room, pitch]

    # ---- small words ----------------------------------------------------------------------------------------------

    def _entry(self, table: Value, type: Type, k: int) -> Value:
        return self.a.load(type, self.a.address(table, type, self.a.constant(I64, k)), invariant=True)

    def _at(self, pointer: Value, elements: Value) -> Value:
        return self.a.address(pointer, self.real, elements)

    def _plus(self, x: Value, y: Value) -> Value:
        return self.a.binary("add", x, y)

    def _minus(self, x: Value, y: Value) -> Value:
        return self.a.binary("sub", x, y)

    def _times(self, x: Value, y: Value) -> Value:
        return self.a.binary("mul", x, y)

    def _less(self, x: Value, y: Value) -> Value:
        return self.a.compare("icmp slt", x, y)

    def _least(self, x: Value, y: Value) -> Value:
        return self.a.intrinsic("smin", x, y)

    def _mask(self, count: Value, lanes: int) -> Value:
        """Those of so many lanes that are below `count`."""
        return self.a.compare("icmp slt", self.a.lane_numbers(vector("i64", lanes)), self.a.splat(count, lanes))

    def _fma(self, x: Value, y: Value, z: Value) -> Value:
        if self.features.fma:
            return self.a.intrinsic("fma", x, y, z)
        return self.a.binary("fadd", self.a.binary("fmul", x, y), z)


def _transposed(a: Assembler, lines: list[Value]) -> list[Value]:
    """The columns of a square of vectors: halves change places between lines ever closer together (Eklundh, 1972)."""
    lanes = len(lines)
    half = lanes // 2
    while half:
        for r in range(lanes):
            if not r & half:
                x, y = lines[r], lines[r + half]
                low = [k if not k & half else lanes + k - half for k in range(lanes)]
                high = [k + half if not k & half else lanes + k for k in range(lanes)]
                lines[r], lines[r + half] = a.shuffle(x, y, low), a.shuffle(x, y, high)
        half //= 2
    return lines
