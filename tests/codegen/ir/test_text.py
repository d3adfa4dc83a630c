"""The text of Graphs and Programs: what is printed, that it parses to what was printed, and what the parser refuses."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.dims import Size, symbol
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.program import (
    Block,
    Branch,
    Exit,
    Goto,
    Jump,
    Program,
    Return,
    Switch,
    Target,
    graph_of,
    program_of,
    targets_of,
    values_read,
)
from codegen.ir.scanner import ParseError
from codegen.ir.text import content_of, parse, print_graph, print_program
from codegen.ir.tree import Tree, opened
from codegen.ir.types import TensorType
from codegen.ir.verify import verify

GRAPH = """\
graph Model.<locals>.step(%0: f32[b,128], %1: f32[128]) {
  %2 = mul %0, %1 : f32[b,128]                    @ model.py:42
  %3 = max %2 axis=[0] keepdims=false : f32[128]  @ my model.py:43
  %4 = constant value=-0.0 dtype=f32 : f32[]
  %5 = reshape %2 shape=[128*b] : f32[128*b]
  return %2, %3
}
"""

PROGRAM = """\
program newton {
  block0(%0: f64[], %1: f64[]):
    %2 = div %0, %1 : f64[]                     @ root.py:4
    %3 = add %1, %2 : f64[]                     @ root.py:4
    %4 = ne %3, %1 : bool[]
    branch %4 -> block0(%0, %3), block1(%3)     @ root.py:5
  block1(%0: f64[]):
    %1 = cast %0 dtype=i32 : i32[]
    switch %1 {3: block2(), -1: exit7}, exit2
  block2():
    jump block3()
  block3():
    return
}
"""


def test_graph_text(golden: Callable[[str, str], None]) -> None:
    graph = parse(GRAPH)
    golden("graph.ir", print_graph(graph))
    golden("graph_without_lines.ir", print_graph(graph, lines=False))
    assert print_graph(graph) == GRAPH
    assert graph.nodes[0].line == "model.py:42" and graph.nodes[1].line == "my model.py:43"
    assert parse(print_graph(graph, lines=False)) == graph
    verify(graph)


def test_program_text(golden: Callable[[str, str], None]) -> None:
    program = parse(PROGRAM)
    golden("program.ir", print_program(program))
    assert parse(print_program(program)) == program
    assert program.blocks[0].terminator.line == "root.py:5"
    verify(program)


def test_comments_space_and_order_of_attrs() -> None:
    text = """# a graph
    graph g (%0:f32[2,3],
             %1 : f32[2 , 3])   # inputs
    { %2=sum %0 keepdims=true   axis=[ 0 , 1 ]:f32[1,1]   @ c#/m.py:1   # a comment
      # a comment
      %3 = max %1 axis=[] keepdims=false : f32[2,3] return %2,%3 }   # end"""
    graph = parse(text)
    assert graph.nodes[0].attrs == (("axis", (0, 1)), ("keepdims", True))
    assert graph.nodes[0].line == "c#/m.py:1"
    verify(graph)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(graphs(symbolic=True), st.integers(0, 2**32 - 1))
def test_graphs_round_trip_verify_and_run(graph: Graph, seed: int) -> None:
    verify(graph)
    again = parse(print_graph(graph))
    assert again == graph
    assert [n.line for n in again.nodes] == [n.line for n in graph.nodes]
    interpret(graph, arrays_for(graph, seed))


B, C, D = map(symbol, "bcd")


@st.composite
def sizes(draw: Callable) -> Size:
    """A polynomial of b, c and d, or a quotient of two, or both."""
    size: Size = draw(st.integers(0, 9))
    for _ in range(draw(st.integers(0, 4))):
        other = draw(st.sampled_from([B, C, D, 2, 3]))
        match draw(st.sampled_from("+-*/")):
            case "+":
                size = size + other
            case "-":
                size = size - other
            case "*":
                size = size * other
            case "/":
                size = size // other
    return size


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(sizes(), max_size=3))
def test_sizes_round_trip(shape: list[Size]) -> None:
    graph = Graph("f", (TensorType("f32", tuple(shape)),), (), ())
    assert parse(print_graph(graph)) == graph


@st.composite
def programs(draw: Callable) -> Program:
    """Blocks that all take (bool[], i64[], f32[2]), joined at random."""
    inputs = (TensorType("bool"), TensorType("i64"), TensorType("f32", (2,)))
    body = parse("graph f(%0: bool[], %1: i64[], %2: f32[2]) { %3 = exp %2 : f32[2]  @ m.py:1\n return }").nodes
    count = draw(st.integers(1, 4))

    def target() -> Target:
        number = draw(st.integers(-3, count - 1))
        return Exit(-number) if number < 0 else Goto(number, (0, 1, draw(st.integers(2, 3))))

    def block() -> Block:
        line = draw(st.sampled_from([None, "model.py:7"]))
        terminator = draw(st.sampled_from([Return, Branch, Switch, Jump]))
        if terminator is Return:
            return Block(inputs, body, Return(tuple(draw(st.lists(st.integers(0, 3), max_size=3))), line))
        if terminator is Branch:
            return Block(inputs, body, Branch(0, target(), target(), line))
        if terminator is Switch:
            cases = draw(st.lists(st.integers(-5, 5), unique=True, max_size=3))
            return Block(inputs, body, Switch(1, tuple((n, target()) for n in cases), target(), line))
        return Block(inputs, body, Jump(target(), line))

    return Program("random", tuple(block() for _ in range(count)))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(programs())
