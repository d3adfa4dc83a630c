"""operations: the elementwise ops as Triton's text. In: the name of an op, the dtype of its operands, their texts.

    operation("maximum", "f32", ["v0", "v1"])    tl.maximum(v0, v1, propagate_nan=tl.PropagateNan.ALL)
    operation("add", "bf16", ["v0", "v1"])       (v0.to(tl.float32) + v1.to(tl.float32)).to(tl.bfloat16)
    operation("rem", "i32", ["v0", "v1"])        rem(v0, v1)

1. Operands are variables, of Triton's type for their dtype; so is the result. A text may have an operand twice.
2. Halves are computed in f32 and rounded at each op, as the references do.
3. f32: + - *, division and the square root round as IEEE 754 says, as long as FP fusion is off. The elementary
   functions are libdevice's, not the approximations of the hardware (tl.exp, tl.sin, /). f64: + - * / and the square
   root round so, too. Subnormal numbers are kept everywhere: see `compile`.
4. What a text calls that is no part of Triton is in FUNCTIONS; `called` finds it.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codegen.ir.references import literal
from codegen.ir.types import DTYPES, FLOATS, INTEGERS, SIGNED
from codegen.triton_gpu.operation_functions import FUNCTIONS, called

__all__ = ["FUNCTIONS", "HEADER", "LANGUAGE_TYPES", "called", "cast", "computes", "constant", "operation"]

HEADER = """import triton
import triton.language as tl
from triton.language.extra import libdevice
"""
"""What every module of kernels begins with."""

LANGUAGE_TYPES = {"bool": "tl.int1", "i8": "tl.int8", "i16": "tl.int16", "i32": "tl.int32", "i64": "tl.int64",
                  "u8": "tl.uint8", "u16": "tl.uint16", "u32": "tl.uint32", "u64": "tl.uint64",
                  "f16": "tl.float16", "bf16": "tl.bfloat16", "f32": "tl.float32", "f64": "tl.float64"}
"""Triton's name for the type of a value, by dtype."""

_HALVES = frozenset({"f16", "bf16"})
_COMPARISONS = {"eq": "{0} == {1}", "ne": "{0} != {1}", "lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}",
                "ge": "{0} >= {1}"}
_BITS = {"and": "{0} & {1}", "or": "{0} | {1}", "xor": "{0} ^ {1}", "not": "~{0}"}
_ALL = {"detach": "{0}", "after": "{0}"}

_FLOAT_TEXTS = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "tl.div_rn({0}, {1})",
    "neg": "{0} * -1.0", "abs": "tl.abs({0})", "sqrt": "tl.sqrt_rn({0})",
    "sign": "tl.where({0} != {0}, {0}, ({0} > 0).to({T}) - ({0} < 0).to({T}))",
    "maximum": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "minimum": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "floor": "tl.floor({0})", "ceil": "tl.ceil({0})", "trunc": "truncated({0})", "round": "libdevice.rint({0})",
    "fmod": "libdevice.fmod({0}, {1})", "rem": "float_rem({0}, {1})", "floor_div": "float_floor_div({0}, {1})",
    "logaddexp": "logaddexp({0}, {1})",
    **{op: f"libdevice.{op}({{0}})" for op in (
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
        "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt", "erf", "erfc", "erfinv", "lgamma")},
    **{op: f"libdevice.{op}({{0}}, {{1}})" for op in ("atan2", "hypot", "pow", "copysign", "nextafter")},
}
_DOUBLE_TEXTS = {
    "div": "{0} / {1}", "sqrt": "libdevice.sqrt_rn({0})", "log2": "log2({0})",
    "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})",
    "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
}
_NOT_OF_HALVES = frozenset({"nextafter", "fmod", "rem", "floor_div"})
"""Ops of halves that are something else than the op of f32, rounded."""

