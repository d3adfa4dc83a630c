"""layer_norm: the softmax of the layer norm of each row of a [4096, 1024] array, with weight and bias, and its
derivatives for a given cotangent: of the array, the weight and the bias; float32.

    reads x and the cotangent, writes y and the derivative of x: 64 MB; everything else fits the caches
"""
from __future__ import annotations

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

ROWS, COLUMNS = 4096, 1024
CASE = f"{ROWS}x{COLUMNS}"


def data() -> list[np.ndarray]:
    """The array, the cotangent, weight and bias."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in ((ROWS, COLUMNS),) * 2 + ((COLUMNS,),) * 2]


def numbers(results) -> list[float]:
    """Of y and the derivatives of x, weight and bias, each on the scale of its numbers."""
    parts = [np.asarray(result) for result in results]
    return [v for part in parts for v in sample(part / np.abs(part).max())]


def tracegrad_step(x, g, weight, bias):
    import tracegrad as tg
    y = tg.softmax(tg.nn.functional.layer_norm(x, COLUMNS, weight, bias), axis=1)
    return y.detach(), *tg.autograd.grad(y, (x, weight, bias), g)


def tracegrad_data() -> list:
    import tracegrad as tg
    x, g, weight, bias = map(tg.asarray, data())
    for t in (x, weight, bias):
        t.requires_grad_()
    return [x, g, weight, bias]


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    f, args = tg.trace(tracegrad_step), tracegrad_data()
    return Work(lambda: f(*args), numbers(f(*args)))


def tracegrad_eager(case: str) -> Work:
    args = tracegrad_data()
    return Work(lambda: tracegrad_step(*args), numbers(tracegrad_step(*args)))


def torch(case: str) -> Work:
    import torch
    x, g, weight, bias = map(torch.from_numpy, data())
    for t in (x, weight, bias):
        t.requires_grad_()

    def f():
        y = torch.softmax(torch.nn.functional.layer_norm(x, (COLUMNS,), weight, bias), 1)
        return y.detach(), *torch.autograd.grad(y, (x, weight, bias), g)

    return Work(f, numbers(f()))


def torch_compile(case: str) -> Work:
    import torch
    x, g, weight, bias = map(torch.from_numpy, data())

    @torch.compile(fullgraph=True, dynamic=False)
    def f(x, g, weight, bias):
        y, vjp = torch.func.vjp(
            lambda *a: torch.softmax(torch.nn.functional.layer_norm(a[0], (COLUMNS,), *a[1:]), 1), x, weight, bias)
        return y, *vjp(g)

    return Work(lambda: f(x, g, weight, bias), numbers(f(x, g, weight, bias)))


def jax(case: str) -> Work:
    import jax
    import jax.numpy as jnp
    x, g, weight, bias = map(jnp.asarray, data())

    def forward(x, weight, bias):
        away = x - x.mean(axis=1, keepdims=True)
        z = away * jax.lax.rsqrt((away * away).mean(axis=1, keepdims=True) + 1e-5)
        return jax.nn.softmax(z * weight + bias, axis=1)

    @jax.jit
    def f(x, g, weight, bias):
        y, vjp = jax.vjp(forward, x, weight, bias)
        return y, *vjp(g)

    return Work(lambda: jax.block_until_ready(f(x, g, weight, bias)), numbers(f(x, g, weight, bias)))


BENCHMARK = Benchmark(
    question="row softmax of layer norm, forward and backward, float32",
    cases=(CASE,),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch, "torch.compile": torch_compile,
        "jax": jax,
    },
    bytes_moved={CASE: 4.0 * 4 * ROWS * COLUMNS},
)
