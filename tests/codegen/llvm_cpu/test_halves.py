"""f16 and bf16 on each instruction set: every number goes through memory and registers, and rounding is NumPy's."""
from __future__ import annotations

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features, elementwise_kernel

from codegen.ir.edges import same_bits
from codegen.ir.ops import OPS
from codegen.ir.references import cast
from codegen.ir.types import DTYPES

each_half = pytest.mark.parametrize("dtype", ["f16", "bf16"])


def all_numbers(dtype: str) -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint16).view(DTYPES[dtype])


def compiled(x: np.ndarray, source: str, target: str, features) -> np.ndarray:
    result = np.empty(x.size, DTYPES[target])
    compile_kernel(elementwise_kernel("cast", {"dtype": target}, (source,), x.size), features)([x, result])
    return result


@each_features
@each_half
def test_every_number_is_loaded_and_stored(dtype, features):
    x = all_numbers(dtype)
    assert same_bits(compiled(x, dtype, "f32", features), x.astype(np.float32))
    result = np.empty_like(x)
    compile_kernel(elementwise_kernel("detach", {}, (dtype,), x.size), features)([x, result])
    assert same_bits(result, x)


@each_features
@each_half
def test_rounding_from_f32_around_every_number_and_every_tie(dtype, features):
    exact = all_numbers(dtype).astype(np.float32)
    ties = exact.view(np.uint32) + np.uint32(0x1000 if dtype == "f16" else 0x8000)
    x = np.concatenate([np.concatenate([bits - 1, bits, bits + 1]) for bits in (exact.view(np.uint32), ties)])
    x = x.view(np.float32)
    assert same_bits(compiled(x, "f32", dtype, features), cast(x, dtype=dtype))
    small = (np.arange(1 << 16) * 2.0**-30).astype(np.float32)          # below the least normal f16
    assert same_bits(compiled(small, "f32", dtype, features), cast(small, dtype=dtype))


@each_features
@each_half
def test_rounding_from_f64_happens_as_often_as_eagerly(dtype, features):
    exact = all_numbers(dtype).astype(np.float32).astype(np.float64)
    exact = exact[np.isfinite(exact)]
    ties = (exact + np.roll(exact, 1)) / 2
    x = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf), exact])
    assert same_bits(compiled(x, "f64", dtype, features), cast(x, dtype=dtype))


@each_features
@each_half
@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "sqrt"])
def test_what_instructions_make_of_every_number(op, dtype, features):
    """NaNs of every payload, and those that are made: of inf - inf, 0 inf, 0 / 0, the root of -1."""
    x = all_numbers(dtype)
    for y in (np.random.default_rng(0).permutation(x), np.roll(x, 1), np.full_like(x, np.inf), np.full_like(x, np.nan)):
        arrays = [x, y][:OPS[op].arity]
        result = np.empty_like(x)
        kernel = elementwise_kernel(op, {}, (dtype,) * len(arrays), x.size)
        compile_kernel(kernel, features)([*arrays, result])
        with np.errstate(all="ignore"):
            assert same_bits(result, OPS[op].reference(*arrays))