_INTEGER_TEXTS = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "neg": "0 - {0}",
    "maximum": "tl.maximum({0}, {1})", "minimum": "tl.minimum({0}, {1})", "shift_left": "shift_left({0}, {1}, {BITS})",
}
_SIGNED_TEXTS = {
    "abs": "tl.where({0} < 0, 0 - {0}, {0})", "sign": "({0} > 0).to({T}) - ({0} < 0).to({T})",
    "shift_right": "shift_right({0}, {1}, {BITS})", "pow": "power({0}, {1}, {BITS})",
    "floor_div": "floor_div({0}, {1})", "rem": "rem({0}, {1})", "fmod": "fmod({0}, {1})",
}
_UNSIGNED_TEXTS = {
    "abs": "{0}", "sign": "({0} > 0).to({T})",
    "shift_right": "shift_right_unsigned({0}, {1}, {BITS})", "pow": "power_unsigned({0}, {1}, {BITS})",
    "floor_div": "floor_div_unsigned({0}, {1})", "rem": "rem_unsigned({0}, {1})", "fmod": "rem_unsigned({0}, {1})",
}


def _texts(dtype: str) -> dict[str, str]:
    """The text of every op on a dtype; {T} is its type."""
    if dtype == "bool":
        return _ALL | _COMPARISONS | _BITS
    if dtype in SIGNED:
        return _ALL | _COMPARISONS | _BITS | _INTEGER_TEXTS | _SIGNED_TEXTS
    if dtype in INTEGERS:
        return _ALL | _COMPARISONS | _BITS | _INTEGER_TEXTS | _UNSIGNED_TEXTS
    if dtype == "f64":
        return _ALL | _COMPARISONS | _FLOAT_TEXTS | _DOUBLE_TEXTS
    if dtype in _HALVES:
        return {op: text for op, text in (_ALL | _COMPARISONS | _FLOAT_TEXTS).items() if op not in _NOT_OF_HALVES}
    return _ALL | _COMPARISONS | _FLOAT_TEXTS


_TEXTS = {dtype: _texts(dtype) for dtype in LANGUAGE_TYPES}


def computes(op: str, dtype: str) -> bool:
    """Is there text for the elementwise op on operands of this dtype?"""
    return dtype in _TEXTS and (op in ("where", "cast") or op in _TEXTS[dtype])


def operation(op: str, dtype: str, args: Sequence[str]) -> str:
    """The text of the op on operands of this dtype."""
    text = _TEXTS[dtype][op]
    if dtype in _HALVES and op not in _ALL:
        wide = operation(op, "f32", [f"{x}.to(tl.float32)" for x in args])
        return wide if op in _COMPARISONS else f"({wide}).to({LANGUAGE_TYPES[dtype]})"
    return text.format(*args, T=LANGUAGE_TYPES[dtype], BITS=8 * DTYPES[dtype].itemsize)


def cast(source: str, target: str, x: str) -> str:
    """x, of dtype `source`, as dtype `target`: floats truncate and saturate, NaN becomes 0; bool is x != 0."""
    if source == target:
        return x
    if source in _HALVES and target != "f32":
        return cast("f32", target, f"{x}.to(tl.float32)")
    if target == "bool":
        return f"{x} != 0"
    if source in FLOATS and target in INTEGERS:
        limits = np.iinfo(DTYPES[target])
        return f"to_integer({x}, {limits.min}, {limits.max}, {LANGUAGE_TYPES[target]})"
    if target == "bf16" and source != "f32" or target == "f16" and source not in FLOATS:
        return f"{x}.to(tl.float32).to({LANGUAGE_TYPES[target]})"
    return f"{x}.to({LANGUAGE_TYPES[target]})"


def constant(text: str, dtype: str) -> str:
    """The number that a canonical text stands for, exactly, as a scalar of `dtype`."""
    number, type = literal(text), LANGUAGE_TYPES[dtype]
    if dtype not in FLOATS:
        return f"tl.full([], {number}, {type})"
    if dtype in _HALVES:
        return f"{constant(text, 'f32')}.to({type})"
    value = float(number)
    if value == 0.0 and str(value) == "-0.0":           # a zero in a text is 0.0 to Triton, whatever its sign
        return f"(tl.full([], 0.0, {type}) * -1.0)"
    shown = repr(value) if np.isfinite(value) else f'float("{value}")'
    return f"tl.full([], {shown}, {type})"
