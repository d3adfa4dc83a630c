"""processes: a part of the benchmark in a process of its own, which an error on the GPU ends, or its time does.

What it had found until then counts: rows come one by one, and how it ended is the last of them.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict

from benchmarks.rounds import ROOT, Row

LINES = 80
"""So many of the last lines that a process said are kept, should it fail."""

GRACE = 2.0
"""Seconds that a part is given less than its process, to end by itself."""


def run_part(name: str, seconds: float) -> Iterator[Row]:
    """The rows of a part that a process of its own finds in so many seconds; one more if it ends in another way."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--child", name, "--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                               cwd=ROOT, start_new_session=True, env={**os.environ, "PYTHONFAULTHANDLER": "1"})
    assert process.stdout is not None and process.stderr is not None
    stdout, stderr = process.stdout, process.stderr
    said: deque[str] = deque(maxlen=LINES)
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        end(process)
    late = threading.Timer(max(seconds, 0.0), stop)
    reader = threading.Thread(target=lambda: said.extend(stderr), daemon=True)
    late.start()
    reader.start()
    try:
        for line in stdout:
            with suppress(ValueError, TypeError):           # what else is printed is no row
                yield Row(**json.loads(line))
        process.wait()
    finally:
        late.cancel()
        end(process)
        reader.join(1.0)
    if stopped.is_set():
        yield Row(whole(name), "tracegrad", error=f"stopped after {seconds:.0f} s", traceback="".join(said))
    elif process.returncode:
        last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
        yield Row(whole(name), "tracegrad", error=f"{last[:300]} (exit status {process.returncode})",
                  traceback="".join(said))


def whole(name: str) -> str:
    """What a row is called that tells how a part ended."""
    return f"{name}: the whole part"


def end(process: subprocess.Popen) -> None:
    """It and what it has started, which is of its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def say(row: Row) -> None:
    """In such a process: a row as a line."""
    print(json.dumps(asdict(row)), flush=True)
