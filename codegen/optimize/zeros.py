"""zeros: what is left of adding to 0.0, once the sum is no longer computed: no element is -0.0."""
from __future__ import annotations

from codegen.ir.types import INTEGERS, TensorType
from codegen.optimize.rewrite import Rewriter


def plus_zero(rewriter: Rewriter, v: int) -> int:
    """v + 0.0, or v itself where that is the same or the sign of a zero is open anyway."""
    if rewriter.types[v].dtype in INTEGERS or _has_open_zeros(rewriter, v):
        return v
    zero = rewriter.constant("0.0", TensorType(rewriter.types[v].dtype, rewriter.types[v].shape))
    return rewriter.emit("add", v, zero)


def _has_open_zeros(rewriter: Rewriter, v: int) -> bool:
    """Is each element made by a sum or a matmul, or by adding 0.0?"""
    pending, seen = [v], set[int]()
    while pending:
        v = pending.pop()
        node = rewriter.nodes[v]
        if v in seen or v in rewriter.no_negative_zero:
            continue
        seen.add(v)
        if node is not None and node.op in ("reshape", "transpose", "broadcast", "slice", "flip", "concat"):
            pending += node.args
        elif node is None or not (node.op in ("sum", "matmul") or node.op == "add" and any(
                rewriter.fills.get(a) == "0.0" for a in node.args)):
            return False
    rewriter.no_negative_zero |= seen
    return True
