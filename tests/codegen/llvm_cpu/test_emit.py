"""Kernels built by hand, compiled and compared with NumPy."""
from __future__ import annotations

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features, index

from codegen.ir.dims import symbol
from codegen.llvm_cpu.assembler import I64, Assembler, Value
from codegen.llvm_cpu.indexing import Point, holds
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Binary,
    Const,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Remainder,
    Select,
    Store,
    Unary,
    Within,
)


@each_features
@pytest.mark.parametrize("size", [1, 5, 64, 1037])
def test_an_elementwise_chain(features, size):
    i = index(i=1)
    kernel = Kernel(
        (Param("f32", size, "in"), Param("f32", size, "out")), (Axis("i", size),),
        (Pass((), (Load(0, i), Binary("mul", 0, 0), Binary("add", 1, 0), Unary("sqrt", 2), Store(1, i, 3))),), "i", 0)
    x = np.linspace(0, 9, size, dtype=np.float32)
    y = np.empty_like(x)
    assert not compile_kernel(kernel, features)([x, y])
    np.testing.assert_array_equal(y, np.sqrt(x * x + x))


@each_features
@pytest.mark.parametrize("columns", [3, 64, 1001])
def test_softmax_over_rows(features, columns):
    rows, at = 37, index(i=columns, j=1)
    j = (Axis("j", columns),)
    kernel = Kernel((Param("f32", rows * columns, "in"), Param("f32", rows * columns, "out")), (Axis("i", rows),), (
        Pass(j, (Load(0, at), Accumulate("max", 0))),
        Pass(j, (Load(0, at), Binary("sub", 2, 1), Unary("exp", 3), Accumulate("sum", 4))),
        Pass(j, (Load(0, at), Binary("sub", 6, 1), Unary("exp", 7), Binary("div", 8, 5), Store(1, at, 9)))), "j", 8)
    x = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    y = np.zeros_like(x)
    assert not compile_kernel(kernel, features)([x, y])
    expected = np.exp(x - x.max(axis=1, keepdims=True), dtype=np.float64)
    np.testing.assert_allclose(y, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


@each_features
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("columns", [3, 64, 1001, 2500])
def test_column_sums(features, dtype, columns):
    """Row by row, or eight rows at a time with partial results beside them (f32: three roundings more)."""
    rows = 53
    kernel = Kernel((Param(dtype, rows * columns, "in"), Param(dtype, columns, "out")), (Axis("i", columns),), (
        Pass((Axis("j", rows),), (Load(0, index(i=1, j=columns)), Accumulate("sum", 0))),
        Pass((), (Store(1, index(i=1), 1),))), "i", 1100)
    x = np.random.default_rng(0).normal(size=(rows, columns)).astype({"f32": np.float32, "f64": np.float64}[dtype])
    y = np.zeros(columns, x.dtype)
    assert not compile_kernel(kernel, features)([x, y])
    exact = x.astype(np.longdouble)
    allowed = (4 if dtype == "f32" else 1) * np.finfo(x.dtype).eps / 2 * abs(exact).sum(axis=0)
    assert (abs(y - exact.sum(axis=0)) <= allowed).all()


@each_features
@pytest.mark.parametrize("columns, rows", [(200, 40), (1100, 17), (1100, 700)])
def test_columns_in_several_passes(features, columns, rows):
    """What an earlier pass leaves is taken by later ones, in strips of any width: deviations from the mean, squared."""
    at, down = index(i=1, j=columns), (Axis("j", rows),)
    kernel = Kernel((Param("f32", rows * columns, "in"), Param("f32", rows, "in"), Param("f32", columns, "out"),
                     Param("f32", rows * columns, "out")), (Axis("i", columns),), (
        Pass(down, (Load(0, at), Accumulate("sum", 0), Load(1, index(j=1)), Accumulate("max", 2))),
        Pass((), (Const(repr(1 / rows), "f32"), Binary("mul", 1, 4), Binary("lt", 5, 3))),
        Pass(down, (Load(0, at), Binary("sub", 7, 5), Binary("mul", 8, 8), Accumulate("sum", 9), Store(3, at, 8))),
        Pass((), (Const("0.0", "f32"), Select(6, 10, 11), Store(2, index(i=1), 12)))), "i", 640)
    generator = np.random.default_rng(0)
    x, w = generator.normal(size=(rows, columns)).astype(np.float32), generator.random(rows, np.float32)
    variance, away = np.zeros(columns, np.float32), np.zeros_like(x)
    assert not compile_kernel(kernel, features)([x, w, variance, away])
    mean = x.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(away, x - mean, atol=1e-5)
    np.testing.assert_allclose(variance, np.where(mean < w.max(), ((x - mean) ** 2).sum(axis=0), 0), rtol=1e-4)


WORDS = tuple(symbol(f"n{k}") for k in range(3))


@each_features
@pytest.mark.parametrize("words", [(1, 0, 1), (7, -2, 9), (3, -1, 4), (70, -60, 130), (6, 3, 3)])
def test_words_may_be_any_numbers(features, words):
    """A word is what a size comes to, and that may be 0, 1 or negative: rows that come after -n1 zeros."""
    size, before, extent = WORDS
    inside = Within(index(i=1), -before, extent)
    kernel = Kernel((Param("f32", size, "in"), Param("f32", extent, "out")), (Axis("i", extent),), (
        Pass((), (Load(0, Index((("i", 1),), before), (inside,)), Store(1, index(i=1), 0))),), "i", 0, words=3)
    x, y = np.arange(1, words[0] + 1, dtype=np.float32), np.full(words[2], np.nan, np.float32)
    assert not compile_kernel(kernel, features)([x, y], words=words)
    places = np.arange(words[2]) + words[1]
    np.testing.assert_array_equal(y, np.where(places >= 0, x[np.maximum(places, 0)], 0))


@pytest.mark.parametrize("guard, extent, implied", [
    (Within(index(i=1), 0, WORDS[0]), WORDS[0], True),
    (Within(index(1, i=2), 1, 2 * WORDS[0]), WORDS[0], True),
    (Within(index(i=1), 0, 2 * WORDS[0]), WORDS[0], False),
    (Within(index(i=1), 0, WORDS[0] + WORDS[1]), WORDS[0], False),
    (Within(index(i=1), 0, WORDS[0]), 2, False),
    (Within(index(i=1), -WORDS[0], 2), 2, False),
    (Within(Index((("i", WORDS[0]),)), 0, WORDS[0]), 2, False),
    (Within(Index(((Remainder(index(1, i=1), 64 * WORDS[0]), 1),)), 1, 128), 100, False),
    (Within(index(1, i=1), 1, 101), 100, True),
    (Within(Index(((Remainder(index(i=1), 7), 1),)), 0, 7), 100, True),
])
def test_a_guard_is_left_out_where_it_holds_for_all_words(guard, extent, implied):
    a = Assembler()
    a.words = {"n0": Value("%n0", I64), "n1": Value("%n1", I64)}
    at = Point({"i": Value("%i", I64)}, {"i": extent}, None)
    assert (holds(a, at, (guard,)) is None) == implied
