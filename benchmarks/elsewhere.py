"""elsewhere: how much of the machine went to other programs while something was measured."""
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAT = Path("/proc/stat")
NOT_BUSY = (3, 4)       # idle and waiting for input or output, in the order of /proc/stat
TOLERABLE = 0.05


@contextmanager
def watched() -> Iterator[list[float]]:
    """In the body, nothing; after it, the list holds the share of all cores that others used, if that can be known.

    Processes started in the body must have been waited for by its end.
    """
    share: list[float] = []
    start = time.perf_counter(), busy_seconds(), own_seconds()
    yield share
    if STAT.exists():
        elapsed, busy, own = (b - a for a, b in zip(start, (time.perf_counter(), busy_seconds(), own_seconds())))
        share.append(max(0.0, busy - own) / (elapsed * (os.cpu_count() or 1)))


def busy_seconds() -> float:
    """What all cores have worked since the machine started, time stolen by other machines included."""
    if not STAT.exists():
        return 0.0
    ticks = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:9]]
    return sum(t for k, t in enumerate(ticks) if k not in NOT_BUSY) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """What this process and those it has waited for have worked."""
    return sum(os.times()[:4])


def warning(share: list[float]) -> str:
    """A sentence for a reader of the numbers, if they need one."""
    if not share or share[0] <= TOLERABLE:
        return ""
    return f"other programs used {share[0]:.0%} of the machine meanwhile: these numbers are not to be relied on"
