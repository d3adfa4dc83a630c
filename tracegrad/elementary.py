"""Elementary functions: trigonometry, exponentials, powers, rounding, division with a remainder.

Names and special cases are the Array API standard's, else NumPy's and PyTorch's, each beside its aliases. Operands are
Tensors, NumPy arrays or Python numbers. Functions of real numbers compute integers in the default floating-point
dtype; rounding and division with a remainder leave integers integers.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tracegrad import dtypes
from tracegrad.classification import both, isinf, isnan
from tracegrad.complex_numbers import imag, real
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import COMPLEX_NUMBERS, FLOATING
from tracegrad.functional import (
    abs,
    add,
    bitwise_right_shift,
    clone,
    divide,
    equal,
    less,
    less_equal,
    logical_and,
    logical_or,
    maximum,
    minimum,
    multiply,
    numbers,
    power,
    sqrt,
    where,
)
from tracegrad.mutation import Binary, Unary, deliver
from tracegrad.operands import Operand, convert, floating, operand, pair, tensor_operand
from tracegrad.tensors import Tensor


def named(function: Callable, name: str, doc: str) -> Callable:
    """`function`, known by this name."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def of_one(op: str, name: str, doc: str) -> Unary:
    """The function of one floating-point operand that a primitive op is."""
    def apply(x: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(x), name)
        return dispatch(op, floating(x if isinstance(x, Tensor) else tensor_operand(name, x)))
    return named(apply, name, doc)


def of_two(op: str, name: str, doc: str) -> Binary:
    """The function of two floating-point operands that a primitive op is."""
    def apply(x1: Any, x2: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(x1, x2), name)
        a, b = pair(name, x1, x2)
        return dispatch(op, *(floating(x) if isinstance(x, Tensor) else x for x in (a, b)))
    return named(apply, name, doc)


def of_numbers(op: str, name: str, doc: str) -> Binary:
    """The function of two numbers of one dtype, integers too, that a primitive op is."""
    def apply(x1: Any, x2: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(x1, x2), name)
        return dispatch(op, *numbers(op, *pair(name, x1, x2)))
    return named(apply, name, doc)


def rounding(op: str, doc: str) -> Unary:
    """A function whose results are whole numbers: integers are theirs already."""
    def apply(operand: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(operand), op)
        x: Tensor = numbers(op, tensor_operand(op, operand))[0]
        return dispatch(op, x) if x.dtype in FLOATING else clone(x)
    return named(apply, op, doc)


# ---- primitives -------------------------------------------------------------------------------------------------

sin = of_one("sin", "sin", "The sine of radians.")
cos = of_one("cos", "cos", "The cosine of radians.")
tan = of_one("tan", "tan", "The tangent of radians.")
asin = of_one("asin", "asin", "The angle in [-pi/2, pi/2] whose sine is x; NaN beyond 1.")
acos = of_one("acos", "acos", "The angle in [0, pi] whose cosine is x; NaN beyond 1.")
atan = of_one("atan", "atan", "The angle in [-pi/2, pi/2] whose tangent is x.")
atan2 = of_two("atan2", "atan2", "The angle in [-pi, pi] of the point (x2, x1).")
sinh = of_one("sinh", "sinh", "The hyperbolic sine.")
cosh = of_one("cosh", "cosh", "The hyperbolic cosine.")
asinh = of_one("asinh", "asinh", "The number whose hyperbolic sine is x.")
acosh = of_one("acosh", "acosh", "The number >= 0 whose hyperbolic cosine is x; NaN below 1.")
atanh = of_one("atanh", "atanh", "The number whose hyperbolic tangent is x; infinite at -1 and 1, NaN beyond.")
expm1 = of_one("expm1", "expm1", "e to the power of x, less 1, exact near 0.")
exp2 = of_one("exp2", "exp2", "2 to the power of x.")
log1p = of_one("log1p", "log1p", "The natural logarithm of 1 + x, exact near 0; -inf at -1, NaN below.")
log2 = of_one("log2", "log2", "The logarithm to base 2; -inf at 0, NaN below.")
log10 = of_one("log10", "log10", "The logarithm to base 10; -inf at 0, NaN below.")
cbrt = of_one("cbrt", "cbrt", "The cube root, also of negative numbers.")
hypot = of_two("hypot", "hypot", "sqrt(x1**2 + x2**2), which does not overflow on the way.")
logaddexp = of_two("logaddexp", "logaddexp", "log(exp(x1) + exp(x2)), which does not overflow on the way.")
copysign = of_two("copysign", "copysign", "The size of x1 with the sign of x2.")
nextafter = of_two("nextafter", "nextafter", "The number next to x1 on the way to x2.")
erf = of_one("erf", "erf", "The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.")
erfc = of_one("erfc", "erfc", "1 - erf(x), exact where that is small.")
erfinv = of_one("erfinv", "erfinv", "The number whose error function is x; infinite at -1 and 1, NaN beyond.")
lgamma = of_one("lgamma", "lgamma", "The logarithm of the size of the gamma function.")

