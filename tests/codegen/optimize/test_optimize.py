"""optimize as a whole: random graphs mean what they meant, to the bit; passes do what their docstrings draw."""
from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.builder import Builder
from codegen.ir.edges import same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.ops import OPS
from codegen.ir.program import CHECK_FAILED, Exit
from codegen.ir.text import parse, print_graph
from codegen.ir.types import DTYPES, TensorType
from codegen.ir.verify import verify
from codegen.optimize.expand import CORE, expand
from codegen.optimize.fold import fold
from codegen.optimize.pipeline import PASSES, optimize
from codegen.optimize.prune import prune
from codegen.optimize.share import share
from codegen.optimize.simplify import simplify

ROUNDED = {"exp", "log", "tanh"}
"""NumPy may round these differently for different strides of one array."""
EITHER_ZERO = {"sum", "max", "min", "maximum", "minimum", "sign"}
"""The sign of a zero that these give is open."""
EXACT_OPS = tuple(sorted(set(OPS) - ROUNDED - EITHER_ZERO - {"matmul"}))
ZERO_OPS = tuple(sorted(set(OPS) - ROUNDED - {"div", "matmul"}))
"""Nothing here tells the zeros apart, but the sign itself."""


def agree(before: Graph, after: Graph, seed: int, zeros_apart: bool) -> None:
    arrays = arrays_for(before, seed)
    wanted, given_ = interpret(before, arrays), interpret(after, arrays)
    if isinstance(wanted, Exit) or isinstance(given_, Exit):
        assert wanted == given_
        return
    for a, b in zip(wanted, given_, strict=True):
        if not zeros_apart:
            a, b = (np.where(x == 0, 0, x).astype(x.dtype) for x in (a, b))
        assert same_bits(a, b), (a, b)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(graphs(ops=EXACT_OPS, max_nodes=16), st.integers(0, 2**32 - 1))
def test_each_pass_keeps_the_meaning_to_the_bit(graph: Graph, seed: int) -> None:
    for run in (share, fold, simplify, expand, prune):
        after = run(graph)
        verify(after)
        agree(graph, after, seed, zeros_apart=True)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.booleans().flatmap(lambda s: graphs(ops=EXACT_OPS, max_nodes=16, symbolic=s)), st.integers(0, 2**32 - 1))
def test_optimize_keeps_the_meaning_to_the_bit(graph: Graph, seed: int) -> None:
    after = graph
    for run in PASSES:
        after = run(after)
        verify(after)
    assert after == optimize(graph)
    agree(graph, after, seed, zeros_apart=True)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(graphs(ops=ZERO_OPS, max_nodes=16), st.integers(0, 2**32 - 1))
def test_optimize_keeps_the_meaning_of_reductions(graph: Graph, seed: int) -> None:
    after = optimize(graph)
    verify(after)
    agree(graph, after, seed, zeros_apart=False)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(graphs(ops=tuple(sorted(set(OPS) - {"matmul", "searchsorted"})), symbolic=True, max_nodes=16), st.booleans())
def test_one_walk_reaches_a_fixed_point_of_core_ops(graph: Graph, fast_math: bool) -> None:
    after = optimize(graph, fast_math)
    verify(after)
    assert {n.op for n in after.nodes} <= CORE
    assert optimize(after, fast_math) == after
    assert after.inputs == graph.inputs
    assert [after.type_of(v) for v in after.outputs] == [graph.type_of(v) for v in graph.outputs]


def body(text: str, fast_math: bool = False) -> list[str]:
    """The nodes and outputs of an optimized graph, printed."""
    after = optimize(parse(text), fast_math)
    verify(after)
    return [line.strip() for line in print_graph(after).splitlines()[1:-1]]


