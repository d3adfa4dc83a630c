"""scatters: which points of a Scatter may run at once, although they run in order.

    for i < 100, j < 64: scatter_add b2[j] at v0*64 of 20 v1        along j no two points meet; along i they may

What is added to one place is added in any order, by atomic additions, where that changes no more than the rounding:
f32 and f64; and integers of 32 and 64 bits, which it does not change at all. So is what is the greatest found, and
written what is the same. Additions of halves, rounded one by one, and `set`, of which the last is to stay, keep their
order.
"""
from __future__ import annotations

from codegen.ir.dims import Size
from codegen.schedule.kernel import Kernel, Scatter

ATOMIC = frozenset({"f32", "f64", "i32", "u32", "i64", "u64"})


def scatters_of(kernel: Kernel) -> list[Scatter]:
    """The scatters of a kernel."""
    return [s for p in kernel.passes for s in p.body if isinstance(s, Scatter)]


def in_any_order(kernel: Kernel) -> bool:
    """Is the order of the points of all scatters no matter?"""
    return all(s.kind in ("max", "same") or s.kind == "add" and kernel.params[s.buffer].dtype in ATOMIC
               for s in scatters_of(kernel))


def axes_apart(kernel: Kernel) -> frozenset[str]:
    """Outer axes along which no two points write to one place.

    An index is a number whose digits are the axes in it and what is picked: each stride is at least all that smaller
    ones reach, so that equal indices have equal digits.
    """
    found = frozenset(axis.name for axis in kernel.axes)
    for s in scatters_of(kernel):
        extents = {axis.name: axis.extent for axis in kernel.axes}
        digits: list[tuple[int, int]] = []
        names: set[str] = set()
        parts: list[tuple[object, Size, Size]] = [(term, c, extents[term] if isinstance(term, str) else 0)
                                                  for term, c in s.base.terms]
        for term, c, extent in (*parts, (None, s.stride, s.size)):
            if not isinstance(c, int) or not isinstance(extent, int) or c < 1 or extent < 1:
                return frozenset()
            digits.append((c, extent))
            names |= {term} if isinstance(term, str) else set()
        reach = 0
        for stride, extent in sorted(digits):
            if stride <= reach:
                return frozenset()
            reach += stride * (extent - 1)
        found &= names
    return found
