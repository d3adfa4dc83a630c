"""checkpoint: a training step of 24 residual layers, all kept for backward, every pair of them computed again, or what
tracegrad chooses to compute again for a memory budget that is what pairs take.

x + tanh(x w + b), width 512, 4096 rows, float32, SGD without momentum. Kept are 24 times x and tanh, 403 MB; of pairs,
12 times x and one pair's values, 134 MB. A pair is computed again but for its last product: at most 23 of 72 products
more, 0.32 of the time. `python -m benchmarks memory --case "24 layers"` has the peaks of the processes.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

LAYERS, WIDTH, ROWS, RATE = 24, 512, 4096, 1e-3
KEPT, AGAIN, BUDGET = CASES = ("24 layers, all kept", "24 layers, pairs computed again", "24 layers, budget of 135 MB")
BYTES = 135_000_000
"""What pairs take; those who have no budget compute pairs again for it."""


def start() -> tuple[list[np.ndarray], np.ndarray]:
    """Weights and biases in turn, and the input."""
    rng = np.random.default_rng(0)
    params: list[np.ndarray] = []
    for _ in range(LAYERS):
        params += [(rng.standard_normal((WIDTH, WIDTH)) * 0.02).astype(np.float32), np.zeros(WIDTH, np.float32)]
    return params, rng.standard_normal((ROWS, WIDTH)).astype(np.float32)


def loss_in(library: Any, checkpoint: Callable[..., Any] | None) -> Callable[..., Any]:
    """The loss, written with what a library names alike."""
    def pair(x, w, b, v, c):
        x = x + library.tanh(x @ w + b)
        return x + library.tanh(x @ v + c)

    def loss(params, x):
        for k in range(0, 2 * LAYERS, 4):
            x = pair(x, *params[k:k + 4]) if checkpoint is None else checkpoint(pair, x, *params[k:k + 4])
        return (x * x).mean()
    return loss


def _tracegrad(case: str, traced: bool) -> Work:
    import tracegrad as tg
    params, x = start()
    params = [tg.tensor(p, requires_grad=True) for p in params]
    optimizer = tg.optim.SGD(params, lr=RATE)
    budget = BYTES if case == BUDGET and traced else None
    loss = loss_in(tg, None if case == KEPT or budget else tg.checkpoint)

    def step(x):
        optimizer.zero_grad()
        y = loss(params, x)
        y.backward()
        optimizer.step()
        return y.detach()

    f: Any = tg.trace(step, strict=True, memory_budget=budget) if traced else step
    x = tg.tensor(x)
    return Work(lambda: f(x), sample(np.array([f(x).item()])))


def tracegrad(case: str) -> Work:
    return _tracegrad(case, True)


def tracegrad_eager(case: str) -> Work:
    return _tracegrad(case, False)


def torch(case: str) -> Work:
    import torch
    from torch.utils.checkpoint import checkpoint
    params, x = start()
    params = [torch.tensor(p, requires_grad=True) for p in params]
    optimizer = torch.optim.SGD(params, lr=RATE)
    loss = loss_in(torch, None if case == KEPT else lambda f, *args: checkpoint(f, *args, use_reentrant=False))
    x = torch.tensor(x)

    def step():
        optimizer.zero_grad()
        y = loss(params, x)
        y.backward()
        optimizer.step()
        return y
    return Work(step, sample(np.array([step().item()])))


BENCHMARK = Benchmark(
    question="a training step of 24 residual layers of width 512, all kept, pairs computed again, or as a budget says",
    cases=CASES,
    contenders={"tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch},
)
