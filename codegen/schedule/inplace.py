"""inplace: may a kernel write a result over an operand? Then the two params become one.

    kernel (b0: f32[64] in, b1: f32[] in, b2: f32[64] out)       kernel (b0: f32[64] inout, b1: f32[] in)
      for i: load b0[i] ... store b2[i]                      ->    for i: load b0[i] ... store b0[i]

It may if each element of the operand is read only at the point, and before, the result's element is written.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.schedule.kernel import Gather, Kernel, Load, Param, Pass, ScatterAdd, Statement, Store


def can_overwrite(kernel: Kernel, operand: int, result: int) -> bool:
    """May params `operand`, which is read, and `result`, which is written, be one buffer?"""
    before, after = kernel.params[operand], kernel.params[result]
    if before.dtype != after.dtype or before.size != after.size or (before.access, after.access) != ("in", "out"):
        return False
    statements = [s for p in kernel.passes for s in p.body]
    stores = [k for k, s in enumerate(statements) if isinstance(s, Store) and s.buffer == result]
    if len(stores) != 1:
        return False
    index = statements[stores[0]].index
    for k, s in enumerate(statements):
        match s:
            case Gather(buffer=buffer) if buffer == operand:
                return False
            case Load(buffer=buffer) if buffer == operand and (s.index != index or s.guards or k > stores[0]):
                return False
    return True


def overwriting(kernel: Kernel, operand: int, result: int) -> Kernel:
    """The kernel with param `result` taken away: it writes `operand` instead."""
    def renumbered(s: Statement) -> Statement:
        if not isinstance(s, Load | Gather | Store | ScatterAdd):
            return s
        buffer = operand if s.buffer == result else s.buffer
        return replace(s, buffer=buffer - (buffer > result))

    params = [Param(p.dtype, p.size, "inout") if k == operand else p for k, p in enumerate(kernel.params)]
    del params[result]
    passes = tuple(Pass(p.axes, tuple(map(renumbered, p.body))) for p in kernel.passes)
    return replace(kernel, params=tuple(params), passes=passes)
