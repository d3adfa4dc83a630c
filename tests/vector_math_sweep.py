"""How exact are the compiled elementary functions? On all f32 inputs or some, on random f64, on every instruction set.

    python tests/vector_math_sweep.py              everything: three minutes for each function of f32
    python tests/vector_math_sweep.py f64 tanh     one dtype, one function
    python tests/vector_math_sweep.py 61 f32       every 61st f32

f32 is compared with NumPy and SciPy in float64, f64 with NumPy's longdouble, which must have more digits than f64.
Errors are in units in the last place of the correctly rounded result. Where that is infinite or NaN the compiled result
must be too. Too slow for the test suite, which takes samples of it.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import product

import numpy as np
from native_kernels import compile_kernel, elementwise_kernel, runnable
from scipy import special

from codegen.llvm_cpu.vector_math import FUNCTIONS, FUNCTIONS_OF_TWO, NOT_OF_F64

CHUNK = 1 << 22
F64_CHUNKS = 6
DTYPES = {"f32": (np.float32, np.uint32, np.float64), "f64": (np.float64, np.uint64, np.longdouble)}
NUMPY = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
         "atanh": "arctanh", "pow": "power", "atan2": "arctan2"}
HARD = {
    "exp": (-746.0, 710.0), "expm1": (-40.0, 710.0), "exp2": (-1075.0, 1025.0), "sinh": (-711.0, 711.0),
    "cosh": (-711.0, 711.0), "log": (0.25, 4.0), "log2": (0.25, 4.0), "log10": (0.25, 4.0), "log1p": (-1.0, 3.0),
    "tanh": (-20.0, 20.0), "sin": (-100.0, 100.0), "cos": (-100.0, 100.0), "tan": (-100.0, 100.0),
    "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atan": (-8.0, 8.0), "erf": (-6.5, 6.5), "cbrt": (-8.0, 8.0),
    "atan2": (-8.0, 8.0), "hypot": (-8.0, 8.0), "logaddexp": (-8.0, 8.0), "pow": (-8.0, 8.0),
    "asinh": (-8.0, 8.0), "acosh": (1.0, 8.0), "atanh": (-1.0, 1.0), "erfc": (-6.0, 27.0),
}
"""Where a function is hardest."""


def erf(x: np.ndarray) -> np.ndarray:
    """erf in longdouble: 2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!, all of whose terms have one sign."""
    size = np.minimum(np.abs(x), np.longdouble(7))
    term = total = size
    for n in range(1, 170):
        term = term * (2 * size * size) / (2 * n + 1)
        total = total + term
    root = np.sqrt(np.longdouble(np.pi) + np.longdouble(1.2246467991473532e-16))
    return np.copysign(2 / root * np.exp(-size * size) * total, x)


def exact(op: str, *operands: np.ndarray) -> np.ndarray:
    """The function in the dtype of the operands, which has more digits than what is compared with it."""
    with np.errstate(all="ignore"):
        if op == "erf" and operands[0].dtype == np.longdouble:
            return erf(operands[0])
        if op in ("erf", "erfc"):
            return getattr(special, op)(operands[0].astype(np.float64))
        return getattr(np, NUMPY.get(op, op))(*operands)


def error_in_ulps(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|result - exact| in units in the last place of exact as result's dtype; infinite where just one is special."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(result.dtype)
        same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
        error = np.abs(result.astype(exact.dtype) - exact) / np.spacing(np.abs(rounded)).astype(exact.dtype)
        special = ~np.isfinite(result) | ~np.isfinite(rounded)
    return np.where(special, np.where(same, 0.0, np.inf), error)


def error_of(op: str, result: np.ndarray, operands: list[np.ndarray], wide: type) -> np.ndarray:
    """`error_in_ulps` of a result; of logaddexp, which may cancel, in those of the largest of operands and log 2."""
    with np.errstate(invalid="ignore"):
        true = exact(op, *(x.astype(wide) for x in operands))
    error = error_in_ulps(result, true)
    if op == "logaddexp":
        with np.errstate(all="ignore"):
            scale = np.maximum(np.maximum(*map(np.abs, operands)), np.log(2.0)).astype(result.dtype)
            error = np.where(np.isfinite(error), np.abs(result - true) / np.spacing(scale).astype(wide), error)
            error = np.where(np.isnan(error), 0.0, error)
    return error


def pairs(op: str, dtype: str, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Operands of a function of two: any bits, hard ones, of pow such that the power does not overflow."""
    number, bits, _ = DTYPES[dtype]
    width = 32 if dtype == "f32" else 64
    anything = [generator.integers(0, 1 << width, count, dtype=bits).view(number) for _ in range(2)]
    hard = [generator.uniform(*HARD[op], count).astype(number) for _ in range(2)]
    found = [np.concatenate(column) for column in zip(anything, hard)]
    if op == "pow":
        base = np.abs(1 + generator.normal(size=count) * 10.0 ** generator.integers(-9, 6, count)).astype(number)
        low, high = (-104, 89) if dtype == "f32" else (-745, 709)
        with np.errstate(all="ignore"):
            exponent = (generator.uniform(low, high, count) / np.log(base.astype(float))).astype(number)
        found = [np.concatenate(column) for column in zip(found, [base, exponent])]
    return found


