"""Our counterparts of NumPy's functions that sort, count, cumulate, split and rearrange, with NumPy's arguments.

What NumPy's argument means in ours, where the names differ, is all there is to say; see `numpy_functions`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import (
    contraction,
    creation,
    cumulative,
    diagonals,
    differences,
    functional,
    histograms,
    manipulation,
    padding,
    sets,
    signals,
    sorting,
    splitting,
    statistics,
    windows,
)
from tracegrad.cumulative import prod
from tracegrad.numpy_functions import array_like, deliver, reduction, without_dtype
from tracegrad.operands import convert
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

_A, _S = manipulation, statistics


def of_arrays(ours: Callable[..., Any], count: int = 1) -> Callable[..., Any]:
    """The same function, whose first `count` arguments may be lists."""
    def apply(*args: Any, **options: Any) -> Any:
        return ours(*(array_like(ours.__name__, a) for a in args[:count]), *args[count:], **options)
    return apply


def running(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """np.cumsum and such."""
    def apply(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
        return deliver(ours(array_like(ours.__name__, a), axis, dtype=dtype), out)
    return apply


def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Tensor:
    """np.sort: always stable."""
    _no_fields(order)
    return sorting.sort(array_like("sort", a), axis)


def argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *,
            stable: bool | None = None) -> Tensor:
    """np.argsort: always stable."""
    _no_fields(order)
    return sorting.argsort(array_like("argsort", a), axis)


def _no_fields(order: Any) -> None:
    if order is not None:
        raise NotImplementedError(at_user_line("tracegrad has no fields to sort by: order= must be None"))


def argmin(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """np.argmin."""
    return deliver(sorting.argmin(array_like("argmin", a), axis, keepdims=bool(keepdims)), out)


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
    """np.searchsorted."""
    return sorting.searchsorted(array_like("searchsorted", a), array_like("searchsorted", v), side=side, sorter=sorter)


def at_shares(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """np.quantile, np.percentile and those without NaN."""
    def apply(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
              method: str = "linear", keepdims: bool = False) -> Any:
        q = array_like(ours.__name__, q) if isinstance(q, list | tuple) else q
        return deliver(ours(array_like(ours.__name__, a), q, axis, method=method, keepdims=bool(keepdims)), out)
    return apply


def middle(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """np.median, np.nanmedian."""
    def apply(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
        return deliver(ours(array_like(ours.__name__, a), axis, keepdims=bool(keepdims)), out)
    return apply


def without_nan(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """np.nanmean, np.nansum and such."""
    def apply(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        a = array_like(ours.__name__, a)
        a = a if dtype is None else convert(a, np.dtype(dtype))
        return deliver(ours(a, axis, keepdims=bool(keepdims)), out)
    return apply


def spread_without_nan(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """np.nanvar, np.nanstd: ddof is our correction."""
    def apply(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
              keepdims: bool = False) -> Any:
        a = array_like(ours.__name__, a)
        a = a if dtype is None else convert(a, np.dtype(dtype))
        return deliver(ours(a, axis, correction=float(ddof), keepdims=bool(keepdims)), out)
    return apply


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """np.trace."""
    line = diagonals.diagonal(array_like("trace", a), offset, axis1, axis2)
    return deliver(functional.sum(line, -1, dtype=dtype), out)


def repeat(a: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """np.repeat."""
    return _A.repeat(array_like("repeat", a), repeats, axis=axis)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """np.meshgrid, not sparse."""
    if sparse:
        raise NotImplementedError(at_user_line("numpy.meshgrid: tracegrad has no sparse= yet; use expand_dims"))
    return _A.meshgrid(*(array_like("meshgrid", x) for x in xi), indexing=indexing)


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """np.ptp."""
    return deliver(_S.ptp(array_like("ptp", a), axis, keepdims=bool(keepdims)), out)


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """np.average."""
    weights = weights if weights is None else array_like("average", weights)
    return _S.average(array_like("average", a), axis, weights, returned, keepdims=bool(keepdims))


def einsum(*operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None) -> Any:
    """np.einsum."""
    return deliver(contraction.einsum(*operands, dtype=dtype), out)


def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """np.count_nonzero."""
    return sorting.count_nonzero(array_like("count_nonzero", a), axis, keepdims=keepdims)


FUNCTIONS: dict[Callable, Callable] = {
    # order, counting
    np.sort: sort, np.argsort: argsort, np.argmin: argmin, np.searchsorted: searchsorted,
    np.digitize: of_arrays(sorting.digitize, 2), np.count_nonzero: count_nonzero, np.isin: of_arrays(sorting.isin, 2),
    np.nonzero: of_arrays(sorting.nonzero), np.argwhere: of_arrays(sorting.argwhere),
    np.flatnonzero: of_arrays(sorting.flatnonzero), np.extract: of_arrays(sorting.extract, 2),
    np.compress: lambda condition, a, axis=None, out=None: deliver(sorting.compress(
        array_like("compress", condition), array_like("compress", a), axis), out),
    np.unique: of_arrays(sets.unique), np.union1d: of_arrays(sets.union1d, 2),
    np.setdiff1d: of_arrays(sets.setdiff1d, 2), np.intersect1d: of_arrays(sets.intersect1d, 2),
    np.setxor1d: of_arrays(sets.setxor1d, 2),
    np.bincount: of_arrays(histograms.bincount), np.histogram: of_arrays(histograms.histogram),
    # running results, statistics
    np.prod: reduction(prod, functional.multiply, 1), np.cumsum: running(cumulative.cumsum),
    np.cumprod: running(cumulative.cumprod), np.nancumsum: running(cumulative.nancumsum),
    np.nancumprod: running(cumulative.nancumprod), np.ptp: ptp, np.average: average,
    np.median: middle(_S.median), np.nanmedian: middle(_S.nanmedian),
    np.quantile: at_shares(_S.quantile), np.percentile: at_shares(_S.percentile),
    np.nanquantile: at_shares(_S.nanquantile), np.nanpercentile: at_shares(_S.nanpercentile),
    np.nansum: without_nan(_S.nansum), np.nanprod: without_nan(_S.nanprod), np.nanmean: without_nan(_S.nanmean),
    np.nanmax: without_dtype(without_nan(_S.nanmax)), np.nanmin: without_dtype(without_nan(_S.nanmin)),
    np.nanvar: spread_without_nan(_S.nanvar), np.nanstd: spread_without_nan(_S.nanstd),
    np.cov: lambda m, y=None, rowvar=True, bias=False, ddof=None: _S.cov(
        array_like("cov", m), y, rowvar=rowvar, bias=bias, ddof=ddof),
    np.corrcoef: lambda x, y=None, rowvar=True: _S.corrcoef(array_like("corrcoef", x), y, rowvar=rowvar),
    # differences, interpolation
    np.diff: lambda a, n=1, axis=-1, prepend=None, append=None: differences.diff(
        array_like("diff", a), n, axis, prepend=prepend, append=append),
    np.ediff1d: of_arrays(differences.ediff1d), np.gradient: of_arrays(differences.gradient),
    np.trapezoid: of_arrays(differences.trapezoid), np.interp: of_arrays(differences.interp, 3),
    np.convolve: of_arrays(signals.convolve, 2), np.correlate: of_arrays(signals.correlate, 2),
    np.vander: lambda x, N=None, increasing=False: creation.vander(array_like("vander", x), N, increasing),
    # rearrangement
    np.roll: of_arrays(_A.roll), np.tile: of_arrays(_A.tile), np.repeat: repeat, np.rollaxis: of_arrays(_A.rollaxis),
    np.rot90: lambda m, k=1, axes=(0, 1): _A.rot90(array_like("rot90", m), k, axes), np.meshgrid: meshgrid,
    np.broadcast_arrays: lambda *args, subok=False: _A.broadcast_arrays(*args),
    np.split: lambda ary, indices_or_sections, axis=0: list(splitting.even_split(
        "split", array_like("split", ary), indices_or_sections, axis)),
    np.array_split: lambda ary, indices_or_sections, axis=0: list(splitting.array_split(
        array_like("array_split", ary), indices_or_sections, axis)),
    np.hsplit: lambda ary, parts: list(splitting.hsplit(ary, parts)),
    np.vsplit: lambda ary, parts: list(splitting.vsplit(ary, parts)),
    np.dsplit: lambda ary, parts: list(splitting.dsplit(ary, parts)),
    np.pad: of_arrays(padding.pad), np.lib.stride_tricks.sliding_window_view: of_arrays(windows.sliding_window_view),
    np.tril: lambda m, k=0: diagonals.tril(array_like("tril", m), k), np.trace: trace,
    np.triu: lambda m, k=0: diagonals.triu(array_like("triu", m), k),
    np.diagonal: of_arrays(diagonals.diagonal), np.diag: of_arrays(diagonals.diag),
    np.diagflat: of_arrays(diagonals.diagflat),
    # contraction
    np.einsum: einsum, np.tensordot: of_arrays(contraction.tensordot, 2), np.kron: of_arrays(contraction.kron, 2),
}
"""Our function for each of these NumPy functions."""
