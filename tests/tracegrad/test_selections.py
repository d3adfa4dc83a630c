"""x[mask] in a recording: put off until something asks how many elements there are; then the mask is read."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.tensors import Tensor

pytestmark = pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")


def escape(c: Any, z: Any, count: Any) -> Any:
    for _ in range(4):
        inside = z * z < 4.0
        z[inside] = z[inside] ** 2 + c[inside]
        count[inside] += 1
    return count * 2


def clipped(c: Any, z: Any, count: Any) -> Any:
    z[z < 0] = z[z < 0] * 0.1 - c[z < 0]            # three masks, of one value
    z[z > 1] *= 0.5
    count[1:][z[1:] > 0] -= 2
    return z[z > 0].sum() + z[c > 0].mean() + np.sum(z[c > 0]) * np.mean(z[z > 0] + 1.0)


def rows(c: Any, z: Any, count: Any) -> Any:
    chosen = c[:, 0] > 0
    z[chosen] += z[0] * 2.0                         # what broadcasts along the axes after the mask's
    z[chosen, 1] = c[chosen, 1] / z[chosen, 1]
    z[:, c[0] > 0] = np.sqrt(np.abs(z[:, c[0] > 0])) + 1.0
    count[chosen] = -count[chosen]
    return z * 1.0


@pytest.mark.parametrize("program", [escape, clipped, rows])
def test_masked_arithmetic_is_replayed(program: Callable) -> None:
    traced = tg.trace(program)
    rng = np.random.default_rng(0)
    for _ in range(4):
        arrays = [rng.uniform(-2, 1, (4, 5)), rng.uniform(-1, 2, (4, 5)), rng.integers(0, 3, (4, 5))]
        mine = [tg.tensor(a) for a in arrays]
        found = traced(*mine)
        expected = program(*arrays)
        for f, e in zip((found, *mine), (expected, *arrays), strict=True):
            np.testing.assert_allclose(f.array, e, rtol=1e-12)
    assert traced.stats.replays == 3, traced.explain()


def test_no_derivative_comes_from_what_is_not_selected() -> None:
    def loss(x: Tensor) -> Tensor:
        y = x * 1.0
        y[y > 0] = 1.0 / y[y > 0] + y[y > 0].log() - y[y > 0].sqrt()
        return (y * y).sum()

    traced = tg.trace(loss)
    for values in ([0.5, 0.0, -1.0], [0.0, 2.0, 3.0], [-1.0, -2.0, 0.0]):
        gradients = []
        for f in (loss, traced):
            x = tg.tensor(values, dtype=tg.float64, requires_grad=True)
            f(x).backward()
            assert x.grad is not None
            gradients.append(x.grad.array)
        np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-12)
        assert np.isfinite(gradients[1]).all()
    assert traced.stats.replays == 2


class Kept:
    """Where a program keeps what it selected."""

    found: Any = None


BOX = Kept()


def keep(x: Tensor) -> Tensor:
    BOX.found = x[x > 0]
    return x * 2.0


def changed_meanwhile(x: Tensor) -> Tensor:
    mask = x > 0
    found = x[mask] * 2.0
    mask[0] = False
    x[mask] = found[:1]
    return x * 1.0


@pytest.mark.parametrize("program", [
    lambda x: x[x > 0], lambda x: [x[x > 0] * 2.0], lambda x: x * x[x > 0].shape[0], lambda x: x * len(x[x > 0]),
    lambda x: x * x[x > 0].size, lambda x: x * x[x > 0].numel(), lambda x: sum(iter(x[x > 0]), x),
    lambda x: x + x[x > 0][0], lambda x: x * tg.ones_like(x[x > 0]).sum(), lambda x: tg.zeros_like(x[x > 0]),
    lambda x: x[x > 0] + x[x < 9] if len(x[x > 0]) == len(x) else x, lambda x: tg.concat([x[x > 0], x]),
    lambda x: x + x[x > 0].max(), lambda x: x[x > 0].reshape(-1), keep,
    lambda x: x[x > 0] * tg.arange(float((x > 0).sum().item())), changed_meanwhile, lambda x: x[x > 0].tolist(),
    lambda x: x * x[x > 0].numpy().sum(), lambda x: f"{x[x > 0]}", lambda x: x[x > 0].clone().detach(),
], ids=range(21))
def test_what_depends_on_how_many_there_are_is_run_eagerly(program: Callable) -> None:
    traced, BOX.found = tg.trace(program), None
    for values in ([1.0, -1.0, 2.0, 3.0], [1.0, 4.0, -2.0, 3.0], [1.0, 1.0, 1.0, 2.0], [5.0, -1.0, -1.0, 3.0]):
        x, y = tg.tensor(values), tg.tensor(values)
        expected, found = program(x), traced(y)
        for e, f in zip(expected, found, strict=True) if isinstance(expected, list) else ((expected, found),):
            if isinstance(e, Tensor):
                np.testing.assert_array_equal(f.array, e.array)
            else:
                assert f == e
        np.testing.assert_array_equal(y.array, x.array)
        if BOX.found is not None:
            np.testing.assert_array_equal(BOX.found.array, x.array[x.array > 0])
    assert traced.stats.replays == 0 and "HOST_READ" in traced.stats.aborts


def test_a_selection_is_what_it_was_when_it_was_made() -> None:
    @tg.trace
    def f(x: Tensor) -> Tensor:
        before = x[x > 0] * 1.0
        positive = x > 0
        x[positive] = 0.5
        x[positive] += before.sum()
        return x * 1.0

    for values in ([1.0, -1.0, 2.0], [-3.0, 4.0, -2.0]):
        x = np.array(values)
        expected = np.where(x > 0, 0.5 + x[x > 0].sum(), x)
        np.testing.assert_allclose(f(tg.tensor(x)).array, expected)
    assert f.stats.replays == 1


def test_a_number_that_is_made_of_what_is_selected_is_a_way_of_its_own() -> None:
    def program(x):
        return x * float(x[x > 0].sum())

    traced = tg.trace(program)
    for values in ([1.0, -1.0, 2.0, 3.0], [1.0, 4.0, -2.0, 3.0], [1.0, 1.0, 1.0, 2.0], [3.0, -1.0, 1.0, 2.0]):
        x = tg.tensor(values)
        np.testing.assert_array_equal(traced(x).array, program(x).array)
    assert traced.stats.replays and not traced.stats.eager_calls


def test_selections_are_tensors_to_who_asks_for_types() -> None:
    helpers: list[Callable] = [lambda y: y.sum()]

    def doubled(x: Tensor) -> Tensor:
        return x[x > 0] * 2

    def asked(x: Tensor) -> Tensor:
        y = x[x > 0] * 2
        return y.sum() if type(y) is Tensor else y.sum() * 100

    def helped(x: Tensor) -> Tensor:
        y = x[x > 0] * 2
        return helpers[-1](y) + y.sum()

    x = tg.tensor([1.0, -2.0, 3.0])
    traced, asks, helps = tg.trace(doubled), tg.trace(asked), tg.trace(helped)
    for k in range(6):
        y = traced(x)
        assert type(y) is Tensor and y.tolist() == [2, 6] and asks(x).item() == 8
        if k == 3:
            helpers.append(lambda y: y.sum() if type(y) is Tensor and y.__class__ is Tensor else y.sum() * 100)
        assert helps(x).item() == 16
