"""fallbacks: who wants to hear of every call of a traced function that runs eagerly because it cannot be compiled.

    with watched_fallbacks() as seen:
        f(x)
    seen        [Fallback("f", Aborted(...))]

A call that records or takes a new path, one that follows, one that is audited, and one that comes while another thread
records are no fallbacks.
"""
from __future__ import annotations

import warnings
from typing import NamedTuple

from tracegrad.aborts import Aborted
from tracegrad.source_lines import user_level
from tracegrad.spans import moment
from tracegrad.watchers import Watchers


class NotReplayed(UserWarning):
    """A traced function is not replayed; said once for each function."""


class FellBackToEager(NotReplayed):
    """A traced function ran eagerly."""


class Followed(NotReplayed):
    """The Python of a traced function runs at every call; its work on tensors is compiled all the same."""


class OverBudget(UserWarning):
    """A native call works in more than the memory_budget of its function; said once for each function."""


class Fallback(NamedTuple):
    """One call of the traced function `name` that ran eagerly, and why."""

    name: str
    aborted: Aborted

    def __str__(self) -> str:
        return f"{self.name}: {self.aborted}"


_watchers: Watchers[Fallback] = Watchers()
watched_fallbacks = _watchers.watched


def report_fallback(name: str, aborted: Aborted, followed: bool = False) -> None:
    """A call of the traced function `name` runs eagerly, unless it is followed."""
    if not followed:
        moment("fallback", name, reason=str(aborted))
        _watchers.see(Fallback(name, aborted))


def warn(name: str, aborted: Aborted, followed: bool) -> None:
    """Say that the traced function `name` is not replayed, and what happens in its place."""
    said, kind = (aborted.followed, Followed) if followed else (aborted, FellBackToEager)
    warnings.warn(f"{name}: {said}", kind, stacklevel=user_level())


def warn_of_memory(name: str, bytes: int, budget: int | None, warned: bool) -> bool:
    """Say, unless that was said, that a native call of a traced function works in more than it should. Was it?"""
    over = budget is not None and bytes > budget
    if over and not warned:
        warnings.warn(f"{name}: a native call works in {bytes} bytes, the fewest that were found; "
                      f"memory_budget={budget} cannot be met", OverBudget, stacklevel=user_level())
    return warned or over
