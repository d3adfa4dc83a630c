"""optimize as a whole: random graphs mean what they meant, to the bit; passes do what their docstrings draw."""
from __future__ import annotations

import numpy as np
import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.edges import same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.ops import OPS
from codegen.ir.program import Exit
from codegen.ir.text import parse, print_graph
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
        assert same_bits(*((a, b) if zeros_apart else (np.where(a == 0, 0, a).astype(a.dtype), np.where(b == 0, 0, b).astype(b.dtype)))), (a, b)


@settings(deadline=None, max_examples=300)
@given(graphs(ops=EXACT_OPS, max_nodes=16), st.integers(0, 2**32 - 1))
def test_each_pass_keeps_the_meaning_to_the_bit(graph: Graph, seed: int) -> None:
    for run in (share, fold, simplify, expand, prune):
        after = run(graph)
        verify(after)
        agree(graph, after, seed, zeros_apart=True)


@settings(deadline=None, max_examples=300)
@given(graphs(ops=EXACT_OPS, max_nodes=16), st.integers(0, 2**32 - 1))
def test_optimize_keeps_the_meaning_to_the_bit(graph: Graph, seed: int) -> None:
    after = graph
    for run in PASSES:
        after = run(after)
        verify(after)
    assert after == optimize(graph)
    agree(graph, after, seed, zeros_apart=True)


@settings(deadline=None, max_examples=300)
@given(graphs(ops=ZERO_OPS, max_nodes=16), st.integers(0, 2**32 - 1))
def test_optimize_keeps_the_meaning_of_reductions(graph: Graph, seed: int) -> None:
    after = optimize(graph)
    verify(after)
    agree(graph, after, seed, zeros_apart=False)


@settings(deadline=None, max_examples=200)
@given(graphs(symbolic=True, max_nodes=16), st.booleans())
def test_one_walk_reaches_a_fixed_point_of_core_ops(graph: Graph, fast_math: bool) -> None:
    after = optimize(graph, fast_math)
    verify(after)
    assert {n.op for n in after.nodes} <= CORE
    assert optimize(after, fast_math) == after
    assert after.inputs == graph.inputs
    assert [after.type_of(v) for v in after.outputs] == [graph.type_of(v) for v in graph.outputs]


def body(text: str) -> str:
    """The printed nodes and outputs of an optimized graph."""
    after = optimize(parse(text))
    verify(after)
    return "\n".join(line.strip() for line in print_graph(after).splitlines()[1:-1])
