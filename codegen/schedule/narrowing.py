"""narrowing: a kernel's params are no more of their buffers than it touches, so kernels that differ in where are one.

    kernel (b0: f32[512] in, ...)                   kernel (b0: f32[64] in, ...)        given b0 from element 192 on
      for i < 64: v0 = load b0[i+192]         ->      for i < 64: v0 = load b0[i]

Only params that are read and written at indices without guards are, of sizes that are numbers.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.schedule.index import bounds, shift
from codegen.schedule.kernel import Gather, Kernel, Load, Param, Pass, Scatter, Statement, Store

Part = tuple[int, int | None]
"""The first element, and how many; None for all."""


def narrowed(kernel: Kernel) -> tuple[Kernel, list[Part]]:
    """The kernel for parts of its buffers, and which part each param is."""
    found: dict[int, tuple[int, int]] = {}              # by param, the least and the greatest index
    whole: set[int] = set()
    for one in kernel.passes:
        extents = {axis.name: axis.extent for axis in (*kernel.axes, *one.axes)}
        for s in one.body:
            match s:
                case Load(buffer, index, ()) | Store(buffer, index):
                    least, greatest = bounds(index, extents)
                    if not (isinstance(least, int) and isinstance(greatest, int)):
                        whole.add(buffer)
                        continue
                    before = found.get(buffer, (least, greatest))
                    found[buffer] = min(before[0], least), max(before[1], greatest)
                case Load() | Gather() | Scatter():
                    whole.add(s.buffer)
    parts: list[Part] = []
    params: list[Param] = []
    for k, param in enumerate(kernel.params):
        least, greatest = found.get(k, (0, 0))
        size = param.size
        if k in whole or k not in found or not isinstance(size, int) or least < 0:
            parts.append((0, None))
        else:
            parts.append((least, min(greatest + 1, size) - least))
            param = Param(param.dtype, min(greatest + 1, size) - least, param.access)
        params.append(param)
    if tuple(params) == kernel.params and not any(start for start, _ in parts):
        return kernel, [(0, None)] * len(params)

    def moved(s: Statement) -> Statement:
        if isinstance(s, Load | Store) and parts[s.buffer][0]:
            return replace(s, index=shift(s.index, -parts[s.buffer][0]))
        return s

    passes = tuple(Pass(one.axes, tuple(map(moved, one.body))) for one in kernel.passes)
    return replace(kernel, params=tuple(params), passes=passes), parts
