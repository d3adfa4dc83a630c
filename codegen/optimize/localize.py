"""localize: what is cheap to make again is made in each block that needs it, and not passed there.

    block0(%0: f32[2,3]):                            block0(%0: f32[2,3]):
      %1 = constant value=2.0 dtype=f32 : f32[]        jump -> block1(%0)
      %2 = transpose %0 axes=[1,0] : f32[3,2]        block1(%0: f32[2,3]):
      jump -> block1(%1, %2)                   ->      %1 = constant value=2.0 dtype=f32 : f32[]
    block1(%0: f32[], %1: f32[3,2]):                   %2 = transpose %0 axes=[1,0] : f32[3,2]
      %2 = mul %1, %0 : f32[3,2]                       %3 = mul %2, %1 : f32[3,2]

So blocks fold constants and read through views as a straight line would, and blocks that do the same are equal.

1. Constants are cheap, and views of what is an input of the program or was computed in the same block.
2. A view of a view that came from an earlier block is not: else blocks that do the same would differ, by ever more.
3. What many cheap nodes lead to, one after the other, is not cheap either.
"""
from __future__ import annotations

from codegen.ir.graph import Node
from codegen.ir.ops import CREATION, ELEMENTWISE, OPS
from codegen.ir.program import values_read
from codegen.ir.tree import Tree, TreeBuilder, with_args, with_values

VIEWS = frozenset({"broadcast", "reshape", "transpose", "slice", "flip", "shear"})
"""Ops that are no more than another index into their operand."""

DEEPEST = 16
"""So many nodes, one after the other, are cheap to do again."""


def localize(tree: Tree) -> Tree:
    """The same tree, its cheap values made in the blocks that read them."""
    return _Localizer(tree).run()


class _Localizer:
    """Blocks being written. `nodes`: the cheap values by number, in the new tree, and what makes them."""

    def __init__(self, tree: Tree):
        self.tree, self.builder = tree, TreeBuilder(tree)
        self.inputs = range(len(tree.inputs))
        self.new = {v: v for v in self.inputs}
        self.nodes: dict[int, Node] = {}
        self.depths: dict[int, int] = {}
        self.constants: set[int] = set()
        self.first = 0                              # the first value of the block that is being written
        self.copies: dict[int, int] = {}            # in this block, by what they are copies of

    def run(self) -> Tree:
        for number in self.tree.preorder():
            block = self.tree.blocks[number]
            self.first, self.copies = len(self.builder.types), {}
            for value, node in enumerate(block.nodes, block.first):
                self.new[value] = self.add(with_args(node, [self.here(self.new[v]) for v in node.args]))
            read = {v: self.here(self.new[v]) for v in values_read(block.terminator)}
            self.builder.end(number, with_values(block.terminator, read))
        return self.builder.tree()

    def here(self, value: int) -> int:
        """The value as this block reads it: a copy of its own where it comes from an earlier one and is cheap."""
        if value in self.copies:
            return self.copies[value]
        if value >= self.first or value not in self.nodes:
            return value
        node = self.nodes[value]
        copy = self.builder.add(with_args(node, [self.here(v) for v in node.args]))
        if value in self.constants:
            self.constants.add(copy)
        self.copies[value] = copy
        return copy

    def add(self, node: Node) -> int:
        """The value of a node of this block."""
        value = self.builder.add(node)
        depth = 1 + max([self.depths.get(v, 0) for v in node.args], default=0)
        if depth <= DEEPEST and self._is_cheap(value, node):
            self.nodes[value], self.depths[value] = node, depth
        return value

    def _is_cheap(self, value: int, node: Node) -> bool:
        """Is it a constant, which is noted, or a view of what invariant 1 names?"""
        view = node.op in VIEWS
        if CREATION in OPS[node.op].traits or (view or self._is_number(node)) and self.constants.issuperset(node.args):
            self.constants.add(value)
            return True
        return view and (node.args[0] in self.inputs
                         or node.args[0] >= self.first and node.args[0] not in self.copies.values())

    def _is_number(self, node: Node) -> bool:
        return not node.type.shape and ELEMENTWISE in OPS[node.op].traits
