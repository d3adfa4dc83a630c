"""Who multiplies large matrices: cuBLAS, here a stand-in, or the kernel of our own."""
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import stub_cupy
from oracle_device import OracleDriver

from codegen.cache import DiskCache
from codegen.ir.types import DTYPES
from codegen.schedule.plan import Matmul
from codegen.triton_gpu import library_products
from codegen.triton_gpu.library_products import COMPUTE_TF32, TRANSPOSE, LibraryProducts

TYPES = {number: DTYPES[dtype] for dtype, number in library_products.DATA.items()}


@pytest.fixture
def blas(cuda_device: OracleDriver, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`calls` of cuBLAS, by the precision they were made in; `seconds` that our kernel and cuBLAS take; `off` by."""
    state = SimpleNamespace(calls=[], seconds={"own": 2, "library": 1}, off=0.0, cupy=sys.modules["cupy"], running="")

    def gemm(handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int,
             a_stride: int, b: int, b_type: int, ldb: int, b_stride: int, beta: int, c: int, c_type: int, ldc: int,
             c_stride: int, batch: int, compute: int, algorithm: int) -> None:
        """By columns, as cuBLAS has it."""
        state.calls.append(compute)
        state.running = "library"

        def matrices(address: int, rows: int, columns: int, lead: int, stride: int, dtype: np.dtype) -> list[Any]:
            assert lead == rows and stride == rows * columns
            return [*stub_cupy._at(address, (batch, columns, rows), dtype).transpose(0, 2, 1)]

        one, = stub_cupy._at(alpha, (1,), TYPES[a_type] if a_type == 1 else np.dtype(np.float32))
        left = matrices(a, *((k, m) if transa == TRANSPOSE else (m, k)), lda, a_stride, TYPES[a_type])
        right = matrices(b, *((n, k) if transb == TRANSPOSE else (k, n)), ldb, b_stride, TYPES[b_type])
        for x, y, out in zip(left, right, matrices(c, m, n, ldc, c_stride, TYPES[c_type])):
            x, y = x.T if transa == TRANSPOSE else x, y.T if transb == TRANSPOSE else y
            out[...] = (one * (x.astype(np.float64) @ y.astype(np.float64)) + state.off).astype(out.dtype)

    for name, attributes in (("cupy.cuda", {}), ("cupy.cuda.cublas", {"gemmStridedBatchedEx": gemm}),
                             ("cupy.cuda.device", {"get_cublas_handle": lambda: 7})):
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["cupy.cuda"].cublas = sys.modules["cupy.cuda.cublas"]       # type: ignore[attr-defined]
    sys.modules["cupy.cuda"].device = sys.modules["cupy.cuda.device"]       # type: ignore[attr-defined]
    monkeypatch.setattr(library_products, "LEAST_FLOPS", 2 * 5 * 7 * 3)
    return state


def own_of(step: Matmul, state: SimpleNamespace) -> Callable[..., Any]:
    batch, m, n, k = step.sizes
    dtype = DTYPES[step.dtype]

    def own(a: int, b: int, c: int) -> Callable[[], None]:
        def work() -> None:
            state.running = "own"
            x = stub_cupy._at(a, (batch, k, m) if step.transpose_a else (batch, m, k), dtype)
            y = stub_cupy._at(b, (batch, n, k) if step.transpose_b else (batch, k, n), dtype)
            x = x.swapaxes(1, 2) if step.transpose_a else x
            y = y.swapaxes(1, 2) if step.transpose_b else y
            stub_cupy._at(c, (batch, m, n), dtype)[...] = (x.astype(np.float64) @ y.astype(np.float64)).astype(dtype)
        return work
    return own


def multiplied(step: Matmul, state: SimpleNamespace, disk: DiskCache | None = None, precision: str = "ieee") -> str:
    """Who multiplies; what it gives is right."""
    def time(work: Callable[[], object]) -> int:
        work()
        return state.seconds[state.running]

    library = LibraryProducts(state.cupy, "a GPU", disk, time)
    batch, m, n, k = step.sizes
    rng, dtype = np.random.default_rng(0), DTYPES[step.dtype]
    a, b = (rng.integers(-3, 4, batch * size).astype(dtype) for size in (m * k, k * n))
    c, expected = np.zeros(batch * m * n, dtype), np.zeros(batch * m * n, dtype)
    at = [x.__array_interface__["data"][0] if x.dtype != DTYPES["bf16"] else x.view(np.uint16).ctypes.data
          for x in (a, b, c, expected)]
    library.chosen(step, precision, *at[:3], own_of(step, state))()
    found = state.running
    own_of(step, state)(at[0], at[1], at[3])()
    np.testing.assert_array_equal(c.astype(np.float64), expected.astype(np.float64))
    return found


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_cublas_multiplies_every_form(blas: SimpleNamespace, dtype: str, transpose_a: bool, transpose_b: bool) -> None:
    step = Matmul(0, 1, 2, dtype, 2, 5, 7, 3, transpose_a, transpose_b)
    assert multiplied(step, blas) == "library"


STEP = Matmul(0, 1, 2, "f32", 1, 5, 7, 3, False, False)


def test_the_faster_one_multiplies_and_that_is_remembered(blas: SimpleNamespace, tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    assert multiplied(STEP, blas, disk) == "library"
    blas.seconds["own"] = 0.5
    assert multiplied(STEP, blas, disk) == "library", "nobody measures again"
    assert multiplied(STEP, blas) == "own"
    assert multiplied(Matmul(0, 1, 2, "f32", 1, 5, 7, 2, False, False), blas) == "own", "it is small"


def test_what_gives_something_else_does_not_multiply(blas: SimpleNamespace) -> None:
    blas.off = 3.0
    assert multiplied(STEP, blas) == "own"


def test_where_it_is_not_there_the_kernel_multiplies(blas: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    del sys.modules["cupy.cuda"].cublas                                     # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy.cuda.cublas", None)              # type: ignore[arg-type]
    assert multiplied(STEP, blas) == "own"


def test_tf32_only_where_it_was_asked_for(blas: SimpleNamespace) -> None:
    multiplied(STEP, blas)
    assert COMPUTE_TF32 not in blas.calls
    multiplied(STEP, blas, precision="tf32")
    assert blas.calls[-1] == COMPUTE_TF32
