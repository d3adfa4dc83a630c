"""Order statistics, interpolation, correlation: NumPy computes them in C, or looks at values. Ours, in float64."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import differences, histograms, statistics
from tracegrad.movement import reshape, stack
from tracegrad.numpy_front.array_methods import FLOAT, done, in_float
from tracegrad.numpy_front.arrays import Array, Operand, Uncounted, constant, isinstance_of, made, real, tensor_of
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
    x = given(a)
    if tensor_of(plain(a)).dtype == BOOL:
        raise Uncounted("of bools")
    if shares.ndim:                         # an array of shares is float64, a number is weak
        x = convert(x, FLOAT)
    found = [statistics.quantile(x, float(share), axis, method=method, keepdims=bool(keepdims))
             for share in shares.ravel()]
    if shares.ndim == 0:
        return done(found[0], out)
    return done(reshape(stack(found), (*shares.shape, *found[0].shape)), out)


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


def nan_extremum(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """np.nanmax, np.nanmin."""
    def apply(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return done(ours(tensor_of(plain(a)), axis, keepdims=keepdims is True), out)
    return apply


def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """np.histogram between edges that are known: a range and a number of bins, or plain edges."""
    if density or weights is not None or any(isinstance_of(v, Operand) for v in (bins, *(range or ()))):
        raise Uncounted("with density= or weights=, or between computed edges")
    if range is None and np.ndim(bins) == 0:
        raise Uncounted("without range=: the edges depend on values")
    x = tensor_of(plain(a))
    edges = np.histogram_bin_edges(np.empty(0, x.dtype), bins, range)
    counts, _ = histograms.histogram(x, constant(edges))
    return Array(counts), made(edges)


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
