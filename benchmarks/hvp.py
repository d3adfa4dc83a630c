"""hvp: a Hessian-vector product of an MLP's loss by its parameters, and the gradient that it is measured by.

784-512-512-10 with tanh, cross entropy, float32. The product is Pearlmutter's (1994): about twice the work of the
gradient, since each product of matrices has two more beside it.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

SIZES = (784, 512, 512, 10)
BATCH = 64
CASES = ("gradient, batch 64, 784-512-512-10", "hvp, batch 64, 784-512-512-10")


def start() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray, np.ndarray]:
    """Parameters, a direction in their space, inputs and one-hot targets."""
    rng = np.random.default_rng(0)
    shapes = [shape for n, m in zip(SIZES, SIZES[1:]) for shape in ((n, m), (m,))]
    params, along = ([(rng.standard_normal(s) * 0.05).astype(np.float32) for s in shapes] for _ in range(2))
    x = rng.standard_normal((BATCH, SIZES[0])).astype(np.float32)
    return params, along, x, np.eye(SIZES[-1], dtype=np.float32)[rng.integers(0, SIZES[-1], BATCH)]


def loss_in(library: Any) -> Any:
    """The loss, written with what a library names alike: exp, log and tanh."""
    def loss(params, x, y):
        w1, b1, w2, b2, w3, b3 = params
        z = library.tanh(library.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3
        return (library.log(library.exp(z).sum(1)) - (z * y).sum(1)).mean()
    return loss


def _tracegrad(case: str, traced: bool) -> Work:
    import tracegrad as tg
    params, along, x, y = start()
    params, along = [tg.tensor(p) for p in params], [tg.tensor(v) for v in along]
    x, y, loss = tg.tensor(x), tg.tensor(y), loss_in(tg)

    def gradient(params, along, x, y):
        return tg.func.grad(loss)(params, x, y)

    def product(params, along, x, y):
        return tg.func.hvp(lambda params: loss(params, x, y), params, along)

    f: Any = gradient if case == CASES[0] else product
    f = tg.trace(f, strict=True) if traced else f
    return Work(lambda: f(params, along, x, y), sample(f(params, along, x, y)[0].numpy()))


def tracegrad(case: str) -> Work:
    return _tracegrad(case, True)


def tracegrad_eager(case: str) -> Work:
    return _tracegrad(case, False)


def _torch(case: str, compiled: bool) -> Work:
    import torch
    params, along, x, y = start()
    params, along = [torch.from_numpy(p) for p in params], [torch.from_numpy(v) for v in along]
    x, y, loss = torch.from_numpy(x), torch.from_numpy(y), loss_in(torch)

    def gradient(params, along, x, y):
        return torch.func.grad(loss)(params, x, y)

    def product(params, along, x, y):
        return torch.func.jvp(torch.func.grad(lambda params: loss(params, x, y)), (params,), (along,))[1]

    f = gradient if case == CASES[0] else product
    f = torch.compile(f, dynamic=False) if compiled else f
    return Work(lambda: f(params, along, x, y), sample(f(params, along, x, y)[0].numpy()))


def torch(case: str) -> Work:
    return _torch(case, False)


def torch_compile(case: str) -> Work:
    return _torch(case, True)


def jax(case: str) -> Work:
    import jax
    params, along, x, y = start()
    loss = loss_in(jax.numpy)

    def gradient(params, along, x, y):
        return jax.grad(loss)(params, x, y)

    def product(params, along, x, y):
        return jax.jvp(jax.grad(lambda params: loss(params, x, y)), (params,), (along,))[1]

    f = jax.jit(gradient if case == CASES[0] else product)
    given = jax.device_put((params, along, x, y))
    return Work(lambda: jax.block_until_ready(f(*given)), sample(np.asarray(f(*given)[0])))


BENCHMARK = Benchmark(
    question="a Hessian-vector product beside a gradient, float32",
    cases=CASES,
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch, "torch.compile": torch_compile,
        "jax": jax,
    },
)
