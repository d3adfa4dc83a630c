"""Stats: what the calls of a traced function came to, in numbers."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """What the calls of a traced function came to.

    `aborts` counts by Abort name; `compile_seconds` is what recording and compiling cost in all. An audited call counts
    among the `audits` and, since its result is the Python's, among the `eager_calls`.
    """

    calls: int = 0
    replays: int = 0
    follows: int = 0
    eager_calls: int = 0
    recordings: int = 0
    side_exits: int = 0
    audits: int = 0
    kernels_compiled: int = 0
    compile_seconds: float = 0.0
    aborts: Counter[str] = field(default_factory=Counter)
