"""heat: 20 explicit steps of the heat equation on a 1024 x 1024 grid with fixed edges, float32, in one call.

    u[1:-1, 1:-1] + k * (left + right + above + below - 4 u), in the words of each library

An array is 4 MB, so that two of them stay in the last cache, whose bandwidth is the floor: 8 MB for each step.
"""
from __future__ import annotations

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

SIZE, STEPS, RATE = 1024, 20, 0.2
CASE = f"{STEPS} steps, {SIZE}x{SIZE}"


def data() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32)


def inside(u):
    """The points with four neighbors, one step later."""
    return u[1:-1, 1:-1] + RATE * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1])


def steps_in_place(u):
    """On a copy, for libraries with assignment."""
    for _ in range(STEPS):
        new = u.clone()
        new[1:-1, 1:-1] = inside(u)
        u = new
    return u


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    f, u = tg.trace(steps_in_place), tg.asarray(data())
    return Work(lambda: f(u), sample(f(u).numpy()))


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    u = tg.asarray(data())
    return Work(lambda: steps_in_place(u), sample(steps_in_place(u).numpy()))


def torch(case: str) -> Work:
    import torch
    u = torch.from_numpy(data())
    return Work(lambda: steps_in_place(u), sample(steps_in_place(u).numpy()))


def torch_compile(case: str) -> Work:
    import torch
    u, f = torch.from_numpy(data()), torch.compile(steps_in_place, fullgraph=True, dynamic=False)
    return Work(lambda: f(u), sample(f(u).numpy()))


def jax(case: str) -> Work:
    import jax
    u = jax.numpy.asarray(data())

    @jax.jit
    def f(u):
        return jax.lax.fori_loop(0, STEPS, lambda _, u: u.at[1:-1, 1:-1].set(inside(u)), u)

    return Work(lambda: jax.block_until_ready(f(u)), sample(np.asarray(f(u))))


def jax_unrolled(case: str) -> Work:
    import jax
    u = jax.numpy.asarray(data())

    @jax.jit
    def f(u):
        for _ in range(STEPS):
            u = u.at[1:-1, 1:-1].set(inside(u))
        return u

    return Work(lambda: jax.block_until_ready(f(u)), sample(np.asarray(f(u))))


BENCHMARK = Benchmark(
    question="heat equation, float32",
    cases=(CASE,),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch, "torch.compile": torch_compile,
        "jax": jax, "jax unrolled": jax_unrolled,
    },
    flops={CASE: 6.0 * STEPS * (SIZE - 2) ** 2},
)
