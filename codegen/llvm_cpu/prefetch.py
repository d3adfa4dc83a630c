"""Prefetch: while a row is computed, the next one is fetched.

    for i < 4096:
      pass j < 1024: load b0[1024*i+j] ...               reads memory, computes little
      pass j < 1024: exp ...                             computes much, and here asks for b0[1024*i+j+1024]
      pass j < 1024: load b2[1024*i+j] ... store b1 ...

Where a kernel goes over a row several times, memory is idle in all passes but that which comes to a row first, and
there nothing is computed while it waits: processors look ahead within a page, not from row to row. Softmax of
4096x1024 and its derivative take 0.7 of the time for it.

Where lanes go along rows and a loop goes down the columns, every step is in another page, too: what it reads a few rows
further on is asked for. Strips take some rows together, each a stream of its own, and ask for as many that come next.

Where several rows of an array are read at once, as in a stencil, processors take their time over the one that is new;
and which row a gather reads next only the numbers tell that come next.

And what goes through long arrays once asks for what lies a page further on: a page is as far as processors look.

1. Only rows that stay in the nearest caches until they are used. Asking for what is not there has no effect.
"""
from __future__ import annotations

from dataclasses import replace
from math import prod

from codegen.ir.dims import Dim, Size
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.memory import BEYOND_CACHES
from codegen.schedule.costs import cost_of
from codegen.schedule.index import coefficient, shift
from codegen.schedule.kernel import Cast, Gather, Index, Kernel, Load, Pass, makes_value

MOST_BYTES = 1 << 17
"""Of all rows that are fetched together: they share the second cache with the present ones and with the shelves."""

ROWS = 4
"""How many rows further on. Rows that lie a page apart share the eight places of a set of the first cache, so more of
them push each other out: sums of the columns of two arrays of 4096x1024 take 0.81 of the time at 4, 0.87 at 16."""

LARGE = 1 << 20
"""Bytes of an array that does not stay in the second cache from run to run."""

SECOND = 2
"""The second cache: rows that lie pages apart have few places in the first, where they would push out each other. Rows
of a strip that are fetched there take 0.7 to 0.85 of the time, fetched to the first cache all of it."""

STENCIL, NEW_ROWS = 3, 2
"""From so many rows on that are read at once, processors fall behind; so many rows further on is asked for. Measured on
64 MB, five points of 4096x4096 take 0.76 of the time with one thread and 0.82 with two, with rows of 32 or 64 KB 0.53
and 0.66; of 4 MB 1.02, seven points in three axes 1.0. Of two rows, or one, as of a crop: 0.98 to 1.3, so not there."""

GATHERED = 8
"""So many rows further on is the one that is asked for, whose number a gather reads then; into the second cache. Rows
of 1 KB, 32 MB of 64, take 0.6 of the time with one thread and 0.4 to 0.75 with two; of 256 bytes 0.6 and 0.7, asked for
4 rows ahead 0.7 and 0.8; of an array of 2 MB 0.9 to 1.0."""

PAGE = 1 << 12
"""Bytes that processors do not look ahead beyond. Asking for what comes so much later, into the first cache, takes 0.84
of the time of Adam's 280 MB, 0.94 of SGD's 200, of 16 M elements of tanh(a x + b) exp(-x x), 0.96 of a + 3 b of 64 MB
each, all with AVX-512 and two threads; of 64 K elements in the second cache 1.02."""

FAR = 1024
"""Bytes between rows that processors do not look ahead over."""


@struct
class Ahead:
    """Where pass `number` asks for what the next row reads: (buffer, index), and into which cache (3 is the first)."""

    number: int
    places: tuple[tuple[int, Index], ...]
    near: int = 3


def ahead_of(kernel: Kernel, features: Features) -> Ahead | None:
    """What is worth asking for and when."""
    if kernel.axes and kernel.axes[-1].name == kernel.vector:
        return _further_down(kernel) or _new_rows(kernel) or (_next_page(kernel) if features.asks_by_page else None)
    passes = [(number, one) for number, one in enumerate(kernel.passes) if one.axes]
    if len(passes) < 2 or not kernel.axes or passes[0][1].axes[-1].name != kernel.vector:
        return None
    row, points = kernel.axes[-1].name, prod(axis.extent for axis in passes[0][1].axes)
    places: dict[tuple[int, Index], None] = {}
    for _, one in passes:
        for s in one.body:
            if isinstance(s, Load) and not s.guards and coefficient(s.index, one.axes[-1].name) == 1:
                step = coefficient(s.index, row)
                if isinstance(step, int) and step > 0:
                    places[s.buffer, shift(s.index, step)] = None
    if isinstance(points, Dim) or not places:
        return None
    if points * sum(DTYPES[kernel.params[buffer].dtype].itemsize for buffer, _ in places) > MOST_BYTES:
        return None
    number, _ = max(passes, key=lambda found: (sum(map(cost_of, found[1].body)), -found[0]))
    return Ahead(number, tuple(places))


