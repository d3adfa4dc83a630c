"""Launches that are one launch of the pool, and kernels that are given the length of their axis."""
from __future__ import annotations

import numpy as np
import pytest
import training_graphs
from plan_oracle import agree, kernels_of
from training_graphs import inputs_for

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch, Plan

SHAPES = ((300, 200), (200,), (128, 512), (7,), (64, 65), (1,), (1 << 18,))


def launches(plan: Plan) -> list[int]:
    """How many kernels each launch of the pool runs."""
    found: list[int] = []
    for step in plan.steps:
        assert isinstance(step, Launch)
        found[-1:] = [found[-1] + 1] if step.beside else [*found[-1:], 1]
    return found


def test_the_updates_of_all_parameters_are_one_launch() -> None:
    step = training_graphs.adam_step(*SHAPES)
    graph = optimize(step.graph)
    plan = agree(graph, inputs_for(graph), step.aliases)
    assert max(launches(plan)) >= len(SHAPES) - 1           # the parameter of one number has no axis
    assert sum(count > 1 for count in launches(plan)) == 1
    assert len(set(kernels_of(plan))) <= 3


@pytest.mark.parametrize("spelling", [
    lambda p, g, v: (p - (v * 0.9 + g) * 0.1, v * 0.9 + g),
    lambda p, g, v: (p + -0.1 * (g + 0.9 * v), g + 0.9 * v),
    lambda p, g, v: (p - 0.1 * g - v * 0.09, (v + g / 0.9) * 0.9),
])
def test_whatever_the_update(spelling) -> None:
    b = Builder("update")
    parameters = [[b.input(TensorType("f32", shape)) for _ in range(3)] for shape in SHAPES]
    outputs = [y for p, g, v in parameters for y in spelling(p, g, v)]
    aliases = tuple(pair for k in range(len(SHAPES)) for pair in ((2 * k, 3 * k), (2 * k + 1, 3 * k + 2)))
    graph = optimize(b.graph(outputs))
    plan = agree(graph, inputs_for(graph), aliases)
    assert launches(plan) == [len(SHAPES)]
    assert plan.arena_bytes == 0
    assert len(set(kernels_of(plan))) == 2                  # for any length, and for one number


def test_what_waits_for_another_is_in_a_later_launch() -> None:
    b = Builder("chains")
    xs = [b.input(TensorType("f32", (400, 300))) for _ in range(3)]
    graph = b.graph([x - x.emit("sum", axis=(0,), keepdims=True) / 400 for x in xs])
    plan = agree(graph, inputs_for(graph), atol=1e-4)
    assert max(launches(plan)) > 1
    written: set[int] = set()
    for step in plan.steps:
        assert isinstance(step, Launch)
        access = list(zip(step.buffers, step.kernel.params, strict=True))
        written = written if step.beside else set()
        assert written.isdisjoint(step.buffers)
        written |= {b for b, p in access if p.access != "in"}


def large_temporaries() -> Graph:
    """Each sum of a table has a large result that is read once: done at once, all would be needed at once."""
    b = Builder("temporaries")
    xs = [b.input(TensorType("f32", (300, 200))) for _ in range(6)]
    ys = [x.emit("exp").emit("transpose", axes=(1, 0)).emit("matmul", x.emit("sin")) for x in xs]
    return b.graph([y.emit("sum", axis=(0, 1), keepdims=False) for y in ys])


def test_temporaries_are_not_needed_longer() -> None:
    alone = schedule(optimize(large_temporaries()))
    assert alone.arena_bytes < 3 * 300 * 200 * 4


@pytest.mark.parametrize("sizes", [(70_000, 1000, 3, 250_000), (5, 6)])
def test_compiled(sizes: tuple[int, ...]) -> None:
    b = Builder("update")
    parameters = [[b.input(TensorType("f32", (n,))) for _ in range(2)] for n in sizes]
    graph = b.graph([p - g.emit("tanh") * 0.1 for p, g in parameters])
    cache = Cache(None)
    executable = compile_program(graph, cache=cache)
    assert executable.kernels_compiled == 1
    inputs = inputs_for(graph)
    expected = interpret(graph, inputs)
    assert isinstance(expected, list)
    for found, wanted in zip(executable(*inputs), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
