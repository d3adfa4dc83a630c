"""Products with more in their tiles, in the interpreter: what they store, beside NumPy, and within their buffers.

TRACEGRAD_ALL_PRODUCTS=1 runs every case at every size and dtype (some 3 minutes).
"""
from __future__ import annotations

import os

import numpy as np
import pytest
from gpu_extra import needs_triton
from plan_oracle import SPLICING

from codegen.ir.interpret import interpret
from codegen.ir.text import parse
from codegen.ir.types import DTYPES
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Arena, Buffer, Input, Launch, Output, Plan, Spliced
from codegen.triton_gpu import host_check
from codegen.triton_gpu.kernels import kernel_launch

ALL = os.environ.get("TRACEGRAD_ALL_PRODUCTS") == "1"
ROUNDINGS = {"f64": 1e-12, "f32": 1e-5, "bf16": 2e-2, "f16": 2e-3}


def run(plan: Plan, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Every step of a plan, in the interpreter; inputs are written where outputs share their storage."""
    given = [np.array(x, order="C") for x in inputs]
    outputs = [np.empty(tuple(map(int, type.shape)), DTYPES[type.dtype]) for type in plan.outputs]
    for output, input in plan.aliases:
        outputs[output] = given[input]
    places = {Input: given, Output: outputs}
    arena = np.full(plan.arena_bytes, 0xFF, np.uint8)

    def array(b: Buffer) -> np.ndarray:
        if isinstance(b.place, Arena):
            return arena[b.place.offset:].view(DTYPES[b.dtype])[b.start:b.start + b.size]
        return places[type(b.place)][b.place.index].reshape(-1)[b.start:b.start + b.size]

    buffers = [*map(array, plan.buffers)]
    for step in plan.steps:
        launch = kernel_launch(step, (9, 0))
        assert host_check.run(launch.spec, [buffers[b] for b in launch.buffers], launch.words)
    return outputs


def agrees(text: str, dtype: str, aliases: tuple[tuple[int, int], ...] = ()) -> Plan:
    graph = optimize(parse(text.replace("T[", f"{dtype}[").replace("=T", f"={dtype}")))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(type.shape).astype(DTYPES[type.dtype]) for type in graph.inputs]
    plan = schedule(graph, aliases, SPLICING)
    for found, expected in zip(run(plan, inputs), interpret(graph, inputs), strict=True):
        assert found.dtype == expected.dtype
        x, y = found.astype(np.float64), expected.astype(np.float64)
        assert np.linalg.norm(x - y) <= ROUNDINGS[dtype] * max(np.linalg.norm(y), 1e-30)
    return plan


LINEAR = """graph f(%0: T[M,K], %1: T[N,K], %2: T[N], %3: T[M,N]) {
  %4 = transpose %1 axes=[1,0] : T[K,N]
  %5 = matmul %0, %4 : T[M,N]
  %6 = broadcast %2 shape=[M,N] : T[M,N]
  %7 = add %5, %6 : T[M,N]
  %8 = constant value=0.0 dtype=T : T[]
  %9 = broadcast %8 shape=[M,N] : T[M,N]
  %10 = maximum %7, %9 : T[M,N]
  %11 = add %10, %3 : T[M,N]
  return %11, %10, %5
}"""
GELU = """graph f(%0: T[M,K], %1: T[K,N]) {
  %2 = matmul %0, %1 : T[M,N]
  %3 = constant value=0.7071067811865476 dtype=T : T[]
  %4 = broadcast %3 shape=[M,N] : T[M,N]
  %5 = mul %2, %4 : T[M,N]
  %6 = erf %5 : T[M,N]
  %7 = add %6, %6 : T[M,N]
  %8 = mul %2, %7 : T[M,N]
  %9 = reshape %8 shape=[1,M,N,1] : T[1,M,N,1]
  return %9
}"""
HEADS = """graph f(%0: T[2,M,3,K], %1: T[2,N,3,K]) {
  %2 = transpose %0 axes=[0,2,1,3] : T[2,3,M,K]
  %3 = transpose %1 axes=[0,2,3,1] : T[2,3,K,N]
  %4 = matmul %2, %3 : T[2,3,M,N]
  %5 = transpose %4 axes=[0,2,1,3] : T[2,M,3,N]
  %6 = mul %5, %5 : T[2,M,3,N]
  return %6
}"""
MASKED = """graph f(%0: T[M,K], %1: T[M,K], %2: T[M,N]) {
  %3 = lt %0, %1 : bool[M,K]
  %4 = constant value=0.5 dtype=T : T[]
  %5 = broadcast %4 shape=[M,K] : T[M,K]
  %6 = where %3, %0, %5 : T[M,K]
  %7 = transpose %6 axes=[1,0] : T[K,M]
  %8 = matmul %7, %2 : T[K,N]
  return %8
}"""
CASTS = """graph f(%0: f32[M,K], %1: f32[K,N], %2: f32[N]) {
  %3 = cast %0 dtype=T : T[M,K]
  %4 = cast %1 dtype=T : T[K,N]
  %5 = matmul %3, %4 : T[M,N]
  %6 = cast %5 dtype=f32 : f32[M,N]
  %7 = broadcast %2 shape=[M,N] : f32[M,N]
  %8 = mul %6, %7 : f32[M,N]
  return %8
}"""
UPDATE = """graph f(%0: T[K,M], %1: T[K,N], %2: T[M,N]) {
  %3 = transpose %0 axes=[1,0] : T[M,K]
  %4 = matmul %3, %1 : T[M,N]
  %5 = constant value=0.1 dtype=T : T[]
  %6 = broadcast %5 shape=[M,N] : T[M,N]
  %7 = mul %4, %6 : T[M,N]
  %8 = sub %2, %7 : T[M,N]
  return %8
}"""
GRAPHS = {"linear": LINEAR, "gelu": GELU, "heads": HEADS, "masked": MASKED, "casts": CASTS, "update": UPDATE}
SIZES = ((32, 64, 16), (33, 40, 50), (2, 3, 5), (70, 17, 100), (1, 40, 70), (30, 1, 50), (20, 30, 1), (1, 1, 1))

CASES = [(name, dtype, sizes) for name in GRAPHS for dtype in ROUNDINGS for sizes in SIZES
         if not (name == "casts" and dtype in ("f32", "f64"))]


@needs_triton
@pytest.mark.parametrize("name, dtype, sizes", CASES if ALL else CASES[::5])
def test_spliced_products_in_the_interpreter(name, dtype, sizes):
    text = GRAPHS[name]
    for letter, size in zip("MNK", sizes):
        text = text.replace(f"{letter},", f"{size},").replace(f"{letter}]", f"{size}]")
    plan = agrees(text, dtype, ((0, 2),) if name == "update" else ())
    assert [type(step) for step in plan.steps] == [Launch if 1 in sizes else Spliced]


@needs_triton
@pytest.mark.parametrize("dtype", ROUNDINGS)
@pytest.mark.parametrize("sizes", [(32, 48, 2048), (1, 16, 4096)], ids=str)
def test_long_sums_in_the_interpreter(dtype, sizes):
    text = GRAPHS["linear"]
    for letter, size in zip("MNK", sizes):
        text = text.replace(f"{letter},", f"{size},").replace(f"{letter}]", f"{size}]")
    plan = agrees(text, dtype)
    assert [type(step) for step in plan.steps] == [Launch if 1 in sizes else Spliced, Launch]
