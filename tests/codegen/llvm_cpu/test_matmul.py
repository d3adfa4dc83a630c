"""Products by our own code and by each BLAS that is here, cut into panels by shape alone."""
from __future__ import annotations

import ctypes
import threading
from functools import cache
from itertools import product

import numpy as np
import pytest
from guarded_memory import guarded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codegen import Cache, compile_program, parse, planning
from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu import blas_panels, encode, matmul, products, threads
from codegen.llvm_cpu.blas import OWN, Blas, candidates, find_blas, multiplies
from codegen.llvm_cpu.entry import make_run
from codegen.llvm_cpu.features import AVX2, AVX512, PORTABLE, Features, host_features
from codegen.llvm_cpu.gemm import emit_gemm
from codegen.llvm_cpu.gemm_panels import LITERALS, MOST_COLUMNS, MOST_ROWS, Width, tile
from codegen.llvm_cpu.link import PLAIN, assembly, compile_object, link
from codegen.llvm_cpu.runtime import Runtime, load_runtime
from codegen.schedule.blocks import program_of_plan
from codegen.schedule.plan import Buffer, Input, Matmul, Output, Plan

SHAPES = [(1, 1, 1), (3, 5, 4), (64, 10, 512), (1, 512, 33), (130, 1, 70), (5, 33, 600),
          (250, 90, 1500), (260, 1100, 130), (1, 1100, 37), (9, 40, 300)]
WIDTHS: tuple[Width, ...] = ("usual", "wide", "narrow")
TURNS = list(product((False, True), repeat=2))


@cache
def own(features: Features) -> Runtime:
    """A runtime whose products are computed by our own code for `features`."""
    base = load_runtime(OWN)
    functions = {symbol: link(compile_object(emit(dtype, symbol, features)), [symbol])[symbol]
                 for symbol, (emit, dtype) in products.FUNCTIONS.items() if dtype in blas_panels.LLVM_TYPES}
    return Runtime({**base.symbols, **functions}, OWN)


@cache
def by_blas(kind: str) -> Runtime:
    """A runtime whose products are computed by the BLAS of that kind."""
    return load_runtime(next(blas for blas in candidates() if blas.kind == kind))


PRESETS = {f"{f.vector_bytes} bytes": f for f in (AVX512, AVX2, PORTABLE, host_features())}
"""Of each width of vectors the preset, or this processor. What it does not have LLVM makes of what it has."""

MULTIPLIERS = {
    **{f"own, {name}": lambda features=features: own(features) for name, features in PRESETS.items()},
    **{blas.kind: lambda kind=blas.kind: by_blas(kind) for blas in candidates()},
}


@pytest.fixture(params=MULTIPLIERS)
def multiplier(request: pytest.FixtureRequest) -> Runtime:
    return MULTIPLIERS[request.param]()


def plan_of(dtype: str, batch: int, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool) -> Plan:
    a, b = (batch, k, m) if transpose_a else (batch, m, k), (batch, n, k) if transpose_b else (batch, k, n)
    places = ((batch * m * k, Input(0)), (batch * k * n, Input(1)), (batch * m * n, Output(0)))
    buffers = tuple(Buffer(dtype, size, place) for size, place in places)
    step = Matmul(0, 1, 2, dtype, batch, m, n, k, transpose_a, transpose_b)
    types = TensorType(dtype, a), TensorType(dtype, b), TensorType(dtype, (batch, m, n))
    return Plan(types[:2], types[2:], (), buffers, (step,), 0)


