"""workers: what may crash, or not be in this process at all, runs in processes of its own that are asked by pipe.

    pool.answers([question, ...])   ->   [answer, WorkerDied("it ended with signal 11: ..."), ...]

1. A worker that dies is an answer, not an end: another takes its place.
2. No worker outlives this process, and one that nobody asks for a while ends by itself.
3. Who is interrupted while it waits leaves no worker with half a question: those end.
4. A forked child has no workers; it starts its own when it asks.
5. What a worker leaves in its folder for temporary files goes with it, however it ends.
"""
from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

SECONDS = 600.0
"""So long a worker may take for one answer."""

LAST_WORDS = 2000
"""So many of the last characters that a process wrote are told when it dies."""


class WorkerDied(Exception):
    """A worker ended, or was ended, before it answered; the message says how, and what it last wrote.

    `unasked`: it ended by itself, since it had waited for too long: it may not have seen the question.
    """

    unasked = False


class Worker:
    """A process that runs `script`, which gets the number of its end of a pipe as its argument."""

    def __init__(self, script: Path, environment: dict[str, str]):
        self._log = tempfile.TemporaryFile()
        self._folder = tempfile.mkdtemp(prefix="tracegrad-worker-")
        self.pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(script), str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                env=environment | {"TMPDIR": self._folder},
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
                process_group=0)                        # what interrupts this process is not meant for that one
        self.since = monotonic()

    def ask(self, question: Any) -> None:
        """Send it; OSError if the worker has ended."""
        self.pipe.send(question)
        self.since = monotonic()

    def answer(self) -> Any:
        """What it answers, or a WorkerDied; to be called once there is something to read."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return self.end()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> WorkerDied:
        """End it, unless it has ended; what is to be said of that."""
        self.pipe.close()
        try:
            code = self._process.wait(1)                # one whose pipe is closed is about to
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LAST_WORDS))
        said = self._log.read().decode(errors="replace").strip()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        how = f"it ended with signal {-code}" if code < 0 else f"it ended with code {code}"
        died = WorkerDied(f"{how}: {said}" if said else how)
        died.unasked = code == 0
        return died

    def kill(self) -> WorkerDied:
        """End it in the middle of what it does."""
        self._process.kill()
        return self.end()

    def forget(self) -> None:
        """In a forked child: leave the parent's process alone."""
        self.pipe.close()
        self._log.close()
        self._process.returncode = 0


class WorkerPool:
    """At most `most` workers that run `script`, started when there is something to ask."""

    def __init__(self, script: Path, environment: dict[str, str], most: int, seconds: float = SECONDS):
        self._script, self._environment, self._most, self._seconds = script, environment, most, seconds
        self._idle: list[Worker] = []
        self._lock = Lock()
        _POOLS.add(self)

    def answers(self, questions: Sequence[Any]) -> list[Any]:
        """The answer to each question, or the WorkerDied that it led to."""
        with self._lock:
            return self._answers(questions)

    def _answers(self, questions: Sequence[Any]) -> list[Any]:
        found: list[Any] = [None] * len(questions)
        again = set[int]()
        left, busy = list(reversed(range(len(questions)))), dict[Connection, tuple[Worker, int]]()
        try:
            while left or busy:
                while left and len(busy) < self._most:
                    worker = self._asked(questions[left[-1]])
                    busy[worker.pipe] = worker, left.pop()
                for pipe in wait(list(busy), timeout=1):
                    worker, number = busy.pop(pipe)     # type: ignore[call-overload]
                    found[number] = answer = worker.answer()
                    if not isinstance(answer, WorkerDied):
                        self._idle.append(worker)
                    elif answer.unasked and number not in again:
                        again.add(number)
                        left.append(number)
                for pipe, (worker, number) in list(busy.items()):
                    if monotonic() > worker.since + self._seconds:
                        del busy[pipe]
                        worker.kill()
                        found[number] = WorkerDied(f"it took longer than {self._seconds:.0f} s")
        finally:
            for worker, _ in busy.values():
                worker.kill()
        return found

    def _asked(self, question: Any) -> Worker:
        """A worker that has this question: an idle one, unless it has ended meanwhile."""
        while self._idle:
            worker = self._idle.pop()
            try:
                if not worker.has_ended:
                    worker.ask(question)
                    return worker
            except OSError:
                pass
            worker.end()
        worker = Worker(self._script, self._environment)
        worker.ask(question)
        return worker

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            while self._idle:
                self._idle.pop().end()

    def forget(self) -> None:
        """In a forked child: have no workers."""
        self._lock = Lock()
        while self._idle:
            self._idle.pop().forget()


_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


def _in_a_child() -> None:
    for pool in _POOLS:
        pool.forget()


@atexit.register
def _at_the_end() -> None:
    for pool in _POOLS:
        pool.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_child)
