"""memory: how much a training step needs, in a fresh process.

"steps" is the most that is resident during steps after the first few, less what was after importing the library: data,
parameters, gradients, what is in between, and what compiling left behind. "all" is the most that the process ever
has, with the library and with compiling. What other processes need that a library starts to compile is not in it.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import checkpoint, cnn_step, mlp_step, rnn, transformer_block
from benchmarks.frame import MODULE_OF, FreshBenchmark

WORKS: dict[str, tuple[Any, str]] = {
    "MLP, batch 64": (mlp_step, mlp_step.CASE),
    "CNN, 64x3x32x32": (cnn_step, "64x3x32x32"),
    "transformer block, 8x64x256": (transformer_block, "batch 8, length 64, width 256"),
    "transformer block, 1x512x128": (transformer_block, "batch 1, length 512, width 128"),
    "RNN, batch 16, 8 steps": (rnn, "batch 16, 8 steps, width 128"),
    checkpoint.KEPT: (checkpoint, checkpoint.KEPT),
    checkpoint.AGAIN: (checkpoint, checkpoint.AGAIN),
    checkpoint.BUDGET: (checkpoint, checkpoint.BUDGET),
}
"""The benchmark, and its case."""

STEPS, ALL = "steps", "all"
CASES = tuple(f"{work}, {kind}" for kind in (STEPS, ALL) for work in WORKS)
CALLS = 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    return _status("VmRSS")


def most_resident() -> int:
    """Bytes of this process that ever were, or since `forget_most`."""
    return _status("VmHWM")


def forget_most() -> None:
    """From here on it is counted anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def contender(name: str) -> Callable[[str, Path], float]:
    def bytes_needed(case: str, cache: Path) -> float:
        os.environ["TRACEGRAD_CACHE_DIR"] = os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
        import_module(MODULE_OF.get(name, "tracegrad"))
        before = resident()
        work, _, kind = case.rpartition(", ")
        benchmark, of = WORKS[work]
        if name not in benchmark.BENCHMARK.contenders:
            raise NotImplementedError(f"{work} is not written for {name}")
        step = benchmark.BENCHMARK.contenders[name](of).call
        for _ in range(CALLS):
            step()
        if kind == ALL:
            return most_resident()
        forget_most()
        for _ in range(CALLS):
            step()
        return most_resident() - before
    return bytes_needed


BENCHMARK = FreshBenchmark(
    question="the most memory that a training step needs, in a fresh process",
    cases=CASES,
    contenders={name: contender(name) for name in ("tracegrad", "tracegrad eager", "torch", "torch.compile", "jax")},
    unit="B",
)
