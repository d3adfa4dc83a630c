"""Kernels built by hand, compiled and compared with NumPy."""
from __future__ import annotations

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features, index

from codegen.schedule.kernel import Accumulate, Axis, Binary, Kernel, Load, Param, Pass, Store, Unary


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
@pytest.mark.parametrize("columns", [3, 64, 1001])
def test_column_sums(features, dtype, columns):
    rows = 50
    kernel = Kernel((Param(dtype, rows * columns, "in"), Param(dtype, columns, "out")), (Axis("i", columns),), (
        Pass((Axis("j", rows),), (Load(0, index(i=1, j=columns)), Accumulate("sum", 0))),
        Pass((), (Store(1, index(i=1), 1),))), "i", 100)
    x = np.random.default_rng(0).normal(size=(rows, columns)).astype({"f32": np.float32, "f64": np.float64}[dtype])
    y = np.zeros(columns, x.dtype)
    assert not compile_kernel(kernel, features)([x, y])
    np.testing.assert_array_almost_equal_nulp(y, x.astype(np.longdouble).sum(axis=0).astype(x.dtype), 1)