floor = rounding("floor", "The greatest whole number that is not above x.")
ceil = rounding("ceil", "The least whole number that is not below x.")
trunc = rounding("trunc", "x without its fraction.")
floor_divide = of_numbers("floor_div", "floor_divide",
                          "x1 / x2 rounded down; integers stay integers, and divided by 0 give 0.")
remainder = of_numbers("rem", "remainder",
                       "x1 - floor(x1 / x2) * x2, with the sign of x2; of integers divided by 0 it is 0.")
fmod = of_numbers("fmod", "fmod", "x1 - trunc(x1 / x2) * x2, with the sign of x1; of integers divided by 0 it is 0.")
bitwise_left_shift = of_numbers("shift_left", "bitwise_left_shift",
                                "x1 << x2 of integers; a count outside the width shifts everything out.")


def polygamma(n: int, x: Operand, /) -> Tensor:
    """The derivative of order n of digamma; TypeRuleError for n < 0.

        >>> tg.polygamma(1, tg.tensor([1.0, 2.0]))
        tensor([1.6449, 0.6449])
    """
    return dispatch("polygamma", floating(tensor_operand("polygamma", x)), order=n)


def digamma(x: Operand, /) -> Tensor:
    """The derivative of lgamma; -inf at 0, NaN at -1, -2, ..."""
    return polygamma(0, x)


