"""Program: blocks of straight-line tensor code, joined by branches, switches and jumps; a loop is a back edge.

    program newton {
      block0(%0: f32[], %1: f32[]):
        %2 = mul %1, %1 : f32[]             @ root.py:7
        %3 = gt %2, %0 : bool[]             @ root.py:7
        branch %3 -> block1(%0, %1), exit1  @ root.py:7
      block1(%0: f32[], %1: f32[]):
        return %1
    }

1. Block 0 is the entry; its inputs are the inputs of the program.
2. Values are local to their block and numbered densely there, inputs first. What a later block needs is passed
   to its inputs, and the types of arguments are exactly the types of the inputs they become.
3. Symbols in types belong to the whole program; the inputs of block 0 bind them.
4. Exits are numbered from 1. Exit 0 is where a checked op leaves that refuses the values of its operands.
5. The number of an integer in a switch is the integer; that of a floating-point value are its bits, unsigned, so -0.0
   and each NaN have one of their own.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import field

import numpy as np

from codegen.ir.graph import Graph, Node
from codegen.ir.structs import struct
from codegen.ir.types import FLOATS, INTEGERS, TensorType


@struct
class Goto:
    """Go on at the start of block `block`, whose inputs are the values `args`."""

    block: int
    args: tuple[int, ...]


@struct
class Exit:
    """Leave the program here: nothing was returned."""

    number: int


SWITCHED = INTEGERS | FLOATS
"""The dtypes of values that a switch takes."""


def case_number(value: np.ndarray | np.generic) -> int:
    """The number that a 0-d value of a dtype in SWITCHED has in a switch."""
    bits = value if value.dtype.kind in "iu" else value.view(f"u{value.dtype.itemsize}")
    return int(bits)


Target = Goto | Exit

CHECK_FAILED = Exit(0)
"""Where a checked op leaves."""


@struct
class Return:
    """The program is done and these are its outputs."""

    values: tuple[int, ...]
    line: str | None = field(default=None, compare=False)


@struct
class Branch:
    """Two ways, by a value of type bool[]."""

    predicate: int
    then: Target
    else_: Target
    line: str | None = field(default=None, compare=False)


@struct
class Switch:
    """The first case whose number is that of a 0-d value (see case_number), else `default`."""

    value: int
    cases: tuple[tuple[int, Target], ...]
    default: Target
    line: str | None = field(default=None, compare=False)


@struct
class Jump:
    """One way."""

    target: Target
    line: str | None = field(default=None, compare=False)


Terminator = Return | Branch | Switch | Jump


@struct
class Block:
    """Inputs by type, nodes in order, and where control goes after them."""

    inputs: tuple[TensorType, ...]
    nodes: tuple[Node, ...]
    terminator: Terminator

    def type_of(self, value: int) -> TensorType:
        """The type of value `value`."""
        k = len(self.inputs)
        return self.inputs[value] if value < k else self.nodes[value - k].type


@struct
class Program:
    """Blocks; the first is the entry."""

    name: str
    blocks: tuple[Block, ...]

    @property
    def inputs(self) -> tuple[TensorType, ...]:
        """The types of what a run is given."""
        return self.blocks[0].inputs


def program_of(graph: Graph) -> Program:
    """The program of one block that computes and returns the outputs of `graph`."""
    return Program(graph.name, (Block(graph.inputs, graph.nodes, Return(graph.outputs)),))


def graph_of(block: Block, name: str) -> Graph:
    """The graph of a block: its outputs are the values its terminator reads, each once, in order of first use."""
    return Graph(name, block.inputs, block.nodes, tuple(dict.fromkeys(values_read(block.terminator))))


def joins_of(program: Program) -> tuple[int, ...]:
    """The blocks that keep a program from being a tree, in which one way leads to each block but the first."""
    ways = Counter(t.block for block in program.blocks for t in targets_of(block.terminator) if isinstance(t, Goto))
    return tuple(k for k in range(len(program.blocks)) if ways[k] != (k > 0))


def targets_of(terminator: Terminator) -> tuple[Target, ...]:
    """Where control can go, in order."""
    match terminator:
        case Return():
            return ()
        case Branch(_, then, else_):
            return then, else_
        case Switch(_, cases, default):
            return *(target for _, target in cases), default
        case Jump(target):
            return (target,)


def values_read(terminator: Terminator) -> tuple[int, ...]:
    """The values a terminator reads, in order, repetitions included."""
    passed = tuple(v for t in targets_of(terminator) if isinstance(t, Goto) for v in t.args)
    match terminator:
        case Return(values):
            return values
        case Branch(predicate):
            return predicate, *passed
        case Switch(value):
            return value, *passed
        case Jump():
            return passed
