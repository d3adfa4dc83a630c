"""operand_casts: an operand of a product is cast as it lies in memory, and turned by the product that reads it.

    %2 = transpose %0 axes=[1,0] : f32[768,50257]           %2 = cast %0 dtype=bf16 : bf16[50257,768]
    %3 = cast %2 dtype=bf16 : bf16[768,50257]         ->    %3 = transpose %2 axes=[1,0] : bf16[768,50257]
    %4 = matmul %1, %3                                      %4 = matmul %1, %3

The cast goes through memory once, in order; and rows stay as long as they are, which those of a vocabulary's table are
in whole lines, while its columns are not.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.ir.graph import Graph, Node, attrs_of
from codegen.ir.types import TensorType


def with_casts_in_place(graph: Graph) -> Graph:
    """The graph with transposes of what products read after its casts, not before them. Equal casts are one."""
    read = _read_by_products(graph) - set(graph.outputs)
    first = len(graph.inputs)
    turned = {v: node for v in read if v >= first and (node := _turned(graph, graph.nodes[v - first])) is not None}
    if not turned:
        return graph
    nodes: list[Node] = []
    new = list(range(first))                            # the number of each value
    casts: dict[Node, int] = {}

    def add(node: Node) -> int:
        if node in casts:
            return casts[node]
        nodes.append(node)
        number = first + len(nodes) - 1
        return casts.setdefault(node, number) if node.op == "cast" else number

    for v, node in enumerate(graph.nodes, first):
        if v in turned:
            x = turned[v].args[0]
            type = TensorType(node.type.dtype, graph.type_of(x).shape)
            cast = add(Node("cast", (new[x],), node.attrs, type, node.line))
            new.append(add(Node("transpose", (cast,), turned[v].attrs, node.type, node.line)))
        else:
            new.append(add(replace(node, args=tuple(new[a] for a in node.args))))
    return Graph(graph.name, graph.inputs, tuple(nodes), tuple(new[v] for v in graph.outputs))


def _turned(graph: Graph, cast: Node) -> Node | None:
    """What is cast, if it is matrices transposed."""
    node = graph.node_of(cast.args[0]) if cast.op == "cast" else None
    if node is None or node.op != "transpose":
        return None
    n = node.type.ndim
    return node if attrs_of(node)["axes"] == (*range(n - 2), n - 1, n - 2) else None


def _read_by_products(graph: Graph) -> set[int]:
    """Operands of products, and what those are renamed or transposed from."""
    found: set[int] = set()
    for v, node in reversed([*enumerate(graph.nodes, len(graph.inputs))]):
        same = node.op == "transpose" or node.op == "reshape" and graph.type_of(node.args[0]).shape == node.type.shape
        if node.op == "matmul" or v in found and same:
            found |= set(node.args)
    return found
