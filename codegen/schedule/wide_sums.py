"""wide_sums: what is added to elements of few bits that an index picks is added up in a wider dtype, and rounded once.

    %3 = scatter_add %0, %1, %2 : bf16[50257,768]         %3 = cast %0 dtype=f32
                                                          %4 = cast %2 dtype=f32
                                                    ->    %5 = scatter_add %3, %1, %4 : f32[50257,768]
                                                          %6 = cast %5 dtype=bf16

1. For a machine that adds up in any order, by atomic additions: these are of 32 bits and more.
2. A sum of integers that wraps is the same. One of halves is nearer to the sum of the numbers than the reference's,
   which is rounded after each addition, and apart from it by at most what those are: half a unit in the last place of
   what the sum is then, each.
"""
from __future__ import annotations

from codegen.ir.graph import Graph, Node, attrs_of
from codegen.ir.types import TensorType

_WIDE = {"f16": "f32", "bf16": "f32", "i8": "i32", "i16": "i32", "u8": "u32", "u16": "u32"}


def with_wide_sums(graph: Graph) -> Graph:
    """The graph with its scatter_adds in dtypes that there are atomic additions of."""
    if not any(_is_narrow(graph, node) for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    new = list(range(len(graph.inputs)))                # the number of each value

    def add(node: Node) -> int:
        nodes.append(node)
        return len(graph.inputs) + len(nodes) - 1

    def cast(v: int, dtype: str, node: Node, type: TensorType) -> int:
        return add(Node("cast", (v,), (("dtype", dtype),), TensorType(dtype, type.shape), node.line))

    for node in graph.nodes:
        args = tuple(new[a] for a in node.args)
        if not _is_narrow(graph, node):
            new.append(add(Node(node.op, args, node.attrs, node.type, node.line)))
            continue
        x, indices, updates = args
        wide = _WIDE[node.type.dtype]
        args = cast(x, wide, node, node.type), indices, cast(updates, wide, node, graph.type_of(node.args[2]))
        total = add(Node(node.op, args, node.attrs, TensorType(wide, node.type.shape), node.line))
        new.append(cast(total, node.type.dtype, node, node.type))
    return Graph(graph.name, graph.inputs, tuple(nodes), tuple(new[v] for v in graph.outputs))


def _is_narrow(graph: Graph, node: Node) -> bool:
    """Is it a scatter_add of few bits? One update for each line is no sum, but a choice at every point."""
    if node.op != "scatter_add" or node.type.dtype not in _WIDE:
        return False
    return graph.type_of(node.args[1]).shape[attrs_of(node)["axis"]] != 1
