"""passes: the program of a kernel, pass by pass: spans, loops, what they carry, and waiting for each other.

    pass j < 48: v1 = accumulate max v0     in one block     v1 = tl.reduce(tl.where(r_mask, v0, ...), 0, max_or_nan)
                                            or in a loop     for r_start in range(0, 48, R): acc1 = ...

1. A pass in one block leaves its values in registers for later passes over the same axes. One that is a loop leaves
   none: what later passes use is computed again by them.
2. What does not change from one block to the next stands before the loop.
3. A sum of exponentials relative to a maximum goes with the loop that finds that (see online).
4. Where a pass touches what an earlier one wrote, or writes what it read, the threads of a program wait for each other.
"""
from __future__ import annotations

from collections.abc import Iterable

from codegen.ir.dims import Size, ceil_div
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Gather,
    Kernel,
    Load,
    Pass,
    Scan,
    Scatter,
    Statement,
    Store,
    buffer_of,
    makes_value,
    operands,
)
from codegen.schedule.value_types import value_dtypes
from codegen.triton_gpu.online import gone_on, online_sums, scaled
from codegen.triton_gpu.places import factor_text
from codegen.triton_gpu.reductions import Accumulator
from codegen.triton_gpu.scans import Scanner
from codegen.triton_gpu.scatters import in_any_order
from codegen.triton_gpu.statements import WARP, Statements, uses
from codegen.triton_gpu.tile import Mask, Span, Tile, joined, spans_of
from codegen.triton_gpu.tiling import Tiling

PROGRAM = "tl.program_id(0)"

Numbered = tuple[Statement, int]
"""A statement, and the number of the value that it makes or that the next one to make one does."""


