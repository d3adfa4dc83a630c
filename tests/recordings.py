"""Recording a few lines of a test.

    with recording() as recorder:
        y = x * 2
    recorder.graph("f", [y])
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tracegrad.recorder import ACTIVE, Recorder


@contextmanager
def recording() -> Iterator[Recorder]:
    """A new recorder watches the body."""
    recorder = Recorder()
    token = ACTIVE.set(recorder)
    try:
        yield recorder
    finally:
        ACTIVE.reset(token)
