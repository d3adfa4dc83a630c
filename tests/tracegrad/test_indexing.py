"""Indexing: every key gives what NumPy gives, and is differentiable."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracegrad as tg
from tracegrad.autograd import gradcheck

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


@pytest.mark.parametrize("key,error,message", [
    (3, IndexError, "index 3 is out of bounds for axis 0 of size 3"),
    ((0, -5), IndexError, "index -5 is out of bounds for axis 1 of size 4"),
    ((0, 0, 0, 0), IndexError, r"4 indices for the 3 axes of f64\[3,4,5\]"),
    ((..., ...), IndexError, "an index can only have one ellipsis"),
    (1.5, TypeError, "float is no index; an index is an int, a slice"),
    ("a", TypeError, "str is no index"),
    (X > 3, NotImplementedError, "no boolean mask as an index yet"),
    (True, NotImplementedError, "no boolean mask as an index yet"),
    ([True, False, True], NotImplementedError, "no boolean mask as an index yet"),
    ((0, [1, 2]), NotImplementedError, "index in two steps"),
    (([0], slice(None), [1]), NotImplementedError, "index in two steps"),
    (([0], [1], [2]), NotImplementedError, "index in two steps"),
    ((None, [0]), NotImplementedError, "index in two steps"),
    (np.array([0.5]), TypeError, r"indices f64\[1\] are not integers"),
], ids=range(14))
def test_errors(key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^test_indexing\.py:\d+: indexing: .*{message}"):
        tg.tensor(X)[key]


@pytest.mark.parametrize("key", [np.array([0, 3]), (np.array([0, 0]), np.array([0, 4])), (slice(None), np.array([-5]))])
def test_indices_out_of_bounds(key: Any) -> None:
    with pytest.raises(IndexError, match=r"^test_indexing\.py:\d+: gather: index -?\d is out of bounds"):
        tg.tensor(X)[key]


def test_no_indices_take_nothing() -> None:
    assert tg.arange(5)[[]].shape == (0,) and tg.ones(2, 3)[:, []].shape == (2, 0)
