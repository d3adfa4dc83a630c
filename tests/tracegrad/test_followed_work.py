"""Followed work: compiled once and shared by all calls, by all threads; not done where types would show it."""
from __future__ import annotations

import threading

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.compiling import Compiling
from tracegrad.deferred_work import Work
from tracegrad.follow import Follow
from tracegrad.pending import Pending

pytestmark = pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")


def test_the_work_is_compiled_and_shared_by_all_calls():
    follow = Follow("f", Compiling("llvm_cpu"))
    seen = []

    def f(x):
        y = tg.exp(x) * 2.0 + 1.0
        seen.append(y.sum().item())
        return tg.log(y) * 2.0 - x

    for k in range(6):
        follow.call(f, (tg.full((100,), float(k)),), {})
    assert len(follow.known.compiled) == 2          # up to the look, and after it
    steps = follow.known.size
    follow.call(f, (tg.zeros(100),), {})
    assert follow.known.size == steps and len(seen) == 7


def test_a_number_that_changes_becomes_an_input():
    follow = Follow("f", Compiling("llvm_cpu"))
    calls = []

    def f(x):
        calls.append(0)
        return tg.exp(x * (0.1 * len(calls))) + len(calls)

    for k in range(1, 8):
        found = follow.call(f, (tg.ones(50),), {})
        np.testing.assert_allclose(found.numpy(), np.exp(np.float32(0.1 * k)) + k, rtol=1e-5)
    assert len(follow.known.compiled) <= 2


def test_strict_still_raises():
    traced = tg.trace(lambda x, log=[]: log.append(1) or x * 2.0, strict=True)
    for _ in range(3):
        with pytest.raises(tg.NotCompiled, match="EFFECT"):
            traced(tg.ones(3))
    assert not traced.stats.follows


def test_functions_that_look_at_types_are_followed():
    kinds = []

    @tg.trace
    def f(x):
        y = x * 2.0
        kinds.append(type(y))
        return y

    for _ in range(5):
        f(tg.ones(3))
    assert kinds == [tg.Tensor] * 5 and f.stats.follows


def test_a_helper_that_nobody_knew_finds_a_tensor_where_work_is_deferred():
    helpers, seen = [lambda y: y.sum()], []

    @tg.trace
    def f(x):
        seen.append(1)
        return helpers[-1](x * 2.0)

    for _ in range(4):
        assert f(tg.ones(300, 300)).item() == 180_000
    assert f.stats.follows
    helpers.append(lambda y: y.sum() if type(y) is tg.Tensor else y.sum() * 100)
    for _ in range(3):
        assert f(tg.ones(300, 300)).item() == 180_000


def test_what_another_thread_took_while_it_was_written_has_its_values(monkeypatch):
    follow, w, taken = Follow("f", Compiling("llvm_cpu")), tg.zeros(100), []
    run = Work.run

    def meanwhile(work, *inputs_and_homes):
        if type(w.held) is Pending:
            taken.append(w.held)
        return run(work, *inputs_and_homes)

    monkeypatch.setattr(Work, "run", meanwhile)
    for k in range(1, 5):
        follow.call(lambda x: w.add_(x).mul_(1.0), (tg.ones(100),), {})
        assert len(taken) == k and taken[-1].demand().tolist() == w.tolist() == [float(k)] * 100


def test_threads_follow_side_by_side():
    results: dict[int, list[float]] = {}
    lines: list[int] = []

    @tg.trace
    def f(x):
        y = tg.tanh(x) * 3.0
        lines.append(1)
        return y.sum().item() + 1.0

    def work(n: int) -> None:
        results[n] = [f(tg.full((20,), float(n + k))) for k in range(30)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for n, found in results.items():
        expected = [20 * 3 * np.tanh(np.float32(n + k)) + 1 for k in range(30)]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(lines) == 120 and f.stats.follows


def test_arrays_without_elements_are_laid_out_as_eager_ones():
    follow = Follow("f", Compiling("llvm_cpu"))
    for shape in ((0, 3), (3, 0), (2, 3)):
        for f in (lambda x: tg.tanh(x.T * 2.0).sum(), lambda x: tg.tanh(x.T).sum(axis=0, keepdims=True)):
            for _ in range(3):
                x = tg.ones(shape)
                found, expected = follow.call(f, (x,), {}), f(x)
                assert found.array.shape == expected.array.shape and found.array.strides == expected.array.strides


def test_a_view_of_what_was_written_has_its_memory() -> None:
    calls = []

    def f(x: tg.Tensor) -> tuple:
        calls.append(1)                     # it is followed
        x *= 0.5
        y = tg.tanh(x)
        x *= 0.5
        return x[-1], y + tg.tanh(x)

    traced = tg.trace(f)
    for _ in range(5):
        x = tg.ones(3, 2)
        row, _ = traced(x)
        assert np.shares_memory(row.numpy(), x.numpy())
        row *= 2.0
        assert x.tolist() == [[0.25, 0.25], [0.25, 0.25], [0.5, 0.5]]
    assert traced.stats.follows >= 3
