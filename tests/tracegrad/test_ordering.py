"""Sorting, searching, sets, running results, writes at indices: against NumPy, traced against eager, derivatives."""
from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError

RNG = np.random.default_rng(0)
X = RNG.permutation(24).reshape(2, 3, 4) * 0.5 - 5.0        # no two are equal
ROW = np.array([3.0, -1.0, 2.0, 0.0, -4.0])
TIES = np.array([[3, 1, 3, 2], [2, 2, 1, 1]])
SORTED = np.array([-3.0, -1.0, -1.0, 2.0, 5.0])
PLACES = np.array([[[2, 0, 1, 2]], [[1, 1, 0, 2]]])

Case = tuple[Callable[[Any], Any], Callable[[Any], Any], np.ndarray]

DIFFERENTIABLE: dict[str, Case] = {
    **{f"sort-{axis}": (lambda x, k=axis: tg.sort(x, axis=k), lambda x, k=axis: np.sort(x, k), X)
       for axis in (0, 1, -1, None)},
    "sort-descending": (lambda x: tg.sort(x, 1, descending=True), lambda x: np.sort(x, 1)[:, ::-1], X),
    "topk": (lambda x: tg.topk(x, 2).values, lambda x: np.sort(x)[..., :1:-1], X),
    "topk-smallest": (lambda x: tg.topk(x, 2, axis=1, largest=False).values, lambda x: np.sort(x, 1)[:, :2], X),
    "kthvalue": (lambda x: tg.kthvalue(x, 2, axis=0).values, lambda x: np.sort(x, 0)[1], X),
    **{f"prod-{axis}": (lambda x, k=axis: tg.prod(x, k), lambda x, k=axis: np.prod(x, k), X[:, :2, :3])
       for axis in (None, 0, (0, 2), ())},
    "prod-keepdims": (lambda x: tg.prod(x, 1, keepdims=True), lambda x: np.prod(x, 1, keepdims=True), X),
    "prod-with-zeros": (tg.prod, np.prod, np.array([2.0, 0.0, 3.0])),
    **{f"{name}-{axis}": (lambda x, f=name, k=axis: getattr(tg, f)(x, k),
                          lambda x, f=name, k=axis: getattr(np, f)(x, k), X / 4)
       for name in ("cumsum", "cumprod") for axis in (None, 0, -1)},
    "cumprod-with-zeros": (tg.cumprod, np.cumprod, np.array([2.0, 0.0, 3.0, 0.0, 1.0])),
    "cumulative_sum": (lambda x: tg.cumulative_sum(x, axis=1, include_initial=True),
                       lambda x: np.cumulative_sum(x, axis=1, include_initial=True), X),
    "cumulative_prod": (lambda x: tg.cumulative_prod(x, include_initial=True),
                        lambda x: np.cumulative_prod(x, include_initial=True), ROW),
    "cummax": (lambda x: tg.cummax(x, 1).values, lambda x: np.maximum.accumulate(x, 1), X),
    "cummin": (lambda x: tg.cummin(x, 2).values, lambda x: np.minimum.accumulate(x, 2), X),
    "logcumsumexp": (lambda x: tg.logcumsumexp(x, 1), lambda x: np.logaddexp.accumulate(x, 1), X),
    "linear_recurrence": (lambda x: tg.linear_recurrence(x[0] * 0.1, x, axis=1),
                          lambda x: recurrence(x[0] * 0.1, x), X),
    "scatter": (lambda x: tg.scatter(x, 1, tg.tensor(PLACES.tolist()), x[:, :1] * 2),
                lambda x: put(x, PLACES, x[:, :1] * 2, 1), X),
    "scatter-part": (lambda x: tg.scatter(x, 0, tg.tensor([[[1, 0], [0, 1]]]), x * 2), lambda x: put_part(x), X),
    "scatter-number": (lambda x: tg.scatter(x, 1, tg.tensor(PLACES.tolist()), 7), lambda x: put(x, PLACES, 7.0, 1), X),
    "index_add": (lambda x: tg.index_add(x, 1, tg.tensor([2, 2]), x[:, :2], alpha=3), lambda x: add_at(x), X),
    "index_copy": (lambda x: tg.index_copy(x, 2, tg.tensor([3, 0]), x[..., :2] * 2), lambda x: copy_at(x), X),
    "index_fill": (lambda x: tg.index_fill(x, 0, tg.tensor([1]), -1.0), lambda x: np.stack([x[0], x[1] * 0 - 1]), X),
    "index_select": (lambda x: tg.index_select(x, 1, tg.tensor([2, 0, 2])), lambda x: x[:, [2, 0, 2]], X),
    "masked_fill": (lambda x: tg.masked_fill(x, x > 0.2, 3), lambda x: np.where(x > 0.2, 3, x), X),
}
WHOLE: dict[str, Case] = {
    **{f"argsort-{axis}": (lambda x, k=axis: tg.argsort(x, axis=k), lambda x, k=axis: np.argsort(x, k, "stable"), TIES)
       for axis in (0, -1, None)},
    "argsort-descending": (lambda x: tg.argsort(x, descending=True), lambda x: np.argsort(-x, -1, "stable"), TIES),
    **{f"argmin-{axis}": (lambda x, k=axis: tg.argmin(x, k), lambda x, k=axis: np.argmin(x, k), TIES)
       for axis in (0, 1, None)},
    "argmin-keepdims": (lambda x: tg.argmin(x, keepdims=True), lambda x: np.argmin(x, keepdims=True), TIES),
    **{f"searchsorted-{side}": (lambda x, s=side: tg.searchsorted(tg.tensor(SORTED.tolist(), tg.float64), x, side=s),
                                lambda x, s=side: np.searchsorted(SORTED, x, s), X) for side in ("left", "right")},
    "searchsorted-sorter": (lambda x: tg.searchsorted(x, x, sorter=tg.argsort(x)),
                            lambda x: np.searchsorted(x, x, sorter=np.argsort(x)), ROW),
    **{f"digitize-{right}-{step}": (
        lambda x, r=right, s=step: tg.digitize(x, tg.flip(x[:0:-1]) if s > 0 else x[:0:-1], right=r),
        lambda x, r=right, s=step: np.digitize(x, np.flip(x[:0:-1]) if s > 0 else x[:0:-1], right=r), SORTED)
       for right in (False, True) for step in (1, -1)},
    "count_nonzero": (lambda x: tg.count_nonzero(x, axis=1), lambda x: np.count_nonzero(x, axis=1), X),
    "prod-of-ints": (lambda x: tg.prod(x, axis=1), lambda x: np.prod(x, axis=1), TIES.astype(np.int8)),
    "cumsum-of-bools": (lambda x: tg.cumsum(x > 1, axis=1), lambda x: np.cumsum(x > 1, axis=1), TIES),
    "isin-of-ints": (lambda x: tg.isin(x, x[0, :1], invert=True), lambda x: np.isin(x, x[0, :1], invert=True), TIES),
    "isin": (lambda x: tg.isin(x, tg.tensor([-5.0, 0.0, 2.5])), lambda x: np.isin(x, [-5.0, 0.0, 2.5]), X),
    "sort-of-bools": (lambda x: tg.sort(x > 1), lambda x: np.sort(x > 1), TIES),
}
READ: dict[str, Case] = {
    "nonzero": (tg.nonzero, np.nonzero, X), "argwhere": (tg.argwhere, np.argwhere, X),
    "flatnonzero": (tg.flatnonzero, np.flatnonzero, X), "where": (tg.where, np.where, X),
    "masked_select": (lambda x: tg.masked_select(x, x > 0.2), lambda x: x[x > 0.2], X),
    "extract": (lambda x: tg.extract(x > 0, x), lambda x: np.extract(x > 0, x), X),
    "compress": (lambda x: tg.compress(x[0, :, 0] > -3, x, axis=1), lambda x: np.compress(x[0, :, 0] > -3, x, 1), X),
    **{name: (getattr(tg, name), getattr(np, name), TIES * 1.0)
       for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values")},
    "unique": (lambda x: tg.unique(x, True, True, True), lambda x: np.unique(x, True, True, True), TIES * 1.0),
    "unique-axis": (lambda x: tg.unique(x, axis=1), lambda x: np.unique(x, axis=1), TIES * 1.0),
    **{name: (lambda x, f=name: getattr(tg, f)(x[0], x[1]), lambda x, f=name: getattr(np, f)(x[0], x[1]), TIES * 1.0)
       for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d")},
}


def recurrence(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    y = b.copy()
    for i in range(1, 3):
        y[:, i] += a[i] * y[:, i - 1]
    return y


def put(x: np.ndarray, places: np.ndarray, values: Any, axis: int) -> np.ndarray:
    result = x.copy()
    np.put_along_axis(result, places, values, axis)
    return result


def put_part(x: np.ndarray) -> np.ndarray:
    result = x.copy()
    for i, j, k in ((1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)):
        result[i, j, k] = x[0, j, k] * 2
    return result


def add_at(x: np.ndarray) -> np.ndarray:
    result = x.copy()
    np.add.at(result, (slice(None), [2, 2]), 3 * x[:, :2])
    return result


def copy_at(x: np.ndarray) -> np.ndarray:
    result = x.copy()
    result[..., [3, 0]] = x[..., :2] * 2
    return result


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def assert_same(found: Any, expected: Any) -> None:
    for a, e in zip(parts(found), parts(expected), strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_allclose(a.detach().numpy(), e, 1e-12)


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, *WHOLE, *READ])
def test_values_are_those_of_numpy(name: str) -> None:
    ours, numpys, x = {**DIFFERENTIABLE, **WHOLE, **READ}[name]
    assert_same(ours(tg.tensor(x)), numpys(x))


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, *WHOLE])
def test_traced_runs_replay_and_agree(name: str) -> None:
    ours, numpys, x = {**DIFFERENTIABLE, **WHOLE}[name]
    traced = tg.trace(ours, strict=True)
    for _ in range(3):
        assert_same(traced(tg.tensor(x)), numpys(x))
    assert traced.stats.replays


