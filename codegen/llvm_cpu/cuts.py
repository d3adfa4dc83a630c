"""cuts: into which panels a product is cut, by its shape and a Cut alone, never by what else the machine is doing.

    c[128,512] = a'[128,2048] @ b[2048,512]     4 panels c[:, 0:128], c[:, 128:256], ...: as many on each of two
                                                threads, where one would wait for the last of 3 larger ones

What the arrangement of operands costs falls with the size of panels, what threads wait for at the end with their
number. Both are estimated for the few cuts that there may be, and the best is taken.
"""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, count, takewhile

from codegen.ir.structs import struct

_UNEVEN = 0.1
"""Threads are not equally fast, where cores are shared with other programs: what they wait for at the end, as a part of
the whole if it is one panel."""

_MORE = 3
"""So many pieces more than the fewest are tried, before they are doubled."""

_KEPT = 1 << 14
"""Elements of c that a cache keeps until they are read; what is beyond has to come from further away anyhow."""


@struct
class Cut:
    """How products are cut.

    A panel is worth `work` multiply-adds, and `handed` for each element of c that another thread's cache hands over to
    whoever reads it, or it is the whole product; it has at least `least` rows and columns, at most `most`, multiples of
    `grain` (except in the last). `of_a`, `of_b`: what it costs to bring an element of a, or b, where the innermost loop
    reads it, in multiply-adds of an element; `of_end`: what the end of a row of a panel does, where it shares a line of
    c with the next. Panels should be about as many on each of the threads of machines with so many `threads`.
    """

    work: int
    least: tuple[int, int]
    grain: tuple[int, int]
    most: tuple[int, int] = (1 << 62, 1 << 62)
    of_a: float = 0.0
    of_b: float = 0.0
    of_end: float = 0.0
    handed: int = 0
    threads: tuple[int, ...] = (2, 4)


@lru_cache(maxsize=4096)
def panel(batch: int, m: int, n: int, k: int, cut: Cut) -> tuple[int, int]:
    """(rows, columns) of the panels of `batch` products of m*k by k*n."""
    if m * n * k < cut.work:                # no panel of it is worth more than the whole
        return next(_pieces(m, cut, 0)), next(_pieces(n, cut, 1))
    def cost(size: tuple[int, int]) -> tuple[float, int]:
        rows, columns = size
        panels, whole = batch * _ceil_div(m, rows) * _ceil_div(n, columns), batch * m * n
        busy = [max(_ceil_div(panels, threads) * threads / panels, threads * rows * columns / whole)
                for threads in cut.threads]             # who has had a smaller panel begins sooner with the next
        brought = cut.of_a / columns + cut.of_b / rows + cut.of_end / (columns * k)
        return (1 + brought + _UNEVEN / panels) * (1 + sum(busy)), panels

    down, across = next(_pieces(m, cut, 0)), next(_pieces(n, cut, 1))
    rows_worth = [*takewhile(lambda rows: rows * across * k >= cut.work, _pieces(m, cut, 0))]
    columns_worth = [*takewhile(lambda columns: down * columns * k >= cut.work, _pieces(n, cut, 1))]
    worth = [(rows, columns) for rows in rows_worth for columns in columns_worth
             if rows * columns * k >= cut.work + cut.handed * min(rows * columns, _KEPT)]
    return min(worth, key=cost) if worth else (down, across)


def _ceil_div(x: int, y: int) -> int:
    return -(-x // y)


def _pieces(size: int, cut: Cut, axis: int) -> Iterator[int]:
    """Sizes of the pieces that rows or columns are cut into, the largest first."""
    grain = cut.grain[axis]
    fewest = _ceil_div(size, cut.most[axis] // grain * grain)
    most = max(fewest, size // cut.least[axis])
    found = 0
    for pieces in chain(range(fewest, fewest + _MORE + 1), (fewest << k for k in count(3))):
        if pieces > most:
            return
        piece = min(size, -(size // -pieces // grain) * grain)
        if piece != found:
            yield piece
        found = piece
