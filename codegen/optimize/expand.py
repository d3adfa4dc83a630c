"""expand: ops that targets do not implement, and indexing that is known to be in bounds, in terms of the others.

    %1 = argmax %0 axis=1 keepdims=false : i64[8]     ->

    %1 = max %0 axis=[1] keepdims=true : f32[8,9]
    %2 = eq %0, %1 : bool[8,9]
    %3 = ne %0, %0 : bool[8,9]                          the first NaN, if there is one, is the greatest
    %4 = or %2, %3 : bool[8,9]
    %5 = iota shape=[8,9] axis=1 dtype=i64 : i64[8,9]
    %6 = where %4, %5, 9223372036854775807 : i64[8,9]
    %7 = min %6 axis=[1] keepdims=false : i64[8]

A product of half precision is that of f32, rounded; one of integers is a sum of products, which a kernel computes.
"""
from __future__ import annotations

from codegen.ir.graph import Graph, Node, attrs_of
from codegen.ir.ops import OPS
from codegen.ir.references import literal_text
from codegen.ir.types import FLOATS, INTEGERS, TensorType
from codegen.optimize.rewrite import Rewriter, Rules, rewrite


def expand(graph: Graph) -> Graph:
    """`graph` in core ops."""
    return rewrite(graph, EXPANSIONS)


def _position(rewriter: Rewriter, node: Node) -> int:
    """argmax and argmin"""
    x, = node.args
    type = rewriter.types[x]
    attrs = attrs_of(node)
    axis: int = attrs["axis"]
    extremum = rewriter.emit(node.op.removeprefix("arg"), x, axis=(axis,), keepdims=True)
    found = rewriter.emit("eq", x, extremum)
    if type.dtype in FLOATS:
        found = rewriter.emit("or", found, rewriter.emit("ne", x, x))
    position = rewriter.emit("iota", shape=type.shape, axis=axis, dtype="i64")
    nowhere = rewriter.constant(str(2**63 - 1), TensorType("i64"))
    positions = rewriter.emit("where", found, position, nowhere)
    return rewriter.emit("min", positions, axis=(axis,), keepdims=attrs["keepdims"])


def _prod(rewriter: Rewriter, node: Node) -> int | None:
    """prod(x) of f16 or bf16 -> cast(prod(cast(x))), in f32"""
    if node.type.dtype not in ("f16", "bf16"):
        return None
    product = rewriter.emit("prod", rewriter.emit("cast", node.args[0], dtype="f32"), **attrs_of(node))
    return rewriter.emit("cast", product, dtype=node.type.dtype)


def _searchsorted(rewriter: Rewriter, node: Node) -> int | None:
    """searchsorted(x, v) -> halving: for k = .., 1, 0: where(x[place + 2**k - 1] precedes v, place + 2**k, place)"""
    x, v = node.args
    n = rewriter.types[x].shape[-1]
    if not isinstance(n, int):
        return None
    wide, last = TensorType("i64", node.type.shape), len(node.type.shape) - 1

    def number(value: int) -> int:
        return rewriter.constant(str(value), wide)

    def precedes(a: int, b: int) -> int:
        less = rewriter.emit("lt", a, b)
        if rewriter.types[a].dtype not in FLOATS:
            return less
        return rewriter.emit("or", less, rewriter.emit("and", rewriter.emit("ne", b, b), rewriter.emit("eq", a, a)))

    place = number(0)
    for k in reversed(range(n.bit_length())):
        further = rewriter.emit("add", place, number(2**k))
        inside = rewriter.emit("minimum", further, number(n))
        found = rewriter.emit("gather", x, rewriter.emit("sub", inside, number(1)), axis=last)
        before = precedes(found, v) if not attrs_of(node)["right"] else rewriter.emit("not", precedes(v, found))
        go = rewriter.emit("and", before, rewriter.emit("le", further, number(n)))
        place = rewriter.emit("where", go, further, place)
    return place


def _scatter_of_one(rewriter: Rewriter, node: Node) -> int | None:
    """scatter_add(x, i, y) -> where(eq(iota, i), add(x, y), x), for one index along the axis, known to be in bounds
    scatter(x, i, y) -> where(eq(iota, i), y, x), likewise; where the bounds are not known, a gather is put there

    They are known if the same indices are read from an axis of the same size by an earlier gather: that gather stays,
    because checked ops are never pruned, and a run in which an index is out of bounds leaves through its check.
    """
    x, indices, updates = node.args
    axis: int = attrs_of(node)["axis"]
    size = rewriter.types[x].shape[axis]
    one = rewriter.types[indices].shape[axis] == 1
    if not (one and isinstance(size, int)):
        return None
    if not _is_checked(rewriter, indices, size):
        if node.op == "scatter_add":
            return None
        rewriter.emit("gather", x, indices, axis=axis)
    dtype = "i32" if size < 2**31 else "i64"
    index = rewriter.emit("cast", indices, dtype=dtype)
    count, zero = (rewriter.constant(literal_text(n, dtype), TensorType(dtype)) for n in (size, 0))
    wrapped = rewriter.emit("where", rewriter.emit("lt", index, zero), rewriter.emit("add", index, count), index)
    position = rewriter.emit("iota", shape=rewriter.types[x].shape, axis=axis, dtype=dtype)
    written = updates if node.op == "scatter" else rewriter.emit("add", x, updates)
    return rewriter.emit("where", rewriter.emit("eq", position, wrapped), written, x)


def _is_checked(rewriter: Rewriter, indices: int, size: int) -> bool:
    """Does a gather that is there already read an axis of this size at these indices?"""
    for node in rewriter.nodes:
        if node is not None and node.op == "gather" and node.args[1] == indices:
            axis: int = attrs_of(node)["axis"]
            if rewriter.types[node.args[0]].shape[axis] == size:
                return True
    return False


def _matmul(rewriter: Rewriter, node: Node) -> int | None:
    """Of f16 or bf16 cast(matmul(cast(a), cast(b))); of integers the sum over k of a[.., m, k, 1] * b[.., 1, k, n]."""
    a, b = node.args
    dtype = node.type.dtype
    if dtype in ("f16", "bf16"):
        product = rewriter.emit("matmul", *(rewriter.emit("cast", x, dtype="f32") for x in (a, b)))
        return rewriter.emit("cast", product, dtype=dtype)
    if dtype not in INTEGERS:
        return None
    *batch, m, k = rewriter.types[a].shape
    n = node.type.shape[-1]
    columns = rewriter.emit("reshape", a, shape=(*batch, m, k, 1))
    rows = rewriter.emit("reshape", b, shape=(*batch, 1, k, n))
    columns, rows = (rewriter.emit("broadcast", x, shape=(*batch, m, k, n)) for x in (columns, rows))
    return rewriter.emit("sum", rewriter.emit("mul", columns, rows), axis=(len(batch) + 1,), keepdims=False)


EXPANSIONS: Rules = {
    "argmax": (_position,), "argmin": (_position,), "prod": (_prod,), "matmul": (_matmul,),
    "scatter_add": (_scatter_of_one,), "scatter": (_scatter_of_one,), "searchsorted": (_searchsorted,),
}

CORE = frozenset(OPS) - {"argmax", "argmin", "detach"}
"""The ops that are left after `optimize`: what a target must implement."""
