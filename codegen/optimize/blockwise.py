"""blockwise: what is large between two products is computed a part at a time, and never all there.

    %3 = matmul %0, %1   : f32[8,4096,4096]       %3 = slice %0 [0:1]; %4 = slice %1 [0:1]; %5 = slice %2 [0:1]
    %4 = exp %3                              ->   %6 = matmul %3, %4; %7 = exp %6; %8 = matmul %7, %5; the same of [1:2]
    %5 = matmul %4, %2   : f32[8,4096,64]         %9 = concat %8, ..

So attention needs room for the scores of one head, or of some rows of one.

1. Parts are those of the first axis that has more than one element: there results are computed where they belong.
2. What lies between depends on no other part, and nothing but the second product reads it.
3. Only what fits no cache is computed so: by the bytes of what would be stored.
"""
from __future__ import annotations

from math import prod

from codegen.ir.graph import Graph, Node, attrs_of
from codegen.ir.ops import ELEMENTWISE, OPS, REDUCTION
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, TensorType, is_static
from codegen.optimize.movement import MOVEMENT
from codegen.optimize.rewrite import Rewriter

LARGE_BYTES = 1 << 25
"""What the first product makes is stored as it is if it has fewer: the last cache holds it, or nearly."""

PART_BYTES = 1 << 23
"""About the bytes of a part."""

MOST_PARTS, LEAST_ROWS, MOST_VALUES = 16, 64, 32
"""Each part has as many nodes as there are values in between; fewer rows would arrange the other operand too often."""


@struct
class _Region:
    """What is computed part by part for the product `last`: values by the axis that is cut, and where it is cut."""

    last: int
    axis_of: dict[int, int]
    cuts: tuple[tuple[int, int], ...]


def blockwise(graph: Graph) -> Graph:
    """The graph with all such regions computed part by part."""
    regions = _regions(graph)
    if not regions:
        return graph
    rewriter = Rewriter(graph.inputs, MOVEMENT)
    new = list(range(len(graph.inputs)))
    for value, node in enumerate(graph.nodes, len(new)):
        rewriter.line = node.line
        if value in regions:
            new.append(_in_parts(graph, rewriter, new, regions[value]))
        else:                                       # of a region this is read by nobody any more
            args = tuple([new[v] for v in node.args])
            new.append(rewriter.add(Node(node.op, args, node.attrs, node.type, node.line)))
    nodes = tuple(node for node in rewriter.nodes[len(graph.inputs):] if node is not None)
    return Graph(graph.name, graph.inputs, nodes, tuple(new[v] for v in graph.outputs))


def _regions(graph: Graph) -> dict[int, _Region]:
    """The regions by their last product; none has a value of another."""
    first = len(graph.inputs)
    large = [v for v, node in enumerate(graph.nodes, first) if node.op == "matmul" and _bytes(node.type) >= LARGE_BYTES]
    if not large:
        return {}
    readers: dict[int, set[int]] = {}
    for value, node in enumerate(graph.nodes, first):
        for v in node.args:
            readers.setdefault(v, set()).add(value)
    for v in graph.outputs:
        readers.setdefault(v, set()).add(-1)
    found: dict[int, _Region] = {}
    taken: set[int] = set()
    for value, node in enumerate(graph.nodes, first):
        if node.op == "matmul" and node.args[0] >= large[0] and is_static(node.type):
            region = _region(graph, value, node, readers, large)
            if region is not None and taken.isdisjoint({value, *region.axis_of}):
                found[value] = region
                taken |= {value, *region.axis_of}
    return found


