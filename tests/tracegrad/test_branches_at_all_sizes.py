"""Ways that Python goes by values of tensors, recorded for all sizes: one met at one size is known at all of them."""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tracegrad as tg


def values(n: int, sign: float = 1.0) -> tg.Tensor:
    return tg.tensor(sign * np.random.default_rng(n).uniform(0.1, 1.0, (n, 3)))


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert type(found) is tuple
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    elif isinstance(expected, tg.Tensor):
        assert found.shape == expected.shape and found.dtype == expected.dtype
        assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9)
    else:
        assert type(found) is type(expected) and found == pytest.approx(expected, rel=1e-12)


def turns(x: tg.Tensor) -> tuple:
    k = 0
    while x.abs().max() > 0.3:
        x, k = x * 0.6 - x.mean() / x.shape[0], k + 1
    return x, k


def scaled(x: tg.Tensor) -> tuple:
    y = x * 2 if x.sum() > 0 else x / x.shape[0]
    return y, float(y.sum())


def early(x: tg.Tensor) -> Any:
    for k in range(3):
        if (x * (k - 1.5)).sum() > 0.1:
            return x[k:].sum(axis=0), k
    return x.T @ x, x.shape


WAYS: dict[str, Callable] = {
    "if": lambda x: x * 2 + x.shape[0] if x.sum() > 0 else (x / 2).sum(axis=0),
    "a number": lambda x: x[int((x > 0.0).any()):] * x.shape[0],
    "a float that is compared": lambda x: x.mean(axis=0) if float(x.max()) > 0.2 else x - x.shape[0] ** -0.5,
    "a float that is returned": scaled,
    "and a size": lambda x: x.sum(axis=1) if x.sum() > 0 and x.shape[0] > 6 else x.sum(axis=0),
    "while": turns, "an early return": early,
    "a view on one way": lambda x: x[1:] if x.sum() > 0 else x.T}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_is_known_at_all_sizes_once_it_was_met_at_one(name: str) -> None:
    function = WAYS[name]
    traced = tg.trace(function)
    for n in (4, 9, 12):
        for sign in (1.0, -1.0):
            same(traced(values(n, sign)), function(values(n, sign)))
    recordings = traced.stats.recordings
    for n in (5, 33, 3, 20, 9, 33):
        for sign in (1.0, -1.0, 1.0):
            same(traced(values(n, sign)), function(values(n, sign)))
    stats = traced.stats
    assert stats.recordings - recordings <= {"while": 3, "and a size": 2}.get(name, 0), traced.explain()
    assert stats.follows == (name == "and a size") and not stats.eager_calls


def test_a_root_of_before_has_the_ways_that_other_sizes_brought() -> None:
    traced = tg.trace(WAYS["if"])
    for n in (4, 9):
        for _ in range(20):                         # the native entry replays both
            traced(values(n))
    traced(values(7, -1.0))
    recordings, at_seven = traced.stats.recordings, traced.stats.replays
    for n in (9, 30, 9, 7):
        same(traced(values(n, -1.0)), WAYS["if"](values(n, -1.0)))
    assert traced.stats.recordings == recordings and traced.stats.replays == at_seven + 4


def test_numbers_of_two_ways_are_told_by_what_they_are_computed_from() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * (x.shape[0] + 2) if x.sum() > 0 else x * (x.shape[0] * 2)

    traced = tg.trace(f)
    for n, sign in ((5, 1.0), (2, 1.0), (2, -1.0), (7, 1.0), (7, -1.0), (2, -1.0), (11, -1.0)):      # at 2 both are 4
        same(traced(values(n, sign)), f(values(n, sign)))
    assert traced.stats.recordings == 3


def test_a_value_that_follows_from_sizes_is_right_at_all() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        if tg.ones(x.shape[0]).sum() > 6.0 or x.sum() > 0 and tg.tensor(x.shape[0]) % 2 == 0:
            return x * int(tg.arange(x.shape[0])[-1])
        return x.sum(axis=0)

    traced = tg.trace(f)
    for n in (4, 5, 9, 6, 12, 5, 9, 4):
        for sign in (1.0, -1.0):
            same(traced(values(n, sign)), f(values(n, sign)))


def test_a_value_that_follows_from_no_size_is_known() -> None:
    def f(x: tg.Tensor) -> tuple:
        total, k = tg.zeros(3, dtype="float64"), 0
        while total.abs().max() < 1.5 and k < 4:            # at first, of no input
            total, k = total + x[k % 2], k + 1
        return total, k

    traced = tg.trace(f)
    for n in (4, 9, 12, 5, 33, 2, 20):
        same(traced(tg.full((n, 3), 0.6, dtype="float64")), f(tg.full((n, 3), 0.6, dtype="float64")))
    assert traced.stats.recordings == 2


