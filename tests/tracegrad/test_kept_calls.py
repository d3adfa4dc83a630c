"""trace(keep=n): the inputs of the last calls, and f.rerun, which runs one of them again as plain Python."""
from __future__ import annotations

import copy
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import tracegrad as tg

Pair = namedtuple("Pair", "a b")


@dataclass
class Batch:
    x: tg.Tensor
    name: str


def test_the_last_calls_are_kept_as_they_were_given():
    lines: list[str] = []

    @tg.trace(keep=3)
    def f(x: tg.Tensor, batch: Batch, more: dict) -> tg.Tensor:
        x += batch.x
        more["u"] += 1.0
        lines.append("python") if more.get("log") else None
        return x * more["k"][0] + more["pair"].b

    results = []
    for k in range(5):
        x, u = tg.full((2,), float(k)), np.zeros(2)
        pair = Pair(1, tg.ones(2))
        results.append(f(x, Batch(tg.full((2,), 10.0), "b"), {"u": u, "k": [float(k)], "pair": pair}).tolist())
        assert x.tolist() == [10.0 + k] * 2 and u.tolist() == [1.0, 1.0]
        x *= 0.0
    stats = copy.copy(f.stats)
    for index in (-1, -2, -3, 0, 1, 2, -1):
        assert f.rerun(index).tolist() == results[2:][index]
    assert f.stats == stats and f.rerun().tolist() == results[-1]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"calls.py:.*there is no call {index}: 3 are kept, of at most 3"):
            f.rerun(index)
    f.reset()
    with pytest.raises(IndexError, match="0 are kept"):
        f.rerun(-1)


def test_a_run_again_is_plain_python():
    lines: list[str] = []

    @tg.trace
    def inner(x: tg.Tensor) -> tg.Tensor:
        lines.append(f"inner {x.sum().item()}") if DEBUG[0] else None
        return x * 2.0

    @tg.trace(keep=2)
    def f(x: tg.Tensor) -> tg.Tensor:
        y = inner(x)
        return y + 1.0

    DEBUG[0] = False
    for k in range(3):
        f(tg.full((2,), float(k)))
    DEBUG[0] = True
    assert f.stats.replays == 2
    assert f.rerun(-1).tolist() == [5.0, 5.0] and lines == ["inner 4.0"]
    assert f.stats.replays == 2 and inner.stats.calls == 0


DEBUG = [False]


def test_gradients_grad_mode_and_randomness_are_those_of_the_call():
    @tg.trace(keep=4)
    def f(x: tg.Tensor) -> tg.Tensor:
        return (x * tg.rand(3)).sum()

    tg.manual_seed(3)
    x = tg.ones(3, requires_grad=True)
    x.grad = tg.full((3,), 5.0)
    first = f(x)
    with tg.no_grad():
        second = f(x)
    state = tg.get_rng_state().tolist()
    again = f.rerun(0)
    assert again.item() == first.item() and again.requires_grad
    again.backward()
    assert x.grad.tolist() == [5.0] * 3
    quiet = f.rerun(1)
    assert quiet.item() == second.item() and not quiet.requires_grad
    assert tg.get_rng_state().tolist() == state and tg.is_grad_enabled()


def test_what_shares_memory_shares_it_in_the_copy():
    def shift(x: tg.Tensor, part: tg.Tensor, u: np.ndarray | None = None) -> tg.Tensor:
        part += 1.0
        return x * 1.0

    f = tg.trace(keep=2)(shift)
    for order in (False, True):
        x = tg.arange(4, dtype=tg.float32)
        part = x[1:3] if order else x.reshape(2, 2).T[1]
        expected = f(x, part).tolist()
        assert f.rerun(-1).tolist() == expected == f.rerun(-1).tolist()

    @tg.trace(keep=1)
    def g(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        v += 1.0
        return u * 2.0

    u = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    expected_array = g(u, u[:, 1:])
    np.testing.assert_array_equal(g.rerun(-1), expected_array)


def test_an_error_can_be_looked_at_again():
    @tg.trace(keep=1)
    def f(x: tg.Tensor) -> tg.Tensor:
        if x.shape[0] > 2:
            raise ValueError(f"{x.sum().item()}")
        return x * 2.0

    f(tg.ones(2))
    with pytest.raises(ValueError, match="3.0"):
        f(tg.ones(3))
    with pytest.raises(ValueError, match="3.0"):
        f.rerun()


def test_methods_and_copies():
    class Model:
        def __init__(self) -> None:
            self.w = tg.full((2,), 3.0)

        @tg.trace(keep=2)
        def __call__(self, x: tg.Tensor) -> tg.Tensor:
            return x * self.w

    model = Model()
    model(tg.ones(2))
    model.w = tg.full((2,), 4.0)
    assert Model.__call__.rerun(-1).tolist() == [4.0, 4.0]          # captured state is as it is now

    @tg.trace(keep=2)
    def outer(x: tg.Tensor) -> tg.Tensor:
        return kept(x) + 1.0

    kept = tg.trace(keep=2)(lambda x: x * 2.0)
    for _ in range(3):
        outer(tg.ones(2))
    assert outer.stats.replays == 2
    with pytest.raises(IndexError):
        kept.rerun()                                                # it ran as a part of outer


def test_misuse_is_named():
    with pytest.raises(ValueError, match="keep is a number of calls, 0 or more, not -1"):
        tg.trace(keep=-1)
    with pytest.raises(ValueError, match="keep is a number"):
        tg.trace(lambda x: x, keep=True)
    f = tg.trace(lambda x: x * 2.0)
    f(tg.ones(2))
    with pytest.raises(ValueError, match=r"test_kept_calls.py:.*rerun: <lambda> keeps no calls.*trace\(keep=8\)"):
        f.rerun(-1)
