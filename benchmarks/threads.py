"""threads: the same work with one thread and with as many as there are, each contender in a process of its own.

A contender with one thread may use one core only. What does not become faster is bound by memory, or too short for a
second thread to be worth waking.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import cnn_step, elementwise, mlp_step, optimizer, rnn, rosenbrock, softmax_rows, transformer_block
from benchmarks.frame import Benchmark, Work

WORKS: dict[str, tuple[Any, str]] = {
    "elementwise, 64 K": (elementwise, "64 K"),
    "elementwise, 1 M": (elementwise, "1 M"),
    "elementwise, 16 M": (elementwise, "16 M"),
    "softmax and its derivative": (softmax_rows, softmax_rows.CASE),
    "Adam": (optimizer, optimizer.ADAM),
    "MLP, batch 64": (mlp_step, mlp_step.CASE),
    "CNN, 8x1x28x28": (cnn_step, "8x1x28x28"),
    "transformer block, 8x64x256": (transformer_block, "batch 8, length 64, width 256"),
    "RNN, batch 16, 8 steps": (rnn, "batch 16, 8 steps, width 128"),
    "Rosenbrock": (rosenbrock, rosenbrock.CASE),
}
"""The benchmark, and its case."""

ONE = ", 1 thread"
NAMES = ("tracegrad", "torch", "torch.compile", "jax")


def contender(name: str) -> Callable[[str], Work]:
    def prepare(case: str) -> Work:
        benchmark, of = WORKS[case]
        return benchmark.BENCHMARK.contenders[name](of)
    return prepare


BENCHMARK = Benchmark(
    question="one thread and all of them",
    cases=tuple(WORKS),
    contenders={name + threads: contender(name) for name in NAMES for threads in ("", ONE)},
    tolerance=1e-3,
    threads={name + ONE: 1 for name in NAMES},
)
