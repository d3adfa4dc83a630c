"""Reads of values that were overwritten in part: from the write, from before it, or of both."""
from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.text import print_graph
from codegen.ir.types import TensorType
from codegen.ir.verify import verify
from codegen.optimize.pipeline import optimize

Cut = tuple[range, ...]


def written(x: Value, cut: Cut, value: Value) -> Value:
    """x with `value` at `cut`, as a write in place is recorded."""
    pad = {"low": tuple(r.start for r in cut), "interior": tuple(r.step - 1 for r in cut),
           "high": tuple(n - 1 - r[-1] for n, r in zip(x.shape, cut))}
    inside = x.builder.constant(True, "bool").emit("broadcast", shape=value.shape)
    return inside.emit("pad", **pad).emit("where", value.emit("pad", **pad), x)


def read(x: Value, cut: Cut) -> Value:
    return x.emit("slice", start=tuple(r.start for r in cut), stop=tuple(r[-1] + 1 for r in cut),
                  step=tuple(r.step for r in cut))


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def row(k: int, n: int) -> Cut:
    return range(k, k + 1), range(n)


def test_a_read_apart_from_a_write_is_one_from_before_it() -> None:
    b = Builder("f")
    x, v = b.input(TensorType("f32", (4, 5))), b.input(TensorType("f32", (1, 5)))
    assert ops(optimize(b.graph([read(written(x, row(1, 5), v * 2.0), row(3, 5))]))) == ["slice"]


def test_a_read_of_what_was_written_is_the_value() -> None:
    b = Builder("f")
    x, v = b.input(TensorType("f32", (4, 5))), b.input(TensorType("f32", (2, 5)))
    y = written(x, (range(0, 4, 2), range(5)), v)
    graph = optimize(b.graph([read(y, row(2, 5)), read(y, (range(0, 4, 2), range(5)))]))
    assert ops(graph) == ["slice"] and graph.outputs[1] == 1


def test_elements_written_one_by_one_are_found_however_many_came_after() -> None:
    b = Builder("f")
    n = 12
    x, v = b.input(TensorType("f32", (n, n))), b.input(TensorType("f32", (1, 1)))
    for i in range(n):
        for j in range(n):
            x = written(x, (range(i, i + 1), range(j, j + 1)), v + float(n * i + j))
    graph = optimize(b.graph([read(x, (range(3, 4), range(5, 6))), read(x, (range(2, 3), range(n)))]))
    assert ops(graph).count("where") == n and ops(graph).count("add") == n + 1, print_graph(graph)


def test_shifted_reads_of_a_large_write_are_not_computed_again_and_again() -> None:
    """Each of five readers would compute its own version of what is written, and those before it again: 5^k."""
    b = Builder("f")
    n = 16
    x = b.input(TensorType("f32", (n, n)))
    inner = range(1, n - 1)
    for _ in range(4):
        places = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
        around = [(range(1 + i, n - 1 + i), range(1 + j, n - 1 + j)) for i, j in places]
        center, *others = (read(x, cut) for cut in around)
        for other in others:
            center = center + other
        x = written(x, (inner, inner), center)
    assert len(optimize(b.graph([x])).nodes) < 80


@st.composite
def cuts(draw: st.DrawFn, shape: tuple[int, ...]) -> Cut:
    found = []
    for n in shape:
        start, step = draw(st.integers(0, n - 1)), draw(st.integers(1, 3))
        count = draw(st.integers(1, (n - 1 - start) // step + 1))
        found.append(range(start, start + (count - 1) * step + 1, step))
    return tuple(found)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_reads_of_writes_agree_with_the_interpreter(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(6,), (4, 5), (3, 1, 4)]))
    b = Builder("f")
    x = b.input(TensorType("f64", shape))
    y = x
    outputs: list[Value] = []
    for k in range(data.draw(st.integers(1, 6))):
        cut = data.draw(cuts(shape))
        source = data.draw(st.sampled_from([x, y]))
        region = data.draw(cuts(shape))
        value = read(source, region)
        sizes = tuple(len(r) for r in cut)
        if value.shape != sizes:
            value = value.emit("sum", axis=tuple(range(len(shape))), keepdims=True).emit("broadcast", shape=sizes)
        y = written(y, cut, value * (k + 2.0))
        outputs.append(read(y, data.draw(cuts(shape))))
    graph = b.graph([*outputs, y])
    array = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    smaller = optimize(graph)
    verify(smaller)
    for a, e in zip(interpret(smaller, [array]), interpret(graph, [array]), strict=True):   # type: ignore[arg-type]
        np.testing.assert_array_equal(a, e)
