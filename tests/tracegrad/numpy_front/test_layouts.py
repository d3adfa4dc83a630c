"""How arrays lie in memory: what is a view of what, also in a replay whose arguments lie otherwise."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from traced_numpy import replayed, traced

import tracegrad as tg

X = np.arange(24.0).reshape(2, 3, 4)
ARRAYS = {"in C order": X.copy(), "by columns": X.T.copy().T,
          "transposed": X.transpose(1, 0, 2).copy().transpose(1, 0, 2),
          "every second": np.arange(48.0).reshape(2, 6, 4)[:, ::2], "backwards": X.copy()[:, ::-1]}


def kept(array: np.ndarray) -> Callable[[], np.ndarray]:
    """Makes an equal array that lies as this one does."""
    def make() -> np.ndarray:
        whole = array if array.base is None else array.base
        memory = np.ascontiguousarray(whole).copy()
        start = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        return np.ndarray(array.shape, array.dtype, memory, start, array.strides)
    return make


def through_a_line(x: np.ndarray) -> np.ndarray:
    """Of what was made from x: written through ravel, where that is a view."""
    y = x + 1
    y.ravel()[0] = 99
    return y


MADE: dict[str, Callable[[Any], Any]] = {
    "copy": np.copy, "array": np.array, "method": lambda x: x.copy(order="K"), "zeros_like": np.zeros_like,
    "astype": lambda x: x.astype(np.float32), "astype by columns": lambda x: x.astype(np.float32, order="F"),
    "gathered": lambda x: x[:, [0, 2]], "gathered last": lambda x: x[..., [0, 2]], "sort": lambda x: np.sort(x, axis=1),
    "joined": lambda x: np.concatenate([x, x]), "einsum": lambda x: np.einsum("ijk,ljk->kil", x, x),
    "full by columns": lambda x: np.full(x.shape, 2.0, order="F")}


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("name", MADE)
def test_what_is_made_lies_as_numpy_lays_it(name: str, array: str) -> None:
    make = MADE[name]

    def f(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = make(x)
        y.ravel()[0] = 99
        return y, y.ravel("K")
    x = kept(ARRAYS[array])
    assert traced(f, *((x(),) for _ in range(3))).stats.replays == 2


def test_lines_of_every_second_element_are_copies() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        x[::2].ravel()[0], x[:, :1].ravel("K")[1], x[:, 0].reshape(-1)[2] = 7, 8, 9
        return x

    assert traced(f, *((np.ones((4, 3)),) for _ in range(3))).stats.replays == 2


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("order", ["C", "F", "A", "K"])
def test_orders_in_which_elements_are_read(order: Any, array: str) -> None:
    def f(x: np.ndarray) -> tuple[Any, ...]:
        reshaped = () if order == "K" else (x.reshape(4, 6, order=order), np.reshape(x, (-1, 2), order=order))
        return x.ravel(order), np.ravel(x, order), x.flatten(order), x.copy(order).ravel("K"), *reshaped
    replayed(f, ARRAYS[array])


@pytest.mark.parametrize("backwards", [False, True])
def test_arguments_that_lie_otherwise_are_paths_of_their_own(backwards: bool) -> None:
    f, calls = tg.trace(through_a_line), [kept(x) for x in ARRAYS.values()]
    for make in (calls[::-1] if backwards else calls) * 2:
        np.testing.assert_array_equal(f(make()), through_a_line(make()))
    assert f.stats.recordings == len(ARRAYS) and f.stats.eager_calls == 0


def test_contiguous_copies_are_made_where_they_are_needed() -> None:
    def f(x: np.ndarray) -> tuple[Any, ...]:
        y, z = np.ascontiguousarray(x), np.ascontiguousarray(x.T)
        x += 1
        by_columns = np.asfortranarray(x).ravel("K"), np.asarray(x, order="F").ravel("K")
        return y, z, np.ascontiguousarray(x.sum()), np.require(x.T, None, "C"), *by_columns
    replayed(f, np.arange(6.0).reshape(2, 3))


def test_a_diagonal_is_a_view_that_is_not_written_to() -> None:
    def f(x: np.ndarray) -> tuple[Any, ...]:
        d = np.diag(x)
        x[0] = 5
        return x.diagonal(1), d + 0
    g = replayed(f, X[0, :, :3].copy())
    x = np.eye(3)
    d = g(x)[0]
    assert not d.flags.writeable and np.shares_memory(d, x)

    def write(x: np.ndarray) -> None:
        np.diag(x)[0] = 1
    traced(write, (np.eye(3),), (np.eye(3),))


def test_arrays_broadcast_to_their_own_shape_may_be_written_to() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        same, _ = np.broadcast_arrays(x, 1.0)
        same[0] = 7
        return x
    replayed(f, np.arange(3.0))
