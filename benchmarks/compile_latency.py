"""compile_latency: how long one waits for the MLP's training step, in a fresh process, after imports.

The time of the calls up to and including the first that is compiled, minus what as many compiled calls cost. "cold"
starts with empty caches on disk, "warm" with those of an earlier process.
"""
from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from benchmarks import mlp_step
from benchmarks.frame import FreshBenchmark

STEADY_CALLS = 30
MOST_CALLS = 20


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def latency(step: Callable[[], object], compiled: Callable[[], bool]) -> float:
    """Call until a call was compiled, then some more to know what one costs."""
    first = []
    for _ in range(MOST_CALLS):
        first.append(seconds_of(step))
        if compiled():
            break
    else:
        raise RuntimeError(f"still not compiled after {MOST_CALLS} calls")
    return sum(first) - len(first) * statistics.median(seconds_of(step) for _ in range(STEADY_CALLS))


def tracegrad(case: str, cache: Path) -> float:
    os.environ["TRACEGRAD_CACHE_DIR"] = str(cache)
    import tracegrad as tg
    step, x, y = mlp_step.tracegrad_step()
    step = tg.trace(step, strict=True)
    return latency(lambda: step(x, y), lambda: step.stats.replays > 0)


def torch_compile(case: str, cache: Path) -> float:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    return latency(mlp_step.torch_compile(), after(2))


def jax(case: str, cache: Path) -> float:
    import jax
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    return latency(mlp_step.jax(), after(2))


def after(calls: int) -> Callable[[], bool]:
    """For compilers that compile while they run their first call: true from the `calls`-th question on."""
    asked = count(1)
    return lambda: next(asked) >= calls


BENCHMARK = FreshBenchmark(
    question="waiting for the first compiled training step in a fresh process, after imports",
    cases=("cold cache", "warm cache"),
    contenders={"tracegrad": tracegrad, "torch.compile": torch_compile, "jax": jax},
    warm_cases=("warm cache",),
)
