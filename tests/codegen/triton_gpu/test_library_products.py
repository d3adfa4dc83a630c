"""Who multiplies large matrices: cuBLAS, here a stand-in, or the kernel of our own."""
from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import stub_cupy
from gpu_extra import REASON
from oracle_device import OracleDriver

from codegen.cache import DiskCache
from codegen.compiler import compile_program
from codegen.executable import DONE
from codegen.ir.builder import Builder
from codegen.ir.types import DTYPES, TensorType
from codegen.schedule.plan import Matmul
from codegen.triton_gpu import cublas, library_products
from codegen.triton_gpu.library_products import COMPUTE_TF32, TRANSPOSE, LibraryProducts

TYPES = {number: DTYPES[dtype] for dtype, number in library_products.DATA.items()}


FUNCTIONS = cublas.SIGNATURES


@pytest.fixture
def blas(cuda_device: OracleDriver, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`calls` of cuBLAS, by the precision they were made in; `seconds` that our kernel and cuBLAS take; `off` by."""
    state = SimpleNamespace(calls=[], seconds={"own": 2, "library": 1}, off=0.0, cupy=sys.modules["cupy"], running="",
                            stream=0, workspace=0)

    def create(handle: int) -> int:
        ctypes.c_void_p.from_address(handle).value = 7
        return 0

    def set_stream(handle: int, stream: int | None) -> int:
        state.stream, state.workspace = stream, 0               # as cuBLAS says of itself
        return 0

    def set_workspace(handle: int, address: int, size: int) -> int:
        state.workspace = address
        ctypes.memset(address, 0xFF, size)                      # it may do with it what it likes
        return 0

    def gemm(handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int,
             a_stride: int, b: int, b_type: int, ldb: int, b_stride: int, beta: int, c: int, c_type: int, ldc: int,
             c_stride: int, batch: int, compute: int, algorithm: int) -> int:
        """By columns, as cuBLAS has it."""
        assert handle == 7 and state.workspace and algorithm == -1
        assert state.stream == state.cupy.cuda.get_current_stream().ptr
        one, zero = (stub_cupy._at(at, (1,), TYPES[a_type] if a_type == 1 else np.dtype(np.float32))[0]
                     for at in (alpha, beta))                   # numbers of the CPU are read at the call
        assert zero == 0

        def work() -> None:
            state.calls.append(compute)
            state.running = "library"

            def matrices(address: int, rows: int, columns: int, lead: int, stride: int, dtype: np.dtype) -> list[Any]:
                assert lead == rows and stride == rows * columns
                return [*stub_cupy._at(address, (batch, columns, rows), dtype).transpose(0, 2, 1)]

            left = matrices(a, *((k, m) if transa == TRANSPOSE else (m, k)), lda, a_stride, TYPES[a_type])
            right = matrices(b, *((n, k) if transb == TRANSPOSE else (k, n)), ldb, b_stride, TYPES[b_type])
            for x, y, out in zip(left, right, matrices(c, m, n, ldc, c_stride, TYPES[c_type])):
                x, y = x.T if transa == TRANSPOSE else x, y.T if transb == TRANSPOSE else y
                out[...] = (one * (x.astype(np.float64) @ y.astype(np.float64)) + state.off).astype(out.dtype)
        stub_cupy.start(work)
        return 0

    functions = {"cublasCreate_v2": create, "cublasSetStream_v2": set_stream, "cublasSetWorkspace_v2": set_workspace,
                 "cublasGemmStridedBatchedEx": gemm}
    library = SimpleNamespace(**{name: ctypes.CFUNCTYPE(ctypes.c_int, *FUNCTIONS[name])(function)
                                 for name, function in functions.items()})
    monkeypatch.setattr(cublas, "load", lambda: library)
    monkeypatch.setattr(cublas, "WORKSPACE_BYTES", 1 << 10)
    monkeypatch.setattr(library_products, "LEAST_FLOPS", 2 * 5 * 7 * 3)
    return state


def own_of(step: Matmul, state: SimpleNamespace) -> Callable[..., Any]:
    batch, m, n, k = step.sizes
    dtype = DTYPES[step.dtype]

    def own(a: int, b: int, c: int) -> Callable[[], None]:
        def multiply() -> None:
            state.running = "own"
            x = stub_cupy._at(a, (batch, k, m) if step.transpose_a else (batch, m, k), dtype)
            y = stub_cupy._at(b, (batch, n, k) if step.transpose_b else (batch, k, n), dtype)
            x = x.swapaxes(1, 2) if step.transpose_a else x
            y = y.swapaxes(1, 2) if step.transpose_b else y
            stub_cupy._at(c, (batch, m, n), dtype)[...] = (x.astype(np.float64) @ y.astype(np.float64)).astype(dtype)
        return lambda: stub_cupy.start(multiply)
    return own


def multiplied(step: Matmul, state: SimpleNamespace, disk: DiskCache | None = None, precision: str = "ieee") -> str:
    """Who multiplies; what it gives is right."""
    def time(work: Callable[[], object]) -> int:
        work()
        return state.seconds[state.running]

    library = LibraryProducts(state.cupy, "a GPU", disk, time, lambda works: works[0])
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
    def load() -> None:
        raise cublas.CublasError("it is not installed")

    monkeypatch.setattr(cublas, "load", load)
    assert multiplied(STEP, blas) == "own"


def test_tf32_only_where_it_was_asked_for(blas: SimpleNamespace) -> None:
    multiplied(STEP, blas)
    assert COMPUTE_TF32 not in blas.calls
    multiplied(STEP, blas, precision="tf32")
    assert blas.calls[-1] == COMPUTE_TF32


def test_a_product_is_captured_with_what_is_around_it(blas: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's own call of cuBLAS refuses to be captured."""
    monkeypatch.setattr(LibraryProducts, "_is_better", lambda *of: True)
    b = Builder("f")
    x, y = b.input(TensorType("f32", (5, 3))), b.input(TensorType("f32", (3, 7)))
    executable = compile_program(b.graph([x.emit("matmul", y), x * 2.0]), "triton_gpu")
    arrays = [stub_cupy.ndarray((5, 3), "f"), stub_cupy.ndarray((3, 7), "f"), stub_cupy.ndarray((5, 7), "f"),
              stub_cupy.ndarray((5, 3), "f")]
    for k in range(5):
        arrays[0]._a[...] = k
        arrays[1]._a[...] = np.arange(7) / 8
        blas.calls.clear()
        assert executable.run(tuple(arrays)) == DONE
        np.testing.assert_allclose(arrays[2]._a, arrays[0]._a @ arrays[1]._a, rtol=1e-5)
        assert len(blas.calls) == 1
    graph, = {id(graph): graph for graph in stub_cupy.GRAPHS[-3:]}.values()
    assert len(graph.works) > 1


def test_the_interface_is_that_of_the_library_that_is_installed() -> None:
    header = _header()
    kinds = {ctypes.c_int: r"int|cudaDataType|cublas\w+_t", ctypes.c_longlong: "long long int",
             ctypes.c_size_t: "size_t",
             ctypes.c_void_p: r"cublasHandle_t\*?|cudaStream_t|(const )?void\*"}
    for name, types in FUNCTIONS.items():
        found = re.search(rf"^cublasStatus_t CUBLASWINAPI {name}\((.*?)\);", header, re.DOTALL | re.MULTILINE)
        assert found, name
        given = [" ".join(parameter.split()).rpartition(" ")[0] for parameter in found[1].split(",")]
        assert len(given) == len(types), name
        for type, parameter in zip(types, given):
            assert re.fullmatch(kinds[type], parameter), (name, parameter)
    for name, number in {
            "CUBLAS_COMPUTE_32F": 68, "CUBLAS_COMPUTE_64F": 70, "CUBLAS_COMPUTE_32F_FAST_TF32": COMPUTE_TF32,
            "CUBLAS_OP_T": TRANSPOSE, "CUBLAS_GEMM_DEFAULT": -1}.items():
        assert re.search(rf"\b{name} *= *{number}\b", header), name


def _header() -> str:
    """The interface of cuBLAS in C."""
    spec = find_spec("nvidia")
    files = [file for place in (spec.submodule_search_locations if spec else None) or ()
             for file in Path(place).glob("*/include/cublas_api.h")]
    if not files and "TRACEGRAD_TEST_GPU" not in os.environ:
        pytest.skip(REASON)
    return files[0].read_text()
