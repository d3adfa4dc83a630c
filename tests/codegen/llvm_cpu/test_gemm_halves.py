"""Products of bf16 in tile registers, and those of f32 where there are none."""
from __future__ import annotations

import os
from functools import cache
from itertools import product

import numpy as np
import pytest
from guarded_memory import guarded

from codegen import Cache, compile_program, parse
from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu import encode, products, threads, tile_registers
from codegen.llvm_cpu.blas import OWN
from codegen.llvm_cpu.entry import make_run
from codegen.llvm_cpu.features import AVX512, features_of, host_features
from codegen.llvm_cpu.link import COLD, PLAIN, compile_object, link
from codegen.llvm_cpu.runtime import Runtime, load_runtime
from codegen.schedule.blocks import program_of_plan
from codegen.schedule.plan import Buffer, Input, Matmul, Output, Plan

HALF = DTYPES["bf16"]
SHAPES = [(3, 5, 4), (32, 32, 32), (17, 33, 65), (64, 10, 512), (2, 512, 33), (130, 2, 70), (48, 90, 31),
          (5, 33, 1100), (545, 40, 67), (40, 1050, 70)]
ROWS = [(1, 1, 1), (1, 512, 33), (1, 2100, 40), (130, 1, 70), (9, 1, 600), (1, 5, 4), (1, 1, 700)]
TURNS = list(product((False, True), repeat=2))

in_tiles = pytest.mark.skipif(not (host_features().tiles and tile_registers.are_permitted()),
                              reason="there are no tile registers here")


@cache
def own(level: int = PLAIN) -> Runtime:
    base, symbols = load_runtime(OWN), dict[str, int]()
    for name in ("gemm_bf16", "gemm_row_bf16"):
        emit, dtype = products.FUNCTIONS[name]
        symbols |= link(compile_object(emit(dtype, name, host_features()), level), [name])
    return Runtime({**base.symbols, **symbols}, OWN)


def plan_of(batch: int, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool) -> Plan:
    a, b = (batch, k, m) if transpose_a else (batch, m, k), (batch, n, k) if transpose_b else (batch, k, n)
    places = ((batch * m * k, Input(0)), (batch * k * n, Input(1)), (batch * m * n, Output(0)))
    step = Matmul(0, 1, 2, "bf16", batch, m, n, k, transpose_a, transpose_b)
    types = tuple(TensorType("bf16", shape) for shape in (a, b, (batch, m, n)))
    return Plan(types[:2], types[2:], (), tuple(Buffer("bf16", *place) for place in places), (step,), 0)


