"""exp, log and tanh on every instruction set: error on samples of all numbers, and what is special."""
from __future__ import annotations

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features, elementwise_kernel
from vector_math_sweep import HARD, error_in_ulps

from codegen.ir.types import DTYPES
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.features import PORTABLE
from codegen.llvm_cpu.vector_math import FUNCTIONS

TOLERANCE = 1.5
each_function = pytest.mark.parametrize("op", FUNCTIONS)


def apply(op: str, x: np.ndarray, features, vector: str | None = "i") -> np.ndarray:
    dtype = {4: "f32", 8: "f64"}[x.itemsize]
    result = np.empty_like(x)
    compile_kernel(elementwise_kernel(op, {}, (dtype,), x.size, vector), features)([x, result])
    return result


def exact(op: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return getattr(np, op)(x)


@each_features
@each_function
def test_f32_on_every_3989th_number(op, features):
    x = np.arange(0, 1 << 32, 3989, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        wide = x.astype(float)
    assert error_in_ulps(apply(op, x, features), exact(op, wide)).max() <= TOLERANCE


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="longdouble is no longer than float64 here")
@each_features
@each_function
def test_f64_on_random_numbers(op, features):
    generator = np.random.default_rng(0)
    count = 100_000
    any_bits = generator.integers(0, 1 << 64, count, np.uint64).view(float)
    x = np.concatenate([any_bits, generator.uniform(*HARD[op], count),
                        1 + generator.normal(size=count) * 10.0 ** generator.integers(-17, 0, count)])
    with np.errstate(all="ignore"):
        wide = x.astype(np.longdouble)
    assert error_in_ulps(apply(op, x, features), exact(op, wide)).max() <= TOLERANCE


@each_features
@each_function
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("vector", ["i", None])
def test_special_numbers(op, dtype, vector, features):
    type = DTYPES[dtype].type
    limits = np.finfo(type)
    steps = (*np.log([limits.max, limits.smallest_subnormal, limits.tiny]), 0.625, 0.5**0.5, 2**0.5, 9.5, 20)
    ends = [type(x) for x in steps]
    near = [np.nextafter(x, type(d)) for x in ends for d in (-np.inf, np.inf)]
    x = np.array([0.0, np.inf, np.nan, 1.0, limits.tiny, limits.smallest_subnormal, limits.max, limits.eps,
                  *ends, *near], type)
    x = np.concatenate([x, -x])
    result, expected = apply(op, x, features, vector), exact(op, x.astype(np.longdouble))
    assert error_in_ulps(result, expected).max() <= TOLERANCE
    zeros = expected == 0
    np.testing.assert_array_equal(np.signbit(result[zeros]), np.signbit(expected[zeros]))


@each_function
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_without_fused_multiply_add_none_is_written(op, dtype):
    """llvm.fma and llvm.ldexp would become a call for each lane where the processor has no such instruction."""
    text = emit_kernel(elementwise_kernel(op, {}, (dtype,), 1000), "f", PORTABLE)
    assert "llvm.fma" not in text and "llvm.ldexp" not in text
