"""iterations: a block that does the same over and over is cut where it starts anew, so that every turn is a block.

    block0: %3 = matmul %1, %0            block0: %3 = matmul %1, %0 ; %4 = tanh %3 ; jump
            %4 = tanh %3                  block1: %5 = matmul %4, %0 ; %6 = tanh %5 ; jump
            %5 = matmul %4, %0      ->    block2: %7 = exp %6 ; return %7
            %6 = tanh %5
            %7 = exp %6

Blocks that do the same share a plan and kernels, so a loop that Python has unrolled is compiled for one turn, and one
more turn compiles nothing.

1. A turn is a run of nodes that is alike the run after it: ops, attrs and types, node by node.
2. Turns are told from equal layers by what they share: a dear op (a product, a reduction, ...) reads, through views,
   the same array each time. Turns without dear ops are better done in one kernel, and stay in it, unless they are long,
   go on from the one before, and each reads another array that came into the block: a longer sequence has more of them.
   They go on if what one hands to the next was made from what the one before handed to it: halves of two updates of
   different parameters, taken together, hand something on, but it is new each time.
3. Where turns begin follows from what is before them, not from how many there are.
4. What a dear op computes in every turn from the same operands is computed in the first.
5. A block with products whose results are large stays whole: what is computed of them in parts, and again for
   derivatives, is what one block reads and makes (see blockwise).
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from codegen.ir.graph import Node
from codegen.ir.ops import CREATION, ELEMENTWISE, MOVEMENT, OPS
from codegen.ir.program import Exit, Goto, Jump, Target
from codegen.ir.tree import Tree, TreeBlock, with_args, with_targets
from codegen.optimize.blockwise import is_large_product

SEEN_THROUGH = frozenset(name for name, op in OPS.items() if MOVEMENT in op.traits) | {"detach", "cast"}
"""Ops whose result is their operand in another form."""

MOST_READS = 8
"""So often may a turn read what tells it from others in ops that are alike."""

LONG = 8
"""The least nodes of a turn without dear ops."""


def cut_at_iterations(tree: Tree) -> Tree:
    """The same tree, with a block for each turn of what is repeated."""
    roots = _roots(tree)
    cuts = [[] if any(map(is_large_product, block.nodes)) else _cuts(block, roots) for block in tree.blocks]
    if not any(cuts):
        return tree
    first_of = [0, *accumulate(1 + len(found) for found in cuts)]

    def moved(target: Target) -> Target:
        return target if isinstance(target, Exit) else Goto(first_of[target.block], target.args)

    blocks: list[TreeBlock] = []
    for block, found in zip(tree.blocks, cuts):
        nodes = _sharing(block) if found else block.nodes
        for start, stop in pairwise((0, *found, len(nodes))):
            terminator = with_targets(block.terminator, moved)
            if stop < len(nodes):
                terminator = Jump(Goto(len(blocks) + 1, ()), nodes[stop - 1].line)
            blocks.append(TreeBlock(block.first + start, nodes[start:stop], terminator))
    return replace(tree, blocks=tuple(blocks))


def _sharing(block: TreeBlock) -> tuple[Node, ...]:
    """The nodes, which read the first of equal results of dear ops instead of the later ones."""
    same: dict[int, int] = {}                       # values that are equal to an earlier one
    shared: dict[int, int] = {}                     # those that dear ops make
    known: dict[Hashable, int] = {}
    nodes: list[Node] = []
    for value, node in enumerate(block.nodes, block.first):
        key = node.op, node.attrs, tuple([same.get(v, v) for v in node.args])
        same[value] = known.setdefault(key, value)
        if is_dear(node) and same[value] != value:
            shared[value] = same[value]
        nodes.append(with_args(node, [shared.get(v, v) for v in node.args]))
    return tuple(nodes)


def _roots(tree: Tree) -> dict[int, int]:
    """For each value that is no constant what it is another form of; itself if it is of none."""
    found = {v: v for v, type in enumerate(tree.inputs) if type.shape}
    for number in tree.preorder():
        block = tree.blocks[number]
        for value, node in enumerate(block.nodes, block.first):
            if node.op in SEEN_THROUGH and node.args[0] in found:
                found[value] = found[node.args[0]]
            elif node.op not in SEEN_THROUGH and node.type.shape and CREATION not in OPS[node.op].traits:
                found[value] = value
    return found


def _cuts(block: TreeBlock, roots: Mapping[int, int]) -> tuple[int, ...]:
    """Where in the block's nodes turns begin and end."""
    numbers: dict[Hashable, int] = {}
    kinds = [numbers.setdefault((node.op, node.type, None if node.op == "constant" else node.attrs), len(numbers))
             for node in block.nodes]
    cuts: list[int] = []
    done = 0                                        # up to here turns have been found
    refused: dict[int, int] = {}                    # up to here there are none of this period without dear ops
    for at, period, shared in _reads_again(block, kinds, roots):
        if at < done or shared is None and at < refused.get(period, 0):
            continue
        start, stop = at, at
        while stop + period < len(kinds) and kinds[stop] == kinds[stop + period]:
            stop += 1
        while start > done and kinds[start - 1] == kinds[start - 1 + period]:
            start -= 1
        count = (stop + period - start) // period
        if count > 1 and _is_loop(block, roots, start, period, shared):
            cuts += [start + k * period for k in range(count + 1)]
            done = cuts[-1]
        elif shared is None:
            refused[period] = stop
    return tuple(c for c in dict.fromkeys(cuts) if 0 < c < len(kinds))


def _reads_again(block: TreeBlock, kinds: Sequence[int], roots: Mapping[int, int]) -> list[tuple[int, int, int | None]]:
    """(where, how much later again, what): a dear op reads the same array, a cheap one another that came into the block
    (then what is None); in order.
    """
    readers: defaultdict[tuple[int, int, int | None], list[int]] = defaultdict(list)
    for at, node in enumerate(block.nodes):
        for k, v in enumerate(node.args):
            if v in roots:
                if is_dear(node):
                    readers[kinds[at], k, roots[v]].append(at)
                elif ELEMENTWISE in OPS[node.op].traits and roots[v] < block.first:
                    readers[kinds[at], k, None].append(at)
    found = [(at, later - at, root) for (_, _, root), places in readers.items() for k, at in enumerate(places)
             for later in places[k + 1:k + 1 + MOST_READS] if root is not None or later - at >= LONG]
    return sorted(found, key=lambda read: read[:2])


def _is_loop(block: TreeBlock, roots: Mapping[int, int], start: int, period: int, shared: int | None) -> bool:
    """See invariant 2: for the runs of nodes from `start` on, in which `shared` is read if it is not None."""
    if shared is not None:
        return shared < block.first + start
    turns = block.nodes[start:start + period], block.nodes[start + period:start + 2 * period]
    if any(map(is_dear, turns[0])):
        return False
    own = range(block.first + start, block.first + start + period)
    handed = {v for node in turns[1] for v in node.args if roots.get(v) in own}
    made_from: set[int] = set(own)
    for value, node in enumerate(turns[1], own.stop):
        if not made_from.isdisjoint(node.args):
            made_from.add(value)
    goes_on = any(v + period in made_from for v in handed)
    came_in = [{roots[v] for node in nodes for v in node.args if roots.get(v, block.first) < block.first}
               for nodes in turns]
    return goes_on and bool(came_in[1] - came_in[0])


def is_dear(node: Node) -> bool:
    """Is it more than arithmetic on elements, views and constants?"""
    return node.op != "concat" and not OPS[node.op].traits & {ELEMENTWISE, MOVEMENT, CREATION}