def inputs(op: str, dtype: str, step: int) -> Iterator[list[np.ndarray]]:
    """f32 numbers; for f64 random bits, and numbers from where the function is hardest."""
    number, bits, _ = DTYPES[dtype]
    generator = np.random.default_rng(0)
    if op in FUNCTIONS_OF_TWO:
        for _ in range(F64_CHUNKS):
            yield [x[:CHUNK] for x in pairs(op, dtype, CHUNK // 2 if op != "pow" else CHUNK // 3 + 1, generator)]
    elif dtype == "f32":
        for first in range(0, 1 << 32, CHUNK * step):
            yield [(np.arange(CHUNK, dtype=np.uint64) * step + first).astype(bits).view(number)]
    else:
        for k in range(F64_CHUNKS):
            yield [generator.integers(0, 1 << 64, CHUNK, dtype=bits).view(number)]
            yield [generator.uniform(*HARD[op], CHUNK) * 10.0 ** -(k % 3)]


def sweep(dtype: str, op: str, step: int) -> None:
    """Print the largest error of one function on each instruction set, and where it is."""
    arity = 2 if op in FUNCTIONS_OF_TWO else 1
    kernel = elementwise_kernel(op, {}, (dtype,) * arity, CHUNK)
    runs = {name: compile_kernel(kernel, features) for name, features in runnable().items()}
    worst: dict[str, tuple[float, list[float]]] = dict.fromkeys(runs, (0.0, []))
    result = np.empty(CHUNK, DTYPES[dtype][0])
    count, started = 0, time.perf_counter()
    for operands in inputs(op, dtype, step):
        for name, run in runs.items():
            run([*operands, result])
            error = error_of(op, result, operands, DTYPES[dtype][2])
            at = int(np.argmax(error))
            worst[name] = max(worst[name], (float(error[at]), [float(x[at]) for x in operands]))
        count += CHUNK
    for name, (error, where) in worst.items():
        print(f"{op:9} {dtype} {name:9} max {error:.3f} ulp at {where!r}  ({count} inputs)")
    print(f"          {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    steps = [int(word) for word in sys.argv[1:] if word.isdigit()]
    words = {word for word in sys.argv[1:] if not word.isdigit()}
    for chosen in product(DTYPES, (*FUNCTIONS, *FUNCTIONS_OF_TWO)):
        if words <= set(chosen) and not (chosen[0] == "f64" and chosen[1] in NOT_OF_F64):
            sweep(*chosen, step=steps[0] if steps else 1)
