"""Classification: what kind of number an element is, and whether two are close. Names and rules are NumPy's."""
from __future__ import annotations

import math
from typing import Any

import ml_dtypes

from tracegrad.complex_numbers import imag, real
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import COMPLEX_NUMBERS, FLOATING, INEXACT
from tracegrad.functional import abs, all, clone, equal, less, less_equal, logical_and, logical_or, not_equal, where
from tracegrad.host import truth_value
from tracegrad.operands import Operand, floating, pair, scalar, tensor_operand
from tracegrad.tensors import Tensor

GREATEST = {dtype: float(ml_dtypes.finfo(dtype).max) for dtype in FLOATING}
"""The greatest number of each floating-point dtype."""


def both(name: str, x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Two operands as Tensors of their common dtype."""
    a, b = pair(name, x1, x2)
    dtype = a.dtype if isinstance(a, Tensor) else b.dtype
    return (a if isinstance(a, Tensor) else scalar(a, dtype)), (b if isinstance(b, Tensor) else scalar(b, dtype))


def signbit(x: Operand, /) -> Tensor:
    """Is the sign of x negative? That of -0.0 and of some NaNs is."""
    x = tensor_operand("signbit", x)
    return less(dispatch("copysign", 1.0, x) if x.dtype in FLOATING else x, 0)


def isnan(x: Operand, /) -> Tensor:
    """Is x not a number?"""
    x = tensor_operand("isnan", x)
    return not_equal(x, x)


def isinf(x: Operand, /) -> Tensor:
    """Is x infinite, of either sign?"""
    x = tensor_operand("isinf", x)
    return equal(abs(x), math.inf) if x.dtype in INEXACT else not_equal(x, x)


def isfinite(x: Operand, /) -> Tensor:
    """Is x neither infinite nor NaN?"""
    x = tensor_operand("isfinite", x)
    if x.dtype in COMPLEX_NUMBERS:
        return logical_and(isfinite(real(x)), isfinite(imag(x)))
    return less(abs(x), math.inf) if x.dtype in FLOATING else equal(x, x)


def isposinf(x: Operand, /) -> Tensor:
    """Is x infinity?"""
    return logical_and(isinf(x), less(0, tensor_operand("isposinf", x)))


def isneginf(x: Operand, /) -> Tensor:
    """Is x minus infinity?"""
    return logical_and(isinf(x), less(tensor_operand("isneginf", x), 0))


def nan_to_num(x: Operand, /, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with numbers for NaN and the infinities; for those the dtype's greatest and least unless given."""
    x = tensor_operand("nan_to_num", x)
    if x.dtype not in FLOATING:
        return clone(x)
    limit = GREATEST[x.dtype]
    x = where(isnan(x), nan, x)
    x = where(equal(x, math.inf), limit if posinf is None else posinf, x)
    return where(equal(x, -math.inf), -limit if neginf is None else neginf, x)


def isclose(x1: Operand, x2: Operand, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """|x1 - x2| <= atol + rtol * |x2|, elementwise; infinities are close to themselves alone."""
    a, b = map(floating, both("isclose", x1, x2))
    close = logical_and(less_equal(abs(a - b), atol + rtol * abs(b)), isfinite(b))
    close = logical_or(close, equal(a, b))
    return logical_or(close, logical_and(isnan(a), isnan(b))) if equal_nan else close


def allclose(x1: Operand, x2: Operand, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Are all elements close, as `isclose` says?"""
    return truth_value(all(isclose(x1, x2, rtol, atol, equal_nan)))
