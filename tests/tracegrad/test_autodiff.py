"""The derivative of a graph is what eager backward computes, to any order; and the walk's own duties."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from graph_strategies import OPS_DRAWN, arrays_for, graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.builder import Builder
from codegen.ir.dims import evaluate, symbol
from codegen.ir.edges import same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import bind, interpret
from codegen.ir.ops import CHECKED, OPS
from codegen.ir.program import Exit
from codegen.ir.text import parse
from codegen.ir.types import FLOATS, TensorType
from codegen.ir.verify import verify
from tracegrad.autodiff import differentiate
from tracegrad.autograd import grad
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import FLOATING
from tracegrad.functional import sum as total
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.tensors import Tensor

UNCHECKED = tuple(name for name in OPS_DRAWN
                  if CHECKED not in OPS[name].traits and name not in ("detach", "complex"))


def run_eagerly(graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The graph's outputs, each node dispatched."""
    values = list(inputs)
    binding = bind(graph.inputs, [x.shape for x in inputs])
    for node in graph.nodes:
        attrs = {name: tuple(evaluate(size, binding) for size in attr) if isinstance(attr, tuple) else attr
                 for name, attr in node.attrs}
        values.append(dispatch(node.op, *(values[a] for a in node.args), **attrs))
    return [values[v] for v in graph.outputs]


def eager_gradients(graph: Graph, arrays: list[np.ndarray], cotangents: list[np.ndarray]) -> list[np.ndarray]:
    """The gradient of every floating-point input."""
    inputs = [Tensor(x, x.dtype in FLOATING) for x in arrays]
    outputs = [y for y in run_eagerly(graph, inputs) if y.dtype in FLOATING]
    pairs = [(y, Tensor(g)) for y, g in zip(outputs, cotangents) if y.requires_grad]
    wrt = [x for x in inputs if x.requires_grad]
    if not pairs:
        return [np.zeros_like(x.array) for x in wrt]
    found = grad([y for y, _ in pairs], wrt, [g for _, g in pairs], allow_unused=True)
    return [np.zeros_like(x.array) if g is None else g.array for x, g in zip(wrt, found)]


def cotangents_for(graph: Graph, outputs: list[np.ndarray], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=y.shape).astype(y.dtype)) for y in outputs if y.dtype in FLOATING]


def floating_inputs(graph: Graph) -> list[int]:
    return [k for k, type in enumerate(graph.inputs) if type.dtype in FLOATS]


@settings(max_examples=200, deadline=None)
@given(graphs(ops=UNCHECKED, dtypes=("f64", "i64", "bool")), st.integers(0, 2**32 - 1))
def test_graph_and_eager_gradients_have_the_same_bits(graph: Graph, seed: int) -> None:
    arrays = arrays_for(graph, seed)
    outputs = interpret(graph, arrays)
    assert not isinstance(outputs, Exit)
    cotangents = cotangents_for(graph, outputs, seed)
    backward = differentiate(graph, floating_inputs(graph))
    verify(backward)
    from_graph = interpret(backward, [*arrays, *cotangents])
    assert not isinstance(from_graph, Exit)
    for a, b in zip(from_graph, eager_gradients(graph, arrays, cotangents), strict=True):
        assert same_bits(a, np.ascontiguousarray(b)) or np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)


@settings(max_examples=50, deadline=None)
@given(graphs(ops=UNCHECKED, dtypes=("f32", "f64", "i64"), symbolic=True), st.integers(0, 2**32 - 1))
def test_graphs_with_symbols_are_differentiated_once_for_all_sizes(graph: Graph, seed: int) -> None:
    backward = differentiate(graph, floating_inputs(graph))
    verify(backward)
    for k in range(2):
        arrays = arrays_for(graph, seed + k)
        outputs = interpret(graph, arrays)
        assert not isinstance(outputs, Exit)
        cotangents = cotangents_for(graph, outputs, seed)
        from_graph = interpret(backward, [*arrays, *cotangents])
        assert not isinstance(from_graph, Exit)
        for a, b in zip(from_graph, eager_gradients(graph, arrays, cotangents), strict=True):
            assert np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_gather_and_scatter_add() -> None:
    b = Builder("indexed")
    x, i, u = b.input(TensorType("f64", (4, 2))), b.input(TensorType("i64", (3, 2))), b.input(TensorType("f64", (3, 2)))
    y = x.emit("gather", i, axis=0) * u
    graph = b.graph([x.emit("scatter_add", i, y, axis=0)])
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, 2)), rng.integers(-4, 4, (3, 2)), rng.normal(size=(3, 2))]
    g = rng.normal(size=(4, 2))
    from_graph = interpret(differentiate(graph, (0, 2)), [*arrays, g])
    assert not isinstance(from_graph, Exit)
    for a, e in zip(from_graph, eager_gradients(graph, arrays, [g]), strict=True):
        assert same_bits(a, e)


