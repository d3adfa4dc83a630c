"""turned: what reductions would read along two axes at once, and what is therefore computed before them, in tiles.

    %1 = transpose %0 axes=[1,0]
    %2 = add %0, %1                  reads rows of %0, and columns
    %3 = sum %2 axis=[1]             %2 is stored: its kernel goes in tiles, those that reduce go along rows

1. Only movement and elementwise ops are looked through: what else is read lies in memory, its last axis innermost.
2. What is repeated, and so small, does not count.
"""
from __future__ import annotations

from codegen.ir.dims import typical
from codegen.ir.graph import Node, attrs_of
from codegen.schedule.forms import Form, StaticGraph

FEWEST = 1 << 14
"""Points from which on storing and loading takes less than loads lane by lane. Sums of x + x.T take 0.8 of the time
from here on, 0.15 of 1 M elements, 0.11 of 16 M; their softmax 1.0, 0.14 and 0.09."""


def turned(graph: StaticGraph) -> frozenset[int]:
    """The values that reductions read and that are computed from elements in two orders."""
    reduced = {graph.same_storage(node.args[0]) for v, node in graph.nodes() if graph.forms[v] is Form.REDUCE}
    found: set[int] = set()
    ways: list[frozenset[bool]] = [frozenset({False})] * graph.first        # along its last axis, or (True) another?
    for v, node in graph.nodes():
        whole = [ways[a] for a in node.args if typical(graph.sizes[a]) >= typical(graph.sizes[v])]
        match graph.forms[v]:
            case Form.LIGHT:
                here = frozenset().union(*whole)
                if v in reduced and len(here) > 1 and typical(graph.sizes[v]) >= FEWEST:
                    found.add(v)
                    here = frozenset({False})
            case Form.MOVE:
                here = frozenset(way != _turns(graph, node) for way in frozenset().union(*whole[:1]))
            case _:
                here = frozenset({False})
        ways.append(here)
    return frozenset(found)


def _turns(graph: StaticGraph, node: Node) -> bool:
    """Does a movement make another axis the last one?"""
    if node.op != "transpose":
        return False
    shape = graph.shapes[node.args[0]]
    last = max((k for k, size in enumerate(shape) if size != 1), default=0)
    return next((k for k in reversed(attrs_of(node)["axes"]) if shape[k] != 1), last) != last
