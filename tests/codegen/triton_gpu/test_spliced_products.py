"""Products with more in their tiles, in the interpreter: what they store, beside NumPy, and within their buffers.

TRACEGRAD_ALL_PRODUCTS=1 runs every case at every size and dtype (some 3 minutes).
"""
from __future__ import annotations

import os

import numpy as np
import pytest
from gpu_extra import needs_triton
from plan_oracle import SPLICING
from plan_runs import run
from product_graphs import GRAPHS, text_of

from codegen.ir.interpret import interpret
from codegen.ir.text import parse
from codegen.ir.types import DTYPES
from codegen.optimize.pipeline import optimize
from codegen.schedule.binding import plan_at
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch, Plan, Spliced
from codegen.triton_gpu.kernels import kernel_launch
from codegen.triton_gpu.products import product_launch

ALL = os.environ.get("TRACEGRAD_ALL_PRODUCTS") == "1"
ROUNDINGS = {"f64": 1e-12, "f32": 1e-5, "bf16": 2e-2, "f16": 2e-3}


def agrees(text: str, dtype: str, aliases: tuple[tuple[int, int], ...] = ()) -> Plan:
    graph = optimize(parse(text))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(type.shape).astype(DTYPES[type.dtype]) for type in graph.inputs]
    plan = schedule(graph, aliases, SPLICING)
    for found, expected in zip(run(plan, inputs), interpret(graph, inputs), strict=True):
        assert found.dtype == expected.dtype
        x, y = found.astype(np.float64), expected.astype(np.float64)
        assert np.linalg.norm(x - y) <= ROUNDINGS[dtype] * max(np.linalg.norm(y), 1e-30)
    return plan


SIZES = ((32, 64, 16), (33, 40, 50), (2, 3, 5), (70, 17, 100), (1, 40, 70), (30, 1, 50), (20, 30, 1), (1, 1, 1))

CASES = [(name, dtype, sizes) for name in GRAPHS for dtype in ROUNDINGS for sizes in SIZES
         if not (name == "casts" and dtype in ("f32", "f64"))]


@needs_triton
@pytest.mark.parametrize("name, dtype, sizes", CASES if ALL else CASES[::5])
def test_spliced_products_in_the_interpreter(name, dtype, sizes):
    plan = agrees(text_of(name, dtype, sizes), dtype, ((0, 2),) if name == "update" else ())
    assert [type(step) for step in plan.steps] == [Launch if 1 in sizes else Spliced]


@needs_triton
@pytest.mark.parametrize("dtype", ROUNDINGS)
@pytest.mark.parametrize("sizes", [(32, 48, 2048), (1, 16, 4096)], ids=str)
def test_long_sums_in_the_interpreter(dtype, sizes):
    plan = agrees(text_of("linear", dtype, sizes), dtype)
    assert [type(step) for step in plan.steps] == [Launch if 1 in sizes else Spliced, Launch]


@needs_triton
def test_sizes_given_as_words_in_the_interpreter():
    graph = optimize(parse("""graph f(%0: f32[b,5], %1: f32[5,c], %2: f32[c], %3: f32[c,b]) {
  %4 = matmul %0, %1 : f32[b,c]
  %5 = broadcast %2 shape=[b,c] : f32[b,c]
  %6 = add %4, %5 : f32[b,c]
  %7 = neg %3 : f32[c,b]
  %8 = matmul %6, %7 : f32[b,b]
  %9 = reshape %8 shape=[(b*b)] : f32[(b*b)]
  %10 = mul %9, %9 : f32[(b*b)]
  return %10
}"""))
    plan = schedule(graph, (), SPLICING)
    specs = set()
    for b, c in ((40, 70), (7, 2), (64, 64)):
        rng = np.random.default_rng(0)
        inputs = [rng.standard_normal(shape).astype(np.float32) for shape in ((b, 5), (5, c), (c,), (c, b))]
        bound = plan_at(plan, {"b": b, "c": c})
        found, = run(bound, inputs)
        x, y, z, w = (array.astype(np.float64) for array in inputs)
        expected = (((x @ y + z) @ -w) ** 2).reshape(-1)
        assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)
        specs.add(tuple(launch.spec for step in bound.steps if (launch := kernel_launch(step, (9, 0)))))
    assert len(specs) == 1                                  # a size that is new compiles nothing


@needs_triton
@pytest.mark.parametrize("name", ["linear", "heads", "masked"])
def test_indices_of_64_bits_in_the_interpreter(name):
    graph = optimize(parse(text_of(name, "f32", (33, 40, 50))))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(type.shape).astype(np.float32) for type in graph.inputs]
    plan = schedule(graph, (), SPLICING)
    wide = product_launch(plan.steps[0], wide=True)
    assert wide.spec.word_type == "i64" and "tl.int64" in wide.spec.source
    for narrow_result, wide_result in zip(run(plan, inputs), run(plan, inputs, wide), strict=True):
        np.testing.assert_array_equal(narrow_result, wide_result)
