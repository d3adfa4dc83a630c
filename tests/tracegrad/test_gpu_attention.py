"""Attention traced for the GPU: launches, and what comes out; kernels run by kernel_interpret."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from oracle_device import OracleDevice

import tracegrad as tg
from tracegrad.nn import functional as F


def by_hand(q: tg.Tensor, k: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
    s = q @ k.swapaxes(-1, -2) / 4.0
    e = tg.exp(s - s.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)) @ v


def divided_late(q: tg.Tensor, k: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
    s = q @ k.swapaxes(-1, -2) / 4.0
    e = tg.exp(s - s.max(-1, keepdims=True))
    return (e @ v) / e.sum(-1, keepdims=True)


MASK = tg.asarray(np.random.default_rng(0).random((9, 11)) < 0.7)
FORMS: dict[str, Callable[[tg.Tensor, tg.Tensor, tg.Tensor], tg.Tensor]] = {
    "softmax": lambda q, k, v: tg.softmax(q @ k.swapaxes(-1, -2) * 0.25, -1) @ v,
    "by hand": by_hand,
    "divided late": divided_late,
    "plain": F.scaled_dot_product_attention,
    "causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "mask": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, MASK),
    "bias": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, MASK.to(q.dtype)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("form", FORMS)
def test_attention_is_one_launch(oracle_device: OracleDevice, form: str, dtype: str) -> None:
    traced = tg.trace(target="triton_gpu")(FORMS[form])
    for length in (9, 9, 9):
        q, k, v = (tg.randn(2, 3, n, 16).to(dtype) for n in (length, 11, 11))
        found, expected = traced(q, k, v), FORMS[form](q, k, v)
        assert found.dtype == expected.dtype
        bound = 1e-5 if dtype == "float32" else 2e-2
        x, y = (np.asarray(t.to("float32")) for t in (found, expected))
        assert np.linalg.norm(x - y) <= bound * np.linalg.norm(y)
    assert oracle_device.launched == 2 and traced.stats.replays == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training(oracle_device: OracleDevice, dtype: str) -> None:
    """Weights of float32, which the derivative reads, are stored; those of halves are computed again for it."""
    def gradients(q, k, v):
        q.grad = k.grad = v.grad = None
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out.to("float32").square().sum().backward()
        return q.grad, k.grad, v.grad

    traced = tg.trace(target="triton_gpu")(gradients)
    inputs = [tg.randn(2, 3, 9, 16).to(dtype).requires_grad_() for _ in range(3)]
    for _ in range(2):
        found, expected = traced(*inputs), gradients(*inputs)
        for x, y in zip(found, expected, strict=True):
            a, b = (np.asarray(t.to("float32")) for t in (x, y))
            assert np.linalg.norm(a - b) <= (1e-5 if dtype == "float32" else 2e-2) * np.linalg.norm(b)
    summaries = [kernel.summary for kernel in traced.explain().kernels]
    assert sum("attention" in s for s in summaries) == (dtype == "bfloat16")
    assert sum(s.startswith("again: ") for s in summaries) == 2 * (dtype == "bfloat16")
