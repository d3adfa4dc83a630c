"""A graph, drawn: inputs on top, each operation below what it reads; constants are written where they are used."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf

from codegen.ir.graph import Graph, Node, attrs_of
from tracegrad.drawings import Box, Drawing, cut, width_of

MOST_DRAWN = 120        # operations; a larger drawing tells nothing
DOWN = 66               # from layer to layer
FAR = 2                 # edges over more layers are faint
GAP = 16
MOST = 26               # characters in a box


def draw_graph(graph: Graph, inputs: Sequence[str], asked: Collection[int] = ()) -> str | None:
    """The SVG of a graph whose inputs have these names, and of which Python `asked` for values; None for one that is
    too large to be looked at."""
    if len(graph.nodes) > MOST_DRAWN:
        return None
    layers = _ordered(graph, _layers(graph))
    texts = {v: _text(graph, v, inputs) for layer in layers for v in layer}
    widths = {v: width_of(*lines) for v, lines in texts.items()}
    whole = max((sum(widths[v] + GAP for v in layer) for layer in layers), default=0)
    drawing, places = Drawing(), dict[int, Box]()
    for k, layer in enumerate(layers):
        x = (whole - sum(widths[v] + GAP for v in layer)) / 2
        for v in layer:
            places[v] = drawing.box(x, k * DOWN, *texts[v], kind=_kind(graph, v, asked), title=_title(graph, v, inputs))
            x += widths[v] + GAP
    for v, place in places.items():
        for a in dict.fromkeys(_operands(graph, v)):
            far = place.y - places[a].y > FAR * DOWN
            drawing.down(places[a].bottom, place.top, kind="edge far" if far else "edge")
    return drawing.svg(f"the graph {graph.name}")


def _constant(graph: Graph, value: int) -> Node | None:
    node = graph.node_of(value)
    return node if node is not None and node.op == "constant" and value not in graph.outputs else None


def _operands(graph: Graph, value: int) -> list[int]:
    node = graph.node_of(value)
    return [] if node is None else [a for a in node.args if _constant(graph, a) is None]


def _layers(graph: Graph) -> list[list[int]]:
    """Values by the longest way to them from an input; inputs just above what first uses them."""
    inputs = range(len(graph.inputs))
    depth = dict.fromkeys(inputs, 0)
    first_use: dict[int, int] = {}
    for v in range(len(inputs), len(inputs) + len(graph.nodes)):
        if _constant(graph, v) is None:
            read = _operands(graph, v)
            depth[v] = 1 + max((depth[a] for a in read), default=-1)
            for a in read:
                first_use[a] = min(first_use.get(a, depth[v]), depth[v])
    depth |= {v: first_use[v] - 1 for v in inputs if v in first_use}
    layers: list[list[int]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for v, k in depth.items():
        layers[k].append(v)
    return layers


def _ordered(graph: Graph, layers: list[list[int]]) -> list[list[int]]:
    """Within each layer, by the mean place of what is read; inputs to the right."""
    place: dict[int, float] = {}
    ordered = []
    for layer in layers:
        means = {v: sum(place[a] for a in read) / len(read) if (read := _operands(graph, v)) else inf for v in layer}
        ordered.append(sorted(layer, key=lambda v: means[v]))
        place |= {v: (k + 0.5) / len(layer) for k, v in enumerate(ordered[-1])}
    return ordered


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