def multiply(plan: Plan, base: Runtime, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, c) with c as the driver computes it; what lies around c is not touched."""
    dtype = DTYPES[plan.inputs[0].dtype]
    random = np.random.default_rng(seed)
    a, b = (random.standard_normal(type.shape).astype(dtype) for type in plan.inputs)
    size = plan.buffers[2].size
    room = np.full(size + 128, np.nan, dtype)
    c = room[64:64 + size].reshape(plan.outputs[0].shape)
    run = make_run(encode.encode(program_of_plan(plan), {}, base.symbols, base.blas), 0, base.symbols)
    assert run((a, b, c)) == -1
    assert np.all(np.isnan(room[:64]))
    assert np.all(np.isnan(room[64 + size:]))
    return a, b, c


@pytest.mark.parametrize("dtype", blas_panels.LLVM_TYPES)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TURNS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(
        multiplier: Runtime, dtype: str, shape: tuple[int, int, int], transpose_a: bool, transpose_b: bool) -> None:
    m, n, k = shape
    a, b, c = multiply(plan_of(dtype, 2, m, n, k, transpose_a, transpose_b), multiplier)
    left, right = (np.swapaxes(x, 1, 2) if t else x for x, t in ((a, transpose_a), (b, transpose_b)))
    exact = left.astype(np.float64) @ right.astype(np.float64)
    bound = np.abs(left).astype(np.float64) @ np.abs(right).astype(np.float64) * np.finfo(a.dtype).eps * (k + 1)
    assert np.all(np.abs(c - exact) <= bound)


@pytest.mark.parametrize(("batch", "m", "n", "k"), [(2, 3, 4, 0), (0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5)])
def test_empty_products(multiplier: Runtime, batch: int, m: int, n: int, k: int) -> None:
    *_, c = multiply(plan_of("f32", batch, m, n, k, False, False), multiplier)
    assert np.array_equal(c, np.zeros((batch, m, n), np.float32))


@pytest.mark.parametrize("shape", [(64, 512, 784), (700, 90, 300), (300, 310, 400), (40, 2100, 520),
                                   (1, 3000, 1000)], ids=str)
@pytest.mark.parametrize("transpose_b", [False, True])
def test_the_number_of_threads_does_not_change_a_bit(
        multiplier: Runtime, shape: tuple[int, int, int], transpose_b: bool) -> None:
    plan = plan_of("f32", 1, *shape, not transpose_b, transpose_b)
    before = threads.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            threads.set_num_threads(count)
            results.append(multiply(plan, multiplier)[2])
    finally:
        threads.set_num_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TURNS)
def test_our_own_sums_go_term_by_term(transpose_a: bool, transpose_b: bool) -> None:
    """One chain of fused multiply-adds for each element, in order. f64 holds the product of two f32 exactly."""
    a, b, c = multiply(plan_of("f32", 1, 14, 40, 700, transpose_a, transpose_b), own(host_features()))
    if not host_features().fma:
        pytest.skip("without fused multiply-add the products are rounded too")
    left, right = a[0].T if transpose_a else a[0], b[0].T if transpose_b else b[0]
    total = np.zeros(c.shape[1:], np.float32)
    for term in range(700):
        product_ = left[:, term, None].astype(np.float64) * right[term].astype(np.float64)
        total = _rounded_sum(total, product_)
    assert np.array_equal(c[0], total)


def test_threads_with_small_stacks_multiply_too() -> None:
    """More of them at once than rooms are kept; what operands are arranged in is not on their stacks."""
    plan, base = plan_of("f32", 1, 90, 300, 300, True, True), own(host_features())
    a, b, c = multiply(plan, base)
    run = make_run(encode.encode(program_of_plan(plan), {}, base.symbols, base.blas), 0, base.symbols)
    results = [np.zeros_like(c) for _ in range(80)]
    before = threading.stack_size(1 << 16)
    try:
        several = [threading.Thread(target=lambda out=out: [run((a, b, out)) for _ in range(5)]) for out in results]
        for thread in several:
            thread.start()
    finally:
        threading.stack_size(before)
    for thread in several:
        thread.join()
    assert all(np.array_equal(out, c) for out in results)


@pytest.mark.parametrize("dtype", blas_panels.LLVM_TYPES)
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("k", [1, 3, 16, 31, 700])
@pytest.mark.parametrize("features", PRESETS.values(), ids=PRESETS)
def test_one_row_or_column_reads_its_operands_and_no_more(
        dtype: str, column: bool, k: int, features: Features) -> None:
    """Products that are dot products; each is the same, however many there are beside it."""
    base, type = own(features), DTYPES[dtype]
    random = np.random.default_rng(1)
    vector, matrix = random.standard_normal(k).astype(type), random.standard_normal((1100, k)).astype(type)
    whole = None
    for n in (1100, 1, 7, 8, 65):
        plan = plan_of(dtype, 1, n, 1, k, False, False) if column else plan_of(dtype, 1, 1, n, k, False, True)
        c = guarded(np.full(n, np.nan, type), True)
        operands = guarded(vector, True), guarded(matrix[:n], True)
        run = make_run(encode.encode(program_of_plan(plan), {}, base.symbols, base.blas), 0, base.symbols)
        assert run((*(operands[::-1] if column else operands), c)) == -1
        whole = c if whole is None else whole
        assert np.array_equal(c, whole[:n])
    bound = np.abs(matrix).astype(float) @ np.abs(vector).astype(float) * np.finfo(type).eps * (k + 1)
    assert np.all(np.abs(whole - matrix.astype(np.longdouble) @ vector) <= bound)


def _rounded_sum(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y rounded once to f32: first in f64, to odd, which makes the second rounding harmless."""
    total = x.astype(np.float64) + y
    part = total - y
    error = (x - part) + (y - (total - part))
    inexact = (error != 0) & (total.view(np.int64) & 1 == 0)
    toward = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(inexact, (total.view(np.int64) + toward).view(np.float64), total).astype(np.float32)


