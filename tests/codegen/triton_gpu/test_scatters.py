"""What is scattered along axes that neither the place nor the value changes along is scattered as often. What is
written to one place is what the last update says, in whatever order a GPU runs them."""
from __future__ import annotations

import numpy as np
import pytest
from gpu_extra import needs_triton

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.executable import ExitTaken
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.types import DTYPES, INTEGERS, TensorType
from codegen.schedule.kernel_text import parse_kernel
from codegen.triton_gpu.emit import emit_kernel
from codegen.triton_gpu.host_check import run
from codegen.triton_gpu.spec import KernelError

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


# ---- what is written -----------------------------------------------------------------------------------------------


def written(shape: tuple[int, ...], count: int, axis: int, lines: bool, dtype: str, made: str) -> Graph:
    """x with what `made` says written at `count` places of each line along an axis; `lines`: at the same in all."""
    b = Builder("written")
    counts = tuple(count if k == axis else n for k, n in enumerate(shape))
    ones = tuple(count if k == axis else 1 for k in range(len(shape)))
    x, k = b.input(TensorType(dtype, shape)), b.input(TensorType("i32", ones if lines else counts))
    y = b.input(TensorType(dtype, counts))
    at = k.emit("broadcast", shape=counts) if lines else k
    update = {"given": lambda: y, "computed": lambda: y * y,
              "numbered": lambda: y + b.emit("iota", shape=counts, axis=axis, dtype=dtype),
              "numbers": lambda: b.emit("iota", shape=counts, axis=axis, dtype=dtype),
              "one for each line": lambda: y.emit("slice", start=(0, 0, 0), stop=ones_of(counts, axis), step=(1, 1, 1)
                                                  ).emit("broadcast", shape=counts)}[made]()
    return b.graph([b.emit("scatter", x, at, update, axis=axis)])


def ones_of(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(1 if k == axis else n for k, n in enumerate(shape))


RACE = parse_kernel("""kernel (b0: i64[2000] in, b1: f32[2000] in, b2: f32[9] inout) {
  for i < 2000:
    pass:
      v0 = load b0[i]
      v1 = load b1[i]
      scatter_same b2[0] at v0*1 of 9 v1
}
""")


def test_that_updates_are_the_same_is_seen() -> None:
    spec, places = emit_kernel(RACE), np.arange(2000) % 9
    values = places.astype("f4")
    assert run(spec, [places, values, np.zeros(9, "f4")])
    for last in (1008, 1999):                       # of a program that has written there, and of another one
        values[last] += 1
        with pytest.raises(KernelError, match="different values|which was changed by program 0"):
            run(spec, [places, values, np.zeros(9, "f4")])
        values[last] -= 1


@pytest.mark.parametrize("made", ["given", "computed", "numbered", "numbers", "one for each line"])
@pytest.mark.parametrize("lines", [True, False], ids=["at the same places in all lines", "elsewhere in each line"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_last_update_stays(axis: int, lines: bool, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    rng, shape = np.random.default_rng(axis), (4, 5, 9)
    for dtype, count in (("f32", 40), ("i8", 3)):
        graph = written(shape, count, axis, lines, dtype, made)
        _, places, terms = (type.shape for type in graph.inputs)
        n = shape[axis]
        arrays = [rng.integers(-9, 9, shape).astype(DTYPES[dtype]), rng.integers(-n, n, places, dtype=np.int32),
                  rng.integers(-9, 9, terms).astype(DTYPES[dtype])]
        executable = compile_program(graph, "triton_gpu", cache=Cache(None))
        np.testing.assert_array_equal(executable(*arrays)[0], interpret(graph, arrays)[0])
        arrays[1][(0,) * 3] = n
        with pytest.raises(ExitTaken):
            executable(*arrays)
