"""compile_latency: how long one waits for the first compiled call of six programs, in a fresh process, after imports.

The time of the calls up to and including the first that is compiled, minus what as many compiled calls cost. "cold"
starts with empty caches on disk, "warm" with those of an earlier process. A peer's time is that of what makes its
contender in the program's own benchmark, which calls it once, minus what making the data costs.

What it consists of: `python -m benchmarks.latency_stages`. On 2 vCPU with AVX2, cold: importing the scheduler and the
emitter 17 ms, 20 where something is multiplied; loading LLVM 10, while the first call is recorded; LLVM 1 to 5 ms for
each kernel, 10 for the runtime and for products, on two threads and while Python goes on. That is a draft (see
codegen.llvm_cpu.drafts): what it would take to compile it well, three to four times as long, nobody waits for, nor for
the native entry, which takes 60: calls are replayed by Python until it is there. What is left is Python: recording,
planning, writing texts.
A warm process reads the program as it is run (see codegen.llvm_cpu.kept_programs), which is loaded without LLVM (see
codegen.llvm_cpu.elf): 12 ms, whatever the program; the rest is the eager run, watched, and what it may read. Softmax
touches 240 MB for the first time, for which the system takes 30 to 350 ms, now this and now that, warm or cold.

What it leaves out: the program that native code runs for a call is written at the fifth replay, 3 to 10 ms once, not at
the first, since Python replays a call in 0.03 to 0.3 ms and many functions are called a few times only.
"""
from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import elementwise, mlp_step, rnn, rosenbrock, softmax_rows, transformer_block
from benchmarks.frame import FreshBenchmark

STEADY_CALLS = 30
MOST_CALLS = 20

Step = tuple[Callable[..., object], tuple]


class Program(NamedTuple):
    """`step` is the function to be traced and its arguments, `data` what peers begin with; `of`, `case`: see there."""

    step: Callable[[], Step]
    data: Callable[[], object]
    of: Any
    case: str


def _elementwise() -> Step:
    import tracegrad as tg
    return lambda x: elementwise.formula(tg, x), (tg.asarray(elementwise.data("64 K")),)


def _softmax() -> Step:
    import tracegrad as tg
    x, g = map(tg.asarray, softmax_rows.data())
    return softmax_rows.tracegrad_step, (x.requires_grad_(), g)


def _rosenbrock() -> Step:
    import tracegrad as tg
    return rosenbrock.tracegrad_gradient, (tg.tensor(rosenbrock.start(), requires_grad=True),)


def _mlp() -> Step:
    step, x, y = mlp_step.tracegrad_step()
    return step, (x, y)


BLOCK, SEQUENCE = "batch 8, length 64, width 256", "batch 16, 64 steps, width 128"

PROGRAMS = {
    "elementwise, 64 K": Program(_elementwise, lambda: elementwise.data("64 K"), elementwise, "64 K"),
    "softmax and its derivative": Program(_softmax, softmax_rows.data, softmax_rows, softmax_rows.CASE),
    "gradient of Rosenbrock's function": Program(_rosenbrock, rosenbrock.start, rosenbrock, rosenbrock.CASE),
    "MLP step": Program(_mlp, lambda: mlp_step.data(mlp_step.CASE), mlp_step, mlp_step.CASE),
    "transformer block": Program(
        lambda: transformer_block.tracegrad_step(BLOCK), lambda: transformer_block.data(transformer_block.CASES[BLOCK]),
        transformer_block, BLOCK),
    "RNN of 64 steps": Program(
        lambda: rnn.tracegrad_step(SEQUENCE), lambda: rnn.data(rnn.CASES[SEQUENCE]), rnn, SEQUENCE),
}
CACHES = ("cold cache", "warm cache")
CASES = {f"{name}, {cache}": program for name, program in PROGRAMS.items() for cache in CACHES}


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def latency(step: Callable[[], object], compiled: Callable[[], bool], settle: Callable[[], None] = lambda: None
            ) -> float:
    """Call until a call was compiled, then some more, when nothing is compiled any more, to know what one costs."""
    first = []
    for _ in range(MOST_CALLS):
        first.append(seconds_of(step))
        if compiled():
            break
    else:
        raise RuntimeError(f"still not compiled after {MOST_CALLS} calls")
    settle()
    return sum(first) - len(first) * statistics.median(seconds_of(step) for _ in range(STEADY_CALLS))


def tracegrad(case: str, cache: Path) -> float:
    os.environ["TRACEGRAD_CACHE_DIR"] = str(cache)
    import tracegrad as tg
    from codegen import finish_compiling
    function, arguments = CASES[case].step()
    step: Any = tg.trace(strict=True)(function)
    return latency(lambda: step(*arguments), lambda: step.stats.replays > 0, finish_compiling)


def torch_compile(case: str, cache: Path) -> float:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    import_module("torch")
    return of_peer(CASES[case], "torch_compile")


def jax(case: str, cache: Path) -> float:
    import jax
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    return of_peer(CASES[case], "jax")


def of_peer(program: Program, contender: str) -> float:
    """What a peer, which compiles while it runs its first call, takes until that is done."""
    if program.of is mlp_step:
        asked = count(1)
        return latency(getattr(mlp_step, contender)(program.case), lambda: next(asked) >= 2)
    program.data()
    data = statistics.median(seconds_of(program.data) for _ in range(3))
    start = time.perf_counter()
    work = getattr(program.of, contender)(program.case)
    first = time.perf_counter() - start
    return first - data - statistics.median(seconds_of(work.call) for _ in range(STEADY_CALLS))


BENCHMARK = FreshBenchmark(
    question="waiting for the first compiled call in a fresh process, after imports",
    cases=tuple(CASES),
    contenders={"tracegrad": tracegrad, "torch.compile": torch_compile, "jax": jax},
    warm_cases=tuple(case for case in CASES if case.endswith(CACHES[1])),
)
