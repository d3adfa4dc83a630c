"""softmax_rows: the softmax of each row of a [4096, 1024] array and its derivative for a given cotangent, float32."""
from __future__ import annotations

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

ROWS, COLUMNS = 4096, 1024
CASE = f"{ROWS}x{COLUMNS}"


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, ROWS, COLUMNS), dtype=np.float32)


def both(y: np.ndarray, dx: np.ndarray) -> list[float]:
    return sample(y * COLUMNS) + sample(dx * COLUMNS)


def tracegrad_step(x, g):
    import tracegrad as tg
    y = tg.softmax(x, axis=1)
    return y.detach(), tg.autograd.grad(y, x, g)[0]


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    f = tg.trace(tracegrad_step)
    x, g = map(tg.asarray, data())
    x.requires_grad_()
    return Work(lambda: f(x, g), both(*(t.numpy() for t in f(x, g))))


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    x, g = map(tg.asarray, data())
    x.requires_grad_()
    return Work(lambda: tracegrad_step(x, g), both(*(t.numpy() for t in tracegrad_step(x, g))))


def torch(case: str) -> Work:
    import torch
    x, g = map(torch.from_numpy, data())
    x.requires_grad_()

    def f():
        y = torch.softmax(x, 1)
        return y.detach(), torch.autograd.grad(y, x, g)[0]

    return Work(f, both(*(t.numpy() for t in f())))


def torch_compile(case: str) -> Work:
    import torch
    x, g = map(torch.from_numpy, data())

    @torch.compile(fullgraph=True, dynamic=False)
    def f(x, g):
        y, vjp = torch.func.vjp(lambda x: torch.softmax(x, 1), x)
        return y, vjp(g)[0]

    return Work(lambda: f(x, g), both(*(t.numpy() for t in f(x, g))))


def jax(case: str) -> Work:
    import jax
    x, g = map(jax.numpy.asarray, data())

    @jax.jit
    def f(x, g):
        y, vjp = jax.vjp(lambda x: jax.nn.softmax(x, axis=1), x)
        return y, vjp(g)[0]

    return Work(lambda: jax.block_until_ready(f(x, g)), both(*map(np.asarray, f(x, g))))


BENCHMARK = Benchmark(
    question="row softmax, forward and backward, float32",
    cases=(CASE,),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch, "torch.compile": torch_compile,
        "jax": jax,
    },
    bytes_moved={CASE: 4.0 * 4 * ROWS * COLUMNS},
)
