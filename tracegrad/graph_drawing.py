"""A graph, drawn: each operation just above what first uses it, constants inside.

    %0   %1            A value that is used further down goes there in a lane of its own, beside what lies between.
      %2    |          Layers are ordered, and places chosen, by the mean place of what is above, of what is below,
      %3    |          and of what is above again.
        %4

1. Nothing overlaps: within a layer, everything keeps its distance.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from math import inf

from codegen.ir.graph import Graph, Node, attrs_of
from tracegrad.drawings import Drawing, cut, width_of

MOST_DRAWN = 120        # operations; a larger drawing tells nothing
HEIGHT, DOWN = 39, 66   # of a box, and from layer to layer
GAP = 16
LANE = 4
MOST = 26               # characters in a box

Spot = tuple[int, int]
"""A value in a layer: in its own it is drawn there, in a later one it passes."""


def draw_graph(graph: Graph, inputs: Sequence[str], asked: Collection[int] = ()) -> str | None:
    """The SVG of a graph whose inputs have these names, and of which Python `asked` for values; None for one that is
    too large to be looked at."""
    if len(graph.nodes) > MOST_DRAWN:
        return None
    depth = _depths(graph)
    edges = _edges(graph, depth)
    texts = {v: _text(graph, v, inputs) for v in depth}
    widths = {(v, k): LANE if k > depth[v] else width_of(*texts[v]) for v, k in (*depth.items(), *chain(*edges))}
    at = _placed(_layers(widths), edges, widths)
    drawing = Drawing()
    for (v, k), x in at.items():
        middle = x + widths[v, k] / 2
        if depth[v] == k:
            drawing.box(x, k * DOWN, *texts[v], kind=_kind(graph, v, asked), title=_title(graph, v, inputs))
        else:
            drawing.down((middle, k * DOWN), (middle, k * DOWN + HEIGHT))
    for above, below in edges:
        drawing.down((at[above] + widths[above] / 2, above[1] * DOWN + HEIGHT),
                     (at[below] + widths[below] / 2, below[1] * DOWN))
    return drawing.svg(f"the graph {graph.name}")


def _depths(graph: Graph) -> dict[int, int]:
    """The layer of each value that is drawn: just above its first use, else the longest way to it from an input."""
    depth: dict[int, int] = {}
    for v in range(len(graph.inputs) + len(graph.nodes)):
        if _constant(graph, v) is None:
            depth[v] = 1 + max((depth[a] for a in _operands(graph, v)), default=-1)
    first_use: dict[int, int] = {}
    for v in reversed(depth):
        depth[v] = first_use.get(v, depth[v] + 1) - 1
        for a in _operands(graph, v):
            first_use[a] = min(first_use.get(a, depth[v]), depth[v])
    return depth


def _edges(graph: Graph, depth: Mapping[int, int]) -> list[tuple[Spot, Spot]]:
    """From each value to each use of it, layer by layer; uses of one value share the lane it goes down."""
    found: dict[tuple[Spot, Spot], None] = {}
    for v in depth:
        for a in _operands(graph, v):
            for k in range(depth[a], depth[v]):
                found[(a, k), (v, depth[v]) if k + 1 == depth[v] else (a, k + 1)] = None
    return list(found)


def _layers(spots: Collection[Spot]) -> list[list[Spot]]:
    layers: defaultdict[int, list[Spot]] = defaultdict(list)
    for spot in sorted(spots):
        layers[spot[1]].append(spot)
    return [layers[k] for k in sorted(layers)]


def _placed(layers: list[list[Spot]], edges: Sequence[tuple[Spot, Spot]],
            widths: Mapping[Spot, float]) -> dict[Spot, float]:
    """The left end of every spot."""
    above: defaultdict[Spot, list[Spot]] = defaultdict(list)
    below: defaultdict[Spot, list[Spot]] = defaultdict(list)
    for high, low in edges:
        above[low].append(high)
        below[high].append(low)
    middle: dict[Spot, float] = {}
    for k, neighbors in enumerate((above, below, above, below, above)):
        for layer in layers if neighbors is above else reversed(layers):
            wished = {spot: _mean([middle[n] for n in neighbors[spot] if n in middle], middle.get(spot, inf))
                      for spot in layer}
            if k < 3:                           # after that the order stays
                layer.sort(key=lambda spot: wished[spot])
            middle |= _apart(layer, wished, widths)
    least = min((middle[spot] - widths[spot] / 2 for spot in middle), default=0.0)
    return {spot: x - widths[spot] / 2 - least for spot, x in middle.items()}


def _mean(numbers: Sequence[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise


def _apart(layer: Sequence[Spot], wished: Mapping[Spot, float], widths: Mapping[Spot, float]) -> dict[Spot, float]:
    """Middles in this order, near where they are wished: halfway between pushing all to the right and to the left."""
    known = [w for w in wished.values() if w != inf]
    center = _mean(known, 0.0)
    targets = [wished[spot] if wished[spot] != inf else max(known, default=center) for spot in layer]
    distances = [(widths[a] + widths[b]) / 2 + GAP for a, b in zip(layer, layer[1:])]
    right, left = list(targets), list(targets)
    for k, distance in enumerate(distances):
        right[k + 1] = max(right[k + 1], right[k] + distance)
    for k in reversed(range(len(distances))):
        left[k] = min(left[k], left[k + 1] - distances[k])
    return {spot: (r + s) / 2 for spot, r, s in zip(layer, right, left)}


def _constant(graph: Graph, value: int) -> Node | None:
    node = graph.node_of(value)
    return node if node is not None and node.op == "constant" and value not in graph.outputs else None


def _operands(graph: Graph, value: int) -> list[int]:
    node = graph.node_of(value)
    return [] if node is None else [a for a in node.args if _constant(graph, a) is None]


def _text(graph: Graph, value: int, inputs: Sequence[str]) -> tuple[str, str]:
    node = graph.node_of(value)
    if node is None:
        return cut(inputs[value], MOST), str(graph.inputs[value])
    constants = [str(attrs_of(c)["value"]) for a in node.args if (c := _constant(graph, a)) is not None]
    return cut(f"%{value} {' '.join([node.op, *constants])}", MOST), str(node.type)


def _title(graph: Graph, value: int, inputs: Sequence[str]) -> str:
    node = graph.node_of(value)
    if node is None:
        return f"%{value}: {inputs[value]}"
    attrs = "".join(f" {name}={given}" for name, given in node.attrs)
    read = ", ".join(f"%{a}" for a in node.args)
    return f"%{value} = {node.op} {read}{attrs} : {node.type}" + (f" @ {node.line}" if node.line else "")


def _kind(graph: Graph, value: int, asked: Collection[int]) -> str:
    kind = "question" if value in asked else "input" if graph.node_of(value) is None else "op"
    return f"{kind} output" if value in graph.outputs else kind
