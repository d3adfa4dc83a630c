"""shelves: values of a pass that later passes over the same axes use again: room for one at each point of these axes.

    pass j < 1024: v3 = sub v2 v1; v4 = exp v3; v5 = accumulate sum v4         v4 is made in one pass
    pass j < 1024: v6 = div v4 v5; store b1[1024*i+j] v6                       and used in another: 1024 are shelved

A shelf is written anew at each point of the outer axes. It stays in the nearest caches and is never in memory that a
launch is given, so it costs less than computing again what takes a few operations, or loading several operands.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from codegen.ir.dims import Size
from codegen.schedule.kernel import Accumulate, Kernel, makes_value, operands

MOST_POINTS = 1 << 14
"""Points of all shelves of a kernel together: 64 KB of f32, 128 KB of f64."""

MOST_LANES = 64
"""Lanes at each point of a shelf whose vector axis is an outer one, at most."""

WORTH = 3
"""What costs more to make again is shelved: writing and reading it costs two loads."""


def shelf_points(inner: Iterable[str], outer_vector: bool, extents: Mapping[str, Size]) -> int | None:
    """How much of MOST_POINTS a shelf over these axes takes; None where sizes that are not known decide."""
    points = prod(extents[name] for name in inner)
    return points * (MOST_LANES if outer_vector else 1) if isinstance(points, int) else None


def shelved_values(kernel: Kernel) -> dict[int, int]:
    """The values that later passes over the same axes use, and the number of the pass that makes each."""
    found: dict[int, int] = {}
    own: dict[int, int] = {}                        # the values that exist for each point of a pass, and that pass
    count = 0
    for number, one in enumerate(kernel.passes):
        for s in one.body:
            found.update((x, own[x]) for x in operands(s) if own.get(x, number) != number)
            if makes_value(s):
                if one.axes and not isinstance(s, Accumulate):
                    own[count] = number
                count += 1
    return found
