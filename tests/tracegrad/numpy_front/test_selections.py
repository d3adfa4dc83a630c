"""x[mask] of computed masks: what is replayed, and what must not be."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from traced_numpy import replayed, traced

R = np.random.default_rng(0)
X, C = R.normal(size=(5, 4)), R.normal(size=(5, 4))


def written_back(x: Any, c: Any) -> Any:
    y = x.copy()
    m = y > 0
    y[m] = y[m] ** 2 + c[m]
    return y


def updated(x: Any, c: Any) -> Any:
    y = x.copy()
    y[c > 0] *= 2
    y[c > 0.5] += x[c > 0.5]            # the mask is computed anew
    y[~(c > 0)] = -1
    return y


def mask_overwritten(x: Any, c: Any) -> Any:
    y, m = x.copy(), c > 0
    kept = y[m]
    m[0] = False                        # NumPy has selected already
    return y, kept.sum(), m


def array_overwritten(x: Any, c: Any) -> Any:
    y, m = x.copy(), c > 0
    kept = y[m]
    y[...] = 0
    y[m] = kept + 1
    return y


def selection_changed(x: Any, c: Any) -> Any:
    m = c > 0
    kept = x[m]
    same = kept
    kept += 5                           # a copy: x stays as it is
    y = np.zeros_like(x)
    y[m] = same
    return y, x


def rows(x: Any, c: Any) -> Any:
    m = c[:, 0] > 0
    y = x.copy()
    y[m] = 2 * x[m] + np.arange(4)
    return y, x[m].sum(axis=0), x[m].mean(axis=0), x[m].mean()


def reduced(x: Any, c: Any) -> Any:
    m = c > 0
    return x[m].sum(), x[m].mean(), np.sum(x[m] * c[m]), (x[m] > 0).any(), (x[m].copy() > 0).astype(int).sum()


def integers(x: Any, c: Any) -> Any:
    n = np.zeros(x.shape, np.int32)
    n[x > 0] += 1
    n[x > 0.5] *= 3
    return n, n[x > 0].sum(), n[x > 0].mean()


def complex_numbers(x: Any, c: Any) -> Any:
    z, inside = np.zeros(x.shape, complex), np.ones(x.shape, bool)
    for _ in range(4):
        z[inside] = z[inside] ** 2 + (x + 1j * c)[inside]
        inside = np.abs(z) < 2
    return z, inside


def followed_from_constants(x: Any, c: Any) -> Any:
    m = np.arange(5) % 2 == 0
    return x[m], x[m][1:], x[m, 1], len(x[m]), c[np.eye(5, 4) > 0]


@pytest.mark.parametrize("program", [
    written_back, updated, mask_overwritten, array_overwritten, selection_changed, rows, reduced, integers,
    complex_numbers, followed_from_constants], ids=lambda program: program.__name__)
def test_replayed(program: Callable[..., Any]) -> None:
    replayed(program, X, C)
    traced(program, (X, C), (C, X), (X, -C), (X, np.abs(C)), (X, -np.abs(C)))


@pytest.mark.parametrize("program", [
    lambda x, c: x[c > 0], lambda x, c: x[c > 0][:2], lambda x, c: len(x[c > 0]) * x, lambda x, c: x[c > 0].shape,
    lambda x, c: x[c > 0] + np.arange((c > 0).sum()), lambda x, c: np.sort(x[c > 0]), lambda x, c: x[c > 0].max(),
    lambda x, c: x[c > 0] + x[c <= 0][0], lambda x, c: list(x[c > 0]), lambda x, c: x[c > 0].tolist(),
    lambda x, c: x[c > 0][x[c > 0] > 1], lambda x, c: x[c > 0].size / x.size, lambda x, c: x[(c > 0)[:, 0]].std(axis=0),
])
def test_what_needs_the_elements_runs_eagerly(program: Callable[..., Any]) -> None:
    f = traced(program, (X, C), (C, X), (X, C * 2))
    assert f.stats.replays == 0 and f.explain().aborts
