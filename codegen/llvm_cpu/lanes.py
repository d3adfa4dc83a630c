"""How many lanes the values of a kernel have."""
from __future__ import annotations

from codegen.ir.dims import Dim
from codegen.llvm_cpu.assembler import BYTES, ELEMENTS
from codegen.llvm_cpu.features import Features
from codegen.schedule.kernel import Axis, Kernel

REGISTERS_PER_VALUE = 4
"""Vector registers for one value: independent chains in flight, which hide the latency of one. Against 2, measured with
32 registers of 64 bytes: tanh(a*x+b)*exp(-x*x) takes 0.87 of the time, a serial chain of 100 operations 0.58, a sum of
columns 0.5; compiling takes 1.3 and 1.8 times as long."""

LONG = 160
"""From so many statements on, half of that: what compiling costs more is then more than a kernel soon earns back."""


def all_axes(kernel: Kernel) -> tuple[Axis, ...]:
    """The outer axes and those of every pass."""
    return (*kernel.axes, *(axis for p in kernel.passes for axis in p.axes))


def lane_count(kernel: Kernel, dtypes: list[str], features: Features) -> int:
    """A power of two: enough for a value of the widest dtype to fill that many registers, but no more than points."""
    if kernel.vector is None:
        return 1
    widest = max((BYTES[ELEMENTS[dtype]] for dtype in dtypes), default=1)
    registers = REGISTERS_PER_VALUE if len(dtypes) < LONG else REGISTERS_PER_VALUE // 2
    lanes = registers * features.vector_bytes // widest
    extents = [axis.extent for axis in all_axes(kernel) if axis.name == kernel.vector]
    extent = max((n for n in extents if isinstance(n, int)), default=0)
    while lanes > 1 and lanes // 2 >= extent and not any(isinstance(n, Dim) for n in extents):
        lanes //= 2
    return lanes
