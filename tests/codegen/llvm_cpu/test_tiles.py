"""Transposed accesses, square by square: right wherever arrays and tiles begin and end, and no access is left over."""
from __future__ import annotations

import numpy as np
import pytest
from guarded_memory import guarded
from native_kernels import compile_kernel, each_features, index

from codegen.ir.builder import Builder
from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu import memory
from codegen.llvm_cpu.assembler import Assembler
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.features import AVX2, AVX512, Features
from codegen.llvm_cpu.squares import side, transposed, transposed_near
from codegen.llvm_cpu.tiles import tile_of
from codegen.schedule.kernel import Axis, Binary, Index, Kernel, Load, Param, Pass, Store
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch

ROWS, POINTS = 32, 96       # of a tile


class Lanes(Assembler):
    """Shuffles lists."""

    def shuffle(self, x, y, lanes):     # type: ignore[no-untyped-def, override]
        return [[*x, *y][k] for k in lanes]


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("item", [1, 2, 4, 8])
def test_shuffles_transpose_a_square(item: int, vector_bytes: int) -> None:
    size = side(item, vector_bytes)
    square = [[(r, c) for c in range(size)] for r in range(size)]
    assert transposed(Lanes(), square, item) == [list(column) for column in zip(*square)]     # type: ignore[arg-type]


@pytest.mark.parametrize("item", [2, 4, 8])
def test_shuffles_transpose_each_16_bytes(item: int) -> None:
    size, lanes = 16 // item, 64 // item
    lines = [[(r, c) for c in range(lanes)] for r in range(size)]
    found = transposed_near(Lanes(), lines, lanes)      # type: ignore[arg-type]
    assert found == [[(r, start + c) for start in range(0, lanes, size) for r in range(size)] for c in range(size)]


