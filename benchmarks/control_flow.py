"""control_flow: programs that decide by values. Loops until a tolerance, a branch, a recurrence over a list.

The compiled peer is JAX, whose control flow is written with `lax`; PyTorch runs as it is, `torch.compile` breaks the
graph at each decision. The recurrence over a list is JAX's as an unrolled function, compiled for each length.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

SIZE, WIDTH = 256, 64
LENGTHS = (2, 3, 5, 8, 13)


class Library(NamedTuple):
    """What the programs ask of a library: its functions, how arrays come in and out, what compiles."""

    cos: Callable[[Any], Any]
    tanh: Callable[[Any], Any]
    array: Callable[[np.ndarray], Any]
    numpy: Callable[[Any], np.ndarray]
    compiled: Callable[[Callable], Callable]


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


# ---- the programs, in plain Python ----------------------------------------------------------------------------------


def programs(lib: Library) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """By case: a function, and the arguments it is called with in turn."""
    def newton(a):
        x = a
        while abs(x * x - a).max() > 1e-10:
            x = x - (x * x - a) / (2 * x)
        return x

    def fixed_point(b):
        x = b
        while True:
            new = lib.cos(x * 0.5 + b)
            if abs(new - x).max() < 1e-6:
                return new
            x = new

    def conditional(x):
        if x.sum() > 0:
            return x * 2
        return x / 2

    w, u = (lib.array(values(WIDTH, WIDTH, seed=k) / WIDTH) for k in (1, 2))

    def rnn(xs):
        h = xs[0] * 0.0
        for x in xs:
            h = lib.tanh(x @ w + h @ u)
        return h

    starts = (values(SIZE) * 5, values(SIZE, seed=1) * 50)
    lists = tuple([lib.array(values(8, WIDTH, seed=k)) for k in range(n)] for n in LENGTHS)
    return {
        NEWTON: (newton, tuple(map(lib.array, starts))),
        FIXED_POINT: (fixed_point, tuple(map(lib.array, (values(SIZE) * 0.3, values(SIZE, seed=1) * 0.5)))),
        CONDITIONAL: (conditional, tuple(map(lib.array, (values(SIZE), -values(SIZE))))),
        RNN: (rnn, lists),
    }


NEWTON = f"Newton's square roots, {SIZE} f64"
FIXED_POINT = f"fixed point of cos, {SIZE} f64"
CONDITIONAL = f"x * 2 or x / 2, {SIZE} f64"
RNN = f"RNN, 8x{WIDTH} f64, {len(LENGTHS)} lengths in turn"


def work(lib: Library, case: str, function: Callable[..., Any] | None = None) -> Work:
    """One call goes over all arguments, so over every path."""
    plain, arguments = programs(lib)[case]
    f = lib.compiled(function or plain)

    def call() -> Any:
        results = [f(a) for a in arguments]
        for result in results:
            lib.numpy(result)
        return results

    return Work(call, [number for result in call() for number in sample(lib.numpy(result), 16)])


def _tracegrad(compiled: Callable[[Callable], Callable]) -> Library:
    import tracegrad as tg
    return Library(tg.cos, tg.tanh, tg.asarray, lambda x: x.numpy(), compiled)


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    return work(_tracegrad(tg.trace), case)


def tracegrad_eager(case: str) -> Work:
    return work(_tracegrad(lambda function: function), case)


def _torch(compiled: Callable[[Callable], Callable]) -> Library:
    import torch
    return Library(torch.cos, torch.tanh, torch.from_numpy, lambda x: x.numpy(), compiled)


def torch(case: str) -> Work:
    return work(_torch(lambda function: function), case)


def torch_compile(case: str) -> Work:
    import torch
    return work(_torch(torch.compile), case)


def jax(case: str) -> Work:
    import jax
    jax.config.update("jax_enable_x64", True)
    jnp, lax = jax.numpy, jax.lax
    lib = Library(jnp.cos, jnp.tanh, jnp.asarray, lambda x: np.asarray(x.block_until_ready()), jax.jit)

    def newton(a):
        return lax.while_loop(lambda x: jnp.abs(x * x - a).max() > 1e-10, lambda x: x - (x * x - a) / (2 * x), a)

    def fixed_point(b):
        def go_on(state):
            x, new = state
            return ~(jnp.abs(new - x).max() < 1e-6)

        def again(state):
            x = state[1]
            return x, jnp.cos(x * 0.5 + b)

        return lax.while_loop(go_on, again, (b, jnp.cos(b * 0.5 + b)))[1]

    def conditional(x):
        return lax.cond(x.sum() > 0, lambda x: x * 2, lambda x: x / 2, x)

    return work(lib, case, {NEWTON: newton, FIXED_POINT: fixed_point, CONDITIONAL: conditional, RNN: None}[case])


BENCHMARK = Benchmark(
    question="control flow that depends on values, against lax.while_loop and lax.cond",
    cases=(NEWTON, FIXED_POINT, CONDITIONAL, RNN),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "jax": jax, "torch": torch,
        "torch.compile": torch_compile,
    },
    tolerance=1e-9,
)