def round(number: Operand, /, decimals: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The nearest multiple of 10**-decimals; of two as near, the even one.

        >>> tg.round(tg.tensor([0.5, 1.5, 2.5]))
        tensor([0., 2., 2.])
        >>> tg.round(tg.tensor([1.25, -3.18]), 1)
        tensor([ 1.2000, -3.2000])
    """
    if out is not None:
        return deliver(out, round(number, decimals), "round")
    given = tensor_operand("round", number)
    if given.dtype in COMPLEX_NUMBERS:
        return dispatch("complex", round(real(given), decimals), round(imag(given), decimals))
    x: Tensor = numbers("round", given)[0]
    if x.dtype not in FLOATING:
        if decimals >= 0:
            return clone(x)
        return convert(round(convert(x, dtypes.float64), decimals), x.dtype)
    if decimals == 0:
        return dispatch("round", x)
    scale = 10.0 ** math.fabs(decimals)
    return round(x * scale) / scale if decimals > 0 else round(x / scale) * scale


# ---- powers -----------------------------------------------------------------------------------------------------


def pow(x1: Operand, x2: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """x1 ** x2. Whole exponents up to 4, and all of integers, are products; 0.5 and -0.5 are roots.

    An integer to the power of a negative integer is a fraction where the exponent is a Python number; where it is a
    tensor the result is an integer, the fraction without its digits.

        >>> tg.pow(tg.tensor([1.0, -2.0]), 3)
        tensor([ 1., -8.])
        >>> tg.pow(2, tg.tensor([3, 5]))
        tensor([ 8, 32])
        >>> tg.pow(tg.tensor([4.0, 9.0]), tg.tensor([0.5, -1.0]))
        tensor([2.0000, 0.1111])
    """
    if out is not None:
        return deliver(out, pow(x1, x2), "pow")
    n = operand("pow", x2)
    if not isinstance(n, Tensor | complex):
        known = of_number(tensor_operand("pow", x1), n)
        if known is not None:
            return known
    return dispatch("pow", *numbers("pow", *pair("pow", x1, x2)))


def of_number(x: Tensor, n: int | float) -> Tensor | None:
    """x ** n for the exponents that products and roots are better for; None for others."""
    x = numbers("pow", x)[0]
    if isinstance(n, float) or n < 0:
        x = floating(x)
    if math.fabs(n) == 0.5:
        return sqrt(x) if n > 0 else 1.0 / sqrt(x)
    if not float(n).is_integer() or math.fabs(n) > 4 and x.dtype in FLOATING:
        return None
    return power(x, int(n)) if n >= 0 else 1.0 / power(x, -int(n))


def float_power(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 ** x2 in float64."""
    a, b = pair("float_power", x1, x2)
    return pow(*(convert(x, dtypes.float64) if isinstance(x, Tensor) else x for x in (a, b)))


def reciprocal(x: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """1 / x."""
    if out is not None:
        return deliver(out, reciprocal(x), "reciprocal")
    return divide(1.0, tensor_operand("reciprocal", x))


def rsqrt(x: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """1 / sqrt(x)."""
    if out is not None:
        return deliver(out, rsqrt(x), "rsqrt")
    return reciprocal(sqrt(x))


def ldexp(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 * 2**x2."""
    return multiply(floating(tensor_operand("ldexp", x1)), exp2(x2))


def logaddexp2(x1: Operand, x2: Operand, /) -> Tensor:
    """log2(2**x1 + 2**x2), which does not overflow on the way."""
    a, b = pair("logaddexp2", x1, x2)
    return logaddexp(a * math.log(2), b * math.log(2)) / math.log(2)


# ---- quotients --------------------------------------------------------------------------------------------------


def divmod(x1: Operand, x2: Operand, /) -> tuple[Tensor, Tensor]:
    """(floor_divide(x1, x2), remainder(x1, x2))."""
    a, b = pair("divmod", x1, x2)
    return floor_divide(a, b), remainder(a, b)


def modf(x: Operand, /) -> tuple[Tensor, Tensor]:
    """(the fraction of x, the whole number that it belongs to), both with the sign of x."""
    x = floating(tensor_operand("modf", x))
    whole = trunc(x)
    infinite = isinf(x)
    return copysign(where(infinite, 0.0, x - where(infinite, 0.0, whole)), x), whole


def frac(x: Operand, /) -> Tensor:
    """x - trunc(x)."""
    x = floating(tensor_operand("frac", x))
    return x - trunc(x)


# ---- of several operands ----------------------------------------------------------------------------------------


def lerp(start: Operand, end: Operand, weight: Operand, /) -> Tensor:
    """start + weight * (end - start), exact at both ends.

        >>> tg.lerp(tg.tensor([0.0, 10.0]), tg.tensor([1.0, 20.0]), 0.5)
        tensor([ 0.5000, 15.0000])
    """
    a, b = map(floating, both("lerp", start, end))
    w, way = operand("lerp", weight), b - a
    if not isinstance(w, Tensor):
        return a + w * way if math.fabs(w) < 0.5 else b - way * (1 - w)
    return where(less(abs(w), 0.5), a + w * way, b - way * (1 - w))


def addcmul(x: Operand, x1: Operand, x2: Operand, /, *, value: float = 1.0) -> Tensor:
    """x + value * x1 * x2."""
    return add(x, multiply(value, multiply(x1, x2)) if value != 1 else multiply(x1, x2))


def addcdiv(x: Operand, x1: Operand, x2: Operand, /, *, value: float = 1.0) -> Tensor:
    """x + value * x1 / x2."""
    return add(x, multiply(value, divide(x1, x2)) if value != 1 else divide(x1, x2))


def heaviside(x1: Operand, x2: Operand, /) -> Tensor:
    """0 below 0, x2 at 0, 1 above; NaN for NaN."""
    a, b = both("heaviside", x1, x2)
    step = where(less(a, 0), 0, where(less(0, a), 1, b))
    return where(isnan(a), a, step)


def fmax(x1: Operand, x2: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """The larger of each two elements; where one is NaN, the other."""
    if out is not None:
        return deliver(out, fmax(x1, x2), "fmax")
    a, b = both("fmax", x1, x2)
    return where(isnan(a), b, where(isnan(b), a, maximum(a, b)))


def fmin(x1: Operand, x2: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """The smaller of each two elements; where one is NaN, the other."""
    if out is not None:
        return deliver(out, fmin(x1, x2), "fmin")
    a, b = both("fmin", x1, x2)
    return where(isnan(a), b, where(isnan(b), a, minimum(a, b)))


def xlogy(x1: Operand, x2: Operand, /) -> Tensor:
    """x1 * log(x2), and 0 where x1 is 0, unless x2 is NaN.

        >>> tg.xlogy(tg.tensor([0.0, 2.0]), tg.tensor([0.0, 1.0]))
        tensor([0., 0.])
    """
    a, b = map(floating, both("xlogy", x1, x2))
    nothing = logical_and(equal(a, 0), logical_or(less_equal(b, 0), equal(b, math.inf)))
    return a * dispatch("log", where(nothing, 1.0, b))


def logit(x: Operand, /, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), exact near 1/2 too; with eps, of x clipped to [eps, 1 - eps].

        >>> tg.logit(tg.tensor([0.25, 0.5, 1.0]))
        tensor([-1.0986,  0.0000,     inf])
    """
    x = floating(tensor_operand("logit", x))
    if eps is not None:
        x = where(less(x, eps), eps, where(less(1 - eps, x), 1 - eps, x))
    middle = logical_and(less(0.25, x), less(x, 0.75))
    near = atanh(where(middle, x * 2 - 1, 0.0)) * 2
    away = where(middle, 0.25, x)
    return where(middle, near, dispatch("log", away / (1 - away)))


def sinc(x: Operand, /) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = floating(tensor_operand("sinc", x))
    origin = equal(x, 0)
    angle = where(origin, 1.0, x) * math.pi
    return where(origin, 1.0, sin(angle) / angle)


def deg2rad(x: Operand, /) -> Tensor:
    """Degrees in radians."""
    return floating(tensor_operand("deg2rad", x)) * (math.pi / 180)


def rad2deg(x: Operand, /) -> Tensor:
    """Radians in degrees."""
    return floating(tensor_operand("rad2deg", x)) * (180 / math.pi)


# Other names for the same functions: NumPy's, then PyTorch's.
arcsin, arccos, arctan, arctan2, arcsinh, arccosh, arctanh = asin, acos, atan, atan2, asinh, acosh, atanh
absolute = fabs = abs
mod, fix, rint, true_divide, degrees, radians = remainder, trunc, round, divide, rad2deg, deg2rad
left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
