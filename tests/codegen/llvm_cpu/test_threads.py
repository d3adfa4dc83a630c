"""The pool covers every chunk once, whatever the number of threads, from several callers, and in a forked child."""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from codegen.llvm_cpu.link import compile_object, link
from codegen.llvm_cpu.pool import MASK_BYTES, SYSTEM_CALLS, pool_text
from codegen.llvm_cpu.threads import ThreadCount, default_count, get_num_threads, set_num_threads

ENTRY = """
; call @launch from outside the module
define void @go(ptr %kernel, ptr %buffers, i64 %chunks) nounwind {
  call void @launch(ptr %kernel, ptr %buffers, i64 %chunks, ptr null)
  ret void
}
; each chunk adds 1 to its element of the buffer, after some work
define void @count(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {
entry:
  %counts = load ptr, ptr %buffers
  br label %loop
loop:
  %chunk = phi i64 [ %first, %entry ], [ %next, %after ]
  br label %busy
busy:
  %turn = phi i64 [ 0, %loop ], [ %turn.next, %busy ]
  %turn.next = add i64 %turn, 1
  fence seq_cst
  %again = icmp ult i64 %turn.next, 20
  br i1 %again, label %busy, label %after
after:
  %at = getelementptr i32, ptr %counts, i64 %chunk
  %old = load i32, ptr %at
  %new = add i32 %old, 1
  store i32 %new, ptr %at
  %next = add i64 %chunk, 1
  %more = icmp ult i64 %next, %last
  br i1 %more, label %loop, label %out
out:
  ret void
}
"""
SYSTEM, MACHINE = os.uname().sysname, os.uname().machine


class Pool:
    """A pool of its own, with the counting kernel."""

    def __init__(self, text: str, imports: Mapping[str, int] | None = None):
        symbols = link(compile_object(text + ENTRY), ["go", "count", "set_helpers", "reset_pool"], imports)
        self.kernel = symbols["count"]
        self.go = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(symbols["go"])
        self.set_helpers = ctypes.CFUNCTYPE(None, ctypes.c_int)(symbols["set_helpers"])
        self.reset = ctypes.CFUNCTYPE(None)(symbols["reset_pool"])

    def covers(self, chunks: int) -> bool:
        """Does a launch run every chunk once?"""
        counts = np.zeros(chunks + 1, np.int32)
        buffers = (ctypes.c_void_p * 1)(counts.ctypes.data)
        self.go(self.kernel, ctypes.addressof(buffers), chunks)
        return bool(np.all(counts[:-1] == 1)) and counts[-1] == 0


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(pool_text(SYSTEM, MACHINE))
    yield pool
    pool.set_helpers(0)


@pytest.mark.parametrize("helpers", [0, 1, 3, 8, 2])
@pytest.mark.parametrize("chunks", [1, 2, 7, 100, 5000])
def test_every_chunk_runs_once(pool: Pool, helpers: int, chunks: int) -> None:
    pool.set_helpers(helpers)
    for _ in range(50):
        assert pool.covers(chunks)


def test_more_chunks_than_a_ticket_counts(pool: Pool) -> None:
    pool.set_helpers(2)
    for chunks in ((1 << 19) - 1, 1 << 19, (1 << 19) + 1, 3_000_001):
        assert pool.covers(chunks)


def test_several_callers_at_once(pool: Pool) -> None:
    pool.set_helpers(2)
    results: list[bool] = []

    def call() -> None:
        results.extend(pool.covers(64) for _ in range(300))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [True] * 1200


def test_helpers_come_back_after_a_pause(pool: Pool) -> None:
    pool.set_helpers(2)
    asleep = threading.Event()
    for _ in range(20):
        assert pool.covers(100)
        asleep.wait(0.002)


class PlacedPool(Pool):
    """A pool that is told where this thread is and which processors it has; `placed`: where a helper was put."""

    def __init__(self, here: int, processors: set[int], refuses: bool = False):
        self.placed: list[set[int]] = []
        mask = sum(1 << k for k in processors).to_bytes(MASK_BYTES, sys.byteorder)

        def getaffinity(_: int, size: int, place: int) -> int:
            ctypes.memmove(place, mask, size)
            return 0

        def setaffinity(thread: int, size: int, place: int) -> int:
            number = int.from_bytes(ctypes.string_at(place, size), sys.byteorder)
            assert thread in map(int, os.listdir("/proc/self/task"))
            assert thread != threading.get_native_id()
            self.placed.append({k for k in range(8 * size) if number >> k & 1})
            return -refuses

        number, place = ctypes.c_int, (ctypes.c_int, ctypes.c_int64, ctypes.c_void_p)
        self.system = {"getcpu": ctypes.CFUNCTYPE(number)(lambda: here),
                       "getaffinity": ctypes.CFUNCTYPE(number, *place)(getaffinity),
                       "setaffinity": ctypes.CFUNCTYPE(number, *place)(setaffinity)}
        text = pool_text(SYSTEM, MACHINE)
        for name in self.system:
            text = text.replace(f"@sched_{name}(", f"@told_{name}(")
        super().__init__(text, {f"told_{name}": ctypes.cast(function, ctypes.c_void_p).value or 0
                                for name, function in self.system.items()})

    def wakes(self, turns: int = 10) -> None:
        """Launches that find helpers asleep, at least one."""
        asleep = threading.Event()
        for _ in range(turns):
            assert self.covers(100)
            asleep.wait(0.01)


