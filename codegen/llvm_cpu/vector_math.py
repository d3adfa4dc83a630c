"""Elementary functions as inlined arithmetic on vectors of f32 or f64, at most 2 ulp from correctly rounded.

In: Values of any number of lanes. Out: a Value of the same type. No call, no table in memory. NaN, infinities, zeros
and subnormals, in and out, are right, and the sign of a zero is kept.

Coefficients are minimax in the relative error of the whole function: Remez exchange on 240 to 1500 points with 45 to
60 digits, then rounded. Beside them stands the error that remains, were everything else exact.

Largest errors, in units in the last place of the correctly rounded result (tests/vector_math_sweep.py): exp, log, tanh
on AVX-512, AVX2 and SSE2 without fused multiply-add, of f32 on all 2^32 inputs, of f64 on 5 * 10^7; the others on AVX2
and SSE2, of f32 on every 997th input, of f64 on 2 * 10^6, half of any bits and half where they are hardest:

            exp     log     tanh    expm1   exp2    log1p   sinh    cosh    cbrt    log2, log10
    f32     1.14    0.88    1.97    1.57    0.76    0.88    0.51    0.51    0.51    0.50
    f64     1.13    0.84    1.67    1.52    1.01    0.80    1.62    1.49    1.36    0.50

            sin     cos     tan     asin    acos    atan    atan2   pow     hypot   erf
    f32     0.50    0.50    0.50    0.51    0.51    0.50    0.50    0.51    0.50    0.51
    f64     0.79    0.77    0.96    0.64    1.12    0.89    1.46    1.33    0.50    1.10 (1.82 without fma)

erfc, asinh, acosh and atanh of f32, 0.50, are computed in f64; of f64 they have no code. logaddexp is within 2 of those
units of the largest of its operands and log 2: where it is near 0 its digits cancel, as in NumPy.
"""
from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from codegen.llvm_cpu.assembler import Value
from codegen.llvm_cpu.vector_arithmetic import Arithmetic


def _of(module: str, name: str) -> Callable[..., Value]:
    """A function of a module of formulas, which is imported when the function is needed: few programs have them all,
    and who waits for a first call waits for what is imported."""
    def function(*operands: Arithmetic | Value) -> Value:
        return getattr(import_module(f"codegen.llvm_cpu.vector_{module}"), name)(*operands)
    return function


FUNCTIONS: dict[str, Callable[[Arithmetic, Value], Value]] = {
    **{name: _of("exponentials", name) for name in ("exp", "expm1", "exp2", "tanh", "sinh", "cosh")},
    **{name: _of("logarithms", name) for name in (
        "log", "log1p", "log2", "log10", "cbrt", "asinh", "acosh", "atanh")},
    **{name: _of("trigonometry", name) for name in ("sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: _of("special", name) for name in ("erf", "erfc")},
}
"""The functions of one operand by the name of their op."""

FUNCTIONS_OF_TWO: dict[str, Callable[[Arithmetic, Value, Value], Value]] = {
    "pow": _of("logarithms", "pow"), "logaddexp": _of("logarithms", "logaddexp"), "atan2": _of("trigonometry", "atan2"),
    "hypot": _of("special", "hypot"),
}
"""The functions of two operands by the name of their op."""

BELOW_0: dict[str, Callable[[Arithmetic, Value], Value]] = {"exp": _of("exponentials", "exp_below_0")}
"""Those that take less, and give the same, where it is known that the operand is not above 0 (see schedule.signs)."""

NOT_OF_F64 = frozenset({"asinh", "acosh", "atanh", "erfc"})
"""Functions that need the digits of f64 to be exact in f32, and have no code that is exact in f64."""