def in_tiles(dtype: str, m: int, n: int, grain: int) -> Kernel:
    """b2 = b0 + b1.T and b3 = b0 - b1.T, stored by columns, of [m, n]."""
    rows, points = Index((("i", ROWS), ("k", 1))), Index((("j", POINTS), ("l", 1)))
    straight, turned = index(i=ROWS * n, k=n, j=POINTS, l=1), index(i=ROWS, k=1, j=POINTS * m, l=m)
    ways = ("in", "in", "out", "out")
    add, subtract = ("or", "and") if dtype == "bool" else ("add", "sub")
    body = (Load(0, straight), Load(1, turned), Binary(add, 0, 1), Store(2, straight, 2), Binary(subtract, 0, 1),
            Store(3, turned, 3))
    tiles = Axis("i", -(-m // ROWS)), Axis("j", -(-n // POINTS))
    within = Axis("k", ROWS, (rows, m)), Axis("l", POINTS, (points, n))
    return Kernel(tuple(Param(dtype, m * n, way) for way in ways), tiles, (Pass(within, body),), "l", grain)


def expected(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turned = y.reshape(x.shape[::-1]).T
    both = (x | turned, x & turned) if x.dtype == bool else (x + turned, x - turned)
    return both[0].reshape(-1), both[1].T.reshape(-1)


@each_features
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("shape", [(64, 192), (70, 201), (33, 97), (5, 3), (9, 200), (130, 8)])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i16", "bool"])
def test_transposed_loads_and_stores(dtype: str, shape: tuple[int, int], at_end: bool, features: Features) -> None:
    generator = np.random.default_rng(0)
    x, y = (generator.integers(0, 2 if dtype == "bool" else 100, shape).astype(DTYPES[dtype]) for _ in range(2))
    kernel = in_tiles(dtype, *shape, 1)
    tile = tile_of(kernel)
    assert tile is not None and (len(tile.reads), len(tile.writes), tile.counters) == (1, 1, ("i", "j"))
    arrays = [guarded(a, at_end) for a in (x.reshape(-1), y.reshape(-1), np.zeros(x.size, x.dtype),
                                           np.zeros(x.size, x.dtype))]
    run = compile_kernel(kernel, features)
    for chunk in reversed(range(kernel.chunks)):        # type: ignore[arg-type]
        run(arrays, chunk, chunk + 1)
    for found, wanted in zip(arrays[2:], expected(x, y)):
        np.testing.assert_array_equal(found, wanted)


@each_features
@pytest.mark.parametrize("offset", [0, 1, 15])
@pytest.mark.parametrize("columns", [192, 200])
def test_tiles_begin_with_lines_and_are_streamed(columns: int, offset: int, features: Features,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows are no whole lines nothing is streamed."""
    monkeypatch.setattr(memory, "BEYOND_CACHES", 1 << 12)
    monkeypatch.setattr(memory, "STREAMED", 1 << 10)
    kernel = in_tiles("f32", 80, columns, 0)
    assert ("!nontemporal" in emit_kernel(kernel, "f", features)) == (columns == 192)
    room = np.zeros((4, 80 * columns + 32), np.float32)
    arrays = []
    for line in room:
        first = -line.ctypes.data % 64 // 4 + offset
        arrays.append(line[first:first + 80 * columns])
    x, y = np.random.default_rng(0).normal(size=(2, 80, columns)).astype("f4")
    arrays[0][:], arrays[1][:] = x.reshape(-1), y.reshape(-1)
    compile_kernel.__wrapped__(kernel, features)(arrays)
    for found, wanted in zip(arrays[2:], expected(x, y)):
        np.testing.assert_array_equal(found, wanted)
    assert np.count_nonzero(room) == sum(map(np.count_nonzero, arrays))


@pytest.mark.parametrize("features", [AVX2, AVX512])
@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0)])
@pytest.mark.parametrize("dtype", ["f32", "bf16", "u8"])
def test_no_permutation_of_axes_is_gathered(dtype: str, axes: tuple[int, ...], features: Features) -> None:
    shape = (40, 50, 60)
    builder = Builder("f")
    x = builder.input(TensorType(dtype, shape))
    y = builder.input(TensorType(dtype, tuple(shape[k] for k in axes)))
    result = x.emit("transpose", axes=axes).emit("maximum", y)
    kernels = [step.kernel for step in schedule(builder.graph([result])).steps if isinstance(step, Launch)]
    assert all("masked.gather" not in emit_kernel(one, "f", features) for one in kernels)




@each_features
@pytest.mark.parametrize(("axis", "columns"), [(0, 1104), (1, 1104), (1, 4101)])
def test_passes_that_stream_begin_with_lines(axis: int, columns: int, features: Features,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """What earlier passes left in rooms is found wherever the vectors of later ones begin; sums do not depend on it."""
    monkeypatch.setattr(memory, "BEYOND_CACHES", 1 << 12)
    monkeypatch.setattr(memory, "STREAMED", 1 << 10)
    shape = (48, columns)
    builder = Builder("f")
    x = builder.input(TensorType("f32", shape))
    e = (x - x.emit("max", axis=(axis,), keepdims=True)).emit("exp")
    graph = builder.graph([e / e.emit("sum", axis=(axis,), keepdims=True)])
    kernel, = [step.kernel for step in schedule(graph).steps if isinstance(step, Launch)]
    assert "!nontemporal" in emit_kernel(kernel, "f", features)
    run = compile_kernel.__wrapped__(kernel, features)
    data = np.random.default_rng(0).normal(size=shape).astype("f4")
    exact = np.exp(data - data.max(axis, keepdims=True), dtype="f8")
    results = []
    for offset in (0, 1, 15):
        room = np.zeros(data.size + 64, "f4")
        first = -room.ctypes.data % 64 // 4 + offset
        run([data.reshape(-1).copy(), room[first:first + data.size]])
        results.append(room[first:first + data.size].reshape(shape).copy())
        assert not room[:first].any() and not room[first + data.size:].any()
    np.testing.assert_allclose(results[0], exact / exact.sum(axis, keepdims=True), rtol=1e-5)
    assert all(np.array_equal(results[0], other) for other in results)