def test_programs_round_trip(program: Program) -> None:
    verify(program)
    again = parse(print_program(program))
    assert again == program
    assert [b.terminator.line for b in again.blocks] == [b.terminator.line for b in program.blocks]


def test_a_graph_as_program_and_a_block_as_graph() -> None:
    graph = parse(GRAPH)
    program = program_of(graph)
    verify(program)
    assert graph_of(program.blocks[0], graph.name) == graph
    loop = parse(PROGRAM).blocks[0]
    assert targets_of(loop.terminator) == (Goto(0, (0, 3)), Goto(1, (3,)))
    assert values_read(loop.terminator) == (4, 0, 3, 3)
    assert graph_of(loop, "g").outputs == (4, 0, 3)


@pytest.mark.parametrize(("text", "message"), [
    ("grph f() { return }", "line 1, column 1: expected 'graph' or 'program'"),
    ("graph f(%0: f32[3]) {\n  %2 = exp %0 : f32[3]\n}", "line 2, column 3: expected %1"),
    ("graph f(%1: f32[3]) { return }", "line 1, column 9: expected %0"),
    ("graph f(%0: f99[3]) { return }", "line 1, column 13: there is no dtype f99"),
    ("graph f() {\n  %0 = explode : f32[]\n", "line 2, column 8: there is no op explode"),
    ("graph f(%0: f32[]) { %1 = exp %0 axis=0 : f32[] }", "column 34: exp has no attr axis"),
    ("graph f(%0: f32[]) { %1 = sum %0 axis=[] : f32[] }", "column 42: sum needs the attr keepdims"),
    ("graph f(%0: f32[]) { %1 = sum %0 axis=[] axis=[] : f32[] }", "column 42: attr axis twice"),
    ("graph f(%0: f32[]) { %1 = sum %0 axis=[] keepdims=maybe : f32[] }", "column 51: expected true or false"),
    ("graph f(%0: f32[]) { %1 = sum %0 axis=0 keepdims=true : f32[] }", "column 39: expected '['"),
    ("graph f() { %0 = constant value=x dtype=f32 : f32[] }", "column 33: expected a number, true or false"),
    ("graph f(%0: f32[2*]) { return }", "column 19: expected a size"),
    ("graph f(%0: f32[(b+c c)]) { return }", "column 22: expected '//'"),
    ("graph f(%0: f32[]) { stop }", "column 22: expected 'return'"),
    ("graph f(%0: f32[]) { return %0 } more", "column 34: expected the end of the text"),
    ("program f {\n  block1():\n    return\n}", "line 2, column 3: expected block0"),
    ("program f {\n  block0():\n    leave\n}", "line 3, column 5: expected return, branch, switch or jump"),
    ("program f {\n  block0():\n    jump home\n}", "line 3, column 10: expected a block or an exit"),
])
def test_errors_name_line_and_column(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert message in str(caught.value)


def tree_of(text: str) -> Tree:
    graph = parse(text)
    assert isinstance(graph, Graph)
    return opened(program_of(graph))


SUM = """graph f(%0: f32[2,{size}]) {{
  %1 = sum %0 axis=[1] keepdims={keepdims} : {type}  @ model.py:{line}
  return %1
}}
"""


@pytest.mark.parametrize("size", (3, "n"), ids=str)
def test_a_tree_is_known_by_all_but_its_name_and_lines(size: int | str) -> None:
    kept, gone = {"keepdims": "true", "type": "f32[2,1]"}, {"keepdims": "false", "type": "f32[2]"}
    texts = [SUM.format(size=size, line=line, **of) for of in (kept, gone) for line in (1, 2)]
    one, other_line, other_attr, _ = (content_of(tree_of(text)) for text in texts)
    assert one == other_line == content_of(tree_of(texts[0].replace("graph f", "graph g"))) != other_attr
    assert content_of(tree_of(SUM.format(size=4, line=1, **kept))) != one


def test_what_a_tree_is_known_by_does_not_depend_on_which_values_are_one_object() -> None:
    (block,) = tree_of(SUM.format(size=3, line=1, keepdims="true", type="f32[2,1]")).blocks
    (node,) = block.nodes
    shape, other = node.type.shape, (*[*node.type.shape],)
    assert shape is not other
    shared, apart = (replace(node, type=TensorType("f32", of)) for of in (shape, other))
    trees = [Tree("f", (TensorType("f32", shape),), (replace(block, nodes=(node, last)),)) for last in (shared, apart)]
    assert content_of(trees[0]) == content_of(trees[1])


def test_a_tree_is_known_by_numbers_that_only_compare_equal() -> None:
    tree = tree_of(SUM.format(size=3, line=1, keepdims="true", type="f32[2,1]"))
    (block,) = tree.blocks
    (node,) = block.nodes
    one = replace(tree, blocks=(replace(block, nodes=(replace(node, attrs=(("axis", (1,)), ("keepdims", 1))),)),))
    assert one == tree and content_of(one) != content_of(tree)
