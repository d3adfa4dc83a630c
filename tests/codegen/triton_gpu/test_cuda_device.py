"""Plans through CuPy and CUDA's driver, on stand-ins of both that note what was asked of them."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import stub_cupy
from gpu_extra import needs_cupy
from oracle_device import OracleDriver

from codegen.compiler import compile_program
from codegen.executable import DONE, Executable
from codegen.ir.builder import Builder
from codegen.ir.text import parse
from codegen.ir.types import DTYPES, TensorType
from codegen.targets import native_observer
from codegen.triton_gpu import target


@needs_cupy
def test_the_cupy_that_is_installed_has_what_is_called() -> None:
    """In another process: CuPy is not to be imported here."""
    code = """
import cupy
from cupy.cuda import device, driver, runtime
for module, names in (
    (runtime, "memcpyAsync memsetAsync getDevice getDeviceProperties"),
    (cupy.cuda, "UnownedMemory MemoryPointer Event Stream Device alloc_pinned_memory get_current_stream "
                "get_elapsed_time Graph"),
    (cupy.cuda.Stream, "begin_capture end_capture is_capturing synchronize"), (cupy.cuda.Graph, "launch"),
    (cupy.cuda.Event, "record synchronize"), (device, "get_cublas_handle"),
    (driver, "moduleLoadData moduleGetFunction funcSetAttribute launchKernel")):
    for name in names.split():
        assert callable(getattr(module, name)), name
assert [runtime.memcpyHostToDevice, runtime.memcpyDeviceToHost, runtime.memcpyDeviceToDevice] == [1, 2, 3]
assert runtime.streamCaptureModeThreadLocal == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def driver(cuda_device: OracleDriver) -> Iterator[OracleDriver]:
    stub_cupy.SYNCHRONIZATIONS.clear()
    stub_cupy.GRAPHS.clear()
    yield cuda_device


def there(x: np.ndarray) -> Any:
    """The array on the GPU."""
    return stub_cupy.ndarray(x.shape, x.dtype, _array=np.ascontiguousarray(x))


def empty(executable: Executable) -> list[Any]:
    return [there(np.empty(type.shape, DTYPES[type.dtype])) for type in executable.slots]


def chain() -> Executable:
    """x -> softmax of it, and x.T @ that over y."""
    b = Builder("chain")
    x, y = b.input(TensorType("f32", (6, 6))), b.input(TensorType("f32", (6, 6)))
    e = (x - x.emit("max", axis=(1,), keepdims=True)).emit("exp")
    p = e / e.emit("sum", axis=(1,), keepdims=True)
    return compile_program(b.graph([p, x.emit("transpose", axes=(1, 0)).emit("matmul", p) + y]), "triton_gpu",
                           aliases=((1, 1),))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_what_comes_again_is_one_graph_and_waits_for_nothing(driver: OracleDriver) -> None:
    executable, rng = chain(), np.random.default_rng(0)
    y = there(np.zeros((6, 6), np.float32))
    expected = np.zeros((6, 6))
    kept = []
    for k in range(6):
        x = rng.normal(size=(6, 6)).astype(np.float32)
        arrays = (there(x), y, *empty(executable))
        kept.append(arrays)                             # each run has another x, and another result
        assert executable.run(arrays) == DONE
        expected += x.T @ softmax(x)
        np.testing.assert_allclose(arrays[2]._a, softmax(x), rtol=1e-5)
        np.testing.assert_allclose(y._a, expected, rtol=1e-4, atol=1e-5)
        assert len(stub_cupy.GRAPHS) == max(0, k - 2), "the third run knows what moves, the next captures"
    assert len({id(graph) for graph in stub_cupy.GRAPHS}) == 1 and len(stub_cupy.GRAPHS[0].works) > 1
    assert stub_cupy.SYNCHRONIZATIONS == []


def test_a_thread_that_has_not_used_the_gpu_runs_a_plan(driver: OracleDriver) -> None:
    executable, x, y = chain(), np.eye(6, dtype=np.float32), there(np.zeros((6, 6), np.float32))
    arrays = (there(x), y, *empty(executable))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(executable.run, arrays).result() == DONE
    assert executable.run(arrays) == DONE
    np.testing.assert_allclose(y._a, 2 * softmax(x), rtol=1e-5)


def test_constants_are_there_for_every_stream(driver: OracleDriver) -> None:
    made = target.current_device().constant(b"1234")
    assert stub_cupy.SYNCHRONIZATIONS == ["stream"] and bytes(made.owner._a) == b"1234"