NEEDS_POOL = pytest.mark.skipif(SYSTEM != "Linux" or MACHINE not in SYSTEM_CALLS, reason="no pool on this system")


@NEEDS_POOL
@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("here", [0, 3, 1000])
def test_helpers_are_woken_elsewhere_and_may_run_everywhere_then(here: int, refuses: bool) -> None:
    pool = PlacedPool(here, {0, 3, 64, 1000}, refuses)
    pool.set_helpers(1)
    pool.wakes()
    assert pool.placed
    assert pool.placed == [{0, 3, 64, 1000} - {here}, {0, 3, 64, 1000}] * (len(pool.placed) // 2)
    pool.set_helpers(0)


@NEEDS_POOL
@pytest.mark.parametrize(("here", "processors"), [(5, {5}), (2000, {1, 5})])
def test_helpers_stay_where_no_other_processor_is_known(here: int, processors: set[int]) -> None:
    pool = PlacedPool(here, processors)
    pool.set_helpers(1)
    pool.wakes()
    assert pool.placed == []
    pool.set_helpers(0)


def child_succeeds(work) -> bool:
    """Fork; does `work()` give True in the child, within the time of an alarm?"""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os._exit(0 if work() else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("reset", [False, True])
def test_a_forked_child_completes(pool: Pool, reset: bool) -> None:
    pool.set_helpers(2)
    assert pool.covers(100)

    def work() -> bool:
        if reset:
            pool.reset()
        return all(pool.covers(100) for _ in range(100))

    assert child_succeeds(work)
    assert pool.covers(100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_in_the_middle_of_a_launch_completes(pool: Pool) -> None:
    pool.set_helpers(2)
    stop = threading.Event()

    def keep_launching() -> None:
        while not stop.is_set():
            pool.covers(20_000)

    other = threading.Thread(target=keep_launching)
    other.start()
    try:
        for reset in (False, True) * 5:
            assert child_succeeds(lambda reset=reset: (not reset or pool.reset() is None) and pool.covers(100))
    finally:
        stop.set()
        other.join()


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Windows", "AMD64"), ("Linux", "armv7l")])
def test_without_futexes_a_launch_is_a_call(system: str, machine: str) -> None:
    text = pool_text(system, machine)
    assert "syscall" not in text
    pool = Pool(text)
    pool.set_helpers(3)
    assert pool.covers(1000)


@pytest.mark.parametrize("machine", SYSTEM_CALLS)
def test_a_text_for_every_machine(machine: str) -> None:
    text = pool_text("Linux", machine)
    assert "$" not in text
    assert ("@llvm.x86" in text) == (machine == "x86_64")


def test_the_number_of_threads() -> None:
    assert default_count({"TRACEGRAD_NUM_THREADS": "3"}) == 3
    assert default_count({}) == default_count({"TRACEGRAD_NUM_THREADS": " "}) >= 1
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(ValueError, match="TRACEGRAD_NUM_THREADS"):
            default_count({"TRACEGRAD_NUM_THREADS": wrong})
    told: list[int] = []
    count = ThreadCount(2)
    count.set(5)
    count.attach(told.append)
    count.set(1)
    assert told == [4, 0]
    assert count.get() == 1
    with pytest.raises(ValueError, match="at least 1"):
        count.set(0)


def test_the_number_of_threads_of_the_process() -> None:
    before = get_num_threads()
    try:
        set_num_threads(before + 1)
        assert get_num_threads() == before + 1
    finally:
        set_num_threads(before)


PROGRAM = """
import numpy as np
from codegen.llvm_cpu import encode, entry, threads
from codegen.llvm_cpu.runtime import runtime
threads.set_num_threads(4)
from codegen.schedule.blocks import program_of_plan
from codegen.schedule.plan import Buffer, Copy, Input, Output, Plan
from codegen.ir.types import TensorType
type = TensorType("f32", (1 << 20,))
buffers = Buffer("f32", 1 << 20, Input(0)), Buffer("f32", 1 << 20, Output(0))
plan = Plan((type,), (type,), (), buffers, (Copy(0, 1),), 0)
base = runtime()
run = entry.make_run(encode.encode(program_of_plan(plan), {}, base.symbols, base.blas), 0, base.symbols)
run((np.zeros(1 << 20, np.float32), np.zeros(1 << 20, np.float32)))
"""
"""Runs a launch with helpers."""


def ends_well(program: str) -> bool:
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}          # no threads but the main one and the helpers
    process = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], env=alone, timeout=60)
    return process.returncode == 0


def test_a_process_ends_while_helpers_are_busy_waiting() -> None:
    assert all(ends_well(PROGRAM) for _ in range(3))


@pytest.mark.skipif(not hasattr(signal, "sigwait"), reason="this system has no sigwait")
def test_helpers_take_no_signals() -> None:
    """One that the program blocks, to wait for it, would end the process in a thread that does not block it."""
    assert ends_well(PROGRAM + """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGUSR1)
assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
""")

