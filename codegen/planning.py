"""planning: Source -> ProgramPlan, for a machine: what targets that work by plans begin with."""
from __future__ import annotations

from codegen.executable import Aliases, storage_of_ends
from codegen.ir.tree import Tree
from codegen.schedule.blocks import BoundTree, schedule_tree
from codegen.schedule.machine import Machine
from codegen.schedule.plan import ProgramPlan
from codegen.source import Source


def plan_of(source: Source, aliases: tuple[Aliases, ...], machine: Machine) -> ProgramPlan:
    """What running a source takes on a machine."""
    tree = source.whole() if machine.at_once and source.whole is not None else source.optimized()
    found = _plan_of(tree, source, aliases, machine)
    if found.unbounded_bytes is None or source.whole is None or len(tree.blocks) == len(source.tree.blocks):
        return found
    whole = _plan_of(source.whole(), source, aliases, machine)      # what is done again is so within a block
    return min(whole, found, key=lambda plan: plan.arena_bytes)


def _plan_of(tree: Tree, source: Source, aliases: tuple[Aliases, ...], machine: Machine) -> ProgramPlan:
    bound = BoundTree(tree, source.binding)
    slots, ends = storage_of_ends(bound.known_inputs, bound.outputs(), aliases)
    return schedule_tree(bound, slots, ends, machine)