def test_infinities_and_nans_stay_where_they_are() -> None:
    plan = plan_of("f32", 1, 5, 40, 7, False, False)
    a, b = np.ones((1, 5, 7), np.float32), np.ones((1, 7, 40), np.float32)
    a[0, 4, 6], b[0, 6, 39] = np.inf, np.nan
    c = np.zeros((1, 5, 40), np.float32)
    base = own(host_features())
    run = make_run(encode.encode(program_of_plan(plan), {}, base.symbols, base.blas), 0, base.symbols)
    assert run((a, b, c)) == -1
    with np.errstate(invalid="ignore"):
        assert np.array_equal(c, a @ b, equal_nan=True)


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


def test_a_blas_is_found() -> None:
    """NumPy and SciPy each bring one along."""
    assert {blas.kind for blas in candidates()} >= {"fortran"}
    assert find_blas() != OWN


def test_blas_keeps_its_threads() -> None:
    blas = find_blas()
    if not blas.get_threads:
        pytest.skip("this BLAS does not tell how many threads it uses")
    get = ctypes.CFUNCTYPE(ctypes.c_int)(blas.get_threads)
    before = get()
    multiply(plan_of("f32", 1, 200, 200, 200, False, False), load_runtime(blas))
    assert get() == before


def test_who_multiplies() -> None:
    assert blas_panels.multiplier(AVX512) == OWN
    assert blas_panels.multiplier(PORTABLE) == find_blas()
    blas, small, large = blas_panels.multiplier(AVX2), product_of(1625), product_of(1626)
    assert matmul.own_function(small, blas) == matmul.function_of(1625, 1625, 1625, "f32", host_features())
    assert matmul.by_blas(large, blas) == (blas.kind != "own")
    assert not matmul.by_blas(large, OWN)


