"""transformer_block: a block of a transformer, forward and backward to its input and all its parameters, float32.

x + attention(norm(x)), then x + mlp(norm(x)): 4 heads that look back (causal), layer norm, an MLP of four times the
width with GELU. PyTorch attends with its own fused `scaled_dot_product_attention`, JAX with
`jax.nn.dot_product_attention`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

HEADS = 4


class Sizes(NamedTuple):
    batch: int
    length: int
    width: int


CASES = {f"batch {s.batch}, length {s.length}, width {s.width}": s for s in (
    Sizes(8, 64, 256), Sizes(4, 128, 256), Sizes(1, 8, 128), Sizes(1, 64, 128), Sizes(1, 512, 128), Sizes(32, 8, 128),
    Sizes(32, 64, 128), Sizes(256, 8, 64))}


def data(sizes: Sizes) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The parameters of `block`; its input, and the cotangent of its result [batch, length, width]."""
    d = sizes.width
    rng = np.random.default_rng(0)
    parameters: list[np.ndarray] = []
    for rows, columns in ((3 * d, d), (d, d), (4 * d, d), (d, 4 * d)):
        bound = columns ** -0.5
        parameters += [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((rows, columns), (rows,))]
    for _ in range(2):
        parameters += [rng.uniform(low, high, d).astype(np.float32) for low, high in ((0.5, 1.5), (-0.5, 0.5))]
    x, g = rng.standard_normal((2, *sizes), dtype=np.float32)
    return parameters, x, g


def block(F: Any, ps: Any, x: Any) -> Any:
    """In the names that tracegrad and PyTorch share."""
    batch, length, width = x.shape
    w_qkv, b_qkv, w_out, b_out, w_up, b_up, w_down, b_down, scale_1, shift_1, scale_2, shift_2 = ps
    qkv = F.linear(F.layer_norm(x, (width,), scale_1, shift_1), w_qkv, b_qkv)
    q, k, v = qkv.reshape(batch, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + F.linear(y.swapaxes(1, 2).reshape(batch, length, width), w_out, b_out)
    up = F.gelu(F.linear(F.layer_norm(x, (width,), scale_2, shift_2), w_up, b_up))
    return x + F.linear(up, w_down, b_down)


def numbers(y, gradients) -> list[float]:
    return [n for array in (y, *gradients) for n in sample(np.asarray(array), 16)]


def tracegrad_step(case: str) -> tuple[Callable, tuple]:
    import tracegrad as tg
    parameters, x, g = data(CASES[case])
    ps = [tg.tensor(p, requires_grad=True) for p in parameters]

    def step(x, g):
        y = block(tg.nn.functional, ps, x)
        return y.detach(), tg.autograd.grad(y, [x, *ps], g)

    return step, (tg.tensor(x, requires_grad=True), tg.asarray(g))


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
    parameters, x, g = data(CASES[case])
    ps = [torch.from_numpy(p).requires_grad_() for p in parameters]
    x, g = torch.from_numpy(x).requires_grad_(), torch.from_numpy(g)

    def step():
        y = block(torch.nn.functional, ps, x)
        return y.detach(), torch.autograd.grad(y, [x, *ps], g)

    return Work(step, numbers(*step()))


def torch_compile(case: str) -> Work:
    import torch
    parameters, x, g = data(CASES[case])
    ps = [torch.from_numpy(p).requires_grad_() for p in parameters]
    x, g = torch.from_numpy(x).requires_grad_(), torch.from_numpy(g)
    compiled = torch.compile(lambda ps, x: block(torch.nn.functional, ps, x), fullgraph=True, dynamic=False)

    def step():
        y = compiled(ps, x)
        return y.detach(), torch.autograd.grad(y, [x, *ps], g)

    return Work(step, numbers(*step()))


def jax(case: str) -> Work:
    import jax
    jnp = jax.numpy
    parameters, *arrays = data(CASES[case])
    ps, (x, g) = [jnp.asarray(p) for p in parameters], map(jnp.asarray, arrays)

    def norm(x, scale, shift):
        x = x - x.mean(axis=-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5) * scale + shift

    def block(ps, x):
        batch, length, width = x.shape
        w_qkv, b_qkv, w_out, b_out, w_up, b_up, w_down, b_down, scale_1, shift_1, scale_2, shift_2 = ps
        qkv = norm(x, scale_1, shift_1) @ w_qkv.T + b_qkv
        q, k, v = jnp.moveaxis(qkv.reshape(batch, length, 3, HEADS, width // HEADS), 2, 0)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + y.reshape(batch, length, width) @ w_out.T + b_out
        up = jax.nn.gelu(norm(x, scale_2, shift_2) @ w_up.T + b_up, approximate=False)
        return x + up @ w_down.T + b_down

    @jax.jit
    def step(ps, x, g):
        y, vjp = jax.vjp(block, ps, x)
        d_ps, dx = vjp(g)
        return y, [dx, *d_ps]

    return Work(lambda: jax.block_until_ready(step(ps, x, g)), numbers(*step(ps, x, g)))


def flops(sizes: Sizes) -> float:
    """Multiplications and additions of the products, three times those of the forward pass, the unseen scores too."""
    batch, length, width = sizes
    return 3 * 2.0 * batch * length * (12 * width ** 2 + 2 * length * width)


BENCHMARK = Benchmark(
    question="a transformer block, forward and backward, float32",
    cases=tuple(CASES),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "torch": torch, "torch.compile": torch_compile,
        "jax": jax,
    },
    tolerance=1e-3,
    flops={case: flops(sizes) for case, sizes in CASES.items()},
)
