"""The second size compiles for all sizes, the third compiles nothing; what cannot be shared is compiled as it is."""
from __future__ import annotations

import numpy as np
import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codegen import Cache, Executable, ExitTaken, Graph, Program, SeenSizes, compile_program, parse
from codegen.ir.dims import evaluate
from codegen.ir.graph import Attr
from codegen.ir.interpret import bind, interpret
from codegen.ir.program import Exit
from codegen.ir.types import TensorType


def at(graph: Graph, binding: dict[str, int]) -> Graph:
    """The graph with numbers for its symbols."""
    def known(type: TensorType) -> TensorType:
        return TensorType(type.dtype, tuple(evaluate(n, binding) for n in type.shape))

    def attr(value: Attr) -> Attr:
        return tuple(evaluate(n, binding) for n in value) if isinstance(value, tuple) else value

    nodes = tuple(type(n)(n.op, n.args, tuple((k, attr(a)) for k, a in n.attrs), known(n.type)) for n in graph.nodes)
    return Graph(graph.name, tuple(map(known, graph.inputs)), nodes, graph.outputs)


MLP = parse("""
    graph mlp(%0: f32[b,20], %1: f32[20,12], %2: f32[12], %3: f32[b,12]) {
      %4 = matmul %0, %1 : f32[b,12]
      %5 = add %4, %2 : f32[b,12]
      %6 = tanh %5 : f32[b,12]
      %7 = sub %6, %3 : f32[b,12]
      %8 = mul %7, %7 : f32[b,12]
      %9 = sum %8 axis=[0,1] keepdims=false : f32[]
      %10 = transpose %0 axes=[1,0] : f32[20,b]
      %11 = matmul %10, %7 : f32[20,12]
      %12 = sub %1, %11 : f32[20,12]
      return %9, %12, %6
    }""")


def right(executable: Executable, graph: Graph, seed: int = 0) -> None:
    inputs = arrays_for(graph, seed)
    for x, y in zip(executable(*inputs), interpret(graph, inputs), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


def test_the_third_size_compiles_nothing() -> None:
    cache, sizes = Cache(None), SeenSizes()
    compiled = []
    for b in (8, 16, 24, 33, 7, 2, 1000):
        graph = at(MLP, {"b": b})
        executable = compile_program(graph, cache=cache, sizes=sizes, aliases=((1, 1),))
        compiled.append(executable.kernels_compiled)
        assert executable.inputs == graph.inputs and executable.outputs() == tuple(map(graph.type_of, graph.outputs))
        right(executable, graph)
    assert min(compiled[:2]) > 0 and not any(compiled[2:])


def test_sizes_0_and_1_are_compiled_as_they_are() -> None:
    cache, sizes = Cache(None), SeenSizes()
    graph = parse("graph f(%0: f32[b,3]) {\n  %1 = exp %0 : f32[b,3]\n  return %1\n}")
    executables = [compile_program(at(graph, {"b": b}), cache=cache, sizes=sizes) for b in (8, 9, 1, 0, 10)]
    assert [e.kernels_compiled for e in executables] == [1, 1, 1, 0, 0]
    for b, executable in zip((8, 9, 1, 0, 10), executables):
        right(executable, at(graph, {"b": b}))


def test_another_dimension_is_one_more_symbol() -> None:
    cache, sizes = Cache(None), SeenSizes()
    graph = parse("graph f(%0: f32[b,s]) {\n  %1 = sum %0 axis=[1] keepdims=true : f32[b,1]\n"
                  "  %2 = div %0, %1 : f32[b,s]\n  return %2\n}")
    seen = ((8, 3), (9, 3), (9, 4), (10, 5), (11, 3))
    assert [compile_program(at(graph, {"b": b, "s": s}), cache=cache, sizes=sizes).kernels_compiled
            for b, s in seen] == [1, 1, 1, 0, 0]


def test_constants_that_depend_on_the_size() -> None:
    cache, sizes = Cache(None), SeenSizes()
    for b, compiles in ((8, True), (16, True), (24, False), (3, False)):
        graph = parse(f"graph mean(%0: f32[{b}]) {{\n  %1 = sum %0 axis=[0] keepdims=false : f32[]\n"
                      f"  %2 = constant value={float(b)} dtype=f32 : f32[]\n"
                      "  %3 = div %1, %2 : f32[]\n  return %3, %2\n}")
        executable = compile_program(graph, cache=cache, sizes=sizes)
        assert (executable.kernels_compiled > 0) == compiles
        x = np.arange(b, dtype=np.float32)
        mean, count = executable(x)
        assert (mean, count) == (x.mean(), b)


def test_different_aliases_are_different_programs() -> None:
    cache, sizes = Cache(None), SeenSizes()
    graph = parse("graph f(%0: f32[b]) {\n  %1 = neg %0 : f32[b]\n  return %1\n}")
    plain = compile_program(at(graph, {"b": 4}), cache=cache, sizes=sizes)
    aliased = compile_program(at(graph, {"b": 6}), cache=cache, sizes=sizes, aliases=((0, 0),))
    x = np.ones(6, np.float32)
    assert aliased.run((x,)) == -1 and (x == -1).all() and plain.slots


def test_what_has_no_plan_for_all_sizes_is_compiled_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from codegen.schedule import blocks
    from codegen.schedule.plan import CannotLower

    asked = []

    def refuse(*given: object) -> None:
        asked.append(given)
        raise CannotLower("no")

    monkeypatch.setattr(blocks, "plan_at", refuse)
    cache, sizes = Cache(None), SeenSizes()
    graph = parse("graph f(%0: f32[b]) {\n  %1 = neg %0 : f32[b]\n  return %1\n}")
    for b in (4, 5, 6):
        right(compile_program(at(graph, {"b": b}), cache=cache, sizes=sizes), at(graph, {"b": b}))
    assert len(asked) == 1, "what was refused is not tried again"


@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(symbolic=True, max_nodes=6), st.lists(st.integers(0, 99), min_size=4, max_size=4))
def test_random_graphs(graph: Graph, seeds: list[int]) -> None:
    sizes = SeenSizes()
    for seed in seeds:
        inputs = arrays_for(graph, seed, 20)
        known = at(graph, bind(graph.inputs, [x.shape for x in inputs]))
        expected = interpret(known, inputs)
        if isinstance(expected, Exit):
            continue
        for x, y in zip(compile_program(known, sizes=sizes)(*inputs), expected, strict=True):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            if x.dtype.kind not in "fc":
                continue            # a cast or a comparison of rounded numbers may come out differently
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-3)


