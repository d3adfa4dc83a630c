"""tiling: Kernel -> Tiling: what a program computes, by shapes and indices alone. The decisions; emit only formats.

    for i < 64, j < 48                     x = (i, j), 128 at a time                     24 programs
    for i < 64: pass j < 48                x = i, 1 at a time; r = j, 64 at once         64 programs
    for i < 64: pass j < 48000             x = i, 1 at a time; r = j, 2048 at a time     64 programs

1. The outer axes are cut into blocks, of which each program takes one. Where loads and stores are to neighbors along
   two different outer axes the block has two dimensions.
2. A pass goes through its axes in blocks: in one, where that is large enough (then what it computes stays in registers
   for later passes over the same axes), or one after the other.
3. What a kernel scatters in order is scattered by programs of which each does all points that may meet (see scatters).
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from math import prod

from codegen.ir.dims import Size, ceil_div, content, symbols, typical
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.schedule.index import axes_of, coefficient
from codegen.schedule.kernel import Axis, Gather, Index, Kernel, Load, Pass, Scan, Scatter, Store
from codegen.schedule.shelves import shelved_values
from codegen.triton_gpu.scans import point_by_point
from codegen.triton_gpu.scatters import axes_apart, in_any_order
from codegen.triton_gpu.tile import Span

FEW_POINTS, MANY_POINTS = 128, 1024
"""Points of a block of elementwise work: from few for small arrays to 1024, 8 for each thread of four warps."""

PROGRAMS = 512
"""So many programs keep every processor of a large GPU at work; arrays are cut into smaller blocks to have as many."""

SQUARE, LEAST_SQUARE = 64, 8
"""The sides of a block that is read along one of them and written along the other; if both axes are so long."""

ROW_POINTS = 1024
"""Points of a block of short rows; a longer row is a block of its own."""

LONGEST_ROW, LONGEST_ROW_AGAIN = 4096, 16384
"""Rows that are computed at once; the latter if more than one pass goes over them, which then read memory once."""

LONG_ROW = 2048
"""Points of a longer row that are taken at a time."""

LONGEST_COLUMN = 64
"""Columns that are computed at once."""

COLUMNS, COLUMN_POINTS = 32, 2048
"""Neighbors that columns are reduced for at least, if there are: they are a line of memory. Points of a block."""

POINTS_OF_WARP, MOST_WARPS = 256, 16

FEW_OF = 8
"""Accesses to fewer than this part of the elements decide nothing."""


@struct
class Tiling:
    """`outer`: spans of outer axes, in blocks of which a program takes one. `inner`: of each pass, if it has axes.

    `whole`: those of the inner spans whose block is all of them. `in_order`: outer axes that each program goes through
    one point after the other, around all passes.
    """

    outer: tuple[Span, ...]
    inner: tuple[Span | None, ...]
    whole: frozenset[str]
    warps: int
    in_order: Span | None = None

    @property
    def programs(self) -> Size:
        """How many blocks there are."""
        return prod((ceil_div(span.extent, span.block) for span in self.outer), start=1)


def tiling_of(kernel: Kernel, parts: int = 1) -> Tiling:
    """What a program of this kernel computes; `parts`: in so many launches that are one."""
    if any(isinstance(s, Scatter) for p in kernel.passes for s in p.body):
        return _of_scatters(kernel)
    if any(p.axes for p in kernel.passes):
        return _of_passes(kernel)
    return _elementwise(kernel, kernel.axes, parts)


# ---- elementwise work ----------------------------------------------------------------------------------------------


def _elementwise(kernel: Kernel, axes: tuple[Axis, ...], parts: int = 1) -> Tiling:
    inner = (None,) * len(kernel.passes)
    ways = _neighbors(kernel.passes, axes)
    extents = {axis.name: axis.extent for axis in axes}
    if len(ways) > 1 and min(typical(extents[name]) for name in ways[:2]) >= LEAST_SQUARE:
        outer = (Span("z", tuple(axis for axis in axes if axis.name not in ways[:2])),
                 *(Span(name, tuple(axis for axis in axes if axis.name == way), _block(extents[way], SQUARE))
                   for name, way in (("y", ways[1]), ("x", ways[0]))))
        outer = outer if outer[0].axes else outer[1:]
    elif axes:
        order = _with_last(axes, ways)
        points = parts * prod(typical(axis.extent) for axis in axes)
        if parts > 1 and kernel.words:              # of any length, and each program first has to find its own
            points = PROGRAMS * MANY_POINTS
        most = MANY_POINTS * max(1, 4 // _bytes(kernel))
        extent = prod((axis.extent for axis in axes), start=1)
        outer = (Span("x", order, _block(extent, min(most, max(FEW_POINTS, _power(points // PROGRAMS))))),)
    else:
        outer = ()
    return Tiling(outer, inner, frozenset(), _warps(prod(span.block for span in outer)))


# ---- passes over further axes --------------------------------------------------------------------------------------


def _of_passes(kernel: Kernel) -> Tiling:
    deep = [p for p in kernel.passes if p.axes]
    groups = {axes: [p for p in deep if p.axes == axes] for axes in dict.fromkeys(p.axes for p in deep)}
    along_outer = _neighbors(deep, kernel.axes)
    by_rows = not along_outer or _weight(deep, kernel.axes, False) >= _weight(deep, kernel.axes, True)
    in_order = point_by_point(kernel)
    rows = prod((axis.extent for axis in kernel.axes), start=1)
    spans: dict[tuple[Axis, ...], Span] = {}
    whole: set[str] = set()
    kept = _not_to_compute_again(kernel)
    for k, (axes, own) in enumerate(groups.items()):
        name = "r" if len(groups) == 1 else f"r{k}"
        order = _with_last(axes, _neighbors(own, axes)) if len(axes) > 1 else axes
        extent = prod(axis.extent for axis in axes)
        longest = LONGEST_COLUMN if not by_rows else LONGEST_ROW_AGAIN if len(own) > 1 else LONGEST_ROW
        block = LONG_ROW if by_rows else LONGEST_COLUMN
        if in_order and any(isinstance(s, Scan) for p in own for s in p.body):
            block = 1
        elif isinstance(extent, int) and (extent <= longest or axes in kept):
            block = _power(extent)
            whole.add(name)
        spans[axes] = Span(name, order, block)
    points = max(span.block for span in spans.values())
    if by_rows and not in_order:
        x = _block(rows, max(1, ROW_POINTS // points))
        while x > 1 and typical(rows) // x < PROGRAMS and x * points > POINTS_OF_WARP:
            x //= 2
    else:
        wanted = max(1, min(4, typical(rows) // (COLUMNS * PROGRAMS)))
        x = _block(rows, COLUMNS * (1 << wanted.bit_length() - 1))
        most = max(4, COLUMN_POINTS // x)
        spans = {axes: span if span.name in whole else Span(span.name, span.axes, min(span.block, most))
                 for axes, span in spans.items()}
        points = max(span.block for span in spans.values())
    outer = (Span("x", _with_last(kernel.axes, along_outer), x),) if kernel.axes else ()
    return Tiling(outer, tuple(spans.get(p.axes) for p in kernel.passes), frozenset(whole), _warps(x * points))


def _weight(passes: Iterable[Pass], outer: Sequence[Axis], along_outer: bool) -> int:
    """How many elements are accessed with neighbors along an outer axis, or along an inner one."""
    names, total = {axis.name for axis in outer}, 0
    for p in passes:
        for index, elements, _ in _accesses(p, outer):
            way = _neighbor(index, (*p.axes, *outer))
            if way is not None and (way in names) == along_outer:
                total += elements
    return total


def _not_to_compute_again(kernel: Kernel) -> set[tuple[Axis, ...]]:
    """The axes of passes that leave later passes what these could not compute again: buffers are overwritten."""
    if not shelved_values(kernel):
        return set()
    written = {s.buffer for p in kernel.passes for s in p.body if isinstance(s, Store)}
    return {p.axes for p in kernel.passes for s in p.body if isinstance(s, Load) and s.buffer in written}


# ---- scatters ------------------------------------------------------------------------------------------------------


def _of_scatters(kernel: Kernel) -> Tiling:
    """Blocks of axes along which no two points meet; the other axes in order, unless what meets is added atomically."""
    if any(p.axes for p in kernel.passes):
        apart: Collection[str] = ()
    elif in_any_order(kernel):
        apart = {axis.name for axis in kernel.axes}
    else:
        apart = axes_apart(kernel)
    tiling = _elementwise(kernel, tuple(axis for axis in kernel.axes if axis.name in apart))
    around = tuple(axis for axis in kernel.axes if axis.name not in apart)
    inner = dict.fromkeys(p.axes for p in kernel.passes if p.axes)
    spans = {axes: Span(f"r{k}", axes) for k, axes in enumerate(inner)}
    return Tiling(tiling.outer, tuple(spans.get(p.axes) for p in kernel.passes), frozenset(), tiling.warps,
                  Span("t", around) if around else None)


# ---- what decides --------------------------------------------------------------------------------------------------


def _accesses(p: Pass, outer: Iterable[Axis]) -> Iterator[tuple[Index, int, bool]]:
    """Where a pass accesses memory, as far as axes say where; how many elements; and: are they changed?"""
    extents = {axis.name: typical(axis.extent) for axis in (*outer, *p.axes)}
    for s in p.body:
        if isinstance(s, Load | Store):
            yield s.index, prod(extents[name] for name in axes_of(s.index) if name in extents), isinstance(s, Store)
        elif isinstance(s, Gather | Scatter):
            yield s.base, prod(extents.values()), isinstance(s, Scatter)


def _neighbor(index: Index, axes: Iterable[Axis]) -> str | None:
    """The axis along which an access is to neighbors, if it is along one."""
    return next((axis.name for axis in axes if axis.extent != 1 and coefficient(index, axis.name) == 1), None)


def _neighbors(passes: Iterable[Pass], axes: Iterable[Axis]) -> list[str]:
    """The axes along which accesses are to neighbors, those of the most elements first; a store counts twice.

    What is a small part of that, as a number for each row is, is left out.
    """
    counts: Counter[str] = Counter()
    axes = tuple(axes)
    for p in passes:
        for index, elements, is_changed in _accesses(p, axes):
            if (name := _neighbor(index, axes)) is not None:
                counts[name] += 2 * elements if is_changed else elements
    most = max(counts.values(), default=0)
    return [name for name, count in counts.most_common() if count * FEW_OF >= most]


def _with_last(axes: tuple[Axis, ...], ways: Sequence[str]) -> tuple[Axis, ...]:
    """The axes with that of the most neighbors last."""
    return tuple(sorted(axes, key=lambda axis: bool(ways) and axis.name == ways[0]))


def _bytes(kernel: Kernel) -> int:
    return max((DTYPES[param.dtype].itemsize for param in kernel.params), default=4)


def _power(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()


def _block(extent: Size, most: int) -> int:
    """A power of two, at most so much, and no larger than it takes."""
    return min(most, _power(extent)) if isinstance(extent, int) else most


def _warps(points: int) -> int:
    return max(1, min(MOST_WARPS, points // POINTS_OF_WARP))


def multiples_of(kernel: Kernel, tiling: Tiling) -> tuple[int, ...]:
    """The words that are to be divisible by 16 for wide accesses: those that rows of neighbors are as long as."""
    ends = [span.axes[-1].extent for span in (*tiling.outer, *tiling.inner) if span is not None and span.axes]
    strides = [c for p in kernel.passes for index, _, _ in _accesses(p, kernel.axes) for _, c in index.terms]
    strides += [s.stride for p in kernel.passes for s in p.body if isinstance(s, Gather | Scatter)]
    found = [symbols(size) for size in (*ends, *strides) if content(size) % 16 and size != 1]
    return tuple(sorted(int(name[1:]) for name in frozenset().union(*found)))
