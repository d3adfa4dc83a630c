"""Recorder: what watches a run. Eager execution reports to the active one, if any, and goes on normally whatever it does."""
from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Recorder(Protocol):
    """What eager execution reports."""

    def record_op(self, op, args, attrs, result) -> None: ...
    def record_write(self, target, value) -> None: ...
    def record_creation(self, tensor, data) -> None: ...
    def host_read(self, tensor, what: str) -> None: ...
    def refuse(self, what: str) -> None: ...


ACTIVE: ContextVar[Recorder | None] = ContextVar("tracegrad_recorder", default=None)
"""The recorder of the run in progress in this context."""