CASES = {
    "constants fold through broadcast": ("""
        graph f() {
          %0 = constant value=2.0 dtype=f32 : f32[]
          %1 = broadcast %0 shape=[8,8] : f32[8,8]
          %2 = mul %1, %1 : f32[8,8]
          return %2
        }""", ["%0 = constant value=4.0 dtype=f32 : f32[]", "%1 = broadcast %0 shape=[8,8] : f32[8,8]", "return %1"]),
    "laws see constants through broadcast": ("""
        graph f(%0: f32[3]) {
          %1 = constant value=1.0 dtype=f32 : f32[]
          %2 = broadcast %1 shape=[2,3] : f32[2,3]
          %3 = mul %0, %2 : f32[2,3]
          return %3
        }""", ["%1 = broadcast %0 shape=[2,3] : f32[2,3]", "return %1"]),
    "adding 0 changes -0.0": ("""
        graph f(%0: f32[3]) {
          %1 = constant value=0.0 dtype=f32 : f32[]
          %2 = add %0, %1 : f32[3]
          return %2
        }""", ["%1 = constant value=0.0 dtype=f32 : f32[]", "%2 = add %0, %1 : f32[3]", "return %2"]),
    "adding -0.0 does not": ("""
        graph f(%0: f32[3]) {
          %1 = constant value=-0.0 dtype=f32 : f32[]
          %2 = add %0, %1 : f32[3]
          return %2
        }""", ["return %0"]),
    "division by a power of two": ("""
        graph f(%0: f32[3]) {
          %1 = constant value=64.0 dtype=f32 : f32[]
          %2 = div %0, %1 : f32[3]
          %3 = constant value=10.0 dtype=f32 : f32[]
          %4 = div %2, %3 : f32[3]
          return %4
        }""", ["%1 = constant value=0.015625 dtype=f32 : f32[]", "%2 = mul %0, %1 : f32[3]",
               "%3 = constant value=10.0 dtype=f32 : f32[]", "%4 = div %2, %3 : f32[3]", "return %4"]),
    "no reciprocal that is subnormal": ("""
        graph f(%0: f32[3]) {
          %1 = constant value=1.7014118346046923e+38 dtype=f32 : f32[]
          %2 = div %0, %1 : f32[3]
          return %2
        }""", ["%1 = constant value=1.7014118346046923e+38 dtype=f32 : f32[]", "%2 = div %0, %1 : f32[3]",
               "return %2"]),
    "broadcast operands": ("""
        graph f(%0: f32[8,1], %1: f32[8,9], %2: f32[]) {
          %3 = broadcast %0 shape=[8,9] : f32[8,9]
          %4 = exp %3 : f32[8,9]
          %5 = broadcast %2 shape=[8,9] : f32[8,9]
          %6 = mul %4, %5 : f32[8,9]
          %7 = add %6, %1 : f32[8,9]
          return %7
        }""", ["%3 = exp %0 : f32[8,1]", "%4 = mul %3, %2 : f32[8,1]", "%5 = add %4, %1 : f32[8,9]", "return %5"]),
    "what is cut off is not added up": ("""
        graph f(%0: f32[3,4,5]) {
          %1 = sum %0 axis=[0] keepdims=false : f32[4,5]
          %2 = slice %1 start=[1,0] stop=[3,5] step=[1,2] : f32[2,3]
          %3 = max %0 axis=[1] keepdims=true : f32[3,1,5]
          %4 = slice %3 start=[0,0,0] stop=[2,1,5] step=[1,1,1] : f32[2,1,5]
          return %2, %3, %4
        }""", ["%1 = slice %0 start=[0,1,0] stop=[3,3,5] step=[1,1,2] : f32[3,2,3]",
               "%2 = sum %1 axis=[0] keepdims=false : f32[2,3]",
               "%3 = max %0 axis=[1] keepdims=true : f32[3,1,5]",
               "%4 = slice %3 start=[0,0,0] stop=[2,1,5] step=[1,1,1] : f32[2,1,5]", "return %2, %3, %4"]),
    "movement of movement": ("""
        graph f(%0: f32[2,3,4]) {
          %1 = transpose %0 axes=[2,0,1] : f32[4,2,3]
          %2 = transpose %1 axes=[1,2,0] : f32[2,3,4]
          %3 = reshape %2 shape=[6,4] : f32[6,4]
          %4 = reshape %3 shape=[1,24] : f32[1,24]
          %5 = flip %4 axes=[0,1] : f32[1,24]
          %6 = flip %5 axes=[1] : f32[1,24]
          %7 = slice %6 start=[0,1] stop=[1,23] step=[1,3] : f32[1,8]
          %8 = slice %7 start=[0,1] stop=[1,8] step=[1,2] : f32[1,4]
          %9 = transpose %8 axes=[1,0] : f32[4,1]
          return %9
        }""", ["%1 = reshape %0 shape=[1,24] : f32[1,24]",
               "%2 = slice %1 start=[0,4] stop=[1,23] step=[1,6] : f32[1,4]",
               "%3 = reshape %2 shape=[4,1] : f32[4,1]", "return %3"]),
    "a reduction over axes of size 1": ("""
        graph f(%0: f32[8,1]) {
          %1 = sum %0 axis=[1] keepdims=false : f32[8]
          %2 = max %0 axis=[] keepdims=false : f32[8,1]
          %3 = broadcast %1 shape=[1,8] : f32[1,8]
          return %1, %2, %3
        }""", ["%1 = reshape %0 shape=[8] : f32[8]", "%2 = constant value=0.0 dtype=f32 : f32[]",
               "%3 = add %1, %2 : f32[8]", "%4 = reshape %3 shape=[1,8] : f32[1,8]", "return %3, %0, %4"]),
    "sums of whole numbers": ("""
        graph f() {
          %0 = constant value=3.0 dtype=f32 : f32[]
          %1 = broadcast %0 shape=[1000] : f32[1000]
          %2 = sum %1 axis=[0] keepdims=false : f32[]
          %3 = constant value=0.1 dtype=f64 : f64[]
          %4 = broadcast %3 shape=[1000] : f64[1000]
          %5 = sum %4 axis=[0] keepdims=false : f64[]
          return %2, %5
        }""", ["%0 = constant value=3000.0 dtype=f32 : f32[]", "%1 = constant value=0.1 dtype=f64 : f64[]",
               "%2 = broadcast %1 shape=[1000] : f64[1000]", "%3 = sum %2 axis=[0] keepdims=false : f64[]",
               "return %0, %3"]),
    "symbols": ("""
        graph f(%0: f32[b,3]) {
          %1 = reshape %0 shape=[3*b] : f32[3*b]
          %2 = reshape %1 shape=[b,3] : f32[b,3]
          %3 = slice %2 start=[0,0] stop=[b,3] step=[1,1] : f32[b,3]
          %4 = constant value=1.0 dtype=f32 : f32[]
          %5 = broadcast %4 shape=[b,3] : f32[b,3]
          %6 = div %3, %5 : f32[b,3]
          return %6
        }""", ["return %0"]),
    "equal nodes in either order": ("""
        graph f(%0: f32[3], %1: f32[3]) {
          %2 = add %0, %1 : f32[3]
          %3 = add %1, %0 : f32[3]
          %4 = sub %2, %3 : f32[3]
          %5 = sub %0, %1 : f32[3]
          %6 = sub %1, %0 : f32[3]
          return %4, %5, %6
        }""", ["%2 = add %0, %1 : f32[3]", "%3 = sub %2, %2 : f32[3]", "%4 = sub %0, %1 : f32[3]",
               "%5 = sub %1, %0 : f32[3]", "return %3, %4, %5"]),
}


