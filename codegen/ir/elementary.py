"""References of elementwise functions that NumPy has no single function for, or leaves open for some operands.

Each takes arrays (or, beside an array, a number) by position and attrs by name, and gives an array of the operands'
dtype. SciPy is imported when the first of its functions is called: most programs need none.
"""
from __future__ import annotations

import os
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from math import factorial
from typing import Any

import numpy as np


def together(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two operands as arrays of one dtype; a number takes that of the other."""
    if isinstance(x, np.ndarray | np.generic):
        return np.asarray(x), np.asarray(y, x.dtype)
    return np.asarray(x, y.dtype), np.asarray(y)


def power(x: Any, y: Any) -> np.ndarray:
    """x ** y. Of integers with y < 0 it is 1 / x ** -y truncated: 0 unless x is 1 or -1; 0 of 0 too."""
    x, y = together(x, y)
    if x.dtype.kind == "c" and y.ndim == 0 and y == 2:
        return np.square(x)             # as NumPy's ** does, in a tenth of the time
    if x.dtype.kind not in "iu":
        powers = np.power(x, y)
        roots = y == 0.5            # NumPy takes the square root where the exponent is one number, and pow elsewhere
        return np.where(roots & ((x == 0) | (x == -np.inf)), np.abs(x), powers) if np.any(roots) else powers
    below = y < 0
    powers = np.power(x, np.where(below, 0, y).astype(y.dtype))
    if not np.any(below):
        return powers
    of_unit = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0)).astype(x.dtype)
    return np.where(below, of_unit, powers)


def shift_left(x: Any, count: Any) -> np.ndarray:
    """x << count; a count outside 0..bits-1 shifts everything out: 0."""
    x, count = together(x, count)
    inside = (count >= 0) & (count < x.dtype.itemsize * 8)
    return np.where(inside, np.left_shift(x, np.where(inside, count, 0).astype(x.dtype)), x.dtype.type(0))


def shift_right(x: Any, count: Any) -> np.ndarray:
    """x >> count; a count outside 0..bits-1 shifts everything out: 0, or -1 for negative x."""
    x, count = together(x, count)
    inside = (count >= 0) & (count < x.dtype.itemsize * 8)
    shifted = np.right_shift(x, np.where(inside, count, 0).astype(x.dtype))
    return np.where(inside, shifted, np.where(x < 0, -1, 0).astype(x.dtype))


def erf(x: np.ndarray) -> np.ndarray:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _special("erf", x)


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x), exact to the last digits where that is small."""
    return _special("erfc", x)


def erfinv(x: np.ndarray) -> np.ndarray:
    """The y with erf(y) = x; infinite at -1 and 1, NaN beyond."""
    return _special("erfinv", x)


def lgamma(x: np.ndarray) -> np.ndarray:
    """log |gamma(x)|; infinite at 0, -1, -2, ... and at both infinities. Near 0, where SciPy's overflows, -log |x|."""
    size = np.abs(x)
    with np.errstate(divide="ignore"):
        near = size < 1e-300
        return np.where(near, -np.log(size), np.where(size == np.inf, size, _special("gammaln", x)))


def polygamma(x: np.ndarray, *, order: int) -> np.ndarray:
    """The derivative of `order` + 1 of log gamma: order 0 is digamma; NaN at -1, -2, ...

    psi_n(x) = (-1)^(n+1) n! zeta(n + 1, x) with Hurwitz' zeta function (Abramowitz, Stegun 6.4.10) holds for x > 0;
    for x < 0 psi_n(x) = (-1)^n psi_n(1 - x) - the n-th derivative of pi cot(pi x) (6.4.7).
    """
    if order == 0:
        return _special("digamma", x)
    wide = x.astype(np.float64)
    above = np.where(wide > 0, wide, 1 - wide)
    positive = (-1) ** (order + 1) * factorial(order) * np.asarray(_scipy("zeta")(order + 1.0, above))
    if not np.any(wide <= 0):
        return positive.astype(x.dtype)
    reflected = (-1) ** order * positive - _cotangent_derivative(wide, order)
    return np.where(wide > 0, positive, np.where(wide == np.floor(wide), np.nan, reflected)).astype(x.dtype)


def _cotangent_derivative(x: np.ndarray, order: int) -> np.ndarray:
    """The derivative of pi cot(pi x): a polynomial in c = cot(pi x), since c' = -pi (1 + c^2)."""
    p = np.polynomial.Polynomial([0.0, np.pi])
    for _ in range(order):
        p = p.deriv() * np.polynomial.Polynomial([-np.pi, 0.0, -np.pi])
    return p(1 / np.tan(np.pi * (x - np.round(x))))


def _special(name: str, x: np.ndarray) -> np.ndarray:
    """SciPy's function of a float; half precision, which SciPy lacks, in f32."""
    if x.dtype.itemsize == 2:
        return np.asarray(_scipy(name)(x.astype(np.float32))).astype(x.dtype)
    return _scipy(name)(x)


@cache
def _scipy(name: str) -> Any:
    """The function of scipy.special with this name."""
    found = getattr(_scipy_alone(), {"digamma": "psi"}.get(name, name), None)
    if found is None:
        from scipy import special
        found = getattr(special, name)
    return found


@cache
def _scipy_alone() -> Any:
    """The extension module in which SciPy has most of its functions, without the package around it, whose import takes
    a hundred times as long (0.2 s); None where SciPy is not made of such a module."""
    package = find_spec("scipy")
    for folder in (package and package.submodule_search_locations) or ():
        spec = PathFinder.find_spec("scipy.special._special_ufuncs", [os.path.join(folder, "special")])
        try:
            if spec is not None and spec.loader is not None:
                module = module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
        except ImportError:
            pass                                # it needs others of the package
    return None
