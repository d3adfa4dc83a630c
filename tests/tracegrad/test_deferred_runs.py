"""Deferred runs: the program of a recorded run computes what the run put off, and nothing else can be seen of that."""
from __future__ import annotations

import os
import signal
import weakref
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError
from tracegrad import deferred_runs, pipeline, runs
from tracegrad.deferred_work import Work
from tracegrad.made import Made
from tracegrad.outside import QUIET
from tracegrad.pending import Pending
from tracegrad.recorder import Recorder
from tracegrad.tensors import FOLLOWERS

N = 70_000      # elements of 4 bytes: large


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    yield
    assert not FOLLOWERS


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of steps that NumPy has computed, one for each time."""
    counts: list[int] = []
    interpret = Work.interpret

    def counting(self: Work, inputs: Any, arrays: Any) -> None:
        counts.append(self.path[-1].computing)
        interpret(self, inputs, arrays)

    monkeypatch.setattr(Work, "interpret", counting)
    return counts


def large(seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).standard_normal(N).astype(np.float32))


def test_the_program_computes_the_first_call(interpreted: list[int]) -> None:
    w = tg.nn.Parameter(large(1))

    @tg.trace(strict=True)
    def step(x: tg.Tensor) -> tg.Tensor:
        w.grad = None
        loss = ((w * x).tanh() ** 2).mean()
        loss.backward()
        with tg.no_grad():
            w.sub_(0.1 * w.grad)
        return loss

    def eager(x: np.ndarray, w: np.ndarray) -> tuple[Any, np.ndarray]:
        y = np.tanh(w * x)
        return (y ** 2).mean(), w - 0.1 * (2 / N * y * (1 - y * y) * x)

    x, before = large(2), w.detach().numpy().copy()
    for _ in range(3):
        memory = w.detach().numpy().__array_interface__["data"]
        loss = step(x)
        wanted, before = eager(x.numpy(), before)
        np.testing.assert_allclose(loss.item(), wanted, rtol=1e-5)
        np.testing.assert_allclose(w.detach().numpy(), before, rtol=1e-5, atol=1e-7)
        assert w.detach().numpy().__array_interface__["data"] == memory
    assert step.stats.replays == 2 and not interpreted


def test_a_result_has_its_history(interpreted: list[int]) -> None:
    x = large().requires_grad_()

    @tg.trace(strict=True)
    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        y = tg.exp(x * 0.5)
        return y, y.sum()

    for _ in range(2):
        x.grad = None
        y, total = f(x)
        assert type(y.held) is np.ndarray and type(y) is tg.Tensor
        total.backward()
        np.testing.assert_allclose(x.grad.numpy(), 0.5 * np.exp(0.5 * x.detach().numpy()), rtol=1e-5)
    assert not interpreted


@pytest.mark.parametrize("kind", ["Tensor", "Pending"])
def test_what_something_else_holds_is_computed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def holding(self: deferred_runs.DeferredRun, root: Any, tensors: Any, recorder: Recorder) -> None:
        sine = made.pop(0)
        assert type(sine.held) is Pending and sine.held.step.op == "sin"
        made.clear()
        others.append(sine if kind == "Tensor" else sine.held)
        del sine
        replay(self, root, tensors, recorder)

    def making(self: deferred_runs.DeferredRun, *of_op: Any) -> Any:
        made.append(defer(self, *of_op))
        return made[-1]

    for one in (holding, making):           # code of the user's that nobody knew ends the deferring
        one.__code__ = one.__code__.replace(co_filename=deferred_runs.__file__)
    made: list[Any] = []
    others: list[Any] = []
    replay, defer = deferred_runs.DeferredRun.replay, deferred_runs.DeferredRun.defer
    monkeypatch.setattr(deferred_runs.DeferredRun, "replay", holding)
    monkeypatch.setattr(deferred_runs.DeferredRun, "defer", making)
    x = large()
    result = tg.trace(lambda x: tg.sin(x) * 2.0 + 1.0)(x)
    np.testing.assert_array_equal(others[0].array, np.sin(x.numpy()))
    np.testing.assert_array_equal(result.numpy(), np.sin(x.numpy()) * 2 + 1)


def test_a_look_computes_what_came_before_it(interpreted: list[int]) -> None:
    seen: list[str] = []

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2.0
        seen.append(repr(y[:2]))
        return y + 1.0

    x = large()
    with pytest.warns(tg.NotReplayed):
        result = tg.trace(f)(x)
    assert seen == [repr(x[:2] * 2.0)] and interpreted
    np.testing.assert_array_equal(result.numpy(), x.numpy() * 2 + 1)


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("way", ["captured", "handed out", "made", "unpredicted"])
def test_memory_that_others_write_is_read_at_its_line(way: str) -> None:
    array = np.full(N, 2.0, np.float32)
    x = tg.from_numpy(array)

    def write() -> None:
        array[:] = 5.0

    found = weakref.ref(write)

    def captured(x: tg.Tensor) -> Any:
        y = x * 2.0
        array[:] = 5.0
        return y, x * 2.0

    def handed_out(x: tg.Tensor) -> Any:
        c = tg.ones(N)
        view = c.numpy()
        y = c * 2.0 + x
        view[:] = 3.5
        return y - x, c * 2.0 + x

    def made(x: tg.Tensor) -> Any:
        fresh = np.full(N, 2.0, np.float32)
        t = tg.from_numpy(fresh)
        y = t * 2.0 + x - x
        fresh[:] = 5.0
        return y, t * 2.0

    def unpredicted(x: tg.Tensor) -> Any:
        y = x * 2.0
        found()()
        return y, x * 2.0

    call = {"captured": captured, "handed out": handed_out, "made": made, "unpredicted": unpredicted}[way]
    first = 2.0 if way == "handed out" else 4.0
    for _ in range(2):
        array[:] = 2.0
        before, after = tg.trace(call)(x)
        assert before.numpy()[[0, -1]].tolist() == [first] * 2
        assert after.numpy()[[0, -1]].tolist() == ([9.0] if way == "handed out" else [10.0]) * 2


def test_what_is_handed_out_of_a_constant_is_not_replayed() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        c = tg.ones(3)
        c.numpy()[:] = 3.0
        return c * x

    with pytest.warns(tg.Followed, match="used after its memory was handed out"):
        assert [f(tg.ones(3)).tolist() for _ in range(3)] == [[3.0] * 3] * 3


def test_memory_of_others_that_was_saved_may_be_written_after_the_call() -> None:
    array = np.full(N, 3.0, np.float32)
    x, w = tg.from_numpy(array), large().requires_grad_()
    traced = tg.trace(lambda x: (x * w).sum())
    total = traced(x)
    array[:] = 7.0
    again = traced(x)
    array[:] = 9.0
    for number, of in ((3.0, total), (7.0, again)):
        w.grad = None
        of.backward()
        assert w.grad.numpy()[[0, -1]].tolist() == [number] * 2


def test_what_another_thread_saves_is_copied_at_once() -> None:
    run = deferred_runs.DeferredRun()
    run.alone_writes = True
    FOLLOWERS.append(run)               # as if it had begun in another thread
    array = np.full(N, 3.0, np.float32)
    x, w = tg.from_numpy(array), large().requires_grad_()
    with run:
        total = (x * w).sum()
        array[:] = 7.0
    total.backward()
    assert w.grad.numpy()[[0, -1]].tolist() == [3.0, 3.0]


def test_code_that_was_not_predicted_meets_plain_tensors() -> None:
    kinds: list[type] = []
    def look(y: tg.Tensor) -> None:
        kinds.extend((type(y), type(y * 2.0)))

    found = weakref.ref(look)

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2.0
        found()(y)
        return y

    with pytest.warns(tg.NotReplayed):
        tg.trace(f)(large())
    assert kinds == [tg.Tensor] * 2


def test_an_error_leaves_what_came_before_it() -> None:
    w = large()
    before = w.numpy().copy()

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        w.add_(x)
        return x.reshape(3, 5)

    x = large(1)
    with pytest.raises(TypeRuleError, match="reshape"):
        f(x)
    np.testing.assert_array_equal(w.numpy(), before + x.numpy())


MOMENTS = {"the Python": (runs, "_run"), "the reads": (runs, "read_set"),
           "the compiling": (pipeline, "grafted"), "the program": (Made, "tensor"),
           "the giving": (deferred_runs, "put_array")}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_loses_no_write_and_does_none_twice(moment: str, heard: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressing(*of: Any, **more: Any) -> Any:
        result = original(*of, **more)
        os.kill(os.getpid(), signal.SIGINT)
        return result

    w = large(1)
    before = w.numpy().copy()
    owner, name = MOMENTS[moment]
    original = getattr(owner, name)

    @tg.trace
    def step(x: tg.Tensor) -> tg.Tensor:
        w.add_(x * 0.5)
        return tg.exp(w)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, pressing)
        step(large(2))
    once = before + large(2).numpy() * np.float32(0.5)
    np.testing.assert_array_equal(w.numpy(), once)
    for _ in range(3):
        once = once + large(2).numpy() * np.float32(0.5)
        np.testing.assert_allclose(step(large(2)).numpy(), np.exp(once), rtol=1e-5)
        np.testing.assert_array_equal(w.numpy(), once)
    assert step.stats.replays >= 2


def test_the_watch_pauses_where_no_code_of_the_users_can_run() -> None:
    class Loud(tg.Tensor):
        __slots__ = ()

        def __add__(self, other: Any) -> tg.Tensor:
            return tg.ones(1)

    quiet = tg.nn.Parameter
    assert {tg.Tensor, quiet} <= QUIET
    assert Loud not in QUIET
