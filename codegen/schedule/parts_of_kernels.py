"""parts_of_kernels: a kernel -> one that computes some of what it does, by the same statements.

    for i < 64: v0 = load b0[i]; v1 = exp v0; store b1[i] v1; v2 = load b2[i]; v3 = mul v1 v2; store b3[i] v3
    only b1     ->      for i < 64: v0 = load b0[i]; v1 = exp v0; store b1[i] v1

It gives the same bits: what adds up is not taken apart, since how sums are added may depend on what is beside them.
"""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from codegen.schedule.kernel import (
    Accumulate,
    Gather,
    Kernel,
    Load,
    Pass,
    Scan,
    Scatter,
    Statement,
    Store,
    buffer_of,
    makes_value,
    operands,
    with_operands,
)


def only(kernel: Kernel, wanted: Collection[int]) -> tuple[Kernel, tuple[int, ...]] | None:
    """The kernel that writes the params `wanted` alone, and which params it has left; None if there is none."""
    statements = [s for one in kernel.passes for s in one.body]
    makers = [k for k, s in enumerate(statements) if makes_value(s)]        # the statement of each value
    stores: dict[int, list[int]] = {}
    for k, s in enumerate(statements):
        if isinstance(s, Store):
            stores.setdefault(s.buffer, []).append(k)
    needed: set[int] = set()
    pending = [k for buffer in wanted for k in stores.get(buffer, ())]
    while pending:
        k = pending.pop()
        if k in needed:
            continue
        needed.add(k)
        s = statements[k]
        pending += [makers[v] for v in operands(s)]
        if isinstance(s, Load | Gather):
            pending += stores.get(s.buffer, ())         # what an earlier pass has left there
    if any(isinstance(statements[k], Accumulate | Scan | Scatter) for k in needed):
        return None
    number_of = {v: new for new, v in enumerate(v for v, k in enumerate(makers) if k in needed)}
    left = [b for b in range(len(kernel.params)) if any(buffer_of(statements[k]) == b for k in needed)]
    buffer_at = {b: new for new, b in enumerate(left)}

    def renumbered(s: Statement) -> Statement:
        s = with_operands(s, [number_of[v] for v in operands(s)])
        return replace(s, buffer=buffer_at[s.buffer]) if isinstance(s, Load | Gather | Store) else s

    passes: list[Pass] = []
    at = 0
    for one in kernel.passes:
        body = tuple(renumbered(s) for k, s in enumerate(one.body, at) if k in needed)
        at += len(one.body)
        if body:
            passes.append(Pass(one.axes, body))
    if kernel.vector is not None and kernel.vector not in {a.name for axes in (kernel.axes, *(p.axes for p in passes))
                                                           for a in axes}:
        return None
    params = tuple(kernel.params[b] for b in left)
    return replace(kernel, params=params, passes=tuple(passes)), tuple(left)