def ahead_in_strips(kernel: Kernel, one: Pass, together: int) -> tuple[tuple[int, Index], ...]:
    """What a pass that takes so many rows of a strip together reads in the rows that come next, as seen from each."""
    before = [s.buffer for other in kernel.passes[:kernel.passes.index(one)] for s in other.body if isinstance(s, Load)]
    places: dict[tuple[int, Index], None] = {}
    for s in one.body if one.axes else ():
        if not isinstance(s, Load) or s.buffer in before or coefficient(s.index, kernel.vector or "") != 1:
            continue
        step, param = coefficient(s.index, one.axes[-1].name), kernel.params[s.buffer]
        item = DTYPES[param.dtype].itemsize
        if step and _perhaps(step * item, FAR) and _perhaps(param.size * item, LARGE):
            places[s.buffer, shift(s.index, step * together)] = None
    return tuple(places)


def gathered_ahead(kernel: Kernel) -> dict[Gather, Load]:
    """Gathers of whole rows of an array that fits no cache of one processor: where the number of a row to come is."""
    statements = [s for one in kernel.passes for s in one.body if makes_value(s)]
    found: dict[Gather, Load] = {}
    for s in statements:
        if not isinstance(s, Gather) or coefficient(s.base, kernel.vector or "") != 1 or s.guards:
            continue
        table, number = kernel.params[s.buffer], statements[s.k]
        while isinstance(number, Cast):
            number = statements[number.x]
        if not isinstance(number, Load) or number.guards or kernel.params[number.buffer].access != "in":
            continue
        steps = [coefficient(number.index, one.name) for one in reversed(kernel.axes) if one.name != kernel.vector]
        step = next((n for n in steps if n != 0), None)
        if isinstance(step, int) and step > 0 and _perhaps(table.size * DTYPES[table.dtype].itemsize, LARGE):
            found[s] = replace(number, index=shift(number.index, GATHERED * step))
    return found


def _perhaps(size: Size, least: int) -> bool:
    """Is a size as great as that? If it is not known, yes: asking for what is near takes 1.0 to 1.05 of the time, not
    asking for what is far 2, sums of columns of 4096x1024."""
    return not isinstance(size, int) or size >= least


def _further_down(kernel: Kernel) -> Ahead | None:
    """What loops down columns read some rows further on: of the first pass that has such loads."""
    for number, one in enumerate(kernel.passes):
        places: dict[tuple[int, Index], None] = {}
        for s in one.body if one.axes else ():
            if isinstance(s, Load) and not s.guards and coefficient(s.index, kernel.vector or "") == 1:
                step = coefficient(s.index, one.axes[-1].name)
                if isinstance(step, int) and step * DTYPES[kernel.params[s.buffer].dtype].itemsize >= FAR:
                    places[s.buffer, shift(s.index, ROWS * step)] = None
        if places:
            return Ahead(number, tuple(places))
    return None


def _next_page(kernel: Kernel) -> Ahead | None:
    """What comes a page later in long arrays that one pass goes through from end to end."""
    along, *others = reversed(kernel.axes)
    for number, one in enumerate(kernel.passes):
        places: dict[tuple[int, Index], None] = {}
        for s in one.body if not one.axes else ():
            if not isinstance(s, Load) or s.guards or coefficient(s.index, along.name) != 1:
                continue
            rows = [axis for axis in others if coefficient(s.index, axis.name) != 0]
            item = DTYPES[kernel.params[s.buffer].dtype].itemsize
            if not rows or coefficient(s.index, rows[0].name) == along.extent:
                places[s.buffer, shift(s.index, PAGE // item)] = None
        sizes = [kernel.params[buffer].size * DTYPES[kernel.params[buffer].dtype].itemsize for buffer, _ in places]
        if any(_perhaps(size, LARGE) for size in sizes):
            return Ahead(number, tuple(place for place, size in zip(places, sizes) if _perhaps(size, LARGE)))
    return None


def _new_rows(kernel: Kernel) -> Ahead | None:
    """What comes two rows after the last of several that are read at once, of arrays that fit no cache."""
    sizes = [param.size * DTYPES[param.dtype].itemsize for param in kernel.params]
    known = [size for size in sizes if isinstance(size, int)]
    if len(kernel.axes) < 2 or len(known) < len(sizes) or sum(known) < BEYOND_CACHES:
        return None
    row, along = kernel.axes[-2].name, kernel.axes[-1].name
    for number, one in enumerate(kernel.passes):
        read: dict[tuple[int, int], dict[int, Index]] = {}              # by buffer and step: the last load of each row
        for s in one.body if not one.axes else ():
            step = coefficient(s.index, row) if isinstance(s, Load) else None
            if not isinstance(s, Load) or not isinstance(step, int) or coefficient(s.index, along) != 1:
                continue
            if step * DTYPES[kernel.params[s.buffer].dtype].itemsize >= FAR and isinstance(s.index.constant, int):
                rows = read.setdefault((s.buffer, step), {})
                rows[round(s.index.constant / step)] = s.index
        places = tuple((buffer, shift(rows[max(rows)], NEW_ROWS * step)) for (buffer, step), rows in read.items()
                       if len(rows) >= STENCIL)
        if places:
            return Ahead(number, places, SECOND)
    return None
