"""inplace: may a kernel write a result over an operand? Then the two params become one.

    kernel (b0: f32[64] in, b1: f32[] in, b2: f32[64] out)       kernel (b0: f32[64] inout, b1: f32[] in)
      for i: load b0[i] ... store b2[i]                      ->    for i: load b0[i] ... store b0[i]

It may if each element of the operand is read only at the point at which, and before, the result's element is written.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.schedule.kernel import Gather, Kernel, Load, Param, Pass, Scatter, Statement, Store


def can_overwrite(kernel: Kernel, operand: int, result: int) -> bool:
    """May params `operand`, which is read, and `result`, which is written, be one buffer?"""
    before, after = kernel.params[operand], kernel.params[result]
    if (before.dtype, before.size, before.access) != (after.dtype, after.size, "in") or after.access == "in":
        return False
    touched = [s.buffer for s in _touching(kernel, {operand, result}) if s.buffer == operand or isinstance(s, Store)]
    return touched == sorted(touched, key=lambda b: b == result) and at_one_index(kernel, {operand, result})


def at_one_index(kernel: Kernel, buffers: set[int]) -> bool:
    """Are these buffers, if one of them is written, read and written at one index only, the same in every pass?"""
    touching = _touching(kernel, buffers)
    if all(isinstance(s, Load | Gather) for s in touching) or len(touching) == 1:
        return True
    indices = {s.index for s in touching if isinstance(s, Load | Store)}
    return len(indices) == 1 and all(isinstance(s, Store) or isinstance(s, Load) and not s.guards for s in touching)


def _touching(kernel: Kernel, buffers: set[int]) -> list[Load | Gather | Store | Scatter]:
    """The statements that read or write one of these buffers."""
    return [s for p in kernel.passes for s in p.body
            if isinstance(s, Load | Gather | Store | Scatter) and s.buffer in buffers]


def overwriting(kernel: Kernel, operand: int, result: int) -> Kernel:
    """The kernel with param `result` taken away: it writes `operand` instead."""
    def renumbered(s: Statement) -> Statement:
        if not isinstance(s, Load | Gather | Store | Scatter):
            return s
        buffer = operand if s.buffer == result else s.buffer
        return replace(s, buffer=buffer - (buffer > result))

    params = [Param(p.dtype, p.size, "inout") if k == operand else p for k, p in enumerate(kernel.params)]
    del params[result]
    passes = tuple(Pass(p.axes, tuple(map(renumbered, p.body))) for p in kernel.passes)
    return replace(kernel, params=tuple(params), passes=passes)
