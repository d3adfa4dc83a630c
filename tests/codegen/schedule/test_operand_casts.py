"""Casts of what products read: as it lies in memory, on a machine that computes all points at once."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from plan_oracle import AT_ONCE, agree, kernels_of

from codegen.ir.text import parse
from codegen.ir.types import DTYPES
from codegen.schedule.machine import Machine
from codegen.schedule.plan import Matmul, Plan

GPU = replace(AT_ONCE, products=frozenset({"f32", "f64", "bf16", "f16"}))


def planned(body: str, machine: Machine = GPU) -> Plan:
    text = f"graph f(%0: bf16[6,5], %1: f32[7,5], %2: bf16[6,7]) {{\n{body}\n}}"
    random = np.random.default_rng(0)
    shapes = ((6, 5), "bf16"), ((7, 5), "f32"), ((6, 7), "bf16")
    arrays = [random.standard_normal(shape).astype(DTYPES[dtype]) for shape, dtype in shapes]
    return agree(parse(text), arrays, machine=machine, rtol=0.02, atol=0.02)


def products(plan: Plan) -> list[tuple[str, bool, bool]]:
    return [(step.dtype, step.transpose_a, step.transpose_b) for step in plan.steps if isinstance(step, Matmul)]


FORWARD = """%3 = transpose %1 axes=[1,0] : f32[5,7]
%4 = cast %3 dtype=bf16 : bf16[5,7]
%5 = matmul %0, %4 : bf16[6,7]
"""


def test_a_cast_goes_through_memory_in_order() -> None:
    plan = planned(FORWARD + "return %5")
    cast, = kernels_of(plan)
    assert [axis.extent for axis in cast.axes] == [35]
    assert products(plan) == [("bf16", False, True)]


def test_both_directions_read_one_cast() -> None:
    plan = planned(FORWARD + """%6 = cast %1 dtype=bf16 : bf16[7,5]
%7 = matmul %2, %6 : bf16[6,5]
return %5, %7""")
    assert len(kernels_of(plan)) == 1
    assert products(plan) == [("bf16", False, True), ("bf16", False, False)]


def test_a_result_is_cast_where_it_goes() -> None:
    plan = planned(FORWARD + "return %5, %4")
    assert products(plan) == [("bf16", False, False)]


def test_what_no_product_reads_is_left() -> None:
    plan = planned("""%3 = transpose %1 axes=[1,0] : f32[5,7]
%4 = cast %3 dtype=bf16 : bf16[5,7]
%5 = exp %4 : bf16[5,7]
return %5""")
    assert len(kernels_of(plan)) == 1


def test_batches_of_matrices() -> None:
    text = """graph f(%0: bf16[2,6,5], %1: f32[2,7,5]) {
%2 = transpose %1 axes=[0,2,1] : f32[2,5,7]
%3 = cast %2 dtype=bf16 : bf16[2,5,7]
%4 = matmul %0, %3 : bf16[2,6,7]
return %4
}"""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((2, 6, 5)).astype(DTYPES["bf16"]), random.standard_normal((2, 7, 5)).astype("f4")]
    plan = agree(parse(text), arrays, machine=GPU, rtol=0.02, atol=0.02)
    cast, = kernels_of(plan)
    assert [axis.extent for axis in cast.axes] == [70] and products(plan) == [("bf16", False, True)]
