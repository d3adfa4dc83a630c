"""Debuggers, coverage and profilers work while a function records and replays, and see plain Python under tg.eager."""
from __future__ import annotations

import bdb
import cProfile
import inspect
import io
import pdb
import pstats
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

FILE = __file__


def vector(seed: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).integers(-8, 8, 3).astype(float))


def make() -> Any:
    def helper(y: tg.Tensor) -> tg.Tensor:
        z = y * 2.0
        return z + 1.0          # in helper

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        y = helper(x)
        total = y.sum()         # in f
        return total

    return f


def line_of(text: str) -> int:
    lines, first = inspect.getsourcelines(make)
    return next(k for k, line in enumerate(lines, first) if text in line)


OWN = ("f", "helper")


@pytest.fixture(autouse=True)
def hooks_restored() -> Iterator[None]:
    """Whatever watches this process, coverage say, goes on after each test."""
    trace, profile = sys.gettrace(), sys.getprofile()
    yield
    sys.settrace(trace)
    sys.setprofile(profile)


def test_a_line_tracer_sees_the_recording_and_stays() -> None:
    f, seen = make(), []

    def tracer(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename == FILE and frame.f_code.co_name in OWN:
            seen.append((event, frame.f_code.co_name, frame.f_lineno))
            return tracer
        return None

    sys.settrace(tracer)
    try:
        results = [f(vector(k)).item() for k in range(4)]
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(None)
    assert results == [f.eager(vector(k)).item() for k in range(4)]
    assert f.stats.replays == 3
    assert [name for event, name, _ in seen if event == "call"] == ["f", "helper"]
    assert ("line", "helper", line_of("in helper")) in seen and ("line", "f", line_of("in f")) in seen


def test_a_profile_function_gets_every_event_of_the_recording() -> None:
    expected: list[tuple[str, str]] = []
    found: list[tuple[str, str]] = []
    f = make()

    def into(events: list) -> Callable:
        def profile(frame: FrameType, event: str, arg: Any) -> None:
            if frame.f_code.co_filename == FILE and frame.f_code.co_name in OWN and event in ("call", "return"):
                events.append((event, frame.f_code.co_name))
        return profile

    sys.setprofile(into(expected))
    f.eager(vector(0))
    sys.setprofile(mine := into(found))
    f(vector(0))
    assert sys.getprofile() is mine
    recorded = list(found)
    f(vector(1))
    sys.setprofile(None)
    assert recorded == expected == found and f.stats.replays == 1


def test_a_profiler_in_c_goes_on_after_the_recording() -> None:
    f, profiler = make(), cProfile.Profile()

    def after() -> float:
        return sum(range(100))

    profiler.enable()
    for k in range(4):
        f(vector(k))
    after()
    profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).print_stats()
    assert "(after)" in text.getvalue() and "(in_python)" in text.getvalue()
    assert f.stats.replays == 3
    assert profiler.runcall(f, vector(5)).item() == f.eager(vector(5)).item() and f.stats.replays == 4


def test_profilers_of_threads() -> None:
    f, events = make(), []

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if frame.f_code.co_filename == FILE and frame.f_code.co_name in OWN and event == "call":
            events.append(frame.f_code.co_name)

    threading.setprofile(profile)
    try:
        thread = threading.Thread(target=lambda: [f(vector(k)) for k in range(3)])
        thread.start()
        thread.join()
    finally:
        threading.setprofile(None)      # type: ignore[arg-type]
    assert events == ["f", "helper"] and f.stats.replays == 2


class Stepper(bdb.Bdb):
    """Steps through everything, and notes the lines of this file."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def user_line(self, frame: FrameType) -> None:
        if frame.f_code.co_filename == FILE and frame.f_code.co_name in OWN:
            self.seen.append((frame.f_code.co_name, frame.f_lineno))
        self.set_step()


class Breaker(bdb.Bdb):
    """Goes from breakpoint to breakpoint, and notes what it finds there."""

    def __init__(self) -> None:
        super().__init__()
        self.hits: list[tuple[str, dict[str, str]]] = []

    def user_line(self, frame: FrameType) -> None:
        if frame.f_code.co_name in OWN:
            self.hits.append((frame.f_code.co_name, {name: str(value) for name, value in frame.f_locals.items()}))
        self.set_continue()


def test_steps_under_eager_are_those_of_plain_python() -> None:
    f = make()
    for k in range(3):
        f(vector(k))
    plain, eager = Stepper(), Stepper()
    plain.runcall(f.eager, vector(0))
    with tg.eager():
        eager.runcall(f, vector(0))
    assert plain.seen == eager.seen and len(plain.seen) == 5
    recording, replay = Stepper(), Stepper()
    recording.runcall(make(), vector(0))
    replay.runcall(f, vector(0))
    assert recording.seen == plain.seen and replay.seen == []
    assert f.stats.replays == 3


def test_breakpoints_under_eager_stop_in_every_call() -> None:
    f = make()
    for k in range(3):
        f(vector(k))
    debugger = Breaker()
    debugger.set_break(FILE, line_of("in helper"))
    debugger.set_break(FILE, line_of("in f"))
    with tg.eager():
        for k in range(2):
            debugger.runcall(f, vector(k))
    assert [name for name, _ in debugger.hits] == ["helper", "f"] * 2
    assert debugger.hits[2][1] == {"y": str(vector(1)), "z": str(vector(1) * 2.0)}
    debugger.hits.clear()
    debugger.runcall(f, vector(0))          # a replay runs no Python: there is nothing to stop at
    assert debugger.hits == [] and f.stats.replays == 3


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_a_breakpoint_in_a_recording_shows_values_and_changes_no_result() -> None:
    f, debugger = make(), Breaker()
    debugger.set_break(FILE, line_of("in helper"))
    for k in range(2):
        assert debugger.runcall(f, vector(k)).item() == f.eager(vector(k)).item()
    assert debugger.hits[0][1]["z"] == str(vector(0) * 2.0)
    debugger.clear_all_breaks()
    for k in range(8):
        assert f(vector(k)).item() == f.eager(vector(k)).item()
    assert f.stats.replays >= 1             # the debugger read values: that run was not replayed, later ones are


def test_pdb_by_a_script() -> None:
    f = make()
    f(vector(0)), f(vector(1))
    script = [f"break {FILE}:{line_of('in f')}", "continue", "p total if 'total' in dir() else 'not yet'",
              "p x.tolist()", "next", "p total.item()", "continue", ""]
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("\n".join(script)), stdout=out, nosigint=True, readrc=False)
    debugger.use_rawinput = False
    with tg.eager():
        result = debugger.runcall(f, vector(2))
    text = out.getvalue()
    assert "'not yet'" in text and str(vector(2).tolist()) in text and str(result.item()) in text
    assert f.stats.calls == 2


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_breakpoint_calls_run_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda *args, **kwargs: stops.append(sys._getframe(1).f_code.co_name))

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2.0
        breakpoint()
        return y

    for k in range(3):
        assert f(vector(k)).tolist() == (vector(k) * 2.0).tolist()
    with tg.eager():
        f(vector(3))
    assert stops == ["f"] * 4 and f.stats.replays == 0


def test_a_kept_call_can_be_stepped_through() -> None:
    f = tg.trace(keep=2)(make().eager)
    for k in range(4):
        f(vector(k))
    debugger = Breaker()
    debugger.set_break(FILE, line_of("in f"))
    assert debugger.runcall(f.rerun, -2).item() == f.eager(vector(2)).item()
    (name, values), = debugger.hits
    assert (name, values["x"], values["y"]) == ("f", str(vector(2)), str(vector(2) * 2.0 + 1.0))
