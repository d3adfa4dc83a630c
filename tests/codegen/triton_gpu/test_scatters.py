"""What is scattered along axes that neither the place nor the value changes along is scattered as often."""
from __future__ import annotations

import numpy as np
import pytest
from gpu_extra import needs_triton

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.types import DTYPES, INTEGERS, TensorType

pytestmark = needs_triton

ROWS, COLUMNS, SIZE = 3, 50, 5
SHAPES = {"by rows": (ROWS, 1), "by columns": (1, COLUMNS), "by both": (ROWS, COLUMNS), "all one": (1, 1)}


def scattered(places: tuple[int, ...], values: tuple[int, ...], dtype: str) -> Graph:
    """zeros[SIZE] with values added at places, both broadcast to [ROWS, COLUMNS]."""
    b = Builder("scattered")
    k, x = b.input(TensorType("i64", places)), b.input(TensorType(dtype, values))
    zero = b.emit("constant", value="0" if dtype in INTEGERS else "0.0", dtype=dtype)
    zeros = b.emit("broadcast", zero, shape=(SIZE,))
    k, x = (b.emit("broadcast", v, shape=(ROWS, COLUMNS)) for v in (k, x))
    k, x = (b.emit("reshape", v, shape=(ROWS * COLUMNS,)) for v in (k, x))
    return b.graph([b.emit("scatter_add", zeros, k, x, axis=0)])


@pytest.mark.parametrize("dtype", ["f32", "i32", "f16", "i8"])
@pytest.mark.parametrize("places", SHAPES)
def test_every_point_is_added(places: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    rng = np.random.default_rng(0)
    for values in SHAPES.values():
        graph = scattered(SHAPES[places], values, dtype)
        arrays = [rng.integers(0, SIZE, SHAPES[places]), rng.integers(1, 3, values).astype(DTYPES[dtype])]
        found, = compile_program(graph, "triton_gpu", cache=Cache(None))(*arrays)
        np.testing.assert_array_equal(found, interpret(graph, arrays)[0])


def test_halves_are_added_up_in_32_bits_and_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    rng = np.random.default_rng(0)
    places, terms = rng.integers(0, SIZE, 3000), rng.normal(1, 1, 3000).astype(DTYPES["bf16"])
    b = Builder("sums")
    x, k, y = (b.input(TensorType(*type)) for type in (("bf16", (SIZE,)), ("i64", (3000,)), ("bf16", (3000,))))
    graph = b.graph([b.emit("scatter_add", x, k, y, axis=0)])
    start = rng.normal(size=SIZE).astype(DTYPES["bf16"])
    found, = compile_program(graph, "triton_gpu", cache=Cache(None))(start, places, terms)
    expected = start.astype("f8")
    np.add.at(expected, places, terms.astype("f8"))
    np.testing.assert_allclose(found.astype("f8"), expected, 2 ** -8 + 1e-5)        # the reference stays below 256
