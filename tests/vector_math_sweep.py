"""How exact are the compiled exp, log and tanh? f32 on all 2^32 inputs, f64 on random ones, on every instruction set.

    python tests/vector_math_sweep.py              everything: three minutes for each function of f32
    python tests/vector_math_sweep.py f64 tanh     one dtype, one function

f32 is compared with NumPy in float64, f64 with NumPy's longdouble, which must have more digits than f64. Errors are in
units in the last place of the correctly rounded result. Where that is infinite or NaN the compiled result must be too.
Too slow for the test suite, which takes samples of it.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import product

import numpy as np
from native_kernels import compile_kernel, elementwise_kernel, runnable

from codegen.llvm_cpu.vector_math import FUNCTIONS

CHUNK = 1 << 22
F64_CHUNKS = 6
DTYPES = {"f32": (np.float32, np.uint32, np.float64), "f64": (np.float64, np.uint64, np.longdouble)}
HARD = {"exp": (-746.0, 710.0), "log": (0.25, 4.0), "tanh": (-20.0, 20.0)}


def error_in_ulps(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|result - exact| in units in the last place of exact as result's dtype; infinite where just one is special."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(result.dtype)
        same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
        error = np.abs(result.astype(exact.dtype) - exact) / np.spacing(np.abs(rounded)).astype(exact.dtype)
        special = ~np.isfinite(result) | ~np.isfinite(rounded)
    return np.where(special, np.where(same, 0.0, np.inf), error)


def inputs(op: str, dtype: str) -> Iterator[np.ndarray]:
    """All f32 numbers; for f64 random bits, and numbers from where the function is hardest."""
    number, bits, _ = DTYPES[dtype]
    if dtype == "f32":
        for first in range(0, 1 << 32, CHUNK):
            yield np.arange(first, first + CHUNK, dtype=bits).view(number)
        return
    generator = np.random.default_rng(0)
    for k in range(F64_CHUNKS):
        yield generator.integers(0, 1 << 64, CHUNK, dtype=bits).view(number)
        yield generator.uniform(*HARD[op], CHUNK) * 10.0 ** -(k % 3)


def sweep(dtype: str, op: str) -> None:
    """Print the largest error of one function on each instruction set, and where it is."""
    kernel = elementwise_kernel(op, {}, (dtype,), CHUNK)
    runs = {name: compile_kernel(kernel, features) for name, features in runnable().items()}
    worst = dict.fromkeys(runs, (0.0, 0.0))
    result = np.empty(CHUNK, DTYPES[dtype][0])
    count, started = 0, time.perf_counter()
    for x in inputs(op, dtype):
        with np.errstate(all="ignore"):
            exact = getattr(np, op)(x.astype(DTYPES[dtype][2]))
        for name, run in runs.items():
            run([x, result])
            error = error_in_ulps(result, exact)
            at = int(np.argmax(error))
            worst[name] = max(worst[name], (float(error[at]), float(x[at])))
        count += x.size
    for name, (error, where) in worst.items():
        print(f"{op:5} {dtype} {name:9} max {error:.3f} ulp at {where!r}  ({count} inputs)")
    print(f"      {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    for chosen in product(DTYPES, FUNCTIONS):
        if set(sys.argv[1:]) <= set(chosen):
            sweep(*chosen)
