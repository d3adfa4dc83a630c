"""Running results, along lines that are one block and along longer ones, through the target, in the interpreter."""
from __future__ import annotations

import numpy as np
import pytest
from gpu_extra import needs_triton

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.ir.builder import Builder
from codegen.ir.interpret import interpret
from codegen.ir.ops import OPS
from codegen.ir.program import Exit
from codegen.ir.types import DTYPES, FLOATS, INTEGERS, type_of
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch
from codegen.triton_gpu.kernels import kernel_spec
from codegen.triton_gpu.scans import Scanner
from codegen.triton_gpu.target import gpu_machine

pytestmark = needs_triton

SCANS = [(op, dtype) for op in ("cumsum", "cumprod", "cummax", "cummin", "recurrence")
         for dtype in ("f32", "f64", "bf16", "i8", "u64")]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def numbers(op: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers whose running results stay near 1."""
    generator = np.random.default_rng(7)
    if dtype in INTEGERS:
        return generator.integers(0 if dtype[0] == "u" else -100, 100, shape).astype(DTYPES[dtype])
    return (np.exp(generator.normal(0, 0.01, shape)) if op == "cumprod" else generator.normal(0, 1, shape)).astype(
        DTYPES[dtype])


def run(op: str, operands: list[np.ndarray], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """What the target gives, and what the reference does."""
    b = Builder(op)
    graph = b.graph([b.emit(op, *(b.input(type_of(x)) for x in operands), axis=axis)])
    result, = compile_program(graph, "triton_gpu", cache=Cache(None))(*operands)
    expected = interpret(graph, operands)
    assert not isinstance(expected, Exit)
    return result, expected[0]


@pytest.mark.parametrize("shape, axis", [((3, 700), 1), ((5000,), 0), ((2, 4500), 1), ((90, 40), 0)],
                         ids=["rows", "a line", "long rows", "columns"])
@pytest.mark.parametrize("op, dtype", [(op, d) for op, d in SCANS if Scanner(op, d).by_blocks])
def test_running_results_of_whole_blocks(op, dtype, shape, axis):
    agree(op, dtype, shape, axis)


def agree(op: str, dtype: str, shape: tuple[int, ...], axis: int) -> None:
    """Running results are those of the reference; sums and products of floats nearly."""
    result, expected = run(op, [numbers(op, dtype, shape)], axis)
    if dtype not in FLOATS or op in ("cummax", "cummin"):
        np.testing.assert_array_equal(result, expected)
    else:                           # f64 carries no more than it gives; of the others what is carried is rounded once
        tolerance = 1e-12 if dtype == "f64" else float(2 ** -22 if dtype == "f32" else 2 ** -7)
        np.testing.assert_allclose(result.astype("f8"), expected.astype("f8"), tolerance, 100 * tolerance)


@pytest.mark.parametrize("shape, axis", [((50001,), 0), ((2, 17000), 1), ((900, 40), 0)],
                         ids=["a line", "long rows", "columns"])
@pytest.mark.parametrize("op, dtype", [("cumsum", "f32"), ("cumsum", "bf16"), ("cumprod", "i8"), ("cummax", "f64")])
def test_long_lines_are_scanned_in_blocks_by_several_programs(op, dtype, shape, axis):
    operand = numbers(op, dtype, shape)
    b = Builder(op)
    graph = b.graph([b.emit(op, b.input(type_of(operand)), axis=axis)])
    launches = [step.kernel for step in schedule(graph, machine=gpu_machine()).steps if isinstance(step, Launch)]
    assert len(launches) == 3 and kernel_spec(launches[2]).grid > 4
    agree(op, dtype, shape, axis)


@pytest.mark.parametrize("op, dtype", [(op, d) for op, d in SCANS if not Scanner(op, d).by_blocks])
def test_running_results_in_order(op, dtype):
    operands = [numbers(op, dtype, (3, 40)) for _ in range(OPS[op].arity)]
    result, expected = run(op, operands, 1)
    np.testing.assert_allclose(result.astype("f8"), expected.astype("f8"), 2 ** -7 if dtype == "bf16" else 2 ** -22)


def test_a_running_maximum_is_nan_from_the_first_nan_on():
    x = numbers("cummax", "f32", (5000,))
    x[3000] = np.nan
    result, expected = run("cummax", [x], 0)
    np.testing.assert_array_equal(result, expected)
    assert np.isnan(result[3000:]).all() and not np.isnan(result[:3000]).any()


@pytest.mark.parametrize("length", [5000, 50001])
def test_a_running_sum_of_zeros_below_0_is_one(length):
    x = np.full(length, -0.0, np.float32)
    result, _ = run("cumsum", [x], 0)
    assert np.signbit(result).all()
    x[length // 2] = 0.0
    result, _ = run("cumsum", [x], 0)
    np.testing.assert_array_equal(np.signbit(result), np.arange(length) < length // 2)
