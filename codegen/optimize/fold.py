"""fold: what is known while compiling is computed then, through the references of the ops.

    %1 = constant value=2.0 dtype=f32 : f32[]          %1 = constant value=1.4142135381698608 dtype=f32 : f32[]
    %2 = broadcast %1 shape=[8,8] : f32[8,8]    ->     %2 = broadcast %1 shape=[8,8] : f32[8,8]
    %3 = sqrt %2 : f32[8,8]                            return %2
    return %3

1. Only values filled with one number are folded: a result is a `constant` and perhaps a `broadcast`, whatever its size.
2. A fold is exact: what the result is in the end differs in no bit from what the ops would have given.
"""
from __future__ import annotations

from fractions import Fraction
from math import frexp, prod

import numpy as np

from codegen.ir.graph import Graph, Node, attrs_of
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.references import constant, literal, literal_text
from codegen.ir.types import is_static
from codegen.optimize.rewrite import Rewriter, Rules, rewrite


def fold(graph: Graph) -> Graph:
    """`graph` with everything computed that is known."""
    return rewrite(graph, FOLDING)


def _elementwise(rewriter: Rewriter, node: Node) -> int | None:
    """op(constants) -> constant"""
    fills = rewriter.fills
    for v in node.args:
        if v not in fills:
            return None
    operands = [constant(value=fills[v], dtype=rewriter.types[v].dtype) for v in node.args]
    with np.errstate(all="ignore"):
        result = OPS[node.op].reference(*operands, **attrs_of(node))
    return rewriter.constant(literal_text(result, node.type.dtype), node.type)


def _movement(rewriter: Rewriter, node: Node) -> int | None:
    """Elements moved around, all the same -> that number, broadcast"""
    v, = node.args
    text = rewriter.fills.get(v)
    if text is None or (node.op == "broadcast" and not rewriter.types[v].shape):
        return None
    return rewriter.constant(text, node.type)


def _pad(rewriter: Rewriter, node: Node) -> int | None:
    """pad(0) -> 0, unshear(0) -> 0"""
    text = rewriter.fills.get(node.args[0])
    return rewriter.constant(text, node.type) if text == literal_text(0, node.type.dtype) else None


def _extremum(rewriter: Rewriter, node: Node) -> int | None:
    """max(c) -> c"""
    text = rewriter.fills.get(node.args[0])
    return None if text is None else rewriter.constant(text, node.type)


def _sum(rewriter: Rewriter, node: Node) -> int | None:
    """sum(c) -> n*c, where every partial sum is a whole number that the dtype can hold"""
    v, = node.args
    text, type = rewriter.fills.get(v), rewriter.types[v]
    if text is None or not is_static(type) or type.dtype not in _WHOLE:
        return None
    axis = attrs_of(node)["axis"]
    each = literal(text)
    total = prod(type.shape[k] for k in axis) * each
    if not float(each).is_integer() or abs(total) > _WHOLE[type.dtype]:
        return None
    return rewriter.constant(literal_text(total + 0, type.dtype), node.type)


_WHOLE = {"f32": 2**24, "f64": 2**53, "i32": 2**31 - 1, "i64": 2**63 - 1}
"""Up to where a dtype holds every whole number."""


def _reciprocal(rewriter: Rewriter, node: Node) -> int | None:
    """div(x, c) -> mul(x, 1/c), where 1/c is exact: c is a power of two, and neither is subnormal"""
    x, y = node.args
    text, dtype = rewriter.fills.get(y), node.type.dtype
    if text is None or dtype not in _EXPONENTS:
        return None
    number = float(literal(text))
    mantissa, exponent = frexp(number)
    if abs(mantissa) != 0.5 or abs(exponent) > _EXPONENTS[dtype]:
        return None
    reciprocal = rewriter.constant(literal_text(float(1 / Fraction(number)), dtype), rewriter.types[y])
    return rewriter.emit("mul", x, reciprocal)


_EXPONENTS = {"f16": 13, "bf16": 125, "f32": 125, "f64": 1021}
"""Up to which size of the exponent a power of two and its reciprocal are normal numbers."""


def _iota(rewriter: Rewriter, node: Node) -> int | None:
    """iota along an axis of size 1 -> 0"""
    attrs = attrs_of(node)
    if node.type.shape[attrs["axis"]] != 1:
        return None
    return rewriter.constant(literal_text(0, node.type.dtype), node.type)


FOLDING: Rules = {
    **{op.name: (_elementwise,) for op in OPS.values() if ELEMENTWISE in op.traits},
    "div": (_elementwise, _reciprocal),
    **dict.fromkeys(("broadcast", "reshape", "transpose", "slice", "flip", "shear"), (_movement,)),
    "pad": (_pad,), "unshear": (_pad,), "max": (_extremum,), "min": (_extremum,), "sum": (_sum,), "iota": (_iota,),
}

