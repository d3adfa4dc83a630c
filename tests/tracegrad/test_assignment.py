"""x[key] = value for every key: values are NumPy's, gradients the numerical ones, masks are not read by recordings."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from key_strategies import keys, with_tensors

import tracegrad as tg
from tracegrad.assignment import add_at
from tracegrad.autograd import gradcheck, gradgradcheck

X = np.arange(60.0).reshape(3, 4, 5) / 30 - 0.9

shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
writes: dict[str, tuple[Callable, Callable]] = {        # ours, NumPy's
    "set": (lambda x, key, v: x.__setitem__(key, v), lambda x, key, v: x.__setitem__(key, v)),
    "add": (lambda x, key, v: x.__setitem__(key, x[key] + v), lambda x, key, v: x.__setitem__(key, x[key] + v)),
    "add_at": (add_at, lambda x, key, v: np.add.at(x, key, np.broadcast_to(v, np.shape(x[key])))),
}


@pytest.mark.parametrize("how", writes)
@settings(max_examples=200, deadline=None)
@given(case=shapes.flatmap(lambda shape: st.tuples(st.just(shape), keys(shape), st.booleans())))
def test_every_key_is_written_as_numpy_writes_it(how: str, case: tuple[tuple[int, ...], Any, bool]) -> None:
    shape, key, whole = case
    rng = np.random.default_rng(0)
    array = rng.standard_normal(shape)
    ours, numpys = writes[how]
    try:
        selection = np.shape(array[key])
        value = rng.standard_normal(selection if whole else selection[1:])
        expected = array.copy()
        numpys(expected, key, value)
    except (IndexError, ValueError):
        assume(False)
    for requires_grad in (False, True):             # with a history it is made of ops
        x, v = tg.tensor(array), tg.tensor(value, requires_grad=requires_grad)
        y = x.clone()
        ours(y, with_tensors(key), v)
        np.testing.assert_allclose(y.array, expected, rtol=1e-12)
        assert y.requires_grad <= requires_grad


@pytest.mark.parametrize("key", [
    [0, 2, 0], ([0, 2], slice(None), [[1], [-1]]), X > 0.2, (1, X[1] > 0.1), (slice(None), X[0, :, 0] > -0.8),
    (True, 0, [1, 1]), (slice(1, None), [0, 3]), (..., [4, 4], None),
], ids=str)
@pytest.mark.parametrize("how", writes)
def test_derivatives(how: str, key: Any) -> None:
    ours = with_tensors(key)
    shape = X[key].shape

    def f(x: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
        y = x * 1.0
        writes[how][0](y, ours, v * v)
        return y * y

    for value in (np.random.default_rng(1).standard_normal(shape), np.array(0.7)):
        inputs = tg.tensor(X, requires_grad=True), tg.tensor(value, requires_grad=True)
        gradcheck(f, inputs)
    gradgradcheck(lambda v: f(tg.tensor(X), v), tg.tensor(0.7, dtype=tg.float64, requires_grad=True), atol=1e-3)


@pytest.mark.parametrize("write", [
    lambda x, m: x.__setitem__(m, 0.5),
    lambda x, m: x.__setitem__(m, tg.tensor([2.0, 3.0], dtype=tg.float64)[:1]),
    lambda x, m: x.__setitem__((slice(None), m[0]), tg.tensor([[1.0], [2.0], [3.0]], dtype=tg.float64)),
    lambda x, m: x[1:].__setitem__(m[1:], -1.0),
    lambda x, m: x.T.__setitem__(m.T, 4.0),
    lambda x, m: x.__setitem__((1, m[1]), 9.0),
    lambda x, m: x.__setitem__(m[:, 0], tg.tensor([1.0, 2.0, 3.0, 4.0], dtype=tg.float64)),
    lambda x, m: x.__setitem__(x < 0, 0.0),
], ids=range(8))
def test_a_recording_does_not_read_the_mask_of_one_value(write: Callable) -> None:
    def f(x: tg.Tensor, m: tg.Tensor) -> tg.Tensor:
        write(x, m)
        return x * 2.0

    traced = tg.trace(f)
    rng = np.random.default_rng(0)
    for _ in range(4):
        array, mask = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)) > 0
        mine, expected = tg.tensor(array), tg.tensor(array)
        result = traced(mine, tg.tensor(mask))
        write(expected, tg.tensor(mask))
        np.testing.assert_array_equal(mine.array, expected.array)
        np.testing.assert_array_equal(result.array, expected.array * 2.0)
    assert traced.stats.replays == 3


def test_a_replay_refuses_a_write_out_of_bounds_along_any_axis_and_changes_nothing() -> None:
    @tg.trace
    def f(x: tg.Tensor, i: tg.Tensor, j: tg.Tensor) -> None:
        x[i, :, j] = 1.0

    for i in ([0, 2], [1, -1], [-3, 1]):
        x, expected = tg.tensor(X), X.copy()
        f(x, tg.tensor(i), tg.tensor([4, 0]))
        expected[i, :, [4, 0]] = 1.0
        np.testing.assert_array_equal(x.array, expected)
    assert f.stats.replays == 2
    for i, j in (([0, 3], [0, 0]), ([0, 0], [-6, 0])):
        x = tg.tensor(X)
        with pytest.raises(IndexError, match=r"^test_assignment\.py:\d+: indexing: index -?\d is out of bounds"):
            f(x, tg.tensor(i), tg.tensor(j))
        np.testing.assert_array_equal(x.array, X)


def test_in_place_arithmetic_counts_repeated_indices_once() -> None:
    x = tg.zeros(3)
    x[[0, 0, 2]] += tg.tensor([1.0, 2.0, 3.0])
    assert x.tolist() == [2, 0, 3]
    add_at(x, [0, 0, 2], 1.0)
    assert x.tolist() == [4, 0, 4]


def test_a_view_that_was_updated_in_place_is_not_written_again() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    x = w * 1.0
    y = (x * x).sum()
    x[:1] *= w[1:]
    before = x.grad_fn
    x[:1] = x[:1]
    assert x.grad_fn is before
    (y + x.sum()).backward(retain_graph=True)
    assert w.grad is not None and w.grad.tolist() == [4, 6]
    x[:1] = x.detach()[:1]                  # this one takes the history of the first element away
    g, = tg.autograd.grad(x.sum(), w)
    assert g is not None and g.tolist() == [0, 1]


def test_what_may_be_assigned() -> None:
    x = tg.zeros(2, 3, dtype=tg.int64)
    x[0] = [1, 2, 3]
    x[1] = np.array([[1.9, -1.9, 0.5]])     # truncated, as by NumPy, and its axis of size 1 in front dropped
    assert x.tolist() == [[1, 2, 3], [1, -1, 0]]
    x[:, [0, 1]] = [tg.tensor(7), 8]
    assert x.tolist() == [[7, 8, 3], [7, 8, 0]]
    mask = tg.tensor([True, False])
    mask[0] = 0
    assert mask.tolist() == [False, False]
    w = tg.zeros(4, dtype=tg.float64)
    w[0], w[[1]], w[2:], w[w > 5.0] = 0.1, 0.1, [0.1, 0.1], 0.1
    assert w.tolist() == [0.1] * 4          # not by way of float32
    z = tg.zeros(2)
    with pytest.raises(TypeError, match=r"^test_assignment\.py:\d+: in place: c64\[\] has an imaginary part"):
        z[0] = tg.tensor(1j)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("key,value,error,message", [
    ([0, 1], np.ones(3), TypeError, "does not broadcast to"),
    (X > 0, np.ones(7), (TypeError, IndexError), "does not broadcast to"),
    ([0, 3], 1.0, IndexError, "index 3 is out of bounds for axis 0 of size 3"),
    ([0.5], 1.0, IndexError, "float is no index"),
    ([True, False], 1.0, IndexError, "a mask of size 2 does not fit axis 0 of size 3"),
    (0, "a", TypeError, "str is neither a tensor nor a number"),
], ids=range(6))
def test_errors(key: Any, value: Any, error: Any, message: str, requires_grad: bool) -> None:
    x = tg.tensor(X, requires_grad=requires_grad) * 1.0
    with pytest.raises(error, match=rf"^test_assignment\.py:\d+: .*{message}"):
        x[key] = value
    np.testing.assert_array_equal(x.array, X)


def test_broadcasts_and_leaves_refuse() -> None:
    row = tg.ones(3).broadcast_to(2, 3)
    for key in (0, [0, 1], row > 0):
        with pytest.raises(ValueError, match=r"^test_assignment\.py:\d+: in place: f32\[.*\] is a broadcast or a"):
            row[key] = 0.0
    w = tg.ones(3, requires_grad=True)
    for key in (0, [0, 1], tg.tensor([True, False, True])):
        with pytest.raises(RuntimeError, match=r"^test_assignment\.py:\d+: in place: a (view of a )?leaf that "):
            w[key] = 0.0
    with tg.no_grad():
        w[[0, 1]] = 0.0
    assert w.tolist() == [0, 0, 1]


def test_axes_of_size_1_before_those_of_a_mask_are_dropped() -> None:
    """Also beside a mask alone, where NumPy's own assignment refuses them."""
    x, mask = tg.zeros(1, 4), tg.tensor([[False, True, False, True]])
    x[..., mask] = tg.ones(1, 1)
    x[mask] = tg.full((1, 2), 3.0)
    assert x.tolist() == [[0.0, 3.0, 0.0, 3.0]]
    with pytest.raises(TypeError, match=r"f32\[2,2\] does not broadcast to \[2\]"):
        x[mask] = tg.ones(2, 2)
