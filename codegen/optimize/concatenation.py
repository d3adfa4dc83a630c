"""Rules of concat: what is taken of one, sums that are one, and sums of products that are one product.

    %2 = pad %0 low=[0] high=[32]        %2 = add %0, 0.0                   the gradient of what was taken apart
    %3 = pad %1 low=[32] high=[0]   ->   %3 = add %1, 0.0
    %4 = add %2, %3                      %4 = concat %2, %3 axis=0

    %4 = matmul %0, %1                   %4 = concat %0, %2 axis=1          the gradient of a matrix used twice
    %5 = matmul %2, %3              ->   %5 = concat %1, %3 axis=0
    %6 = add %4, %5                      %6 = matmul %4, %5

Only along an axis before which there is nothing but axes of size 1: there the operands of a concat are computed in its
storage (see schedule.joining), so that it costs nothing.
"""
from __future__ import annotations

from codegen.ir.dims import element_count
from codegen.ir.graph import Graph, Node, attrs_of
from codegen.optimize.movement import MOVEMENT
from codegen.optimize.rewrite import Rewriter, Rules, merged, rewrite
from codegen.optimize.zeros import plus_zero


def _slice_of_concat(rewriter: Rewriter, node: Node) -> int | None:
    """slice(concat(x, y)) -> slice(x) or slice(y), where it is of that alone"""
    v, = node.args
    concat = rewriter.nodes[v]
    if concat is None or concat.op != "concat" or 0 in node.type.shape:
        return None
    axis = attrs_of(concat)["axis"]
    size = rewriter.types[concat.args[0]].shape[axis]
    cut = attrs_of(node)
    start, stop = cut["start"][axis], cut["stop"][axis]
    if not all(isinstance(n, int) for n in (size, start, stop)):
        return None
    if stop <= size:
        return rewriter.emit("slice", concat.args[0], **cut)
    if start < size:
        return None
    moved = {name: (*cut[name][:axis], cut[name][axis] - size, *cut[name][axis + 1:]) for name in ("start", "stop")}
    return rewriter.emit("slice", concat.args[1], **moved, step=cut["step"])


def _sum_of_pads(rewriter: Rewriter, node: Node) -> int | None:
    """add(pad(x), pad(y)) -> concat(x + 0, y + 0), padded if that is still needed, where one begins as the other ends

    What is added to 0 is no -0.0 afterwards, so that much stays of the sum.
    """
    one, other = (_placed(rewriter, v) for v in node.args)
    if one is None or other is None or one[1] != other[1]:
        return None
    (x, axis, low, high), (y, _, other_low, other_high) = one, other
    size = node.type.shape[axis]
    if other_low == size - high:
        parts, low, high = (x, y), low, other_high
    elif low == size - other_high:
        parts, low, high = (y, x), other_low, high
    else:
        return None
    joined = rewriter.emit("concat", *(plus_zero(rewriter, v) for v in parts), axis=axis)
    zeros = (0,) * node.type.ndim
    return rewriter.emit("pad", joined, low=_with(zeros, axis, low), high=_with(zeros, axis, high), interior=zeros)


def _placed(rewriter: Rewriter, v: int) -> tuple[int, int, int, int] | None:
    """(x, axis, low, high) if v is x with zeros before and behind it along a leading axis."""
    node = rewriter.nodes[v]
    if node is None or node.op != "pad":
        return None
    low, high, interior = (attrs_of(node)[name] for name in ("low", "high", "interior"))
    axes = [k for k in range(node.type.ndim) if (low[k], high[k]) != (0, 0)]
    if len(axes) != 1 or any(interior) or any(n != 1 for n in node.type.shape[:axes[0]]):
        return None
    k = axes[0]
    ends = low[k], high[k], node.type.shape[k]
    return (node.args[0], k, low[k], high[k]) if all(isinstance(n, int) for n in ends) else None


def _with(values: tuple[int, ...], k: int, value: int) -> tuple[int, ...]:
    return (*values[:k], value, *values[k + 1:])


def _sum_of_products(rewriter: Rewriter, node: Node) -> int | None:
    """add(matmul(a, b), matmul(c, d)) -> matmul(concat(a, c), concat(b, d)), of matrices, where nothing else reads them

    Only where no operand has to be moved for it: a and c are transposes of what lies in memory, or vectors.
    """
    products = [rewriter.nodes[v] for v in node.args]
    if node.args[0] == node.args[1] or node.type.ndim != 2 or any(rewriter.readers.get(v) != 1 for v in node.args):
        return None
    columns, rows = [], []
    for product in products:
        if product is None or product.op != "matmul" or product.type != node.type:
            return None
        a, b = product.args
        turned = _turned(rewriter, a)
        if turned is None or _is_turned(rewriter, b):
            return None
        columns.append(turned)
        rows.append(b)
    depth = [rewriter.types[b].shape[0] for b in rows]
    if not all(isinstance(n, int) for n in (*depth, *node.type.shape)) or min(depth) > element_count(node.type.shape):
        return None
    left, right = (rewriter.emit("concat", *pair, axis=0) for pair in (columns, rows))
    return rewriter.emit("matmul", rewriter.emit("transpose", left, axes=(1, 0)), right)


def _turned(rewriter: Rewriter, v: int) -> int | None:
    """The transpose of a matrix, if that lies in memory."""
    node = rewriter.nodes[v]
    if node is not None and node.op == "transpose":
        return node.args[0]
    shape = rewriter.types[v].shape
    return rewriter.emit("reshape", v, shape=shape[::-1]) if 1 in shape else None


def _is_turned(rewriter: Rewriter, v: int) -> bool:
    node = rewriter.nodes[v]
    return node is not None and node.op == "transpose" and 1 not in node.type.shape


CONCATENATION: Rules = {"slice": (_slice_of_concat,), "add": (_sum_of_pads,)}
"""What each of these ops can be replaced with."""

_PRODUCTS = merged(MOVEMENT, {"add": (_sum_of_products,)})


def join_products(graph: Graph) -> Graph:
    """The graph with sums of products that are one product. It has been pruned, so it is known what reads them."""
    first = len(graph.inputs)
    products = {v for v, node in enumerate(graph.nodes, first) if node.op == "matmul" and node.type.ndim == 2}
    if any(node.op == "add" and products.issuperset(node.args) for node in graph.nodes):
        return rewrite(graph, _PRODUCTS)
    return graph
