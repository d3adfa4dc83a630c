"""rosenbrock: the gradient of Rosenbrock's function at 8 float32 numbers: 30 flops an element, so what is measured is
what a call costs that has a derivative in it. NumPy's is written by hand.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

CASE = "gradient at 8 floats"


def start() -> np.ndarray:
    return np.linspace(-1.2, 1.0, 8, dtype=np.float32)


def rosenbrock(x: Any) -> Any:
    """H. H. Rosenbrock (1960), for any number of variables."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def tracegrad_gradient(x):
    import tracegrad as tg
    return tg.autograd.grad(rosenbrock(x), x)[0]


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    x, f = tg.tensor(start(), requires_grad=True), tg.trace(tracegrad_gradient, strict=True)
    return Work(lambda: f(x), sample(f(x).numpy()))


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    x = tg.tensor(start(), requires_grad=True)
    return Work(lambda: tracegrad_gradient(x), sample(tracegrad_gradient(x).numpy()))


def numpy(case: str) -> Work:
    def f(x):
        low, high = x[:-1], x[1:]
        error = high - low * low
        g = np.zeros_like(x)
        g[:-1] = -400.0 * low * error - 2.0 * (1.0 - low)
        g[1:] += 200.0 * error
        return g

    x = start()
    return Work(lambda: f(x), sample(f(x)))


def torch(case: str) -> Work:
    import torch
    x = torch.from_numpy(start()).requires_grad_()

    def f():
        return torch.autograd.grad(rosenbrock(x), x)[0]

    return Work(f, sample(f().numpy()))


def torch_compile(case: str) -> Work:
    import torch
    x, f = torch.from_numpy(start()), torch.compile(torch.func.grad(rosenbrock), fullgraph=True, dynamic=False)
    return Work(lambda: f(x), sample(f(x).numpy()))


def jax(case: str) -> Work:
    import jax
    x, f = jax.numpy.asarray(start()), jax.jit(jax.grad(rosenbrock))
    return Work(lambda: f(x).block_until_ready(), sample(np.asarray(f(x))))


BENCHMARK = Benchmark(
    question="the gradient of a small function, float32",
    cases=(CASE,),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "numpy": numpy, "torch": torch,
        "torch.compile": torch_compile, "jax": jax,
    },
)
