"""turn: a product that is read only transposed is computed transposed.

    %2 = transpose %0 axes=[1,0]            %2 = transpose %1 axes=[1,0]
    %3 = matmul %2, %1               ->     %3 = matmul %2, %0
    %4 = transpose %3 axes=[1,0]            return %3
    return %4

The transposes of the operands cost nothing: a target reads a matrix that lies transposed as easily. (The gradient of a
weight that is stored as [out, in] is such a product.) The same numbers are multiplied and added, in an order that is
the product's own affair.
"""
from __future__ import annotations

from codegen.ir.graph import Graph, Node, attrs_of
from codegen.optimize.movement import MOVEMENT
from codegen.optimize.rewrite import Rewriter


def turn(graph: Graph) -> Graph:
    """`graph` with every matmul whose readers all transpose its last two axes turned around."""
    first = len(graph.inputs)
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for v in node.args:
            readers.setdefault(v, []).append(node)
    turned = {
        v for v, node in enumerate(graph.nodes, first)
        if node.op == "matmul" and v in readers and v not in graph.outputs and all(map(_swaps, readers[v]))}
    if not turned:
        return graph
    rewriter = Rewriter(graph.inputs, {"transpose": MOVEMENT["transpose"]})
    new = list(range(first))
    for v, node in enumerate(graph.nodes, first):
        rewriter.line = node.line
        args = tuple([new[a] for a in node.args])
        if v in turned:
            a, b = args
            new.append(rewriter.emit("matmul", _swapped(rewriter, b), _swapped(rewriter, a)))
        elif node.op == "transpose" and node.args[0] in turned:
            new.append(args[0])
        else:
            new.append(rewriter.add(Node(node.op, args, node.attrs, node.type, node.line)))
    nodes = tuple(rewriter.nodes[first:])
    return Graph(graph.name, graph.inputs, nodes, tuple(new[v] for v in graph.outputs))  # type: ignore[arg-type]


def _swaps(node: Node) -> bool:
    if node.op != "transpose":
        return False
    n = node.type.ndim
    return attrs_of(node)["axes"] == (*range(n - 2), n - 1, n - 2)


def _swapped(rewriter: Rewriter, value: int) -> int:
    n = rewriter.types[value].ndim
    return rewriter.emit("transpose", value, axes=(*range(n - 2), n - 1, n - 2))
