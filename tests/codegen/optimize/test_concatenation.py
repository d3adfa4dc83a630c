"""Concatenation: a sum of what lies apart is a concat, one of products one product; slices of concats are of parts."""
from __future__ import annotations

import numpy as np
import pytest

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def padded(x: Value, low: int, high: int, axis: int = 0) -> Value:
    zeros = [0] * x.ndim
    ends = [tuple(n if k == axis else 0 for k in range(x.ndim)) for n in (low, high)]
    return x.emit("pad", low=ends[0], high=ends[1], interior=tuple(zeros))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_a_sum_of_what_lies_apart_is_a_concat_bit_for_bit(order: tuple[int, ...]) -> None:
    b = Builder("apart")
    parts = [b.input(TensorType("f32", (2, 3))) for _ in range(3)]
    sums = [padded(part, 2 * k, 4 - 2 * k) for k, part in enumerate(parts)]
    first, second, third = (sums[k] for k in order)
    graph = b.graph([first + second + third])
    better = optimize(graph)
    assert "pad" not in ops(better) and ops(better).count("concat") == 2
    arrays = [np.array([[-0.0, 0.0, np.nan], [k, -1.5, -np.inf]], np.float32) for k in range(3)]
    assert interpret(better, arrays)[0].tobytes() == interpret(graph, arrays)[0].tobytes()


@pytest.mark.parametrize(("ends", "axis"), [((0, 3, 1, 2), 0), ((0, 4, 3, 1), 0), ((0, 2, 2, 0), 1)])
def test_what_overlaps_leaves_a_gap_or_is_not_one_block_stays_a_sum(ends: tuple[int, ...], axis: int) -> None:
    b = Builder("other")
    x, y = b.input(TensorType("f32", (2, 2))), b.input(TensorType("f32", (2, 2)))
    assert "concat" not in ops(optimize(b.graph([padded(x, *ends[:2], axis) + padded(y, *ends[2:], axis)])))


@pytest.mark.parametrize("turned", [False, True])
def test_a_sum_of_products_is_one_product(turned: bool) -> None:
    """Of x^T y for several x and y, in whatever order they are added, through transposes too."""
    b = Builder("weights")
    xs, ys = ([b.input(TensorType("f64", (3, n))) for _ in range(4)] for n in (5, 7))
    products = [x.emit("transpose", axes=(1, 0)).emit("matmul", y) for x, y in zip(xs, ys)]
    if turned:
        products = [p.emit("transpose", axes=(1, 0)).emit("transpose", axes=(1, 0)) for p in products]
    one, two, three, four = products
    graph = b.graph([(one + two) + (four + three)])
    better = optimize(graph)
    assert ops(better).count("matmul") == 1 and "add" not in ops(better)
    arrays = [np.random.default_rng(k).standard_normal(t.shape) for k, t in enumerate(graph.inputs)]
    assert np.allclose(interpret(better, arrays)[0], interpret(graph, arrays)[0], rtol=1e-12)


def test_a_product_that_is_read_otherwise_is_not_computed_twice() -> None:
    b = Builder("read")
    x, y = b.input(TensorType("f32", (3, 4))), b.input(TensorType("f32", (3, 4)))
    one, two = x.emit("transpose", axes=(1, 0)).emit("matmul", x), y.emit("transpose", axes=(1, 0)).emit("matmul", y)
    assert ops(optimize(b.graph([one + two, one]))).count("matmul") == 2


def test_a_slice_of_a_concat_is_a_slice_of_its_part() -> None:
    b = Builder("part")
    x, y = b.input(TensorType("f32", (3, 4))), b.input(TensorType("f32", (2, 4)))
    both = x.emit("concat", y, axis=0)
    cuts = [both.emit("slice", start=(a, 0), stop=(z, 4), step=(1, 1)) for a, z in ((0, 3), (3, 5), (1, 2), (2, 4))]
    graph = b.graph([cut.emit("exp") for cut in cuts])
    better = optimize(graph)
    assert ops(better).count("concat") == 1                 # for the slice of both
    arrays = [np.arange(n, dtype=np.float32).reshape(-1, 4) for n in (12, 8)]
    for got, expected in zip(interpret(better, arrays), interpret(graph, arrays)):
        assert np.array_equal(got, expected)
