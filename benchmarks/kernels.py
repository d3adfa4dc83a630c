"""kernels: one kernel at a time, as a share of what this machine was measured to do (see codegen.ceilings).

Bytes are those that have to be read and written, operations those that the formula has, exp and tanh as the additions
that take as long. What does both is shown by the ceiling that it is nearer to. Arrays are float32 where nothing else is
said; those of 64 MB fit no cache. Outputs are fresh, as for everybody.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

FUNCTION = 14       # additions in an exp or a tanh, see codegen.schedule.costs


class Kernel(NamedTuple):
    """What is computed, with `xp` the namespace; of which arrays; elements that are read and written, operations."""

    compute: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    moved: int
    flops: int
    dtype: str = "float32"


def softmax(xp, x):
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def layer_norm(xp, x):
    centered = x - xp.mean(x, axis=1, keepdims=True)
    return centered / xp.sqrt(xp.mean(centered * centered, axis=1, keepdims=True) + 1e-5)


def stencil(xp, x):
    return x[1:-1, 1:-1] + 0.2 * (x[2:, 1:-1] + x[:-2, 1:-1] + x[1:-1, 2:] + x[1:-1, :-2] - 4 * x[1:-1, 1:-1])


LARGE, ROWS, CHAIN = 1 << 24, (4096, 1024), 1 << 20
GRID = (4096, 4096)

KERNELS = {
    "negation, 64 MB": Kernel(lambda xp, x: -x, ((LARGE,),), 2 * LARGE, 0),
    "a + 3 b, 64 MB each": Kernel(lambda xp, a, b: a + 3 * b, ((LARGE,), (LARGE,)), 3 * LARGE, 2 * LARGE),
    "tanh(a x + b) exp(-x x), 4 MB": Kernel(lambda xp, x: xp.tanh(x * 1.5 + 0.5) * xp.exp(-x * x), ((CHAIN,),),
                                            2 * CHAIN, (4 + 2 * FUNCTION) * CHAIN),
    "softmax of 4096 rows of 1024": Kernel(softmax, (ROWS,), 2 * 4096 * 1024, (3 + FUNCTION) * 4096 * 1024),
    "layer norm of 4096 rows of 1024": Kernel(layer_norm, (ROWS,), 2 * 4096 * 1024, 5 * 4096 * 1024),
    "sums of 4096 columns of 4096": Kernel(lambda xp, x: xp.sum(x, axis=0), (GRID,), LARGE, LARGE),
    "x + x.T, 64 MB": Kernel(lambda xp, x: x + x.T, (GRID,), 3 * LARGE, LARGE),
    "rows by index, 32 MB of 64": Kernel(lambda xp, x, k: xp.take(x, k, axis=0), ((1 << 16, 256), (1 << 15,)),
                                         LARGE, 0),
    "five-point stencil, 64 MB": Kernel(stencil, (GRID,), 2 * LARGE, 7 * LARGE),
    "product, 512x512": Kernel(lambda xp, a, b: a @ b, ((512, 512), (512, 512)), 3 * 512**2, 2 * 512**3),
    "product, 512x512, float64": Kernel(lambda xp, a, b: a @ b, ((512, 512), (512, 512)), 3 * 512**2, 2 * 512**3,
                                        "float64"),
}


def arrays(kernel: Kernel) -> list[np.ndarray]:
    """The operands: normal numbers; a second operand of one axis beside one of two is row numbers."""
    rng = np.random.default_rng(0)
    made = [rng.standard_normal(shape, dtype=kernel.dtype) for shape in kernel.shapes]
    if len(kernel.shapes) == 2 and len(kernel.shapes[0]) != len(kernel.shapes[1]):
        made[1] = rng.integers(0, kernel.shapes[0][0], kernel.shapes[1])
    return made


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    kernel = KERNELS[case]
    f = tg.trace(lambda *operands: kernel.compute(tg, *operands))
    operands = [tg.asarray(array) for array in arrays(kernel)]
    return Work(lambda: f(*operands), sample(f(*operands).numpy()))


def numpy(case: str) -> Work:
    kernel = KERNELS[case]
    operands = arrays(kernel)
    return Work(lambda: kernel.compute(np, *operands), sample(kernel.compute(np, *operands)))


BENCHMARK = Benchmark(
    question="single kernels, as a share of the measured bandwidth or peak",
    cases=tuple(KERNELS),
    contenders={"tracegrad": tracegrad, "numpy": numpy},
    bytes_moved={case: kernel.moved * np.dtype(kernel.dtype).itemsize for case, kernel in KERNELS.items()},
    flops={case: kernel.flops for case, kernel in KERNELS.items() if kernel.flops},
    dtypes={case: {"float32": "f32", "float64": "f64"}[kernel.dtype] for case, kernel in KERNELS.items()},
    reads_only=frozenset(case for case in KERNELS if case.startswith("sums")),
)