def multiply(plan: Plan, base: Runtime, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    c = guarded(np.full(plan.outputs[0].shape, np.nan, HALF), True)
    run = make_run(encode.encode(program_of_plan(plan), {}, base.symbols, base.blas), 0, base.symbols)
    assert run((guarded(a, True), guarded(b, True), c)) == -1
    return c


def operands(plan: Plan, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(type.shape).astype(HALF) for type in plan.inputs]


def by_rows(x: np.ndarray, turned: bool) -> np.ndarray:
    return np.swapaxes(x, 1, 2) if turned else x


def as_the_processor(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Over each 32 terms a chain of the even ones and one of the odd ones, both added to the sum so far."""
    left, right = a.astype(np.float32), b.astype(np.float32)
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for first in range(0, a.shape[1], 32):
        chains = [np.zeros_like(total), np.zeros_like(total)]
        for term in range(first, min(first + 32, a.shape[1])):
            chains[term % 2] += left[:, term, None] * right[term]       # two bf16 multiply exactly
        total += chains[0] + chains[1]
    return total.astype(HALF)


@in_tiles
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TURNS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_are_sums_of_two_chains(shape: tuple[int, int, int], transpose_a: bool, transpose_b: bool) -> None:
    """Of each size and layout, bit for bit; operands and result are at the end of what may be touched."""
    plan = plan_of(2, *shape, transpose_a, transpose_b)
    a, b = operands(plan)
    c = multiply(plan, own(), a, b)
    for left, right, found in zip(by_rows(a, transpose_a), by_rows(b, transpose_b), c):
        np.testing.assert_array_equal(found, as_the_processor(left, right))


def as_one_row(row: np.ndarray, matrix: np.ndarray, along: bool) -> np.ndarray:
    """A chain of all terms, or one for each lane of f32 where columns lie `along` in memory, then neighbors added."""
    lanes = host_features().vector_bytes // 4 if along else 1
    terms = row.astype(np.float32)[:, None] * matrix.astype(np.float32)
    sums = np.zeros((lanes, terms.shape[1]), np.float32)
    for term, exact in enumerate(terms):
        sums[term % lanes] += exact
    while len(sums) > 1:
        sums = sums[::2] + sums[1::2]
    return sums[0].astype(HALF)


@in_tiles
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TURNS)
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_one_row_or_column(shape: tuple[int, int, int], transpose_a: bool, transpose_b: bool) -> None:
    plan = plan_of(2, *shape, transpose_a, transpose_b)
    a, b = operands(plan)
    c = multiply(plan, own(), a, b)
    column = shape[1] == 1
    for left, right, found in zip(by_rows(a, transpose_a), by_rows(b, transpose_b), c):
        row, matrix = (right.T[0], left.T) if column else (left[0], right)
        expected = as_one_row(row, matrix, along=not transpose_a if column else transpose_b)
        np.testing.assert_array_equal(found.reshape(-1), expected)


@in_tiles
def test_a_draft_gives_the_same_bits() -> None:
    plan = plan_of(1, 70, 90, 530, True, False)
    given = operands(plan)
    np.testing.assert_array_equal(multiply(plan, own(COLD), *given), multiply(plan, own(), *given))


@in_tiles
@pytest.mark.parametrize("shape", [(600, 70, 300), (300, 1100, 40), (130, 600, 520), (1, 3000, 1000), (3000, 1, 1000)],
                         ids=str)
def test_the_number_of_threads_does_not_change_a_bit(shape: tuple[int, int, int]) -> None:
    plan = plan_of(1, *shape, False, True)
    given, before, results = operands(plan), threads.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            threads.set_num_threads(count)
            results.append(multiply(plan, own(), *given))
    finally:
        threads.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@in_tiles
def test_special_values_stay_where_they_are_and_subnormals_are_0() -> None:
    plan = plan_of(1, 5, 40, 7, False, False)
    a, b = np.ones((1, 5, 7), HALF), np.ones((1, 7, 40), HALF)
    a[0, 4, 6], b[0, 6, 39], a[0, 0, 0], a[0, 1, :] = np.inf, np.nan, 1e-39, 2.0**-70
    b[0, :, 3] = 2.0**-60
    c = multiply(plan, own(), a, b)[0]
    with np.errstate(invalid="ignore"):
        expected = a[0].astype(np.float32) @ b[0].astype(np.float32)
    assert c[0, 0] == 6 == expected[0, 0]
    assert c[1, 3] == 0 < expected[1, 3]
    c[1, 3] = expected[1, 3]
    np.testing.assert_array_equal(c.astype(np.float32), expected.astype(HALF).astype(np.float32))


TEXT = """graph f(%0: bf16[40,70], %1: bf16[70,50]) {
  %2 = matmul %0, %1 : bf16[40,50]
  %3 = mul %2, %2 : bf16[40,50]
  return %3
}"""


def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((40, 70)).astype(HALF), random.standard_normal((70, 50)).astype(HALF)


def multiplied(executable) -> list[str]:
    return [step.dtype for step in executable.measured.plan.steps if isinstance(step, Matmul)]


@pytest.mark.parametrize("permitted", [False, True])
def test_a_process_that_may_not_use_tiles_multiplies_f32(monkeypatch: pytest.MonkeyPatch, permitted: bool) -> None:
    tiles = permitted and host_features().tiles and tile_registers.are_permitted()
    monkeypatch.setattr(tile_registers, "are_permitted", lambda: permitted)
    executable = compile_program(parse(TEXT), cache=Cache(None))
    assert multiplied(executable) == ["bf16" if tiles else "f32"]
    a, b = arrays()
    y, = executable(a, b)
    product_ = a.astype(float) @ b.astype(float)
    np.testing.assert_allclose(y.astype(float), product_ * product_, rtol=0.02)


def test_nothing_is_asked_of_the_system_where_no_bf16_is_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(tile_registers, "are_permitted", lambda: asked.append(1) or False)
    compile_program(parse(TEXT.replace("bf16", "f32")), cache=Cache(None))
    assert not asked
    compile_program(parse(TEXT), cache=Cache(None))
    assert bool(asked) == host_features().tiles


@in_tiles
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_multiplies_too() -> None:
    executable, (a, b) = compile_program(parse(TEXT), cache=Cache(None)), arrays()
    expected, = executable(a, b)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(executable(a, b)[0], expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_tiles_belong_to_processors_that_have_all_of_it() -> None:
    wide = AVX512.flags
    assert not AVX512.tiles
    assert features_of("", f"{wide},+amx-tile,+amx-bf16,+avx512bf16").tiles
    assert not features_of("", f"{wide},+amx-tile,-amx-bf16,+avx512bf16").tiles
    assert not features_of("", "+avx2,+fma,+amx-tile,+amx-bf16,+avx512bf16").tiles
