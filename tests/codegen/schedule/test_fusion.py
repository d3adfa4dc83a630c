"""What fuses: how many launches the graphs of training become, and the text of their plans, kept as golden files."""
from __future__ import annotations

from collections.abc import Callable

import pytest
import training_graphs
from plan_oracle import TINY, agree, kernels_of
from training_graphs import Step, inputs_for

from codegen.ir.builder import Builder
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.kernel import Kernel
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Copy, Matmul, Plan
from codegen.schedule.plan_text import print_plan

# the launches and products that each step takes
STEPS: dict[str, tuple[Step, int, int]] = {
    "softmax": (training_graphs.softmax(64, 48), 1, 0),
    "log_softmax": (training_graphs.log_softmax(64, 48), 1, 0),
    "layer_norm": (training_graphs.layer_norm(64, 48), 2, 0),               # rows, and columns for scale and offset
    "batch_norm": (training_graphs.batch_norm(64, 48), 1, 0),
    "cross_entropy": (training_graphs.cross_entropy(64, 10), 2, 0),         # rows, and the mean over them
    "perceptron_step": (training_graphs.perceptron_step(32, 24, 16, 10), 7, 5),
    "adam_step": (training_graphs.adam_step((16, 24), (24,)), 3, 0),        # one for each shape
    "attention": (training_graphs.attention(2, 3, 8, 4), 9, 6),             # heads apart, softmax, together
    "gelu": (training_graphs.gelu(1000), 1, 0),
    "dropout": (training_graphs.dropout(16, 24), 2, 0),
    "convolution": (training_graphs.convolution(4, 3, 8, 5), 4, 3),         # windows, relu, its derivative, back
    "embedding": (training_graphs.embedding(20, 8, 12), 3, 0),              # look up, zeros, add
}


def planned(step: Step, machine: Machine | None = None) -> Plan:
    graph = optimize(step.graph)
    return agree(graph, inputs_for(graph), step.aliases, machine, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_step(name: str, golden: Callable[[str, str], None]) -> None:
    step, launches, products = STEPS[name]
    plan = planned(step)
    assert len(kernels_of(plan)) == launches
    assert sum(isinstance(s, Matmul) for s in plan.steps) == products
    assert not any(isinstance(s, Copy) for s in plan.steps)
    golden(f"{name}.plan", print_plan(plan))


@pytest.mark.parametrize("name", STEPS)
def test_step_in_chunks(name: str) -> None:
    planned(STEPS[name][0], TINY)


def large(op: str, shape: tuple[int, ...], axis: tuple[int, ...]) -> Plan:
    b = Builder("large")
    return schedule(b.graph([b.input(TensorType("f32", shape)).emit(op, axis=axis, keepdims=False)]))


@pytest.mark.parametrize("shape, axis, launches", [
    ((1 << 20,), (0,), 2),              # to one number
    ((65536, 32), (0,), 2),             # to few columns
    ((4, 1 << 18), (1,), 2),            # to few rows
    ((1000, 1000), (0,), 2),            # columns enough for threads, but not for long pieces of rows
    ((1000, 10000), (0,), 1),           # columns enough
    ((1000, 1000), (1,), 1),            # rows enough
    ((100, 100), (0, 1), 1),            # too little to be worth it
    ((99991,), (0,), 1),
    ((999983,), (0,), 2),               # a prime number of elements: the last block is short
])
def test_large_reductions(shape: tuple[int, ...], axis: tuple[int, ...], launches: int) -> None:
    for op in ("sum", "max"):
        kernels = kernels_of(large(op, shape, axis))
        assert len(kernels) == launches
        assert kernels[0].chunks >= 8 or shape in ((100, 100), (99991,))


def test_what_waits_for_a_reduction_in_two_kernels() -> None:
    b = Builder("norm")
    x = b.input(TensorType("f32", (1 << 18,)))
    plan = schedule(b.graph([x / (x * x).emit("sum", axis=(0,), keepdims=False).emit("sqrt")]))
    assert [len(k.passes) for k in kernels_of(plan)] == [2, 2, 1]


def test_steps_of_a_longer_path_are_the_same_kernels() -> None:
    """What is unrolled further is made of kernels that shorter paths have: nothing fuses because it is near."""
    def kernels(length: int) -> set[Kernel]:
        b = Builder("recurrent")
        x, w, h = (b.input(TensorType("f32", (16, 16))) for _ in range(3))
        for _ in range(length):
            h = (h.emit("matmul", w) + x).emit("tanh")
        return set(kernels_of(schedule(b.graph([h]))))
    assert kernels(5) == kernels(3)


def test_unrelated_values_have_kernels_of_their_own() -> None:
    b = Builder("f")
    xs = [b.input(TensorType("f32", (8,))) for _ in range(3)]
    kernels = kernels_of(schedule(b.graph([x.emit("exp") for x in xs])))
    assert len(kernels) == 3 and len(set(kernels)) == 1


def test_values_that_read_the_same_are_computed_together() -> None:
    b = Builder("f")
    x = b.input(TensorType("f32", (64, 32)))
    plan = schedule(b.graph([x.emit(op, axis=(1,), keepdims=False) for op in ("sum", "max", "min")] + [x.emit("exp")]))
    assert len(kernels_of(plan)) == 1


def test_parts_of_a_value_are_taken_in_one_kernel() -> None:
    b = Builder("f")
    x = b.input(TensorType("f32", (5, 4, 4)))
    h = None
    for k in range(5):
        part = x.emit("slice", start=(k, 0, 0), stop=(k + 1, 4, 4), step=(1, 1, 1)).emit("reshape", shape=(4, 4))
        h = part if h is None else h.emit("matmul", part)
    graph = b.graph([h])
    assert len(kernels_of(agree(graph, inputs_for(graph)))) == 1