@pytest.mark.parametrize("features", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("width", WIDTHS)
def test_stretches_are_of_whole_squares(features: Features, width: Width) -> None:
    """Each multiple of a square of terms, up to the most, fits where operands are arranged."""
    assert tile(features, width).terms % 16 == 0 or features.vector_bytes < 64
    assert tile(features, width).terms % 8 == 0


@pytest.mark.parametrize("dtype", blas_panels.LLVM_TYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.skipif(host_features().vector_bytes < 32, reason="the registers of AVX2, or of AVX-512")
def test_the_innermost_loops_keep_all_in_registers(dtype: str, width: Width) -> None:
    features, register = (AVX512, "zmm") if host_features().vector_bytes == 64 else (AVX2, "ymm")
    lines = assembly(emit_gemm(dtype, "gemm", features, width), PLAIN).splitlines()
    spilled = [line for line in lines if register in line and ("(%rsp)" in line or "[rsp" in line)]
    assert not spilled


@pytest.mark.parametrize(("m", "n", "k", "name"), [
    (512, 512, 512, "gemm_wide"), (64, 784, 784, "gemm_wide"), (64, 784, 512, "gemm"), (63, 1024, 1024, "gemm"),
    (512, 80, 2048, "gemm"), (512, 1, 512, "gemm_row"), (1, 512, 512, "gemm_row")])
def test_wide_strips_are_for_large_products_that_fill_them(m: int, n: int, k: int, name: str) -> None:
    usual, strips = name.replace("_wide", ""), -(-n // 64)
    assert matmul.function_of(m, n, k, "f32", AVX2) == f"{name}_f32"
    assert matmul.function_of(m, n, k, "f32", PORTABLE) == f"{usual}_f32"
    assert matmul.function_of(m, n, k, "f32", AVX512) == f"{name if 64 * strips <= 1.03 * n else usual}_f32"


@pytest.mark.parametrize(("m", "n", "k", "dtype", "name"), [
    (4096, 8, 512, "f32", "gemm_narrow"), (4096, 16, 512, "f32", "gemm_narrow"), (4096, 17, 512, "f32", "gemm"),
    (64, 10, 512, "f32", "gemm"), (4096, 9, 512, "f64", "gemm"), (4096, 8, 512, "f64", "gemm_narrow"),
    (8, 4096, 512, "f32", "gemm"), (4096, 1, 512, "f32", "gemm_row")])
def test_narrow_strips_are_for_columns_that_fit_a_vector(m: int, n: int, k: int, dtype: str, name: str) -> None:
    assert matmul.function_of(m, n, k, dtype, AVX512) == f"{name}_{dtype}"
    assert "narrow" not in matmul.function_of(m, n, k, dtype, AVX2)


def test_half_as_many_multiply_adds_of_f64_are_worth_another_thread() -> None:
    f32, f64 = (Matmul(0, 1, 2, dtype, 1, 64, 64, 64, False, False) for dtype in ("f32", "f64"))
    assert (matmul.launch(f32, OWN).chunks, matmul.launch(f64, OWN).chunks) == (1, 2)


def product_of(size: int) -> Matmul:
    return Matmul(0, 1, 2, "f32", 1, size, size, size, False, False)


sizes = st.integers(1, 5000)


@given(m=sizes, n=sizes, k=sizes, transpose_a=st.booleans())
@example(64, 64, 64, False)
@settings(deadline=None, max_examples=200)
def test_panels_cover_the_product(m: int, n: int, k: int, transpose_a: bool) -> None:
    step = Matmul(0, 1, 2, "f32", 3, m, n, k, transpose_a, False)
    for launch in (matmul.launch(step, OWN), matmul.launch(step, Blas("cblas64", "some"))):
        names = LITERALS if launch.symbol.startswith("gemm") else (
            "m", "n", "k", "a_row", "transposed", "rows", "columns", "across", "panels")
        of = dict(zip(names, launch.literals, strict=True))
        assert {of["m"], of["n"]} == {m, n}
        assert of["across"] == -(-of["n"] // of["columns"])
        assert of["panels"] == of["across"] * -(-of["m"] // of["rows"])
        assert launch.chunks == 3 * of["panels"]
        if not launch.symbol.startswith(("gemm_row", "blas")):
            panel = min(m, of["rows"]) * min(n, of["columns"])
            worth = panel * k >= matmul.HANDED_WORK + matmul.HANDED * min(panel, 1 << 14)
            assert worth or of["panels"] == 1 or m > MOST_ROWS or n > MOST_COLUMNS
            assert of["rows"] <= MOST_ROWS
            assert of["columns"] <= MOST_COLUMNS


@pytest.mark.parametrize("dtype", blas_panels.LLVM_TYPES)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TURNS)
@pytest.mark.parametrize("shape", [(64, 512, 784), (300, 310, 400), (65, 97, 137), (17, 33, 545), (40, 260, 1040)],
                         ids=str)
@pytest.mark.parametrize("features", [AVX2, AVX512], ids=["AVX2", "AVX-512"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_other_strips_give_the_same_bits(width: Width, dtype: str, shape: tuple[int, int, int], transpose_a: bool,
                                        transpose_b: bool, features: Features) -> None:
    usual, plan = own(features), plan_of(dtype, 1, *shape, transpose_a, transpose_b)
    other = Runtime({**usual.symbols, f"gemm_{dtype}": usual.symbols[f"gemm_{width}_{dtype}"]}, OWN)
    np.testing.assert_array_equal(multiply(plan, other)[2], multiply(plan, usual)[2])


def test_what_multiplies_is_compiled_while_a_program_is_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """graph f(%0: f32[30,20], %1: f32[20,40], %2: f32[40,1]) {
      %3 = matmul %0, %1 : f32[30,40]
      %4 = matmul %3, %2 : f32[30,1]
      return %4
    }"""
    right, scheduled, loaded = products.product, planning.schedule_tree, []
    monkeypatch.setattr(products, "product", lambda name, *rest: loaded.append(name) or right(name, *rest))
    monkeypatch.setattr(planning, "schedule_tree", lambda *of: loaded.append("scheduled") or scheduled(*of))
    rng = np.random.default_rng(0)
    arrays = [rng.random(shape, np.float32) for shape in ((30, 20), (20, 40), (40, 1))]
    y, = compile_program(parse(text), cache=Cache(None))(*arrays)
    np.testing.assert_allclose(y, arrays[0] @ arrays[1] @ arrays[2], rtol=1e-5)
    assert loaded == (["gemm_f32", "gemm_row_f32", "scheduled"] if own_multiplies() else ["scheduled"])


def own_multiplies() -> bool:
    blas = blas_panels.multiplier(host_features())
    return blas == OWN or blas.above > 0
