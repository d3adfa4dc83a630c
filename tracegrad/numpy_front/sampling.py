"""Order statistics, interpolation and correlation: NumPy computes them in C, or looks at values for them.

Written in NumPy itself, on Arrays.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad import sorting
from tracegrad.movement import reshape
from tracegrad.numpy_front.array_methods import in_float
from tracegrad.numpy_front.arrays import Array, Operand, Uncounted, isinstance_of, real, tensor_of
from tracegrad.numpy_front.ufuncs import BOOL, plain

MOST_TAPS = 64          # a correlation is unrolled over the shorter of its operands


def line(a: Any, axis: Any) -> tuple[Any, int]:
    """The array in floating point and the one axis to go along; flattened where that is None."""
    x = Array(in_float(tensor_of(plain(a))))
    if axis is None:
        return Array(reshape(x._tensor, (-1,))), 0
    if not isinstance(axis, int | np.integer):
        raise Uncounted("over several axes")
    return x, int(axis) % x.ndim


def in_order(x: Any, k: int) -> Any:
    """The elements along axis k sorted, that axis first."""
    ordered: Any = Array(sorting.sort(x._tensor, k))
    return ordered.transpose(k, *(j for j in range(ordered.ndim) if j != k))


def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
             keepdims: bool = False, *, weights: Any = None, **more: Any) -> Any:
    """np.quantile at positions that are plain numbers, by linear interpolation."""
    if isinstance_of(q, Operand) or out is not None or method != "linear" or weights is not None or more:
        raise Uncounted("of computed positions, with out=, weights= or another method")
    x, k = line(a, axis)
    n = x.shape[k]
    places = np.asarray(real(q), float)
    if n == 0 or not ((places >= 0) & (places <= 1)).all():
        raise Uncounted("of nothing, or out of range")
    rows = in_order(x, k)
    unordered = np.isnan(rows).any(axis=0)
    found = []
    for place in places.ravel() * (n - 1):
        below = int(place)
        t, low, high = place - below, rows[below], rows[min(below + 1, n - 1)]
        between = low + (high - low) * t if t < 0.5 else high - (high - low) * (1 - t)      # as NumPy rounds
        found.append(np.where(unordered, np.nan, between)[()])
    shaped = [np.expand_dims(f, k) if keepdims and axis is not None else f for f in found]
    if keepdims and axis is None:
        shaped = [np.reshape(f, (1,) * tensor_of(plain(a)).array.ndim) for f in found]
    return shaped[0] if places.ndim == 0 else np.reshape(np.stack(shaped), (*places.shape, *np.shape(shaped[0])))


def percentile(a: Any, q: Any, axis: Any = None, **more: Any) -> Any:
    """np.percentile."""
    if isinstance_of(q, Operand):
        raise Uncounted("of computed positions")
    return quantile(a, np.asarray(real(q), float) / 100, axis, **more)


def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """np.median: the mean of the two in the middle."""
    if out is not None:
        raise Uncounted("with out=")
    x, k = line(a, axis)
    n = x.shape[k]
    if n == 0:
        raise Uncounted("of nothing")
    rows = in_order(x, k)
    middle = rows[n // 2] if n % 2 else (rows[n // 2 - 1] + rows[n // 2]) / 2
    found = np.where(np.isnan(rows).any(axis=0), np.nan, middle).astype(x.dtype)
    if keepdims:
        ones = (1,) * tensor_of(plain(a)).array.ndim
        return np.expand_dims(found, k) if axis is not None else np.reshape(found, ones)
    return found[()]


def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
            where: Any = True) -> Any:
    """np.nanmean: NaN of nothing but NaNs."""
    if dtype is not None or out is not None or where is not True:
        raise Uncounted("with dtype=, out= or where=")
    x = Array(in_float(tensor_of(plain(a))))
    held = ~np.isnan(x)
    return np.sum(np.where(held, x, 0), axis=axis, keepdims=bool(keepdims)) / np.sum(
        held, axis=axis, keepdims=bool(keepdims))


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """np.interp of real numbers."""
    if period is not None:
        raise Uncounted("with a period")
    at, knots, values = (Array(in_float(tensor_of(plain(v)))).astype(float) for v in (x, xp, fp))
    n = knots.shape[0]
    if n < 2 or values.dtype != float:
        raise Uncounted("between fewer than two points")
    j = (np.searchsorted(knots, at, side="right") - 1).clip(0, n - 2)
    slope = (values[1:] - values[:-1]) / (knots[1:] - knots[:-1])
    inside = slope[j] * (at - knots[j]) + values[j]
    below = values[0] if left is None else left
    above = values[-1] if right is None else right
    found = np.where(at < knots[0], below, np.where(at > knots[-1], above, inside))
    return np.where(at == knots[-1], values[-1], found)[()]


def correlate(a: Any, v: Any, mode: Any = 0) -> Any:
    """np.correlate, and the C function that np.convolve calls."""
    x: Any = Array(tensor_of(plain(a)))
    taps: Any = Array(tensor_of(plain(v)))
    n, m = x.shape[0], taps.shape[0]
    kind = {0: "valid", 1: "same", 2: "full"}.get(mode, mode)
    if not n >= m > 0 or m > MOST_TAPS or kind not in ("valid", "same", "full") or taps.dtype.kind == "c":
        raise Uncounted("of more than so many taps, or more taps than samples")
    common = np.result_type(x.dtype, taps.dtype)
    if common == BOOL:
        raise Uncounted("of bools")
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
