"""Matrices of the caller's that many products of one row read: a copy is read, whatever becomes of the matrix."""
from __future__ import annotations

import numpy as np
import pytest
from plan_oracle import agree

from codegen.ir.builder import Builder, Value
from codegen.ir.types import TensorType
from codegen.schedule import alignment
from codegen.schedule.alignment import MANY
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Arena, Copy, Input, Matmul, Plan


def planned(count: int, by_column: bool = False, updated: bool = False, rows: int = 1) -> Plan:
    """A vector that is multiplied so often, and the matrix less the last of it, over the matrix if `updated`."""
    b = Builder("f")
    w = b.input(TensorType("f64", (5, 5)))
    x: Value = b.input(TensorType("f64", (5, rows) if by_column else (rows, 5)))
    for _ in range(count):
        x = (w.emit("matmul", x) if by_column else x.emit("matmul", w)) + 1.0
    graph = b.graph([w - x, x] if updated else [x])
    rng = np.random.default_rng(0)
    return agree(graph, [rng.normal(size=t.shape) for t in graph.inputs], ((0, 0),) if updated else ())


def matrices(plan: Plan) -> set[type]:
    """Where what products read as a matrix is."""
    return {type(plan.buffers[b].place) for step in plan.steps if isinstance(step, Matmul)
            for b in (step.a if step.n == 1 else step.b,)}


@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize("updated", [False, True])
def test_many_products_of_a_row_read_a_copy(by_column: bool, updated: bool) -> None:
    plan = planned(MANY, by_column, updated)
    (copied,) = (step for step in plan.steps if isinstance(step, Copy))
    assert plan.buffers[copied.source].place == Input(0) and matrices(plan) == {Arena}
    assert any("begin with a line" in decision.sentence for decision in plan.decisions)


def test_few_products_and_those_of_several_rows_read_the_matrix_itself() -> None:
    for plan in (planned(MANY - 1), planned(MANY, rows=3)):
        assert not any(isinstance(step, Copy) for step in plan.steps) and matrices(plan) == {Input}


def test_large_matrices_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST_BYTES", 5 * 5 * 8 - 1)
    assert matrices(planned(MANY)) == {Input}


def test_what_is_computed_is_not_copied() -> None:
    b = Builder("f")
    w, x = b.input(TensorType("f64", (5, 5))), b.input(TensorType("f64", (1, 5)))
    for _ in range(MANY):
        x = x.emit("matmul", w * 2.0)
    assert not any(isinstance(step, Copy) for step in schedule(b.graph([x])).steps)
