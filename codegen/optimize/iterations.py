"""iterations: a block that does the same over and over is cut where it starts anew, so that every turn is a block.

    block0: %3 = matmul %1, %0            block0: %3 = matmul %1, %0 ; %4 = tanh %3 ; jump
            %4 = tanh %3                  block1: %5 = matmul %4, %0 ; %6 = tanh %5 ; jump
            %5 = matmul %4, %0      ->    block2: %7 = exp %6 ; return %7
            %6 = tanh %5
            %7 = exp %6

Blocks that do the same share a plan and kernels, so a loop that Python has unrolled is compiled for one turn, and one
more turn compiles nothing.

1. A turn is cut off only where it has an op that kernels are not fused across, else one kernel for several is better;
   and where it reads an array that the turn before read too: what shares none are layers, not turns of a loop.
2. Where turns begin follows from what is before them, not from how many there are.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.program import Branch, Exit, Goto, Jump, Return, Switch, Target, Terminator
from codegen.ir.tree import Tree, TreeBlock
from codegen.ir.types import TensorType

SHORTEST = 4
"""Nodes of the shortest turn that is worth a block."""

FUSED = frozenset({"constant", "iota", "random_bits", "broadcast", "reshape", "transpose", "slice", "flip", "pad",
                   "shear", "unshear", "detach", "sum", "prod", "max", "min", "gather"})
"""Ops beside the elementwise ones that kernels are fused across."""


def cut_at_iterations(tree: Tree) -> Tree:
    """The same tree, with a block for each turn of what is repeated."""
    types = tree.types()
    parts = [_parts(block, types) for block in tree.blocks]
    if all(len(bounds) == 2 for bounds in parts):
        return tree
    first_of = [0, *accumulate(len(bounds) - 1 for bounds in parts)]
    blocks: list[TreeBlock] = []
    for block, bounds in zip(tree.blocks, parts):
        for start, stop in zip(bounds, bounds[1:]):
            last = stop == len(block.nodes)
            terminator = _renumbered(block.terminator, first_of) if last else Jump(Goto(len(blocks) + 1, ()))
            blocks.append(TreeBlock(block.first + start, block.nodes[start:stop], terminator))
    return Tree(tree.name, tree.inputs, tuple(blocks))


def _parts(block: TreeBlock, types: Mapping[int, TensorType]) -> list[int]:
    """Where the parts begin, and the end."""
    nodes = block.nodes
    numbers: dict[object, int] = {}
    keys = [numbers.setdefault((node.op, node.attrs, node.type), len(numbers)) for node in nodes]
    divides = [not (ELEMENTWISE in OPS[node.op].traits or node.op in FUSED) for node in nodes]
    cuts: set[int] = set()
    at = 0
    while at < len(nodes):
        length, turns = _turns(keys, divides, at)
        if turns > 1 and _share_an_array(block, at, length, types):
            cuts.update(range(at, at + length * turns + 1, length))
        at += max(1, length * turns)
    return [0, *sorted(cuts - {0, len(nodes)}), len(nodes)]


def _turns(keys: Sequence[int], divides: Sequence[bool], at: int) -> tuple[int, int]:
    """How long a turn is that begins here, and how many follow each other; none if it is not repeated at once."""
    length = SHORTEST
    while at + 2 * length <= len(keys):
        try:
            length = keys.index(keys[at], at + length) - at
        except ValueError:
            break
        turn = keys[at:at + length]
        if any(divides[at:at + length]) and turn == keys[at + length:at + 2 * length]:
            turns = 2
            while turn == keys[at + turns * length:at + (turns + 1) * length]:
                turns += 1
            return length, turns
        length += 1
    return 0, 0


def _share_an_array(block: TreeBlock, at: int, length: int, types: Mapping[int, TensorType]) -> bool:
    """Do the turn that begins here and the next read the same array from before?"""
    turn, following = block.nodes[at:at + length], block.nodes[at + length:at + 2 * length]
    return any(a == b and a < block.first + at and types[a].ndim > 0
               for one, other in zip(turn, following) for a, b in zip(one.args, other.args))


def _renumbered(terminator: Terminator, first_of: Sequence[int]) -> Terminator:
    def target(old: Target) -> Target:
        return old if isinstance(old, Exit) else Goto(first_of[old.block], old.args)

    match terminator:
        case Return():
            return terminator
        case Branch(predicate, then, else_, line):
            return Branch(predicate, target(then), target(else_), line)
        case Switch(value, cases, default, line):
            return Switch(value, tuple((number, target(t)) for number, t in cases), target(default), line)
        case Jump(only, line):
            return Jump(target(only), line)
