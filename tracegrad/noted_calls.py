"""noted_calls: how calls of traced functions are run while a profile is taken: as ever, and noted (see spans)."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracegrad.modes import MODE, Mode
from tracegrad.spans import begin, end

if TYPE_CHECKING:
    from tracegrad.tracing import Traced


def noted_call(traced: Traced, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Call it as if no profile was taken, and note what that came to."""
    stats, came_to = traced.stats, "raised"
    before = stats.replays, stats.follows, stats.new_paths
    token, began = MODE.set(None), begin()
    try:
        result = traced(*args, **kwargs)
        after = stats.replays, stats.follows, stats.new_paths
        ways = zip(("replay", "follow", "new path"), before, after)
        came_to = next((way for way, old, new in ways if new > old), "eager")
        return result
    finally:
        end(began, "call", traced.name, came_to=came_to)
        MODE.reset(token)


def run_eagerly(traced: Traced, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run its Python, in a call that is not replayed; the traced functions that this calls are noted in their turn."""
    began = begin()
    token = MODE.set(Mode.PROFILED) if began and MODE.get() is None else None
    try:
        return traced.eager(*args, **kwargs)
    finally:
        end(began, "eager", traced.name)
        if token is not None:
            MODE.reset(token)
