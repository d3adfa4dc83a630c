"""python -m benchmarks.latency_stages ["MLP step" ...]: where the time of compile_latency goes, stage by stage, in ms.

Each program runs twice, each time in a fresh process: with an empty cache, and with that of the first. A stage is what
its functions take by themselves, without those of other stages in them, in the thread that calls; "LLVM" is what that
thread waits for those that compile, and "other" what is in no stage: the guards of the second call, say.
"""
from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from typing import Any

from benchmarks.compile_latency import MOST_CALLS, PROGRAMS
from benchmarks.rounds import environment

STAGES = {
    "import": ("importlib._bootstrap:_find_and_load",),
    "predict": ("tracegrad.runs:predict", "tracegrad.runs:read_set", "tracegrad.runs:effects"),
    "record": ("tracegrad.runs:observe", "tracegrad.recorder:Recorder.recording", "tracegrad.pipeline:_compile"),
    "verify": ("codegen.compiler:_verify",),
    "optimize": ("codegen.compiler:optimize_tree", "codegen.compiler:cut_at_iterations"),
    "schedule": ("codegen.schedule.blocks:schedule",),
    "emit": ("codegen.llvm_cpu.build:build", "codegen.llvm_cpu.products:begun"),
    "LLVM": ("codegen.llvm_cpu.jobs:Job.code", "codegen.llvm_cpu.link:processor_by_llvm"),
    "load": ("codegen.llvm_cpu.loading:link", "codegen.llvm_cpu.target:_from_disk"),
    "entry": ("tracegrad.trace_tree:TraceTree.write_entry", "tracegrad.tracing:install"),
}
"""Functions by stage, where those that call them look them up; watched as soon as they are imported."""


class Stopwatch:
    """Seconds by stage, of the functions that are watched."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._thread = get_ident()
        self._inner: list[float] = []               # of each call that is under way, what calls in it have taken
        self._missing = [(stage, name) for stage, names in STAGES.items() for name in names]

    def watch(self) -> None:
        """Watch what has been imported by now."""
        for stage, name in [*self._missing]:
            module, _, path = name.partition(":")
            *owners, attribute = path.split(".")
            place: Any = sys.modules.get(module)
            for owner in owners:
                place = getattr(place, owner, None)
            if hasattr(place, attribute):           # it is not yet where importing is under way
                self._missing.remove((stage, name))
                setattr(place, attribute, self._watched(stage, getattr(place, attribute)))

    def _watched(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if get_ident() != self._thread:
                return function(*args, **kwargs)
            start = perf_counter()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = perf_counter() - start
                self.seconds[stage] += took - self._inner.pop()
                if stage == "import":
                    self.watch()
                if self._inner:
                    self._inner[-1] += took
        return watched


def measure(program: str) -> None:
    """Print the milliseconds of each stage of one program, in this process."""
    import tracegrad as tg
    function, arguments = PROGRAMS[program].step()
    step: Any = tg.trace(strict=True)(function)
    stopwatch = Stopwatch()
    stopwatch.watch()
    start = perf_counter()
    for _ in range(MOST_CALLS):
        step(*arguments)
        if step.stats.replays:
            break
    total = perf_counter() - start
    stages = {**stopwatch.seconds, "other": total - sum(stopwatch.seconds.values()), "all": total}
    print("  ".join(f"{stage} {1e3 * stages[stage]:.1f}" for stage in (*STAGES, "other", "all") if stage in stages))


def main() -> None:
    programs = sys.argv[1:] or [*PROGRAMS]
    with tempfile.TemporaryDirectory() as folder:
        measured_apart(programs[0], folder)         # from now on modules are there as bytecode
    for program in programs:
        with tempfile.TemporaryDirectory() as folder:
            for cache in ("cold", "warm"):
                print(f"{program}, {cache}: {measured_apart(program, folder)}", flush=True)


def measured_apart(program: str, folder: str) -> str:
    """What `measure` prints in a fresh process whose cache is in `folder`."""
    code = f"from benchmarks.latency_stages import measure; measure({program!r})"
    own = {**environment(2), "TRACEGRAD_CACHE_DIR": folder}
    return subprocess.run([sys.executable, "-c", code], env=own, check=True, stdout=subprocess.PIPE, text=True
                          ).stdout.strip()


if __name__ == "__main__":
    main()