class PassWriter:
    """Writes the program of one kernel. `program`: the text of its number."""

    def __init__(self, kernel: Kernel, tiling: Tiling, wide: bool, program: str = PROGRAM):
        self.kernel, self.tiling, self._program = kernel, tiling, program
        self._long = ".to(tl.int64)" if wide else ""
        self.dtypes = value_dtypes(kernel)
        self.out = Statements(kernel.params, self.dtypes, wide, in_any_order(kernel), threads=WARP * tiling.warps)
        self.blocks = tuple(span.name for span in tiling.outer if span.block > 1)
        self.deep = any(span is not None for span in tiling.inner)
        self.defined: set[str] = set()              # the inner spans whose variable is in sight
        self.touched: dict[int, bool] = {}          # buffers that passes since the last barrier touched, and: wrote?
        number, self.passes = 0, list[list[Numbered]]()
        for p in kernel.passes:
            self.passes.append([])
            for s in p.body:
                self.passes[-1].append((s, number))
                number += makes_value(s)
        loops = {k for k, span in enumerate(tiling.inner) if span is not None and span.name not in tiling.whole}
        self.online = online_sums(kernel, self.passes, self.dtypes, loops)

    @property
    def functions(self) -> Iterable[str]:
        """The functions that the program calls."""
        return self.out.functions

    @property
    def constants(self) -> tuple[tuple[str, int], ...]:
        """The sizes of the blocks, by their names in the text."""
        inner = dict.fromkeys(span for span in self.tiling.inner if span is not None)
        return tuple((span.name.upper(), span.block) for span in (*self.tiling.outer, *inner)
                     if span.block > 1 or span in inner)

    def program(self) -> list[str]:
        """The lines of the program."""
        out, around = self.out, self.tiling.in_order
        self._outer_spans()
        if around is not None:
            out.write(f"for t_step in range(0, {around.extent}):")
            out.depth += 1
            out.write(f"t = tl.full([], 0, {out.word_type}) + t_step")
        for k, (one, span, body) in enumerate(zip(self.kernel.passes, self.tiling.inner, self.passes)):
            if k in self.online.passes:
                continue
            self._wait(one)
            if span is None:
                tile = self._tile(None, ())
                for s, number in body:
                    out.statement(s, number, tile)
            elif span.name in self.tiling.whole:
                self._whole_pass(one, span, body)
            else:
                self._looped_pass(one, span, body)
        if around is not None:
            out.wait()
        return out.lines

    # spans

    def _tile(self, span: Span | None, axes: tuple[Axis, ...]) -> Tile:
        """What is in sight of a pass over a span of these axes."""
        around = (self.tiling.in_order,) if self.tiling.in_order else ()
        spans = (*self.tiling.outer, *around, *((span,) if span is not None else ()))
        shape = (*self.blocks, *((span.name if span is not None else "r",) if self.deep else ()))
        tile = Tile(spans, shape, bool(self.kernel.words))
        ragged = [Mask(f"{one.name}_mask", frozenset({one.name})) for one in spans if one.ragged]
        return Tile(spans, shape, tile.given, (*ragged, *tile.clips((*self.kernel.axes, *axes))))

    def _outer_spans(self) -> None:
        """The variables of the outer spans, from the number of the program: the last span changes fastest."""
        outer, tile = self.tiling.outer, self._tile(None, ())
        number = f"{self._program}{self._long}"
        if len(outer) > 1 and number != "program":
            self.out.write(f"program = {number}")
            number = "program"
        below: Size = 1
        for k, span in reversed(list(enumerate(outer))):
            count = ceil_div(span.extent, span.block)
            block = number if below == 1 else f"({number} // {factor_text(below)})"
            block = block if k == 0 else f"({block} % {factor_text(count)})"
            below = below * count
            if span.block == 1:
                self.out.write(f"{span.name} = {block}")
            else:
                self._define(span, f"{block} * {span.name.upper()} + tl.arange(0, {span.name.upper()})", tile)

    def _define(self, span: Span, text: str, tile: Tile) -> None:
        """The variable of a span, and its mask."""
        shape = tile.expanded(span.name)
        self.out.write(f"{span.name} = {f'({text})' if shape and ' + ' in text else text}{shape}")
        if span.ragged:
            self.out.write(f"{span.name}_mask = {span.name} < {span.extent}")

    def _wait(self, one: Pass) -> None:
        """A barrier, where this pass reads what earlier ones wrote or writes what they touched."""
        uses = {s.buffer for s in one.body if isinstance(s, Load | Gather | Store | Scatter)}
        writes = {s.buffer for s in one.body if isinstance(s, Store | Scatter)}
        if any(self.touched.get(b) for b in uses) or not writes.isdisjoint(self.touched):
            self.out.wait()
            self.touched = {}
        self.touched |= {b: b in writes or self.touched.get(b, False) for b in uses}

    # passes

    def _whole_pass(self, one: Pass, span: Span, body: list[Numbered]) -> None:
        """A pass whose axes are one block."""
        tile = self._tile(span, one.axes)
        if span.name not in self.defined:
            self.defined.add(span.name)
            self._define(span, f"tl.arange(0, {span.name.upper()}){self._long}", tile)
        for s, number in body:
            if isinstance(s, Accumulate):
                accumulator = Accumulator(s.kind, self.dtypes[s.x])
                self._finish(number, accumulator, self._points(s.x, tile, accumulator), tile)
            elif isinstance(s, Scan):
                scanner = Scanner(s.op, self.dtypes[s.args[0]])
                points = self._points(s.args[0], tile, scanner)
                self.out.functions |= dict.fromkeys(scanner.needs)
                self.out.define(number, scanner.given(scanner.along(points, len(tile.shape) - 1)), tile.shape)
            else:
                self.out.statement(s, number, tile, one.axes)

    def _points(self, x: int, tile: Tile, accumulator: Accumulator | Scanner) -> str:
        """A value at each point that is combined; what is of no effect where there is no point."""
        masks = tile.masks_of(tile.shape[-1:])
        spans = self.out.value(x).spans | tile.dims(spans_of(masks))
        text = accumulator.taken(self.out.text(x))
        if masks:
            text = f"tl.where({joined(masks)}, {text}, {accumulator.identity})"
        if tile.shape[-1] not in spans:
            block = [name.upper() if name in spans or name == tile.shape[-1] else "1" for name in tile.shape]
            text = f"tl.broadcast_to({text}, [{', '.join(block)}])"
        return text

    def _finish(self, number: int, accumulator: Accumulator, block: str, tile: Tile) -> None:
        """What a block of states comes to."""
        rank = len(tile.shape)
        self.out.functions |= dict.fromkeys(accumulator.needs)
        text = accumulator.given(accumulator.along(block, rank - 1, rank))
        self.out.define(number, text, frozenset(tile.shape[:-1]))

    def _looped_pass(self, one: Pass, span: Span, body: list[Numbered]) -> None:
        """A pass that goes through its axes block by block."""
        out, tile, name = self.out, self._tile(span, one.axes), span.name
        block = f"[{', '.join(name.upper() for name in tile.shape)}]"
        again = self._again(body)
        before = [numbered for numbered in (*again, *body) if self._stands_before(numbered[0], one, span, tile)]
        before = self._reachable(before)
        for s, number in before:
            out.statement(s, number, tile, one.axes)
        dtypes, online = self.dtypes, self.online.sums
        accumulators = {number: Accumulator(s.kind, dtypes[s.x]) for s, number in body if isinstance(s, Accumulate)}
        accumulators |= {online[m]: Accumulator("sum", dtypes[m]) for m in accumulators if m in online}
        scanners = {number: Scanner(s.op, dtypes[s.args[0]]) for s, number in body if isinstance(s, Scan)}
        for number, accumulator in accumulators.items():
            out.write(f"acc{number} = tl.full({block}, {accumulator.identity}, {accumulator.type})")
        line = f"[{', '.join((*map(str.upper, tile.shape[:-1]), '1'))}]" if len(tile.shape) > 1 else "[]"
        for number, scanner in scanners.items():
            out.write(f"carry{number} = {scanner.start(block if span.block == 1 else line)}")
        known, same, named = set(out.values), dict(out.same), set(out.named.values())
        out.write(f"for {name}_start in range(0, {span.extent}, {name.upper()}):")
        out.depth += 1
        self._define(span, f"{name}_start + tl.arange(0, {name.upper()}){self._long}", tile)
        for s, number in (*again, *body):
            if (s, number) in before:
                continue
            if isinstance(s, Accumulate):
                points = self._points(s.x, tile, accumulators[number])
                if number in online:
                    out.write(f"points{number} = {points}")
                    points = f"points{number}"
                    for line in gone_on(points, number, online[number], dtypes[number]):
                        out.write(line)
                out.write(f"acc{number} = {accumulators[number].combined(f'acc{number}', points)}")
            elif isinstance(s, Scan):
                self._scan(s, number, scanners[number], span, tile)
            else:
                out.statement(s, number, tile, one.axes)
        out.depth -= 1
        out.forget(set(out.values) - known, named)
        out.same = same
        greatest = {total: m for m, total in online.items()}
        for number, accumulator in accumulators.items():
            m = greatest.get(number)
            states = f"acc{number}" if m is None else scaled(m, number, dtypes[m])
            self._finish(number, accumulator, states, tile)

    def _scan(self, s: Scan, number: int, scanner: Scanner, span: Span, tile: Tile) -> None:
        """A scan in a loop: what it is at the points of a block, and what is carried on."""
        out, carry = self.out, f"carry{number}"
        if span.block == 1:
            out.write(f"{carry} = {scanner.step(carry, [out.text(x) for x in s.args])}")
            out.define(number, scanner.given(carry), tile.shape)
            return
        points, last, combined = f"points{number}", len(tile.shape) - 1, scanner.accumulator.combined
        out.functions |= dict.fromkeys(scanner.needs)
        out.write(f"{points} = {self._points(s.args[0], tile, scanner)}")
        out.define(number, scanner.given(combined(carry, scanner.along(points, last))), tile.shape)
        out.write(f"{carry} = {combined(carry, scanner.accumulator.along(points, last, last + 1))}")

    def _again(self, body: list[Numbered]) -> list[Numbered]:
        """What a pass uses of earlier ones over the same axes, with what that is made of."""
        table = {number: s for numbered in self.passes for s, number in numbered if makes_value(s)}
        own = {number for s, number in body if makes_value(s)}
        found: set[int] = set()
        pending = [x for s, _ in body for x in operands(s)]
        while pending:
            x = pending.pop()
            if x not in own and x not in found and not self.out.is_known(x):
                found.add(x)
                pending += operands(table[x])
        return [(table[x], x) for x in sorted(found)]

    def _stands_before(self, s: Statement, one: Pass, span: Span, tile: Tile) -> bool:
        """Is a statement, as far as it alone decides, the same for every block of a pass?"""
        if not makes_value(s) or isinstance(s, Accumulate | Scan):
            return False
        inner = {axis.name for axis in span.axes}
        written = {other.buffer for other in one.body if isinstance(other, Store | Scatter)}
        around = spans_of(tile.masks_of(axis_spans(uses(s), tile)))
        return uses(s).isdisjoint(inner) and span.name not in around and buffer_of(s) not in written

    def _reachable(self, numbered: list[Numbered]) -> list[Numbered]:
        """Those whose operands are in sight, or made by one of those before."""
        found: list[Numbered] = []
        made: set[int] = set()
        for s, number in numbered:
            if all(x in made or self.out.is_known(x) for x in operands(s)):
                found.append((s, number))
                made.add(number)
        return found


def axis_spans(axes: Iterable[str], tile: Tile) -> frozenset[str]:
    """The spans that these axes are part of."""
    wanted = set(axes)
    return frozenset(span.name for span in tile.spans if not wanted.isdisjoint(axis.name for axis in span.axes))

