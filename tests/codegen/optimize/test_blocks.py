"""Blocks of trees, optimized: what is cheap is made where it is read, what nothing reads is made nowhere."""
from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from tree_strategies import trees

from codegen.ir.program import Program
from codegen.ir.text import parse, print_program
from codegen.ir.tree import closed, opened
from codegen.ir.verify import verify
from codegen.optimize.blocks import optimize_tree
from codegen.optimize.localize import localize

CONSTANTS_AND_VIEWS = """
program constants_and_views {
  block0(%0: f32[2,3], %1: bool[]):
    %2 = constant value=2.0 dtype=f32 : f32[]
    %3 = neg %2 : f32[]
    %4 = transpose %0 axes=[1,0] : f32[3,2]
    %5 = exp %0 : f32[2,3]
    %6 = reshape %5 shape=[6] : f32[6]
    branch %1 -> block1(%3, %4, %6), exit1
  block1(%0: f32[], %1: f32[3,2], %2: f32[6]):
    %3 = mul %1, %0 : f32[3,2]
    %4 = reshape %2 shape=[3,2] : f32[3,2]
    jump block2(%3, %4)
  block2(%0: f32[3,2], %1: f32[3,2]):
    %2 = add %0, %1 : f32[3,2]
    %3 = reshape %2 shape=[6] : f32[6]
    return %3, %1
}
"""
UNREAD = """
program unread {
  block0(%0: f32[4], %1: bool[]):
    %2 = exp %0 : f32[4]
    %3 = log %0 : f32[4]
    branch %1 -> block1(%2, %3), block2(%0, %3)
  block1(%0: f32[4], %1: f32[4]):
    %2 = reshape %0 shape=[4] : f32[4]
    jump block3(%2, %1)
  block2(%0: f32[4], %1: f32[4]):
    return %0
  block3(%0: f32[4], %1: f32[4]):
    %2 = sub %1, %1 : f32[4]
    return %0, %0
}
"""


def program(text: str) -> Program:
    parsed = parse(text)
    assert isinstance(parsed, Program)
    return parsed


@pytest.mark.parametrize("text", [CONSTANTS_AND_VIEWS, UNREAD], ids=["constants_and_views", "unread"])
def test_trees(golden, text: str) -> None:
    tree = opened(program(text))
    for step, found in (("localized", localize(tree)), ("optimized", optimize_tree(tree))):
        verify(closed(found))
        golden(f"{tree.name}.{step}", print_program(closed(found)))


@settings(deadline=None, max_examples=100, derandomize=True, suppress_health_check=list(HealthCheck))
@given(trees())
def test_what_is_opened_closes_to_itself_and_passes_keep_the_types(drawn: Program) -> None:
    verify(drawn)
    assert closed(opened(drawn)) == drawn
    for found in (localize(opened(drawn)), optimize_tree(opened(drawn))):
        verify(closed(found))
        assert opened(closed(found)).types() == found.types()
