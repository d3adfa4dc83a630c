"""Products through whatever BLAS there is, cut into panels by shape alone."""
from __future__ import annotations

import ctypes
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu import driver, matmul, threads
from codegen.llvm_cpu.blas import OWN, Blas, candidates, find_blas, multiplies
from codegen.llvm_cpu.entry import make_run
from codegen.llvm_cpu.link import compile_object, link
from codegen.llvm_cpu.runtime import runtime
from codegen.schedule.plan import Buffer, Input, Matmul, Output, Plan

SHAPES = [(1, 1, 1), (3, 5, 4), (64, 10, 512), (1, 512, 33), (130, 1, 70), (256, 300, 520)]


def plan_of(dtype: str, batch: int, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool) -> Plan:
    a, b = (batch, k, m) if transpose_a else (batch, m, k), (batch, n, k) if transpose_b else (batch, k, n)
    places = ((batch * m * k, Input(0)), (batch * k * n, Input(1)), (batch * m * n, Output(0)))
    buffers = tuple(Buffer(dtype, size, place) for size, place in places)
    step = Matmul(0, 1, 2, dtype, batch, m, n, k, transpose_a, transpose_b)
    types = TensorType(dtype, a), TensorType(dtype, b), TensorType(dtype, (batch, m, n))
    return Plan(types[:2], types[2:], (), buffers, (step,), 0)


def multiply(plan: Plan, symbols: dict[str, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, c) with c as the driver computes it."""
    dtype = DTYPES[plan.inputs[0].dtype]
    random = np.random.default_rng(seed)
    a, b = (random.standard_normal(type.shape).astype(dtype) for type in plan.inputs)
    c = np.full(plan.outputs[0].shape, np.nan, dtype)
    assert make_run(driver.encode(plan, {}, symbols), 0, symbols)((a, b, c)) == -1
    return a, b, c


def check(plan: Plan, symbols: dict[str, int]) -> None:
    a, b, c = multiply(plan, symbols)
    step, = plan.steps
    left, right = (np.swapaxes(x, 1, 2) if t else x for x, t in ((a, step.transpose_a), (b, step.transpose_b)))
    exact = left.astype(np.float64) @ right.astype(np.float64)
    bound = np.abs(left).astype(np.float64) @ np.abs(right).astype(np.float64) * np.finfo(a.dtype).eps * (step.k + 1)
    assert np.all(np.abs(c - exact) <= bound)


@pytest.mark.parametrize("dtype", matmul.LLVM_TYPES)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), list(product((False, True), repeat=2)))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(dtype: str, shape: tuple[int, int, int], transpose_a: bool, transpose_b: bool) -> None:
    check(plan_of(dtype, 2, *shape, transpose_a, transpose_b), runtime())


@pytest.mark.parametrize(("batch", "m", "n", "k"), [(2, 3, 4, 0), (0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5)])
def test_empty_products(batch: int, m: int, n: int, k: int) -> None:
    *_, c = multiply(plan_of("f32", batch, m, n, k, False, False), runtime())
    assert np.array_equal(c, np.zeros((batch, m, n), np.float32))


@pytest.mark.parametrize("shape", [(64, 512, 784), (700, 90, 300), (300, 300, 300)], ids=str)
def test_the_number_of_threads_does_not_change_a_bit(shape: tuple[int, int, int]) -> None:
    plan = plan_of("f32", 1, *shape, True, False)
    before = threads.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            threads.set_num_threads(count)
            results.append(multiply(plan, runtime())[2])
    finally:
        threads.set_num_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_every_kind_of_blas_multiplies() -> None:
    """Each BLAS found on this machine, and the loop of our own, through the text that calls it."""
    kinds = [OWN, *candidates()]
    assert len({blas.kind for blas in kinds}) >= 2
    for blas in kinds:
        assert blas is OWN or multiplies(blas), blas
        text = "declare i64 @llvm.umin.i64(i64, i64)\n" + matmul.matmul_text(blas)
        symbols = link(compile_object(text), [f"matmul_{dtype}" for dtype in matmul.LLVM_TYPES], blas.imports)
        for dtype, transpose_a, transpose_b in product(matmul.LLVM_TYPES, (False, True), (False, True)):
            check(plan_of(dtype, 2, 37, 21, 19, transpose_a, transpose_b), runtime() | symbols)


def test_a_blas_that_multiplies_wrong_is_not_taken() -> None:
    int_, size, pointer = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p

    def does_nothing(real: type) -> int:
        prototype = ctypes.CFUNCTYPE(
            None, int_, int_, int_, size, size, size, real, pointer, size, pointer, size, real, pointer, size)
        kept.append(prototype(lambda *_: None))
        return ctypes.cast(kept[-1], pointer).value

    kept: list[object] = []
    single, double = map(does_nothing, (ctypes.c_float, ctypes.c_double))
    assert not multiplies(Blas("cblas64", "wrong", single, double))


def test_blas_keeps_its_threads() -> None:
    blas = find_blas()
    if not blas.get_threads:
        pytest.skip("this BLAS does not tell how many threads it uses")
    get = ctypes.CFUNCTYPE(ctypes.c_int)(blas.get_threads)
    before = get()
    multiply(plan_of("f32", 1, 200, 200, 200, False, False), runtime())
    assert get() == before


sizes = st.integers(1, 5000)


@given(m=sizes, n=sizes, k=sizes)
@settings(deadline=None, max_examples=200)
def test_panels_cover_the_product(m: int, n: int, k: int) -> None:
    panels = matmul.cut(m, n, k)
    assert 1 <= panels.rows <= m
    assert 1 <= panels.columns <= n
    assert panels.columns == n or panels.columns % 16 == 0
    assert panels.rows == m or panels.rows % 16 == 0
    _, chunks, _ = matmul.matmul_launch(Matmul(0, 1, 2, "f32", 3, m, n, k, False, False))
    assert chunks == 3 * -(-m // panels.rows) * -(-n // panels.columns)
