"""Accumulations: exactness of sums, NaN in extrema, every form of loop around them."""
from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from guarded_memory import guarded
from native_kernels import compile_kernel, each_features, index, runnable

from codegen.ir.types import DTYPES, FLOATS
from codegen.schedule.kernel import Accumulate, Axis, Binary, Kernel, Load, Param, Pass, Store

REFERENCES = {"sum": lambda x, axis: np.sum(x, axis=axis, dtype=x.dtype), "max": np.max, "min": np.min}


def rows_kernel(kind: str, dtype: str, rows: int, columns: int, vector: str | None, grain: int = 0) -> Kernel:
    """out[i] = kind of in[i, :]."""
    params = (Param(dtype, rows * columns, "in"), Param(dtype, rows, "out"))
    across = Pass((Axis("j", columns),), (Load(0, index(i=columns, j=1)), Accumulate(kind, 0)))
    return Kernel(params, (Axis("i", rows),), (across, Pass((), (Store(1, index(i=1), 1),))), vector, grain)


def columns_kernel(kind: str, dtype: str, rows: int, columns: int) -> Kernel:
    """out[j] = kind of in[:, j]."""
    params = (Param(dtype, rows * columns, "in"), Param(dtype, columns, "out"))
    down = Pass((Axis("i", rows),), (Load(0, index(i=columns, j=1)), Accumulate(kind, 0)))
    return Kernel(params, (Axis("j", columns),), (down, Pass((), (Store(1, index(j=1), 1),))), "j", 32)


def reduce(kernel: Kernel, features, x: np.ndarray) -> np.ndarray:
    result = np.empty(kernel.params[1].size, x.dtype)
    assert not compile_kernel(kernel, features)([x, result])
    return result


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(3)
    if dtype in FLOATS:
        return generator.normal(size=shape).astype(DTYPES[dtype])
    limits = np.iinfo(DTYPES[dtype])
    return generator.integers(limits.min, limits.max, shape, DTYPES[dtype], endpoint=True)


@each_features
@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"])
@pytest.mark.parametrize("kind", ["sum", "max", "min"])
@pytest.mark.parametrize("columns", [1, 2, 7, 64, 200])
def test_along_rows_and_columns(columns, kind, dtype, features):
    rows = 6
    x = numbers(dtype, (rows, columns))
    exact = x if kind != "sum" or dtype not in FLOATS else x.astype(np.longdouble)
    np.testing.assert_array_equal(reduce(columns_kernel(kind, dtype, rows, columns), features, x),
                                  REFERENCES[kind](exact, axis=0).astype(x.dtype))
    for vector, grain in (("j", 2), ("i", 0), (None, 0)):
        found = reduce(rows_kernel(kind, dtype, rows, columns, vector, grain), features, x)
        expected = REFERENCES[kind](exact, axis=1)
        if (kind, dtype, vector) == ("sum", "f32", "j"):        # registers are added in pairs: three roundings at most
            assert (abs(found - expected) <= 1.5 * np.finfo(np.float32).eps * abs(exact).sum(axis=1)).all()
        else:
            np.testing.assert_array_equal(found, expected.astype(x.dtype))


@cache
def hard_sum(dtype: str) -> tuple[np.ndarray, Fraction, Fraction]:
    """Numbers of very different sizes, their sum, and the sum of their sizes."""
    count = 100_003
    x = (numbers(dtype, (count,)) * 10.0 ** np.random.default_rng(0).integers(-8, 8, count)).astype(DTYPES[dtype])
    x[::2] -= x[1::2].mean()
    return x, sum(map(Fraction, x.tolist()), Fraction()), sum((abs(Fraction(v)) for v in x.tolist()), Fraction())


@each_features
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("vector", ["j", None])
def test_a_sum_is_better_than_pairwise(dtype, vector, features):
    """Within two roundings of exact, relative to the sum of sizes; pairwise summation allows 17 for this many."""
    x, exact, size = hard_sum(dtype)
    result, = reduce(rows_kernel("sum", dtype, 1, x.size, vector), features, x)
    assert abs(Fraction(float(result)) - exact) <= 2 * Fraction(float(np.finfo(x.dtype).eps)) / 2 * size


@each_features
@pytest.mark.parametrize("vector", ["j", "i", None])
def test_what_a_sum_in_the_dtype_would_lose_is_kept(vector, features):
    x = np.full(50_001, 0.1)
    x[0] = 1e16
    result, = reduce(rows_kernel("sum", "f64", 1, x.size, vector), features, x)
    assert result == float(10**16 + 50_000 * Fraction(0.1))


@each_features
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("kernel", [rows_kernel, columns_kernel])
@pytest.mark.parametrize("kind, special, expected", [
    ("sum", [np.inf], np.inf), ("sum", [-np.inf, -np.inf], -np.inf), ("sum", [np.inf, -np.inf], np.nan),
    ("sum", [np.nan], np.nan),
    ("max", [np.nan], np.nan), ("max", [np.inf, np.nan, -np.inf], np.nan), ("max", [np.inf], np.inf),
    ("min", [np.nan], np.nan), ("min", [-np.inf], -np.inf)])
