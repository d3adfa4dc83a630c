"""Rules of matmul: the text they give, and the same numbers up to the order of additions."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.edges import same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.text import parse, print_graph
from codegen.ir.types import DTYPES
from codegen.ir.verify import verify
from codegen.optimize.pipeline import optimize

CASES = {
    "a transposed product": ("""
        graph f(%0: f32[4,3], %1: f32[4,5]) {
          %2 = transpose %0 axes=[1,0] : f32[3,4]
          %3 = matmul %2, %1 : f32[3,5]
          %4 = transpose %3 axes=[1,0] : f32[5,3]
          return %4
        }""", ["%2 = transpose %1 axes=[1,0] : f32[5,4]", "%3 = matmul %2, %0 : f32[5,3]", "return %3"]),
    "of a batch": ("""
        graph f(%0: f32[2,4,3], %1: f32[2,5,3]) {
          %2 = transpose %1 axes=[0,2,1] : f32[2,3,5]
          %3 = matmul %0, %2 : f32[2,4,5]
          %4 = transpose %3 axes=[0,2,1] : f32[2,5,4]
          return %4
        }""", ["%2 = transpose %0 axes=[0,2,1] : f32[2,3,4]", "%3 = matmul %1, %2 : f32[2,5,4]", "return %3"]),
    "transposed twice over": ("""
        graph f(%0: f32[4,3], %1: f32[3,5]) {
          %2 = matmul %0, %1 : f32[4,5]
          %3 = transpose %2 axes=[1,0] : f32[5,4]
          %4 = transpose %2 axes=[1,0] : f32[5,4]
          %5 = mul %3, %4 : f32[5,4]
          return %5
        }""", ["%2 = transpose %1 axes=[1,0] : f32[5,3]", "%3 = transpose %0 axes=[1,0] : f32[3,4]",
               "%4 = matmul %2, %3 : f32[5,4]", "%5 = mul %4, %4 : f32[5,4]", "return %5"]),
    "with another reader": ("""
        graph f(%0: f32[4,3], %1: f32[3,5]) {
          %2 = matmul %0, %1 : f32[4,5]
          %3 = transpose %2 axes=[1,0] : f32[5,4]
          return %2, %3
        }""", ["%2 = matmul %0, %1 : f32[4,5]", "%3 = transpose %2 axes=[1,0] : f32[5,4]", "return %2, %3"]),
    "with the batch moved too": ("""
        graph f(%0: f32[2,4,3], %1: f32[2,3,5]) {
          %2 = matmul %0, %1 : f32[2,4,5]
          %3 = transpose %2 axes=[2,1,0] : f32[5,4,2]
          return %3
        }""", ["%2 = matmul %0, %1 : f32[2,4,5]", "%3 = transpose %2 axes=[2,1,0] : f32[5,4,2]", "return %3"]),
    "one matrix for a whole batch": ("""
        graph f(%0: f32[2,7,4,3], %1: f32[5,3]) {
          %2 = broadcast %1 shape=[2,7,5,3] : f32[2,7,5,3]
          %3 = transpose %2 axes=[0,1,3,2] : f32[2,7,3,5]
          %4 = matmul %0, %3 : f32[2,7,4,5]
          return %4
        }""", ["%2 = transpose %1 axes=[1,0] : f32[3,5]", "%3 = reshape %0 shape=[56,3] : f32[56,3]",
               "%4 = matmul %3, %2 : f32[56,5]", "%5 = reshape %4 shape=[2,7,4,5] : f32[2,7,4,5]", "return %5"]),
    "its derivative": ("""
        graph f(%0: f32[2,4,3], %1: f32[2,4,5]) {
          %2 = transpose %0 axes=[0,2,1] : f32[2,3,4]
          %3 = matmul %2, %1 : f32[2,3,5]
          %4 = sum %3 axis=[0] keepdims=false : f32[3,5]
          %5 = transpose %4 axes=[1,0] : f32[5,3]
          return %5
        }""", ["%2 = reshape %0 shape=[8,3] : f32[8,3]", "%3 = reshape %1 shape=[8,5] : f32[8,5]",
               "%4 = transpose %3 axes=[1,0] : f32[5,8]", "%5 = matmul %4, %2 : f32[5,3]", "return %5"]),
    "a sum over rows is none over the batch": ("""
        graph f(%0: f32[2,4,3], %1: f32[2,4,5]) {
          %2 = transpose %0 axes=[0,2,1] : f32[2,3,4]
          %3 = matmul %2, %1 : f32[2,3,5]
          %4 = sum %3 axis=[1] keepdims=false : f32[2,5]
          return %4
        }""", ["%2 = transpose %0 axes=[0,2,1] : f32[2,3,4]", "%3 = matmul %2, %1 : f32[2,3,5]",
               "%4 = sum %3 axis=[1] keepdims=false : f32[2,5]", "return %4"]),
    "symbols": ("""
        graph f(%0: f32[b,t,3], %1: f32[3,5]) {
          %2 = broadcast %1 shape=[b,3,5] : f32[b,3,5]
          %3 = matmul %0, %2 : f32[b,t,5]
          return %3
        }""", ["%2 = reshape %0 shape=[(b*t),3] : f32[(b*t),3]", "%3 = matmul %2, %1 : f32[(b*t),5]",
               "%4 = reshape %3 shape=[b,t,5] : f32[b,t,5]", "return %4"]),
    "of nothing": ("""
        graph f(%0: f32[0,4,3], %1: f32[0,4,5], %2: f32[3,5]) {
          %3 = transpose %0 axes=[0,2,1] : f32[0,3,4]
          %4 = matmul %3, %1 : f32[0,3,5]
          %5 = sum %4 axis=[0] keepdims=true : f32[1,3,5]
          return %5
        }""", ["%3 = reshape %0 shape=[0,3] : f32[0,3]", "%4 = reshape %1 shape=[0,5] : f32[0,5]",
               "%5 = transpose %3 axes=[1,0] : f32[3,0]", "%6 = matmul %5, %4 : f32[3,5]",
               "%7 = reshape %6 shape=[1,3,5] : f32[1,3,5]", "return %7"]),
}


@pytest.mark.parametrize("case", CASES)
def test_text_and_numbers(case: str) -> None:
    text, wanted = CASES[case]
    graph = parse(text)
    verify(graph)
    after = optimize(graph)
    verify(after)
    assert [line.strip() for line in print_graph(after).splitlines()[1:-1]] == wanted
    arrays = [np.nan_to_num(x, nan=0.5, posinf=1.0, neginf=-1.0) for x in arrays_for(graph, 0)]
    for a, b in zip(interpret(graph, arrays), interpret(after, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


MOVED = ("matmul", "matmul", "transpose", "sum", "broadcast", "reshape", "slice", "flip", "mul", "add")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(graphs(ops=MOVED, dtypes=("i64", "i32"), max_nodes=16, sizes=(0, 1, 2, 3)), st.integers(0, 2**32 - 1))
def test_of_integers_to_the_bit(graph: Graph, seed: int) -> None:
    after = optimize(graph)
    verify(after)
    arrays = arrays_for(graph, seed)
    for a, b in zip(interpret(graph, arrays), interpret(after, arrays), strict=True):
        assert same_bits(a, b)


def test_a_training_step(golden: Callable[[str, str], None]) -> None:
    """The step of a classifier: no scatter is left, every transpose is read by a matmul, and nothing is only moved."""
    graph = parse((Path(__file__).parent / "training_step.ir").read_text(encoding="utf-8"))
    verify(graph)
    after = optimize(graph)
    verify(after)
    golden("training_step.ir", print_graph(after))
    assert {"scatter_add", "broadcast"}.isdisjoint(n.op for n in after.nodes)
    made = dict(enumerate(after.nodes, len(after.inputs)))
    assert {n.op for n in after.nodes for v in n.args if v in made and made[v].op == "transpose"} == {"matmul"}
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.integers(0, 5, t.shape) if t.dtype == "i64" else rng.normal(size=t.shape), DTYPES[t.dtype])
              for t in graph.inputs]
    for a, b in zip(interpret(graph, arrays), interpret(after, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
