"""new_sizes: a call at a size that no call had before, float32, where a few others came before.

Each round is a process that has seen three sizes, and then calls once at each of some others: the median of those. A
step is forward, backward and SGD; one that clips asks in Python whether the gradient is long, which it is at every
other size or so (torch.compile breaks its graph there, jax is given lax.cond). Traced, the path was recorded for all
sizes: numbers are filled into its program, which takes 25 us for one kernel and about 25 us more for each product, a
root is made around it (35 us: guards with other shapes, where to find inputs, the Python of a replay), and it runs
for the first time (20 us, 4 the next time). No Python of the function runs. torch.compile is told that sizes are
dynamic; jax compiles each anew.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.frame import FreshBenchmark

ELEMENTWISE, STEP, ATTENTION = "elementwise, rows of", "step, batch n,", "attention of 8 heads, width"
CLIPPED = "step that clips, batch n,"
STEPS = STEP, CLIPPED
CASES = {f"{ELEMENTWISE} 16": 20, f"{ELEMENTWISE} 4096": 200, f"{STEP} 20-32-10": 20, f"{STEP} 784-512-10": 60,
         f"{CLIPPED} 20-32-10": 20, f"{ATTENTION} 4": 20, f"{ATTENTION} 64": 200}
"""And the first size of each."""

BEFORE, NEW = 3, 20


def parts(case: str) -> tuple[str, tuple[int, ...]]:
    """Which work, and its fixed sizes."""
    work, _, sizes = case.rpartition(" ")
    return work, tuple(map(int, sizes.split("-")))


def data(case: str, n: int) -> list[np.ndarray]:
    """What is given in a call at size n: the weights of a step, which are always the same, last."""
    rng = np.random.default_rng(0)
    work, sizes = parts(case)
    if work in STEPS:
        inputs, hidden, outputs = sizes
        shapes: list[tuple[int, ...]] = [(inputs, hidden), (hidden, outputs), (n, inputs), (n, outputs)]
    else:
        shapes = [(n, *sizes)] if work == ELEMENTWISE else [(8, n, *sizes)] * 3
    arrays = [rng.standard_normal(shape, dtype=np.float32) * 0.1 for shape in shapes]
    if work == CLIPPED and n // 7 % 2:
        arrays[3] *= 20
    return [*arrays[2:], *arrays[:2]] if work in STEPS else arrays


def measured(case: str, call: Callable[..., object], given: Callable[[np.ndarray], object],
             weight: Callable[[np.ndarray], object] | None = None) -> float:
    """The seconds of a call; `given`: an array as the call takes it, `weight`: one that it differentiates by."""
    first, times = CASES[case], []
    weights = [(weight or given)(a) for a in data(case, 1)[2:]] if parts(case)[0] in STEPS else []
    for k in range(BEFORE + NEW):
        arrays = data(case, first + 7 * k)
        arguments = [*map(given, arrays[:2] if weights else arrays), *weights]
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return statistics.median(times[BEFORE:])


def tracegrad_work(case: str) -> Callable[..., object]:
    import tracegrad as tg

    def elementwise(x):
        return tg.tanh(x * 2 + 1) - tg.exp(-x) * 0.5

    def step(x, y, w, v):
        loss = ((tg.tanh(x @ w) @ v - y) ** 2).mean()
        dw, dv = tg.autograd.grad(loss, (w, v))
        return (w - 0.1 * dw).detach(), (v - 0.1 * dv).detach()

    def clipped(x, y, w, v):
        loss = ((tg.tanh(x @ w) @ v - y) ** 2).mean()
        dw, dv = tg.autograd.grad(loss, (w, v))
        length = ((dw ** 2).sum() + (dv ** 2).sum()) ** 0.5
        if length > 0.1:
            dw, dv = dw * (0.1 / length), dv * (0.1 / length)
        return (w - 0.1 * dw).detach(), (v - 0.1 * dv).detach()

    def attention(q, k, v):
        return tg.softmax(q @ k.mT * q.shape[2] ** -0.5, axis=2) @ v

    return {ELEMENTWISE: elementwise, STEP: step, CLIPPED: clipped, ATTENTION: attention}[parts(case)[0]]


def of_tracegrad(traced: bool) -> Callable[[str, Path], float]:
    def measure(case: str, cache: Path) -> float:
        import codegen
        import tracegrad as tg
        call = tg.trace(tracegrad_work(case)) if traced else tracegrad_work(case)
        for n in range(5, 5 + BEFORE):          # and what these have compiled quickly is compiled well
            call(*[tg.tensor(a, requires_grad=k > 1) for k, a in enumerate(data(case, n))])
        codegen.finish_compiling()
        return measured(case, call, tg.tensor, lambda a: tg.tensor(a, requires_grad=True))
    return measure


def of_torch(compiled: bool) -> Callable[[str, Path], float]:
    def measure(case: str, cache: Path) -> float:
        import torch

        def elementwise(x):
            return torch.tanh(x * 2 + 1) - torch.exp(-x) * 0.5

        def step(x, y, w, v):
            dw, dv = torch.func.grad(lambda p: ((torch.tanh(x @ p[0]) @ p[1] - y) ** 2).mean())((w, v))
            return w - 0.1 * dw, v - 0.1 * dv

        def clipped(x, y, w, v):
            dw, dv = torch.func.grad(lambda p: ((torch.tanh(x @ p[0]) @ p[1] - y) ** 2).mean())((w, v))
            length = ((dw ** 2).sum() + (dv ** 2).sum()) ** 0.5
            if length > 0.1:
                dw, dv = dw * (0.1 / length), dv * (0.1 / length)
            return w - 0.1 * dw, v - 0.1 * dv

        def attention(q, k, v):
            return torch.softmax(q @ k.mT * q.shape[2] ** -0.5, 2) @ v

        call = {ELEMENTWISE: elementwise, STEP: step, CLIPPED: clipped, ATTENTION: attention}[parts(case)[0]]
        return measured(case, torch.compile(call, dynamic=True) if compiled else call, torch.from_numpy)
    return measure


def jax(case: str, cache: Path) -> float:
    import jax
    jnp = jax.numpy

    def elementwise(x):
        return jnp.tanh(x * 2 + 1) - jnp.exp(-x) * 0.5

    def step(x, y, w, v):
        dw, dv = jax.grad(lambda p: ((jnp.tanh(x @ p[0]) @ p[1] - y) ** 2).mean())((w, v))
        return w - 0.1 * dw, v - 0.1 * dv

    def clipped(x, y, w, v):
        dw, dv = jax.grad(lambda p: ((jnp.tanh(x @ p[0]) @ p[1] - y) ** 2).mean())((w, v))
        length = ((dw ** 2).sum() + (dv ** 2).sum()) ** 0.5
        factor = jax.lax.cond(length > 0.1, lambda: 0.1 / length, lambda: jnp.ones(()))
        return w - 0.1 * factor * dw, v - 0.1 * factor * dv

    def attention(q, k, v):
        return jax.nn.softmax(q @ jnp.swapaxes(k, 1, 2) * q.shape[2] ** -0.5, axis=2) @ v

    call = jax.jit({ELEMENTWISE: elementwise, STEP: step, CLIPPED: clipped, ATTENTION: attention}[parts(case)[0]])
    return measured(case, lambda *given: jax.block_until_ready(call(*given)), jnp.asarray)


BENCHMARK = FreshBenchmark(
    question="a call at a size that no call had before",
    cases=tuple(CASES),
    contenders={"tracegrad": of_tracegrad(True), "tracegrad eager": of_tracegrad(False), "torch": of_torch(False),
                "torch.compile": of_torch(True), "jax": jax},
)
