"""Signals in a long run: polls stand where leaving changes nothing, handlers run there, what they raise is raised."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from codegen.ir.types import TensorType
from codegen.llvm_cpu import encode, entry
from codegen.llvm_cpu.driver import POLL
from codegen.llvm_cpu.interruptions import POLL_SECONDS, poll_text
from codegen.llvm_cpu.link import compile_object, link
from codegen.llvm_cpu.runtime import runtime
from codegen.schedule.blocks import program_of_plan
from codegen.schedule.kernel import Axis, Kernel, Param, Pass
from codegen.schedule.plan import Arena, Buffer, Input, Launch, Output, Plan

N = 64
TYPE = TensorType("f32", (N,))
COPIES, SIGNALS = (Kernel((Param("f32", N, "in"), Param("f32", N, "out")), (Axis(name, N),), (Pass((), ()),), None, 32)
                   for name in "ij")
TEXT = f"""
declare i32 @getpid()
declare i32 @kill(i32, i32)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @copies(ptr %buffers, i64 %first, i64 %last, ptr %failed) {{
  %y.at = getelementptr ptr, ptr %buffers, i64 1
  %x = load ptr, ptr %buffers
  %y = load ptr, ptr %y.at
  call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %x, i64 {4 * N}, i1 false)
  ret void
}}
define void @signals(ptr %buffers, i64 %first, i64 %last, ptr %failed) {{
  call void @copies(ptr %buffers, i64 %first, i64 %last, ptr %failed)
  %begins = icmp eq i64 %first, 0
  br i1 %begins, label %tell, label %out
tell:
  %self = call i32 @getpid()
  %ignored = call i32 @kill(i32 %self, i32 {signal.SIGUSR1.value})
  br label %out
out:
  ret void
}}
"""
ROOT = Path(__file__).parents[3]


class Heard(Exception):
    """What the handler raises."""


@pytest.fixture
def handled() -> Iterator[list[bool | None]]:
    """Of each signal handled, was it in the main thread? The handler raises if None is first. A poll is due."""
    calls: list[bool | None] = []

    def handler(number: int, frame: object) -> None:
        calls.append(threading.current_thread() is threading.main_thread())
        if calls[0] is None:
            raise Heard

    before = signal.signal(signal.SIGUSR1, handler)
    time.sleep(1.2 * POLL_SECONDS)
    yield calls
    signal.signal(signal.SIGUSR1, before)


def row(place: Input | Output | Arena) -> Buffer:
    return Buffer("f32", N, place)


def chain(last: Input | Output) -> Plan:
    """x -> arena, with a signal -> arena -> the last."""
    at = (row(Input(0)), row(Arena(0)), row(Arena(4 * N)), row(last))
    steps = (Launch(SIGNALS, (0, 1)), Launch(COPIES, (1, 2)), Launch(COPIES, (2, 3)))
    types, aliases = ((TYPE,), ()) if isinstance(last, Output) else ((TYPE, TYPE), ((0, 1),))
    return Plan(types, (TYPE,), aliases, at, steps, 8 * N)


def ready(plan: Plan) -> tuple[entry.Run, np.ndarray]:
    """The run of a plan, and its words."""
    found = link(compile_object(TEXT), ["copies", "signals"])
    words = encode.encode(program_of_plan(plan), {id(COPIES): found["copies"], id(SIGNALS): found["signals"]},
                            runtime().symbols, runtime().blas)
    return entry.make_run(words, plan.arena_bytes, runtime().symbols), words.words


@pytest.mark.parametrize("last", [Input(1), Output(0)])
def test_what_a_handler_raises_ends_the_run_with_nothing_written(handled: list, last: Input | Output) -> None:
    run, _ = ready(chain(last))
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    handled.append(None)
    with pytest.raises(Heard):
        run((x, y))
    assert not y.any()
    assert len(handled) > 1
    handled[:] = [False]
    assert run((x, y)) == -1
    np.testing.assert_array_equal(y, x)


def test_a_handler_that_raises_nothing_runs_and_the_run_goes_on(handled: list) -> None:
    run, _ = ready(chain(Output(0)))
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    assert run((x, y)) == -1
    assert handled
    np.testing.assert_array_equal(y, x)


def test_handlers_are_left_to_the_main_thread(handled: list) -> None:
    run, _ = ready(chain(Output(0)))
    x, y = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    results: list[int] = []
    other = threading.Thread(target=lambda: results.append(run((x, y))))
    other.start()
    other.join()
    assert results == [-1]
    assert handled == [True]


def test_no_poll_follows_a_write_that_can_be_seen() -> None:
    """The last but one step writes an input: of the three launches only the first is followed by a poll."""
    plan = Plan((TYPE, TYPE), (TYPE, TYPE), ((0, 1),), (row(Input(0)), row(Arena(0)), row(Input(1)), row(Output(0))),
                (Launch(COPIES, (0, 1)), Launch(COPIES, (1, 2)), Launch(COPIES, (0, 3))), 4 * N)
    _, words = ready(plan)
    addresses = np.flatnonzero(words == words[5])
    assert [int(words[at + 5]) == POLL for at in addresses] == [True, False, False]


def test_other_interpreters_and_systems_never_poll() -> None:
    for text in (poll_text("pypy", 1), poll_text("cpython", None)):
        assert "PyErr" not in text
        caller = "define i1 @polls() {\n%found = call i1 @poll()\nret i1 %found\n}\n"
        assert "polls" in link(compile_object(text + caller), ["polls"])


CTRL_C = """
import os, signal, threading, time
import numpy as np
import tracegrad as tg

signal.signal(signal.SIGINT, signal.default_int_handler)        # a shell may have made it ignored

@tg.trace
def f(x, state):
    y = x
    for _ in range(40):
        y = tg.cumsum(tg.tanh(y), 0) * 1e-6         # no other step fits into one kernel with this
    state.add_(y.sum() + 1.0)
    return y

x, state = tg.tensor(np.ones(1_000_000)), tg.tensor(0.0)
while not f.stats.replays:
    start = time.perf_counter()
    f(x, state)
before = state.item()
threading.Timer((time.perf_counter() - start) / 4, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    f(x, state)
    print("went on")
except KeyboardInterrupt:
    print(state.item() == before)
f(x, state)
print(state.item() != before)
"""


def test_ctrl_c_ends_a_long_call_and_leaves_nothing_behind() -> None:
    found = subprocess.run([sys.executable, "-c", CTRL_C], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                           capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ["True", "True"]
