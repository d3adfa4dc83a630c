"""Strips: how a kernel goes down columns: row by row through many columns, with their partial results beside it.

    for i < 8192 vector:                                  for strips of 4096 columns i:
      pass j < 4096: v1 = accumulate sum b0[8192*j+i]       for j = 0, 8 ..: for lanes in the strip:
      pass: store b1[i] v1                          ->        room[i] += what 8 rows have there, added in pairs
                                                            for lanes in the strip: store b1[i] room[i]

Going down the rows with some lanes only, every step is in another page, and of what memory gives only a little is used
at a time. Measured with 2 threads, sums of the columns of 4096x4096: a quarter of the time. A room that is read and
written once for each row, not for eight, would cost as much as the memory does.

1. Where a value lies depends on the kernel and the features; so does the order in which rows are combined.
2. A kernel that reads rows in several passes has strips so narrow that the next pass finds them in the second cache.
"""
from __future__ import annotations

from math import prod

from codegen.llvm_cpu.assembler import BYTES, Assembler, vector
from codegen.llvm_cpu.nest import STRIP
from codegen.llvm_cpu.shelves import Shelf
from codegen.schedule.kernel import Accumulate, Const, Gather, Index, Kernel, Load, Pass, Scan, makes_value, operands
from codegen.schedule.shelves import shelved_values

ROOM = 1 << 16
"""Bytes of all partial results of a strip: they lie in the second cache, each wanted once for eight rows only."""

WIDEST = 1 << 12
"""Points of a strip, at most. Processors fetch ahead along a row until the end of a page, so rows are to be long: with
1024 points, sums of 16 MB in the last cache take 1.25 times as long, of 64 MB 1.1."""

SECOND_CACHE = 1 << 19
"""Bytes of what several passes read, in a strip."""

FEWEST_ROWS = 16
"""For fewer rows, registers do. So many are also enough for pairs of eight to be no less accurate than all in pairs."""

TOGETHER = 8
"""Rows that are taken together, at most. Each is a stream of its own, and those a page apart share eight places of the
first cache. 4 take 1.3 times as long, 1 2.6 times."""

MOST_STATEMENTS = 64
"""Statements in all rows that are taken together."""


def strip_width(kernel: Kernel, lanes: int) -> int:
    """How many points of the vector axis make a strip, a power of two; 0 where there are none."""
    if not kernel.axes or kernel.axes[-1].name != kernel.vector or shelved_values(kernel):
        return 0
    loops = [one for one in kernel.passes if one.axes]
    body = [s for one in loops for s in one.body]
    sums = sum(isinstance(s, Accumulate) for s in body)
    rows = [prod(axis.extent for axis in one.axes) for one in loops]
    if not sums or any(isinstance(s, Scan | Gather) or isinstance(s, Load) and s.guards for s in body):
        return 0
    if any(isinstance(count, int) and count < FEWEST_ROWS for count in rows):
        return 0
    width = min(WIDEST, 1 << (ROOM // (8 * sums)).bit_length() - 1)
    if len(loops) > 1:
        numbers = [count for count in rows if isinstance(count, int)]
        if len(numbers) < len(rows):
            return 0
        read = {s.buffer for s in body if isinstance(s, Load)}
        width = min(width, 1 << (SECOND_CACHE // (8 * max(1, len(read)) * max(numbers))).bit_length() >> 1)
    extent = kernel.axes[-1].extent
    return width if width > lanes and not (isinstance(extent, int) and extent <= lanes) else 0


def rows_together(one: Pass) -> int:
    """How many rows a pass takes together."""
    if not any(isinstance(s, Accumulate) for s in one.body):
        return 1
    loads = sum(isinstance(s, Load) for s in one.body)
    most = min(TOGETHER // max(1, loads), MOST_STATEMENTS // len(one.body))
    return 1 << max(1, most).bit_length() - 1


def make_rooms(a: Assembler, kernel: Kernel, dtypes: list[str], lanes: int, width: int) -> dict[int, Shelf]:
    """The shelf, for the points of a strip, of each value that a later pass uses; asked for before any control flow."""
    found: dict[int, Shelf] = {}
    own: dict[int, int] = {}                        # the values that differ along a strip, and the pass of each
    number = 0
    for k, one in enumerate(kernel.passes):
        for s in one.body:
            for x in operands(s):
                if own.get(x, k) != k and x not in found:
                    found[x] = make_room(a, kernel, dtypes[x], lanes, width)
            if makes_value(s):
                if not isinstance(s, Const):
                    own[number] = k
                number += 1
    return found


def make_room(a: Assembler, kernel: Kernel, dtype: str, lanes: int, width: int) -> Shelf:
    """Room for one value at each point of a strip, and for a vector that ends beyond it."""
    assert kernel.vector is not None
    element = vector("u8" if dtype == "bool" else dtype).element
    place = Index(((STRIP, -1), (kernel.vector, 1)))
    return Shelf(a.room((width + lanes) * BYTES[element]), dtype, lanes, place, 1)
