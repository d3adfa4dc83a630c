"""planning: Source -> ProgramPlan, for a machine: what targets that work by plans begin with."""
from __future__ import annotations

from codegen.executable import Aliases, storage_of_ends
from codegen.ir.tree import Tree
from codegen.optimize.blockwise import is_large_product
from codegen.schedule.blocks import BoundTree, schedule_tree
from codegen.schedule.machine import Machine, nowhere
from codegen.schedule.plan import ProgramPlan
from codegen.source import Source


def plan_of(source: Source, aliases: tuple[Aliases, ...], machine: Machine) -> ProgramPlan:
    """What running a source takes on a machine.

    What is large is computed in parts, for want of room; not where a machine that attends needs none for it.
    """
    if machine.at_once and source.whole is not None:
        found = _plan_of(source.whole(True), source, aliases, machine)
        if machine.attends is nowhere or not any(is_large_product(n) for b in source.tree.blocks for n in b.nodes):
            return found
        return min(_plan_of(source.whole(False), source, aliases, machine), found, key=lambda plan: plan.arena_bytes)
    tree = source.optimized()
    found = _plan_of(tree, source, aliases, machine)
    if found.unbounded_bytes is None or source.whole is None or len(tree.blocks) == len(source.tree.blocks):
        return found
    whole = _plan_of(source.whole(True), source, aliases, machine)      # what is done again is so within a block
    return min(whole, found, key=lambda plan: plan.arena_bytes)


def _plan_of(tree: Tree, source: Source, aliases: tuple[Aliases, ...], machine: Machine) -> ProgramPlan:
    bound = BoundTree(tree, source.binding)
    slots, ends = storage_of_ends(bound.known_inputs, bound.outputs(), aliases)
    return schedule_tree(bound, slots, ends, machine)
