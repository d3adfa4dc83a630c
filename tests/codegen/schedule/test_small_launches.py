"""Launches of one kernel are one, on a machine where a small launch takes longer to start than to do."""
from __future__ import annotations

import numpy as np
import pytest
import training_graphs
from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_oracle import AT_ONCE, agree
from training_graphs import inputs_for

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch, Plan, at_once, written
from codegen.schedule.small_launches import MOST_PARAMS
from codegen.triton_gpu.target import gpu_machine

SHAPES = ((300, 200), (200,), (128, 512), (7,), (64, 65), (1,), (1 << 18,))


def rows(plan: Plan) -> list[int]:
    """How many kernels each launch runs."""
    return [len(numbers) for numbers in at_once(plan.steps) if isinstance(plan.steps[numbers.start], Launch)]


def check_rows(plan: Plan) -> None:
    """What is done at once touches nothing that another of it writes."""
    places = [(buffer.place, buffer.start) for buffer in plan.buffers]
    for numbers in at_once(plan.steps):
        if len(numbers) == 1:
            continue
        steps = [step for step in plan.steps[numbers.start:numbers.stop] if isinstance(step, Launch)]
        assert len(steps) == len(numbers)
        for a in steps:
            stored = {places[k] for k in written(a)}
            assert all(places[k] not in stored for b in steps if b is not a for k in b.buffers)


def test_the_updates_of_all_parameters_are_one_launch() -> None:
    step = training_graphs.adam_step(*SHAPES)
    graph = optimize(step.graph)
    plan = agree(graph, inputs_for(graph), step.aliases, gpu_machine())
    check_rows(plan)
    assert rows(plan) == [1, len(SHAPES) - 1]           # first the count of updates and the parameter of one number


def bias_updates(*columns: int) -> tuple[Graph, tuple[tuple[int, int], ...]]:
    """Biases that go down their gradients, which layers give one after the other."""
    b = Builder("biases")
    x = b.input(TensorType("f32", (64, columns[0])))
    weights = [b.input(TensorType("f32", pair)) for pair in zip(columns, columns[1:])]
    biases = [b.input(TensorType("f32", (n,))) for n in columns[1:]]
    new = []
    for w, bias in zip(weights, biases):
        x = x.emit("matmul", w)
        new.append(bias - x.emit("sum", axis=(0,), keepdims=False) * 0.01)
    return b.graph([*new, x]), tuple((k, 1 + len(weights) + k) for k in range(len(new)))


def test_updates_wait_for_each_other_where_that_takes_little_room() -> None:
    graph, aliases = bias_updates(*[96] * 9)
    plan = agree(graph, inputs_for(graph), aliases, gpu_machine(), rtol=1e-3, atol=1e-3)
    check_rows(plan)
    assert rows(plan) == [8]


def test_what_is_large_is_not_needed_longer() -> None:
    """Each sum reads what a product has made: all of that would be needed at once."""
    graph, aliases = bias_updates(*[1 << 12] * 9)
    plan = schedule(graph, aliases, gpu_machine())
    assert max(rows(plan)) == 1
    assert plan.arena_bytes <= 3 * 64 * 4 << 12


def test_a_long_launch_stays_by_itself() -> None:
    step = training_graphs.adam_step((1 << 22,), (1 << 22,), (100,), (200,))
    assert sorted(rows(schedule(optimize(step.graph), step.aliases, gpu_machine()))) == [1, 1, 1, 2]


def test_a_launch_has_no_more_params_than_there_can_be() -> None:
    step = training_graphs.adam_step(*[(100 + k,) for k in range(150)])
    plan = schedule(optimize(step.graph), step.aliases, gpu_machine())
    check_rows(plan)
    most = max(sum(len(step.buffers) for step in plan.steps[numbers.start:numbers.stop] if isinstance(step, Launch))
               for numbers in at_once(plan.steps))
    assert most <= MOST_PARAMS
    assert rows(plan) == [1, 50, 50, 50]


def test_numbers_are_computed_in_one_launch() -> None:
    """A program for each: one program would wait for memory once for every number."""
    b = Builder("counters")
    counts = [b.input(TensorType("f64")) for _ in range(40)]
    graph = b.graph([count + 1.0 for count in counts])
    plan = agree(graph, inputs_for(graph), tuple((k, k) for k in range(40)), AT_ONCE)
    assert rows(plan) == [40]


def test_what_waits_for_another_is_in_a_later_launch() -> None:
    b = Builder("chains")
    xs = [b.input(TensorType("f32", (40,))) for _ in range(3)]

    def chain(x: Value) -> Value:
        for _ in range(4):
            x = (x - x.emit("sum", axis=(0,), keepdims=True)).emit("cumsum", axis=0)
        return x

    graph = b.graph([chain(x) for x in xs])
    plan = agree(graph, [x / 1e4 for x in inputs_for(graph)], machine=AT_ONCE, rtol=1e-3, atol=1e-3)
    check_rows(plan)
    assert set(rows(plan)) == {3}


def test_small_launches_of_several_kernels_are_one_where_they_wait_for_the_same() -> None:
    b = Builder("several")
    x, y = b.input(TensorType("f32", (40, 30))), b.input(TensorType("f32", (5, 30)))
    count, rates = b.input(TensorType("f64")), [b.input(TensorType("f64")) for _ in range(3)]
    product = x.emit("exp").emit("matmul", y.emit("tanh").emit("transpose", axes=(1, 0)))
    last = [product.emit("sum", axis=(0,), keepdims=False), product.emit("cumsum", axis=1)]
    graph = b.graph([*last, count + 1.0, *(rate.emit("exp") for rate in rates), y * 2.0])
    plan = agree(graph, inputs_for(graph), ((2, 2), (3, 3), (4, 4), (5, 5), (6, 1)), gpu_machine())
    check_rows(plan)
    kinds = [len({step.kernel for k in numbers if isinstance(step := plan.steps[k], Launch)})
             for numbers in at_once(plan.steps)]
    assert max(kinds) >= 3 and len(kinds) <= 4


def test_copies_are_launches() -> None:
    """Six inputs that change places: all are read before any is written."""
    b = Builder("round")
    xs = [b.input(TensorType(dtype, shape)) for dtype in ("f32", "bool") for shape in ((40, 30), (), (40, 30))]
    graph = b.graph([xs[2], xs[1] + 1.0, xs[0], xs[5], xs[4], xs[3]])
    aliases = tuple((k, k) for k in range(6))
    plan = agree(graph, inputs_for(graph), aliases, gpu_machine())
    check_rows(plan)
    assert all(isinstance(step, Launch) for step in plan.steps) and len(rows(plan)) <= 3


def test_a_cpu_is_planned_for_as_before() -> None:
    graph, aliases = bias_updates(*[96] * 9)
    assert schedule(graph, aliases, Machine()) != schedule(graph, aliases, gpu_machine())
    assert max(rows(schedule(graph, aliases, Machine()))) == 1


@pytest.mark.parametrize("machine", [AT_ONCE, gpu_machine()], ids=["small", "gpu"])
@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(("add", "mul", "exp", "sum", "max", "broadcast", "slice", "cumsum", "concat", "matmul"),
              ("f32", "f64"), max_nodes=24, sizes=(1, 2, 3, 4)), st.integers(0, 2**32 - 1))
def test_random_graphs(machine: Machine, graph: Graph, seed: int) -> None:
    with np.errstate(all="ignore"):
        check_rows(agree(graph, arrays_for(graph, seed), machine=machine, rtol=1e-3, atol=1e-3))
