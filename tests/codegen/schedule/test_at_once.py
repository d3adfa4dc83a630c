"""Plans for a machine that computes all points at once: what goes over the same rows is one kernel, nothing is cut for
threads or caches, and what is reduced to few points is in as many blocks as there is use for."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from plan_oracle import AT_ONCE, agree, kernels_of

from codegen.ir.builder import Builder, Value
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.kernel import Kernel, Load, Unary
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule

GPU = replace(AT_ONCE, serial_work=1 << 13, chunk_work=1 << 12, most_chunks=256)


def kernels(function: Callable[..., list[Value]], *shapes: tuple[int, ...], machine: Machine = GPU) -> list[Kernel]:
    b = Builder("f")
    graph = optimize(b.graph(function(*(b.input(TensorType("f32", shape)) for shape in shapes))))
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    found = kernels_of(agree(graph, inputs, machine=machine, rtol=2e-3, atol=2e-3))
    assert all(kernel.grain == 0 and all(axis.clip is None for axis in kernel.axes) for kernel in found)
    return found


def over_rows(x: Value, op: str = "sum") -> Value:
    return x.emit(op, axis=(1,), keepdims=True)


def softmax(x: Value) -> Value:
    e = (x - over_rows(x, "max")).emit("exp")
    return e / over_rows(e)


def softmax_and_backward(x: Value, g: Value) -> list[Value]:
    y = softmax(x)
    return [y, y * (g - over_rows(g * y))]


def layer_norm_and_backward(x: Value, g: Value, w: Value, b: Value) -> list[Value]:
    n = x.shape[1]
    away = x - over_rows(x) / n
    deviation = (over_rows(away * away) / n + 1e-5).emit("sqrt")
    y, g = away / deviation, g * w
    return [y * w + b, (g - over_rows(g) / n - y * (over_rows(g * y) / n)) / deviation]


def cross_entropy_and_backward(x: Value, y: Value) -> list[Value]:
    away = x - over_rows(x, "max")
    e = away.emit("exp")
    total = over_rows(e)
    return [over_rows((total.emit("log") - away) * y), e / total - y]


@pytest.mark.parametrize(("function", "shapes", "exponentials"), [
    (softmax_and_backward, [(40, 200)] * 2, 1),
    (layer_norm_and_backward, [(40, 200), (40, 200), (200,), (200,)], 0),
    (cross_entropy_and_backward, [(40, 200)] * 2, 1),
], ids=["softmax", "layer norm", "cross entropy"])
def test_what_goes_over_the_same_rows_is_one_kernel(function: Callable, shapes: list, exponentials: int) -> None:
    """Every operand is loaded once, every exponential computed once: rows stay in registers."""
    kernel, = kernels(function, *shapes)
    statements = [s for one in kernel.passes for s in one.body]
    assert sum(isinstance(s, Unary) and s.op == "exp" for s in statements) == exponentials
    loads = [s.buffer for s in statements if isinstance(s, Load)]
    assert len(loads) == len(set(loads)) == len(shapes)


def test_a_transpose_is_not_cut_into_tiles() -> None:
    kernel, = kernels(lambda x: [x.emit("transpose", axes=(1, 0)) * 2.0], (300, 200))
    assert [axis.extent for axis in kernel.axes] == [200, 300]


@pytest.mark.parametrize(("shape", "axis", "blocks"), [
    ((1 << 20,), (0,), 256), ((1 << 16,), (0,), 16), ((1 << 14,), (0,), 1), ((1 << 10, 64), (1,), 1),
    ((1 << 12, 64), (0,), 32), ((1 << 12, 1 << 10), (0,), 8), ((1 << 6, 1 << 14), (0,), 1),
], ids=str)
def test_reductions_to_few_points_are_in_as_many_blocks_as_there_is_use_for(
        shape: tuple[int, ...], axis: tuple[int, ...], blocks: int) -> None:
    b = Builder("f")
    plan = schedule(b.graph([b.input(TensorType("f32", shape)).emit("sum", axis=axis, keepdims=False)]), machine=GPU)
    first, *rest = kernels_of(plan)
    assert len(rest) == (blocks > 1)
    if rest:
        assert first.axes[0].extent == blocks


@pytest.mark.parametrize("shape, count", [((2, 4096), 1), ((1, 16384), 1), ((120, 9000), 1), ((200, 50257), 1),
                                          ((1, 50257), 5), ((8, 50257), 5), ((2, 1 << 19), 5)], ids=str)
def test_what_waits_for_a_reduction_is_another_kernel_where_programs_would_go_through_long_rows(
        shape: tuple[int, int], count: int) -> None:
    b = Builder("f")
    plan = schedule(optimize(b.graph([softmax(b.input(TensorType("f32", shape)))])), machine=GPU)
    assert len(kernels_of(plan)) == count