@pytest.mark.parametrize("name", READ)
def test_what_is_read_runs_eagerly_and_says_so(name: str) -> None:
    ours, numpys, x = READ[name]
    with pytest.warns(tg.NotReplayed, match="of f64|of bool"):
        assert_same(tg.trace(ours)(tg.tensor(x)), numpys(x))


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, "masked_select", "unique_values", "compress"])
def test_derivatives(name: str) -> None:
    ours, _, x = {**DIFFERENTIABLE, **READ}[name]
    x = x if name != "unique_values" else np.array([3.0, 1.0, 2.0])
    assert tg.autograd.gradcheck(ours, tg.tensor(x, requires_grad=True))
    assert tg.autograd.gradgradcheck(ours, tg.tensor(x.ravel()[:6].reshape(1, 2, 3) if x.ndim == 3 and name.startswith(
        ("prod", "cum", "log", "sort-")) else x, requires_grad=True))


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("dtype", [tg.float64, tg.int32, tg.uint8], ids=str)
def test_scatter_reduce(reduce: str, include_self: bool, dtype: Any) -> None:
    if reduce == "mean" and dtype is not tg.float64:
        with pytest.raises(TypeRuleError, match="mean of .* not floating-point"):
            tg.scatter_reduce(tg.zeros(3, dtype=dtype), 0, tg.tensor([0]), tg.tensor([1]), "mean")
        return
    rng = np.random.default_rng(zlib.crc32(reduce.encode()))
    x, updates = rng.integers(1, 9, (4, 6)).astype(dtype), rng.integers(1, 9, (4, 9)).astype(dtype)
    places = rng.integers(-6, 6, (4, 9))
    expected = x.copy()
    combine = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    for row in range(4):
        for k in range(6):
            given = updates[row][places[row] % 6 == k]
            if given.size:
                expected[row, k] = combine([*given, x[row, k]] if include_self else given, dtype=dtype) if reduce in (
                    "sum", "prod") else combine([*given, x[row, k]] if include_self else given)

    def f(x: Any, places: Any, updates: Any) -> Any:
        return tg.scatter_reduce(x, 1, places, updates, reduce, include_self=include_self)
    given = tg.tensor(x), tg.tensor(places), tg.tensor(updates)
    traced = tg.trace(f, strict=True)
    for found in (f(*given), traced(*given), traced(*given)):
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), expected, 1e-12)
    assert traced.stats.replays
    if dtype is tg.float64:
        spread = [tg.tensor(a + rng.uniform(0, 0.3, a.shape), requires_grad=True) for a in (x, updates)]
        assert tg.autograd.gradcheck(lambda x, updates: f(x, given[1], updates), spread)


