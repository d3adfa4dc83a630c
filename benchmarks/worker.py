"""A worker: measures one contender of one benchmark, on request.

    python -m benchmarks.worker BENCHMARK CONTENDER

Reads one JSON object a line, writes one a line: {"case": c} -> {"numbers": [...]}, {"budget": s} -> {"measured": n},
and for a FreshBenchmark {"case": c, "cache": folder} -> {"measured": n}. What goes wrong is {"error": text}.
"""
from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.frame import Benchmark, FreshBenchmark, Work, calls_per_sample, seconds_per_call


class Worker:
    """Keeps the work of the present case."""

    def __init__(self, benchmark: Benchmark | FreshBenchmark, contender: str):
        self.benchmark, self.contender = benchmark, contender
        self.work: Work | None = None
        self.calls = 1

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if isinstance(self.benchmark, FreshBenchmark):
            return {"measured": self.benchmark.contenders[self.contender](request["case"], Path(request["cache"]))}
        if "case" in request:
            self.work = None        # free the last case's memory first
            self.work = self.benchmark.contenders[self.contender](request["case"])
            self.calls = calls_per_sample(self.work.call)
            return {"numbers": self.work.numbers}
        assert self.work is not None
        return {"measured": seconds_per_call(self.work.call, self.calls, request["budget"])}


def rest(pause: float = 0.01, patience: float = 1.0) -> None:
    """Return when this process does nothing any more: threads of some libraries go on looking for work for up to a
    tenth of a second, on processors that the next contender is measured on."""
    until = time.perf_counter() + patience
    while time.perf_counter() < until:
        before = time.process_time()
        time.sleep(pause)
        if time.process_time() - before < pause / 10:
            return


def main() -> None:
    name, contender = sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)           # what libraries print is no reply
    worker = Worker(importlib.import_module(f"benchmarks.{name}").BENCHMARK, contender)
    for line in sys.stdin:
        try:
            reply = worker.answer(json.loads(line))
        except Exception as error:      # noqa: BLE001 - a contender that fails is a result
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        rest()
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
