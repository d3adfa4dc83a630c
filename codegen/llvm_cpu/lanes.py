"""How many lanes the values of a kernel have."""
from __future__ import annotations

from codegen.ir.types import DTYPES
from codegen.llvm_cpu.features import Features
from codegen.schedule.kernel import Kernel

REGISTERS_PER_VALUE = 2
"""Vector registers for one value: two chains in flight hide the latency of one."""


def lane_count(kernel: Kernel, dtypes: list[str], features: Features) -> int:
    """A power of two: the widest dtype fills REGISTERS_PER_VALUE registers, but no more lanes than the axis can use."""
    if kernel.vector is None:
        return 1
    widest = max((DTYPES[dtype].itemsize for dtype in dtypes), default=1)
    lanes = REGISTERS_PER_VALUE * features.vector_bytes // widest
    extent = max(axis.extent for p in (kernel, *kernel.passes) for axis in p.axes if axis.name == kernel.vector)
    while lanes > 1 and lanes // 2 >= extent:
        lanes //= 2
    return lanes
