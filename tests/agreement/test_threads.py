"""Traced functions in threads, after a fork, under Ctrl-C, called from within themselves, and left by exceptions."""
from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import limits as limits_module

ROOT = Path(__file__).parents[2]


def vector(n: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).standard_normal(n))


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run work(0), work(1), ... at once; raise what any of them raised."""
    failed: list[BaseException] = []
    together = threading.Barrier(count)

    def run(number: int) -> None:
        together.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread of the test
            failed.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_threads_call_one_function_while_it_records() -> None:
    w = vector(1)

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.tanh(x * w + 1.0).sum() + x

    def work(number: int) -> None:
        kept = []
        for k in range(40):
            x = vector(1 + (number + k) % 5, seed=number * 100 + k)
            kept.append((x, f(x)))
        for x, y in kept:
            np.testing.assert_allclose(y.numpy(), f.eager(x).numpy(), 1e-12)

    in_threads(6, work)
    shapes = {trace.graph.inputs[0].shape for trace in f.explain().traces}
    assert (1,) in shapes and 2 <= len(shapes) <= 5         # what is recorded for all sizes stands for those from 2 on
    recordings = f.stats.recordings
    in_threads(6, work)
    assert f.stats.recordings == recordings and f.stats.replays > 200


def test_threads_differentiate_what_one_function_gives() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return (tg.exp(x) * x).sum()

    def work(number: int) -> None:
        for k in range(20):
            x = vector(3 + k % 3, seed=number * 100 + k).requires_grad_()
            g, = tg.autograd.grad(f(x), x, create_graph=True)
            second, = tg.autograd.grad(g.sum(), x)
            values = x.detach().numpy()
            np.testing.assert_allclose(g.detach().numpy(), np.exp(values) * (values + 1), 1e-12)
            np.testing.assert_allclose(second.numpy(), np.exp(values) * (values + 2), 1e-12)

    in_threads(4, work)


def test_each_thread_trains_a_model_of_its_own_with_one_function() -> None:
    @tg.trace
    def step(w: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        loss = ((w * x).sum() - 1.0).square()
        w.grad = None
        loss.backward()
        with tg.no_grad():
            w -= 0.1 * w.grad
        return loss

    def train(run: Callable[..., tg.Tensor], number: int) -> np.ndarray:
        w = vector(4, seed=number).requires_grad_()
        for k in range(30):
            run(w, vector(4, seed=k))
        return w.detach().numpy()

    found: dict[int, np.ndarray] = {}
    in_threads(4, lambda number: found.update({number: train(step, number)}))
    for number, w in found.items():
        np.testing.assert_allclose(w, train(step.eager, number), 1e-9)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_child_process_goes_on_calling() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.tanh(x) * 2.0 + x.sum()

    x = vector(200_000)
    for _ in range(3):
        f(x)
    child = os.fork()
    if child == 0:
        good = all(np.allclose(f(x).numpy(), f.eager(x).numpy()) for x in (x, vector(7), vector(7), vector(100_000)))
        os._exit(0 if good else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    np.testing.assert_allclose(f(x).numpy(), f.eager(x).numpy(), 1e-12)


INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import tracegrad as tg

signal.signal(signal.SIGINT, signal.default_int_handler)        # a shell may have made it ignored

@tg.trace
def f(x):
    for _ in range(60):
        x = tg.tanh(x) * 1.01
    return x

x = tg.tensor(np.ones(400_000))
good = f(x).numpy().copy()
f(x)
interrupts = 0
for delay in (0.0, 0.005, 0.02, 0.05):
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            f(x)
    except KeyboardInterrupt:
        interrupts += 1
    assert np.allclose(f(x).numpy(), good, 1e-12)
print(interrupts)
"""


def test_an_interrupt_is_delivered_and_nothing_breaks() -> None:
    found = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "4"


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_a_finalizer_that_calls_the_function_that_drops_it() -> None:
    seen = []

    class Last:
        def __del__(self) -> None:
            seen.append(f(vector(3, seed=1), None).sum().item())

    @tg.trace
    def f(x: tg.Tensor, held: object) -> tg.Tensor:
        y = x * 2.0
        if held is not None:
            held.clear()
        return y + x.sum()

    for k in range(6):
        x = vector(4, seed=k)
        np.testing.assert_allclose(f(x, [Last()]).numpy(), 2 * x.numpy() + x.numpy().sum(), 1e-12)
    gc.collect()
    assert len(seen) == 6 and len(set(seen)) == 1


def test_a_hook_that_calls_the_function_whose_result_it_is_on() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.exp(x)

    for _ in range(4):
        x = vector(3).requires_grad_()
        y = f(x)
        y.register_hook(lambda g: g * f(g.detach()))
        y.sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), np.exp(x.detach().numpy()) * np.e, 1e-12)


