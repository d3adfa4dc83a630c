"""planning: Source -> ProgramPlan, for a machine: what targets that work by plans begin with."""
from __future__ import annotations

from codegen.executable import Aliases, storage_of_ends
from codegen.ir.tree import Tree
from codegen.optimize.blockwise import LARGE_BYTES, is_large_product
from codegen.schedule.blocks import BoundTree, schedule_tree
from codegen.schedule.machine import Machine
from codegen.schedule.plan import ProgramPlan
from codegen.source import Source

MORE_BYTES = 1 << 31
"""Of a GPU's memory that a program may take so that it need not be computed in parts."""

TIMES = 64
"""So many times what is large for a processor is so for a GPU: parts are to keep all of it at work."""

PARTS_OF_BUDGET = 4
"""What is larger than one of so many parts of a budget is computed in parts."""


def plan_of(source: Source, aliases: tuple[Aliases, ...], machine: Machine) -> ProgramPlan:
    """What running a source takes on a machine.

    What is large is computed in parts, which fit a cache (see optimize.blockwise); a machine that computes all points
    at once does so only for want of room, since each part is as many launches as the whole.
    """
    if machine.at_once and source.whole is not None:
        whole, budget = _plan_of(source.whole(0), source, aliases, machine), machine.arena_bytes
        more = MORE_BYTES if budget is None else 0
        times = TIMES if budget is None else max(1, min(TIMES, budget // PARTS_OF_BUDGET // LARGE_BYTES))
        if whole.arena_bytes <= more or not any(
                is_large_product(node, times) for block in source.tree.blocks for node in block.nodes):
            return whole
        parts = _plan_of(source.whole(times), source, aliases, machine)
        return whole if whole.arena_bytes <= parts.arena_bytes + more else parts
    tree = source.optimized()
    found = _plan_of(tree, source, aliases, machine)
    if found.unbounded_bytes is None or source.whole is None or len(tree.blocks) == len(source.tree.blocks):
        return found
    whole = _plan_of(source.whole(1), source, aliases, machine)         # what is done again is so within a block
    return min(whole, found, key=lambda plan: plan.arena_bytes)


def _plan_of(tree: Tree, source: Source, aliases: tuple[Aliases, ...], machine: Machine) -> ProgramPlan:
    bound = BoundTree(tree, source.binding)
    slots, ends = storage_of_ends(bound.known_inputs, bound.outputs(), aliases)
    return schedule_tree(bound, slots, ends, machine)
