"""Rules of positions: they are compared as i32 where they fit, which are as many to a vector as f32.

    %0 = iota shape=[64,1] axis=0 dtype=i64 : i64[64,1]          %0 = iota shape=[64,1] axis=0 dtype=i32 : i32[64,1]
    %1 = iota shape=[1,64] axis=1 dtype=i64 : i64[1,64]    ->    %1 = iota shape=[1,64] axis=1 dtype=i32 : i32[1,64]
    %2 = ge %0, %1 : bool[64,64]                                 %2 = ge %0, %1 : bool[64,64]

So a mask of who comes before whom costs next to nothing beside what it masks.
"""
from __future__ import annotations

from typing import cast

from codegen.ir.graph import Node, attrs_of
from codegen.ir.references import literal
from codegen.ir.types import TensorType
from codegen.optimize.rewrite import Rewriter, Rules

LARGEST = 2**31 - 1

_MOVED = frozenset({"broadcast", "reshape", "transpose", "slice", "flip"})


def _in_i32(rewriter: Rewriter, node: Node) -> int | None:
    """op(x, y) of i64 -> op(x, y) of i32, where x and y are made of positions and small numbers"""
    if any(rewriter.types[v].dtype != "i64" for v in node.args):
        return None
    found = [_short(rewriter, v) for v in node.args]
    if None in found:
        return None
    return rewriter.emit(node.op, *[short[0] for short in cast(list[tuple[int, int]], found)])


def _short(rewriter: Rewriter, v: int) -> tuple[int, int] | None:
    """A value as i32, and a bound of its size; None where it is made of something else or does not fit."""
    node, type = rewriter.nodes[v], TensorType("i32", rewriter.types[v].shape)
    if v in rewriter.fills:
        bound = abs(int(literal(rewriter.fills[v])))
        return (rewriter.constant(rewriter.fills[v], type), bound) if bound <= LARGEST else None
    if node is None:
        return None
    attrs = attrs_of(node)
    if node.op == "iota":
        size = node.type.shape[attrs["axis"]]
        if not isinstance(size, int) or size > LARGEST:
            return None
        return rewriter.emit("iota", shape=node.type.shape, axis=attrs["axis"], dtype="i32"), size
    if node.op not in _MOVED and node.op not in ("add", "sub"):
        return None
    found = [_short(rewriter, a) for a in node.args]
    if None in found:
        return None
    parts = cast(list[tuple[int, int]], found)
    bound = sum(bound for _, bound in parts)
    return (rewriter.emit(node.op, *[x for x, _ in parts], **attrs), bound) if bound <= LARGEST else None


POSITIONS: Rules = dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), (_in_i32,))
"""What each of these comparisons can be replaced with."""
