"""Numbers in order: arange, linspace, logspace, geomspace.

They are counted in 64 bits and rounded once to their dtype. They are made of attrs alone, by ops.
"""
from __future__ import annotations

from math import ceil, copysign, log10
from typing import Any

from tracegrad import dtypes
from tracegrad.complex_numbers import complex as of_parts
from tracegrad.conversions import placed
from tracegrad.devices import Device
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import COMPLEX_NUMBERS, INTEGRAL, dtype_of, name_of
from tracegrad.elementary import floor, pow
from tracegrad.functional import add, equal, multiply, where
from tracegrad.operands import Number, convert
from tracegrad.size_numbers import floating_number, index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def arange(start: Number, /, stop: Number | None = None, step: Number = 1, *, dtype: Any = None,
           device: str | Device | None = None) -> Tensor:
    """start + i*step for i = 0, 1, ... while below (for a negative step: above) stop. arange(n): 0 .. n-1.

        >>> tg.arange(3)
        tensor([0, 1, 2])
        >>> tg.arange(1.0, 2.0, 0.25)
        tensor([1.0000, 1.2500, 1.5000, 1.7500])
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError(at_user_line("arange: the step is 0"))
    whole = not any(isinstance(v, float) for v in (start, stop, step))
    n = -index((start - stop) // step) if whole else ceil((stop - start) / step)
    n = n if n > 0 else 0
    target = dtype_of(dtype) if dtype is not None else dtypes.int64 if whole else dtypes.default_float()
    counting = target if whole and target in INTEGRAL else dtypes.float64
    counted = dispatch("iota", shape=(n,), axis=0, dtype=name_of(counting))
    if step != 1:
        counted = multiply(counted, counting.type(step).item())
    return placed(convert(counted if start == 0 else add(counted, counting.type(start).item()), target), device)


def linspace(start: Number | complex, stop: Number | complex, /, num: int, *, dtype: Any = None,
             device: str | Device | None = None, endpoint: bool = True) -> Tensor:
    """`num` numbers, equally spaced, from start to stop, which is the last one if `endpoint`; integers round down.

        >>> tg.linspace(0.0, 1.0, 5)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
        >>> tg.linspace(0, 1, 4, endpoint=False)
        tensor([0.0000, 0.2500, 0.5000, 0.7500])
    """
    n = index(num)
    if n < 0:
        raise ValueError(at_user_line(f"linspace: num is {n}, below 0"))
    if isinstance(start, complex) or isinstance(stop, complex):
        target = dtypes.default_complex() if dtype is None else dtype_of(dtype)
        first, last = complex(start), complex(stop)
        parts = (_spaced(a, b, n, endpoint) for a, b in ((first.real, last.real), (first.imag, last.imag)))
        return placed(convert(of_parts(*parts), target if target in COMPLEX_NUMBERS else dtypes.complex128), device)
    target = dtypes.default_float() if dtype is None else dtype_of(dtype)
    values = _spaced(float(start), float(stop), n, endpoint)
    return placed(convert(floor(values) if target in INTEGRAL else values, target), device)


def _spaced(start: float, stop: float, n: int, endpoint: bool) -> Tensor:
    """n numbers from start on, in float64."""
    places = dispatch("iota", shape=(n,), axis=0, dtype="f64")
    steps = n - 1 if endpoint else n
    if steps < 1:
        return add(places, start)
    values = add(multiply(places, (stop - start) / steps), start)
    return where(equal(places, floating_number(steps)), stop, values) if endpoint else values


def logspace(start: float, stop: float, /, num: int = 50, *, base: float = 10.0, dtype: Any = None,
             device: str | Device | None = None, endpoint: bool = True) -> Tensor:
    """base to the powers of linspace(start, stop, num).

        >>> tg.logspace(0, 2, 3)
        tensor([  1.,  10., 100.])
    """
    exponents = linspace(start, stop, num, dtype=dtypes.float64, device=device, endpoint=endpoint)
    return convert(pow(float(base), exponents), dtypes.default_float() if dtype is None else dtype_of(dtype))


def geomspace(start: float, stop: float, /, num: int = 50, *, dtype: Any = None, device: str | Device | None = None,
              endpoint: bool = True) -> Tensor:
    """`num` numbers of equal ratio from start to stop, both of one sign and not 0; start and stop themselves are exact.

        >>> tg.geomspace(1, 1000, 4)
        tensor([   1.,   10.,  100., 1000.])
    """
    if not start * stop > 0:
        raise ValueError(at_user_line(f"geomspace: {start} and {stop} are not both above or both below 0"))
    n, sign = index(num), copysign(1.0, start)
    exponents = linspace(log10(abs(start)), log10(abs(stop)), n, dtype=dtypes.float64, device=device,
                         endpoint=endpoint)
    values = multiply(pow(10.0, exponents), sign)
    places = dispatch("iota", shape=(n,), axis=0, dtype="i64")
    values = where(equal(places, 0), float(start), values)
    if endpoint and n > 1:
        values = where(equal(places, n - 1), float(stop), values)
    return convert(values, dtypes.default_float() if dtype is None else dtype_of(dtype))