@pytest.mark.parametrize("case", CASES)
def test_optimized_text(case: str) -> None:
    text, wanted = CASES[case]
    assert body(text) == wanted


def test_a_sum_of_one_number_is_no_negative_zero() -> None:
    graph = parse("graph f(%0: f32[2,1]) { %1 = sum %0 axis=[1] keepdims=false : f32[2] return %1 }")
    x = np.array([[-0.0], [-1.0]], np.float32)
    for one in (graph, optimize(graph)):
        assert same_bits(interpret(one, [x])[0], np.array([0.0, -1.0], np.float32))


def test_fast_math_adds_laws() -> None:
    text = "graph f(%0: f32[3]) { %1 = sub %0, %0 : f32[3] return %1 }"
    assert body(text) == ["%1 = sub %0, %0 : f32[3]", "return %1"]
    assert body(text, fast_math=True) == [
        "%1 = constant value=0.0 dtype=f32 : f32[]", "%2 = broadcast %1 shape=[3] : f32[3]", "return %2"]


def test_source_lines_survive() -> None:
    """A node keeps its line; what a rule makes has the line of what it replaces; equal nodes have the first one's."""
    after = optimize(parse("""
        graph f(%0: f32[3,4]) {
          %1 = detach %0 : f32[3,4]                   @ m.py:1
          %2 = exp %1 : f32[3,4]                      @ m.py:2
          %3 = exp %0 : f32[3,4]                      @ m.py:3
          %4 = neg %3 : f32[3,4]                      @ m.py:4
          %5 = add %2, %4 : f32[3,4]                  @ m.py:5
          %6 = argmax %5 axis=1 keepdims=false : i64[3]  @ m.py:6
          return %5, %6
        }"""))
    assert [n.line for n in after.nodes if n.op in ("exp", "sub")] == ["m.py:2", "m.py:5"]
    assert {n.line for n in after.nodes if n.op not in ("exp", "sub")} == {"m.py:6"}


def test_prune_keeps_what_can_refuse() -> None:
    graph = parse("""
        graph f(%0: f32[3], %1: i64[1]) {
          %2 = exp %0 : f32[3]
          %3 = neg %0 : f32[3]
          %4 = gather %2, %1 axis=0 : f32[1]
          return %0
        }""")
    after = prune(graph)
    assert [n.op for n in after.nodes] == ["exp", "gather"]
    assert prune(after) is after


DTYPES_OF_CASTS = [d for d in DTYPES if not d.startswith("c")]
WHOLE = (0, 1, 7, -1, 127, 128, 200, 255, 300, -300, 70000, 2**31, 2**53 + 1)
REAL = (0.0, -0.0, 1.5, -1.5, 300.0, -300.0, 1e4, 1e-7, np.inf, -np.inf, np.nan)
LARGE = (3e9, -3e9, 1e19)


