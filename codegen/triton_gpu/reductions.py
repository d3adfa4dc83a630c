"""reductions: Accumulate as text: what a loop carries, how it goes on, and what a block comes to along a dimension.

    acc4 = tl.full([X, R], 0.0, tl.float32)
    for r0 in range(0, 5000, R):
        acc4 = acc4 + tl.where(r_mask, v3, 0.0)
    v4 = tl.sum(acc4, 1, keep_dims=True)

Halves are added up and multiplied in f32 and rounded once, as the references do; small integers are combined in i32 and
wrap at the end. max and min give NaN if there is one.
"""
from __future__ import annotations

import numpy as np

from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, FLOATS
from codegen.triton_gpu.operations import LANGUAGE_TYPES, cast

_WIDER = {"bool": "i32", "i8": "i32", "i16": "i32", "u8": "u32", "u16": "u32", "f16": "f32", "bf16": "f32"}


@struct
class Accumulator:
    """Combines values of `dtype` by `kind`: sum, prod, max or min."""

    kind: str
    dtype: str

    @property
    def state(self) -> str:
        """The dtype in which it is combined."""
        return _WIDER.get(self.dtype, self.dtype)

    @property
    def type(self) -> str:
        """The language's name of that."""
        return LANGUAGE_TYPES[self.state]

    @property
    def identity(self) -> str:
        """What changes no result."""
        if self.kind in ("sum", "prod"):
            return str(int(self.kind == "prod")) + (".0" if self.state in FLOATS else "")
        if self.state in FLOATS:
            return 'float("-inf")' if self.kind == "max" else 'float("inf")'
        limits = np.iinfo(DTYPES[self.state])
        return str(limits.min if self.kind == "max" else limits.max)

    @property
    def function(self) -> str:
        """The name of the function of FUNCTIONS that combines two."""
        if self.kind in ("max", "min") and self.state in FLOATS:
            return f"{self.kind}_or_nan"
        return {"sum": "add", "prod": "multiply", "max": "greater", "min": "lesser"}[self.kind]

    def taken(self, x: str) -> str:
        """An operand in the dtype in which it is combined."""
        return x if self.state == self.dtype else cast(self.dtype, self.state, x)

    def combined(self, x: str, y: str) -> str:
        """Two states as one."""
        return COMBINED[self.function].format(x=x, y=y)

    def along(self, x: str, dimension: int, rank: int) -> str:
        """What a block of states comes to along a dimension, which stays with one point if there are others."""
        kept = ", keep_dims=True" if rank > 1 else ""
        if self.kind == "sum":
            return f"tl.sum({x}, {dimension}{kept})"
        if self.function in ("greater", "lesser"):
            return f"tl.{self.kind}({x}, {dimension}{kept})"
        return f"tl.reduce({x}, {dimension}, {self.function}{kept})"

    def given(self, x: str) -> str:
        """A state as an element of the result."""
        return x if self.state == self.dtype else cast(self.state, self.dtype, x)

    @property
    def needs(self) -> tuple[str, ...]:
        """The functions that `along` calls."""
        return () if self.kind == "sum" or self.function in ("greater", "lesser") else (self.function,)


COMBINED = {
    "add": "{x} + {y}", "multiply": "{x} * {y}",
    "greater": "tl.maximum({x}, {y})", "lesser": "tl.minimum({x}, {y})",
    "max_or_nan": "tl.maximum({x}, {y}, propagate_nan=tl.PropagateNan.ALL)",
    "min_or_nan": "tl.minimum({x}, {y}, propagate_nan=tl.PropagateNan.ALL)",
}

FUNCTIONS = {name: f"@triton.jit\ndef {name}(x, y):\n    return {text.format(x='x', y='y')}\n"
             for name, text in COMBINED.items()}
"""The text of functions that combine two states."""


