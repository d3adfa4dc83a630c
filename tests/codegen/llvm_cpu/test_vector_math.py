"""The elementary functions on every instruction set: error on samples of all numbers, and what is special."""
from __future__ import annotations

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features, elementwise_kernel
from vector_math_sweep import HARD, error_in_ulps, error_of, exact, pairs

from codegen.ir.types import DTYPES
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.features import PORTABLE
from codegen.llvm_cpu.vector_math import FUNCTIONS, FUNCTIONS_OF_TWO, NOT_OF_F64
from codegen.schedule.kernel_text import parse_kernel
from codegen.schedule.signs import never_positive

TOLERANCE = 2.0
each_function = pytest.mark.parametrize("op", FUNCTIONS)
each_pair = pytest.mark.parametrize("op", FUNCTIONS_OF_TWO)
more_digits = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= 52, reason="longdouble is no longer than float64 here")


def apply(op: str, *operands: np.ndarray, features, vector: str | None = "i") -> np.ndarray:
    dtype = {4: "f32", 8: "f64"}[operands[0].itemsize]
    result = np.empty_like(operands[0])
    kernel = elementwise_kernel(op, {}, (dtype,) * len(operands), result.size, vector)
    compile_kernel(kernel, features)([*operands, result])
    return result


@each_features
@each_function
def test_f32_on_every_7919th_number(op, features):
    x = np.arange(0, 1 << 32, 7919, dtype=np.uint32).view(np.float32)
    assert error_of(op, apply(op, x, features=features), [x], np.float64).max() <= TOLERANCE


@each_features
@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
def test_what_is_known_not_to_be_positive_has_the_same_exp(dtype, features):
    """Bit for bit: random bits, what is subnormal or 0, infinity."""
    bits = {"f16": np.uint16, "f32": np.uint32, "f64": np.uint64}[dtype]
    width, count = 8 * np.dtype(bits).itemsize, 200_000
    generator = np.random.default_rng(0)
    x = np.concatenate([generator.integers(1 << width - 1, 1 << width, count, bits).view(DTYPES[dtype]),
                        -generator.uniform(0, 760 if dtype == "f64" else 110, count).astype(DTYPES[dtype]),
                        np.array([-0.0, float("-inf"), float("nan")], DTYPES[dtype])])
    found = []
    for op in ("abs", "neg"):                   # the sign of what neg gives is not known
        result = np.empty_like(x)
        kernel = parse_kernel(f"""kernel (b0: {dtype}[{x.size}] in, b1: {dtype}[{x.size}] out) {{
          for i < {x.size} vector:
            pass:
              v0 = load b0[i]
              v1 = {op} v0
              v2 = neg v1
              v3 = exp v2
              store b1[i] v3
        }}""")
        assert (2 in never_positive(kernel)) == (op == "abs")
        compile_kernel(kernel, features)([x, result])
        found.append(result)
    np.testing.assert_array_equal(*found)


@each_features
@pytest.mark.parametrize("vector", ["i", None])
@pytest.mark.parametrize("op", ["exp", "tanh"])
def test_however_many_lanes_there_are_exp_and_tanh_are_the_same(op, vector, features):
    """A row of three has four lanes, a number alone one: tables are of eight, or 32 for 16 lanes."""
    x = np.random.default_rng(0).uniform(-110, 95, 40).astype("f4")
    whole = apply(op, x, features=features)
    for count in (1, 2, 3, 6, 40):
        np.testing.assert_array_equal(apply(op, x[:count], features=features, vector=vector), whole[:count])


@more_digits
@each_features
@pytest.mark.parametrize("op", sorted(FUNCTIONS.keys() - NOT_OF_F64))
def test_f64_on_random_numbers(op, features):
    generator = np.random.default_rng(0)
    count = 30_000
    any_bits = generator.integers(0, 1 << 64, count, np.uint64).view(float)
    x = np.concatenate([any_bits, generator.uniform(*HARD[op], count),
                        1 + generator.normal(size=count) * 10.0 ** generator.integers(-17, 0, count)])
    assert error_of(op, apply(op, x, features=features), [x], np.longdouble).max() <= TOLERANCE


