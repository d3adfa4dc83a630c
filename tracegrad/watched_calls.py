"""watched_calls: calls of traced functions that are watched for NaN: a replay may do, but nothing is recorded."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tracegrad.tracing import Traced


def watched_call(traced: Traced, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Replay the call if it is known and meets no NaN, else run it as plain Python, where NaN is an error."""
    stats = traced.stats
    stats.calls += 1
    known = traced.known(args, kwargs)
    if known is not None:
        root, leaves = known
        try:
            left_at, result = root.replay_watched(leaves, args, kwargs)
        except BaseException:           # a callback's, or Ctrl-C
            stats.replays += 1
            raise
        if left_at < 0:
            stats.replays += 1
            return result
        stats.side_exits += 1
    stats.eager_calls += 1
    with np.errstate(invalid="raise"):          # no operation on Tensors heeds it, and NumPy's own are not watched
        return traced.eager(*args, **kwargs)
