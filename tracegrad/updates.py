"""The in-place forms of functions, by PyTorch's names: x.exp_(), x //= y, x **= 2. A write is defined in `mutation`."""
from __future__ import annotations

from collections.abc import Callable

from tracegrad import classification, elementary, functional
from tracegrad.operands import Operand
from tracegrad.tensors import Tensor
from tracegrad.writes import add_, div_, in_place, mul_, named, sub_, update


def scaled(op: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The in-place form of add or subtract with PyTorch's alpha, a factor of the other operand."""
    def apply(x: Tensor, other: Operand, /, *, alpha: Operand = 1) -> Tensor:
        return op(x, other if type(alpha) is int and alpha == 1 else functional.multiply(other, alpha))
    return named(apply, op, name, "(x, alpha * other)")


_F, _E = functional, elementary

_BINARY: dict[str, Callable[..., Tensor]] = {
    "matmul_": _F.matmul, "bitwise_and_": _F.bitwise_and, "bitwise_or_": _F.bitwise_or, "bitwise_xor_": _F.bitwise_xor,
    "floor_divide_": _E.floor_divide, "remainder_": _E.remainder, "fmod_": _E.fmod, "pow_": _E.pow,
    "bitwise_left_shift_": _E.bitwise_left_shift, "bitwise_right_shift_": _F.bitwise_right_shift,
    "atan2_": _E.atan2, "arctan2_": _E.atan2, "hypot_": _E.hypot, "copysign_": _E.copysign,
    "nextafter_": _E.nextafter, "xlogy_": _E.xlogy, "float_power_": _E.float_power,
    "logical_and_": _F.logical_and, "logical_or_": _F.logical_or, "logical_xor_": _F.logical_xor,
    "eq_": _F.equal, "ne_": _F.not_equal, "lt_": _F.less, "le_": _F.less_equal, "gt_": _F.greater,
    "ge_": _F.greater_equal,
}
_UPDATES = {name: update(op, name) for name, op in _BINARY.items()}

_OTHERS: dict[str, Callable[..., Tensor]] = {
    **{f"{name}_": getattr(_F, name) for name in (
        "exp", "log", "tanh", "sqrt", "abs", "sign", "relu", "sigmoid", "square", "clip", "logical_not")},
    **{f"{name}_": getattr(_E, name) for name in (
        "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
        "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh",
        "expm1", "exp2", "log1p", "log2", "log10", "floor", "ceil", "trunc", "fix", "round", "reciprocal", "rsqrt",
        "frac", "erf", "erfc", "erfinv", "lgamma", "digamma", "deg2rad", "rad2deg", "logit", "sinc",
        "lerp", "addcmul", "addcdiv", "absolute")},
    "neg_": _F.negative, "negative_": _F.negative, "clamp_": _F.clip, "bitwise_not_": _F.bitwise_invert,
    "nan_to_num_": classification.nan_to_num,
}

IN_PLACE: dict[str, Callable[..., Tensor]] = {
    "add_": scaled(add_, "add_"), "sub_": scaled(sub_, "sub_"), "subtract_": scaled(sub_, "subtract_"),
    "mul_": mul_, "multiply_": mul_, "div_": div_, "divide_": div_, "true_divide_": div_,
    **{name: op for name, op in _UPDATES.items() if name != "matmul_"},
    **{name: in_place(op, name) for name, op in _OTHERS.items()},
}
"""The methods that end in an underscore and keep the shape, by name."""

OPERATORS: dict[str, Callable[..., Tensor]] = {
    "__iadd__": add_, "__isub__": sub_, "__imul__": mul_, "__itruediv__": div_,
    **{f"__i{name}__": _UPDATES[f"{function}_"] for name, function in (
        ("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor"), ("lshift", "bitwise_left_shift"),
        ("rshift", "bitwise_right_shift"), ("matmul", "matmul"), ("pow", "pow"), ("floordiv", "floor_divide"),
        ("mod", "remainder"))},
}
"""The operators among them."""
