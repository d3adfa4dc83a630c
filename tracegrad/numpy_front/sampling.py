"""Order statistics, interpolation, correlation: NumPy computes them in C, or looks at values. Ours, in float64."""
from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad import differences, statistics
from tracegrad.movement import reshape, stack
from tracegrad.numpy_front.array_methods import FLOAT, done, in_float
from tracegrad.numpy_front.arrays import Array, Operand, Uncounted, isinstance_of, real, tensor_of
from tracegrad.numpy_front.ufuncs import BOOL, plain
from tracegrad.operands import convert
from tracegrad.tensors import Tensor

MOST_TAPS = 64          # a correlation is unrolled over the shorter of its operands


def given(a: Any) -> Tensor:
    """An argument, in floating point."""
    return in_float(tensor_of(plain(a)))


def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
             keepdims: bool = False, *, weights: Any = None) -> Any:
    """np.quantile at shares that are plain numbers."""
    if isinstance_of(q, Operand) or weights is not None:
        raise Uncounted("of computed shares, or with weights=")
    shares = np.asarray(real(q), float)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise Uncounted("out of range")
    found = [statistics.quantile(given(a), float(share), axis, method=method, keepdims=bool(keepdims))
             for share in shares.ravel()]
    if shares.ndim == 0:
        return done(found[0], out)
    return done(reshape(stack(found), (*shares.shape, *found[0].array.shape)), out)


def percentile(a: Any, q: Any, axis: Any = None, *more: Any, **options: Any) -> Any:
    """np.percentile."""
    if isinstance_of(q, Operand):
        raise Uncounted("of computed shares")
    return quantile(a, np.asarray(real(q), float) / 100, axis, *more, **options)


def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """np.median."""
    return done(statistics.median(given(a), axis, keepdims=bool(keepdims)), out)


def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
            where: Any = True) -> Any:
    """np.nanmean."""
    if dtype is not None or where is not True:
        raise Uncounted("with dtype= or where=")
    return done(statistics.nanmean(given(a), axis, keepdims=keepdims is True), out)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """np.interp of real numbers, in float64."""
    if period is not None or isinstance_of(left, Operand) or isinstance_of(right, Operand):
        raise Uncounted("with a period, or with computed ends")
    at, places, values = (convert(given(v), FLOAT) for v in (x, xp, fp))
    return done(differences.interp(at, places, values, left, right), None)


def correlate(a: Any, v: Any, mode: Any = 0) -> Any:
    """np.correlate, and the C function that np.convolve calls."""
    x: Any = Array(tensor_of(plain(a)))
    taps: Any = Array(tensor_of(plain(v)))
    n, m = x.shape[0], taps.shape[0]
    kind = {0: "valid", 1: "same", 2: "full"}.get(mode, mode)
    common = np.result_type(x.dtype, taps.dtype)
    if not n >= m > 0 or m > MOST_TAPS or kind not in ("valid", "same", "full") or common.kind == "c" or common == BOOL:
        raise Uncounted("of many taps, of more taps than samples, or of such numbers")
    x, taps = x.astype(common), taps.astype(common)
    before = {"valid": 0, "same": m // 2, "full": m - 1}[kind]
    after = {"valid": 0, "same": m - 1 - m // 2, "full": m - 1}[kind]
    if before or after:
        x = np.concatenate([np.zeros(before, common), x, np.zeros(after, common)])
    length = x.shape[0] - m + 1
    total = x[:length] * taps[0]
    for k in range(1, m):
        total = total + x[k:k + length] * taps[k]
    return total
