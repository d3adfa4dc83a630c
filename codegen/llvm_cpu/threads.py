"""threads: how many threads launches use (see pool)."""
from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping


class ThreadCount:
    """How many threads a launch may use, the caller's included; `attach` couples it to loaded pools."""

    def __init__(self, count: int):
        self._count = count
        self._lock = threading.Lock()
        self._pools: list[Callable[[int], None]] = []

    def get(self) -> int:
        """The number of threads."""
        return self._count

    def set(self, count: int) -> None:
        """Use `count` threads from the next launch on; ValueError below 1."""
        if count < 1:
            raise ValueError(f"the number of threads must be at least 1, not {count}")
        with self._lock:
            self._count = count
            for set_helpers in self._pools:
                set_helpers(count - 1)

    def attach(self, set_helpers: Callable[[int], None]) -> None:
        """Tell a pool now and whenever the number changes how many helpers it may use."""
        with self._lock:
            self._pools.append(set_helpers)
            set_helpers(self._count - 1)


def default_count(environment: Mapping[str, str]) -> int:
    """TRACEGRAD_NUM_THREADS, or the number of processors this process may use; ValueError unless it is above 0."""
    chosen = environment.get("TRACEGRAD_NUM_THREADS", "").strip()
    if not chosen:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not chosen.isdecimal() or int(chosen) < 1:
        raise ValueError(f"TRACEGRAD_NUM_THREADS is {chosen!r}, not a number above 0")
    return int(chosen)


THREADS = ThreadCount(default_count(os.environ))
"""The number of threads of this process."""


def get_num_threads() -> int:
    """How many threads compiled code uses."""
    return THREADS.get()


def set_num_threads(count: int) -> None:
    """Let compiled code use `count` threads. Results do not depend on it."""
    THREADS.set(count)
