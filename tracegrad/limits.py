"""Limits: how far a traced function may grow, and what gives way when it has.

    64 paths, and a call that has none    ->   not recorded, and the reason said
    64 more calls that have none          ->   paths that no call came back to meanwhile give way; recording goes on

The wait doubles each time, so a function that never comes back to a path is recorded less and less.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from codegen.ir.types import DTYPES
from tracegrad.replay import Root
from tracegrad.segments import Path
from tracegrad.stats import Stats

FIRST_WAIT = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a traced function may grow.

    paths: how many it keeps; unused: how many of them may be such as no call has come back to; sizes: how many more
    that share kernels with paths of other sizes, of which the one longest unused gives way to the next, as it does
    where they take a quarter of `bytes` (while no call has come back to any, it is a quarter as many); bytes: how much
    memory the native calls of all may work in and give results in, for each kind of call (arrays, Tensors). When one of
    these is reached, a call without a path runs without being recorded, until cold paths give way to it.

    kernels: how many may be compiled in all; seconds: how long recording and compiling may take in all. After these
    nothing more is recorded.

    failures: how often it may fail to record in a row, from the start or at one exit; values: how many values of a
    float that Python reads at one place may each be a way of its own.

        >>> tg.Limits(paths=8).unused
        16
    """

    paths: int = 64
    unused: int = 16
    sizes: int = 1024
    failures: int = 8
    values: int = 4
    kernels: int = 4096
    seconds: float = 300.0
    bytes: int = 1 << 34

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"Limits: {name}={value!r} is not a number from 0 on")

    def reached(self, stats: Stats) -> str | None:
        """A sentence if these numbers are such that nothing more is recorded."""
        if stats.kernels_compiled >= self.kernels:
            return f"{stats.kernels_compiled} kernels have been compiled, the limit is {self.kernels}"
        if stats.compile_seconds >= self.seconds:
            return f"recording and compiling has taken {stats.compile_seconds:.3g} s, the limit is {self.seconds:.3g}"
        return None


class Wait:
    """How long a function that is full waits, and which of its paths turn out to be cold meanwhile."""

    def __init__(self) -> None:
        self._length = FIRST_WAIT
        self._left = 0
        self._replays: Mapping[Path, int] = {}              # when the wait began

    def cold(self, replays: Mapping[Path, int]) -> set[Path]:
        """One more call had no path and there was no room: the paths that nothing came back to, if the wait is over.

        `replays`: how many each path has had.
        """
        if not self._left:
            self._left, self._replays = self._length, replays
        self._left -= 1
        if self._left:
            return set()
        self._length *= 2
        return {path for path, count in replays.items() if self._replays.get(path) == count}


def bytes_of(root: Root) -> int:
    """The memory that one call of a root's program works in and gives results in."""
    executable = root.executable
    owned = sum(source.array.nbytes for source in root.sources if source.array is not None)
    results = sum(math.prod(cast(tuple[int, ...], t.shape)) * DTYPES[t.dtype].itemsize for t in executable.slots)
    return executable.arena_bytes + owned + results
