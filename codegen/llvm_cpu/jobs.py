"""jobs: LLVM texts that are compiled in threads, while Python goes on.

    job = submit(text, HOT)     a thread compiles it, while fewer than MOST others do so
    job.code()                  its object; who asks for one that nobody has begun with compiles it

1. A thread ends with its job, and the interpreter after its threads, so none is in LLVM when that is taken down, and
   what was compiled for a process that has ended meanwhile is kept for the next.
2. A fork waits for the jobs that have begun: a child, in which these threads are not, compiles the others itself.
"""
from __future__ import annotations

import os
import threading
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


def submit(text: str, level: int, keep: Callable[[bytes], None] = lambda code: None) -> Job:
    """A job that a thread will do; `keep` is called with the code."""
    job = Job(text, level, keep)
    try:
        threading.Thread(target=_do, args=(job,), name="tracegrad-compiler").start()
    except RuntimeError:
        pass                        # there are no more threads: who asks for the code compiles it
    return job


_turns = threading.Semaphore(MOST)


def _do(job: Job) -> None:
    with _turns:
        job.run()


def _before_fork() -> None:
    for _ in range(MOST):
        _turns.acquire()


def _after_fork() -> None:
    _turns.release(MOST)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
