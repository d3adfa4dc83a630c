"""Products that are kernels of their own: of vectors, outer ones, and long sums in parts."""
from __future__ import annotations

import numpy as np
import pytest
from plan_oracle import SPLICING, agree

from codegen.ir.text import parse
from codegen.ir.types import DTYPES
from codegen.optimize.pipeline import optimize
from codegen.schedule.kernel import Accumulate
from codegen.schedule.plan import Launch, Plan, Spliced


def planned(batch: int, m: int, n: int, k: int, dtype: str = "f32", behind: bool = True, before: bool = False) -> Plan:
    text = f"""graph f(%0: {dtype}[{batch},{m},{k}], %1: {dtype}[{batch},{n},{k}]) {{
  %2 = {'neg %0' if before else f'reshape %0 shape=[{batch},{m},{k}]'} : {dtype}[{batch},{m},{k}]
  %3 = transpose %1 axes=[0,2,1] : {dtype}[{batch},{k},{n}]
  %4 = matmul %2, %3 : {dtype}[{batch},{m},{n}]
  %5 = {'add %4, %4' if behind else f'reshape %4 shape=[{batch},{m},{n}]'} : {dtype}[{batch},{m},{n}]
  return %5
}}"""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((batch, size, k)).astype(DTYPES[dtype]) for size in (m, n)]
    tolerance = {"bf16": 0.05, "f16": 0.01}.get(dtype, 1e-4)
    return agree(optimize(parse(text)), arrays, machine=SPLICING, rtol=tolerance, atol=tolerance * k**0.5)


def sums(plan: Plan) -> list[int]:
    """How many sums each kernel has."""
    return [sum(isinstance(s, Accumulate) for one in step.kernel.passes for s in one.body)
            for step in plan.steps if isinstance(step, Launch)]


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
@pytest.mark.parametrize("sizes", [(1, 1, 7, 9), (3, 5, 1, 9), (2, 1, 1, 6), (1, 1, 1, 1)], ids=str)
def test_products_of_vectors_are_one_kernel(sizes, dtype):
    for behind, before in ((True, False), (False, True), (False, False)):
        plan = planned(*sizes, dtype, behind, before)
        assert sums(plan) == [int(sizes[3] > 1)] and len(plan.steps) == 1 and plan.arena_bytes == 0


def test_outer_products_add_nothing():
    assert sums(planned(2, 3, 4, 1)) == [0]


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("before", [False, True])
def test_long_sums_are_cut(dtype, before):
    plan = planned(2, 8, 24, 2048, dtype, before=before)
    assert [type(step) for step in plan.steps] == [Spliced, Launch] and sums(plan) == [1]
    first = plan.steps[0]
    assert isinstance(first, Spliced) and first.product.sizes == (16, 8, 24, 256)
    assert plan.buffers[first.behind.buffers[0]].dtype == "f32"     # rounded once, when all are added


def test_sums_of_products_of_vectors_are_cut_too():
    assert sums(planned(1, 1, 6, 8192)) == [1, 1]


def test_what_is_short_or_large_is_not_cut():
    assert [type(step) for step in planned(1, 8, 8, 96).steps] == [Spliced]
    assert [type(step) for step in planned(64, 70, 70, 512).steps] == [Spliced]
    assert [type(step) for step in planned(1, 8, 8, 2049).steps] == [Spliced]       # nothing divides it
