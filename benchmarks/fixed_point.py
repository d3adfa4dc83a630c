"""fixed_point: the fixed point of a map of 64x64 float32 arrays, one step after the other until a tolerance.

In "cos" a step is elementwise, in "tanh" it has a product of two matrices. JAX's loop is `lax.while_loop`; the others
are Python loops, in which `torch.compile` has compiled the step and its test.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

SIZE, TOLERANCE = 64, 1e-5
COS, TANH = f"cos(x / 2 + b), {SIZE}x{SIZE}", f"tanh(w x + b), {SIZE}x{SIZE}"


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    w, b = rng.uniform(-1.0, 1.0, (2, SIZE, SIZE)).astype(np.float32)
    return w * np.float32(0.4 / SIZE ** 0.5), b


def iterated(steps: dict[str, Callable[..., Any]], case: str) -> Callable[[Any, Any], Any]:
    """The loop as it is written in Python."""
    step = steps[case]

    def fixed_point(w, b):
        x = b
        while True:
            new = step(x, w, b)
            if abs(new - x).max() < TOLERANCE:
                return new
            x = new

    return fixed_point


def steps(cos: Callable[[Any], Any], tanh: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    return {COS: lambda x, w, b: cos(x * 0.5 + b), TANH: lambda x, w, b: tanh(w @ x + b)}


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    w, b = map(tg.asarray, data())
    f = tg.trace(iterated(steps(tg.cos, tg.tanh), case), strict=True)
    return Work(lambda: f(w, b), sample(f(w, b).numpy()))


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    w, b = map(tg.asarray, data())
    f = iterated(steps(tg.cos, tg.tanh), case)
    return Work(lambda: f(w, b), sample(f(w, b).numpy()))


def numpy(case: str) -> Work:
    w, b = data()
    f = iterated(steps(np.cos, np.tanh), case)
    return Work(lambda: f(w, b), sample(f(w, b)))


def torch(case: str) -> Work:
    import torch
    w, b = map(torch.from_numpy, data())
    f = iterated(steps(torch.cos, torch.tanh), case)
    return Work(lambda: f(w, b), sample(f(w, b).numpy()))


def torch_compile(case: str) -> Work:
    import torch
    w, b = map(torch.from_numpy, data())
    step = steps(torch.cos, torch.tanh)[case]

    @torch.compile(fullgraph=True, dynamic=False)
    def turn(x, w, b):
        new = step(x, w, b)
        return new, abs(new - x).max() < TOLERANCE

    def f(w, b):
        x, done = turn(b, w, b)
        while not done:
            x, done = turn(x, w, b)
        return x

    return Work(lambda: f(w, b), sample(f(w, b).numpy()))


def jax(case: str) -> Work:
    import jax
    jnp, lax = jax.numpy, jax.lax
    w, b = map(jnp.asarray, data())
    step = steps(jnp.cos, jnp.tanh)[case]

    @jax.jit
    def f(w, b):
        def go_on(state):
            x, new = state
            return jnp.abs(new - x).max() >= TOLERANCE

        def again(state):
            return state[1], step(state[1], w, b)

        return lax.while_loop(go_on, again, (b, step(b, w, b)))[1]

    return Work(lambda: f(w, b).block_until_ready(), sample(np.asarray(f(w, b))))


BENCHMARK = Benchmark(
    question="a loop until a tolerance on small arrays, float32",
    cases=(COS, TANH),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "numpy": numpy, "torch": torch,
        "torch.compile": torch_compile, "jax": jax,
    },
)
