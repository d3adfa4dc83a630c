"""numpy.linalg and numpy.fft on Arrays: ours, with NumPy's promotion: integers and bools are computed in float64."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.linalg import _linalg

from tracegrad import linalg, numpy_linalg
from tracegrad.dtypes import INEXACT, float64
from tracegrad.numpy_front.arrays import Operand, isinstance_of, tensor_of, wrap
from tracegrad.numpy_front.ufuncs import kind, operand, plain
from tracegrad.operands import convert
from tracegrad.tensors import Tensor

NUMPYS: dict[type, Callable[..., Any]] = {
    getattr(linalg, name): getattr(_linalg, name) for name in ("EighResult", "QRResult", "SVDResult", "SlogdetResult")}
"""NumPy's types for the results of which there are several."""


def given(value: Any) -> Any:
    """An argument: Arrays, and lists in which there are some, as Tensors in floating point."""
    if isinstance(value, list | tuple) and any(isinstance_of(part, Operand) for part in value):
        return [given(part) for part in value]
    if not isinstance_of(plain(value), Operand):
        return value
    x = tensor_of(plain(value))
    return x if x.dtype in INEXACT else convert(x, float64)


def result(value: Any) -> Any:
    """What NumPy would give: Arrays and scalars, and tuples of them."""
    if isinstance_of(value, Tensor):
        return wrap(value)
    holds = type(value)
    return NUMPYS.get(holds, holds)(*map(result, value)) if hasattr(value, "_fields") else value


def on_arrays(ours: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*args: Any, **options: Any) -> Any:
        return result(ours(*map(given, args), **{name: given(value) for name, value in options.items()}))
    return apply


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """np.linalg.vecdot, of integers too."""
    x, y = plain(x1), plain(x2)
    common = np.result_type(kind(x), kind(y))
    return wrap(linalg.vecdot(operand(x, common), operand(y, common), axis=axis))


KEEP_INTEGERS = frozenset({np.fft.fftshift, np.fft.ifftshift, *(getattr(np.linalg, name) for name in (
    "cross", "diagonal", "matmul", "matrix_power", "matrix_transpose", "multi_dot", "outer", "tensordot", "trace"))})
"""What rearranges, multiplies and adds, in the dtype that it is given: NumPy's own Python code runs."""

COUNTERPARTS = {function: on_arrays(ours) for function, ours in numpy_linalg.FUNCTIONS.items()
                if function not in KEEP_INTEGERS} | {np.linalg.vecdot: vecdot}
"""What stands in for NumPy's functions."""
