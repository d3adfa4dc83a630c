"""rnn: the loss of a simple recurrence over a sequence and its gradients of all parameters, float32.

h = tanh(x W + b + h U + d) from zeros, loss = the mean square of all h less their targets. Every contender multiplies
all inputs by W at once, before the steps. PyTorch's is `torch.nn.RNN`; `torch.compile` unrolls the steps, where there
are few enough to wait for (64 take it a minute or two), and takes no part beyond; JAX's loop is `lax.scan`, of one
step a turn, or of 16 ("unrolled").

At batch 1 a step is 16 KB of weights times a vector, forward and backward: 0.13 us each on AVX2, a third of the whole;
the three products that are left, of all steps at once, take a third.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.frame import Benchmark, Work, sample


class Sizes(NamedTuple):
    batch: int
    steps: int
    width: int      # of inputs and of states


CASES = {f"batch {s.batch}, {s.steps} steps, width {s.width}": s for s in (
    Sizes(1, 64, 64), Sizes(16, 64, 128), Sizes(1, 8, 64), Sizes(1, 512, 64), Sizes(16, 8, 128), Sizes(16, 512, 128),
    Sizes(32, 64, 128), Sizes(256, 64, 128))}
MOST_UNROLLED = 64      # steps that torch.compile is asked to unroll


def data(sizes: Sizes) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """W and U [width, width], to be applied transposed, and their biases; inputs and targets [steps, batch, width]."""
    batch, steps, width = sizes
    rng = np.random.default_rng(0)
    bound = width ** -0.5
    shapes = ((width, width),) * 2 + ((width,),) * 2
    parameters = [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]
    x, target = rng.standard_normal((2, steps, batch, width), dtype=np.float32)
    return parameters, x, target


def numbers(loss, gradients) -> list[float]:
    return [float(loss), *(n for g in gradients for n in sample(np.asarray(g), 32))]


def tracegrad_step(case: str) -> tuple[Callable, tuple]:
    import tracegrad as tg
    parameters, x, target = data(CASES[case])
    rnn = tg.nn.RNN(*[CASES[case].width] * 2)
    rnn.load_state_dict(dict(zip(rnn.state_dict(), parameters)))

    def step(x, target):
        loss = ((rnn(x)[0] - target) ** 2).mean()
        return loss, tg.autograd.grad(loss, list(rnn.parameters()))

    return step, (tg.asarray(x), tg.asarray(target))


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    step, arguments = tracegrad_step(case)
    f = tg.trace(step, strict=True)
    return Work(lambda: f(*arguments), numbers(*f(*arguments)))


def tracegrad_eager(case: str) -> Work:
    f, arguments = tracegrad_step(case)
    return Work(lambda: f(*arguments), numbers(*f(*arguments)))


def torch(case: str) -> Work:
    import torch
    parameters, *arrays = data(CASES[case])
    x, target = map(torch.from_numpy, arrays)
    rnn = torch.nn.RNN(*[CASES[case].width] * 2)
    rnn.load_state_dict(dict(zip(rnn.state_dict(), map(torch.from_numpy, parameters))))

    def f():
        loss = ((rnn(x)[0] - target) ** 2).mean()
        return loss.detach(), torch.autograd.grad(loss, list(rnn.parameters()))

    return Work(f, numbers(*f()))


def torch_compile(case: str) -> Work:
    import torch
    if CASES[case].steps > MOST_UNROLLED:
        raise NotImplementedError(f"not asked to unroll more than {MOST_UNROLLED} steps")
    parameters, *arrays = data(CASES[case])
    x, target = map(torch.from_numpy, arrays)
    ps = [torch.from_numpy(p) for p in parameters]

    def loss_of(ps, x, target):
        w, u, b, d = ps
        from_x = torch.nn.functional.linear(x, w, b + d)
        h, hs = torch.zeros_like(from_x[0]), []
        for t in range(len(x)):
            h = torch.tanh(from_x[t] + h @ u.T)
            hs.append(h)
        return ((torch.stack(hs) - target) ** 2).mean()

    @torch.compile(fullgraph=True, dynamic=False)
    def step(ps, x, target):
        gradients, loss = torch.func.grad_and_value(loss_of)(ps, x, target)
        return loss, gradients

    return Work(lambda: step(ps, x, target), numbers(*step(ps, x, target)))


def jax_work(case: str, unroll: int) -> Work:
    import jax
    jnp = jax.numpy
    parameters, *arrays = data(CASES[case])
    ps, (x, target) = [jnp.asarray(p) for p in parameters], map(jnp.asarray, arrays)

    def loss_of(ps, x, target):
        w, u, b, d = ps
        from_x = x @ w.T + (b + d)

        def turn(h, x):
            h = jnp.tanh(x + h @ u.T)
            return h, h

        _, hs = jax.lax.scan(turn, jnp.zeros_like(from_x[0]), from_x, unroll=unroll)
        return ((hs - target) ** 2).mean()

    step = jax.jit(jax.value_and_grad(loss_of))
    return Work(lambda: jax.block_until_ready(step(ps, x, target)), numbers(*step(ps, x, target)))


def jax(case: str) -> Work:
    return jax_work(case, 1)


def jax_unrolled(case: str) -> Work:
    return jax_work(case, 16)


def flops(sizes: Sizes) -> float:
    """Multiplications and additions of the products: two forward, for W one backward and for U two."""
    return 5 * 2.0 * sizes.batch * sizes.steps * sizes.width ** 2


BENCHMARK = Benchmark(
    question="a recurrence over a sequence, forward and backward, float32",
    cases=tuple(CASES),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch, "torch.compile": torch_compile,
        "jax": jax, "jax unrolled": jax_unrolled,
    },
    tolerance=1e-3,
    flops={case: flops(sizes) for case, sizes in CASES.items()},
)
