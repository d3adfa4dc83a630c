"""naming: what a kernel is called: the ops that it is made of, in their order.

    exp_sum_div      reciprocal_mul_sum_mul      copy
"""
from __future__ import annotations

import builtins
import keyword

from codegen.schedule.kernel import Accumulate, Binary, Gather, Kernel, RandomWord, Scan, Scatter, Unary

MOST_WORDS = 4

COMMON = frozenset({"add", "sub", "mul", "neg", "and", "or", "xor", "not", "eq", "ne", "lt", "le", "gt", "ge"})
"""Ops that say less than others do."""


def kernel_name(kernel: Kernel) -> str:
    """A name, which is that of nothing else in a module of kernels."""
    words: dict[str, None] = {}
    for p in kernel.passes:
        for s in p.body:
            match s:
                case Unary(op) | Binary(op) | Scan(op):
                    words[op] = None
                case Accumulate(kind):
                    words[kind] = None
                case Gather():
                    words["gather"] = None
                case Scatter(kind):
                    words[f"scatter_{kind}"] = None
                case RandomWord():
                    words["random"] = None
    chosen = [*words]
    if len(chosen) > MOST_WORDS:
        chosen = [word for word in chosen if word not in COMMON] or chosen
    name = "_".join(chosen[:MOST_WORDS]) or "copy"
    return f"{name}_kernel" if keyword.iskeyword(name) or hasattr(builtins, name) or len(chosen) < 2 else name
