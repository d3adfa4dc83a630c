"""outside: run something of the user's that a recording lets pass: what it does is not part of the run.

    outside(losses.append, (loss,))     neither the recorder nor the watch over Python state sees what happens in there
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracegrad.recorder import ACTIVE


def outside(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] = {}) -> Any:
    """function(*args, **kwargs), unwatched."""
    token = ACTIVE.set(None)
    try:
        return function(*args, **kwargs)
    finally:
        ACTIVE.reset(token)
