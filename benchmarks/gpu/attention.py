"""attention: causal attention in a launch of its own, forward and with its derivatives, beside PyTorch's.

Ratios are to our time: above 1 PyTorch takes longer. Results are held against float64, for the first heads.
"""
from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.gpu.steps import has_torch
from benchmarks.gpu.timing import EventClock, failed, relative_error
from benchmarks.rounds import Row

Sizes = tuple[int, int, int, int]
SIZES: Sizes = (4, 12, 1024, 64)
"""Batch, heads, length, width."""

BOUNDS = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 1e-2}
HEADS_COMPARED = 2


def expected(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """In float64."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    scores[..., ~np.tri(*scores.shape[-2:], dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def measure(sizes: Sizes = SIZES, budget: float = 0.4, clock: EventClock | None = None) -> Iterator[Row]:
    """Each dtype, forward and with derivatives."""
    clock = clock or EventClock()
    batch, heads, length, width = sizes
    flops = 2 * batch * heads * length * length * width         # half of the scores are never looked at
    for dtype in ("bfloat16", "float16", "float32"):
        for what, work in (("forward", flops), ("forward and backward", flops * 7 // 2)):
            case = f"{what}, {dtype}"
            try:
                ours, error = _tracegrad(sizes, dtype, what != "forward")
                seconds = clock.seconds(ours, budget)
            except Exception as failure:  # noqa: BLE001 - the next may do
                yield failed(case, "tracegrad", failure)
                continue
            yield Row(case, "tracegrad", seconds, difference=error, agrees=error <= BOUNDS[dtype],
                      share=_speed(work, seconds))
            try:
                theirs = clock.seconds(_torch(sizes, dtype, what != "forward"), budget) if has_torch() else []
            except Exception as failure:  # noqa: BLE001 - the next may do
                yield failed(case, "torch", failure)
                continue
            if theirs:
                yield Row(case, "torch", theirs, statistics.median(theirs) / statistics.median(seconds),
                          share=_speed(work, theirs))


def _speed(flops: int, seconds: list[float]) -> str:
    return f"{flops / statistics.median(seconds) / 1e12:.1f} TFLOP/s"


def _tracegrad(sizes: Sizes, dtype: str, derivatives: bool) -> tuple[Callable[[], Any], float]:
    """What computes it, and the error of its result."""
    import tracegrad as tg
    attention = tg.nn.functional.scaled_dot_product_attention
    q, k, v, g = (tg.randn(sizes, device="cuda").to(dtype) for _ in range(4))

    @tg.trace(strict=True)
    def forward(q, k, v):
        return attention(q, k, v, is_causal=True)

    @tg.trace(strict=True)
    def both(q, k, v, g):
        y = attention(q, k, v, is_causal=True)
        return y.detach(), *tg.autograd.grad(y, (q, k, v), g)
    if derivatives:
        given = (q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), g)
        found = [both(*given)[0] for _ in range(4)][-1]
    else:
        found = [forward(q, k, v) for _ in range(4)][-1]
    some = [x.detach()[0, :HEADS_COMPARED].cpu().to("float32").numpy() for x in (q, k, v, found)]
    return (lambda: both(*given)) if derivatives else lambda: forward(q, k, v), relative_error(
        some[3], expected(*some[:3]))


def _torch(sizes: Sizes, dtype: str, derivatives: bool, device: str = "cuda") -> Callable[[], Any]:
    import torch
    attention = torch.nn.functional.scaled_dot_product_attention
    q, k, v, g = (torch.randn(sizes, device=device, dtype=getattr(torch, dtype)) for _ in range(4))
    if not derivatives:
        return lambda: attention(q, k, v, is_causal=True)
    wrt = [x.requires_grad_() for x in (q, k, v)]
    return lambda: torch.autograd.grad(attention(q, k, v, is_causal=True), wrt, g)
