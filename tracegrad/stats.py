"""Stats: what the calls of a traced function came to, in numbers."""
from __future__ import annotations

from collections import Counter
from dataclasses import field

from codegen.ir.structs import struct


@struct(frozen=False)
class Stats:
    """What the calls of a traced function came to.

    1. Every call is counted once, by what its result came from, also if it raises:
       calls == replays + follows + eager_calls + new_paths.
    2. `new_paths` are recordings that became a path: recordings >= new_paths, and a call whose recording was given up
       is among the `eager_calls` or the `follows`. An audited call counts among the `audits` and, since its result is
       the Python's, among the `eager_calls`. `side_exits` are calls that had left a path before.
    3. `aborts` counts by Abort name; `compile_seconds` is what recording and compiling cost in all, and with
       `kernels_compiled` has what backwards of results cost.
    4. The counts are exact however many threads call: CPython switches threads at calls and at the ends of loops, never
       within `stats.calls += 1`.
    """

    calls: int = 0
    replays: int = 0
    follows: int = 0
    eager_calls: int = 0
    recordings: int = 0
    new_paths: int = 0
    side_exits: int = 0
    audits: int = 0
    kernels_compiled: int = 0
    compile_seconds: float = 0.0
    aborts: Counter[str] = field(default_factory=Counter)
