"""joining: where the operands of a concat are computed: in its own storage, so that nothing is left to be done.

    %3 = concat %1, %2 axis=0 : f32[96]              %1: %5 from 0, %2: %5 from 32, %3: %5 from 0, %4: %5 from 96
    %5 = concat %3, %4 axis=0 : f32[128]       ->    no step

1. A value is computed in one place. What lies elsewhere, an input, an output or part of another concat, is copied.
2. The last concat of several comes first: what it is made of is inside it, however deep.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.schedule.forms import Form, StaticGraph
from codegen.schedule.tasks import Inside, Piece, Place


@struct
class Joined:
    """`inside`: the storage that a place is in, and from which element on; `pieces`: what each concat is made of."""

    inside: Mapping[Place, Inside]
    pieces: Mapping[int, tuple[Place, Place]]


def joined(graph: StaticGraph, movable: Callable[[int], bool]) -> Joined:
    """The places of all operands of concats; `movable`: may this value be computed anywhere?"""
    inside: dict[Place, Inside] = {}
    pieces: dict[int, tuple[Place, Place]] = {}
    for v in reversed([v for v, _ in graph.nodes() if graph.forms[v] is Form.CONCAT]):
        found: list[Place] = []
        outer = inside.get(v, Inside(v, 0))
        start: Size = outer.start
        for operand in map(graph.same_storage, graph.node(v).args):
            place: Place = operand if movable(operand) and operand not in inside else Piece(v, len(found), operand)
            inside[place] = Inside(outer.whole, start)
            found.append(place)
            start = start + graph.sizes[operand]
        pieces[v] = found[0], found[1]
    return Joined(inside, pieces)