def test_what_cannot_be_captured_is_done_step_by_step(driver: OracleDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Any, mode: Any) -> None:
        raise RuntimeError("not permitted")

    monkeypatch.setattr(stub_cupy.Stream, "begin_capture", refuses)
    executable, x, y = chain(), np.eye(6, dtype=np.float32), there(np.zeros((6, 6), np.float32))
    arrays = (there(x), y, *empty(executable))
    for _ in range(4):
        assert executable.run(arrays) == DONE
    np.testing.assert_allclose(y._a, 4 * softmax(x), rtol=1e-5)
    assert stub_cupy.GRAPHS == []


def test_nothing_is_written_that_is_seen_where_a_check_fails(driver: OracleDriver) -> None:
    b = Builder("picked")
    x, k, y = b.input(TensorType("f32", (8,))), b.input(TensorType("i64", (3,))), b.input(TensorType("f32", (4,)))
    graph = b.graph([x.emit("gather", k, axis=0), y * 2.0])
    executable = compile_program(graph, "triton_gpu", aliases=((1, 2),))
    x_there, y_there = there(np.arange(8, dtype=np.float32)), there(np.ones(4, np.float32))
    kept = []                                           # each run is given other arrays
    for places, result, ys in (([1, 2, 3], DONE, 2), ([1, 2, 8], 0, 2), ([0, 0, -9], 0, 2), ([7, -8, 0], DONE, 4),
                               ([8, 1, 2], 0, 4), ([1, 1, 1], DONE, 8)):
        arrays = (x_there, there(np.array(places)), y_there, *empty(executable))
        kept.append(arrays)
        stub_cupy.SYNCHRONIZATIONS.clear()
        assert executable.run(arrays) == result
        assert np.all(y_there._a == ys) and stub_cupy.SYNCHRONIZATIONS == ["event"]
        if result == DONE:
            assert np.array_equal(arrays[-1]._a, np.arange(8)[np.array(places)])
    assert len(stub_cupy.GRAPHS) == 3 and len({id(graph) for graph in stub_cupy.GRAPHS}) == 1


def test_a_branch_reads_its_predicate(driver: OracleDriver) -> None:
    executable = compile_program(parse("""program ways {
      block0(%0: f32[4]):
        %1 = sum %0 axis=[0] keepdims=false : f32[]
        %2 = constant value=0.0 dtype=f32 : f32[]
        %3 = gt %1, %2 : bool[]
        branch %3 -> block1(%0), exit3
      block1(%0: f32[4]):
        %1 = exp %0 : f32[4]
        return %1
    }"""), "triton_gpu")
    for sign, result in ((1, DONE), (-1, 3), (1, DONE)):
        arrays = (there(np.full(4, sign, np.float32)), *empty(executable))
        assert executable.run(arrays) == result
        assert result != DONE or np.allclose(arrays[1]._a, np.e)
    assert stub_cupy.SYNCHRONIZATIONS == ["event"] * 3


def test_references_run_where_they_can(driver: OracleDriver) -> None:
    b = Builder("f")
    x, m = b.input(TensorType("f32", (5, 7))), b.input(TensorType("f32", (3, 3)))
    graph = b.graph([(x * 2.0).emit("sort", axis=1), m.emit("cholesky") + 1.0])
    executable = compile_program(graph, "triton_gpu")
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    for sign, result in ((4, DONE), (-4, 0), (9, DONE)):
        arrays = (there(values), there(sign * np.eye(3, dtype=np.float32)), *empty(executable))
        assert executable.run(arrays) == result
        if result == DONE:
            np.testing.assert_allclose(arrays[2]._a, np.sort(2 * values, axis=1))
            np.testing.assert_allclose(arrays[3]._a, np.sqrt(sign) * np.eye(3) + 1)


def test_arrays_of_the_cpu_go_there_and_back(driver: OracleDriver) -> None:
    """Also of dtypes that NumPy has from elsewhere; another dtype than the array's is refused before."""
    b = Builder("f")
    x = b.input(TensorType("bf16", (33,)))
    executable = compile_program(b.graph([x * 2.0]), "triton_gpu")
    values = np.arange(33).astype(DTYPES["bf16"])
    for _ in range(3):
        y, = executable(values)
        np.testing.assert_array_equal(y.astype(np.float32), 2.0 * np.arange(33))


def test_each_step_is_timed_by_the_gpu_while_somebody_wants_to_know(driver: OracleDriver) -> None:
    executable = chain()
    arrays = (there(np.eye(6, dtype=np.float32)), there(np.zeros((6, 6), np.float32)), *empty(executable))
    observer = native_observer()
    mark = observer.start()
    executable.run(arrays)
    events, _ = observer.stop(mark)
    steps = [event for event in events if event.kind == "step"]
    assert steps and all(event.end - event.begin == 10**6 for event in steps)
