"""The references give what the table of edge semantics says, alone and in vectors."""
from __future__ import annotations

import numpy as np
import pytest
from op_cases import MATRIX_OPS

from codegen.ir.edges import EDGES, Edge, same_bits
from codegen.ir.interpret import interpret
from codegen.ir.ops import CHECKED, ELEMENTWISE, OPS
from codegen.ir.program import CHECK_FAILED, Exit
from codegen.ir.verify import verify

SHAPES = ((), (1,), (3, 37))


@pytest.mark.parametrize("edge", EDGES, ids=str)
@pytest.mark.filterwarnings("error")
def test_references_give_what_the_table_says(edge: Edge) -> None:
    for shape in SHAPES:
        graph = edge.graph(shape)
        verify(graph)
        outcome = interpret(graph, edge.inputs(shape))
        assert edge.holds(outcome), outcome


def test_rows_are_there_once() -> None:
    texts = list(map(str, EDGES))
    assert len(set(texts)) == len(texts)


def test_every_op_that_can_differ_has_a_row() -> None:
    """Of the elementwise and checked ops only and, or and xor give the same on every machine; matrices are no rows."""
    assert {e.op for e in EDGES} >= {
        op.name for op in OPS.values() if op.traits & {ELEMENTWISE, CHECKED}} - {"and", "or", "xor", *MATRIX_OPS}


def test_holds_can_fail() -> None:
    by_text = {str(e): e for e in EDGES}
    row = by_text["div f32 1.0 0.0 -> inf"]
    assert row.holds([np.float32([np.inf, np.inf])]) and not row.holds([np.float32([np.inf, -np.inf])])
    assert not row.holds(CHECK_FAILED)
    negative = by_text["neg f32 0.0 -> -0.0"]
    assert negative.holds([np.float32(-0.0)[()]]) and not negative.holds([np.zeros((), np.float32)])
    leaves = by_text["gather f32 [5] [9223372036854775807] -> exit0"]
    assert leaves.holds(CHECK_FAILED) and not leaves.holds(Exit(1)) and not leaves.holds([np.zeros(1, np.float32)])
    either = by_text["maximum f32 0.0 -0.0 -> zero"]
    assert either.holds([np.float32([0.0, -0.0])]) and not either.holds([np.float32([0.0, 1.0])])


def test_same_bits() -> None:
    a = np.float32([0.0, np.nan])
    assert same_bits(a, np.float32([0.0, -np.nan]))
    assert not same_bits(a, np.float32([-0.0, np.nan]))
    assert not same_bits(a, a.astype(np.float64))
    assert same_bits(np.array([True]), np.array([True])) and not same_bits(np.array([1]), np.array([2]))