def test_places_that_follow_from_constants_replay() -> None:
    traced = tg.trace(lambda x: tg.compress(tg.tensor([True, False, True]), x, axis=1) + tg.unique(
        tg.tensor([2, 1, 2]))[tg.nonzero(tg.tensor([0, 1]))], strict=True)
    for _ in range(2):
        assert_same(traced(tg.tensor(X)), X[:, [0, 2]] + 2)
    assert traced.stats.replays == 1


def test_products_of_one_place_do_not_spoil_those_of_another() -> None:
    found = tg.scatter_reduce(tg.ones(3), 0, tg.tensor([0, 0, 1, 2]), tg.tensor([float("inf"), 0.0, 5.0, 7.0]), "prod")
    np.testing.assert_array_equal(found.numpy(), [np.nan, 5, 7])


@pytest.mark.parametrize("reduce", ["amax", "amin"])
def test_nan_wins(reduce: str) -> None:
    updates = tg.tensor([float("nan"), 1.0, 2.0, 3.0])
    found = tg.scatter_reduce(tg.zeros(2), 0, tg.tensor([0, 0, 1, 1]), updates, reduce, include_self=False)
    np.testing.assert_array_equal(found.numpy(), [np.nan, 3 if reduce == "amax" else 2])


def test_order_of_nans() -> None:
    x = tg.tensor([2.0, float("nan"), 1.0, float("nan")])
    np.testing.assert_array_equal(tg.sort(x).numpy(), [1, 2, np.nan, np.nan])
    np.testing.assert_array_equal(tg.sort(x, descending=True).numpy(), [np.nan, np.nan, 2, 1])
    assert tg.argsort(x, descending=True).tolist() == [1, 3, 0, 2]
    assert tg.argmin(x).item() == 1
    assert tg.unique_values(x).shape == (4,) and tg.unique(x).shape == (3,)
    assert not tg.isin(x, x)[1].item()
    values, indices = tg.cummax(x, 0)
    np.testing.assert_array_equal(values.numpy(), [2, np.nan, np.nan, np.nan])
    assert indices.tolist() == [0, 1, 1, 3]


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16, tg.uint64, tg.int8], ids=str)
def test_dtypes_stay(dtype: Any) -> None:
    x = tg.tensor([3, 1, 2], dtype)
    assert tg.sort(x).dtype == tg.unique_values(x).dtype == tg.cummax(x, 0).values.dtype == dtype
    assert tg.sort(x).tolist() == tg.unique(x).tolist() == [1, 2, 3] and tg.argsort(x).tolist() == [1, 2, 0]
    wide = {tg.int8: tg.int64}.get(dtype, dtype)
    assert tg.cumsum(x).dtype == tg.cumprod(x).dtype == tg.prod(x).dtype == wide
    assert tg.cumsum(x, dtype=tg.float32).dtype == tg.float32
    assert tg.trace(tg.cumsum)(x).tolist() == [3, 4, 6]


