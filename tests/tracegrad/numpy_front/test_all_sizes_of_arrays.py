"""NumPy code recorded for all sizes: results, dtypes, strides and effects are NumPy's at sizes that no call had."""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from traced_numpy import check_equal, flat

import tracegrad as tg

SIZES = (5, 9, 12, 4, 30, 3, 12, 7)


def check(function: Callable, *calls: tuple[Any, ...]) -> Any:
    """The traced function, after these calls, each of which gave and did what NumPy gives and does."""
    traced = tg.trace(function)
    for given in calls:
        mine, theirs = ([a.copy() if isinstance(a, np.ndarray) else a for a in given] for _ in range(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, expected = traced(*mine), function(*theirs)
        check_equal(found, expected)
        check_equal(mine, theirs)
        for a, b in zip(flat(found), flat(expected), strict=True):
            if isinstance(b, np.ndarray):
                assert all(n < 2 or s == t for n, s, t in zip(b.shape, a.strides, b.strides)), (a.strides, b.strides)
                assert [np.shares_memory(a, x) for x in mine] == [np.shares_memory(b, x) for x in theirs]
    return traced


def rows(n: int) -> tuple[Any, ...]:
    return (np.random.default_rng(n).normal(size=(n, 3)),)


def diffuses(x: Any) -> Any:
    x[1:-1] += 0.5 * (x[2:] - 2 * x[1:-1] + x[:-2])
    return x.sum()


def fills(x: Any) -> Any:
    y = np.empty_like(x)
    y[0], y[1:] = x.shape[0], (x[1:] + x[:-1]) / 2
    x[x < 0] = 0
    return y


def into(x: Any) -> Any:
    y = np.empty(x.shape)
    np.multiply(x, 2, out=y)
    y.shape = (x.size,)
    return y


READS_NO_NUMBER: dict[str, Callable] = {
    "statistics": lambda x: ((x - x.mean(axis=0)) / x.std(axis=0), np.var(x, axis=1, ddof=1), np.mean(x)),
    "sizes": lambda x: (x.shape[0], x.shape, x.size / 2, x.sum(axis=0) / x.shape[0], x * np.ndim(x) * np.shape(x)[0]),
    "scalars of sizes": lambda x: (np.sqrt(x.shape[0]), np.log(x.shape[0]) + x.sum(), np.array([x.sum(), x.shape[0]])),
    "weak numbers": lambda x: (x.astype(np.float32) / x.shape[0] * (1 / x.size), (x * 9).astype(int) + x.shape[0]),
    "made by shapes": lambda x: (np.zeros(x.shape), np.ones(x.shape[0]) @ x, np.arange(1, x.shape[0] + 1) * x[:, 0]),
    "made alike": lambda x: (np.zeros_like(x), np.ones_like(x.T), np.full((2, x.shape[0]), 3, order="F")),
    "slices": lambda x: (x[1:] - x[:-1], x[x.shape[0] // 2:], x[-1], x[::-1], x[np.arange(x.shape[0])[::-1]]),
    "lines": lambda x: (x.ravel() * 2, x.T.ravel(), x.T.ravel("K"), x.ravel("F"), x.reshape(-1, 1), x.reshape(3, -1)),
    "layouts": lambda x: (x.T, x.T.copy(), np.copy(x.T), np.asfortranarray(x), x.T + 1, x[:, [2, 0]]),
    "flags": lambda x: x * 2 if x.flags.c_contiguous and not x.T.flags["C_CONTIGUOUS"] else x,
    "joined": lambda x: (np.concatenate([x, x[:1]]), np.concatenate([x.T, x.T]), np.stack([x, x * 2], axis=1)),
    "counted": lambda x: (*np.linspace(0, 1, x.shape[0], retstep=True), np.eye(x.shape[0]),
                          np.arange(x.size, dtype=float), np.tril(x @ x.T), np.full(x.shape[0], x.shape[0])),
    "products": lambda x: (x @ x.T, np.outer(x[:, 0], x[:, 1]), np.einsum("ij,kj->ik", x, x), np.dot(x.T, x)),
    "solved": lambda x: np.linalg.solve(x.T @ x + np.eye(3), x.T @ np.ones(x.shape[0])),
    "distances": lambda x: np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)),
    "masks": lambda x: (np.where(x > 0, x, 0.1 * x), np.mean(x[x > 0]), (x > 0).sum() / x.size),
    "in order": lambda x: (np.sort(x, axis=0), np.cumsum(x, axis=0), x.argmax(axis=0), np.argsort(x[:, 0])),
    "rolled": lambda x: np.roll(x, 1, axis=0) - np.diff(x, axis=0, prepend=x[:1]),
    "in place": fills, "an argument is the result": lambda x: (x, x[0], x * 2), "out": into,
}


@pytest.mark.parametrize("name", READS_NO_NUMBER)
def test_what_reads_no_number_is_recorded_twice(name: str) -> None:
    traced = check(READS_NO_NUMBER[name], *map(rows, SIZES))
    reasons = [root.one_size for root in traced._array_trees[()].roots]
    assert (traced.stats.recordings, traced.stats.eager_calls) == (2, 0), reasons


def test_ways_of_all_sizes_are_found_again_at_others() -> None:
    def f(x):
        y = x * 2 if x.sum() > 0 else x / 2
        return y[1:] if x.max() > 2 else y - y.mean(axis=0)

    calls = [(scale * rows(n)[0],) for n in (5, 9, 12, 4, 7, 30, 12, 6) for scale in (1, -1, 4, -4)]
    stats = check(f, *calls).stats
    assert stats.recordings <= 9 and stats.eager_calls == 0


def test_sizes_at_which_something_else_happens_go_another_way() -> None:
    stats = check(diffuses, *map(rows, (5, 9, 12, 2, 1, 30, 3, 2, 1))).stats
    assert stats.recordings == 4 and stats.eager_calls == 0


def test_a_number_that_python_reads_is_right_at_every_size() -> None:
    def f(x):
        return sum(row.sum() for row in x) / len(x), np.arange(0.0, x.shape[0], 0.5)

    assert check(f, *map(rows, SIZES)).stats.eager_calls == 0


def test_arrays_that_lie_in_another_way_are_recorded_for_their_size() -> None:
    def calls(*sizes: int):
        for n in sizes:
            yield rows(n)[0].T, rows(n)[0].T.copy()

    traced = tg.trace(lambda x: x.ravel("K") * 2)
    for one, other in calls(4, 6, 8, 5):
        for x in (one, other, one[:, ::2]):
            np.testing.assert_array_equal(traced(x), x.ravel("K") * 2)
    assert traced.stats.eager_calls == 0


def test_ways_found_at_other_sizes_are_known_where_a_root_was_made_before() -> None:
    calls = [(scale * abs(rows(n)[0]),) for scale, n in (
        (1, 5), (1, 9), (1, 12), (1, 12), (1, 4), (1, 4), (-1, 12), (-1, 4), (-1, 9), (-1, 30))]
    stats = check(lambda x: x * 2 if x.sum() > 0 else x / 2, *calls).stats
    assert (stats.recordings, stats.eager_calls) == (3, 0)


def test_where_one_row_is_left_arrays_lie_in_both_orders() -> None:
    def f(x):
        return x[1:].T.flags.c_contiguous, x * 2

    assert check(f, *map(rows, (5, 9, 2, 3, 2, 12))).stats.recordings == 3
