"""NumPy's functions, ufuncs and their methods, called on Tensors."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from recordings import recording

import tracegrad as tg
from tracegrad import numpy_linalg
from tracegrad.numpy_calls import FUNCTIONS, LeavesTheGraph, say_once
from tracegrad.numpy_functions import UFUNCS
from tracegrad.tensors import Tensor

POSITIVE = np.array([[0.5, 2.0, 3.5], [1.5, 4.0, 0.25]])
INTEGERS = np.array([[5, 2, 3], [1, 4, 2]])
BITWISE = {np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.right_shift, np.left_shift}
OWN_TESTS = {np.divmod, np.modf, np.ldexp}
"""Of two results, or of operands of two kinds: in test_elementary."""


@pytest.mark.parametrize("ufunc", [f for f in UFUNCS if f not in OWN_TESTS], ids=lambda f: f.__name__)
def test_ufuncs(ufunc: np.ufunc) -> None:
    a = INTEGERS if ufunc in BITWISE else POSITIVE
    b = {np.power: 2, np.matmul: a.T}.get(ufunc, a[::-1].copy())
    operands = [a, b][:ufunc.nin]
    found = ufunc(tg.tensor(a), *operands[1:])
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.array, ufunc(*operands), rtol=1e-15)
    if ufunc.nin == 2 and ufunc is not np.power:
        np.testing.assert_allclose(ufunc(a, tg.tensor(b)).array, ufunc(a, b))


CALLS: dict[Callable, Callable] = {
    np.sum: lambda x: np.sum(x, axis=0), np.max: lambda x: np.max(x, axis=1, keepdims=True), np.min: np.min,
    np.mean: lambda x: np.mean(x, axis=-1), np.var: np.var, np.std: lambda x: np.std(x, axis=0), np.argmax: np.argmax,
    np.any: np.any, np.all: lambda x: np.all(x, axis=0), np.where: lambda x: np.where(x > 1, x, 0.0),
    np.clip: lambda x: np.clip(x, 1.0, 2.0), np.reshape: lambda x: np.reshape(x, (3, 2)), np.transpose: np.transpose,
    np.swapaxes: lambda x: np.swapaxes(x, 0, 1), np.squeeze: lambda x: np.squeeze(x[:1]),
    np.expand_dims: lambda x: np.expand_dims(x, (0, -1)), np.broadcast_to: lambda x: np.broadcast_to(x, (2, 2, 3)),
    np.flip: lambda x: np.flip(x, 1), np.take_along_axis: lambda x: np.take_along_axis(x, INTEGERS[:, :1] % 3, 1),
    np.concatenate: lambda x: np.concatenate([x, x]), np.stack: lambda x: np.stack([x, x], axis=1),
    np.shape: np.shape, np.ndim: np.ndim, np.size: lambda x: np.size(x, 1),
    np.dot: lambda x: np.dot(x, x.T), np.outer: lambda x: np.outer(x, x[0]), np.inner: lambda x: np.inner(x, x[0]),
    np.ravel: np.ravel, np.matrix_transpose: np.matrix_transpose, np.moveaxis: lambda x: np.moveaxis(x, 0, -1),
    np.fliplr: np.fliplr, np.flipud: np.flipud, np.take: lambda x: np.take(x, [1, 0, 5]),
    np.vstack: lambda x: np.vstack([x, x[0]]), np.hstack: lambda x: np.hstack([x[0], x[1]]),
    np.dstack: lambda x: np.dstack([x, x]), np.column_stack: lambda x: np.column_stack([x[0], x.T]),
    np.atleast_1d: lambda x: np.atleast_1d(x[0, 0]), np.atleast_2d: lambda x: np.atleast_2d(x[0]),
    np.atleast_3d: lambda x: np.atleast_3d(x), np.copy: np.copy, np.astype: lambda x: np.astype(x, np.float32),
    np.zeros_like: lambda x: np.zeros_like(x, shape=(2,)), np.ones_like: np.ones_like,
    np.empty_like: lambda x: np.empty_like(x) * 0, np.full_like: lambda x: np.full_like(x, 2.5, dtype=np.float32),
    np.real: np.real, np.imag: lambda x: np.imag(x * 1j), np.angle: np.angle, np.isreal: np.isreal,
    np.iscomplex: lambda x: np.iscomplex(x + 1j),
    np.round: lambda x: np.round(x, 1), np.fix: np.fix, np.sinc: np.sinc, np.nan_to_num: np.nan_to_num,
    np.isclose: lambda x: np.isclose(x, 2.0), np.allclose: lambda x: np.allclose(x, x), np.isposinf: np.isposinf,
    np.isneginf: np.isneginf,
    np.result_type: lambda x: np.result_type(x, np.float32).name,
    np.sort: lambda x: np.sort(x, axis=0), np.argsort: np.argsort, np.argmin: lambda x: np.argmin(x, axis=1),
    np.searchsorted: lambda x: np.searchsorted([0.5, 1.0, 2.0], x, side="right"),
    np.digitize: lambda x: np.digitize(x, [1.0, 2.0]), np.count_nonzero: lambda x: np.count_nonzero(x > 1, axis=0),
    np.isin: lambda x: np.isin(x, [2.0, 4.0]), np.nonzero: lambda x: np.nonzero(x > 1)[1],
    np.argwhere: lambda x: np.argwhere(x > 1), np.flatnonzero: lambda x: np.flatnonzero(x > 1),
    np.extract: lambda x: np.extract(POSITIVE > 1, x), np.compress: lambda x: np.compress([True, False], x, axis=0),
    np.unique: lambda x: np.unique(np.round(x)), np.union1d: lambda x: np.union1d(x, [9.0]),
    np.setdiff1d: lambda x: np.setdiff1d(x, [2.0]), np.intersect1d: lambda x: np.intersect1d(x, [2.0, 4.0]),
    np.setxor1d: lambda x: np.setxor1d(x, [2.0]), np.bincount: lambda x: np.bincount((x[0] * 2).astype(int)),
    np.histogram: lambda x: np.histogram(x, bins=4)[0], np.prod: lambda x: np.prod(x, axis=1),
    np.cumsum: lambda x: np.cumsum(x, axis=1), np.cumprod: np.cumprod, np.nancumsum: np.nancumsum,
    np.nancumprod: lambda x: np.nancumprod(x, 0), np.ptp: lambda x: np.ptp(x, axis=0),
    np.average: lambda x: np.average(x, axis=0, weights=[1.0, 2.0]), np.median: lambda x: np.median(x, axis=1),
    np.nanmedian: np.nanmedian, np.quantile: lambda x: np.quantile(x, [0.25, 0.5], axis=1),
    np.percentile: lambda x: np.percentile(x, 30), np.nanquantile: lambda x: np.nanquantile(x, 0.3, axis=0),
    np.nanpercentile: lambda x: np.nanpercentile(x, 30), np.nansum: lambda x: np.nansum(x, axis=0),
    np.nanmean: lambda x: np.nanmean(x, axis=1, keepdims=True), np.nanmax: np.nanmax, np.nanprod: np.nanprod,
    np.nanmin: lambda x: np.nanmin(x, 0),
    np.nanvar: lambda x: np.nanvar(x, ddof=1), np.nanstd: np.nanstd, np.cov: np.cov, np.corrcoef: np.corrcoef,
    np.diff: lambda x: np.diff(x, axis=0), np.ediff1d: np.ediff1d, np.gradient: lambda x: np.gradient(x, axis=1),
    np.trapezoid: lambda x: np.trapezoid(x, dx=0.5),
    np.interp: lambda x: np.interp(x, [0.0, 2.0, 5.0], [1.0, 0.0, 2.0]), np.repeat: lambda x: np.repeat(x, 2, 1),
    np.roll: lambda x: np.roll(x, 1, axis=1), np.tile: lambda x: np.tile(x, (2, 1)),
    np.rollaxis: lambda x: np.rollaxis(x, 1), np.rot90: np.rot90, np.meshgrid: lambda x: np.meshgrid(x[0], x[1])[1],
    np.broadcast_arrays: lambda x: np.broadcast_arrays(x, x[0])[1], np.split: lambda x: np.split(x, 3, axis=1)[2],
    np.array_split: lambda x: np.array_split(x, 2, axis=1)[1], np.hsplit: lambda x: np.hsplit(x, [1])[1],
    np.vsplit: lambda x: np.vsplit(x, 2)[1], np.dsplit: lambda x: np.dsplit(x[None], 3)[1],
    np.pad: lambda x: np.pad(x, 1, mode="edge"), np.tril: np.tril, np.triu: lambda x: np.triu(x, 1), np.trace: np.trace,
    np.lib.stride_tricks.sliding_window_view: lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, 1),
    np.diagonal: np.diagonal, np.diag: lambda x: np.diag(x[0]), np.diagflat: lambda x: np.diagflat(x[0]),
    np.einsum: lambda x: np.einsum("ij,kj->ik", x, x), np.tensordot: lambda x: np.tensordot(x, x, ([1], [1])),
    np.kron: lambda x: np.kron(x, x[0]),
    np.convolve: lambda x: np.convolve(x[0], [1.0, 2.0], "same"), np.vander: lambda x: np.vander(x[0], 3),
    np.correlate: lambda x: np.correlate(x[0], x[1, :2], "full"),
}


def test_every_function_has_a_call() -> None:
    assert CALLS.keys() == FUNCTIONS.keys() - numpy_linalg.FUNCTIONS.keys()


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_functions(function: Callable) -> None:
    found = CALLS[function](tg.tensor(POSITIVE))
    expected = CALLS[function](POSITIVE)
    if isinstance(found, Tensor):
        np.testing.assert_allclose(found.array, expected, rtol=1e-13)
    else:
        assert found == expected


def test_numpy_code_is_differentiated_and_recorded() -> None:
    x = tg.tensor(POSITIVE, requires_grad=True)
    with recording() as recorder:
        loss = np.sum(np.tanh(x) * POSITIVE[0], axis=None)
    loss.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.array, (1 - np.tanh(POSITIVE) ** 2) * POSITIVE[0])
    assert not recorder.aborts
    with recording() as recorder:
        np.sum(np.tanh(x) * 2.0)
    assert [op.op for op in recorder.ops] == ["tanh", "mul", "sum"] and not recorder.aborts


METHOD_CALLS: dict[str, Callable] = {
    "add.reduce": lambda x: np.add.reduce(x),
    "add.reduce, keepdims": lambda x: np.add.reduce(x, axis=(0, 1), keepdims=True),
    "add.reduce, initial, where": lambda x: np.add.reduce(x, axis=1, initial=3.0, where=POSITIVE > 1),
    "maximum.reduce, where": lambda x: np.maximum.reduce(x, axis=0, initial=0.0, where=[True, False, True]),
    "multiply.reduce": lambda x: np.multiply.reduce(x, axis=-1),
    "subtract.reduce": lambda x: np.subtract.reduce(x, axis=1, keepdims=True),
    "logical_or.reduce": lambda x: np.logical_or.reduce(x > 3, axis=1),
    "add.accumulate": lambda x: np.add.accumulate(x, axis=1),
    "maximum.accumulate": lambda x: np.maximum.accumulate(x),
    "accumulate of nothing": lambda x: np.add.accumulate(x[:0]),
    "subtract.outer": lambda x: np.subtract.outer(x[0], x),
    "dtype": lambda x: np.add(x, 1, dtype=np.float32),
    "where": lambda x: np.where(POSITIVE > 1, np.sqrt(x, where=POSITIVE > 1, out=None), 0),
    "sum, where": lambda x: np.sum(x, axis=0, where=POSITIVE > 1),
    "mean, where": lambda x: np.mean(x, axis=1, where=POSITIVE > 1),
    "max, initial": lambda x: np.max(x, initial=10.0),
    "var, ddof": lambda x: np.var(x, axis=1, ddof=1),
}


@pytest.mark.parametrize("name", METHOD_CALLS)
def test_methods_and_options(name: str) -> None:
    found, expected = METHOD_CALLS[name](tg.tensor(POSITIVE)), METHOD_CALLS[name](POSITIVE)
    assert isinstance(found, Tensor) and found.dtype == expected.dtype
    np.testing.assert_allclose(found.array, expected, rtol=1e-15)


@pytest.mark.parametrize("key,value", [([0, 0, 1], 1.0), (np.array([[1, 1], [1, 0]]), 2.0), (0, 1.5), (slice(1), 2.0)])
@pytest.mark.parametrize("ufunc", [np.add, np.subtract])
def test_at_counts_an_index_as_often_as_it_occurs(ufunc: np.ufunc, key: object, value: float) -> None:
    array, x = POSITIVE.copy(), tg.tensor(POSITIVE)
    base = x[:]
    ufunc.at(array, key, value)
    ufunc.at(x, key, value)
    np.testing.assert_array_equal(x.array, array)
    np.testing.assert_array_equal(base.array, array)


def test_out_is_written_in_place_and_cast_by_the_rule() -> None:
    x, y = tg.tensor(POSITIVE), tg.zeros(2, 3, dtype=tg.float32)
    view = y[0]
    assert np.multiply(x, 2, out=y) is y and np.array_equal(view.array, (POSITIVE[0] * 2).astype(np.float32))
    assert np.sum(x, axis=1, out=y[:, 0])[0].item() == POSITIVE[0].sum()
    array = np.zeros((2, 3))
    assert np.add(x, 1, out=array) is array and np.array_equal(array, POSITIVE + 1)
    kept = tg.tensor(POSITIVE)
    np.negative(x, out=kept, where=POSITIVE > 1)
    assert np.array_equal(kept.array, np.where(POSITIVE > 1, -POSITIVE, POSITIVE))
    with pytest.raises(TypeError, match="float64 cannot be cast to int64 by the rule 'same_kind'"):
        np.add(x, 1, out=tg.zeros(2, 3, dtype=tg.int64))
    with pytest.raises(TypeError, match="float64 cannot be cast to float32 by the rule 'safe'"):
        np.add(x, 1, dtype=np.float32, casting="safe")


def test_writes_by_out_and_at_are_differentiated_and_replayed() -> None:
    @tg.trace(strict=True)
    def f(x: Tensor) -> Tensor:
        total = tg.zeros(3, dtype=tg.float64)
        np.add(total, x, out=total)
        np.add.at(total, [0, 0], 1.0)
        return np.sum(total * x)

    for scale in (1.0, 2.0, 3.0):
        x = tg.tensor(POSITIVE[0] * scale, requires_grad=True)
        f(x).backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.array, 2 * x.array + [2, 0, 0])
    assert f.stats.replays == 2         # type: ignore[attr-defined]


def test_what_has_no_counterpart_is_an_array_loudly() -> None:
    say_once.cache_clear()
    x = tg.tensor(POSITIVE, requires_grad=True)
    with pytest.warns(LeavesTheGraph, match=r"^test_numpy_calls\.py:\d+: tracegrad has no numpy\.i0 on"):
        found = np.i0(x)
    assert type(found) is np.ndarray and np.array_equal(found, np.i0(POSITIVE))
    with recording() as recorder:
        np.i0(x)                        # said once
    assert [a.reason.name for a in recorder.aborts] == ["HOST_READ"]
    recorder.strict = True
    with recording() as recorder, pytest.raises(TypeError, match=r"tracegrad has no numpy\.i0 on tensors: call it on"):
        recorder.strict = True
        np.i0(x)


@pytest.mark.parametrize("call,message", [
    (lambda x: np.add.reduceat(x, [0, 1]), r"tracegrad has no numpy\.add\.reduceat on tensors"),
    (lambda x: np.maximum.at(x, [0, 0], 1.0), r"tracegrad has no numpy\.maximum\.at with list as an index"),
    (lambda x: np.add.at(np.zeros(3), [0], x), r"numpy\.add\.at: tensors cannot be added into an array"),
    (lambda x: np.reshape(x, (3, 1), order="F"), r"numpy\.reshape: tracegrad has no order='F' yet"),
    (lambda x: np.max(x, where=[True, False, True]), r"max: where= needs initial="),
    (lambda x: np.subtract.reduce(x[:0]), r"subtract: a reduction of no elements has no value"),
])
def test_mistakes_are_named(call: Callable, message: str) -> None:
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=rf"^test_numpy_calls\.py:\d+: {message}"):
        call(tg.ones(3))
