"""elementwise: y = tanh(x * a + b) * exp(-x * x) in float32, from an array that fits the cache to one that does not.

On two Zen 4 cores at 2.8 GHz without AVX-512, eight elements take 17.5 cycles where multiplications alone would take
12: the chain from x to y is 60 cycles long, and a core has some 220 instructions in flight. Against that 64 MB are
read and 64 MB written in 2.5 ms past the caches and in 3.5 ms through them, so 16 M elements wait for arithmetic.
"""
from __future__ import annotations

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

SIZES = {"64 K": 1 << 16, "1 M": 1 << 20, "16 M": 1 << 24, "64 M": 1 << 26}
A, B = 1.5, -0.25


def data(case: str) -> np.ndarray:
    return np.random.default_rng(0).uniform(-2, 2, SIZES[case]).astype(np.float32)


def formula(library, x):
    return library.tanh(x * A + B) * library.exp(-(x * x))


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    x = tg.asarray(data(case))
    f = tg.trace(lambda x: formula(tg, x))
    return Work(lambda: f(x), sample(f(x).numpy()))


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    x = tg.asarray(data(case))
    return Work(lambda: formula(tg, x), sample(formula(tg, x).numpy()))


def numpy(case: str) -> Work:
    x = data(case)
    return Work(lambda: formula(np, x), sample(formula(np, x)))


def torch(case: str) -> Work:
    import torch
    x = torch.from_numpy(data(case))
    return Work(lambda: formula(torch, x), sample(formula(torch, x).numpy()))


def torch_compile(case: str) -> Work:
    import torch
    torch.compiler.reset()
    x = torch.from_numpy(data(case))
    f = torch.compile(lambda x: formula(torch, x), dynamic=False)
    return Work(lambda: f(x), sample(f(x).numpy()))


def jax(case: str) -> Work:
    import jax
    x = jax.numpy.asarray(data(case))
    f = jax.jit(lambda x: formula(jax.numpy, x))
    return Work(lambda: f(x).block_until_ready(), sample(np.asarray(f(x))))


def drjit(case: str) -> Work:
    import drjit
    from drjit.llvm import Float
    x = Float(data(case))

    def call():
        y = formula(drjit, x)
        drjit.eval(y)
        drjit.sync_thread()
        return y

    return Work(call, sample(np.array(call())))


BENCHMARK = Benchmark(
    question="fused elementwise tanh(x a + b) exp(-x x), float32",
    cases=tuple(SIZES),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "numpy": numpy, "torch": torch,
        "torch.compile": torch_compile, "jax": jax, "drjit": drjit,
    },
    bytes_moved={case: 8.0 * n for case, n in SIZES.items()},
)
