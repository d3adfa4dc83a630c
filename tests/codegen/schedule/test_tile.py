"""Chunks and axes: by shapes alone, enough of them and not too small, along the axis whose elements are neighbors."""
from __future__ import annotations

import numpy as np
import pytest
from plan_oracle import agree, kernels_of

from codegen.ir.builder import Builder, Value
from codegen.ir.dims import Size, symbol
from codegen.ir.types import TensorType
from codegen.schedule.kernel import Accumulate, Kernel
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.tile import POINT_LANES, ROW_LANES, partial_blocks


def only_kernel(x: Value, *results: Value) -> Kernel:
    (kernel,) = kernels_of(schedule(x.builder.graph(results)))
    return kernel


def matrix(*shape: int) -> Value:
    return Builder("f").input(TensorType("f32", shape))


@pytest.mark.parametrize("size", [1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 24, 1_000_003])
def test_chunks_of_elementwise_kernels(size: int) -> None:
    x = matrix(size)
    kernel = only_kernel(x, x * 2.0)
    machine = Machine()
    assert kernel.chunks == 1 if size < machine.serial_work else 2 <= kernel.chunks <= machine.most_chunks + 1
    assert kernel.grain % POINT_LANES == 0 and (kernel.chunks == 1 or kernel.grain >= machine.chunk_work)
    assert kernel.vector == "i" and len(kernel.axes) == 1


def test_contiguous_axes_are_one() -> None:
    x = matrix(3, 5, 7)
    assert [a.extent for a in only_kernel(x, x.emit("exp")).axes] == [105]
    y = matrix(3, 5, 7)
    assert [a.extent for a in only_kernel(y, y.emit("flip", axes=(0,))).axes] == [3, 35]


def test_vector_axis_is_that_of_neighbors() -> None:
    x = matrix(512, 512)
    assert only_kernel(x, x.emit("sum", axis=(1,), keepdims=False)).passes[0].axes[0].name == "j"
    y = matrix(512, 8192)
    columns = only_kernel(y, y.emit("sum", axis=(0,), keepdims=False))
    assert columns.vector == columns.axes[0].name == "i" and columns.grain % ROW_LANES == 0


def test_few_long_rows_are_cut_along_them() -> None:
    """A row value is added to each of 3 long rows: chunks have to be of columns."""
    b = Builder("f")
    x, y = b.input(TensorType("f32", (3, 100_003))), b.input(TensorType("f32", (3, 1)))
    inputs = [np.ones((3, 100_003), "f4"), np.arange(3, dtype="f4").reshape(3, 1)]
    (kernel,) = kernels_of(agree(b.graph([x + y]), inputs))
    assert kernel.chunks >= 8 and kernel.passes[-1].axes[-1].clip is not None


@pytest.mark.parametrize("runs, blocks", [
    (((1 << 20, False),), 64),
    (((1 << 16, False),), 0),
    (((4096, True), (1024, False)), 0),
    (((1024, False), (4096, True)), 0),
    (((65536, False), (16, True)), 64),
    (((2, True), (1 << 20, False)), 64),
    (((8, False), (1 << 14, True)), 0),
    (((256, False), (256, True)), 0),
    (((symbol("b"), False), (symbol("c"), True)), 4),
    (((symbol("b"), True), (symbol("c"), False)), 0),
])
def test_partial_blocks(runs: tuple[tuple[Size, bool], ...], blocks: int) -> None:
    assert partial_blocks(runs, Machine()) == blocks


@pytest.mark.parametrize("rows, columns, together", [(64, 1 << 14, True), (512, 2048, True), (640, 512, True),
                                                     (1024, 1024, False), (4096, 1024, False)])
def test_passes_over_long_columns_are_kernels_of_their_own(rows: int, columns: int, together: bool) -> None:
    x = matrix(rows, columns)
    kernels = kernels_of(schedule(x.builder.graph([x - x.emit("sum", axis=(0,), keepdims=True)])))
    whole = [kernel for kernel in kernels if any(p.size == rows * columns and p.access == "out" for p in kernel.params)]
    assert [any(isinstance(s, Accumulate) for p in kernel.passes for s in p.body) for kernel in whole] == [together]


def test_transposes_go_in_tiles() -> None:
    x = matrix(3, 600, 130)
    data = np.random.default_rng(0).normal(size=(3, 600, 130)).astype("f4")
    (kernel,) = kernels_of(agree(x.builder.graph([x.emit("transpose", axes=(0, 2, 1))]), [data]))
    assert [a.extent for a in kernel.passes[0].axes] == [32, 512] and kernel.passes[0].axes[-1].name == kernel.vector
    assert [a.clip is not None for a in kernel.passes[0].axes] == [True, True]
    small = matrix(7, 30)
    assert len(only_kernel(small, small.emit("transpose", axes=(1, 0))).axes) == 2


def crossed(x: Value, axes: tuple[int, ...]) -> Value:
    return x + x.emit("transpose", axes=axes)


@pytest.mark.parametrize("shape, axes, stored", [
    ((130, 130), (1, 0), True), ((3, 80, 80), (0, 2, 1), True), ((80, 3, 80), (2, 1, 0), True),
    ((80, 80, 3), (1, 0, 2), False),                # the last axis stays where it is
    ((20, 20), (1, 0), False),
])
@pytest.mark.parametrize("reduced", [0, 1])
def test_what_reductions_would_read_in_two_orders_is_stored(shape, axes, stored: bool, reduced: int) -> None:
    x = matrix(*shape)
    both = crossed(x, axes) * 3.0
    results = [both.emit("sum", axis=(reduced,), keepdims=False)]
    data = np.random.default_rng(0).normal(size=shape).astype("f4")
    kernels = kernels_of(agree(x.builder.graph(results), [data]))
    whole = [kernel for kernel in kernels if any(p.size == data.size and p.access == "out" for p in kernel.params)]
    assert len(whole) == stored


def test_what_is_read_in_one_other_order_is_not() -> None:
    x, row = (b := Builder("f")).input(TensorType("f32", (200, 300))), b.input(TensorType("f32", (200,)))
    product = x.emit("transpose", axes=(1, 0)) * row
    assert len(kernels_of(schedule(b.graph([product.emit("sum", axis=(1,), keepdims=False)])))) == 1