def samples(dtype: np.dtype) -> np.ndarray:
    """Ordinary numbers, and those near the ends of the ranges of other dtypes."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return np.array([n for n in WHOLE if ends.min <= n <= ends.max] + [ends.min, ends.max], dtype)
    return np.array(REAL if dtype == np.float16 else REAL + LARGE).astype(dtype)


@pytest.mark.parametrize("first", DTYPES_OF_CASTS)
def test_casts_of_casts(first: str) -> None:
    """Over every second and third dtype."""
    x = samples(DTYPES[first])
    shorter = 0
    for second, third in product(DTYPES_OF_CASTS, repeat=2):
        b = Builder("f")
        graph = b.graph([b.input(TensorType(first, x.shape)).emit("cast", dtype=second).emit("cast", dtype=third)])
        after = optimize(graph)
        shorter += len(after.nodes) < 2
        wanted, given_ = interpret(graph, [x]), interpret(after, [x])
        assert same_bits(wanted[0], given_[0]), (second, third)
    assert shorter >= len(DTYPES_OF_CASTS)


CHECKED_BEFORE = """
    graph f(%0: f32[2,3], %1: i64[2,1], %2: f32[2,1]) {{
      %3 = gather %0, %1 axis=1 : f32[2,1]
      %4 = scatter_add %0, {indices}, %2 axis=1 : f32[2,3]
      return %4
    }}"""


def test_a_scatter_after_a_gather_is_a_choice() -> None:
    graph = parse(CHECKED_BEFORE.format(indices="%1"))
    after = optimize(graph)
    assert [n.op for n in after.nodes].count("gather") == 1 and "scatter_add" not in [n.op for n in after.nodes]
    x, y = np.float32([[1, 2, 3], [4, 5, -0.0]]), np.float32([[10], [-0.0]])
    for indices in ([[0], [2]], [[-1], [-3]], [[2], [1]]):
        arrays = [x, np.array(indices), y]
        assert same_bits(interpret(graph, arrays)[0], interpret(after, arrays)[0])
    for indices in ([[0], [3]], [[-4], [0]], [[2**32], [0]], [[-2**63], [0]]):
        assert interpret(after, [x, np.array(indices), y]) == CHECK_FAILED


def test_a_write_at_one_index_is_a_choice_after_a_check() -> None:
    graph = parse("graph f(%0: f32[2,3], %1: i64[2,1], %2: f32[2,1]) {"
                  " %3 = scatter %0, %1, %2 axis=1 : f32[2,3] return %3 }")
    after = optimize(graph)
    assert {"gather", "where"} <= {n.op for n in after.nodes} and "scatter" not in {n.op for n in after.nodes}
    x, y = np.float32([[1, 2, 3], [4, 5, -0.0]]), np.float32([[10], [-0.0]])
    for indices in ([[0], [2]], [[-1], [-3]], [[2], [1]]):
        arrays = [x, np.array(indices), y]
        assert same_bits(interpret(graph, arrays)[0], interpret(after, arrays)[0])
    for indices in ([[0], [3]], [[-4], [0]], [[2**32], [0]], [[-2**63], [0]]):
        assert interpret(after, [x, np.array(indices), y]) == CHECK_FAILED


@pytest.mark.parametrize("text", [
    # nothing has checked the indices
    "graph f(%0: f32[2,3], %1: i64[2,1], %2: f32[2,1]) { %3 = scatter_add %0, %1, %2 axis=1 : f32[2,3] return %3 }",
    # they were checked against another size
    """graph f(%0: f32[2,3], %1: i64[2,1], %2: f32[2,1], %3: f32[2,4]) {
         %4 = gather %3, %1 axis=1 : f32[2,1]
         %5 = scatter_add %0, %1, %2 axis=1 : f32[2,3]
         return %4, %5
       }""",
    # there are more than one for each row
    """graph f(%0: f32[2,3], %1: i64[2,2], %2: f32[2,2]) {
         %3 = gather %0, %1 axis=1 : f32[2,2]
         %4 = scatter_add %0, %1, %3 axis=1 : f32[2,3]
         return %4
       }""",
])
def test_a_scatter_that_is_not_known_to_be_in_bounds_stays(text: str) -> None:
    assert "scatter_add" in [n.op for n in optimize(parse(text)).nodes]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("values", [
    [1, 3, 2], [3, 3, 1], [np.nan, 1, 2], [1, np.nan, np.nan], [-np.inf] * 3, [np.inf, np.nan, 1], [0.0, -0.0, 0.0]])
def test_argmax_finds_the_first_nan(values: list[float], keepdims: bool) -> None:
    b = Builder("f")
    graph = b.graph([b.input(TensorType("f32", (2, 3))).emit("argmax", axis=1, keepdims=keepdims)])
    x = np.float32([values, values[::-1]])
    assert same_bits(interpret(optimize(graph), [x])[0], interpret(graph, [x])[0])
