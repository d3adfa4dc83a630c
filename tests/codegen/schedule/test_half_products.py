"""Products of bf16 and f16, where the machine has them."""
from __future__ import annotations

import numpy as np
import pytest
from plan_oracle import agree

from codegen.ir.text import parse
from codegen.ir.types import DTYPES
from codegen.optimize.pipeline import optimize
from codegen.schedule.machine import Machine
from codegen.schedule.plan import Matmul, Plan

HALVES = Machine(products=frozenset({"f32", "f64", "bf16", "f16"}))


def planned(body: str, machine: Machine = HALVES, dtype: str = "bf16") -> Plan:
    text = f"graph f(%0: bf16[6,5], %1: bf16[7,5], %2: bf16[6,7]) {{\n{body}\n}}".replace("bf16", dtype)
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape).astype(DTYPES[dtype]) for shape in ((6, 5), (7, 5), (6, 7))]
    return agree(optimize(parse(text)), arrays, machine=machine, rtol=0.02, atol=0.02)


def products(plan: Plan) -> list[tuple[str, bool, bool]]:
    return [(step.dtype, step.transpose_a, step.transpose_b) for step in plan.steps if isinstance(step, Matmul)]


PRODUCT = """%3 = transpose %1 axes=[1,0] : bf16[5,7]
%4 = matmul %0, %3 : bf16[6,7]
"""


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_a_product_reads_its_operands_as_they_lie(dtype: str) -> None:
    plan = planned(PRODUCT + "return %4", dtype=dtype)
    assert products(plan) == [(dtype, False, True)]
    assert len(plan.steps) == 1


def test_elsewhere_it_is_one_of_f32() -> None:
    plan = planned(PRODUCT + "return %4", Machine())
    assert [dtype for dtype, *_ in products(plan)] == ["f32"]
    assert len(plan.steps) > 1


def test_what_is_computed_before_and_after() -> None:
    plan = planned(PRODUCT + """%5 = exp %4 : bf16[6,7]
%6 = matmul %5, %1 : bf16[6,5]
%7 = add %6, %0 : bf16[6,5]
return %7""")
    assert products(plan) == [("bf16", False, True), ("bf16", False, False)]


def test_an_operand_that_is_read_as_f32_too() -> None:
    plan = planned("""%3 = cast %0 dtype=f32 : f32[6,5]
%4 = matmul %2, %1 : bf16[6,5]
%5 = cast %4 dtype=f32 : f32[6,5]
%6 = mul %3, %5 : f32[6,5]
%7 = transpose %2 axes=[1,0] : bf16[7,6]
%8 = matmul %7, %0 : bf16[7,5]
return %6, %8, %3""")
    assert products(plan) == [("bf16", False, False), ("bf16", True, False)]


def test_a_product_that_is_read_unrounded_is_of_f32() -> None:
    body = """%3 = cast %2 dtype=f32 : f32[6,7]
%4 = cast %1 dtype=f32 : f32[7,5]
%5 = matmul %3, %4 : f32[6,5]
%6 = cast %5 dtype=bf16 : bf16[6,5]
%7 = sum %5 axis=[0,1] keepdims=false : f32[]
return %6, %7"""
    assert products(planned(body)) == [("f32", False, False)]


def test_a_product_with_an_operand_of_f32_is_of_f32() -> None:
    body = """%3 = cast %2 dtype=f32 : f32[6,7]
%4 = cast %1 dtype=f32 : f32[7,5]
%5 = exp %4 : f32[7,5]
%6 = matmul %3, %5 : f32[6,5]
%7 = cast %6 dtype=bf16 : bf16[6,5]
return %7"""
    assert products(planned(body)) == [("f32", False, False)]
