"""Prefetch: while a row is computed, the next one is fetched.

    for i < 4096:
      pass j < 1024: load b0[1024*i+j] ...               reads memory, computes little
      pass j < 1024: exp ...                             computes much, and here asks for b0[1024*i+j+1024]
      pass j < 1024: load b2[1024*i+j] ... store b1 ...

Where a kernel goes over a row several times, memory is idle in all passes but that which comes to a row first, and
there nothing is computed while it waits: processors look ahead within a page, not from row to row. Softmax of
4096x1024 and its derivative take 0.7 of the time for it.

1. Only rows that stay in the nearest caches until they are used. Asking for what is not there has no effect.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod

from codegen.ir.dims import Dim
from codegen.ir.types import DTYPES
from codegen.schedule.costs import cost_of
from codegen.schedule.index import coefficient, shift
from codegen.schedule.kernel import Index, Kernel, Load

MOST_BYTES = 1 << 17
"""Of all rows that are fetched together: they share the second cache with the present ones and with the shelves."""

@dataclass(frozen=True, slots=True)
class Ahead:
    """Where pass `number` asks for what the next row reads: (buffer, index)."""

    number: int
    places: tuple[tuple[int, Index], ...]


def ahead_of(kernel: Kernel) -> Ahead | None:
    """What is worth asking for and when; None in kernels that go over memory once."""
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