def test_sums_of_single_precision_do_not_drift() -> None:
    x = np.full(100_000, 0.1, np.float32)
    exact = np.cumsum(x, dtype=np.float64)
    np.testing.assert_array_equal(tg.cumsum(tg.tensor(x)).numpy(), exact.astype(np.float32))
    np.testing.assert_array_equal(tg.trace(tg.cumsum)(tg.tensor(x)).numpy(), exact.astype(np.float32))


def test_logcumsumexp_neither_overflows_nor_forgets() -> None:
    for x in ([-np.inf, 0.0, 1000.0, -1000.0], [1000.0, -np.inf, np.inf, 0.0], [-1000.0, -1001.0], [0.0, np.nan, 1.0]):
        with np.errstate(invalid="ignore"):
            expected = np.logaddexp.accumulate(x)
        np.testing.assert_allclose(tg.logcumsumexp(tg.tensor(x, tg.float64), 0).numpy(), expected)


def test_methods_with_an_underscore_write() -> None:
    x = tg.zeros(3)
    y = x.scatter_(0, tg.tensor([1]), 5.0)
    assert y is x and x.tolist() == [0, 5, 0]
    assert x.index_add_(0, tg.tensor([0, 0]), tg.ones(2)).masked_fill_(x == 0, 9).tolist() == [2, 5, 9]
    tg.put_along_axis(x, tg.tensor([2]), 1.0, axis=0)
    assert x.tolist() == [2, 5, 1]
    w = tg.ones(3, requires_grad=True)
    (w * 2).scatter_add_(0, tg.tensor([0, 0]), w[:2] * 3).sum().backward()
    assert w.grad.tolist() == [5, 5, 2]


