"""import_time: how long `import` takes in a fresh process, everything it pulls in included."""
from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.frame import FreshBenchmark


def importing(module: str) -> Callable[[str, Path], float]:
    def seconds(case: str, cache: Path) -> float:
        start = time.perf_counter()
        importlib.import_module(module)
        return time.perf_counter() - start
    return seconds


BENCHMARK = FreshBenchmark(
    question="importing the library in a fresh process",
    cases=("import",),
    contenders={name: importing(name) for name in ("tracegrad", "numpy", "torch", "jax")},
)
