"""matmul: products of matrices by size, layout, batch and dtype, in GFLOP/s.

Measured on 2 vCPU with AVX2 (peak 91 GFLOP/s of f32 for one thread, 180 for two, while both have a core of their own
and no neighbor). On one thread our own code reaches 95-97 % of the peak with operands in the second cache, 88-92 % with
those that were elsewhere, OpenBLAS a few percent less up to 256^2 and as much at 512^2. On two threads it is 20 to 40 %
faster than NumPy up to 256^2 and as fast at 512^2; in batches of 64x64x64, twice as fast. At 1024^2 OpenBLAS is ahead
by up to 4 %, at 2048^2 by 5 to 8; from 1024^2 on it is what is called. One row or one column is as fast as memory. A
turn has to be long: for some 20 ms after its threads slept, both may be on one processor.

With AVX-512 (Sapphire Rapids) operands in the first cache come to 205 for one thread and 400 for two, since the clock
falls: 512^2 is at 375 to 395, f64 at 180 to 190, as fast as MKL or up to 4 % faster; 128^2 at 320. Products of no more
columns than a vector has go by strips of one: 4096x512 by 512x8 takes 0.26 ms instead of 0.43, MKL 0.27 to 0.3.

What did not show: rows of a reached from two pointers instead of six; arranging a where its lines lie well; the second
level of LLVM's selection; one row times lines with the result in registers; products that wait for nothing of each
other as one launch; stretches of 128, 192 or 384 terms. What did: no masks in the loop over terms (2x); no instruction
in it but loads and multiply-adds (10-15 % when a neighbor shares the core); asking ahead for what is arranged (2-10 %);
arranging strips of b one by one and a once (5-10 % for a' b); sums of several stretches in a room (3-6 %); as many
panels for each thread (a' b with long sums and a small result had one or three: 128x128 of 2048 terms takes 0.55 of the
time, 512x128 0.8); panels of 264 rows instead of 240 (2-4 %).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

SQUARES = (16, 32, 64, 128, 256, 512, 1024)


def _cases() -> dict[str, tuple[str, int, int, int, int, bool, bool]]:
    """name: dtype, batch, m, n, k, is a transposed, is b."""
    found: dict[str, tuple[str, int, int, int, int, bool, bool]] = {}
    for n in SQUARES:
        found[f"{n} square"] = "float32", 1, n, n, n, False, False
    for n in (64, 512):
        found[f"{n} square, float64"] = "float64", 1, n, n, n, False, False
    for name, turns in {"a' b": (True, False), "a b'": (False, True), "a' b'": (True, True)}.items():
        found[f"512 square, {name}"] = "float32", 1, 512, 512, 512, *turns
    found["64x784 @ 784x512, a b'"] = "float32", 1, 64, 512, 784, False, True
    found["512x64 @ 64x784, a' b"] = "float32", 1, 512, 784, 64, True, False
    found["4096x512 @ 512x8"] = "float32", 1, 4096, 8, 512, False, False
    for length in (64, 512):
        found[f"32 of {length}x64 @ 64x{length}, a b'"] = "float32", 32, length, length, 64, False, True
        found[f"32 of {length}x{length} @ {length}x64"] = "float32", 32, length, 64, length, False, False
    for n in (32, 512, 2048):
        found[f"{n} square times a column"] = "float32", 1, n, 1, n, False, False
    found["a row times 512 square"] = "float32", 1, 1, 512, 512, False, False
    return found


CASES = _cases()


def operands(case: str) -> list[np.ndarray]:
    """a and b as they lie in memory."""
    dtype, batch, m, n, k, turn_a, turn_b = CASES[case]
    random = np.random.default_rng(0)
    shapes = ((k, m) if turn_a else (m, k), (n, k) if turn_b else (k, n))
    return [random.standard_normal((batch, *shape) if batch > 1 else shape).astype(dtype) for shape in shapes]


PRODUCTS: dict[tuple[bool, bool], Callable] = {
    (False, False): lambda a, b: a @ b, (True, False): lambda a, b: a.mT @ b,
    (False, True): lambda a, b: a @ b.mT, (True, True): lambda a, b: a.mT @ b.mT,
}


def product(case: str) -> Callable:
    """The product of a and b as they lie, in the words that all libraries share."""
    *_, turn_a, turn_b = CASES[case]
    return PRODUCTS[turn_a, turn_b]


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    a, b = map(tg.asarray, operands(case))
    f = tg.trace(product(case))
    return Work(lambda: f(a, b), sample(f(a, b).numpy()))


def numpy(case: str) -> Work:
    a, b = operands(case)
    f = product(case)
    return Work(lambda: f(a, b), sample(f(a, b)))


def torch(case: str) -> Work:
    import torch
    a, b = map(torch.from_numpy, operands(case))
    f = product(case)
    return Work(lambda: f(a, b), sample(f(a, b).numpy()))


def jax(case: str) -> Work:
    import jax
    jax.config.update("jax_enable_x64", True)
    a, b = map(jax.numpy.asarray, operands(case))
    f = jax.jit(product(case))
    return Work(lambda: f(a, b).block_until_ready(), sample(np.asarray(f(a, b))))


def flops(sizes: Sequence) -> float:
    _, batch, m, n, k, *_ = sizes
    return 2.0 * batch * m * n * k


def moved(sizes: Sequence) -> float:
    """Bytes of the operands and of the product."""
    dtype, batch, m, n, k, *_ = sizes
    return float(batch * (m * k + k * n + m * n) * np.dtype(dtype).itemsize)


BENCHMARK = Benchmark(
    question="products of matrices, float32 where nothing else is said",
    cases=tuple(CASES),
    contenders={"tracegrad": tracegrad, "numpy": numpy, "torch": torch, "jax": jax},
    bytes_moved={case: moved(sizes) for case, sizes in CASES.items()},
    flops={case: flops(sizes) for case, sizes in CASES.items()},
    dtypes={case: "f64" if sizes[0] == "float64" else "f32" for case, sizes in CASES.items()},
)
