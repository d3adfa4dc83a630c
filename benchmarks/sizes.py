"""sizes: work at a size that is not the first one seen, float32: kernels made for all sizes against those made for one.

The traced function has been called at two other sizes; "tracegrad one size" has not. A step is forward, backward, SGD.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

INPUTS, HIDDEN, CLASSES = 256, 512, 10
WIDTH = 64
STEP, ROWS, ATTENTION = "step of 256-512-10, batch", "softmax of rows,", "attention of 8 heads, length"
CASES = (f"{STEP} 24", f"{STEP} 200", f"{ROWS} 100x300", f"{ROWS} 1000x1000", f"{ATTENTION} 50", f"{ATTENTION} 333")
OTHERS = {STEP: ("16", "40"), ROWS: ("64x128", "200x77"), ATTENTION: ("32", "80")}
"""Sizes that are seen before."""


def parts(case: str) -> tuple[str, str]:
    """Which work, and its size."""
    work, _, size = case.rpartition(" ")
    return work, size


def data(work: str, size: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    if work == STEP:
        x, y = (rng.standard_normal((int(size), n), dtype=np.float32) for n in (INPUTS, CLASSES))
        w, v = (rng.standard_normal(shape, dtype=np.float32) * 0.05 for shape in ((INPUTS, HIDDEN), (HIDDEN, CLASSES)))
        return [x, y, w, v]
    if work == ROWS:
        return [rng.standard_normal(tuple(map(int, size.split("x"))), dtype=np.float32)]
    return list(rng.standard_normal((3, 8, int(size), WIDTH), dtype=np.float32))


def tracegrad_work(work: str) -> Callable:
    import tracegrad as tg

    def step(x, y, w, v):
        loss = ((tg.tanh(x @ w) @ v - y) ** 2).mean()
        dw, dv = tg.autograd.grad(loss, (w, v))
        return (w - 0.1 * dw).detach(), (v - 0.1 * dv).detach()

    def rows(x):
        return (tg.softmax(x, axis=1),)

    def attention(q, k, v):
        return (tg.softmax(q @ k.mT * WIDTH ** -0.5, axis=2) @ v,)

    return {STEP: step, ROWS: rows, ATTENTION: attention}[work]


def traced(case: str, before: bool) -> Work:
    import tracegrad as tg
    work, size = parts(case)
    f = tg.trace(tracegrad_work(work), strict=True)
    for other in (*OTHERS[work], size) if before else (size,):
        arrays = [tg.tensor(a) for a in data(work, other)]
        for weight in arrays[2:] if work == STEP else ():
            weight.requires_grad_()
        f(*arrays)
    return Work(lambda: f(*arrays), [n for result in f(*arrays) for n in sample(result.detach().numpy())])


def tracegrad(case: str) -> Work:
    return traced(case, before=True)


def tracegrad_one_size(case: str) -> Work:
    return traced(case, before=False)


def torch_compile(case: str) -> Work:
    import torch
    work, size = parts(case)

    def step(x, y, w, v):
        (dw, dv) = torch.func.grad(lambda p: ((torch.tanh(x @ p[0]) @ p[1] - y) ** 2).mean())((w, v))
        return w - 0.1 * dw, v - 0.1 * dv

    def rows(x):
        return (torch.softmax(x, 1),)

    def attention(q, k, v):
        return (torch.softmax(q @ k.mT * WIDTH ** -0.5, 2) @ v,)

    f = torch.compile({STEP: step, ROWS: rows, ATTENTION: attention}[work], dynamic=True)
    for other in (*OTHERS[work], size):
        arrays = [torch.from_numpy(a) for a in data(work, other)]
        f(*arrays)
    return Work(lambda: f(*arrays), [n for result in f(*arrays) for n in sample(result.numpy())])


def jax(case: str) -> Work:
    """For this size alone: there are no kernels for several."""
    import jax
    work, size = parts(case)
    jnp = jax.numpy

    def step(x, y, w, v):
        dw, dv = jax.grad(lambda p: ((jnp.tanh(x @ p[0]) @ p[1] - y) ** 2).mean())((w, v))
        return w - 0.1 * dw, v - 0.1 * dv

    def rows(x):
        return (jax.nn.softmax(x, axis=1),)

    def attention(q, k, v):
        return (jax.nn.softmax(q @ k.mT * WIDTH ** -0.5, axis=2) @ v,)

    f = jax.jit({STEP: step, ROWS: rows, ATTENTION: attention}[work])
    arrays = [jnp.asarray(a) for a in data(work, size)]
    return Work(lambda: jax.block_until_ready(f(*arrays)), [n for r in f(*arrays) for n in sample(np.asarray(r))])


BENCHMARK = Benchmark(
    question="kernels made for all sizes, at a size seen third",
    cases=CASES,
    contenders={"tracegrad": tracegrad, "tracegrad one size": tracegrad_one_size, "torch.compile": torch_compile,
                "jax": jax},
    tolerance=1e-3,
)