def _region(graph: Graph, last: int, node: Node, readers: dict[int, set[int]], large: list[int]) -> _Region | None:
    """What the first operand of product `last` is made of by parts, if a large product is among that."""
    axis = next((k for k, n in enumerate(node.type.shape[:-1]) if n != 1), None)
    if axis is None:
        return None
    axis_of: dict[int, int] = {}
    wanted = {node.args[0]: axis}
    for value in range(node.args[0], min(large) - 1, -1):
        made = graph.node_of(value)
        if value not in wanted or made is None or not readers[value] <= {last, *axis_of}:
            continue
        operands = _operands(graph, made, wanted[value])
        if operands is not None:
            axis_of[value] = wanted[value]
            wanted |= {} if made.op == "matmul" else operands
    products = [v for v in large if v in axis_of]
    if not products or len(axis_of) > MOST_VALUES or not all(
            _takes_parts(graph, v, k, axis_of) for v, k in (*axis_of.items(), (last, axis))):
        return None
    size = node.type.shape[axis]
    assert isinstance(size, int)
    rows = LEAST_ROWS if axis == node.type.ndim - 2 else 1
    parts = min(MOST_PARTS, size // rows, -(-max(_bytes(graph.type_of(v)) for v in products) // PART_BYTES))
    if parts < 2:
        return None
    step = -(-size // parts)
    return _Region(last, axis_of, tuple((k, min(k + step, size)) for k in range(0, size, step)))


def _takes_parts(graph: Graph, value: int, axis: int, axis_of: dict[int, int]) -> bool:
    """Is a part of the value made of the same part of each of its operands that is computed in parts?"""
    node = graph.node_of(value)
    assert node is not None
    operands = _operands(graph, node, axis)
    return operands is not None and all(operands.get(v) == axis_of[v] for v in node.args if v in axis_of)


def _operands(graph: Graph, node: Node, axis: int) -> dict[int, int] | None:
    """The operands of which a part of a value needs the same part only, and their axis; None if there is another."""
    attrs = attrs_of(node)
    found: dict[int, int] = {}
    if node.op == "matmul":
        a, b = node.args
        if axis < node.type.ndim - 2:
            return {a: axis, b: axis}
        return {a: axis} if a != b else None                # of b all is needed
    if REDUCTION in OPS[node.op].traits and "keepdims" in attrs:
        operand, = node.args
        reduced = sorted(attrs["axis"])
        if not attrs["keepdims"]:
            for k in reduced:
                axis += k <= axis
        return None if axis in reduced else {operand: axis}
    if ELEMENTWISE not in OPS[node.op].traits and not _keeps_before(graph, node, axis):
        return None
    for v in node.args:
        own = axis if node.op == "reshape" else axis - (node.type.ndim - graph.type_of(v).ndim)
        if own >= 0 and graph.type_of(v).shape[own] != 1 and found.setdefault(v, own) != own:
            return None
    return found


def _keeps_before(graph: Graph, node: Node, axis: int) -> bool:
    """Is it a broadcast, or a reshape that leaves the axes up to this one as they are?"""
    operand = graph.type_of(node.args[0]).shape if node.args else ()
    return node.op == "broadcast" or node.op == "reshape" and operand[:axis + 1] == node.type.shape[:axis + 1]


def _in_parts(graph: Graph, rewriter: Rewriter, new: list[int], region: _Region) -> int:
    """The value of the last product."""
    node = graph.node_of(region.last)
    assert node is not None
    axis = next(k for k, n in enumerate(node.type.shape) if n != 1)
    result: int | None = None
    for start, stop in region.cuts:
        done: dict[int, int] = {}

        def cut(v: int, k: int, start: int = start, stop: int = stop) -> int:
            shape = rewriter.types[new[v]].shape
            low, high = [0] * len(shape), list(shape)
            low[k], high[k] = start, stop
            return rewriter.emit("slice", new[v], start=tuple(low), stop=tuple(high), step=(1,) * len(shape))

        def part(node: Node, k: int, done: dict[int, int] = done, start: int = start, stop: int = stop) -> int:
            own = _operands(graph, node, k) or {}
            args = [done[v] if v in done else cut(v, own[v]) if v in own else new[v] for v in node.args]
            attrs = attrs_of(node)
            if node.op in ("broadcast", "reshape"):
                shape = [*attrs["shape"]]
                shape[k] = stop - start
                attrs["shape"] = tuple(shape)
            return rewriter.emit(node.op, *args, **attrs)

        for v in sorted(region.axis_of):
            made = graph.node_of(v)
            assert made is not None
            done[v] = part(made, region.axis_of[v])
        product = part(node, axis)
        result = product if result is None else rewriter.emit("concat", result, product, axis=axis)
    assert result is not None
    return result


def _bytes(type: TensorType) -> int:
    sizes = [n for n in type.shape if isinstance(n, int)]
    return prod(sizes) * DTYPES[type.dtype].itemsize if len(sizes) == type.ndim else 0
