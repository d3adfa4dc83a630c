"""Positions are compared as i32, where they fit and are no more than positions and numbers."""
from __future__ import annotations

import numpy as np
import pytest

from codegen.ir.builder import Builder
from codegen.ir.interpret import interpret
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize


@pytest.mark.parametrize("op", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_a_mask_of_positions_is_made_of_i32(op: str) -> None:
    b = Builder("mask")
    rows = b.emit("iota", shape=(5, 1), axis=0, dtype="i64").emit("flip", axes=(0,))
    columns = b.emit("iota", shape=(7,), axis=0, dtype="i64") - b.constant(2, "i64")
    graph = b.graph([rows.emit("broadcast", shape=(3, 5, 7)).emit(op, columns)])
    better = optimize(graph)
    assert "i64" not in {node.type.dtype for node in better.nodes}
    assert np.array_equal(interpret(better, [])[0], interpret(graph, [])[0])


@pytest.mark.parametrize("least", [-2**31 - 5, 2**31 + 1, 2**31 - 2])
def test_what_may_not_fit_stays_as_it_is(least: int) -> None:
    b = Builder("far")
    place = b.emit("iota", shape=(9,), axis=0, dtype="i64") + b.constant(least, "i64")
    graph = b.graph([place.emit("lt", b.emit("iota", shape=(9,), axis=0, dtype="i64"))])
    assert "i32" not in {node.type.dtype for node in optimize(graph).nodes}


def test_other_numbers_stay_as_they_are() -> None:
    b = Builder("labels")
    labels = b.input(TensorType("i64", (4, 1)))
    graph = b.graph([labels.emit("eq", b.emit("iota", shape=(4, 9), axis=1, dtype="i64"))])
    assert {node.type.dtype for node in optimize(graph).nodes} == {"i64", "bool"}