def test_a_function_that_calls_itself_through_another() -> None:
    @tg.trace
    def inner(x: tg.Tensor) -> tg.Tensor:
        return x * 2.0

    @tg.trace
    def outer(x: tg.Tensor, depth: int) -> tg.Tensor:
        return inner(x) if depth == 0 else inner(outer(x, depth - 1))

    for _ in range(3):
        for depth in (0, 2):
            x = vector(3)
            np.testing.assert_array_equal(outer(x, depth).numpy(), x.numpy() * 2.0 ** (depth + 1))
    assert outer.stats.replays == 4 and inner.stats.calls == 0


def test_what_an_exception_leaves_behind_is_what_python_leaves() -> None:
    class Stop(Exception):
        pass

    def make() -> tuple[Callable[[tg.Tensor, bool], tg.Tensor], dict[str, tg.Tensor]]:
        state = {"total": tg.zeros(3, dtype=tg.float64), "last": tg.zeros(3, dtype=tg.float64)}

        def f(x: tg.Tensor, stops: bool) -> tg.Tensor:
            total = state["total"]
            total += x
            state["last"] = x * 2.0
            if stops:
                raise Stop
            return state["last"] + total

        return f, state

    (eager, expected), (traced, found) = make(), make()
    traced = tg.trace(traced)
    for k, stops in enumerate((False, False, False, True, False, True, True, False)):
        outcomes = []
        for run in (eager, traced):
            try:
                outcomes.append(run(vector(3, seed=k), stops).numpy())
            except Stop:
                outcomes.append(np.empty(0))
        np.testing.assert_array_equal(*outcomes)
        for name in expected:
            np.testing.assert_array_equal(expected[name].numpy(), found[name].numpy())
    assert traced.stats.replays >= 3       # type: ignore[attr-defined]


# ---- many threads, few paths ---------------------------------------------------------------------------------------


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def is_exact(f: Any, calls: int) -> None:
    """Was every call counted, once?"""
    stats = f.stats
    assert stats.calls == calls == stats.replays + stats.follows + stats.eager_calls + stats.new_paths
    assert stats.new_paths <= stats.recordings


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("limits", [tg.Limits(), tg.Limits(paths=3), tg.Limits(unused=2), tg.Limits(kernels=2)],
                         ids=["wide", "paths", "unused", "kernels"])
def test_threads_record_graft_and_evict(limits: tg.Limits, eager_switches: None,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call takes one of many paths, of its own shape and length; the paths come and go."""
    monkeypatch.setattr(limits_module, "FIRST_WAIT", 3)
    scale = vector(1, seed=7)

    def steps(x: tg.Tensor, most: float) -> tg.Tensor:
        while (x * x).sum() < most:
            x = x * 2.0
        return x * scale if x.sum() > 0 else x - scale

    f = tg.trace(limits=limits)(steps)

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(50):
            x = tg.tensor(rng.standard_normal(1 + int(rng.integers(4))))
            most = 4.0 ** int(rng.integers(4))
            np.testing.assert_array_equal(f(x, most).numpy(), steps(x, most).numpy())

    in_threads(4, work)
    is_exact(f, 200)
    in_threads(4, work)
    is_exact(f, 400)


def test_threads_forget_while_others_call(eager_switches: None) -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.tanh(x) + x.sum()

    def work(number: int) -> None:
        for k in range(60):
            if number == 0 and k % 10 == 9:
                f.reset()
            x = vector(1 + k % 3, seed=number * 100 + k)
            np.testing.assert_allclose(f(x).numpy(), f.eager(x).numpy(), 1e-12)
            if number == 1 and k % 7 == 0:
                str(f.explain())

    in_threads(4, work)


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_errors_interrupt_no_count(eager_switches: None) -> None:
    seen: list[int] = []

    def look(v: tg.Tensor) -> None:
        seen.append(1)
        if v.item() > 6.0:
            raise ArithmeticError

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        if x.sum() < -6.0:
            raise ValueError
        tg.debug.callback(look, x.sum())
        return x * 2.0

    def work(number: int) -> None:
        for k in range(40):
            x = tg.full((2,), float((number + k) % 9 - 4))
            try:
                assert f(x).tolist() == [2.0 * v for v in x.tolist()]
                assert -6.0 <= x.sum().item() <= 6.0
            except ValueError:
                assert x.sum().item() < -6.0
            except ArithmeticError:
                assert x.sum().item() > 6.0

    in_threads(4, work)
    is_exact(f, 160)
    assert len(seen) == sum((number + k) % 9 > 0 for number in range(4) for k in range(40))


def test_each_thread_has_modes_of_its_own(eager_switches: None) -> None:
    runs: list[str] = []

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.log(x)

    f(tg.ones(2))

    def work(number: int) -> None:
        for _ in range(20):
            if number == 0:
                with tg.eager():
                    f(-tg.ones(2))
            elif number == 1:
                with tg.autograd.detect_anomaly(), pytest.raises(tg.autograd.AnomalyError):
                    f(-tg.ones(2))
            else:
                assert np.isnan(f(-tg.ones(2)).numpy()).all()
        runs.append("done")

    in_threads(4, work)
    assert len(runs) == 4 and f.stats.calls == 61
    is_exact(f, 61)
