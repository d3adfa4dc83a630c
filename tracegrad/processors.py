"""Processors: how many threads compiled code uses."""
from __future__ import annotations

import operator

from codegen import get_num_threads as threads_in_use
from codegen import set_num_threads as use_threads
from tracegrad.aborts import Abort
from tracegrad.recorder import not_replayed
from tracegrad.source_lines import at_user_line

MOST_THREADS = 1024


def get_num_threads() -> int:
    """How many threads compiled code uses: TRACEGRAD_NUM_THREADS, or the processors that this process may use.

        >>> tg.get_num_threads() >= 1
        True
    """
    not_replayed(Abort.HIDDEN_STATE, "the number of threads")
    return threads_in_use()


def set_num_threads(count: int) -> None:
    """Let compiled code use `count` threads from the next call on, the caller's included. Results do not depend on it.

    ValueError unless it is from 1 to 1024; TypeError if it is no integer.

        >>> before = tg.get_num_threads()
        >>> tg.set_num_threads(1)
        >>> tg.set_num_threads(before)
    """
    if isinstance(count, bool) or not hasattr(type(count), "__index__"):
        raise TypeError(at_user_line(f"set_num_threads: the number of threads is a {type(count).__name__}, not an int"))
    number = operator.index(count)
    if not 1 <= number <= MOST_THREADS:
        raise ValueError(at_user_line(f"set_num_threads: {number} threads: it takes 1 to {MOST_THREADS}"))
    not_replayed(Abort.EFFECT, "the number of threads")
    use_threads(number)
