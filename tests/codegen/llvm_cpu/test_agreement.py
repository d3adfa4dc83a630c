"""Random graphs, scheduled: every kernel computes what the kernel interpreter computes, on each instruction set."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_kernels import compile_kernel, runnable
from random_kernels import KERNEL_OPS, LARGE, ROUNDED, SIZES, compares, contents, rounds_differently

from codegen.ir.interpret import bind
from codegen.ir.ops import OPS
from codegen.llvm_cpu.operations import computes
from codegen.schedule.binding import plan_at
from codegen.schedule.kernel import Accumulate
from codegen.schedule.kernel_interpret import run_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch
from codegen.schedule.sizes import kernel_at


@settings(deadline=None, max_examples=250, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(KERNEL_OPS, sizes=SIZES), st.integers(0, 2**32 - 1), st.sampled_from(list(runnable().values())))
def test_kernels_agree_with_the_interpreter(graph, seed, features):
    plan = schedule(graph, machine=Machine(computes=computes))
    generator = np.random.default_rng(seed)
    for kernel in dict.fromkeys(step.kernel for step in plan.steps if isinstance(step, Launch)):
        if any(p.size > LARGE for p in kernel.params) or rounds_differently(kernel) and compares(kernel):
            continue
        expected = [contents(p, generator) for p in kernel.params]
        actual = [x.copy() for x in expected]
        good = run_kernel(kernel, expected)
        assert compile_kernel(kernel, features)(actual) == (not good)
        if not good:
            continue
        for param, a, e in zip(kernel.params, actual, expected):
            if param.access == "in" or not rounds_differently(kernel) or a.dtype.kind != "f":
                np.testing.assert_array_equal(a, e)
            else:
                np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(KERNEL_OPS, symbolic=True), st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2),
       st.sampled_from(list(runnable().values())), st.sampled_from([Machine(), Machine(serial_work=8, chunk_work=4)]))
def test_kernels_that_are_given_sizes_agree(graph, seeds, features, machine):
    plan = schedule(graph, machine=replace(machine, computes=computes))
    for seed in seeds:
        bound = plan_at(plan, bind(graph.inputs, [x.shape for x in arrays_for(graph, seed, 40)]))
        generator = np.random.default_rng(seed)
        for step in dict.fromkeys(step for step in bound.steps if isinstance(step, Launch)):
            kernel = kernel_at(step.kernel, step.words)
            if rounds_differently(kernel) and compares(kernel):
                continue
            expected = [contents(p, generator) for p in kernel.params]
            actual = [x.copy() for x in expected]
            good = run_kernel(kernel, expected)
            assert compile_kernel(step.kernel, features)(actual, words=step.words) == (not good)
            for param, a, e in zip(kernel.params, actual, expected) if good else ():
                if param.access == "in" or not rounds_differently(kernel) or a.dtype.kind != "f":
                    np.testing.assert_array_equal(a, e)
                else:
                    np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


NARROW = ("f16", "bf16", "i8", "i16", "u8", "u16", "u64", "bool")
UNROUNDED = tuple(op for op in KERNEL_OPS if op not in ROUNDED and OPS[op].dtypes[0] == "f32" and op != "random_bits")


@settings(deadline=None, max_examples=250, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(UNROUNDED, NARROW, sizes=SIZES), st.integers(0, 2**32 - 1), st.sampled_from(list(runnable().values())))
def test_kernels_of_narrow_dtypes_agree_bit_for_bit(graph, seed, features):
    plan = schedule(graph, machine=Machine(computes=computes))
    generator = np.random.default_rng(seed)
    for kernel in dict.fromkeys(step.kernel for step in plan.steps if isinstance(step, Launch)):
        sums = any(isinstance(s, Accumulate) and s.kind in ("sum", "prod") for p in kernel.passes for s in p.body)
        if sums or any(p.size > LARGE for p in kernel.params):
            continue
        expected = [contents(p, generator) for p in kernel.params]
        actual = [x.copy() for x in expected]
        good = run_kernel(kernel, expected)
        assert compile_kernel(kernel, features)(actual) == (not good)
        for a, e in zip(actual, expected):
            assert not good or same_numbers(a, e), kernel


def same_numbers(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal, all NaNs one, and zeros of either sign too."""
    return bool(np.all((a == b) | (a != a) & (b != b)))