@pytest.mark.parametrize("call, error, message", [
    (lambda x: tg.sort(x, axis=2), TypeRuleError, "sort: axis 2 is out of range"),
    (lambda x: tg.sort(x, dim=1), TypeError, "sort: there is no argument dim=: write axis="),
    (lambda x: tg.sort(x * 1j), TypeRuleError, r"sort: c128\[2,3\] is not a real number or bool"),
    (lambda x: tg.cummax(x * 1j, 0), TypeRuleError, r"cummax: c128\[2,3\] is not a real number"),
    (lambda x: tg.topk(x, 5), ValueError, "topk: 5 of the 3 elements along axis 1"),
    (lambda x: tg.kthvalue(x, 0), ValueError, "kthvalue: 0 of the 3 elements"),
    (lambda x: tg.searchsorted(x[0], x, side="middle"), ValueError, "searchsorted: side 'middle'"),
    (lambda x: tg.searchsorted(x, x[0]), TypeRuleError, "searchsorted: .* differ in an axis other than the last"),
    (lambda x: tg.nonzero(x[0, 0]), TypeRuleError, r"nonzero: f64\[\] has no axis"),
    (lambda x: tg.cumulative_sum(x), TypeRuleError, r"cumulative_sum: axis= must say .* f64\[2,3\]"),
    (lambda x: tg.scatter(x, 1, tg.tensor([[3]]), 1.0), IndexError, "scatter: index 3 is out of bounds"),
    (lambda x: tg.scatter(x, 0, tg.tensor([[0, 0, 0, 0]]), 1.0), TypeRuleError, "scatter: indices .* do not fit into"),
    (lambda x: tg.scatter_reduce(x, 0, tg.tensor([[0]]), x, "max"), ValueError, "scatter_reduce: reduce 'max' is none"),
    (lambda x: tg.index_add(x, 0, tg.tensor([0]), x), TypeRuleError, "index_add: the source .* slices of"),
    (lambda x: tg.digitize(x, x), TypeRuleError, "digitize: bins .* are not a line"),
    (lambda x: tg.linear_recurrence(x, x[:, :2]), TypeRuleError, "linear_recurrence: shapes .* do not broadcast"),
])
def test_errors(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(tg.tensor(X[:, :, 0]))
