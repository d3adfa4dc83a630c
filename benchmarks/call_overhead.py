"""call_overhead: what a call costs when there is next to nothing to compute.

Two arguments of 8 floats; four of them; and a function that reads 100 parameters, in a list, which a compiled call has
to find again and to check. JAX is given the parameters as an argument, which it takes apart at each call.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

CASE = "8 floats"
FOUR = "4 tensors"
CAPTURED = "100 captured parameters"
PARAMETERS = 100


def data(count: int) -> list[np.ndarray]:
    return [np.roll(np.arange(8, dtype=np.float32), k) for k in range(count)]


def two(x, y):
    return x * 2.0 + y


def four(x, y, z, w):
    return x * 2.0 + y * z - w


def summed(x, parameters):
    for p in parameters:
        x = x + p
    return x


def work(case: str, array: Callable[[np.ndarray], Any], numpy: Callable[[Any], np.ndarray],
         compiled: Callable[[Callable], Callable] = lambda function: function,
         finish: Callable[[Any], Any] = lambda result: result) -> Work:
    """The work of a library that is told by how it makes arrays and, if it does, compiles and waits."""
    if case == CAPTURED:
        x, *parameters = map(array, data(1 + PARAMETERS))
        f, arguments = compiled(lambda x: summed(x, parameters)), [x]
    else:
        f, arguments = (compiled(two), [*map(array, data(2))]) if case == CASE else (
            compiled(four), [*map(array, data(4))])
    return Work(lambda: finish(f(*arguments)), sample(numpy(f(*arguments))))


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    return work(case, tg.asarray, lambda x: x.numpy(), tg.trace)


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    return work(case, tg.asarray, lambda x: x.numpy())


def numpy(case: str) -> Work:
    return work(case, lambda x: x, lambda x: x)


def torch(case: str) -> Work:
    import torch
    return work(case, torch.from_numpy, lambda x: x.numpy())


def torch_compile(case: str) -> Work:
    import torch
    return work(case, torch.from_numpy, lambda x: x.numpy(), lambda f: torch.compile(f, dynamic=False))


def jax(case: str) -> Work:
    import jax
    if case != CAPTURED:
        return work(case, jax.numpy.asarray, np.asarray, jax.jit, lambda result: result.block_until_ready())
    x, *parameters = map(jax.numpy.asarray, data(1 + PARAMETERS))
    f = jax.jit(summed)
    return Work(lambda: f(x, parameters).block_until_ready(), sample(np.asarray(f(x, parameters))))


BENCHMARK = Benchmark(
    question="the cost of a call: next to nothing to compute, from few tensors to many",
    cases=(CASE, FOUR, CAPTURED),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "numpy": numpy, "torch": torch,
        "torch.compile": torch_compile, "jax": jax,
    },
)
