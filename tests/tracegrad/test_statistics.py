"""Quantiles, averages, covariances, histograms, differences: values against NumPy, traced runs, derivatives."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError

X = (np.random.default_rng(0).permutation(24) * 0.37 - 4.1).reshape(2, 3, 4)
NANS = X.copy()
NANS[0, 0, 1] = NANS[1, :, 2] = np.nan
ROW = np.array([1.0, 2.5, 3.0, 7.0, 7.5])

Case = tuple[Callable[[Any], Any], Callable[[Any], Any], np.ndarray]


def alike(name: str, x: np.ndarray, *args: Any, **options: Any) -> Case:
    """A function that both have, with the same arguments."""
    return (lambda x: getattr(tg, name)(x, *args, **options)), (lambda x: getattr(np, name)(x, *args, **options)), x


CASES: dict[str, Case] = {
    **{f"{name}-{axis}-{keep}": alike(name, X, axis=axis, keepdims=keep)
       for name in ("median", "ptp") for axis in (None, 0, (0, 2), -1) for keep in (False, True)},
    **{f"{name}-{axis}": alike(name, NANS, axis=axis)
       for name in ("nanmedian", "nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd")
       for axis in (None, 0, (0, 2))},
    **{f"quantile-{method}-{axis}": alike("quantile", X, 0.3, axis=axis, method=method)
       for method in ("linear", "lower", "higher", "midpoint", "nearest") for axis in (None, 1)},
    **{f"quantile-{keep}": (
        lambda x, k=keep: tg.quantile(x, tg.tensor([0.0, 0.25, 1.0], tg.float64), axis=1, keepdims=k),
        lambda x, k=keep: np.quantile(x, [0.0, 0.25, 1.0], axis=1, keepdims=k), X)
       for keep in (False, True)},
    "nanquantile": (lambda x: tg.nanquantile(x, tg.tensor([0.1, 0.9], tg.float64), axis=(0, 1)),
                    lambda x: np.nanquantile(x, [0.1, 0.9], axis=(0, 1)), NANS),
    "percentile": alike("percentile", X, 37.5, axis=2), "nanpercentile": alike("nanpercentile", NANS, 50),
    "average": alike("average", X, axis=1),
    "average-weights": (lambda x: tg.average(x, 1, weights=tg.tensor([1.0, 2.0, 4.0])),
                        lambda x: np.average(x, 1, weights=[1.0, 2, 4]), X),
    "average-returned": (lambda x: tg.average(x, 0, x * x, True), lambda x: np.average(x, 0, x * x, True), X),
    "cov": (lambda x: tg.cov(x[0]), lambda x: np.cov(x[0]), X), "cov-of-one": alike("cov", ROW),
    "cov-of-columns": (lambda x: tg.cov(x[0], rowvar=False, bias=True),
                       lambda x: np.cov(x[0], rowvar=False, bias=True), X),
    "cov-of-two": (lambda x: tg.cov(x, x * x, ddof=2), lambda x: np.cov(x, x * x, ddof=2), ROW),
    "corrcoef": (lambda x: tg.corrcoef(x[0, :2]), lambda x: np.corrcoef(x[0, :2]), X),
    "diff": alike("diff", X), "diff-twice": alike("diff", X, 2, axis=1), "diff-too-often": alike("diff", X, 4, axis=1),
    "diff-joined": (lambda x: tg.diff(x, axis=0, prepend=x[:1], append=0.0),
                    lambda x: np.diff(x, axis=0, prepend=x[:1], append=0.0), X),
    "ediff1d": (lambda x: tg.ediff1d(x, x[-2:], x[0]), lambda x: np.ediff1d(x, x[-2:], x[0]), ROW),
    "trapezoid": alike("trapezoid", X, dx=0.5, axis=1),
    "trapezoid-places": (lambda x: tg.trapezoid(x, x**2), lambda x: np.trapezoid(x, x**2), ROW),
    "gradient": alike("gradient", X), "gradient-axis": alike("gradient", X, 0.5, axis=2, edge_order=2),
    **{f"gradient-places-{order}": (lambda x, o=order: tg.gradient(x * x, x, edge_order=o),
                                    lambda x, o=order: np.gradient(x * x, x, edge_order=o), ROW) for order in (1, 2)},
    "gradient-two-axes": (lambda x: tg.gradient(x[0], 2.0, x[0, 0] * 0 + tg.arange(4)),
                          lambda x: np.gradient(x[0], 2.0, np.arange(4)), X),
    "interp": (lambda x: tg.interp(tg.linspace(-1.0, 9.0, 23, dtype=tg.float64), x, x**2),
               lambda x: np.interp(np.linspace(-1.0, 9.0, 23), x, x**2), ROW),
    "interp-ends": (lambda x: tg.interp(x * 2, x, x**2, -1.0, 9.0),
                    lambda x: np.interp(x * 2, x, x**2, -1.0, 9.0), ROW),
    **{f"norm-{p}-{axis}": (lambda x, p=p, k=axis: tg.norm(x, p, axis=k),
                            lambda x, p=p, k=axis: np.linalg.norm(x.ravel() if k is None else x, p, k), X)
       for p in (1, 2, 3, 0.5, np.inf, -np.inf) for axis in (None, 1)},
}
COUNTS: dict[str, Case] = {
    "histogram": alike("histogram", X), "histogram-range": alike("histogram", X, 7, (-3.0, 2.0)),
    "histogram-of-one": alike("histogram", np.full(3, 2.0)),
    "histogram-density": alike("histogram", X, 5, density=True),
    "histogram-edges": (lambda x: tg.histogram(x, tg.tensor([-2.0, 0.0, 3.0], tg.float64)),
                        lambda x: np.histogram(x, [-2.0, 0.0, 3.0]), X),
    "histogram-weights": (lambda x: tg.histogram(x, 4, weights=x * x), lambda x: np.histogram(x, 4, weights=x * x), X),
    "norm-0": (lambda x: tg.norm(x, 0), lambda x: np.linalg.norm(x.ravel(), 0), X),
}


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def assert_same(found: Any, expected: Any) -> None:
    for a, e in zip(parts(found), parts(expected), strict=True):
        assert a.dtype == np.asarray(e).dtype and a.shape == np.shape(e)
        np.testing.assert_allclose(a.detach().numpy(), e, 1e-10, 1e-12)


@pytest.mark.parametrize("name", [*CASES, *COUNTS])
def test_values_are_those_of_numpy_eager_and_traced(name: str) -> None:
    ours, numpys, x = {**CASES, **COUNTS}[name]
    expected = numpys(x)
    assert_same(ours(tg.tensor(x)), expected)
    traced = tg.trace(ours, strict=True)
    for _ in range(3):
        assert_same(traced(tg.tensor(x)), expected)
    assert traced.stats.replays


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    ours, _, x = CASES[name]
    if np.isnan(x).any() or name.startswith("nan"):         # a numerical derivative cannot step over NaN
        x = X
    assert tg.autograd.gradcheck(lambda x: parts(ours(x))[0], tg.tensor(x, requires_grad=True))


def test_nan_counts_or_does_not() -> None:
    x = tg.tensor(NANS)
    np.testing.assert_array_equal(tg.median(x, axis=(0, 1)).numpy(), np.median(NANS, (0, 1)))
    none = tg.tensor([float("nan")] * 2)
    for f in (tg.nanmedian, tg.nanmean, tg.nanmax, tg.nanmin, tg.nanvar):
        assert np.isnan(f(none).item())
    assert tg.nansum(none).item() == 0 and tg.nanprod(none).item() == 1
    w = tg.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    tg.nanmean(w).backward()
    assert w.grad.tolist() == [0.5, 0.0, 0.5]


def test_mode() -> None:
    x = tg.tensor([[2, 3, 1, 3, 2], [5, 5, 1, 1, 1]])
    values, indices = tg.mode(x)
    assert values.tolist() == [2, 1] and indices.tolist() == [4, 4]
    assert tg.mode(x, axis=0, keepdims=True).values.tolist() == [[2, 3, 1, 1, 1]]


def test_bincount_and_histc() -> None:
    x = tg.tensor([1, 5, 1, 0])
    assert_same(tg.bincount(x), np.bincount([1, 5, 1, 0]))
    assert_same(tg.bincount(x, tg.tensor([0.5, 1.0, 2.0, 3.0]), minlength=8),
                np.bincount([1, 5, 1, 0], [0.5, 1, 2, 3], 8).astype(np.float32))
    assert_same(tg.bincount(x[:0]), np.bincount(np.array([], int)))
    assert tg.histc(tg.tensor([1.0, 2.0, 1.0, 9.0]), bins=4, min=0, max=3).tolist() == [0, 2, 1, 0]


def test_the_norm_of_nothing_but_zeros_has_a_derivative() -> None:
    w = tg.zeros(3, requires_grad=True)
    tg.norm(w).backward()
    assert w.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.int32], ids=str)
def test_dtypes(dtype: Any) -> None:
    x = tg.tensor([1, 2, 3, 5], dtype)
    expected = tg.float32 if dtype is tg.int32 else dtype
    for f in (tg.median, tg.average, tg.nanmean, tg.norm, lambda x: tg.quantile(x, 0.3), tg.trapezoid, tg.gradient):
        assert f(x).dtype == expected
    assert tg.diff(x).dtype == tg.ptp(x).dtype == dtype and tg.diff(x > 1).dtype == tg.bool


@pytest.mark.parametrize("call, error, message", [
    (lambda x: tg.quantile(x, 1.5), ValueError, "quantile: 1.5 is not a share from 0 to 1"),
    (lambda x: tg.quantile(x, 0.5, method="cubic"), ValueError, "quantile: method 'cubic' is none of"),
    (lambda x: tg.median(x[:, :0]), TypeRuleError, r"median: f64\[2,0\] has no element"),
    (lambda x: tg.average(x, weights=tg.ones(3)), TypeRuleError, "average: weights .* nor a line"),
    (lambda x: tg.cov(x[None]), TypeRuleError, "cov: .* more than 2 axes"),
    (lambda x: tg.histogram(x, 0), ValueError, "histogram: 0 bins"),
    (lambda x: tg.bincount(x), TypeRuleError, "bincount: .* not a line of integers"),
    (lambda x: tg.bincount(tg.tensor([-1])), ValueError, "bincount: -1 is below 0"),
    (lambda x: tg.gradient(x, 1.0, 2.0, 3.0), TypeError, "gradient: 3 spacings for 2 axes"),
    (lambda x: tg.gradient(x, axis=1, edge_order=2), ValueError, "gradient: 2 elements along axis 1; at least 3"),
    (lambda x: tg.interp(x, x, x), TypeRuleError, "interp: .* not the coordinates of points"),
    (lambda x: tg.norm(x, "nuc"), ValueError, "norm: p 'nuc' is neither a number nor 'fro'"),
    (lambda x: tg.diff(x, -1), ValueError, "diff: -1 times"),
])
def test_errors(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(tg.tensor(X[:, :2, 0]))
