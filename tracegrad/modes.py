"""Modes: how traced functions run in this context, where not as they do by themselves."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto


class Mode(Enum):
    """EAGER: as plain Python. WATCHED: replayed, but a call that meets NaN as plain Python. PROFILED: as by themselves,
    each call noted."""

    EAGER = auto()
    WATCHED = auto()
    PROFILED = auto()


MODE: ContextVar[Mode | None] = ContextVar(
    "tracegrad_mode", default=None if os.environ.get("TRACEGRAD_EAGER", "") in ("", "0") else Mode.EAGER)
"""None: replayed or recorded."""


@contextmanager
def eager() -> Iterator[None]:
    """In the body, every traced function runs as plain Python: breakpoints, prints and steps behave as written."""
    token = MODE.set(Mode.EAGER)
    try:
        yield
    finally:
        MODE.reset(token)
