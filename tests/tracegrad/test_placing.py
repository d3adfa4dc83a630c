"""PyTorch's and NumPy's writes at places: values, aliasing, gradients, replays."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.autograd import gradcheck

X = np.random.default_rng(0).standard_normal((3, 4))
MASK = np.random.default_rng(1).standard_normal((3, 4)) > 0


TENSOR_MASK = tg.tensor(MASK)


def expect_index_put(x: np.ndarray, v: np.ndarray) -> None:
    x[[0, 2, 0]] = v[:3, None]


def expect_masked_scatter(x: np.ndarray, v: np.ndarray) -> None:
    x[MASK] = v[:MASK.sum()]


CASES: dict[str, tuple[Callable, Callable]] = {
    "index_put_": (lambda x, v: x.index_put_((tg.tensor([0, 2, 0]), None), v[:3, None]), expect_index_put),
    "index_put_ adding": (
        lambda x, v: x.index_put_((tg.tensor([0, 2, 0]), tg.tensor([1, -1, 1])), v[:3], accumulate=True),
        lambda x, v: np.add.at(x, ([0, 2, 0], [1, -1, 1]), v[:3])),
    "put_": (lambda x, v: x.put_(tg.tensor([11, 0, -2]), v[:3]), lambda x, v: np.put(x, [11, 0, -2], v[:3])),
    "put_ adding": (lambda x, v: x.put_(tg.tensor([11, 0, 11]), v[:3], accumulate=True),
                    lambda x, v: np.add.at(x, np.unravel_index([11, 0, 11], x.shape), v[:3])),
    "put": (lambda x, v: tg.put(x, tg.tensor([[1, 5], [7, 0]]), v[:3]),
            lambda x, v: np.put(x, [[1, 5], [7, 0]], v[:3])),
    "masked_scatter_": (lambda x, v: x.masked_scatter_(TENSOR_MASK, v), expect_masked_scatter),
    "masked_fill_": (lambda x, v: x.masked_fill_(TENSOR_MASK, v[0]), lambda x, v: np.putmask(x, MASK, v[0])),
    "fill_diagonal_": (lambda x, v: x.fill_diagonal_(v[0]), lambda x, v: np.fill_diagonal(x, v[0])),
}


@pytest.mark.parametrize("name", CASES)
def test_values_gradients_and_replays(name: str) -> None:
    ours, numpys = CASES[name]
    v = np.arange(12.0) / 10 + 0.5
    expected = X.copy()
    numpys(expected, v)
    x = tg.tensor(X)
    ours(x, tg.tensor(v))
    np.testing.assert_array_equal(x.array, expected)

    def f(x: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
        y = x * 1.0
        ours(y, v)
        return y * y

    gradcheck(f, (tg.tensor(X, requires_grad=True), tg.tensor(v, requires_grad=True)))
    traced = tg.trace(lambda x, v: (ours(x, v), x * 2.0)[1])
    for _ in range(3):
        x = tg.tensor(X)
        np.testing.assert_array_equal(traced(x, tg.tensor(v)).array, expected * 2.0)
        np.testing.assert_array_equal(x.array, expected)
    assert traced.stats.replays == 2


@pytest.mark.parametrize("name", CASES)
def test_writes_go_through_views(name: str) -> None:
    ours, numpys = CASES[name]
    v = np.arange(12.0)
    expected = np.zeros((8, 3))
    numpys(expected[::2].T, v)
    x = tg.zeros(8, 3, dtype=tg.float64)
    ours(x[::2].T, tg.tensor(v))
    np.testing.assert_array_equal(x.array, expected)


def test_copies_leave_their_operand() -> None:
    x = tg.zeros(3)
    assert x.index_put((tg.tensor([1]),), 5.0).tolist() == [0, 5, 0] and x.tolist() == [0, 0, 0]
    assert tg.masked_scatter(x, tg.tensor([True]), tg.ones(3)).tolist() == [1, 1, 1] and x.tolist() == [0, 0, 0]


def test_numbers_keep_their_digits() -> None:
    x = tg.zeros(3, dtype=tg.float64)
    assert tg.masked_fill(x, tg.tensor([True, False, False]), 0.1).tolist() == [0.1, 0, 0]
    assert tg.index_fill(x, 0, tg.tensor([2]), 0.1).tolist() == [0, 0, 0.1]
    assert tg.scatter(x, 0, tg.tensor([2]), 0.1).tolist() == [0, 0, 0.1]
    assert x.fill_(0.1).tolist() == [0.1] * 3


@pytest.mark.parametrize("call,error,message", [
    (lambda x: x.masked_scatter_(x < 9, tg.ones(3)), TypeError, r"the mask holds at 12 places, f32\[3\] has 3"),
    (lambda x: x.put_(tg.tensor([12]), 1.0), IndexError, "index 12 is out of bounds for axis 0 of size 12"),
    (lambda x: tg.put(x, tg.tensor([1]), tg.ones(0)), TypeError, "there is no value for 1 indices"),
    (lambda x: x[0].fill_diagonal_(1.0), TypeError, r"f64\[4\] has no diagonal"),
    (lambda x: x.index_put_((tg.tensor([0]),), tg.ones(3)), TypeError, "does not broadcast to"),
], ids=range(5))
def test_errors(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^test_placing\.py:\d+: .*{message}"):
        call(tg.tensor(X))
