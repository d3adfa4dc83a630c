"""Graph: a straight-line tensor program in functional SSA. No aliasing, no mutation.

    graph step(%0: f32[b,128], %1: f32[128]) {
      %2 = mul %0, %1 : f32[b,128]                 @ model.py:42
      %3 = max %2 axis=[0] keepdims=false : f32[128]   @ model.py:43
      return %2, %3
    }

1. Value ids are dense: the inputs are 0..k-1, node j makes value k+j.
2. An operand's id is smaller than that of the node that uses it.
3. A node's type is what the type rule of its op gives; `verify` checks it.
4. Source lines are carried along and never compared, so they are no part of a graph's identity.
"""
from __future__ import annotations

from dataclasses import field
from typing import Any

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.ir.types import TensorType

Attr = int | bool | str | tuple[Size, ...]


@struct
class Node:
    """One op applied to values; `attrs` in the order of the op's row."""

    op: str
    args: tuple[int, ...]
    attrs: tuple[tuple[str, Attr], ...]
    type: TensorType
    line: str | None = field(default=None, compare=False)


def attrs_of(node: Node) -> dict[str, Any]:
    """The attrs of a node by name; what each is, the op's row says."""
    return dict(node.attrs)


@struct
class Graph:
    """Inputs by type, nodes in order, outputs by value id."""

    name: str
    inputs: tuple[TensorType, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    def type_of(self, value: int) -> TensorType:
        """The type of value `value`."""
        k = len(self.inputs)
        return self.inputs[value] if value < k else self.nodes[value - k].type

    def node_of(self, value: int) -> Node | None:
        """The node that makes value `value`, None for an input."""
        k = len(self.inputs)
        return None if value < k else self.nodes[value - k]
