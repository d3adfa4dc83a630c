"""halves: products of bfloat16 matrices, and the training step of mlp_step with all of it in bfloat16, or with float32
weights under autocast.

In the tile registers of AMX, with two threads: 512 square 0.13 ms, where products of f32 take 0.73 and PyTorch, which
uses them too, takes 0.2; the step of 256 examples 0.7 to 0.8 ms, PyTorch 1.6.
"""
from __future__ import annotations

import numpy as np

from benchmarks import mlp_step
from benchmarks.frame import Benchmark, Work, sample
from benchmarks.matmul import PRODUCTS

SQUARES = {
    f"{n} square{layout}": (n, turns) for n, layouts in
    ((64, {"": (False, False)}), (256, {"": (False, False)}), (1024, {"": (False, False)}),
     (512, {"": (False, False), ", a' b": (True, False), ", a b'": (False, True)}))
    for layout, turns in layouts.items()}

STEPS = {f"step, {case}": case for case in mlp_step.CASES if case.startswith(("batch 64", "batch 256"))}

AUTOCAST = {f"autocast, {case}": case for case in STEPS.values()}


def squares(case: str) -> list[np.ndarray]:
    random, (n, _) = np.random.default_rng(0), SQUARES[case]
    return [random.standard_normal((n, n)).astype(np.float32) for _ in range(2)]


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    if case in SQUARES:
        a, b = (tg.asarray(x).astype(tg.bfloat16) for x in squares(case))
        f = tg.trace(PRODUCTS[SQUARES[case][1]])
        return Work(lambda: f(a, b), sample(f(a, b).astype(tg.float32).numpy()))
    if case in AUTOCAST:
        step, x, y = mlp_step.tracegrad_step(AUTOCAST[case])
        step = tg.trace(tg.autocast("bfloat16")(step), strict=True)     # neither backward nor the update has casts
        return _of_step(lambda: step(x, y))
    parameters, x, y = mlp_step.data(STEPS[case])
    ps = [tg.asarray(p).astype(tg.bfloat16).requires_grad_() for p in parameters]
    optimizer = tg.optim.SGD(ps, lr=mlp_step.LR)

    @tg.trace(strict=True)
    def step(x, y):
        optimizer.zero_grad()
        for k in range(0, len(ps), 2):
            x = x @ ps[k].T + ps[k + 1]
            x = x if k == len(ps) - 2 else tg.relu(x)
        loss = tg.nn.functional.cross_entropy(x, y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = tg.asarray(x).astype(tg.bfloat16), tg.asarray(y)
    return _of_step(lambda: step(x, y))


def torch(case: str) -> Work:
    import torch
    if case in SQUARES:
        a, b = (torch.from_numpy(x).bfloat16() for x in squares(case))
        f = PRODUCTS[SQUARES[case][1]]
        return Work(lambda: f(a, b), sample(f(a, b).float().numpy()))
    parameters, x, y = mlp_step.data({**STEPS, **AUTOCAST}[case])
    dtype = torch.float32 if case in AUTOCAST else torch.bfloat16
    ps = [torch.from_numpy(p).to(dtype).requires_grad_() for p in parameters]
    x, y = torch.from_numpy(x).to(dtype), torch.from_numpy(y)
    optimizer = torch.optim.SGD(ps, lr=mlp_step.LR)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=case in AUTOCAST):
            loss = mlp_step.torch_loss(ps, x, y)
        loss.backward()
        optimizer.step()
        return loss

    return _of_step(step)


def _of_step(step) -> Work:
    return Work(step, [float(step()) for _ in range(mlp_step.COMPARED_STEPS)])


BENCHMARK = Benchmark(
    question="products of matrices and a training step in bfloat16",
    cases=(*SQUARES, *STEPS, *AUTOCAST),
    contenders={"tracegrad": tracegrad, "torch": torch},
    tolerance=2e-2,
    flops={case: 2.0 * n ** 3 for case, (n, _) in SQUARES.items()},
)