@more_digits
@each_features
@each_pair
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_functions_of_two(op, dtype, features):
    operands = pairs(op, dtype, 30_000, np.random.default_rng(1))
    wide = np.float64 if dtype == "f32" else np.longdouble
    assert error_of(op, apply(op, *operands, features=features), operands, wide).max() <= TOLERANCE


def specials(dtype: str) -> np.ndarray:
    """Zeros, limits, and numbers around those where the code takes another way."""
    type = DTYPES[dtype].type
    limits = np.finfo(type)
    steps = (*np.log([limits.max, limits.smallest_subnormal, limits.tiny]), 0.625, 0.5**0.5, 2**0.5, 9.5, 20, 44, 0.875,
             0.5, 7 / 16, 39 / 16, np.pi / 2, np.pi, 1.5e6, 2.0**20, 2.0**60, 1e30, 710, 3, 2.5)
    ends = [type(x) for x in steps]
    near = [np.nextafter(x, type(d)) for x in ends for d in (-np.inf, np.inf)]
    x = np.array([0.0, np.inf, np.nan, 1.0, limits.tiny, limits.smallest_subnormal, limits.max, limits.eps,
                  *ends, *near], type)
    return np.concatenate([x, -x])


@each_features
@each_function
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("vector", ["i", None])
def test_special_numbers(op, dtype, vector, features):
    if dtype == "f64" and op in NOT_OF_F64:
        pytest.skip("has no code")
    x = specials(dtype)
    wide = x.astype(np.float64 if op == "erfc" else np.longdouble)
    result, expected = apply(op, x, features=features, vector=vector), exact(op, wide)
    assert error_in_ulps(result, expected).max() <= TOLERANCE
    zeros = (expected == 0) & (result == 0)
    np.testing.assert_array_equal(np.signbit(result[zeros]), np.signbit(expected[zeros]))


@each_features
@each_pair
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("vector", ["i", None])
def test_special_pairs(op, dtype, vector, features):
    x, y = (np.ascontiguousarray(v.ravel()) for v in np.meshgrid(specials(dtype)[::2], specials(dtype)[1::2]))
    result, expected = apply(op, x, y, features=features, vector=vector), exact(op, *map(np.longdouble, (x, y)))
    assert error_of(op, result, [x, y], np.longdouble).max() <= TOLERANCE
    zeros = (expected == 0) & (result == 0)
    np.testing.assert_array_equal(np.signbit(result[zeros]), np.signbit(expected[zeros]))


@each_features
@pytest.mark.parametrize("op", ["sin", "cos", "tan"])
def test_great_angles_alone_and_among_small_ones(op, features):
    """The worst case of all f64 (Muller, 2016, table 11.2), and neighbors that have nothing to do with it."""
    x = np.zeros(67)
    x[[0, 5, 66]] = 6381956970095103.0 * 2.0**797, -1e22, 1e308
    x[1::3] = 0.75
    assert error_of(op, apply(op, x, features=features), [x], np.longdouble).max() <= TOLERANCE


@pytest.mark.parametrize("op", [*FUNCTIONS, *FUNCTIONS_OF_TWO])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_without_fused_multiply_add_none_is_written(op, dtype):
    """llvm.fma and llvm.ldexp would become a call for each lane where the processor has no such instruction."""
    text = emit_kernel(elementwise_kernel(op, {}, (dtype,) * (1 + (op in FUNCTIONS_OF_TWO)), 1000), "f", PORTABLE)
    for name in ("fma", "ldexp", "floor", "ceil", "trunc", "roundeven"):
        assert f"llvm.{name}." not in text
    assert "llvm.x86" not in text
