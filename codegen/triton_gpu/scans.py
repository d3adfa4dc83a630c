"""scans: Scan as text: what a loop carries from point to point, each line of points for itself.

    carry3 = tl.full([X, R], 1.0, tl.float64)           R is 1
    for r_start in range(0, 300, R):
        carry3 = carry3 * v2.to(tl.float64)
        v3 = carry3.to(tl.float32)

What is carried is in the dtype in which the reference of the op keeps it: f64 for f32, f32 for the halves.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.structs import struct
from codegen.triton_gpu.operations import cast
from codegen.triton_gpu.reductions import COMBINED, Accumulator

_WIDER = {"f32": "f64", "f16": "f32", "bf16": "f32"}
_KINDS = {"cumsum": "sum", "cumprod": "prod", "cummax": "max", "cummin": "min", "recurrence": "sum"}


@struct
class Scanner:
    """Goes on with scan `op` of values of `dtype`."""

    op: str
    dtype: str

    @property
    def state(self) -> str:
        """The dtype of what is carried."""
        if self.op in ("cummax", "cummin"):
            return Accumulator(_KINDS[self.op], self.dtype).state
        return _WIDER.get(self.dtype, Accumulator("sum", self.dtype).state)

    def start(self, block: str) -> str:
        """What is carried to the first point: what changes nothing, -0.0 for a sum, so that -0.0 stays."""
        accumulator = Accumulator(_KINDS[self.op], self.state)
        sign = " * -1.0" if accumulator.identity == "0.0" else ""
        return f"tl.full({block}, {accumulator.identity}, {accumulator.type}){sign}"

    def step(self, carry: str, args: Sequence[str]) -> str:
        """What is carried on after these operands."""
        *factors, x = (cast(self.dtype, self.state, arg) for arg in args)
        if factors:
            return f"{factors[0]} * {carry} + {x}"
        return COMBINED[Accumulator(_KINDS[self.op], self.state).function].format(x=carry, y=x)

    def value(self, carry: str) -> str:
        """What is carried as an element of the result."""
        return cast(self.state, self.dtype, carry)