def test_special_numbers(kind, special, expected, kernel, dtype, features):
    for size in (3, 67, 300):
        for place in (0, (size - len(special)) // 2, size - len(special)):
            x = numbers(dtype, (size,))
            x[place:place + len(special)] = special
            made = kernel(kind, dtype, 1, size, "j") if kernel is rows_kernel else kernel(kind, dtype, size, 1)
            np.testing.assert_array_equal(reduce(made, features, x), np.array([expected], x.dtype))


@each_features
@pytest.mark.parametrize("kind, expected", [("max", -np.inf), ("min", np.inf)])
def test_extrema_of_infinities(kind, expected, features):
    x = np.full(90, expected, np.float32)
    assert reduce(rows_kernel(kind, "f32", 1, 90, "j"), features, x)[0] == expected


@each_features
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_a_sum_over_nothing_is_zero(dtype, features):
    for vector in ("j", "i", None):
        result = reduce(rows_kernel("sum", dtype, 3, 0, vector), features, np.empty((3, 0), DTYPES[dtype]))
        assert not result.any()


@each_features
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_an_overflow_is_infinite(dtype, features):
    x = np.full(100, np.finfo(DTYPES[dtype]).max, DTYPES[dtype])
    assert reduce(rows_kernel("sum", dtype, 1, x.size, "j"), features, x)[0] == np.inf


@each_features
def test_several_accumulations_over_two_axes_with_a_ragged_tile(features):
    """Sum and maximum of x * x over k and the columns t of tiles of 48, the last of which is cut to what is left."""
    rows, depth, columns, tile = 3, 4, 130, 48
    axes = (Axis("k", depth), Axis("t", 3), Axis("u", tile, clip=(index(t=tile, u=1), columns)))
    params = (Param("f32", rows * depth * columns, "in"), Param("f32", rows, "out"), Param("f32", rows, "out"))
    load = Load(0, index(i=depth * columns, k=columns, t=tile, u=1))
    body = (load, Binary("mul", 0, 0), Accumulate("sum", 1), Accumulate("max", 1))
    for vector in ("u", None):
        after = Pass((), (Store(1, index(i=1), 2), Store(2, index(i=1), 3)))
        kernel = Kernel(params, (Axis("i", rows),), (Pass(axes, body), after), vector, 1)
        x = numbers("f32", (rows, depth * columns))
        total, most = np.empty(rows, np.float32), np.empty(rows, np.float32)
        compile_kernel(kernel, features)([x, total, most])
        np.testing.assert_array_equal(total, (x * x).astype(float).sum(axis=1).astype(np.float32))
        np.testing.assert_array_equal(most, (x * x).max(axis=1))


@each_features
@pytest.mark.parametrize("vector", ["u", None])
def test_a_tile_that_is_cut_to_nothing_reads_nothing(vector, features):
    """The fourth tile of 16 over 40 points is empty, and scale[t] has no fourth element."""
    points, tile, tiles = 40, 16, 4
    axes = (Axis("t", tiles), Axis("u", tile, clip=(index(t=tile, u=1), points)))
    body = (Load(0, index(t=tile, u=1)), Load(1, index(t=1)), Binary("mul", 0, 1), Accumulate("sum", 2))
    params = (Param("f64", points, "in"), Param("f64", 3, "in"), Param("f64", 1, "out"))
    kernel = Kernel(params, (), (Pass(axes, body), Pass((), (Store(2, index(), 3),))), vector, 0)
    x, scale = guarded(numbers("f64", (points,)), True), guarded(np.array([1.0, 2.0, 4.0]), True)
    result = np.empty(1)
    compile_kernel(kernel, features)([x, scale, result])
    expected = sum(Fraction(a) * Fraction(scale[k // tile]) for k, a in enumerate(x.tolist()))
    assert result[0] == float(expected)


@each_features
def test_a_value_that_is_the_same_in_every_lane_counts_in_every_lane(features):
    """The sum over j of in[i] is columns * in[i]."""
    rows, columns = 3, 77
    for vector in ("j", None):
        passes = (Pass((Axis("j", columns),), (Load(0, index(i=1)), Accumulate("sum", 0))),
                  Pass((), (Store(1, index(i=1), 1),)))
        params = (Param("f32", rows, "in"), Param("f32", rows, "out"))
        kernel = Kernel(params, (Axis("i", rows),), passes, vector, 0)
        x = np.array([1.0, -2.0, 0.5], np.float32)
        np.testing.assert_array_equal(reduce(kernel, features, x), columns * x)


def test_chunks_do_not_change_what_is_computed():
    rows, columns = 40, 333
    x = numbers("f32", (rows, columns))
    for features in runnable().values():
        run = compile_kernel(rows_kernel("sum", "f32", rows, columns, "j", 3), features)
        whole, parts = np.empty(rows, np.float32), np.empty(rows, np.float32)
        run([x, whole])
        for chunk in reversed(range(14)):
            run([x, parts], chunk, chunk + 1)
        np.testing.assert_array_equal(whole, parts)