def branching(b: int, then: bool, otherwise: bool) -> Program:
    """exp(x) or -x, by the sign of the sum; ways that are not known are exits."""
    text = f"""
        program sides {{
          block0(%0: f32[{b}]):
            %1 = sum %0 axis=[0] keepdims=false : f32[]
            %2 = constant value=0.0 dtype=f32 : f32[]
            %3 = gt %1, %2 : bool[]
            branch %3 -> {"block1(%0)" if then else "exit1"}, {f"block{1 + then}(%0)" if otherwise else "exit1"}
    """
    for op in ("exp",) * then + ("neg",) * otherwise:
        text += f"""
          block{1 + (then and op == "neg")}(%0: f32[{b}]):
            %1 = {op} %0 : f32[{b}]
            return %1
        """
    program = parse(text + "}")
    assert isinstance(program, Program)
    return program


def test_ways_seen_at_different_sizes_come_together() -> None:
    cache, sizes = Cache(None), SeenSizes()
    known = ((4, True, False), (5, False, True), (6, True, False), (7, False, True), (8, True, True), (9, True, True))
    compiled = []
    for b, then, otherwise in known:
        executable = compile_program(branching(b, then, otherwise), cache=cache, sizes=sizes)
        compiled.append(executable.kernels_compiled)
        for sign, is_known, expected in ((1, then, np.exp), (-1, otherwise, np.negative)):
            x = np.full(b, 0.5 * sign, np.float32)
            if is_known:
                np.testing.assert_allclose(executable(x)[0], expected(x), rtol=1e-6)
            else:
                with pytest.raises(ExitTaken):
                    executable(x)
    # the sum and exp; for all sizes the sum, and neg, as it begins with what is for all sizes; exp; and nothing more
    assert [count > 0 for count in compiled] == [True, True, True, False, False, False]
