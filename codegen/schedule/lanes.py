"""lanes: a tree with symbols -> its blocks, planned and linked, with all storage of their own in lanes.

    block0: exp f32[b]  ->  lane 0, 4*b bytes          block1: sum of lane 0  ->  lane 1, 4 bytes

1. A lane is as long as the longest of those that lie in it one after the other: which is in which does not depend on
   sizes, so that numbers can be filled in later.
2. What a block writes is in lanes beside those of all that it or a later block reads.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

from codegen.ir.dims import Size, typical
from codegen.ir.graph import Graph
from codegen.ir.structs import struct
from codegen.ir.tree import Tree
from codegen.ir.types import DTYPES, TensorType
from codegen.schedule.blocks import Aliases, Linker, planned
from codegen.schedule.machine import Machine
from codegen.schedule.memory import LiveRange
from codegen.schedule.plan import Lane, Plan, ProgramPlan


@struct(eq=False)
class Laned:
    """A program with symbols. `lanes`: the bytes of those that are in each; `lane_of`: for each plan, by its id, which
    of the lanes of its room each live range, by its id, is in.
    """

    program: ProgramPlan
    lanes: list[list[Size]]
    lane_of: dict[int, dict[int, int]]


def in_lanes(tree: Tree, slots: tuple[TensorType, ...], ends: tuple[tuple[int, ...], ...], machine: Machine) -> Laned:
    """The program of a tree of core ops. `slots`, `ends`: see ProgramPlan. CannotLower for what has no plan."""
    linker = _InLanes(tree, tree.types(), (), slots, ends, machine)
    return Laned(linker.run(), linker.lanes, linker.lane_of)


class _InLanes(Linker):
    """What is taken is a set of lanes."""

    lanes: list[list[Size]]
    lane_of: dict[int, dict[int, int]]

    def run(self) -> ProgramPlan:
        self.lanes, self.lane_of = [], {}
        return super().run()

    def _plan(self, graph: Graph, aliases: Aliases, taken: set[int]) -> Plan:
        return planned(graph, aliases, self.machine)

    def _taken(self, number: int) -> set[int]:
        places = [self.places[v] for v in self.needed[number]]
        return {place.index for place in places if isinstance(place, Lane)}

    def _reserve(self, taken: set[int], type: TensorType) -> Lane:
        return Lane(self._lane(taken, [prod(type.shape, start=1) * DTYPES[type.dtype].itemsize]))

    def _room(self, taken: set[int], plan: Plan) -> tuple[int, ...]:
        lane_of, lanes = lanes_of([b.place for b in plan.buffers if isinstance(b.place, LiveRange)])
        self.lane_of[id(plan)] = lane_of
        if plan.arena_bytes:
            lanes.append([plan.arena_bytes])        # of a plan without symbols: all that it works in
        return tuple([self._lane(taken, sizes) for sizes in lanes])

    def _lane(self, taken: set[int], sizes: list[Size]) -> int:
        """The lane for these, one after the other: of those not taken the one that fits best where symbols are usual
        numbers."""
        def longer(k: int) -> tuple[bool, int]:
            more = max(map(typical, self.lanes[k])) - most
            return more < 0, abs(more)

        most = max(map(typical, sizes))
        free = [k for k in range(len(self.lanes)) if k not in taken]
        if free:
            k = min(free, key=longer)
        else:
            k = len(self.lanes)
            self.lanes.append([])
        self.lanes[k] += sizes
        taken.add(k)
        return k


def lanes_of(ranges: Sequence[LiveRange]) -> tuple[dict[int, int], list[list[Size]]]:
    """The lane of each range, by its id, and the bytes of those that are in each: the largest first, each in the lane
    whose length, where symbols have usual numbers, is nearest."""
    lanes: list[list[LiveRange]] = []
    lane_of: dict[int, int] = {}
    for one in sorted({id(r): r for r in ranges}.values(), key=lambda r: (-typical(r.bytes), r.first)):
        free = [k for k, lane in enumerate(lanes)
                if all(one.last < other.first or other.last < one.first for other in lane)]
        if free:
            k = min(free, key=lambda k: typical(lanes[k][0].bytes))
        else:
            k = len(lanes)
            lanes.append([])
        lanes[k].append(one)
        lane_of[id(one)] = k
    return lane_of, [[r.bytes for r in lane] for lane in lanes]
