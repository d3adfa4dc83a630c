"""optimizer: one update of 50 parameters of mixed sizes, 10 M numbers in all, from given gradients, float32.

    SGD with momentum reads parameter, gradient and velocity and writes two of them: 5 numbers moved for each
    Adam reads parameter, gradient, mean and square and writes three: 7
"""
from __future__ import annotations

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

LAYERS = ((784, 512), (512, 512), (1024, 256), (1024, 1024), (64, 64)) * 5
SHAPES = tuple(shape for inputs, outputs in LAYERS for shape in ((outputs, inputs), (outputs,)))
COUNT = sum(int(np.prod(shape)) for shape in SHAPES)
LR, MOMENTUM, BETAS, EPS = 1e-3, 0.9, (0.9, 0.999), 1e-8
SGD, ADAM = (f"{name}, {len(SHAPES)} parameters" for name in ("SGD with momentum", "Adam"))
COMPARED = 3


def data() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parameters and gradients."""
    rng = np.random.default_rng(0)
    parameters, gradients = ([rng.standard_normal(shape, dtype=np.float32) for shape in SHAPES] for _ in range(2))
    return parameters, gradients


def numbers(parameters) -> list[float]:
    return [v for p in parameters for v in sample(p, 4)]


def after(update, parameters) -> Work:
    """The parameters after a few updates, to compare, then the update itself, to measure."""
    for _ in range(COMPARED):
        update()
    return Work(update, numbers(p.detach().numpy() for p in parameters))


def tracegrad_update(case: str):
    import tracegrad as tg
    parameters, gradients = ([tg.asarray(array) for array in arrays] for arrays in data())
    for p, g in zip(parameters, gradients):
        p.requires_grad_()
        p.grad = g
    optimizer = tg.optim.SGD(parameters, LR, MOMENTUM) if case == SGD else tg.optim.Adam(parameters, LR, BETAS, EPS)
    return optimizer.step, parameters


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    update, parameters = tracegrad_update(case)

    @tg.trace(strict=True)
    def step():
        update()

    return after(step, parameters)


def tracegrad_eager(case: str) -> Work:
    return after(*tracegrad_update(case))


def torch_update(case: str):
    import torch
    parameters, gradients = ([torch.from_numpy(array) for array in arrays] for arrays in data())
    for p, g in zip(parameters, gradients):
        p.requires_grad_()
        p.grad = g
    if case == SGD:
        return torch.optim.SGD(parameters, LR, MOMENTUM), parameters
    return torch.optim.Adam(parameters, LR, BETAS, EPS), parameters


def torch(case: str) -> Work:
    optimizer, parameters = torch_update(case)
    return after(optimizer.step, parameters)


def torch_compile(case: str) -> Work:
    import torch
    optimizer, parameters = torch_update(case)

    @torch.compile(fullgraph=False)
    def step():
        optimizer.step()

    return after(step, parameters)


def jax(case: str) -> Work:
    import jax
    import jax.numpy as jnp
    parameters, gradients = ([jnp.asarray(array) for array in arrays] for arrays in data())

    def sgd(t, p, g, v):
        v = MOMENTUM * v + g
        return p - LR * v, v

    def adam(t, p, g, mean, square):
        b, c = BETAS
        mean, square = b * mean + (1 - b) * g, c * square + (1 - c) * g * g
        return p - LR / (1 - b**t) * mean / (jnp.sqrt(square / (1 - c**t)) + EPS), mean, square

    rule, states = (sgd, 1) if case == SGD else (adam, 2)

    def update(t, kept, gradients):
        return t + 1, [rule(t + 1, p, g, *state) for (p, *state), g in zip(kept, gradients)]

    update = jax.jit(update, donate_argnums=(0, 1))
    now = [jnp.float32(0), [(p, *(jnp.zeros_like(p) for _ in range(states))) for p in parameters]]

    def step():
        now[:] = update(*now, gradients)
        jax.block_until_ready(now)

    for _ in range(COMPARED):
        step()
    return Work(step, numbers(np.asarray(p) for p, *_ in now[1]))


BENCHMARK = Benchmark(
    question="one update by an optimizer, float32",
    cases=(SGD, ADAM),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch, "torch.compile": torch_compile,
        "jax": jax,
    },
    bytes_moved={SGD: 4.0 * 5 * COUNT, ADAM: 4.0 * 7 * COUNT},
)
