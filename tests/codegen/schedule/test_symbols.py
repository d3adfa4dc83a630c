"""Plans with symbols: one plan serves every size, with the kernels that it has, and does what the graph says there."""
from __future__ import annotations

import numpy as np
import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from plan_oracle import NARROW, SPLICING, TINY, kernels_of

from codegen.ir.dims import evaluate, symbol
from codegen.ir.graph import Graph
from codegen.ir.interpret import bind, interpret
from codegen.ir.program import Exit
from codegen.ir.text import parse
from codegen.optimize.expand import CORE
from codegen.optimize.pipeline import optimize
from codegen.schedule.binding import plan_at
from codegen.schedule.kernel import Axis, Index, Kernel, Load, Param, Pass, Quotient, Within
from codegen.schedule.kernel_interpret import run_plan
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.kernel_verify import verify_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import CannotLower, Launch, Plan
from codegen.schedule.plan_text import print_plan
from codegen.schedule.runs import aligns, by_division
from codegen.schedule.sizes import fits, kernel_at

MACHINES = st.sampled_from([Machine(), TINY, NARROW, SPLICING])


def agrees(plan: Plan, graph: Graph, inputs: list[np.ndarray]) -> None:
    """The plan, bound to the sizes of the inputs, has well-formed kernels and gives what the graph does."""
    bound = plan_at(plan, bind(graph.inputs, [x.shape for x in inputs]))
    for step in bound.steps:
        if isinstance(step, Launch):
            verify_kernel(kernel_at(step.kernel, step.words))
    expected, found = interpret(graph, inputs), run_plan(bound, [np.array(x, order="C") for x in inputs])
    if isinstance(expected, Exit):
        assert found is None, "the plan goes on where an index is out of bounds"
        return
    assert found is not None, "the plan leaves at its check, and every index is in bounds"
    for k, (x, y) in enumerate(zip(found, expected, strict=True)):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5, err_msg=f"output {k}")


@settings(deadline=None, max_examples=250, suppress_health_check=list(HealthCheck))
@given(graphs(ops=sorted(CORE), symbolic=True), st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3), MACHINES,
       st.booleans())
def test_random_graphs(graph: Graph, seeds: list[int], machine: Machine, optimized: bool) -> None:
    graph = optimize(graph) if optimized else graph
    try:
        plan = schedule(graph, machine=machine)
    except CannotLower:
        assume(False)
    for kernel in kernels_of(plan):
        assert parse_kernel(print_kernel(kernel)) == kernel
    for seed in seeds:
        agrees(plan, graph, arrays_for(graph, seed, 9))


GRAPHS = {
    "rows": """
        graph rows(%0: f32[b,64], %1: f32[64]) {
          %2 = add %0, %1 : f32[b,64]
          %3 = tanh %2 : f32[b,64]
          %4 = sum %3 axis=[0] keepdims=false : f32[64]
          %5 = max %3 axis=[1] keepdims=false : f32[b]
          return %3, %4, %5
        }""",
    "softmax": """
        graph softmax(%0: f32[b,s]) {
          %1 = max %0 axis=[1] keepdims=true : f32[b,1]
          %2 = sub %0, %1 : f32[b,s]
          %3 = exp %2 : f32[b,s]
          %4 = sum %3 axis=[1] keepdims=true : f32[b,1]
          %5 = div %3, %4 : f32[b,s]
          return %5
        }""",
    "attention": """
        graph attention(%0: f32[b,s,16], %1: f32[b,s,16]) {
          %2 = transpose %1 axes=[0,2,1] : f32[b,16,s]
          %3 = matmul %0, %2 : f32[b,s,s]
          %4 = exp %3 : f32[b,s,s]
          %5 = sum %4 axis=[2] keepdims=true : f32[b,s,1]
          %6 = div %4, %5 : f32[b,s,s]
          %7 = matmul %6, %1 : f32[b,s,16]
          return %7
        }""",
    "moved": """
        graph moved(%0: f32[b,s]) {
          %1 = transpose %0 axes=[1,0] : f32[s,b]
          %2 = exp %1 : f32[s,b]
          %3 = slice %2 start=[1,0] stop=[s,b] step=[1,1] : f32[s-1,b]
          %4 = pad %3 low=[2,0] high=[0,1] interior=[0,0] : f32[s+1,b+1]
          %5 = flip %4 axes=[0] : f32[s+1,b+1]
          %6 = cumsum %5 axis=0 : f32[s+1,b+1]
          return %2, %6
        }""",
}
SIZES = ((2, 3), (8, 5), (33, 130), (7, 64))


