"""chrome_trace: a profile as what chrome://tracing and Perfetto (ui.perfetto.dev) draw: the Trace Event Format.

    {"traceEvents": [{"ph": "X", "name": "matmul ...", "cat": "step", "ts": 12.5, "dur": 80.1, "tid": 2}, ...]}

1. A span is a complete event ("X") with a start and a duration in microseconds, a moment an instant ("i").
2. Threads are numbered as they appear, with their names as metadata ("M"). Spans of one thread lie within each other or
   apart.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from codegen.ir.structs import struct

MOMENTS = frozenset({"fallback", "exit"})


@struct
class Event:
    """Something with a name, of a category, in a thread; times in nanoseconds."""

    name: str
    category: str
    thread: int
    begin: int
    end: int
    facts: Mapping[str, Any]


def trace_of(events: Iterable[Event], thread_names: Mapping[int, str], since: int) -> dict[str, Any]:
    """The JSON object; `since` is time 0."""
    process, numbers = os.getpid(), dict[int, int]()
    written: list[dict[str, Any]] = []
    for event in sorted(events, key=lambda e: (e.begin, -e.end)):
        thread = numbers.setdefault(event.thread, len(numbers) + 1)
        one: dict[str, Any] = {"name": event.name, "cat": event.category, "ts": (event.begin - since) / 1000,
                               "pid": process, "tid": thread, "args": dict(event.facts)}
        if event.category in MOMENTS:
            written.append(one | {"ph": "i", "s": "t"})
        else:
            written.append(one | {"ph": "X", "dur": (event.end - event.begin) / 1000})
    named = [_metadata("process_name", process, 0, "tracegrad")]
    named += [_metadata("thread_name", process, number, thread_names.get(thread, f"helper {number}"))
              for thread, number in numbers.items()]
    return {"traceEvents": [*named, *written], "displayTimeUnit": "ns"}


def _metadata(name: str, process: int, thread: int, value: str) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": process, "tid": thread, "args": {"name": value}}
