"""jobs: LLVM texts that are compiled in threads, while Python goes on.

    job = submit(text, HOT)     threads compile what was submitted, MOST at a time
    job.code()                  its object; who asks for one that nobody has begun with compiles it
    begin(work)                 a thread does it
    begin_later(work)           a thread does it that lets others have the processors first

1. A thread ends when there is nothing to do, and the interpreter after its threads, so none is in LLVM when that is
   taken down, and what was compiled for a process that has ended meanwhile is kept for the next.
2. A fork waits for the jobs that have begun: a child, in which these threads are not, compiles the others itself.
"""
from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable

from codegen.llvm_cpu.link import LinkError, compile_object

MOST = 4 if (os.cpu_count() or 1) > 4 else 2
"""So many threads compile at a time."""


class Job:
    """A text that is to be compiled; whoever does it has its code kept."""

    def __init__(self, text: str, level: int, keep: Callable[[bytes], None]):
        self._text, self._level, self._keep = text, level, keep
        self._begun, self._done = threading.Lock(), threading.Event()
        self._code: bytes | Exception = LinkError("compiling was interrupted")

    def run(self) -> None:
        """Compile it, unless that has begun."""
        if self._begun.acquire(blocking=False):
            try:
                self._code = code = compile_object(self._text, self._level)
                self._keep(code)
            except Exception as error:  # noqa: BLE001 - it is for whoever asks
                self._code = error
            finally:
                self._done.set()

    @property
    def is_done(self) -> bool:
        """Need nobody wait for it?"""
        return self._done.is_set()

    def code(self) -> bytes:
        """The object code, as soon as there is one; what compile_object raises."""
        self.run()
        self._done.wait()
        if isinstance(self._code, Exception):
            raise self._code
        return self._code


def submit(text: str, level: int, keep: Callable[[bytes], None] = lambda code: None, later: bool = False) -> Job:
    """A job that a thread will do; `keep` is called with the code. `later`: nobody waits for it."""
    job = Job(text, level, keep)
    if later:
        begin_later(lambda: run_later(job.run))
        return job
    _to_do.append(job.run)
    with _counting:
        if len(_threads) == MOST:       # to start one takes as long as to write several texts
            return job
        thread = _thread(_work)
        _threads.add(thread)
    if not _starts(thread):             # then who asks for the code compiles it
        _threads.discard(thread)
    return job


def begin(work: Callable[[], object]) -> None:
    """Have a thread do this, unless there are no more threads."""
    _starts(_thread(lambda: run_in_turn(work)))


def begin_later(work: Callable[[], object]) -> threading.Thread | None:
    """Have a thread do this when the processors have nothing better to do; None if there are no more threads."""
    def do() -> None:
        _give_way()
        work()

    thread = _thread(do)
    return thread if _starts(thread) else None


def run_in_turn(work: Callable[[], object]) -> None:
    """Do it when fewer than MOST threads compile."""
    with _turns:
        work()


def run_later(work: Callable[[], object]) -> None:
    """Do it when no other thread does what nobody waits for."""
    with _later:
        work()


def _give_way() -> None:
    """Calls that run meanwhile use all processors: those of a transformer took 50 to 70 ms, and take 30 to 47."""
    if sys.platform == "linux":         # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


NICENESS = 10
"""A tenth of a processor is left to a thread where all are busy."""

_turns = threading.Semaphore(MOST)
_later = threading.Lock()
_to_do: deque[Callable[[], None]] = deque()
_threads: set[threading.Thread] = set()
_counting = threading.Lock()


def _thread(work: Callable[[], object]) -> threading.Thread:
    return threading.Thread(target=work, name="tracegrad-compiler")


def _starts(thread: threading.Thread) -> bool:
    """Start it; False if there are no more threads."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def _work() -> None:
    """Do what there is to do."""
    while True:
        try:
            run_in_turn(_to_do.popleft())
        except IndexError:
            with _counting:
                if not _to_do:          # whoever submits from now on starts another thread
                    _threads.discard(threading.current_thread())
                    return


def _before_fork() -> None:
    _later.acquire()
    for _ in range(MOST):
        _turns.acquire()
    _counting.acquire()


def _after_fork() -> None:
    _counting.release()
    _turns.release(MOST)
    _later.release()


def _after_fork_in_child() -> None:
    _threads.clear()
    _to_do.clear()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
