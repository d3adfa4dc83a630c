"""calibration: who multiplies faster on this machine, our own code or its BLAS, measured; kept for processes to come.

    f32, a b      512 square 1.27, 1024 1.12, 2048 1.02      of the time of our own code, which multiplies
    f64, a' b     512 square 1.10, 1024 0.93, 2048 0.91      BLAS does from 1024^3 on

1. It takes seconds, so it is done when someone asks (`python -m tracegrad info --measure`), and never by a call.
2. What it finds is for other processes (see blas_panels.multiplier): in one process products of one kind and size are
   computed by one of the two all along, so that equal calls give equal bits.
3. What turns is measured in turns: the ratio is the median of those of rounds. BLAS has to be faster by more than they
   differ for no reason, at a size and at all larger ones, to be asked from there on.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np

from codegen.cache import default_cache
from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu.blas import OWN, Blas, find_blas
from codegen.llvm_cpu.blas_panels import FORMS, LLVM_TYPES, keep_limits
from codegen.llvm_cpu.encode import encode
from codegen.llvm_cpu.entry import make_run
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.matmul import function_of
from codegen.llvm_cpu.products import product
from codegen.llvm_cpu.runtime import Runtime, load_runtime
from codegen.schedule.blocks import program_of_plan
from codegen.schedule.plan import Buffer, Input, Matmul, Output, Plan

SIZES = (512, 1024, 2048)
ROUNDS, SHORTEST = 5, 4e-3
"""Times that both take turns, and how long a turn is at least, in seconds."""

WORTH = 0.97
"""So much of the time of our own code BLAS may take to be asked."""

Ratios = dict[tuple[str, str], tuple[float, ...]]
"""For each dtype and form the time of BLAS as a part of that of our own code, at each of SIZES."""


def calibrate() -> Ratios:
    """Measure, keep what was found if there is a disk cache, and return it; {} where there is no BLAS."""
    blas = find_blas()
    if blas.kind == OWN.kind:
        return {}
    base, cache = load_runtime(replace(blas, above=0)), default_cache()
    with cache.lock:
        names = {function_of(n, n, n, dtype, host_features()) for dtype in LLVM_TYPES for n in SIZES}
        own = {name: next(iter(product(name, cache).addresses().values())) for name in names}
    found: Ratios = {}
    for dtype in LLVM_TYPES:
        for form, turns in FORMS.items():
            found[dtype, form] = tuple(
                _ratio(*[_multiply(_square(n, dtype, *turns), base, own, who) for who in (base.blas, OWN)])
                for n in SIZES)
    keep_limits(limits_of(found))
    return found


def limits_of(ratios: Ratios) -> dict[tuple[str, str], float]:
    """From how many multiply-adds on BLAS is asked."""
    return {key: _limit(of_sizes) for key, of_sizes in ratios.items()}


def _limit(of_sizes: tuple[float, ...]) -> float:
    faster = [all(ratio < WORTH for ratio in of_sizes[k:]) for k in range(len(SIZES))]
    return float(SIZES[faster.index(True)] ** 3) if any(faster) else float("inf")


def _square(n: int, dtype: str, transpose_a: bool, transpose_b: bool) -> Plan:
    type = TensorType(dtype, (n, n))
    buffers = tuple(Buffer(dtype, n * n, place) for place in (Input(0), Input(1), Output(0)))
    step = Matmul(0, 1, 2, dtype, 1, n, n, n, transpose_a, transpose_b)
    return Plan((type, type), (type,), (), buffers, (step,), 0)


def _multiply(plan: Plan, base: Runtime, own: dict[str, int], blas: Blas) -> Callable[[], object]:
    """What computes the plan's one product by `blas`."""
    symbols = {**base.symbols, **own}
    run = make_run(encode(program_of_plan(plan), {}, symbols, blas), 0, symbols)
    random = np.random.default_rng(0)
    arrays = tuple(random.standard_normal(type.shape).astype(DTYPES[type.dtype])        # type: ignore[arg-type]
                   for type in (*plan.inputs, *plan.outputs))
    return lambda: run(arrays)


def _ratio(call: Callable[[], object], other: Callable[[], object]) -> float:
    """The time of one call as a part of that of the other."""
    times = max(1, round(SHORTEST / max(_seconds(call, 1), _seconds(other, 1))))
    return median(_seconds(call, times) / _seconds(other, times) for _ in range(ROUNDS))


def _seconds(call: Callable[[], object], times: int) -> float:
    start = perf_counter()
    for _ in range(times):
        call()
    return perf_counter() - start
