"""What a traced run has made lives as long as in a run that nobody watches: weak references and finalizers tell."""
from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg


def one_that_died(x: tg.Tensor) -> Any:
    y = x * 2.0
    alive = weakref.ref(y)
    z = y + 1.0
    del y
    return z * (1.0 if alive() is None else 2.0)


def one_that_an_operation_reads_later(x: tg.Tensor) -> Any:
    y = x * 2.0
    total = y.sum().tolist()
    alive = weakref.ref(y)
    z = y + total
    del y
    return z * (1.0 if alive() is None else 2.0)


def a_set(x: tg.Tensor) -> Any:
    held = weakref.WeakSet[Any]()
    for k in range(3):
        y = x * k
        held.add(y)
    return x * len(held), y


def a_finalizer(x: tg.Tensor) -> Any:
    log: list[str] = []
    y = x * 2.0
    weakref.finalize(y, log.append, "gone")
    z = y - 1.0
    del y
    return z * len(log)


def who_holds_it(x: tg.Tensor) -> Any:
    y = x * 2.0
    z = y + 1.0
    lists = [holder for holder in gc.get_referrers(y) if type(holder) is list]
    return z * sys.getrefcount(y) + len(lists)


def a_method_of_a_list_that_held_it(x: tg.Tensor) -> Any:
    y = x * 2.0
    alive, held = weakref.ref(y), list[Any]()
    held.append(y)
    del held, y
    return x * (1.0 if alive() is None else 2.0)


def one_of_python_numbers(x: tg.Tensor) -> Any:
    y = tg.tensor([1.0, 2.0])
    alive = weakref.ref(y)
    z = x[:2] + y
    del y
    return z * (1.0 if alive() is None else 2.0)


class Mine(tg.Tensor):
    """One of which the recorder is not told."""

    __slots__ = ()


def one_from_nowhere(x: tg.Tensor) -> Any:
    y = Mine(np.ones(2, np.float32))
    alive = weakref.ref(y)
    z = x[:2] + y
    del y
    return z * (1.0 if alive() is None else 2.0)


def a_leaf_with_its_grad(x: tg.Tensor) -> Any:
    leaf = x.detach().requires_grad_()
    (leaf * leaf).sum().backward()
    alive, grad = weakref.ref(leaf), leaf.grad
    del leaf
    return grad, 1 if alive() is None else 2


def what_a_hook_holds(x: tg.Tensor) -> Any:
    class Held:
        factor = 2.0

    held = Held()
    alive = weakref.ref(held)
    y = x.detach().requires_grad_() * 2.0
    y.register_hook(lambda g, held=held: g * held.factor)
    del held, y
    return x * (1.0 if alive() is None else 2.0)


def a_view_and_its_whole(x: tg.Tensor) -> Any:
    y = x * 2.0
    part, alone = y[1:], y.detach()
    alive = weakref.ref(y)
    y += 1.0
    del y, part
    return alone * (1.0 if alive() is None else 2.0)


PROGRAMS = [one_that_died, one_that_an_operation_reads_later, a_set, a_finalizer, who_holds_it,
            a_method_of_a_list_that_held_it, one_of_python_numbers, one_from_nowhere, a_leaf_with_its_grad,
            what_a_hook_holds, a_view_and_its_whole]


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("size", [4, 1 << 17])          # so that the work is deferred, too
@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_lives_longer(program: Callable[..., Any], size: int) -> None:
    def shown(result: Any) -> list[Any]:
        parts = result if isinstance(result, tuple) else (result,)
        return [part.numpy() if isinstance(part, tg.Tensor) else part for part in parts]

    traced = tg.trace(program)
    for k in range(4):
        x = tg.tensor(np.arange(size, dtype=np.float32) % 5 + k)
        for found, expected in zip(shown(traced(x)), shown(program(x)), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_views_whose_whole_is_gone_are_written_in_a_replay() -> None:
    w = tg.ones(3, requires_grad=True)

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        y = (x * w).detach()
        y += 1.0
        return y

    for k in range(3):
        assert f(tg.full((3,), k)).tolist() == [k + 1.0] * 3
    assert f.stats.replays == 2


def test_a_write_to_a_view_that_history_does_not_see_changes_the_whole() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2.0
        z = y.detach()
        z += 1.0
        return y * 10.0

    x = tg.ones(3)
    for _ in range(3):
        assert f(x).tolist() == [30.0] * 3
    assert f.stats.replays == 2
