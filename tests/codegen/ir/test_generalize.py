"""Generic trees: with numbers for their symbols they are the trees they were made from, and no others."""
from __future__ import annotations

from dataclasses import replace

from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from codegen.ir.dims import evaluate, symbol
from codegen.ir.generalize import Generic, generalized, witness_of
from codegen.ir.graph import Attr, Graph, Node
from codegen.ir.interpret import bind
from codegen.ir.program import program_of
from codegen.ir.text import parse
from codegen.ir.tree import Tree, opened
from codegen.ir.types import TensorType

B, S = symbol("b0"), symbol("b1")


def tree(text: str) -> Tree:
    graph = parse(text)
    assert isinstance(graph, Graph)
    return opened(program_of(graph))


def generic_of(witnesses: list[Tree]) -> Generic | None:
    *others, last = witnesses
    return generalized(last, [()], [witness_of(other, [()]) for other in others])


def likeness(tree: Tree) -> object:
    return witness_of(tree, [()]).structure


def rows(b: int, s: int, scale: float = 0.5, shift: int = 1) -> Tree:
    return tree(f"""graph rows(%0: f32[{b},{s},8], %1: f32[8]) {{
        %2 = constant value={scale} dtype=f32 : f32[]
        %3 = broadcast %1 shape=[{b},{s},8] : f32[{b},{s},8]
        %4 = mul %0, %3 : f32[{b},{s},8]
        %5 = reshape %4 shape=[{b * s},8] : f32[{b * s},8]
        %6 = sum %5 axis=[0] keepdims=false : f32[8]
        %7 = mul %6, %2 : f32[8]
        %8 = slice %0 start=[0,{shift},0] stop=[{b},{s},8] step=[1,1,1] : f32[{b},{s - shift},8]
        return %7, %8
    }}""")


def test_what_differs_becomes_a_symbol() -> None:
    generic = generic_of([rows(8, 5), rows(16, 7)])
    assert generic is not None and generic.tree.inputs == (TensorType("f32", (B, S, 8)), TensorType("f32", (8,)))
    types = [node.type.shape for node in generic.tree.blocks[0].nodes]
    assert (B * S, 8) in types and (B, S - 1, 8) in types
    binding = generic.binding_of(rows(24, 3))
    assert binding is not None and binding.numbers == {"b0": 24, "b1": 3} and binding.constants == ()


def test_what_stays_is_a_number() -> None:
    generic = generic_of([rows(8, 5), rows(16, 5)])
    assert generic is not None and generic.tree.inputs[0] == TensorType("f32", (B, 5, 8))
    assert generic.binding_of(rows(33, 5)) is not None and generic.binding_of(rows(33, 6)) is None


def test_constants_that_differ_are_inputs() -> None:
    generic = generic_of([rows(8, 5, 0.125), rows(16, 5, 0.0625)])
    assert generic is not None and generic.lifted == 1 and generic.tree.inputs[-1] == TensorType("f32")
    binding = generic.binding_of(rows(10, 5, 0.75))
    assert binding is not None and binding.constants == (("0.75", "f32"),)


def test_only_instances_have_a_binding() -> None:
    generic = generic_of([rows(8, 5), rows(16, 7)])
    assert generic is not None
    assert generic.binding_of(rows(8, 5, shift=2)) is None      # another slice
    assert generic.binding_of(rows(8, 5, scale=2.0)) is None    # another constant
    assert generic.binding_of(rows(1, 5)) is None               # no symbol is 1
    assert generic.binding_of(rows(2, 2)) is not None


def test_sizes_that_no_symbol_explains() -> None:
    assert generic_of([rows(8, 5, shift=1), rows(8, 5, shift=2)]) is None
    third = generic_of([rows(8, 5, shift=1), rows(16, 6, shift=2)])
    assert third is not None, "two points are on a line"
    assert third.binding_of(rows(24, 6, shift=3)) is None, "and a third is looked at"
    assert generic_of([rows(8, 5, shift=1), rows(16, 6, shift=2), rows(24, 7, shift=3)]) is not None
    assert generic_of([rows(8, 5, shift=1), rows(16, 6, shift=2), rows(24, 6, shift=3)]) is None


def test_what_comes_to_nothing_is_no_instance() -> None:
    generic = generic_of([rows(8, 5, shift=3), rows(8, 6, shift=3)])
    assert generic is not None and generic.binding_of(rows(8, 4, shift=3)) is not None
    assert generic.binding_of(rows(8, 3, shift=3)) is None


def test_likeness() -> None:
    assert likeness(rows(8, 5)) == likeness(rows(9, 1, 3.0))
    assert likeness(rows(8, 5)) != likeness(tree("graph one(%0: f32[8,5,8], %1: f32[8]) {\n  return %0, %1\n}"))
    sums = [tree(f"""graph s(%0: f32[4,4]) {{
        %1 = sum %0 axis=[{axis}] keepdims=false : f32[4]
        return %1
    }}""") for axis in (0, 1)]
    assert likeness(sums[0]) != likeness(sums[1])


def known(graph: Graph, seed: int) -> Graph:
    """The graph with numbers for its symbols."""
    binding = bind(graph.inputs, [x.shape for x in arrays_for(graph, seed)])

    def at(type: TensorType) -> TensorType:
        return TensorType(type.dtype, tuple(evaluate(n, binding) for n in type.shape))

    def attr(value: Attr) -> Attr:
        return tuple(evaluate(n, binding) for n in value) if isinstance(value, tuple) else value

    def node(old: Node) -> Node:
        return replace(old, attrs=tuple((name, attr(value)) for name, value in old.attrs), type=at(old.type))

    return Graph(graph.name, tuple(map(at, graph.inputs)), tuple(map(node, graph.nodes)), graph.outputs)


@settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(symbolic=True), st.lists(st.integers(0, 99), min_size=4, max_size=4))
def test_random_graphs(graph: Graph, seeds: list[int]) -> None:
    first, second, *others = (opened(program_of(known(graph, seed))) for seed in seeds)
    assume(first != second)
    generic = generic_of([first, second])
    for other in others if generic is not None else ():
        binding = generic.binding_of(other)
        if binding is not None:
            assert not generic.lifted
            types = [*generic.tree.inputs, *(n.type for n in generic.tree.blocks[0].nodes)]
            own = [*other.inputs, *(n.type for n in other.blocks[0].nodes)]
            assert [tuple(evaluate(n, binding.numbers) for n in t.shape) for t in types] == [t.shape for t in own]
