"""Hypothesis strategies: random Programs that are trees, made from a random Graph cut into blocks.

Its inputs are those of the graph, then a bool[] and an i32[]: deciders look at these, or at what a block makes of them.
"""
from __future__ import annotations

from collections.abc import Callable

from graph_strategies import graphs
from hypothesis import strategies as st

from codegen.ir.graph import Graph, Node
from codegen.ir.ops import OPS
from codegen.ir.program import Branch, Exit, Goto, Jump, Program, Return, Switch, Target, Terminator
from codegen.ir.tree import Tree, TreeBlock, closed, with_args
from codegen.ir.types import TensorType

NUMBERS = tuple(range(-1, 3))
"""What the i32[] is tried with; switches have cases for some."""


@st.composite
def trees(draw, **options: object) -> Program:
    """A program that is a tree; `options` are those of `graphs`."""
    return _Writer(draw, draw(graphs(**options))).program()         # type: ignore[arg-type]


class _Writer:
    """Blocks being written: those of the graph one after the other, the last with its outputs, and ways aside."""

    def __init__(self, draw: Callable, graph: Graph):
        self.draw, self.graph = draw, graph
        self.flag, self.number = len(graph.inputs), len(graph.inputs) + 1
        self.types = [*graph.inputs, TensorType("bool"), TensorType("i32")]
        self.inputs = tuple(self.types)
        self.values = list(range(len(graph.inputs)))                # of the graph, in the tree
        self.blocks: dict[int, TreeBlock] = {}
        self.count = 1
        self.nodes: list[Node] = []

    def program(self) -> Program:
        self.block(0, self.draw(st.integers(1, 4)), 0)
        return closed(Tree("random", self.inputs, tuple(self.blocks[k] for k in range(self.count))))

    def add(self, op: str, *args: int, **attrs: object) -> int:
        type = OPS[op].type_rule(*(self.types[v] for v in args), **attrs)
        self.nodes.append(Node(op, args, tuple(attrs.items()), type))       # type: ignore[arg-type]
        self.types.append(type)
        return len(self.types) - 1

    def end(self, number: int, terminator: Terminator) -> None:
        self.blocks[number] = TreeBlock(len(self.types) - len(self.nodes), tuple(self.nodes), terminator)
        self.nodes = []

    def block(self, number: int, left: int, done: int) -> None:
        """Write the block, and those after it, `left` of them along the graph, whose first `done` nodes are written."""
        nodes = self.graph.nodes[done:]
        count = len(nodes) if left == 1 else self.draw(st.integers(0, len(nodes)))
        for node in nodes[:count]:
            self.nodes.append(with_args(node, [self.values[v] for v in node.args]))
            self.types.append(node.type)
            self.values.append(len(self.types) - 1)
        if left == 1:
            self.end(number, Return(tuple(self.values[v] for v in self.graph.outputs)))
            return
        aside: list[int] = []
        seen = tuple(self.values)
        kind = self.draw(st.sampled_from(["jump", "branch", "branch", "switch"]))
        following = Goto(self.new_block(), ())
        if kind == "jump":
            self.end(number, Jump(following))
        elif kind == "branch":
            predicate = self.add("not", self.flag) if self.draw(st.booleans()) else self.flag
            targets = self.draw(st.permutations([following, self.way_aside(aside)]))
            self.end(number, Branch(predicate, *targets))
        else:
            value = self.add("add", self.number, self.number) if self.draw(st.booleans()) else self.number
            chosen = self.draw(st.permutations(NUMBERS))[:self.draw(st.integers(0, 3))]
            cases = tuple((n, self.way_aside(aside)) for n in chosen)
            self.end(number, Switch(value, cases, following))
        self.block(following.block, left - 1, done + count)
        for other in aside:
            self.end_aside(other, seen)

    def new_block(self) -> int:
        self.count += 1
        return self.count - 1

    def way_aside(self, blocks: list[int]) -> Target:
        """An exit, or a block of its own."""
        if self.draw(st.booleans()):
            return Exit(self.draw(st.integers(1, 3)))
        blocks.append(self.new_block())
        return Goto(blocks[-1], ())

    def end_aside(self, number: int, seen: tuple[int, ...]) -> None:
        """Write a block that returns some of the values on the way to it, what it makes of one, and that once more."""
        there = (*seen, self.flag, self.number)
        chosen = self.draw(st.lists(st.sampled_from(there), max_size=3))
        x = self.draw(st.sampled_from(there))
        made = self.add("where", self.flag, x, x)
        again = [made, made] if self.draw(st.booleans()) else [made]
        self.end(number, Return((*chosen, *again)))
