"""step_times: how long each step of a run on a device takes, noted while somebody wants to know.

Meanwhile steps are started one by one and waited for, so they take longer together than they do otherwise: graphs of
launches, in which the device need not wait for Python, are for runs that nobody looks at.
"""
from __future__ import annotations

import threading

from codegen.executable import Measured, NativeEvent, clock_ns
from codegen.schedule.step_reports import StepTime

MOST_EVENTS = 1 << 20


class StepTimes:
    """`is_wanted`: does anyone want to know?"""

    def __init__(self) -> None:
        self.is_wanted = False
        self._users, self._lost = 0, 0
        self._events: list[NativeEvent] = []
        self._lock = threading.Lock()

    def start(self) -> tuple[int, int]:
        """Note what runs from now on; what to give to stop()."""
        with self._lock:
            self._users += 1
            self.is_wanted = True
            return len(self._events), self._lost

    def stop(self, mark: tuple[int, int]) -> tuple[list[NativeEvent], int]:
        """What was noted since start() gave `mark`, and how much more there was no room for."""
        with self._lock:
            first, lost_before = mark
            events, lost = self._events[first:], self._lost - lost_before
            self._users -= 1
            if not self._users:
                self._events, self._lost, self.is_wanted = [], 0, False
            return events, lost

    def note_run(self, of: Measured, begin: int) -> None:
        """A run that began then is over now."""
        self._note(NativeEvent("run", threading.get_ident(), begin, clock_ns(), of))

    def note_step(self, of: Measured, block: int, step: int, begin: int, nanoseconds: int) -> None:
        """A step took so long."""
        self._note(NativeEvent("step", threading.get_ident(), begin, begin + nanoseconds, of, block, step))
        of.times[block, step] = of.times.get((block, step), StepTime()).plus(nanoseconds)

    def _note(self, event: NativeEvent) -> None:
        with self._lock:
            if len(self._events) < MOST_EVENTS:
                self._events.append(event)
            else:
                self._lost += 1


STEP_TIMES = StepTimes()
"""Those of this process."""
