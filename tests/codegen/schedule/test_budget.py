"""Plans within a budget of bytes: the same bits, in no more bytes, and no more done again than that takes."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_oracle import NARROW, TINY, agree

from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.types import TensorType
from codegen.optimize.expand import CORE
from codegen.optimize.pipeline import optimize
from codegen.schedule.kernel_interpret import run_plan
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.parts_of_kernels import only
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Copy, Plan

Aliases = tuple[tuple[int, int], ...]
MACHINES = st.sampled_from([Machine(), TINY, NARROW])
OPS = ("add", "mul", "exp", "tanh", "sum", "max", "matmul", "transpose", "reshape", "gather", "concat", "scatter_add",
       "broadcast", "cumsum")


def layers(count: int, rows: int = 32, width: int = 16, updates: bool = True) -> tuple[Graph, Aliases]:
    """x = x + tanh(x w) over and over, and back: the gradients, or the weights less these, in their storage."""
    b = Builder("layers")
    x = b.input(TensorType("f32", (rows, width)))
    weights = [b.input(TensorType("f32", (width, width))) for _ in range(count)]
    passed = []
    for w in weights:
        y = x.emit("matmul", w).emit("tanh")
        passed.append((x, y))
        x = x + y
    g, new = x, []
    for w, (x, y) in zip(reversed(weights), reversed(passed)):
        inner = g - g * y * y
        new.append(x.emit("transpose", axes=(1, 0)).emit("matmul", inner))
        g = g + inner.emit("matmul", w.emit("transpose", axes=(1, 0)))
    new = [w - dw for w, dw in zip(weights, reversed(new))] if updates else new[::-1]
    return b.graph([*new, g]), tuple((k, k + 1) for k in range(count)) if updates else ()


def again(plan: Plan) -> int:
    return sum(origin.again for origin in plan.origins)


def run(plan: Plan, inputs: list[np.ndarray]) -> list[bytes]:
    found = run_plan(plan, [np.array(x, order="C") for x in inputs])
    assert found is not None
    return [x.tobytes() for x in found]


@pytest.mark.parametrize("updates", [False, True])
@pytest.mark.parametrize("part", [0.8, 0.6, 0.4])
def test_it_does_with_the_budget_and_gives_the_same_bits(updates: bool, part: float) -> None:
    graph, aliases = layers(16, updates=updates)
    whole = schedule(graph, aliases)
    budget = int(part * whole.arena_bytes)
    inputs = arrays_for(graph, 1)
    plan = agree(graph, inputs, aliases, Machine(arena_bytes=budget))
    assert plan.arena_bytes <= budget and 0 < again(plan) < len(whole.steps)
    assert run(plan, inputs) == run(whole, inputs)


def test_less_room_takes_more_work() -> None:
    graph, aliases = layers(24)
    whole = schedule(graph, aliases)
    done = [again(schedule(graph, aliases, Machine(arena_bytes=int(part * whole.arena_bytes))))
            for part in (1.0, 0.7, 0.55, 0.4)]
    assert done[0] == 0 and done == sorted(set(done))


def test_where_there_is_room_nothing_changes() -> None:
    graph, aliases = layers(4)
    whole = schedule(graph, aliases)
    assert schedule(graph, aliases, Machine(arena_bytes=whole.arena_bytes)) == whole


def test_too_small_a_budget_is_the_least_that_was_found() -> None:
    graph, aliases = layers(16)
    whole = schedule(graph, aliases)
    plan = schedule(graph, aliases, Machine(arena_bytes=0))
    assert 0 < plan.arena_bytes < 0.5 * whole.arena_bytes
    inputs = arrays_for(graph, 1)
    assert run(plan, inputs) == run(whole, inputs)


def test_the_state_of_a_generator_is_kept_for_what_draws_again() -> None:
    b = Builder("draws")
    x, w = b.input(TensorType("f32", (64, 16))), b.input(TensorType("f32", (16, 16)))
    key, counter = (b.input(TensorType("u64", ())) for _ in range(2))
    drawn = []
    for k in range(8):
        bits = key.emit("random_bits", counter + b.constant(k * 1024, "u64"), shape=(64, 16))
        x = (x * bits.emit("cast", dtype="f32") * b.constant(2.0 ** -32, "f32")).emit("matmul", w).emit("tanh")
        drawn.append(x)
    counter, total = counter + b.constant(8192, "u64"), x
    total = total * counter.emit("cast", dtype="f32")
    for y in drawn[::-1]:
        total = (total * y).emit("matmul", w)
    graph = b.graph([total, counter])
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=shape).astype(np.float32) for shape in ((64, 16), (16, 16))]
    inputs += [np.asarray(number, np.uint64) for number in (7, 3)]
    whole = schedule(graph, ((1, 3),))
    plan = agree(graph, inputs, ((1, 3),), Machine(arena_bytes=whole.arena_bytes // 2))
    assert plan.arena_bytes <= whole.arena_bytes // 2 and again(plan)
    assert run(plan, inputs) == run(whole, inputs)
    copies = [sum(isinstance(step, Copy) for step in p.steps) for p in (whole, plan)]
    assert copies[1] == copies[0] + 1


def tangled(seed: int, count: int = 30) -> tuple[Graph, Aliases]:
    """Values of one shape, each made of others that may be old; some inputs are written over."""
    rng, b = np.random.default_rng(seed), Builder("tangled")
    inputs = [b.input(TensorType("f32", (8, 8))) for _ in range(4)]
    values = list(inputs)
    for _ in range(count):
        x, y = (values[max(0, len(values) - 1 - int(rng.exponential(8)))] for _ in range(2))
        match rng.integers(6):
            case 0 | 1:
                z = x.emit("matmul", y).emit("tanh")
            case 2:
                z = x * y
            case 3:
                z = x - y.emit("max", axis=(0,), keepdims=True)
            case 4:
                z = (x + y).emit("sum", axis=(1,), keepdims=True) * y
            case _:
                z = x.emit("transpose", axes=(1, 0)).emit("matmul", y)
        values.append(z.emit("tanh"))
    new = [int(v) for v in rng.choice(np.arange(4, len(values)), 2, replace=False)]
    return b.graph([*(values[v] for v in new), values[-1]]), ((0, 0), (1, 1))


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), MACHINES, st.integers(0, 90))
def test_tangled_graphs_give_the_same_bits(seed: int, machine: Machine, percent: int) -> None:
    graph, aliases = tangled(seed)
    inputs = arrays_for(graph, seed)
    whole = schedule(graph, aliases, machine)
    plan = agree(graph, inputs, aliases, replace(machine, arena_bytes=whole.arena_bytes * percent // 100))
    assert plan.arena_bytes <= whole.arena_bytes and run(plan, inputs) == run(whole, inputs)


@settings(deadline=None, max_examples=150)
@given(graphs(ops=[op for op in OPS if op in CORE], max_nodes=24, sizes=(2, 3, 8)), st.integers(0, 2**32 - 1), MACHINES,
       st.integers(0, 90))
def test_random_graphs_agree(graph: Graph, seed: int, machine: Machine, percent: int) -> None:
    graph = optimize(graph)
    whole = schedule(graph, (), machine)
    plan = agree(graph, arrays_for(graph, seed), (), replace(machine, arena_bytes=whole.arena_bytes * percent // 100))
    assert plan.arena_bytes <= whole.arena_bytes


def test_a_part_of_a_kernel() -> None:
    kernel = parse_kernel("""
kernel (b0: f32[64] in, b1: f32[64] out, b2: f32[64] in, b3: f32[64] out) {
  for i < 64 vector:
    pass:
      v0 = load b0[i]
      v1 = exp v0
      store b1[i] v1
      v2 = load b2[i]
      v3 = mul v1 v2
      store b3[i] v3
}
""")
    found = only(kernel, {1})
    assert found is not None and found[1] == (0, 1)
    assert "mul" not in print_kernel(found[0]) and "b2" not in print_kernel(found[0])
    found = only(kernel, {3})
    assert found is not None and found[1] == (0, 2, 3) and "exp" in print_kernel(found[0])


def test_what_adds_up_is_not_taken_apart() -> None:
    kernel = parse_kernel("""
kernel (b0: f32[64] in, b1: f32[64] out, b2: f32[1] out) {
  pass i < 64 vector:
    v0 = load b0[i]
    v1 = exp v0
    store b1[i] v1
    v2 = accumulate sum v1
  pass:
    store b2[0] v2
}
""")
    assert only(kernel, {2}) is None
    assert only(kernel, {1}) is not None
