"""turns: how long a thread that computes in Python keeps the others waiting: not long, while some of them compile.

Between two calls of LLVM a thread needs the interpreter's lock for microseconds. Whoever else has it keeps it for 5 ms
when asked: four times as long as most kernels take to compile.
"""
from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

SECONDS = 0.0005


def short_turns(function: Callable[P, R]) -> Callable[P, R]:
    """The function, during which threads take turns of SECONDS; who sets another time meanwhile has the last word."""
    @wraps(function)
    def turning(*args: P.args, **kwargs: P.kwargs) -> R:
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, SECONDS))
        shortened = sys.getswitchinterval()
        try:
            return function(*args, **kwargs)
        finally:
            if sys.getswitchinterval() == shortened:
                sys.setswitchinterval(before)

    return turning
