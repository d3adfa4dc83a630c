"""collector: Python's garbage collector, paused while something large is made of which nothing is garbage yet.

Each of its passes looks at all that was made since, and one in a hundred at all there is: when a program is compiled
that is as much work as the compiling.
"""
from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def collector_paused(function: Callable[P, R]) -> Callable[P, R]:
    """The function, during which there is no pass of the collector."""
    @wraps(function)
    def paused(*args: P.args, **kwargs: P.kwargs) -> R:
        runs = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if runs:
                gc.enable()

    return paused
