"""Scanners: the running state of a Scan, as Values that a loop carries.

    state = start(...)        in a loop, in order: state = step(state, operands); value(state) is the value there

The state is in a wider dtype where the reference of the op keeps it so: f64 for f32, f32 for the halves.
"""
from __future__ import annotations

from codegen.ir.structs import struct
from codegen.ir.types import FLOATS
from codegen.llvm_cpu import operations
from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.features import Features

_COMBINE = {"cumsum": "add", "cumprod": "mul", "cummax": "maximum", "cummin": "minimum"}
_WIDER = {"f32": "f64", "f16": "f32", "bf16": "f32"}


@struct
class Scanner:
    """Goes on with scan `op` of values of `dtype`, `lanes` at a time, each lane a scan of its own."""

    op: str
    dtype: str
    lanes: int
    features: Features

    @property
    def width(self) -> int:
        """How many values the state is."""
        return 1

    @property
    def kept(self) -> str:
        """The dtype of the state."""
        return self.dtype if self.op in ("cummax", "cummin") else _WIDER.get(self.dtype, self.dtype)

    def start(self, a: Assembler) -> list[Value]:
        """The state before the first value: what changes none. A sum starts from -0.0, so that -0.0 stays."""
        return [a.constant(vector(self.kept, self.lanes), self._identity)]

    def step(self, a: Assembler, state: Value, args: list[Value]) -> Value:
        """The state after these operands."""
        *factors, x = (a.splat(operations.cast(a, self.features, arg, self.kept), self.lanes) for arg in args)
        if factors:
            return self._binary(a, "add", self._binary(a, "mul", factors[0], state), x)
        return self._binary(a, _COMBINE[self.op], state, x)

    def value(self, a: Assembler, state: Value) -> Value:
        """The state as an element of the result."""
        return operations.cast(a, self.features, state, self.dtype)

    @property
    def _identity(self) -> int | float:
        floating = self.dtype in FLOATS
        match self.op:
            case "cumprod":
                return 1
            case "cummax":
                return float("-inf") if floating else operations.integer_range(self.dtype)[0]
            case "cummin":
                return float("inf") if floating else operations.integer_range(self.dtype)[1]
        return -0.0 if floating else 0

    def _binary(self, a: Assembler, op: str, x: Value, y: Value) -> Value:
        return operations.binary(a, self.features, op, x, y)
