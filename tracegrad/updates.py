"""In-place forms of elementary functions: x.exp_(), x //= y, x **= 2. What a write means is said in `writes`."""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import elementary, functional
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.writes import update, write


def replaced(op: Callable[[Tensor], Tensor], name: str) -> Callable[[Tensor], Tensor]:
    """The in-place form of a function of one operand: x = op(x)."""
    def apply(x: Tensor, /) -> Tensor:
        value = op(x)
        if value.array.dtype != x.array.dtype:
            raise TypeRuleError(at_user_line(
                f"{name}: the result {type_of(value.array)} does not fit into {type_of(x.array)}"))
        write(x, value)
        return x
    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"x = {op.__name__}(x), in place."
    return apply


_BINARY = {
    "floor_divide_": elementary.floor_divide, "remainder_": elementary.remainder, "fmod_": elementary.fmod,
    "pow_": elementary.pow, "bitwise_left_shift_": elementary.bitwise_left_shift,
    "bitwise_right_shift_": functional.bitwise_right_shift,
}
_UNARY = {
    **{f"{name}_": getattr(functional, name) for name in (
        "exp", "log", "tanh", "sqrt", "abs", "sign", "relu", "sigmoid", "square")},
    **{f"{name}_": getattr(elementary, name) for name in (
        "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
        "expm1", "exp2", "log1p", "log2", "log10", "floor", "ceil", "trunc", "round", "reciprocal", "rsqrt", "frac",
        "erf", "erfc", "erfinv", "lgamma", "digamma", "deg2rad", "rad2deg", "nan_to_num")},
    "neg_": functional.negative,
}

IN_PLACE: dict[str, Callable] = {
    **{name: update(op, name) for name, op in _BINARY.items()},
    **{name: replaced(op, name) for name, op in _UNARY.items()},
}
"""The methods that end in an underscore, by name."""

OPERATORS: dict[str, Callable] = {
    "__ifloordiv__": IN_PLACE["floor_divide_"], "__imod__": IN_PLACE["remainder_"], "__ipow__": IN_PLACE["pow_"],
    "__ilshift__": IN_PLACE["bitwise_left_shift_"], "__irshift__": IN_PLACE["bitwise_right_shift_"],
}
"""The operators among them."""
