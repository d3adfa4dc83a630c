"""Random graphs with outputs that share the storage of inputs: compiled as interpreted; an exit changes nothing."""
from __future__ import annotations

import numpy as np
from graph_strategies import arrays_for, graphs
from hypothesis import assume
from hypothesis import strategies as st
from random_programs import on_random

from codegen import DONE, Cache, compile_program
from codegen.ir.edges import same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.ops import OPS
from codegen.ir.program import Exit
from codegen.ir.types import DTYPES, type_of
from codegen.llvm_cpu.vector_math import FUNCTIONS, FUNCTIONS_OF_TWO

Aliases = tuple[tuple[int, int], ...]

ROUNDED = (*FUNCTIONS, *FUNCTIONS_OF_TWO, "sum", "prod", "matmul")
"""Ops whose last bit is the implementation's choice."""

EITHER_ZERO = ("maximum", "minimum", "max", "min", "sign")
"""Ops that may give a zero of either sign, which no further op may tell apart."""

EXACT = tuple(name for name in OPS if name not in (*ROUNDED, *EITHER_ZERO))
TELLING = tuple("""
    eq ne lt le gt ge argmax sign cast div log sqrt floor ceil trunc round floor_div rem fmod copysign nextafter tan
    asin acos atan2 acosh atanh log1p log2 log10 cbrt pow erfinv lgamma polygamma
""".split())
"""Ops through which the last bit becomes a large difference."""

SMOOTH = tuple(name for name in OPS if name not in TELLING)
SIZES = (0, 1, 2, 3, 5, 17, 40)


@st.composite
def aliased(draw: st.DrawFn, **options: object) -> tuple[Graph, Aliases]:
    """A graph, and pairs of an output and an input whose storage it shares."""
    graph = draw(graphs(**options))         # type: ignore[arg-type]
    pairs = [(k, i) for k, v in enumerate(graph.outputs) for i, type in enumerate(graph.inputs)
             if graph.type_of(v) == type]
    chosen: dict[int, int] = {}
    for output, input in draw(st.permutations(pairs)) if pairs else ():
        if output not in chosen and input not in chosen.values() and draw(st.integers(0, 3)):
            chosen[output] = input
    return graph, tuple(chosen.items())


def run_in_place(graph: Graph, aliases: Aliases, inputs: list[np.ndarray]) -> list[np.ndarray] | Exit:
    """The outputs as `interpret` gives them; the inputs that none of them shares must stay as they are."""
    executable = compile_program(graph, cache=Cache(None), aliases=aliases)
    arrays = [x.copy() for x in inputs]
    shared = dict(aliases)
    outputs = [arrays[shared[k]] if k in shared else np.empty(type.shape, DTYPES[type.dtype])
               for k, type in enumerate(executable.outputs())]
    left_at = executable.run((*arrays, *(out for k, out in enumerate(outputs) if k not in shared)))
    for k, (before, after) in enumerate(zip(inputs, arrays)):
        if left_at != DONE or k not in shared.values():
            assert same_bits(before, after), f"input {k} changed"
    return outputs if left_at == DONE else Exit(left_at)


@on_random(200, aliased(ops=EXACT, sizes=SIZES, max_nodes=14), st.integers(0, 2**32 - 1))
def test_exact_ops_agree_to_the_bit(drawn: tuple[Graph, Aliases], seed: int) -> None:
    graph, aliases = drawn
    inputs = arrays_for(graph, seed)
    expected, actual = interpret(graph, inputs), run_in_place(graph, aliases, inputs)
    if isinstance(expected, Exit):
        assert actual == expected
    else:
        for a, e in zip(actual, expected, strict=True):
            assert type_of(a) == type_of(e)
            assert same_bits(a, e), (a, e)


@on_random(200, aliased(ops=SMOOTH, dtypes=("f64", "i64"), sizes=SIZES, max_nodes=14), st.integers(0, 2**32 - 1))
def test_all_ops_agree_to_rounding(drawn: tuple[Graph, Aliases], seed: int) -> None:
    graph, aliases = drawn
    assume(all(node.type.dtype != "f32" for node in graph.nodes))       # its last bit is too coarse to compare by
    inputs = [np.asarray(np.tanh(np.nan_to_num(x))) if x.dtype.kind == "f" else x for x in arrays_for(graph, seed)]
    expected, actual = interpret(graph, inputs), run_in_place(graph, aliases, inputs)
    if isinstance(expected, Exit):
        assert actual == expected
        return
    for a, e in zip(actual, expected, strict=True):
        assert type_of(a) == type_of(e)
        if e.dtype.kind == "f" and np.isfinite(e).all() and np.abs(e).max(initial=0) < 1e6:
            np.testing.assert_allclose(a, e, 1e-8, 1e-8 * max(1.0, float(np.abs(e).max(initial=0))))