@pytest.mark.parametrize("name", GRAPHS)
def test_one_plan_serves_every_size(name: str) -> None:
    graph = optimize(parse(GRAPHS[name]))
    plan = schedule(graph)
    generator = np.random.default_rng(0)
    for b, s in SIZES:
        shapes = [tuple(evaluate(n, {"b": b, "s": s}) for n in type.shape) for type in graph.inputs]
        agrees(plan, graph, [generator.normal(size=shape).astype(np.float32) for shape in shapes])


def test_kernels_know_no_sizes() -> None:
    small, large = (schedule(parse(GRAPHS["rows"].replace("64", n).replace("b", b))) for n, b in
                    (("64", "b"), ("64", "c")))
    assert kernels_of(small) == kernels_of(large)


def test_what_is_bound_is_checked() -> None:
    plan = schedule(parse(GRAPHS["moved"]))
    for b, s in ((1, 5), (5, 1)):
        with pytest.raises(CannotLower, match="from 2 on"):
            plan_at(plan, {"b": b, "s": s})
    with pytest.raises(CannotLower, match="30 bits"):
        plan_at(plan, {"b": 1 << 16, "s": 1 << 16})
    with pytest.raises(ValueError, match="bound to numbers first"):
        run_plan(plan, [np.zeros((2, 2), np.float32)])
    assert "n0 = b" in print_plan(schedule(parse(GRAPHS["rows"])))
    assert "in arena from step 0 to" in print_plan(schedule(parse(GRAPHS["attention"])))


def test_a_product_for_all_sizes_is_bound_to_those_that_its_indices_reach() -> None:
    plan = schedule(parse("""graph f(%0: f32[b,5], %1: f32[5,c]) {
          %2 = matmul %0, %1 : f32[b,c]
          return %2
        }"""), (), SPLICING)
    plan_at(plan, {"b": 1 << 14, "c": 1 << 15})
    with pytest.raises(CannotLower, match="30 bits"):
        plan_at(plan, {"b": 1 << 15, "c": 1 << 15})


def test_fits_looks_at_every_index() -> None:
    plan = schedule(parse(GRAPHS["moved"]))
    for kernel, words in ((step.kernel, step.words) for step in plan.steps if isinstance(step, Launch)):
        small, large = ([evaluate(w, {"b": n, "s": n}) for w in words] for n in (9, 1 << 16))
        assert fits(kernel_at(kernel, small)) and not fits(kernel_at(kernel, large))


def test_fits_looks_inside_quotients() -> None:
    small, large = ((Index(((Quotient(Index((("i", n), ("j", 1))), 1 << 20), 1),)), n) for n in (1 << 8, 1 << 30))
    for index, n in (small, large):
        kernel = Kernel((Param("f32", 1 << 16, "in"),), (Axis("i", 3), Axis("j", n)), (Pass((), (Load(0, index),)),),
                        "j", 0)
        assert fits(kernel) == (n == 1 << 8)


def test_fits_looks_at_guards() -> None:
    i = Index((("i", 1),))
    for high in (1 << 8, 1 << 30):
        body = (Load(0, i, (Within(i, 0, high),)),)
        assert fits(Kernel((Param("f32", 64, "in"),), (Axis("i", 64),), (Pass((), body),), "i", 0)) == (high == 1 << 8)


def test_a_size_that_comes_to_nothing_is_refused() -> None:
    plan = schedule(parse("""
        graph rest(%0: f32[b]) {
          %1 = slice %0 start=[2] stop=[b] step=[1] : f32[b-2]
          %2 = exp %1 : f32[b-2]
          return %2
        }"""))
    with pytest.raises(CannotLower, match="the size b-2 is 0"):
        plan_at(plan, {"b": 2})
    plan_at(plan, {"b": 3})


def test_sizes_are_put_in_order_by_division():
    """Which of two is a part of the other is no question of how large they usually are: 14 - 2*b is negative then."""
    b = symbol("b")
    assert by_division([14 - 2 * b, 1]) == (1, 14 - 2 * b)
    assert by_division([4 * b * b, 1, 2 * b, b]) == (1, b, 2 * b, 4 * b * b)
    assert by_division([12, 1, 4]) == (1, 4, 12)
    assert aligns((14 - 2 * b,), (1, 14 - 2 * b)) and not aligns((6, b), (4, b))
