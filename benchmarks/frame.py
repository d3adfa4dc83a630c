"""What a benchmark is, and how a worker process measures it. Imports nothing that is being measured.

A benchmark asks one question of several contenders, for one or more cases. Each contender has a process to itself,
since thread pools in one process disturb each other, and only one of them works at a time; rounds go around all
contenders, so that what the machine does meanwhile meets all alike.

A contender of a Benchmark is a function of the case that returns Work. One of a FreshBenchmark is a function of the
case and of an empty folder for its caches that returns the seconds it took, or the bytes; each round of it is a process
of its own.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Work:
    """`call` does the work once and has finished it when it returns; `numbers` are what it computes, to compare."""

    call: Callable[[], object]
    numbers: list[float]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The first contender is the measure of the others; results agree within `tolerance` of the largest number.

    `threads`: of contenders that have not as many as the run is told to give. `bytes_moved` and `flops` say how much
    work a case is, where that has a meaning. With `dtypes`, those of the operations, it is told as a share of what the
    machine can do, too; in `reads_only` next to nothing is written.
    """

    question: str
    cases: tuple[str, ...]
    contenders: Mapping[str, Callable[[str], Work]]
    tolerance: float = 1e-4
    bytes_moved: Mapping[str, float] = field(default_factory=dict)
    flops: Mapping[str, float] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    reads_only: frozenset[str] = frozenset()
    threads: Mapping[str, int] = field(default_factory=dict)
    unit: ClassVar[str] = "s"


@dataclass(frozen=True, slots=True)
class FreshBenchmark:
    """Like a Benchmark, where each round is a fresh process. `unit` of what is measured: "s", or "B" for bytes.

    In a case of `warm_cases` the folder for caches is the same in each round, and an unmeasured round goes before.
    """

    question: str
    cases: tuple[str, ...]
    contenders: Mapping[str, Callable[[str, Path], float]]
    warm_cases: tuple[str, ...] = ()
    unit: str = "s"


MODULE_OF = {"torch": "torch", "torch.compile": "torch", "jax": "jax", "drjit": "drjit", "numpy": "numpy"}
"""The module that a contender needs, by its name up to a comma or a space; tracegrad itself needs none."""

SHORTEST_SAMPLE = 2e-4      # seconds; shorter calls are timed many at a time


def calls_per_sample(call: Callable[[], object]) -> int:
    """How many calls take long enough to be timed together. Warms up on the way: what takes long once may be warming up
    itself, so it has to take long three times."""
    n = 1
    while not all(_seconds(call, n) >= SHORTEST_SAMPLE for _ in range(3)):
        n *= 2
    return n


def _seconds(call: Callable[[], object], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return time.perf_counter() - start


def seconds_per_call(call: Callable[[], object], n: int, budget: float) -> float:
    """The median of samples of n calls each, taken for `budget` seconds, at least three of them."""
    samples: list[float] = []
    clock = time.perf_counter
    end = clock() + budget
    while len(samples) < 3 or clock() < end:
        samples.append(_seconds(call, n) / n)
    return statistics.median(samples)


def sample(array, count: int = 64) -> list[float]:
    """Up to `count` elements from all over an array, to compare with those of other contenders."""
    flat = array.reshape(-1)
    return [float(v) for v in flat[:: max(1, flat.size // count)]]
