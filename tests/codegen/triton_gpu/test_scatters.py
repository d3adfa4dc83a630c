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
from codegen.ir.types import DTYPES, TensorType

pytestmark = needs_triton

ROWS, COLUMNS, SIZE = 3, 50, 5
SHAPES = {"by rows": (ROWS, 1), "by columns": (1, COLUMNS), "by both": (ROWS, COLUMNS), "all one": (1, 1)}


def scattered(places: tuple[int, ...], values: tuple[int, ...], dtype: str) -> Graph:
    """zeros[SIZE] with values added at places, both broadcast to [ROWS, COLUMNS]."""
    b = Builder("scattered")
    k, x = b.input(TensorType("i64", places)), b.input(TensorType(dtype, values))
    zeros = b.emit("broadcast", b.emit("constant", value="0" if dtype == "i32" else "0.0", dtype=dtype), shape=(SIZE,))
    k, x = (b.emit("broadcast", v, shape=(ROWS, COLUMNS)) for v in (k, x))
    k, x = (b.emit("reshape", v, shape=(ROWS * COLUMNS,)) for v in (k, x))
    return b.graph([b.emit("scatter_add", zeros, k, x, axis=0)])


@pytest.mark.parametrize("dtype", ["f32", "i32", "f16"])
@pytest.mark.parametrize("places", SHAPES)
def test_every_point_is_added(places: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    rng = np.random.default_rng(0)
    for values in SHAPES.values():
        graph = scattered(SHAPES[places], values, dtype)
        arrays = [rng.integers(0, SIZE, SHAPES[places]), rng.integers(1, 3, values).astype(DTYPES[dtype])]
        found, = compile_program(graph, "triton_gpu", cache=Cache(None))(*arrays)
        np.testing.assert_array_equal(found, interpret(graph, arrays)[0])
