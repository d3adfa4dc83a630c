"""Rows and columns of every length, reduced and used again, through the target, kernels in Triton's interpreter.

Lengths are on both sides of where a block is all of a line, of a block, and of powers of two. With
TRACEGRAD_ALL_GPU_KERNELS=1 every shape is reduced in every dtype, by default in two.
"""
from __future__ import annotations

import os

import ml_dtypes
import numpy as np
import pytest
from gpu_extra import needs_triton

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit
from codegen.ir.types import DTYPES, FLOATS, TensorType
from codegen.schedule.plan import Launch
from codegen.triton_gpu.kernels import kernel_spec

SHAPES = ((1, 1), (3, 7), (33, 70), (5, 300), (300, 3), (64, 65), (2, 4097), (3, 5000), (4100, 2), (1, 17000),
          (130, 256))
OTHERS = ("f64", "bf16", "i32", "i8")
ALL = os.environ.get("TRACEGRAD_ALL_GPU_KERNELS") == "1"
CASES = [(shape, dtype) for k, shape in enumerate(SHAPES)
         for dtype in ("f32", *(OTHERS if ALL else (OTHERS[k % len(OTHERS)],)))]


def reduced(shape: tuple[int, int], dtype: str) -> Graph:
    """All reductions of a matrix, along each axis and both; and what is made of rows by what they come to."""
    b = Builder("reduced")
    x = b.input(TensorType(dtype, shape))
    results = []
    for axis in ((1,), (0,), (0, 1)):
        found = [b.emit(op, x, axis=axis, keepdims=True) for op in ("sum", "max", "min")]
        least = b.emit("broadcast", found[2], shape=shape)
        moved = b.emit("sub", x, least)
        total = b.emit("sum", b.emit("mul", moved, moved), axis=axis, keepdims=True)
        results += [*found, b.emit("maximum", moved, b.emit("broadcast", total, shape=shape))]
        if dtype in FLOATS:
            powers = b.emit("exp", b.emit("sub", x, b.emit("broadcast", found[1], shape=shape)))
            whole = b.emit("broadcast", b.emit("sum", powers, axis=axis, keepdims=True), shape=shape)
            results.append(b.emit("div", powers, whole))
    return b.graph([*results, *(b.emit(op, x, axis=axis, keepdims=False)
                                for op in ("argmax", "argmin") for axis in (0, 1))])


@needs_triton
@pytest.mark.parametrize("shape, dtype", CASES, ids=str)
def test_lines_are_reduced(shape, dtype, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    generator = np.random.default_rng(0)
    x = (generator.normal(size=shape) if dtype in FLOATS else generator.integers(-9, 9, shape)).astype(DTYPES[dtype])
    graph = reduced(shape, dtype)
    expected = interpret(graph, [x])
    assert not isinstance(expected, Exit)
    for a, e in zip(compile_program(graph, "triton_gpu", cache=Cache(None))(x), expected, strict=True):
        if a.dtype != DTYPES[dtype] or dtype not in FLOATS:
            np.testing.assert_array_equal(a, e)
            continue
        bound = 16 * float(ml_dtypes.finfo(a.dtype).eps)
        size = bound * np.sqrt(x.size)              # what is added up may come to little
        np.testing.assert_allclose(a.astype("f8"), e.astype("f8"), bound, size)


def softmax(shape: tuple[int, int], axis: int, dtype: str) -> Graph:
    """Exponentials relative to the maximum of lines, as parts of their sum, which is a result too."""
    b = Builder("softmax")
    x = b.input(TensorType(dtype, shape))
    moved = b.emit("sub", x, b.emit("broadcast", b.emit("max", x, axis=(axis,), keepdims=True), shape=shape))
    total = b.emit("sum", b.emit("exp", moved), axis=(axis,), keepdims=True)
    return b.graph([total, b.emit("div", b.emit("exp", moved), b.emit("broadcast", total, shape=shape))])


@needs_triton
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("shape, axis", [((20, 17001), 1), ((1201, 20), 0)], ids=["rows", "columns"])
def test_the_sum_of_long_lines_is_found_with_their_maximum(shape, axis, dtype, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    n = max(shape)
    half = n // 2
    x = np.random.default_rng(0).normal(0, 9, (20, n))
    x[1], x[2] = np.sort(x[1]), np.sort(x[2])[::-1]
    x[3], x[4], x[5], x[6] = -np.inf, np.inf, -7.0, 1e30
    x[7, half], x[8, 100], x[8, half], x[9, 3] = np.inf, np.inf, np.inf, np.nan
    x[10, :half], x[11, half:], x[12, :half], x[12, half + 1:] = -np.inf, -np.inf, -np.inf, -np.inf
    x[13, 100], x[13, half] = np.inf, -np.inf
    x[14] += np.arange(n)
    x[15] -= np.arange(n)
    graph = softmax(shape, axis, dtype)
    operand = np.ascontiguousarray(x.astype(DTYPES[dtype]) if axis else x.T.astype(DTYPES[dtype]))
    with np.errstate(all="ignore"):
        expected = interpret(graph, [operand])
    executable = compile_program(graph, "triton_gpu", cache=Cache(None))
    assert executable.plan is not None
    launch, = executable.plan.steps
    assert isinstance(launch, Launch) and kernel_spec(launch.kernel).source.count(" in range(") == 2
    for a, e in zip(executable(operand), expected, strict=True):
        np.testing.assert_allclose(a, e, 1e-5 if dtype == "f32" else 1e-13, 1e-37)
