"""Indexing: every key gives what NumPy gives, and is differentiable."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from key_strategies import keys, with_tensors
from recordings import recording

import tracegrad as tg
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit
from tracegrad.autograd import gradcheck, gradgradcheck

X = np.arange(60.0).reshape(3, 4, 5)

slices = st.builds(slice, *(st.one_of(st.none(), st.integers(-6, 6)) for _ in range(2)),
                   st.one_of(st.none(), st.integers(-3, 3).filter(bool)))
entries = st.one_of(st.integers(-3, 2), slices, st.none(), st.just(Ellipsis))


@settings(max_examples=300, deadline=None)
@given(st.one_of(entries, st.lists(entries, max_size=5).map(tuple)))
def test_basic_keys_are_views_as_in_numpy(key: Any) -> None:
    keys = key if isinstance(key, tuple) else (key,)
    x = tg.tensor(X)
    if keys.count(Ellipsis) > 1 or sum(k is not None and k is not Ellipsis for k in keys) > 3:
        with pytest.raises(IndexError, match=r"^test_indexing\.py:\d+: indexing: "):
            x[key]
        return
    expected, found = X[key], x[key]
    np.testing.assert_array_equal(found.array, expected, strict=True)
    assert not expected.size or np.shares_memory(found.array, x.array)
    written = X.copy()
    written[key] = -1.0
    x[key] = -1.0
    np.testing.assert_array_equal(x.array, written)
    if expected.size <= 9:
        gradcheck(lambda y: y[key] * y[key], tg.tensor(X, requires_grad=True))


@pytest.mark.parametrize("key", [
    np.array([0, 2, 1]), np.array([-1, -3]), np.array([], int), np.array([[0, 1], [2, 2]]), [2, 0],
    (slice(None), np.array([3, 0])), (slice(1, None), slice(None, None, 2), np.array([4, 4, 0])),
    (np.array([0, 1, 2]), np.array([3, 1, 0])), (np.array([[0], [2]]), np.array([1, 3])), (..., np.array([1, 2])),
    (slice(None), np.array([0, 1]), np.array([4, 2])), (np.array([1, 0]), np.array([0, 0]), slice(None, None, -1)),
    (slice(None), np.array(2)), (np.array(1),), (np.array([0, 2]), np.array(1)),
    np.array([0, 1], np.int32), np.array([0, 1], np.uint8),
], ids=str)
def test_index_tensors(key: Any) -> None:
    ours = tuple(tg.tensor(k) if isinstance(k, np.ndarray) else k for k in key) if isinstance(key, tuple) else (
        tg.tensor(key) if isinstance(key, np.ndarray) else key)
    np.testing.assert_array_equal(tg.tensor(X)[ours].array, X[key], strict=True)
    np.testing.assert_array_equal(tg.tensor(X)[key].array, X[key], strict=True)
    small = X / 60
    gradcheck(lambda y: y[ours] * y[ours], tg.tensor(small, requires_grad=True))


def test_repeated_indices_add_their_gradients() -> None:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[tg.tensor([0, 0, 2, -1])].sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2, 0, 2]


def outcome(action: Any) -> Any:
    """What an action gives, or the class of what it raises."""
    try:
        return action()
    except (IndexError, ValueError) as error:
        return type(error)


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@settings(max_examples=400, deadline=None)
@given(shapes.flatmap(lambda shape: st.tuples(st.just(shape), keys(shape, wrong=True))))
def test_every_key_selects_what_numpy_selects(case: tuple[tuple[int, ...], Any]) -> None:
    shape, key = case
    values = np.random.default_rng(0).standard_normal(shape)
    expected = outcome(lambda: values[key])
    for requires_grad in (False, True):             # with a history it is made of ops
        x = tg.tensor(values, requires_grad=requires_grad)
        found = outcome(lambda: x[with_tensors(key)])   # noqa: B023 - called at once
        if isinstance(expected, type):
            assert found is expected
            continue
        np.testing.assert_array_equal(found.array, expected)
        assert found.shape == np.shape(expected)
        if requires_grad and found.size:
            weights = np.random.default_rng(1).standard_normal(found.shape)
            gradient = np.zeros(shape)
            np.add.at(gradient, key, weights)
            g, = tg.autograd.grad(found, x, tg.tensor(weights))
            assert g is not None
            np.testing.assert_allclose(g.array, gradient, atol=1e-12)


@settings(max_examples=300, deadline=None)
@given(shapes.flatmap(lambda shape: st.tuples(st.just(shape), keys(shape))))
def test_a_recorded_selection_is_the_same(case: tuple[tuple[int, ...], Any]) -> None:
    shape, key = case
    x, ours = tg.tensor(np.random.default_rng(0).standard_normal(shape)), with_tensors(key)
    with recording() as recorder:
        found = outcome(lambda: x[ours])
        if isinstance(found, type):
            return
        found.array                         # a selection by a mask is put off until someone asks
    parts = ours if isinstance(ours, tuple) else (ours,)
    if any(isinstance(k, tg.Tensor) and k.dtype == tg.bool and k.shape != (0,) for k in parts):
        assert {abort.reason.name for abort in recorder.aborts} == {"HOST_READ"}
        return
    assert not recorder.aborts
    graph = recorder.graph("f", [found])
    values = interpret(graph, [entry.tensor.array if entry.frozen is None else entry.frozen
                               for entry in recorder.inputs])
    assert not isinstance(values, Exit)
    np.testing.assert_array_equal(values[0], x.array[key])
    np.testing.assert_array_equal(found.array, x.array[key])


@pytest.mark.parametrize("key", [
    (np.array([0, 2]), slice(None), np.array([[1], [-1]])), (X[..., 0] > 20), (0, [1, 1, 2], None), (True, [0], 1),
], ids=str)
def test_second_derivatives(key: Any) -> None:
    ours = with_tensors(key)
    gradgradcheck(lambda y: y[ours] * y[ours] * y[ours], tg.tensor(X / 60, requires_grad=True))


@pytest.mark.parametrize("wrong", [
    ([0, 3, 0], [0, 0, 0]), ([0, 0, 0], [0, 0, 5]), ([-4, 0, 0], [4, 4, 4]), ([0, 0, 0], [0, -6, 0]),
])
def test_a_replay_refuses_an_index_out_of_bounds_along_any_axis(wrong: tuple[list[int], list[int]]) -> None:
    @tg.trace
    def f(x: tg.Tensor, i: tg.Tensor, j: tg.Tensor) -> tg.Tensor:
        return x[i, :, j] * 2.0

    x, i, j = tg.tensor(X), tg.tensor([0, 1, 2]), tg.tensor([4, -5, 0])
    for _ in range(3):
        np.testing.assert_array_equal(f(x, i, j).array, X[i.array, :, j.array] * 2.0)
    assert f.stats.replays == 2
    with pytest.raises(IndexError, match=r"^test_indexing\.py:\d+: indexing: index -?\d is out of bounds for axis "):
        f(x, tg.tensor(wrong[0]), tg.tensor(wrong[1]))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"])
def test_indices_of_every_integer_dtype(dtype: str) -> None:
    i, j = tg.tensor([2, 0], dtype=dtype), tg.tensor([3, 1], dtype=dtype)
    traced = tg.trace(lambda x, i, j: (x[i] * 1.0, x[i, j] * 1.0))
    for _ in range(2):
        for requires_grad in (False, True):
            one, two = traced(tg.tensor(X, requires_grad=requires_grad), i, j)
            np.testing.assert_array_equal(one.array, X[[2, 0]])
            np.testing.assert_array_equal(two.array, X[[2, 0], [3, 1]])
    if dtype == "uint64":
        huge = tg.tensor(np.array([2**64 - 1, 0], np.uint64))
        for key in ((huge,), (huge, j)):
            with pytest.raises(IndexError, match="index 18446744073709551615 is out of bounds for axis 0"):
                tg.tensor(X)[key]
            with pytest.raises(IndexError, match="index 18446744073709551615 is out of bounds for axis 0"):
                traced(tg.tensor(X), huge, j)


def test_an_index_tensor_without_axes_is_not_read() -> None:
    f = tg.trace(lambda x, k: x[k] + x[1:3, k])
    x = np.arange(9.0).reshape(3, 3)[:, :2]
    for k in (0, 1, -1):
        np.testing.assert_array_equal(f(tg.tensor(x), tg.tensor(k)).array, x[k] + x[1:3, k])
    assert f.stats.replays == 2


@pytest.mark.parametrize("key,error,message", [
    (3, IndexError, "index 3 is out of bounds for axis 0 of size 3"),
    ((0, -5), IndexError, "index -5 is out of bounds for axis 1 of size 4"),
    ((0, [1, 4]), IndexError, "index 4 is out of bounds for axis 1 of size 4"),
    ((..., [-6], 0, None), IndexError, "index -6 is out of bounds for axis 1 of size 4"),
    ((True, [7]), IndexError, "index 7 is out of bounds for axis 0 of size 3"),
    ((0, 0, 0, 0), IndexError, r"4 indices for the 3 axes of f64\[3,4,5\]"),
    ((X > 3, 0), IndexError, r"4 indices for the 3 axes of f64\[3,4,5\]"),
    ((..., ...), IndexError, "an index can only have one ellipsis"),
    (1.5, IndexError, "float is no index; an index is an int, a slice"),
    ("a", IndexError, "str is no index"),
    ([0, 1.5], IndexError, "float is no index"),
    ([0, [1]], IndexError, "list is no index"),
    ([slice(1)], IndexError, "slice is no index"),
    ([True, False], IndexError, "a mask of size 2 does not fit axis 0 of size 3"),
    ((0, X[0, :3] > 1), IndexError, "a mask of size 3 does not fit axis 1 of size 4"),
    (([0, 1], [0, 1, 2]), IndexError, r"indices of the shapes \[2\] and \[3\] do not broadcast together"),
    (np.array([0.5]), IndexError, r"indices f64\[1\] are neither integers nor a mask"),
], ids=range(17))
def test_errors(key: Any, error: type[Exception], message: str) -> None:
    for requires_grad in (False, True):
        with pytest.raises(error, match=rf"^test_indexing\.py:\d+: indexing: .*{message}"):
            tg.tensor(X, requires_grad=requires_grad)[key]


def test_no_indices_take_nothing() -> None:
    assert tg.arange(5)[[]].shape == (0,) and tg.ones(2, 3)[:, []].shape == (2, 0)


def test_tensors_in_a_list_are_one_index() -> None:
    f = tg.trace(lambda x, a, b: x[[a, b]] * 1.0)
    for a, b in ((0, 1), (2, 0), (1, 1)):
        np.testing.assert_array_equal(f(tg.tensor(X), tg.tensor(a), tg.tensor(b)).array, X[[a, b]])
    assert f.stats.replays == 2


def test_indices_make_a_copy() -> None:
    x = tg.tensor(X)
    for key in ([0, 1], True, tg.tensor(1), X > 5):
        for requires_grad in (False, True):
            y = tg.tensor(X, requires_grad=requires_grad)
            with tg.no_grad():
                taken = y.detach()[key]
                taken += 100.0
            np.testing.assert_array_equal(y.array, x.array)


def test_a_mask_of_nothing_selects_nothing_along_any_axis() -> None:
    """As NumPy has it; any other mask has the sizes of the axes it stands for."""
    x, nothing = tg.ones(2, 4), tg.tensor([], dtype=tg.bool)
    assert x[..., nothing].shape == (2, 0) and x[nothing].shape == (0, 4)
    x[nothing] = 5.0
    assert x.tolist() == tg.ones(2, 4).tolist()
    with pytest.raises(IndexError, match="a mask of size 1 does not fit axis 0 of size 2"):
        x[tg.tensor([True])]
