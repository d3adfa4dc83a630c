"""whole_lines: what large products of halves read lies in rows of whole 16 bytes, which are moved at once.

    %4 = exp %3 : bf16[8192,50257]                      %4 = pad (exp %3) high=[0,7] : bf16[8192,50264]
    %5 = cast %2 : bf16[50257,768]                ->    %5 = pad (cast %2) high=[7,0] : bf16[50264,768]
    %6 = matmul %4, %5 : bf16[8192,768]                 %6 = matmul %4, %5 : bf16[8192,768]

1. Of what is computed: nothing is copied for it. What is added is 0, and what is made of that is read by nothing.
2. All that reads a matrix which is stored so reads it there.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.ir.dims import Size
from codegen.ir.graph import Attr, Graph, Node, attrs_of
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.structs import struct
from codegen.ir.types import TensorType
from codegen.schedule.half_products import HALVES

LINE = 8
"""Halves of 16 bytes."""

LONG, WIDE = 1024, 128
"""Rows from so many elements on grow by less than a hundredth; products by so many others take longer than moving them.
"""

_Way = tuple[int, int]
"""A matrix, and an axis along which it is made longer."""


@struct
class _Side:
    """An operand: the matrix that is stored, the names of its axes there, the last one's neighbors being neighbors in
    memory, and those that are made longer."""

    value: int
    axes: tuple[str, str]
    longer: frozenset[int] = frozenset()


def with_whole_lines(graph: Graph) -> Graph:
    """The graph with such products of matrices that are padded."""
    products = _products(graph)
    if not products:
        return graph
    ways: dict[int, set[frozenset[int]]] = {}                   # of matrices that are padded, along which axes
    for side in (side for sides in products.values() for side in sides if side.longer):
        ways.setdefault(side.value, set()).add(side.longer)
    first = len(graph.inputs)
    nodes: list[Node] = []
    new = list(range(first))                                    # the number of each value
    padded: dict[tuple[int, frozenset[int]], int] = {}

    def add(op: str, args: tuple[int, ...], attrs: tuple[tuple[str, Attr], ...], type: TensorType, like: Node) -> int:
        nodes.append(Node(op, args, attrs, type, like.line))
        return first + len(nodes) - 1

    def part(x: int, like: Node) -> int:
        n = like.type.ndim
        return add("slice", (x,), (("start", (0,) * n), ("stop", like.type.shape), ("step", (1,) * n)), like.type, like)

    def operand(side: _Side, arg: int, node: Node) -> int:
        """What a product reads: rows and columns are the axes m and k, or k and n, in this order."""
        if not side.longer:
            return new[arg]
        x = padded[side.value, side.longer]
        if side.axes in (("m", "k"), ("k", "n")):
            return x
        type = nodes[x - first].type
        return add("transpose", (x,), (("axes", (1, 0)),), TensorType(type.dtype, type.shape[::-1]), node)

    for v, node in enumerate(graph.nodes, first):
        if v in products:
            args = tuple(operand(side, arg, node) for side, arg in zip(products[v], node.args))
            (m, _), (_, n) = ((nodes[x - first].type if x >= first else graph.inputs[x]).shape for x in args)
            whole = TensorType(node.type.dtype, (m, n))
            x = add(node.op, args, node.attrs, whole, node)
            new.append(x if whole == node.type else part(x, node))
            continue
        new.append(add(node.op, tuple(new[a] for a in node.args), node.attrs, node.type, node))
        own = sorted(ways.get(v, ()), key=sorted)
        for longer in own:
            more = tuple(-n % LINE if k in longer and isinstance(n, int) else 0 for k, n in enumerate(node.type.shape))
            type = TensorType(node.type.dtype, tuple(n + k for n, k in zip(node.type.shape, more)))
            attrs = (("low", (0, 0)), ("high", more), ("interior", (0, 0)))
            padded[v, longer] = add("pad", (new[v],), attrs, type, node)
        if len(own) == 1:
            new[v] = part(padded[v, own[0]], node)
    return Graph(graph.name, graph.inputs, tuple(nodes), tuple(new[v] for v in graph.outputs))


def _products(graph: Graph) -> dict[int, tuple[_Side, _Side]]:
    """The products that there is something to be made longer of: rows of an operand, and whatever goes with them."""
    returned = set(graph.outputs)
    for v, node in reversed([*enumerate(graph.nodes, len(graph.inputs))]):
        if v in returned and _is_renamed(graph, node):
            returned |= set(node.args)
    products = {v: node for v, node in enumerate(graph.nodes, len(graph.inputs))
                if node.op == "matmul" and node.type.dtype in HALVES and node.type.ndim == 2}
    kept: set[_Way] = set()                                     # what one product cannot read longer, for all
    while True:
        longer: set[_Way] = set()
        for _ in range(2):                                      # what is longer for one product is for others
            sides = {v: _longer(graph, v, node, longer, kept, returned) for v, node in products.items()}
            longer |= {(side.value, k) for both in sides.values() for side in both for k in side.longer}
        refused = {(side.value, k) for both in sides.values() for side in both for k in (0, 1)
                   if (side.value, k) in longer and k not in side.longer}
        if not refused:
            return {v: both for v, both in sides.items() if any(side.longer for side in both)}
        kept |= refused


def _longer(graph: Graph, v: int, node: Node, longer: set[_Way], kept: set[_Way], returned: set[int]
            ) -> tuple[_Side, _Side]:
    """The operands of a product; `longer`: what is so for others; `kept`: what is for none."""
    a, b = node.args
    sides = _stored(graph, a, ("m", "k")), _stored(graph, b, ("k", "n"))
    sizes = dict(zip("mkn", (*graph.type_of(a).shape, node.type.shape[1])))

    def is_longer(name: str) -> bool:
        own = [(side.value, side.axes.index(name)) for side in sides if name in side.axes]
        wanted = any(k == 1 or (u, k) in longer for u, k in own)
        return wanted and _is_worth_it(name, sizes) and (name == "k" or v not in returned) and all(
            (u, k) not in kept and _can_be_longer(graph, u, returned) for u, k in own)

    names = {name for name in sizes if is_longer(name)}
    left, right = (replace(side, longer=frozenset(k for k, name in enumerate(side.axes) if name in names))
                   for side in sides)
    return left, right


def _stored(graph: Graph, v: int, axes: tuple[str, str]) -> _Side:
    """The matrix that is read as this one."""
    while (node := graph.node_of(v)) is not None and _is_renamed(graph, node):
        v, axes = node.args[0], axes[::-1] if node.op == "transpose" else axes
    return _Side(v, axes)


def _is_renamed(graph: Graph, node: Node) -> bool:
    """Is it its operand, under another name or transposed?"""
    return node.type.ndim == 2 and (node.op == "transpose" and attrs_of(node)["axes"] == (1, 0)
                                    or node.op == "reshape" and graph.type_of(node.args[0]).shape == node.type.shape)


def _is_worth_it(name: str, sizes: dict[str, Size]) -> bool:
    """Are there rows so long that are no whole lines, and so many others?"""
    size = sizes[name]
    return isinstance(size, int) and size >= LONG and size % LINE != 0 and all(
        isinstance(other, int) and other >= WIDE for other in sizes.values())


def _can_be_longer(graph: Graph, v: int, returned: set[int]) -> bool:
    node = graph.node_of(v)
    return node is not None and ELEMENTWISE in OPS[node.op].traits and v not in returned
