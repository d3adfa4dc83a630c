"""prune: nodes that nothing reads go (dead code elimination).

    %1 = exp %0             %1 = log %0
    %2 = log %0      ->     return %1
    return %2

A checked op stays even if nothing reads it: that it refuses its operands can be seen.
"""
from __future__ import annotations

from codegen.ir.graph import Graph, Node
from codegen.ir.ops import CHECKED, OPS

_CHECKED = frozenset(op.name for op in OPS.values() if CHECKED in op.traits)


def prune(graph: Graph) -> Graph:
    """`graph` without the nodes that neither reach an output nor can refuse their operands."""
    first = len(graph.inputs)
    live = bytearray(first + len(graph.nodes))
    for v in graph.outputs:
        live[v] = 1
    for value in range(len(live) - 1, first - 1, -1):
        node = graph.nodes[value - first]
        if live[value] or node.op in _CHECKED:
            live[value] = 1
            for v in node.args:
                live[v] = 1
    if all(live[first:]):
        return graph
    new = list(range(first))
    nodes: list[Node] = []
    for value, node in enumerate(graph.nodes, first):
        new.append(first + len(nodes))
        if live[value]:
            args = tuple([new[v] for v in node.args])
            nodes.append(node if args == node.args else Node(node.op, args, node.attrs, node.type, node.line))
    return Graph(graph.name, graph.inputs, tuple(nodes), tuple(new[v] for v in graph.outputs))
