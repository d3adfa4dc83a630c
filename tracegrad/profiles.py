"""profile: where the time goes: calls of traced functions, each of their kernels, recording, compiling, eager work.

    with tg.profile() as p:
        for batch in batches:
            step(batch)
    print(p.table())            what took how long, the longest first
    p.save("trace.json")        every event, for ui.perfetto.dev or chrome://tracing

Calls are noted in the context that takes the profile, what native code, NumPy and the compiler do in all threads.
"""
from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING

from codegen import Measured, NativeEvent, StepReport, clock_ns, finish_compiling, native_observer
from tracegrad.dispatch import note_ops
from tracegrad.modes import MODE, Mode
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.spans import Span, watched_spans

if TYPE_CHECKING:
    from tracegrad.profile_table import Activity

_lock = threading.Lock()
_profiles: list[Profile] = []                           # that are being taken


class Profile:
    """What happened while a profile was taken; empty until then. `lost`: native events that there was no room for."""

    def __init__(self) -> None:
        self.spans: tuple[Span, ...] = ()
        self.native: tuple[NativeEvent, ...] = ()
        self.lost = 0
        self.begin, self.end = clock_ns(), 0
        self.threads = {thread.ident: thread.name for thread in threading.enumerate() if thread.ident is not None}
        self.thread = threading.get_ident()

    @property
    def seconds(self) -> float:
        """How long it was taken."""
        return (self._ended().end - self.begin) * 1e-9

    def table(self, most: int = 30) -> str:
        """What took time in the thread that took the profile, the longest first, and how near a kernel comes to what
        this machine can do (which is measured when it is first asked for).

        Each row is the time that was spent in it and in nothing that has a row of its own.
        """
        from tracegrad.profile_table import table  # as all below: only who has taken a profile needs it

        return table(self._ended().activities(), self.begin, self.end, self.thread, self.lost, most)

    __str__ = table

    def save(self, path: str | PathLike[str]) -> None:
        """Write every event as a Chrome trace, to be opened in ui.perfetto.dev or chrome://tracing."""
        import json

        from tracegrad.chrome_trace import Event, trace_of

        events = (Event(a.name, a.kind, a.thread, a.begin, a.end, a.facts) for a in self._ended().activities())
        with open(path, "w", encoding="utf-8") as file:
            json.dump(trace_of(events, self.threads, self.begin), file)

    def activities(self) -> Iterable[Activity]:
        """Spans and native events alike."""
        from tracegrad.profile_table import Activity

        for span in self.spans:
            yield Activity(span.kind, span.name, span.thread, span.begin, span.end, span.facts)
        known: dict[tuple[Measured, int], dict[int, StepReport]] = {}
        for event in self.native:
            if event.kind == "run":
                yield Activity("run", event.of.name, event.thread, event.begin, event.end, {})
                continue
            place = event.of, event.block
            if place not in known:
                known[place] = event.of.launches(event.block)
            step = known[place][event.step]
            facts: dict[str, int | str] = {"chunks": event.chunks}
            if event.kind == "step":
                facts |= {"bytes": step.bytes_moved, "flops": step.flops, "lines": ", ".join(step.lines)}
            yield Activity(event.kind, step.summary, event.thread, event.begin, event.end, facts, event.of.name, step)

    def _ended(self) -> Profile:
        if not self.end:
            raise RuntimeError(at_user_line("profile: it is still being taken: look at it after the `with` block"))
        return self


@contextmanager
def profile() -> Iterator[Profile]:
    """In the body, note what tracegrad does and how long it takes; nothing is slower before or after.

        >>> import os
        >>> f = tg.trace(lambda x: tg.tanh(x * 2.0).sum())
        >>> x = tg.ones(1000)
        >>> with tg.profile() as p:
        ...     for _ in range(3):
        ...         y = f(x)
        >>> [span.facts["came_to"] for span in p.spans if span.kind == "call"]
        ['new path', 'replay', 'replay']
        >>> p.save(os.devnull)

    A call costs some microseconds more in the body. RuntimeError for p.table() and p.save() in it.
    """
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.refuse("profile inside of a traced function")
    finish_compiling()                  # what is profiled is what will go on running
    observer = native_observer()
    p = Profile()
    token = MODE.set(Mode.PROFILED if MODE.get() is None else MODE.get())
    with _lock:
        _profiles.append(p)
        note_ops(True)
    mark = observer.start()
    try:
        with watched_spans() as seen:
            p.begin = clock_ns()
            try:
                yield p
            finally:
                p.end = clock_ns()
    finally:
        native, p.lost = observer.stop(mark)
        with _lock:
            _profiles.remove(p)
            note_ops(bool(_profiles))
        MODE.reset(token)
        p.spans, p.native = tuple(seen), tuple(native)
        p.threads |= {thread.ident: thread.name for thread in threading.enumerate() if thread.ident is not None}
