"""Loops that were unrolled are cut into turns: the same values, and blocks that do the same from the second turn on."""
from __future__ import annotations

import numpy as np
from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, given, settings

from codegen import Cache, compile_program
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret, walk
from codegen.ir.program import Return, program_of
from codegen.ir.tree import Tree, closed, opened
from codegen.ir.types import TensorType
from codegen.ir.verify import verify
from codegen.optimize.iterations import cut_at_iterations


def recurrent(turns: int, steps: int = 1) -> Graph:
    """h = tanh(x[t] @ w + h @ u) for each of the inputs x, and exp(h) at the end."""
    b = Builder("recurrent")
    xs = [b.input(TensorType("f32", (3, 4))) for _ in range(turns)]
    w, u, h = (b.input(TensorType("f32", shape)) for shape in ((4, 5), (5, 5), (3, 5)))
    for x in xs:
        h = (x.emit("matmul", w) + h.emit("matmul", u)).emit("tanh")
        for _ in range(steps - 1):
            h = h.emit("sin")
    return b.graph([h.emit("exp"), h])


def cut(graph: Graph) -> Tree:
    return cut_at_iterations(opened(program_of(graph)))


def test_every_turn_is_a_block() -> None:
    tree = cut(recurrent(6))
    assert [len(block.nodes) for block in tree.blocks] == [4] * 6 + [1]
    assert all(block.successors == (k + 1,) for k, block in enumerate(tree.blocks[:-1]))
    assert isinstance(tree.blocks[-1].terminator, Return)
    verify(closed(tree))


def test_what_is_before_decides_where_turns_begin() -> None:
    short, long = (tuple(len(block.nodes) for block in cut(recurrent(turns, 3)).blocks) for turns in (3, 9))
    assert long[:len(short) - 1] == short[:-1] and long[-1] == short[-1]


def test_what_is_fused_is_not_cut() -> None:
    b = Builder("chain")
    x = b.input(TensorType("f32", (8,)))
    for _ in range(20):
        x = x.emit("sin").emit("exp").emit("neg").emit("tanh")
    assert len(cut(b.graph([x])).blocks) == 1


def test_layers_are_no_turns() -> None:
    b = Builder("layers")
    x, *weights = (b.input(TensorType("f32", (5, 5))) for _ in range(6))
    for w in weights:
        x = (x.emit("matmul", w) + 1.0).emit("tanh").emit("neg")
    assert len(cut(b.graph([x])).blocks) == 1


def test_one_more_turn_compiles_nothing() -> None:
    cache = Cache(None)
    compiled = []
    for turns in (2, 3, 4, 5, 9, 17):
        graph = recurrent(turns)
        executable = compile_program(graph, cache=cache)
        compiled.append(executable.kernels_compiled)
        inputs = arrays_for(graph, 0)
        for x, y in zip(executable(*inputs), interpret(graph, inputs), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    assert compiled[0] and not any(compiled[2:])


def test_an_end_keeps_its_aliases() -> None:
    graph = recurrent(4)
    inputs = arrays_for(graph, 1)
    expected = interpret(graph, inputs)
    executable = compile_program(graph, cache=Cache(None), aliases=((1, len(inputs) - 1),))
    found = executable(*inputs)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)
    arrays = (*(x.copy() for x in inputs), np.empty((3, 5), np.float32))
    executable.run(arrays)
    np.testing.assert_allclose(arrays[len(inputs) - 1], expected[1], rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=100, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(max_nodes=8))
def test_random_graphs_repeated(graph: Graph) -> None:
    """A graph twice and thrice over is cut, or not, and computes what it did."""
    first, nodes = len(graph.inputs), []
    for turn in range(3):
        shift = turn * len(graph.nodes)
        nodes += [type(n)(n.op, tuple(v + shift * (v >= first) for v in n.args), n.attrs, n.type) for n in graph.nodes]
    whole = Graph("repeated", graph.inputs, tuple(nodes), tuple(v + 2 * len(graph.nodes) * (v >= first)
                                                                for v in graph.outputs))
    program = closed(cut(whole))
    verify(program)
    inputs = arrays_for(graph, 0)
    _, found = walk(program, inputs)
    expected = interpret(graph, inputs)
    assert type(found) is type(expected)
    for x, y in zip(found, expected, strict=True) if isinstance(found, list | tuple) else ():
        np.testing.assert_array_equal(x, y)


def test_long_turns_without_products_are_cut_where_each_reads_an_array_of_its_own() -> None:
    def gated(turns: int, own: bool) -> Graph:
        b = Builder("gated")
        xs = [b.input(TensorType("f32", (8,))) for _ in range(turns)]
        h = b.input(TensorType("f32", (8,)))
        for x in xs:
            g = (x if own else xs[0]).emit("tanh")
            for _ in range(3):
                g = (g * 0.5 + 0.25).emit("sin")
            h = h * g + (x if own else xs[0])
        return b.graph([h])

    assert len(cut(gated(5, own=True)).blocks) > 4
    assert len(cut(gated(5, own=False)).blocks) == 1
    cache = Cache(None)
    compiled = [compile_program(gated(turns, own=True), cache=cache).kernels_compiled for turns in (2, 3, 4, 5, 9)]
    assert not any(compiled[3:])


def test_what_every_turn_computes_from_the_same_is_computed_once() -> None:
    b = Builder("normal")
    a, x = b.input(TensorType("f32", (6, 4))), b.input(TensorType("f32", (4, 1)))
    transposed = a.emit("transpose", axes=(1, 0))
    for _ in range(4):
        x = x - (transposed.emit("matmul", a)).emit("matmul", x) * 0.01
    graph = b.graph([x])
    assert len(cut(graph).blocks) > 4
    executable = compile_program(graph, cache=Cache(None))
    steps = [step.summary for block in executable.steps for step in block]
    assert sum("4x6 @ 6x4" in step for step in steps) == 1
    inputs = arrays_for(graph, 0)
    expected = interpret(graph, inputs)
    assert isinstance(expected, list)
    np.testing.assert_allclose(executable(*inputs)[0], expected[0], rtol=1e-4)


def test_equal_updates_of_parameters_are_no_turns() -> None:
    b = Builder("updates")
    parameters = [[b.input(TensorType("f32", (16,))) for _ in range(3)] for _ in range(6)]
    outputs = []
    for p, g, m in parameters:
        m = m * 0.9 + g * 0.1
        outputs += [m, p - m / ((m * m).emit("sqrt") + 1e-8) * 0.1]
    assert len(cut(b.graph(outputs)).blocks) == 1


def test_the_end_of_an_update_and_the_beginning_of_the_next_are_no_turn() -> None:
    """They hand something on, as turns of a loop do: the mean, to the end of the update."""
    b = Builder("updates")
    outputs = []
    parameters = [([b.input(TensorType("f32", (16,))) for _ in range(4)], b.input(TensorType("f64", ())))
                  for _ in range(6)]
    for (p, g, m, s), t in parameters:
        t = t + 1
        m = m + (g - m) * 0.1
        s = s * 0.99 + g * g * 0.01
        rate = (1e-3 / (1 - (t * -0.1).emit("exp"))).emit("cast", dtype="f32")
        scale = (1 / (1 - (t * -0.01).emit("exp"))).emit("cast", dtype="f32")
        outputs += [t, m, s, p - m * rate / (s.emit("sqrt") * scale + 1e-8)]
    assert len(cut(b.graph(outputs)).blocks) == 1
