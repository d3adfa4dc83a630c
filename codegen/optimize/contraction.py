"""Rules of matmul: transposes go to its operands, where they cost nothing, and batches become rows where they can.

    %2 = transpose %0 axes=[1,0] : f32[784,64]
    %3 = matmul %2, %1 : f32[784,512]                    %2 = transpose %1 axes=[1,0] : f32[512,64]
    %4 = transpose %3 axes=[1,0] : f32[512,784]    ->    %3 = matmul %2, %0 : f32[512,784]

The products that make up an element stay the same; the order in which they are added was never part of the meaning.
"""
from __future__ import annotations

from codegen.ir.dims import element_count
from codegen.ir.graph import Node, attrs_of
from codegen.optimize.rewrite import Rewriter, Rules


def _transpose_of_matmul(rewriter: Rewriter, node: Node) -> int | None:
    """transpose(matmul(a, b)) -> matmul(transpose(b), transpose(a)), where nothing else reads the matmul"""
    v, = node.args
    matmul = rewriter.nodes[v]
    axes = attrs_of(node)["axes"]
    if matmul is None or matmul.op != "matmul" or rewriter.readers.get(v) != 1 or axes != _swapped(len(axes)):
        return None
    a, b = matmul.args
    return rewriter.emit("matmul", rewriter.emit("transpose", b, axes=axes), rewriter.emit("transpose", a, axes=axes))


def _matmul_of_broadcast(rewriter: Rewriter, node: Node) -> int | None:
    """matmul(a, b), where b is the same for the whole batch -> one matmul of all rows of a"""
    a, b = node.args
    spread = rewriter.nodes[b]
    if spread is None or spread.op != "broadcast" or rewriter.types[spread.args[0]].shape != spread.type.shape[-2:]:
        return None
    *rows, k = rewriter.types[a].shape
    flat = rewriter.emit("reshape", a, shape=(element_count(tuple(rows)), k))
    return rewriter.emit("reshape", rewriter.emit("matmul", flat, *spread.args), shape=node.type.shape)


def _sum_of_matmul(rewriter: Rewriter, node: Node) -> int | None:
    """sum(matmul(transpose(a), b)) over the batch -> one matmul along the rows of the whole batch"""
    v, = node.args
    matmul = rewriter.nodes[v]
    if matmul is None or matmul.op != "matmul" or rewriter.readers.get(v) != 1:
        return None
    left, batch = rewriter.nodes[matmul.args[0]], tuple(range(matmul.type.ndim - 2))
    if left is None or left.op != "transpose" or attrs_of(left)["axes"] != _swapped(left.type.ndim):
        return None
    if not batch or tuple(sorted(attrs_of(node)["axis"])) != batch:
        return None
    a, b = (rewriter.emit("reshape", x, shape=(element_count(tuple(rows)), size))
            for x in (*left.args, matmul.args[1]) for *rows, size in [rewriter.types[x].shape])
    product = rewriter.emit("matmul", rewriter.emit("transpose", a, axes=(1, 0)), b)
    return rewriter.emit("reshape", product, shape=node.type.shape)


def _swapped(n: int) -> tuple[int, ...]:
    """The axes in order, the last two exchanged."""
    return (*range(n - 2), n - 1, n - 2)


CONTRACTION: Rules = {
    "transpose": (_transpose_of_matmul,), "matmul": (_matmul_of_broadcast,), "sum": (_sum_of_matmul,),
}
