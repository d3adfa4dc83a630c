"""Kernels of random graphs, and those of the golden plans: Triton's interpreter gives what the kernel interpreter does,
and its compiler compiles them.

By default more than five hundred. With TRACEGRAD_ALL_GPU_KERNELS=1 some thousands, which takes two minutes:

    TRACEGRAD_ALL_GPU_KERNELS=1 python -m pytest tests/codegen/triton_gpu/test_agreement.py
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from compiled_kernels import run_some_way
from gpu_extra import needs_triton
from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_kernels import KERNEL_OPS, SIZES, compares, contents, rounds_differently

from codegen.cache import Cache
from codegen.ir.interpret import bind
from codegen.ir.types import FLOATS
from codegen.schedule.binding import plan_at
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_kernel
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch
from codegen.schedule.sizes import kernel_at
from codegen.triton_gpu.compile import compile_specs
from codegen.triton_gpu.emit import emit_kernel
from codegen.triton_gpu.host_check import run
from codegen.triton_gpu.scatters import scatters_of
from codegen.triton_gpu.spec import KernelSpec
from codegen.triton_gpu.target import gpu_machine

pytestmark = needs_triton

TIMES = 10 if os.environ.get("TRACEGRAD_ALL_GPU_KERNELS") == "1" else 1
LARGE = 1 << 16
SEEDS = st.integers(0, 2**32 - 1)
ILL = ("erfinv", "tan", "lgamma", "pow", "log", "log2", "log10", "log1p", "acosh", "atanh", "asin", "acos")
"""Functions whose results may differ much where their operands differ in the last place."""

OPS_DRAWN = tuple(op for op in KERNEL_OPS if op not in ILL)
GOLDEN = Path(__file__).parents[2] / "golden" / "codegen" / "schedule" / "test_fusion"


def agree(kernel: Kernel, seed: int, words: Sequence[int] = (), wide: bool = False,
          run: Callable[..., bool] = run) -> None:
    """Run a kernel, given these words, both ways on the same numbers; not one that is promised what these are."""
    at = kernel_at(kernel, words)
    if any(s.kind == "same" for s in scatters_of(at)):
        return
    if any(p.size > LARGE for p in at.params) or rounds_differently(at) and compares(at):
        return
    generator = np.random.default_rng(seed)
    expected = [contents(p, generator) for p in at.params]
    actual = [x.copy() for x in expected]
    with np.errstate(all="ignore"):
        good = run_kernel(at, expected)
    spec = emit_kernel(kernel, wide)
    assert run(spec, actual, words) == good
    for param, a, e in zip(at.params, actual, expected) if good else ():
        text = f"{print_kernel(at)}\n{spec.source}"
        if param.access == "in" or param.dtype not in FLOATS:
            np.testing.assert_array_equal(a, e, text)
        else:
            bound = 64 * float(ml_dtypes.finfo(e.dtype).eps)
            np.testing.assert_allclose(a.astype("f8"), e.astype("f8"), bound, bound, err_msg=text)


@settings(deadline=None, max_examples=240 * TIMES, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(OPS_DRAWN, sizes=(*SIZES, 300)), SEEDS, st.booleans())
def test_kernels_agree(graph, seed, wide):
    for step in schedule(graph, machine=gpu_machine()).steps:
        if isinstance(step, Launch):
            agree(step.kernel, seed, step.words, wide)


@settings(deadline=None, max_examples=30 * TIMES, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(OPS_DRAWN, max_nodes=4, sizes=(1, 2, 7, 130, 5000, 17000)), SEEDS)
def test_kernels_of_long_lines_agree(graph, seed):
    for step in schedule(graph, machine=gpu_machine()).steps:
        if isinstance(step, Launch):
            agree(step.kernel, seed, step.words)


@settings(deadline=None, max_examples=80 * TIMES, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(OPS_DRAWN, symbolic=True), st.lists(SEEDS, min_size=2, max_size=2))
def test_kernels_that_are_given_sizes_agree(graph, seeds):
    plan = schedule(graph, machine=gpu_machine())
    for seed in seeds:
        bound = plan_at(plan, bind(graph.inputs, [x.shape for x in arrays_for(graph, seed, 40)]))
        for step in bound.steps:
            if isinstance(step, Launch):
                agree(step.kernel, seed, step.words)


ROWS = ("add", "sub", "mul", "maximum", "exp", "tanh", "sum", "sum", "max", "max", "min", "prod", "broadcast",
        "reshape", "transpose", "gather", "cumsum", "scatter_add")


@settings(deadline=None, max_examples=150 * TIMES, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(ROWS, ("f32", "f64", "bf16", "i32", "i8"), max_nodes=14, sizes=(2, 3, 5, 33, 70, 300)), SEEDS)
def test_kernels_of_rows_agree(graph, seed):
    for step in schedule(graph, machine=gpu_machine()).steps:
        if isinstance(step, Launch):
            agree(step.kernel, seed, step.words)


NARROW = ("f16", "bf16", "i8", "i16", "u8", "u16", "u64", "bool")


@settings(deadline=None, max_examples=80 * TIMES, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(OPS_DRAWN, NARROW, sizes=SIZES), SEEDS)
def test_kernels_of_narrow_dtypes_agree(graph, seed):
    for step in schedule(graph, machine=gpu_machine()).steps:
        if isinstance(step, Launch):
            agree(step.kernel, seed, step.words)


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
def test_kernels_compile(capability):
    specs: dict[KernelSpec, None] = {}

    @settings(deadline=None, max_examples=60 * TIMES, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(graphs(KERNEL_OPS, (*NARROW, "f32", "f64", "i32", "i64"), sizes=(2, 3, 33, 300)), st.booleans())
    def collect(graph, wide):
        specs.update((emit_kernel(step.kernel, wide), None) for step in schedule(graph, machine=gpu_machine()).steps
                     if isinstance(step, Launch))

    collect()
    assert len(specs) > 10
    assert len(compile_specs(specs, capability, Cache(None), (False,))) == len(specs)


GOLDEN_PLANS = sorted(file.stem for file in GOLDEN.glob("*.plan"))


@pytest.mark.parametrize("name, how", [
    *(pytest.param(name, run, id=name) for name in GOLDEN_PLANS),
    *(pytest.param(name, run_some_way, id=f"{name} compiled") for name in GOLDEN_PLANS[::1 if TIMES > 1 else 8])])
def test_the_kernels_of_golden_plans_agree(name, how):
    """They were made for processors: with a vector axis, and cut into chunks and tiles."""
    texts = re.findall(r"^  kernel .*?^  }$", (GOLDEN / f"{name}.plan").read_text(), re.DOTALL | re.MULTILINE)
    assert texts
    for text in dict.fromkeys(texts):
        kernel = parse_kernel(text)
        agree(kernel, 0, (130,) * kernel.words, run=how)
