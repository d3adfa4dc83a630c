"""inplace: may a kernel write a result over an operand? Then the two params become one.

    kernel (b0: f32[64] in, b1: f32[] in, b2: f32[64] out)       kernel (b0: f32[64] inout, b1: f32[] in)
      for i: load b0[i] ... store b2[i]                      ->    for i: load b0[i] ... store b0[i]

It may if each element of the operand is read only at the point, and before, the result's element is written.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.schedule.kernel import Gather, Kernel, Load, Param, Pass, ScatterAdd, Statement, Store, buffer_of


def can_overwrite(kernel: Kernel, operand: int, result: int) -> bool:
    """May params `operand`, which is read, and `result`, which is written, be one buffer?"""
    before, after = kernel.params[operand], kernel.params[result]
    return ((before.dtype, before.size, before.access, after.access) == (after.dtype, after.size, "in", "out")
            and in_element_order(kernel, {operand, result}))


def in_element_order(kernel: Kernel, buffers: set[int]) -> bool:
    """If these buffers were one, would each element be read only at the point, and before, it is written?"""
    touching = [s for p in kernel.passes for s in p.body if buffer_of(s) in buffers]
    written = [k for k, s in enumerate(touching) if isinstance(s, Store | ScatterAdd)]
    if not written or len(written) == len(touching) == 1:
        return True
    last = touching[-1]
    return written == [len(touching) - 1] and isinstance(last, Store) and all(
        isinstance(s, Load) and s.index == last.index and not s.guards for s in touching[:-1])


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
