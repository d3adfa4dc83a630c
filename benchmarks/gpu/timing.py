"""How long work on a GPU takes: by its own events, with caches that hold nothing of what the work reads."""
from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks.rounds import Row

FLUSHED_BYTES = 1 << 29
"""More than any level-2 cache holds; to write them takes longer than to start what is timed behind them."""


def failed(case: str, contender: str, error: BaseException) -> Row:
    """A row that says what went wrong, and where."""
    return Row(case, contender, error=f"{type(error).__name__}: {error}"[:300],
               traceback="".join(traceback.format_exception(error)))


def the_device() -> Any:
    """What launches kernels on the current GPU, in this thread."""
    from codegen.triton_gpu.target import current_device
    device: Any = current_device()
    device.elsewhere()                      # a thread that has not used the GPU has no context before
    return device


class EventClock:
    """Times calls between two events, each behind a write of `flushed` bytes, so that the work is queued in time."""

    def __init__(self, flushed: int = FLUSHED_BYTES):
        import tracegrad as tg
        self._flush = tg.zeros(flushed, dtype=tg.uint8, device="cuda")
        self._event = lambda: tg.cuda.Event(enable_timing=True)

    def seconds(self, call: Callable[[], object], budget: float, least: int = 9, most: int = 500) -> list[float]:
        """The time of each of some calls, for about `budget` seconds, after three that are not timed."""
        for _ in range(3):
            call()
        found: list[float] = []
        end_of_budget = time.perf_counter() + budget
        while len(found) < least or len(found) < most and time.perf_counter() < end_of_budget:
            start, end = self._event(), self._event()
            self._flush.zero_()
            start.record()
            call()
            end.record()
            end.synchronize()
            found.append(start.elapsed_time(end) / 1e3)
        return found


def steps_per_sample(step: Callable[[], object], finish: Callable[[], object], least: float = 0.02) -> int:
    """How many steps take long enough to be timed together."""
    n = 1
    while host_seconds(step, finish, n) * n < least:
        n *= 2
    return n


def host_seconds(step: Callable[[], object], finish: Callable[[], object], n: int) -> float:
    """Seconds of each of n steps, started one after the other and then waited for."""
    finish()
    start = time.perf_counter()
    for _ in range(n):
        step()
    finish()
    return (time.perf_counter() - start) / n


def interleaved(steps: dict[str, Callable[[], object]], finish: dict[str, Callable[[], object]], rounds: int
                ) -> dict[str, list[float]]:
    """Seconds of a step of each, in each of so many rounds around all of them."""
    counts = {name: steps_per_sample(step, finish[name]) for name, step in steps.items()}
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(host_seconds(step, finish[name], counts[name]))
    return found


def ratio(measured: list[float], first: list[float]) -> float:
    """The median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(measured, first))


def relative_error(found: Any, expected: Any, operands: Any = ()) -> float:
    """The norm of the difference in that of what is expected, or in a twentieth of the largest operand's where what is
    added up cancels; infinite where not the same elements are finite. Of whole numbers, the share that is wrong."""
    import numpy as np
    a, e = np.asarray(found), np.asarray(expected)
    if a.shape != e.shape:
        return float("inf")
    if e.dtype.kind in "iub":
        return float(np.mean(a != e)) if e.size else 0.0
    wide = np.complex128 if e.dtype.kind == "c" else np.float64
    a, e = a.astype(wide), e.astype(wide)
    finite = np.isfinite(e)
    if not np.array_equal(finite, np.isfinite(a)):
        return float("inf")
    scale = max([float(np.linalg.norm(e[finite]))] + [
        0.05 * float(np.linalg.norm(x[np.isfinite(x)])) for o in operands
        if (x := np.asarray(o)).dtype.kind not in "iub" and (x := x.astype(wide)).size])
    difference = float(np.linalg.norm(a[finite] - e[finite]))
    return difference / scale if scale else difference
