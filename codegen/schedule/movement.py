"""Movement as index maps: at which point of the operand does a movement op find its result's point.

    transpose axes=[1,0] at (i, j)             (j, i)
    reshape [6,4] -> [24] at (i)               (i//4, i%4)
    shear axes=[0] along=[1] step=[2] dilation=[1] at (i, j)    (2*i+j, j)
    pad low=[2] high=[0] interior=[1] at (i)   ((i-2)//2) where 2 <= i and (i-2) % 2 == 0, else 0

A point has one Index for each axis, ZERO on an axis of size 1. Guards say where the operand is read at all.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator

from codegen.ir.dims import Size, ceil_div, surely_at_most, surely_below
from codegen.ir.graph import Node, attrs_of
from codegen.schedule.index import ZERO, Extents, add, bounds, flatten, quotient, remainder, scale, shift, unflatten
from codegen.schedule.kernel import Index, Within

Point = tuple[Index, ...]
Shape = tuple[Size, ...]
Guards = tuple[Within, ...]


def source_point(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards | None]:
    """The point of the operand, of shape `source`, that a movement finds at `point`, and the guards on reading it.

    Guards that always hold are left out; None stands for guards that never do.
    """
    return MAPS[node.op](node, source, point, extents)


def broadcast_point(source: Shape, point: Point) -> Point:
    """The point of an operand of shape `source` that takes part, by broadcasting, at `point` of the result."""
    aligned = point[len(point) - len(source):]
    if 1 not in source:
        return aligned
    return tuple(ZERO if size == 1 else index for size, index in zip(source, aligned))


def reduced_axes(node: Node, source: Shape) -> tuple[int, ...]:
    """The axes that a reduction really combines: those that have another size than 1."""
    axis = attrs_of(node)["axis"]
    return tuple(sorted(k for k in axis if source[k] != 1))


def _broadcast(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards]:
    return broadcast_point(source, point), ()


def _reshape(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards]:
    result = node.type.shape
    if [n for n in source if n != 1] == [n for n in result if n != 1]:
        rest = iter([index for index, n in zip(point, result) if n != 1])
        return tuple(ZERO if n == 1 else next(rest) for n in source), ()
    return unflatten(flatten(point, result), source, extents), ()


def _transpose(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards]:
    found = dict(zip(attrs_of(node)["axes"], point))
    return tuple(found[k] for k in range(len(source))), ()


def _slice(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards]:
    attrs = attrs_of(node)
    return tuple(ZERO if size == 1 else shift(scale(index, step), start)
                 for index, start, step, size in zip(point, attrs["start"], attrs["step"], source)), ()


def _flip(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards]:
    axes = attrs_of(node)["axes"]
    return tuple(shift(scale(index, -1), size - 1) if k in axes and size not in (0, 1) else index
                 for k, (index, size) in enumerate(zip(point, source))), ()


def _pad(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards | None]:
    attrs = attrs_of(node)
    found: list[Index] = []
    guards: list[Within] = []
    for index, size, low, interior in zip(point, source, attrs["low"], attrs["interior"]):
        inside = _spread(index, size, low, interior + 1, extents)
        if inside is None:
            return (), None
        found.append(ZERO if size == 1 else inside[0])
        guards += inside[1]
    return tuple(found), tuple(guards)


def _spread(index: Index, size: Size, low: Size, step: Size, extents: Extents) -> tuple[Index, Guards] | None:
    """Which of `size` elements, `step` apart and the first at `low`, is at an index, and when; None for none ever."""
    last = low + (size - 1) * step
    least, most = bounds(index, extents)
    if size == 0 or surely_below(most, low) or surely_below(last, least):
        return None
    guards: Guards = ()
    if not (surely_at_most(low, least) and surely_at_most(most, last)):
        guards = (Within(index, low, last + 1),)
    if step == 1:
        return shift(index, -low), guards
    raised = ceil_div(low - min(least, 0), step)    # makes the index to divide non-negative everywhere
    lifted = shift(index, raised * step - low)
    phase = remainder(lifted, step, extents)
    if phase.terms:
        guards += (Within(phase, 0, 1),)
    elif phase.constant != 0:
        return None
    return shift(quotient(lifted, step, extents), -raised), guards


def _shear(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards]:
    found = list(point)
    for a, o, step, dilation in _pairs(node):
        found[a] = add(scale(point[a], step), scale(point[o], dilation))
    return tuple(found), ()


def _unshear(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards | None]:
    found = list(point)
    guards: Guards = ()
    for a, o, step, dilation in _pairs(node):
        inside = _spread(add(point[a], scale(point[o], -dilation)), source[a], 0, step, extents)
        if inside is None:
            return (), None
        found[a] = ZERO if source[a] == 1 else inside[0]
        guards += inside[1]
    return tuple(found), guards


def _pairs(node: Node) -> Iterator[tuple[int, int, int, int]]:
    """Each axis of a shear, that along which it moves, its step and its dilation."""
    attrs = attrs_of(node)
    return zip(attrs["axes"], attrs["along"], attrs["step"], attrs["dilation"])


def _same(node: Node, source: Shape, point: Point, extents: Extents) -> tuple[Point, Guards]:
    return point, ()


MAPS: dict[str, Callable[[Node, Shape, Point, Extents], tuple[Point, Guards | None]]] = {
    "broadcast": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "flip": _flip,
    "pad": _pad,
    "shear": _shear,
    "unshear": _unshear,
    "detach": _same,
    "scatter_add": _same,       # that adds nothing
    "scatter": _same,           # that writes nothing
    # a reduction that combines nothing
    "sum": _reshape,
    "prod": _reshape,
    "max": _reshape,
    "min": _reshape,
}
"""Every movement op."""
