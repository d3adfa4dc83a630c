"""spans: what tracegrad does and how long it takes, for whoever takes a profile.

    with watched_spans() as seen:
        f(x)                                seen: [Span("op", "mul", ...), Span("record", "f", ...), ...]

1. What may be noted says `began = begin()` before and `end(began, kind, name)` after; while nobody watches that is two
   calls that do nothing. What raises in between is not noted.
2. All threads are watched. A span is among those it lies within in its thread.
"""
from __future__ import annotations

import threading
from typing import Any

from codegen import clock_ns
from codegen.ir.structs import struct
from tracegrad.watchers import Watchers


@struct
class Span:
    """From `begin` to `end` as codegen's clock_ns counts, in a thread, something of this kind was done.

    kinds: "call" of a traced function; "record", its Python while it is recorded; "compile", making a path of what was
    recorded, and in it "code", making native code; "eager", its Python because the call is not replayed; "follow", its
    Python with its work on tensors deferred; "segment", that work; "op", one operation by NumPy. Nothing but moments
    are a "fallback" and an "exit", a call that leaves a path. `facts` tell more, by name.
    """

    kind: str
    name: str
    thread: int
    begin: int
    end: int
    facts: dict[str, Any]


_watchers: Watchers[Span] = Watchers()
watched_spans = _watchers.watched


def begin() -> int:
    """The time; 0 while nobody watches."""
    return clock_ns() if _watchers.lists else 0


def end(began: int, kind: str, name: str, **facts: Any) -> None:
    """What began then has ended."""
    if began and _watchers.lists:
        _watchers.see(Span(kind, name, threading.get_ident(), began, clock_ns(), facts))


def moment(kind: str, name: str, **facts: Any) -> None:
    """Something has happened."""
    end(begin(), kind, name, **facts)
