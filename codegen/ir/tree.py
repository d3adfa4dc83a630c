"""Tree: a Program that is a tree, its values numbered across blocks, so that nothing has to be passed.

    block0(%0: f32[]):                            input %0
      %1 = exp %0 : f32[]                         block 0:  %1 = exp %0
      branch %.. -> block1(%1, %0), exit1    ->             branch %.. -> block1, exit1
    block1(%0: f32[], %1: f32[]):                 block 1:  %3 = add %1, %0
      %2 = add %0, %1 : f32[]                               return %3
      return %2

1. The inputs of the program are 0..k-1. A block reads values of its own and of the blocks on the way to it.
2. Blocks have the numbers they have in the program; a block makes the values from `first` on.
3. `closed` passes to a block what it, or one that comes later, reads, in the order in which that is first read.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from codegen.ir.graph import Graph, Node
from codegen.ir.program import (
    Block,
    Branch,
    Exit,
    Goto,
    Jump,
    Program,
    Return,
    Switch,
    Target,
    Terminator,
    targets_of,
    values_read,
)
from codegen.ir.structs import struct
from codegen.ir.types import TensorType

Anywhere = TypeVar("Anywhere", bound=Terminator)


@struct
class TreeBlock:
    """Nodes that make the values `first`, first + 1 ..; a terminator whose Gotos pass nothing."""

    first: int
    nodes: tuple[Node, ...]
    terminator: Terminator

    @property
    def successors(self) -> tuple[int, ...]:
        """The blocks to which control can go, in order."""
        return tuple(t.block for t in targets_of(self.terminator) if isinstance(t, Goto))


@struct
class Tree:
    """Inputs by type, and blocks; the first is the root."""

    name: str
    inputs: tuple[TensorType, ...]
    blocks: tuple[TreeBlock, ...]

    def preorder(self) -> Iterator[int]:
        """Every block after the one that leads to it, and right after that where it is the first way."""
        pending = [0]
        while pending:
            number = pending.pop()
            yield number
            pending += reversed(self.blocks[number].successors)

    def types(self) -> dict[int, TensorType]:
        """The type of each value."""
        found = dict(enumerate(self.inputs))
        for block in self.blocks:
            found.update(enumerate([node.type for node in block.nodes], block.first))
        return found

    def ends(self) -> dict[int, tuple[int, ...]]:
        """The blocks that return, in order of their numbers, and the values they return."""
        return {k: b.terminator.values for k, b in enumerate(self.blocks) if isinstance(b.terminator, Return)}


class TreeBuilder:
    """Writes the blocks of a tree in preorder, each a run of nodes on values that are there already."""

    def __init__(self, like: Tree):
        self.like = like
        self.types: list[TensorType] = list(like.inputs)
        self.blocks: dict[int, TreeBlock] = {}
        self._nodes: list[Node] = []

    def add(self, node: Node) -> int:
        """The value of a node at the end of the block that is being written."""
        self._nodes.append(node)
        self.types.append(node.type)
        return len(self.types) - 1

    def end(self, number: int, terminator: Terminator) -> None:
        """Let the nodes since the last end be block `number`, with this terminator."""
        self.blocks[number] = TreeBlock(len(self.types) - len(self._nodes), tuple(self._nodes), terminator)
        self._nodes = []

    def tree(self) -> Tree:
        """The tree, once every block is written."""
        return Tree(self.like.name, self.like.inputs, tuple(self.blocks[k] for k in range(len(self.like.blocks))))


def opened(program: Program) -> Tree:
    """The tree of a program that is one."""
    first = len(program.inputs)
    blocks: dict[int, TreeBlock] = {}
    pending = [(0, tuple(range(first)))]
    while pending:
        number, values = pending.pop()
        block = program.blocks[number]
        value_of = [*values, *range(first, first + len(block.nodes))]
        nodes = block.nodes if not number else tuple([with_args(node, [value_of[v] for v in node.args])
                                                      for node in block.nodes])
        blocks[number] = TreeBlock(first, nodes, with_values(block.terminator, value_of))
        pending += reversed([(t.block, tuple(value_of[v] for v in t.args)) for t in targets_of(block.terminator)
                             if isinstance(t, Goto)])
        first += len(nodes)
    return Tree(program.name, program.inputs, tuple(blocks[k] for k in range(len(program.blocks))))


def closed(tree: Tree) -> Program:
    """The program of a tree."""
    types = tree.types()
    order = tuple(tree.preorder())
    passed: dict[int, tuple[int, ...]] = {}
    for number in reversed(order):
        block = tree.blocks[number]
        later = (v for k in block.successors for v in passed[k])
        passed[number] = tuple(foreign(block, (*values_read(block.terminator), *later)))
    passed[0] = tuple(range(len(tree.inputs)))
    blocks: dict[int, Block] = {}
    for number in order:
        block = tree.blocks[number]
        at = {v: k for k, v in enumerate((*passed[number], *range(block.first, block.first + len(block.nodes))))}
        nodes = tuple([with_args(node, [at[v] for v in node.args]) for node in block.nodes])
        arguments = {k: tuple(at[v] for v in passed[k]) for k in block.successors}
        blocks[number] = Block(tuple(types[v] for v in passed[number]), nodes,
                               with_values(block.terminator, at, arguments))
    return Program(tree.name, tuple(blocks[k] for k in range(len(tree.blocks))))


def foreign(block: TreeBlock, reads: Iterable[int]) -> list[int]:
    """The values that the nodes of a block read, and then `reads`, but that it does not make; each once."""
    made = range(block.first, block.first + len(block.nodes))
    return [v for v in dict.fromkeys(chain(*[node.args for node in block.nodes], reads)) if v not in made]


def graph_of(tree: Tree, types: Mapping[int, TensorType], number: int, outputs: Sequence[int]
             ) -> tuple[Graph, tuple[int, ...]]:
    """What block `number` computes as a Graph that returns `outputs`, and the values that are its inputs.

    They are what its nodes and the outputs read, in that order, so that equal blocks have equal graphs; a tree of one
    block has its own inputs.
    """
    block = tree.blocks[number]
    inputs = tuple(range(len(tree.inputs))) if len(tree.blocks) == 1 else tuple(foreign(block, outputs))
    at = {v: k for k, v in enumerate((*inputs, *range(block.first, block.first + len(block.nodes))))}
    nodes = tuple([with_args(node, [at[v] for v in node.args]) for node in block.nodes])
    return Graph("block", tuple(types[v] for v in inputs), nodes, tuple(at[v] for v in outputs)), inputs


def with_args(node: Node, args: Sequence[int]) -> Node:
    """The node on other operands."""
    new = tuple(args)
    return node if new == node.args else Node(node.op, new, node.attrs, node.type, node.line)


def with_values(terminator: Terminator, value_of: Sequence[int] | Mapping[int, int],
                arguments: Mapping[int, tuple[int, ...]] | None = None) -> Terminator:
    """The terminator on other values, passing `arguments` to blocks by number."""
    def passing(old: Target) -> Target:
        return old if isinstance(old, Exit) else Goto(old.block, arguments[old.block] if arguments else ())

    match terminator:
        case Return(values, line):
            return Return(tuple([value_of[v] for v in values]), line)
        case Branch(predicate):
            return replace(with_targets(terminator, passing), predicate=value_of[predicate])
        case Switch(value):
            return replace(with_targets(terminator, passing), value=value_of[value])
        case Jump():
            return with_targets(terminator, passing)


def with_targets(terminator: Anywhere, to: Callable[[Target], Target]) -> Anywhere:
    """The terminator that leads where `to` says instead."""
    match terminator:
        case Branch(_, then, else_):
            return replace(terminator, then=to(then), else_=to(else_))
        case Switch(_, cases, default):
            return replace(terminator, cases=tuple((number, to(t)) for number, t in cases), default=to(default))
        case Jump(only):
            return replace(terminator, target=to(only))
        case _:
            return terminator
