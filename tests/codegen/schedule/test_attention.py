"""Two products with weights between them as one launch: which are, what stays, and that it does the same."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from attention_graphs import (
    SCORES,
    WEIGHTS,
    Sizes,
    attention,
    attention_of,
    divided,
    inputs_of,
    special,
    trained,
    turned,
    where,
)
from plan_oracle import SPLICING, agree

from codegen.ir.builder import Value
from codegen.ir.dims import symbol
from codegen.ir.graph import Graph
from codegen.schedule.binding import plan_at
from codegen.schedule.kernel_interpret import run_plan
from codegen.schedule.machine import nowhere
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Attention, CannotLower, Launch, Matmul, Plan, Spliced
from codegen.schedule.plan_text import print_plan
from codegen.schedule.step_reports import step_reports

SMALL = Sizes(2, 7, 5, 3, 4)


def planned(graph: Graph, inputs: list[np.ndarray] | None = None) -> Plan:
    half = any(type.dtype in ("bf16", "f16") for type in graph.inputs)
    bounds = {"rtol": 0.05, "atol": 0.02} if half else {}
    return agree(graph, inputs or inputs_of(graph), machine=SPLICING, **bounds)


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f64"])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("scores", SCORES)
def test_attention_is_one_launch(scores, weights, dtype):
    plan = planned(attention(scores, weights, dtype, SMALL))
    assert kinds(plan) == [Attention] and plan.arena_bytes == 0


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rows_of_scores_that_are_not_finite(weights, dtype):
    graph = attention("biased", weights, dtype, SMALL)
    assert kinds(planned(graph, special(graph))) == [Attention]


def test_text_of_a_plan(golden):
    plan = planned(attention("causal", "divided_late", "f32", SMALL))
    golden("plan.txt", print_plan(plan))
    report, = step_reports(plan)
    golden("report.txt", "\n".join([report.summary, f"{report.bytes_moved} bytes, {report.flops} flops", *report.why]))


def twice(s: Value, v: Value) -> list[Value]:
    out, = divided(s, v)
    return [out.emit("tanh"), out * 0.5]


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_what_is_behind_the_result_stores_several(dtype):
    graph = attention_of(SCORES["scaled"], twice, dtype, SMALL)
    assert kinds(planned(graph)) == [Attention]


def squared(w: Value, s: Value) -> Value:
    return w.emit("matmul", w)


def added(w: Value, s: Value) -> Value:
    return w.emit("matmul", w * 1.0) + w


def of_scores(w: Value, s: Value) -> Value:
    return w.emit("matmul", s)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("use", [squared, added, of_scores, lambda w, s: w.emit("matmul", turned(w) * 2.0) * s])
def test_weights_that_their_own_product_reads_again_are_stored(use, dtype):
    def weights(s: Value, v: Value) -> list[Value]:
        e = (s - s.emit("max", axis=(2,), keepdims=True)).emit("exp")
        return [use(e / e.emit("sum", axis=(2,), keepdims=True), s)]
    assert Attention not in kinds(planned(attention_of(SCORES["plain"], weights, dtype, Sizes(2, 5, 5, 3, 4))))


def test_numbers_of_a_row_are_stored_where_others_read_them():
    def both(s: Value, v: Value) -> list[Value]:
        total = (s - s.emit("max", axis=(2,), keepdims=True)).emit("exp").emit("sum", axis=(2,), keepdims=True)
        return [*divided(s, v), total, total.emit("log").emit("tanh")]
    step, = planned(attention_of(lambda s, more: s, both, "f32", SMALL)).steps
    assert isinstance(step, Attention) and len(step.rows.buffers) == 2 and step.read == 0


def test_late_division_reads_the_total_where_it_is():
    step, = planned(attention("plain", "divided_late", "f32", SMALL)).steps
    assert isinstance(step, Attention) and step.read == 1 and not step.rows.buffers


def test_scores_that_are_nowhere_may_be_many():
    """An index of what is in memory takes 32 bits, however many scores there are."""
    plan = schedule(attention("causal", "divided", "bf16", Sizes(symbol("b"), symbol("m"), symbol("n"), 64, 64)),
                    machine=SPLICING)
    step, = plan_at(plan, {"b": 64, "m": 8192, "n": 8192}).steps
    assert isinstance(step, Attention) and step.scores.product.sizes == (64, 8192, 8192, 64)
    biased = schedule(attention("biased", "divided", "bf16", Sizes(symbol("b"), symbol("m"), symbol("n"), 64, 64)),
                      machine=SPLICING)
    with pytest.raises(CannotLower, match="too large"):
        plan_at(biased, {"b": 64, "m": 8192, "n": 8192})


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_what_derivatives_read_is_computed_again_before_they_do(dtype):
    graph = trained(3, dtype, Sizes(2, 9, 9, 5, 5))
    plan = planned(graph)
    again = [type(step) for step, origin in zip(plan.steps, plan.origins, strict=True) if origin.again]
    assert kinds(plan)[:3] == [Attention] * 3 and again.count(Launch) == 3 and len(again) == 6
    stored = schedule(graph, machine=replace(SPLICING, attends=nowhere))
    assert len(plan.steps) <= len(stored.steps)


def test_it_takes_less_room_and_moves_fewer_bytes():
    graph = trained(4, "bf16", Sizes(8, 128, 128, 16, 16))
    plan, stored = (schedule(graph, machine=machine) for machine in (SPLICING, replace(SPLICING, attends=nowhere)))
    assert plan.arena_bytes < 0.55 * stored.arena_bytes
    moved, before = (sum(report.bytes_moved for report in step_reports(each)) for each in (plan, stored))
    assert moved < before


def test_what_is_multiplied_slowly_is_stored_and_so_is_it_where_there_is_a_budget():
    assert Attention not in kinds(planned(trained(2, "f32", Sizes(2, 9, 9, 5, 5))))
    budgeted = schedule(trained(2, "bf16", Sizes(2, 9, 9, 5, 5)), machine=replace(SPLICING, arena_bytes=1 << 20))
    assert Attention not in kinds(budgeted)


REACHES: dict[str, tuple[int | None, Callable[[Value, Value, Value], Value]]] = {
    "column <= row": (1, lambda s, i, j: where(j.emit("le", i), s, LOW)),
    "column < row": (0, lambda s, i, j: where(j.emit("lt", i), s, LOW)),
    "row >= column": (1, lambda s, i, j: where(i.emit("ge", j), s, LOW)),
    "row > column - 3": (3, lambda s, i, j: where(i.emit("gt", j - 3), s, LOW)),
    "column > row: -inf": (1, lambda s, i, j: otherwise(j.emit("gt", i), s)),
    "row <= column: -inf": (0, lambda s, i, j: otherwise(i.emit("le", j), s)),
    "in a band": (1, lambda s, i, j: where(j.emit("ge", i - 2), where(j.emit("le", i), s, LOW), LOW)),
    "the other way": (None, lambda s, i, j: where(j.emit("ge", i), s, LOW)),
    "twice the row": (None, lambda s, i, j: where(j.emit("le", i * 2), s, LOW)),
    "finite": (None, lambda s, i, j: where(j.emit("le", i), s, -1e9)),
    "equal": (None, lambda s, i, j: where(j.emit("eq", i), s, LOW)),
    "added to": (None, lambda s, i, j: where(j.emit("le", i), s, LOW) + s),
}
LOW = float("-inf")


def otherwise(condition: Value, s: Value) -> Value:
    return condition.emit("where", s.builder.constant(LOW, s.dtype), s)


@pytest.mark.parametrize("name", REACHES)
def test_from_where_on_scores_are_nothing(name):
    expected, scores = REACHES[name]

    def made(s: Value, more: Value) -> Value:
        return scores(s, *(s.iota(s.shape[1:], axis) for axis in (0, 1)))

    step, = planned(attention_of(made, divided, "f32", SMALL)).steps
    assert isinstance(step, Attention) and step.reach == expected


STAYS: dict[str, Callable[[Value, Value], list[Value]]] = {
    "scores are a result": lambda s, v: [*divided(s, v), s],
    "weights are a result": lambda s, v: [w := softmax(s), w.emit("matmul", v)],
    "weights are read twice": lambda s, v: [
        (w := softmax(s)).emit("matmul", v), w.emit("sum", axis=(1,), keepdims=False)],
    "weights of columns": lambda s, v: [softmax(s, 1).emit("matmul", v)],
    "weights that are not of exp": lambda s, v: [
        ((e := (s - s.emit("max", axis=(2,), keepdims=True)).emit("tanh")) / e.emit("sum", axis=(2,), keepdims=True)
         ).emit("matmul", v)],
    "no largest": lambda s, v: [((e := s.emit("exp")) / e.emit("sum", axis=(2,), keepdims=True)).emit("matmul", v)],
    "the largest of others": lambda s, v: [
        ((e := (s - (s * 2.0).emit("max", axis=(2,), keepdims=True)).emit("exp")) / e.emit(
            "sum", axis=(2,), keepdims=True)).emit("matmul", v)],
    "a square of weights": lambda s, v: [((w := softmax(s)) * w).emit("matmul", v)],
    "a shift that follows from the total": lambda s, v: [
        ((s - (s - s.emit("max", axis=(2,), keepdims=True)).emit("exp").emit("sum", axis=(2,), keepdims=True)
          ).emit("exp")).emit("matmul", v)],
    "more than a point": lambda s, v: [softmax(s - s.emit("flip", axes=(2,))).emit("matmul", v)],
}


def softmax(s: Value, axis: int = 2) -> Value:
    e = (s - s.emit("max", axis=(axis,), keepdims=True)).emit("exp")
    return e / e.emit("sum", axis=(axis,), keepdims=True)


@pytest.mark.parametrize("name", STAYS)
def test_what_is_not_one_launch(name):
    plan = planned(attention_of(lambda s, more: s, STAYS[name], "f32", SMALL))
    assert Attention not in kinds(plan) and {Matmul, Spliced} & {*kinds(plan)}


def test_few_rows_are_kernels_of_their_own():
    assert Attention not in kinds(planned(attention("scaled", "divided", "f32", Sizes(2, 1, 5, 3, 4))))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("scores", SCORES)
def test_all_sizes_are_one_plan(scores, weights):
    graph = attention(scores, weights, "f32", Sizes(symbol("b"), symbol("m"), symbol("n"), 3, 4))
    plan = schedule(graph, machine=SPLICING)
    assert kinds(plan) == [Attention]
    for sizes in (Sizes(2, 7, 5, 3, 4), Sizes(3, 2, 8, 3, 4)):
        own = attention(scores, weights, "f32", sizes)
        inputs = inputs_of(own)
        found = run_plan(plan_at(plan, {"b": sizes.batch, "m": sizes.m, "n": sizes.n}), [x.copy() for x in inputs])
        expected = run_plan(schedule(own), [x.copy() for x in inputs])
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
