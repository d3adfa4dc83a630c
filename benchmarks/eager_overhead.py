"""eager_overhead: what an eager operation costs beside the NumPy call inside it, without and with gradients.

The difference to numpy's row is the library's own time: finding the operation, promotion, the history, views.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

CASES: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda xp, x: x + x,
    "multiply by 2": lambda xp, x: x * 2.0,
    "exp": lambda xp, x: xp.exp(x),
    "matmul": lambda xp, x: x @ x,
    "sum": lambda xp, x: xp.sum(x),
    "reshape": lambda xp, x: x.reshape(64),
}


def data() -> np.ndarray:
    return np.arange(64, dtype=np.float32).reshape(8, 8) / 64


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    x, call = tg.tensor(data()), CASES[case]
    return Work(lambda: call(tg, x), sample(call(tg, x).numpy()))


def tracegrad_with_grad(case: str) -> Work:
    import tracegrad as tg
    x, call = tg.tensor(data(), requires_grad=True), CASES[case]
    return Work(lambda: call(tg, x), sample(call(tg, x).detach().numpy()))


def numpy(case: str) -> Work:
    x, call = data(), CASES[case]
    return Work(lambda: call(np, x), sample(np.asarray(call(np, x))))


def torch(case: str) -> Work:
    import torch
    x, call = torch.from_numpy(data()), CASES[case]
    return Work(lambda: call(torch, x), sample(call(torch, x).numpy()))


def torch_with_grad(case: str) -> Work:
    import torch
    x, call = torch.from_numpy(data()).requires_grad_(), CASES[case]
    return Work(lambda: call(torch, x), sample(call(torch, x).detach().numpy()))


BENCHMARK = Benchmark(
    question="the cost of an eager operation on 8x8 floats",
    cases=tuple(CASES),
    contenders={
        "tracegrad": tracegrad, "tracegrad with grad": tracegrad_with_grad, "numpy": numpy, "torch": torch,
        "torch with grad": torch_with_grad,
    },
)
