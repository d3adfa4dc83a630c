"""Signs of the values of kernels: what is claimed, and that it is so."""
from __future__ import annotations

import pytest
from plan_oracle import kernels_of

from codegen.ir.builder import Builder, Value
from codegen.ir.types import TensorType
from codegen.schedule.kernel import Unary, makes_value
from codegen.schedule.kernel_text import parse_kernel
from codegen.schedule.pipeline import schedule
from codegen.schedule.signs import never_positive, signs


def away(x: Value, kind: str = "max") -> Value:
    return x - x.emit(kind, axis=(1,), keepdims=True)


def masked(x: Value) -> Value:
    return away(x.emit("gt", x.constant(0.5)).emit("where", x, x.constant(float("-inf"))))


@pytest.mark.parametrize("exponent, below", [
    (lambda x: away(x), True), (masked, True), (lambda x: away(x * 2.0 + 1.0), True),
    (lambda x: -(x * x), True), (lambda x: x * x * -0.5, True), (lambda x: -x.emit("abs"), True),
    (lambda x: x.emit("minimum", x.constant(0.0)), True), (lambda x: -(x.emit("abs") + x.emit("cosh")), True),
    (lambda x: x, False), (lambda x: x * x, False), (lambda x: -x, False), (lambda x: away(x, "min"), False),
    (lambda x: x * 2.0 - x.emit("max", axis=(1,), keepdims=True), False),
    (lambda x: x - x.emit("max", axis=(0,), keepdims=True).emit("max", axis=(1,), keepdims=True) * 0.5, False),
    (lambda x: x.emit("maximum", x.constant(-1.0)), False), (lambda x: x.emit("mul", x - 1.0) * -1.0, False),
])
def test_operands_of_exp(exponent, below: bool) -> None:
    x = Builder("f").input(TensorType("f32", (8, 40)))
    e = exponent(x).emit("exp")
    found = []
    for kernel in kernels_of(schedule(x.builder.graph([e, e.emit("sum", axis=(1,), keepdims=True)]))):
        made = never_positive(kernel)
        found += [s.x in made for p in kernel.passes for s in p.body if isinstance(s, Unary) and s.op == "exp"]
    assert set(found) == {below}


def test_integers_wrap_and_what_is_written_changes() -> None:
    squares = parse_kernel("""kernel (b0: i32[8] in, b1: i32[8] out) {
      for i < 8:
        pass:
          v0 = load b0[i]
          v1 = mul v0 v0
          store b1[i] v1
    }""")
    assert not any(sign.above for sign in signs(squares))
    written = parse_kernel("""kernel (b0: f32[32] inout, b1: f32[32] out) {
      for i < 4:
        pass j < 8:
          v0 = load b0[8*i+j]
          v1 = accumulate max v0
        pass j < 8:
          v2 = const 1.0 f32
          v3 = add v0 v2
          store b0[8*i+j] v3
        pass j < 8:
          v4 = load b0[8*i+j]
          v5 = sub v4 v1
          store b1[8*i+j] v5
    }""")
    assert 5 not in never_positive(written)
    assert sum(makes_value(s) for p in written.passes for s in p.body) == len(signs(written))
