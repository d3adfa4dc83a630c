"""memory: live ranges -> places in the arena, shared by what never lives at once.

    t0 writes %3   t1 reads %3, writes %4   t2 reads %4, writes %5        %3 and %5 may share; %4 overlaps both

1. The live range of a storage goes from the step that first writes it to the last that reads or writes it.
2. Places are 64-byte aligned; the largest are placed first, each at the lowest offset that is free all its range.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from codegen.ir.dims import Size, number_of
from codegen.ir.structs import struct

ALIGNMENT = 64

PERIOD = 16
"""Steps: most ranges are shorter, and only those of the same periods are looked at."""


@struct
class LiveRange:
    """Bytes that are needed from step `first` to step `last`, both included."""

    first: int
    last: int
    bytes: Size


def arena_offsets(ranges: Sequence[LiveRange]) -> tuple[list[int], int]:
    """The offset of each range in an arena, and the size of the arena."""
    sizes = [aligned(number_of(r.bytes)) for r in ranges]
    offsets = [0] * len(ranges)
    placed: defaultdict[int, list[int]] = defaultdict(list)      # by period, the ranges that are in it
    total = 0
    for k in sorted(range(len(ranges)), key=lambda k: (-number_of(ranges[k].bytes), ranges[k].first)):
        own = ranges[k]
        periods = range(own.first // PERIOD, own.last // PERIOD + 1)
        beside = {j for period in periods for j in placed[period]
                  if ranges[j].first <= own.last and own.first <= ranges[j].last}
        offsets[k] = first_fit(((offsets[j], offsets[j] + sizes[j]) for j in beside), sizes[k])
        for period in periods:
            placed[period].append(k)
        total = max(total, offsets[k] + sizes[k])
    return offsets, total


def first_fit(taken: Iterable[tuple[int, int]], bytes: int) -> int:
    """The lowest offset, a multiple of ALIGNMENT, of so many bytes beside the parts (start, end) that are taken."""
    size = aligned(bytes)
    offset = 0
    for start, end in sorted(taken):
        if start - offset >= size:
            break
        offset = max(offset, end)
    return offset


def aligned(bytes: int) -> int:
    """So many bytes, and what is needed beyond them to be a multiple of ALIGNMENT."""
    return -(-bytes // ALIGNMENT) * ALIGNMENT
