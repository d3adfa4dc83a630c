"""Products as Triton kernels: right in the interpreter, within their buffers, and as text.

TRACEGRAD_ALL_PRODUCTS=1 runs every form of every dtype at every size (some 6 minutes).
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from gpu_extra import needs_triton

from codegen.cache import Cache
from codegen.ir.dims import Dim, evaluate, number_of, symbol
from codegen.ir.types import DTYPES
from codegen.schedule.plan import Matmul
from codegen.triton_gpu import host_check
from codegen.triton_gpu.compile import compile_specs
from codegen.triton_gpu.operations import HEADER
from codegen.triton_gpu.product_tiles import SHARED_BYTES, ProductTile, tile_of, tiles
from codegen.triton_gpu.products import product_launch

ALL = os.environ.get("TRACEGRAD_ALL_PRODUCTS") == "1"

BOUNDS = {("f64", "ieee"): 1e-14, ("f32", "ieee"): 1e-6, ("f32", "tf32"): 1e-3, ("bf16", "ieee"): 1e-2,
          ("f16", "ieee"): 1e-3}
"""The norm of the error, relative to that of the product of the same numbers in f64."""

SIZES = ((1, 16, 16, 16), (1, 128, 128, 64), (1, 1, 1, 1), (2, 17, 33, 40), (3, 5, 1, 100), (1, 100, 130, 48),
         (1, 64, 64, 0), (2, 300, 70, 129))
"""batch, m, n and k: tiles that divide and that do not, sides of one element, nothing to add."""

CASES = [(*kind, sizes, *turns) for kind, sizes, *turns in product(BOUNDS, SIZES, (False, True), (False, True))]
FEW = [case for number, case in enumerate(CASES) if number % 7 == 0]


def operands(dtype: str, sizes: tuple[int, int, int, int]) -> list[np.ndarray]:
    batch, m, n, k = sizes
    rng = np.random.default_rng(batch + m + n + k)
    return [rng.standard_normal(batch * size).astype(DTYPES[dtype]) for size in (m * k, k * n)]


def in_f64(step: Matmul, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    batch, m, n, k = step.sizes
    a, b = (x.astype(np.float64) for x in (a, b))
    x = a.reshape(batch, k, m).swapaxes(1, 2) if step.transpose_a else a.reshape(batch, m, k)
    y = b.reshape(batch, n, k).swapaxes(1, 2) if step.transpose_b else b.reshape(batch, k, n)
    return (x @ y).reshape(-1)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(found.astype(np.float64) - expected) / (norm or 1.0))


@needs_triton
@pytest.mark.parametrize("dtype, precision, sizes, transpose_a, transpose_b", CASES if ALL else FEW)
def test_products_in_the_interpreter(dtype, precision, sizes, transpose_a, transpose_b):
    step = Matmul(0, 1, 2, dtype, *sizes, transpose_a, transpose_b)
    a, b = operands(dtype, sizes)
    for capability in ((8, 0), (9, 0)) if ALL else ((9, 0),):
        launch = product_launch(step, capability, precision)
        c = np.full(sizes[0] * sizes[1] * sizes[2], np.nan, DTYPES[dtype])
        assert host_check.run(launch.spec, [a, b, c]) and launch.words == ()
        assert error(c, in_f64(step, a, b)) <= BOUNDS[dtype, precision]


@needs_triton
def test_tf32_cuts_its_operands():
    step = Matmul(0, 1, 2, "f32", 1, 64, 64, 64, False, False)
    a, b = operands("f32", step.sizes)
    errors = []
    for precision in ("ieee", "tf32"):
        c = np.zeros(64 * 64, np.float32)
        host_check.run(product_launch(step, (8, 0), precision).spec, [a, b, c])
        errors.append(error(c, in_f64(step, a, b)))
    assert errors[0] < 1e-6 < 1e-5 < errors[1]


@needs_triton
@pytest.mark.parametrize("dtype", ["bf16", "f64"])
def test_a_column_that_is_loaded_ahead_compiles(dtype):
    """Not as a broadcast."""
    spec = product_launch(Matmul(0, 1, 2, dtype, 3, 5, 1, 100, False, False), (8, 0)).spec
    assert len(compile_specs([spec], (8, 0), Cache(None))) == 2


@needs_triton
@pytest.mark.parametrize("sizes", [(100, 70, 50), (64, 64, 64), (1, 3, 2)])
def test_sizes_given_as_words(sizes):
    m, n, k = map(symbol, "mnk")
    launch = product_launch(Matmul(0, 1, 2, "f32", 2, m, n, 2 * k, False, True))
    assert launch.words == (m, n, k) and launch.spec.words == 3
    step = Matmul(0, 1, 2, "f32", 2, *sizes[:2], 2 * sizes[2], False, True)
    a, b = operands("f32", step.sizes)
    c = np.full(2 * sizes[0] * sizes[1], np.nan, np.float32)
    host_check.run(launch.spec, [a, b, c], [evaluate(word, dict(zip("mnk", sizes))) for word in launch.words])
    assert error(c, in_f64(step, a, b)) <= 1e-6


@needs_triton
def test_what_lies_beyond_a_buffer_is_not_touched():
    launch = product_launch(Matmul(0, 1, 2, "f32", 1, 32, 32, 32, False, False))
    arrays = [np.zeros(32 * 32, np.float32) for _ in range(2)]
    with pytest.raises(IndexError):
        host_check.run(launch.spec, [*arrays, np.zeros(32 * 32 - 1, np.float32)])


def test_the_text_of_a_product():
    launch = product_launch(Matmul(0, 1, 2, "bf16", 4, 100, symbol("n"), 784, False, True), (9, 0))
    assert launch.spec.source.removeprefix(HEADER) == '''

@triton.jit
def product(b0, b1, b2, n0, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    tile = tl.program_id(0)
    z = tile // (2*((n0+31)//32))
    tile = tile % (2*((n0+31)//32))
    group = tile // (8*((n0+31)//32)) * 8
    height = tl.minimum(2 - group, 8)
    tile = tile % (8*((n0+31)//32))
    i = (group + tile % height) * BM + tl.arange(0, BM)[:, None]
    j = tile // height * BN + tl.arange(0, BN)[None, :]
    i_mask = i < 100
    j_mask = j < n0
    total = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, 784, BK):
        k = k0 + tl.arange(0, BK)
        ka = k[None, :]
        kb = k[:, None]
        ka_mask = ka < 784
        kb_mask = kb < 784
        v0 = tl.load(b0 + (78400*z + 784*i + ka), mask=i_mask & ka_mask, other=0)
        v1 = tl.load(b1 + ((784*n0)*z + 784*j + kb), mask=kb_mask & j_mask, other=0)
        total = tl.dot(v0, v1, total, out_dtype=tl.float32)
    v2 = total.to(tl.bfloat16)
    tl.store(b2 + (n0*i + (100*n0)*z + j), v2, mask=i_mask & j_mask)
'''


def kinds() -> Iterator[tuple[str, str, tuple[int, int], ProductTile]]:
    for (dtype, precision), capability in product(BOUNDS, SHARED_BYTES):
        for tile in tiles(dtype, precision, capability):
            yield dtype, precision, capability, tile


@pytest.mark.parametrize("dtype, precision, capability, tile", list(kinds()))
def test_tiles_fit_into_what_a_program_shares(dtype, precision, capability, tile):
    bytes = tile.stages * (tile.m + tile.n) * tile.k * DTYPES[dtype].itemsize
    assert bytes <= SHARED_BYTES[capability]
    if capability == (9, 0) and tile.m >= 64:
        assert tile.warps % 4 == 0                      # whole groups, which multiply together


def test_a_tile_is_chosen_by_size():
    def sides(m: int | Dim, n: int, capability=(9, 0), dtype="bf16", batch=1):
        tile = tile_of(dtype, (batch, m, n, 1024), "ieee", capability)
        return tile.m, tile.n

    assert sides(4096, 4096) == (128, 256)
    assert sides(512, 512)[0] == 64                     # tensor cores of 9.0 take 64 rows, and there are few
    assert sides(64, 64, batch=512) == (64, 64)
    assert sides(3, 5) == sides(1, 1) == (16, 16)
    assert sides(symbol("b"), 4096) == (64, 64)
    assert number_of(tile_of("f32", (1, 64, 64, 8), "ieee", (8, 0)).k) == 16


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_every_product_has_a_tile(dtype: str) -> None:
    for m in (1, 8, 16, 17, 32, 64, 200):
        for n in (1, 8, 16, 17, 32, 64, 200):
            for capability in ((8, 0), (9, 0)):
                tile = tile_of(dtype, (1, m, n, 16), "ieee", capability)
                assert tile.m < 2 * max(m, 32) and tile.n < 2 * max(n, 32)