CUBE = """
graph cube(%0: f64[3], %1: f64[3]) {
  %2 = tanh %0 : f64[3]          @ model.py:1
  %3 = mul %2, %1 : f64[3]       @ model.py:2
  %4 = mul %3, %0 : f64[3]       @ model.py:2
  return %4
}
"""


def test_third_order() -> None:
    """f' by graphs of graphs of graphs is f' by eager backward of backward of backward."""
    graph = parse(CUBE)
    assert isinstance(graph, Graph)
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=3), rng.normal(size=3)]
    for _ in range(3):
        graph = differentiate(graph, (0,))
        verify(graph)
        arrays.append(rng.normal(size=3))
    third = interpret(graph, arrays)
    assert not isinstance(third, Exit)
    x = Tensor(arrays[0], True)
    value, = run_eagerly(parse(CUBE), [x, Tensor(arrays[1])])
    for seed in arrays[2:]:
        value, = grad(value, x, Tensor(seed), create_graph=True)
    np.testing.assert_allclose(third[0], value.array, rtol=1e-12)


def test_the_graph_comes_first_and_lines_are_carried() -> None:
    graph = parse(CUBE)
    assert isinstance(graph, Graph)
    backward = differentiate(graph, (0, 1))
    assert [node.op for node in backward.nodes[:3]] == ["tanh", "mul", "mul"]
    assert backward.inputs == (*graph.inputs, TensorType("f64", (3,)))
    assert {node.line for node in backward.nodes} == {"model.py:1", "model.py:2"}


def test_zeros_where_there_is_no_path() -> None:
    b = Builder("f")
    n = symbol("n")
    x, y = b.input(TensorType("f32", (n,))), b.input(TensorType("f32", (2, n)))
    graph = b.graph([x.emit("detach") * 2.0 + x])
    g = np.ones(3, np.float32)
    found = interpret(differentiate(graph, (0, 1)), [g, np.ones((2, 3), np.float32), g])
    assert not isinstance(found, Exit)
    np.testing.assert_array_equal(found[0], [1, 1, 1])
    np.testing.assert_array_equal(found[1], np.zeros((2, 3)))
    assert y.id == 1


def test_an_output_that_is_an_input_and_one_returned_twice() -> None:
    b = Builder("f")
    x = b.input(TensorType("f64", ()))
    graph = b.graph([x, y := x * x, y])
    found = interpret(differentiate(graph, (0,)), [np.float64(3), np.float64(1), np.float64(10), np.float64(100)])
    assert not isinstance(found, Exit)
    assert found[0] == 1 + 110 * 6


def test_derivatives_with_respect_to_a_value_inside() -> None:
    graph = parse(CUBE)
    assert isinstance(graph, Graph)
    found = interpret(differentiate(graph, (3, 2)), [np.full(3, 0.5), np.full(3, 2.0), np.ones(3)])
    assert not isinstance(found, Exit)
    np.testing.assert_array_equal(found[0], np.full(3, 0.5))
    np.testing.assert_array_equal(found[1], np.full(3, 1.0))


def test_an_op_without_a_row_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracegrad.derivatives import VJPS
    monkeypatch.delitem(VJPS, "tanh")
    with pytest.raises(NotImplementedError, match=r"^model\.py:1: tanh has no derivative"):
        differentiate(parse(CUBE), (0,))    # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match=r"^test_autodiff\.py:\d+: tanh has no derivative"):
        dispatch("tanh", Tensor(np.ones(2), True))


def test_a_chain_of_ten_thousand_operations() -> None:
    x = Tensor(np.ones(2), True)
    y = x
    for _ in range(10_000):
        y = y + 1.0
    g, = grad(total(y), x, retain_graph=True)
    np.testing.assert_array_equal(g.array, [1, 1])
    total(y).backward()
    np.testing.assert_array_equal(x.grad.array, [1, 1])     # type: ignore[union-attr]
    del y                                                   # the chain goes without deep recursion too


def test_a_graph_with_shared_parts_is_walked_once() -> None:
    x = Tensor(np.array(1.0), True)
    y = x
    for _ in range(60):                                     # 2**60 paths
        y = y + y
    g, = grad(y, x)
    assert g.item() == 2.0**60


def test_a_product_with_a_transposed_weight_is_differentiated_by_two_products_and_four_transposes() -> None:
    x, w = (Tensor(np.ones((n, 4), np.float32), True) for n in (2, 3))
    recorder = Recorder()
    token = ACTIVE.set(recorder)
    try:
        y = dispatch("matmul", x, dispatch("transpose", w, axes=(1, 0)))
        first = len(recorder.ops)
        gx, gw = grad(y, [x, w], Tensor(np.ones((2, 3), np.float32)))
    finally:
        ACTIVE.reset(token)
    assert gx is not None and gw is not None
    assert gx.numpy().tolist() == [[3.0] * 4] * 2 and gw.numpy().tolist() == [[2.0] * 4] * 3
    assert gw.array.flags.c_contiguous          # as the weight lies, since it was multiplied as its transpose
    backward = [recorded.op for recorded in recorder.ops[first:]]
    assert sorted(backward) == ["matmul"] * 2 + ["transpose"] * 4
