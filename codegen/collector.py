"""collector: Python's garbage collector, paused while something large is made of which nothing is garbage yet.

Each of its passes looks at all that was made since, and one in a hundred at all there is: when a program is compiled
that is as much work as the compiling. And the pass that comes next would look at all that was made, which stays.
"""
from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def collector_paused(function: Callable[P, R]) -> Callable[P, R]:
    """The function, during which no pass of the collector begins by itself.

    Code of the user's that runs in it finds it enabled, as it is; who sets its thresholds meanwhile has the last word.
    """
    @wraps(function)
    def paused(*args: P.args, **kwargs: P.kwargs) -> R:
        before = gc.get_threshold()
        never = 0, *before[1:]
        gc.set_threshold(*never)
        try:
            return function(*args, **kwargs)
        finally:
            if gc.get_threshold() == never:
                gc.set_threshold(*before)

    return paused


def made_to_last(function: Callable[P, R]) -> Callable[P, R]:
    """The function, what it makes being old from then on: young passes of the collector do not look at it.

    So is all else that is young then; with a program's first run that is little, since a pass came before. Nothing is
    done where the user has frozen objects, which could not be told from these.
    """
    @wraps(function)
    def lasting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        finally:
            if not has_frozen():
                try:
                    gc.freeze()
                finally:
                    gc.unfreeze()       # into the oldest generation

    return lasting


def has_frozen() -> bool:
    """Are there objects that the user froze? They are counted, so it takes long where there are many."""
    return gc.get_freeze_count() > 0
