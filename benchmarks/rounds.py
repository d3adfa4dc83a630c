"""Rounds: run the workers of a benchmark, one at a time, around and around."""
from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.frame import MODULE_OF, Benchmark, FreshBenchmark

THREADS = 2         # of each contender, unless a run is told otherwise
ROOT = Path(__file__).parent.parent


@dataclass(slots=True)
class Row:
    """What came out for one contender in one case; `measured` has one entry for each round."""

    case: str
    contender: str
    measured: list[float] = field(default_factory=list)
    ratio: float | None = None          # to the first contender: median of the ratios within a round
    difference: float | None = None     # largest relative difference of the numbers from the first contender's
    agrees: bool = True
    error: str | None = None
    share: str = ""                     # of what the machine can do
    traceback: str = ""                 # of the error, or the last that the process said

    @property
    def median(self) -> float:
        return statistics.median(self.measured)


def installed(contenders: Any) -> list[str]:
    """The contenders whose module is there."""
    words = {c: MODULE_OF.get(c.replace(",", " ").split()[0]) for c in contenders}
    return [c for c, module in words.items() if module is None or find_spec(module)]


def environment(threads: int) -> dict[str, str]:
    """The environment of a worker: everyone gets the same number of threads, and modules compiled to bytecode."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "TRACEGRAD_NUM_THREADS")
    own = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "",
           "PYTHONPYCACHEPREFIX": os.path.join(tempfile.gettempdir(), "tracegrad-bytecode")}
    return {**os.environ, **dict.fromkeys(names, str(threads)), **own}


@contextmanager
def worker(name: str, contender: str, threads: int) -> Iterator[Callable[..., dict]]:
    """A worker process, as a function from request to reply."""
    command = [sys.executable, "-m", "benchmarks.worker", name, contender]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=environment(threads), text=True, preexec_fn=partial(use_cores, threads))
    assert process.stdin and process.stdout
    stdin, stdout = process.stdin, process.stdout

    def ask(**request: Any) -> dict:
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:
            return {"error": "the worker is gone"}
        line = stdout.readline()
        return json.loads(line) if line else {"error": f"the worker died with exit status {process.wait()}"}

    try:
        yield ask
    finally:
        process.kill()
        process.wait()
        with suppress(BrokenPipeError):
            stdin.close()
        stdout.close()


def use_cores(count: int) -> None:
    """Keep libraries that count cores, not variables, to as many threads as the others."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def run(name: str, benchmark: Benchmark, rounds: int, budget: float, progress: Callable[[str], None],
        threads: int = THREADS) -> list[Row]:
    """Measure every installed contender in every case."""
    table: list[Row] = []
    with ExitStack() as stack:
        asks = {}
        for contender in installed(benchmark.contenders):
            asks[contender] = stack.enter_context(
                worker(name, contender, benchmark.threads.get(contender, threads)))
        for case in benchmark.cases:
            rows = {contender: Row(case, contender) for contender in asks}
            numbers: dict[str, list[float]] = {}
            for contender, ask in asks.items():
                progress(f"{name} {case}: preparing {contender}")
                reply = ask(case=case)
                rows[contender].error = reply.get("error")
                if "numbers" in reply:
                    numbers[contender] = reply["numbers"]
            for k in range(rounds):
                for contender, ask in asks.items():
                    if rows[contender].error is None:
                        progress(f"{name} {case}: round {k + 1} of {rounds}, {contender}")
                        reply = ask(budget=budget)
                        rows[contender].error = reply.get("error")
                        rows[contender].measured += [reply["measured"]] if "measured" in reply else []
            compare(list(rows.values()), numbers, benchmark.tolerance)
            table += rows.values()
    return table


def run_fresh(name: str, benchmark: FreshBenchmark, rounds: int, progress: Callable[[str], None],
              threads: int = THREADS) -> list[Row]:
    """Measure every installed contender in every case, each round in a process of its own."""
    table: list[Row] = []
    for case in benchmark.cases:
        rows = {contender: Row(case, contender) for contender in installed(benchmark.contenders)}
        with ExitStack() as stack:
            kept = {c: stack.enter_context(tempfile.TemporaryDirectory()) for c in rows}
            warm = case in benchmark.warm_cases
            for k in range(rounds + warm):
                for contender, row in rows.items():
                    if row.error is not None:
                        continue
                    progress(f"{name} {case}: round {k + 1} of {rounds + warm}, {contender}")
                    with tempfile.TemporaryDirectory() as empty, worker(name, contender, threads) as ask:
                        reply = ask(case=case, cache=kept[contender] if warm else empty)
                    row.error = reply.get("error")
                    if "measured" in reply and not (warm and k == 0):
                        row.measured.append(reply["measured"])
        compare(list(rows.values()), {}, 0.0)
        table += rows.values()
    return table


def compare(rows: list[Row], numbers: dict[str, list[float]], tolerance: float) -> None:
    """Fill in ratios and differences to the first row."""
    first = rows[0]
    for row in rows:
        if first.error is None and row.error is None:
            row.ratio = statistics.median(a / b for a, b in zip(row.measured, first.measured))
        if row.contender in numbers and first.contender in numbers:
            row.difference = relative_difference(numbers[row.contender], numbers[first.contender])
            row.agrees = row.difference <= tolerance


def relative_difference(a: list[float], b: list[float]) -> float:
    """The largest difference of two lists, as a share of the largest number in them."""
    if len(a) != len(b):
        return float("inf")
    scale = max(map(abs, a + b), default=1.0) or 1.0
    return max((abs(x - y) for x, y in zip(a, b)), default=0.0) / scale
