"""call_overhead: what a call costs when there is next to nothing to compute: x * 2 + y for 8 floats."""
from __future__ import annotations

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

CASE = "8 floats"


def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(8, dtype=np.float32)
    return x, x[::-1].copy()


def formula(x, y):
    return x * 2.0 + y


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    x, y = map(tg.asarray, data())
    f = tg.trace(formula)
    return Work(lambda: f(x, y), sample(f(x, y).numpy()))


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    x, y = map(tg.asarray, data())
    return Work(lambda: formula(x, y), sample(formula(x, y).numpy()))


def numpy(case: str) -> Work:
    x, y = data()
    return Work(lambda: formula(x, y), sample(formula(x, y)))


def torch(case: str) -> Work:
    import torch
    x, y = map(torch.from_numpy, data())
    return Work(lambda: formula(x, y), sample(formula(x, y).numpy()))


def torch_compile(case: str) -> Work:
    import torch
    x, y = map(torch.from_numpy, data())
    f = torch.compile(formula, dynamic=False)
    return Work(lambda: f(x, y), sample(f(x, y).numpy()))


def jax(case: str) -> Work:
    import jax
    x, y = map(jax.numpy.asarray, data())
    f = jax.jit(formula)
    return Work(lambda: f(x, y).block_until_ready(), sample(np.asarray(f(x, y))))


BENCHMARK = Benchmark(
    question="the cost of a call: x * 2 + y",
    cases=(CASE,),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "numpy": numpy, "torch": torch,
        "torch.compile": torch_compile, "jax": jax,
    },
)
