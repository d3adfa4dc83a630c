"""cpu_numbers: results that a program gives back to the CPU and that follow from a few numbers which are there.

    counter of a generator, on the CPU:   counter := counter + 2048        is also computed by the CPU, from its inputs

So nobody waits for the GPU to hand over what the CPU can say itself. The program computes it too: it may need it.

1. Only numbers, of arrays of no axes, by few operations, none of which can refuse its operands.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codegen.ir.graph import Graph, Node
from codegen.ir.interpret import interpret
from codegen.ir.ops import CHECKED, OPS
from codegen.ir.structs import struct
from codegen.ir.tree import Tree, with_args

MOST_NODES = 32


@struct(eq=False)
class CpuNumber:
    """What computes one number from inputs of the program, by their places."""

    inputs: tuple[int, ...]
    graph: Graph

    def value(self, arrays: Sequence[Any]) -> np.ndarray:
        """The number, from the arrays of a run."""
        found = interpret(self.graph, [arrays[k] for k in self.inputs])
        assert isinstance(found, list)
        return found[0]


def cpu_numbers(tree: Tree, ends: Sequence[Sequence[int]]) -> dict[tuple[int, int], CpuNumber]:
    """Those of a tree whose ends put their outputs in these places, by (end, place of an input)."""
    nodes = {v: node for block in tree.blocks for v, node in enumerate(block.nodes, block.first)}
    found: dict[tuple[int, int], CpuNumber] = {}
    for end, (values, places) in enumerate(zip(tree.ends().values(), ends, strict=True)):
        for value, place in zip(values, places, strict=True):
            if place < len(tree.inputs) and (number := _number(tree, nodes, value)) is not None:
                found[end, place] = number
    return found


def _number(tree: Tree, nodes: dict[int, Node], value: int) -> CpuNumber | None:
    needed: set[int] = set()
    pending = [value]
    while pending:
        v = pending.pop()
        if v in needed:
            continue
        needed.add(v)
        node = nodes.get(v)
        type = tree.inputs[v] if node is None else node.type
        if type.shape or len(needed) > MOST_NODES or node is not None and CHECKED in OPS[node.op].traits:
            return None
        pending += () if node is None else node.args
    inputs = tuple(sorted(v for v in needed if v not in nodes))
    made = sorted(needed & nodes.keys())
    at = {v: k for k, v in enumerate((*inputs, *made))}
    return CpuNumber(inputs, Graph("number", tuple(tree.inputs[v] for v in inputs),
                                   tuple(with_args(nodes[v], [at[a] for a in nodes[v].args]) for v in made),
                                   (at[value],)))