def test_a_way_that_is_for_one_size_is_followed_at_new_ones_and_the_others_are_not() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        if x.sum() > 0:
            return x * 2
        for k in range(x.shape[0]):
            x = x + k
        return x

    traced = tg.trace(f)
    for n in (4, 9, 12, 5):
        same(traced(values(n)), f(values(n)))
    for n in (9, 20, 21, 22, 23):
        same(traced(values(n, -1.0)), f(values(n, -1.0)))
    before = traced.stats.recordings, traced.stats.follows
    for n in (30, 31, 32):
        same(traced(values(n)), f(values(n)))
        same(traced(values(n + 10, -1.0)), f(values(n + 10, -1.0)))
    assert (traced.stats.recordings, traced.stats.follows) == (before[0], before[1] + 3)


def test_derivatives_by_the_way_that_was_gone_to_the_second_order() -> None:
    w = tg.tensor([0.5, -1.0, 2.0], dtype="float64", requires_grad=True)

    def f(x: tg.Tensor) -> tg.Tensor:
        y = (x * w).tanh()
        return (y * x.shape[0]).sum() if x.sum() > 0 else (y ** 2).mean() + w.exp().sum()

    def derivatives(function: Callable, x: tg.Tensor) -> tuple:
        first, = tg.autograd.grad(function(x), w, create_graph=True)
        return first, tg.autograd.grad((first * first).sum(), w)[0]

    traced = tg.trace(f)
    for n in (4, 9, 3, 17, 6):
        for sign in (1.0, -1.0):
            same(derivatives(traced, values(n, sign)), derivatives(f, values(n, sign)))
    assert traced.stats.recordings == 4


def test_state_grads_and_tensors_that_one_way_alone_reads() -> None:
    def program() -> tuple[Callable, Callable]:
        w = tg.tensor(np.ones(3), requires_grad=True)
        state = {"h": tg.zeros(3, dtype="float64"), "scale": tg.tensor(np.full(3, 0.5))}

        def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            loss = ((x * w - y) ** 2).mean()
            loss.backward()
            if loss > 1.0:
                state["h"] = state["h"] + y.sum(axis=0).detach() * state["scale"]
                w.grad = None
            else:
                w.data -= w.grad * 0.1
                x *= 0.5
            return loss

        return step, lambda: (w, w.grad if w.grad is not None else 0, state["h"])

    step, left = program()
    plain, expected = program()
    traced = tg.trace(step)
    for n, scale in ((4, 1), (4, 5), (9, 1), (9, 5), (12, 5), (12, 1), (7, 1), (7, 5), (3, 1), (30, 5), (30, 1),
                     (31, 5), (32, 1), (33, 1), (34, 5), (35, 5)):
        if n == 31:
            recordings = traced.stats.recordings
        x, y = values(n), values(n + 100)[:n] * scale
        x_too = x.clone()
        same((traced(x, y), x, left()), (plain(x_too, y), x_too, expected()))
    assert traced.stats.recordings == recordings and traced.stats.follows <= 1


def test_paths_give_way_at_all_sizes() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * int(x[0, 0])

    traced = tg.trace(f, limits=tg.Limits(paths=4))
    for k in range(300):
        x = tg.full((k % 7 + 2, 3), float(k % 2 if k < 40 else k % 5 + 10))
        same(traced(x), f(x))
    (paths,) = traced._tree._all_sizes
    assert len(paths.root.traces) <= 4 and traced.stats.replays > 100


def test_a_tensor_that_one_way_alone_computes_with_may_have_any_size() -> None:
    def f(x: tg.Tensor, y: tg.Tensor) -> Any:
        return (y * 2).sum(axis=0) * y.shape[0] if x.sum() > 0 else (x + 1, y.shape)

    traced = tg.trace(f)
    for k, n in enumerate((4, 5, 9, 3, 12, 30, 31, 7, 33)):
        for sign in (-1.0, 1.0) if k != 2 else (-1.0,):
            same(traced(values(2 * k % 5 + 2, sign), values(n)), f(values(2 * k % 5 + 2, sign), values(n)))
    assert traced.stats.recordings == 4 and not traced.stats.follows


def test_threads_bring_ways_at_many_sizes() -> None:
    traced = tg.trace(turns)
    wrong: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for k in range(30):
                x = values(first + k % 9, 1.0 if k % 3 else -4.0)
                same(traced(x), turns(x))
        except BaseException as error:  # noqa: BLE001 - told below
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in (2, 4, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
