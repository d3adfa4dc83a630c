"""scans: Scan as text: what stands at the points of a block, and what is carried from block to block.

    carry3 = tl.full([X, 1], 0.0, tl.float64) * -1.0
    for r_start in range(0, 3000, R):
        points3 = tl.where(r_mask, v2.to(tl.float64), 0.0)
        v3 = (carry3 + tl.cumsum(points3, 1)).to(tl.float32)                all points of a block at once
        carry3 = carry3 + tl.sum(points3, 1, keep_dims=True)

    for r_start in range(0, 3000, R):                                       R is 1: point by point
        carry3 = carry3 * v2.to(tl.float64)
        v3 = carry3.to(tl.float32)

Each line of points is scanned for itself. What is carried is in the dtype in which the reference of the op keeps it:
f64 for f32, f32 for the halves. A scan goes block by block where it may be combined in any order: products of floats
may not (a part of one can overflow where the whole is 0), nor may a recurrence.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.structs import struct
from codegen.ir.types import FLOATS
from codegen.schedule.kernel import Kernel, Scan
from codegen.schedule.value_types import value_dtypes
from codegen.triton_gpu.operations import cast
from codegen.triton_gpu.reductions import Accumulator

_WIDER = {"f32": "f64", "f16": "f32", "bf16": "f32"}
_KINDS = {"cumsum": "sum", "cumprod": "prod", "cummax": "max", "cummin": "min", "recurrence": "sum"}


@struct
class Scanner:
    """Goes on with scan `op` of values of `dtype`."""

    op: str
    dtype: str

    @property
    def accumulator(self) -> Accumulator:
        """What combines two states."""
        kind, exact = _KINDS[self.op], self.op in ("cummax", "cummin")
        return Accumulator(kind, Accumulator(kind, self.dtype if exact else _WIDER.get(self.dtype, self.dtype)).state)

    @property
    def state(self) -> str:
        """The dtype of what is carried."""
        return self.accumulator.dtype

    @property
    def identity(self) -> str:
        """What changes no result."""
        return self.accumulator.identity

    @property
    def by_blocks(self) -> bool:
        """May it be combined in any order?"""
        return self.op != "recurrence" and not (self.op == "cumprod" and self.dtype in FLOATS)

    def start(self, block: str) -> str:
        """What is carried to the first point: what changes nothing, -0.0 for a sum, so that -0.0 stays."""
        sign = " * -1.0" if self.identity == "0.0" else ""
        return f"tl.full({block}, {self.identity}, {self.accumulator.type}){sign}"

    def step(self, carry: str, args: Sequence[str]) -> str:
        """What is carried on after one point."""
        *factors, x = map(self.taken, args)
        return f"{factors[0]} * {carry} + {x}" if factors else self.accumulator.combined(carry, x)

    def along(self, points: str, dimension: int) -> str:
        """What the points of a block come to, each with those before it."""
        if self.op in ("cumsum", "cumprod"):
            return f"tl.{self.op}({points}, {dimension})"
        return f"tl.associative_scan({points}, {dimension}, {self.accumulator.function})"

    @property
    def needs(self) -> tuple[str, ...]:
        """The functions that `along` calls, and those that say what a block comes to."""
        return (*self.accumulator.needs, *(() if self.op == "cumsum" else (self.accumulator.function,)))

    def taken(self, x: str) -> str:
        """An operand in the dtype of what is carried."""
        return cast(self.dtype, self.state, x)

    def given(self, x: str) -> str:
        """What is carried as an element of the result."""
        return x if self.state == self.dtype else cast(self.state, self.dtype, x if x.isidentifier() else f"({x})")


def point_by_point(kernel: Kernel) -> bool:
    """Is there a scan that is to keep its order?"""
    dtypes = value_dtypes(kernel)
    return not all(Scanner(s.op, dtypes[s.args[0]]).by_blocks
                   for p in kernel.passes for s in p.body if isinstance(s, Scan))
