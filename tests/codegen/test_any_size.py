"""A program made of graphs at a few sizes serves others: words that are filled in run as those planned anew do."""
from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from codegen import Builder, Cache, Graph, compile_any_size, compile_program, sizes_in
from codegen.ir.types import TensorType


def graph(b: int) -> Graph:
    g = Builder("f")
    x, w, v = (g.input(TensorType("f32", shape)) for shape in ((b, 6), (6, 8), (8,)))
    y = x.emit("matmul", w).emit("tanh") * v
    return g.graph([y.emit("sum", axis=(0,), keepdims=False), y.emit("transpose", axes=(1, 0)).emit("matmul", x),
                    y.emit("reshape", shape=(8 * b,)), v])


def inputs(b: int) -> list[np.ndarray]:
    rng = np.random.default_rng(b)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((b, 6), (6, 8), (8,))]


def sizes(g: Graph) -> tuple[int, ...]:
    return tuple(size for size in sizes_in(g.inputs, g.nodes) if isinstance(size, int))


@pytest.mark.parametrize("b", [2, 5, 24, 33, 700, 5000])
def test_other_sizes_are_served_by_the_same_kernels(b: int) -> None:
    cache = Cache(None)
    made = compile_any_size([graph(8), graph(16)], cache=cache)
    assert made is not None
    found = made.at(sizes(graph(b)))
    assert found is not None and found.kernels_compiled == 0 and [t.shape for t in found.inputs][0] == (b, 6)
    expected = compile_program(graph(b), cache=cache)(*inputs(b))
    for one, other in zip(found(*inputs(b)), expected, strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_what_is_not_alike_is_not_served() -> None:
    made = compile_any_size([graph(8), graph(16)], cache=Cache(None))
    assert made is not None
    for wrong in range(len(sizes(graph(24)))):
        numbers = list(sizes(graph(24)))
        numbers[wrong] += 1
        assert made.at(tuple(numbers)) is None
    assert made.at(sizes(graph(1))) is None


def test_graphs_of_one_size_make_none() -> None:
    assert compile_any_size([graph(8), graph(8)], cache=Cache(None)) is None
