"""Plans on a device: what is remembered, when a check is waited for, who owns what a run works in."""
from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import stub_cupy
from gpu_extra import needs_cupy
from oracle_device import OracleDevice, StubGpu

from codegen.compiler import compile_program
from codegen.executable import DONE, Executable, ExitTaken
from codegen.ir.builder import Builder
from codegen.ir.types import TensorType
from codegen.schedule.plan import CannotLower, Launch
from codegen.targets import native_observer
from codegen.triton_gpu import target
from codegen.triton_gpu.runs import MOST_ORDERS


def picked(aliases: tuple[tuple[int, int], ...] = ()) -> Executable:
    """(x[k], y * 2), the second maybe written over y."""
    b = Builder("picked")
    x, k, y = b.input(TensorType("f32", (8,))), b.input(TensorType("i64", (3,))), b.input(TensorType("f32", (4,)))
    return compile_program(b.graph([x.emit("gather", k, axis=0), y * 2.0]), "triton_gpu", aliases=aliases)


X, Y = np.arange(8, dtype=np.float32), np.ones(4, np.float32)


def test_what_the_caller_can_see_is_written_only_where_checks_hold(oracle_device: OracleDevice) -> None:
    executable = picked(((1, 2),))
    y, picks = Y.copy(), np.empty(3, np.float32)
    assert executable.run((X, np.array([1, 2, 9]), y, picks)) == 0
    assert np.array_equal(y, Y)
    assert executable.run((X, np.array([1, 2, -8]), y, picks)) == DONE
    assert np.array_equal(y, 2 * Y)
    assert np.array_equal(picks, [1, 2, 0])


def test_a_check_that_failed_does_not_fail_the_next_run(oracle_device: OracleDevice) -> None:
    executable = picked()
    with pytest.raises(ExitTaken, match="an index is out of bounds"):
        executable(X, np.array([0, 0, 8]), Y)
    assert np.array_equal(executable(X, np.array([0, 0, 7]), Y)[0], [0, 0, 7])


def test_a_reference_that_refuses_its_operands_leaves(oracle_device: OracleDevice) -> None:
    b = Builder("lower")
    executable = compile_program(b.graph([b.input(TensorType("f64", (2, 2))).emit("cholesky")]), "triton_gpu")
    with pytest.raises(ExitTaken):
        executable(-np.eye(2))
    assert np.array_equal(executable(4 * np.eye(2))[0], 2 * np.eye(2))


def test_runs_at_once_work_apart(oracle_device: OracleDevice) -> None:
    b = Builder("twice")
    x = b.input(TensorType("f64", (40, 40)))
    executable = compile_program(b.graph([x.emit("matmul", x).emit("matmul", x)]), "triton_gpu")
    failed = []

    def work(seed: int) -> None:
        for k in range(20):
            given = np.random.default_rng((seed, k)).normal(size=(40, 40))
            if not np.allclose(executable(given)[0], given @ given @ given):
                failed.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_steps_are_timed_while_somebody_wants_to_know(oracle_device: OracleDevice) -> None:
    executable = picked(((1, 2),))
    executable(X, np.array([0, 1, 2]), Y)
    observer = native_observer()
    mark = observer.start()
    executable(X, np.array([0, 1, 2]), Y)
    with pytest.raises(ExitTaken):
        executable(X, np.array([0, 1, 9]), Y)
    events, lost = observer.stop(mark)
    executable(X, np.array([0, 1, 2]), Y)
    own = [event for event in events if event.of is executable.measured]
    plan = executable.plan
    assert plan is not None
    launches = [k for k, step in enumerate(plan.steps) if isinstance(step, Launch)]
    assert [event.step for event in own if event.kind == "step"] == 2 * launches and not lost
    assert sum(event.kind == "run" for event in own) == 1
    times = [report.time for report in executable.steps[0]]
    assert [time.runs for time in times if time is not None] == [2, 2]


@pytest.fixture
def gpu(oracle_device: OracleDevice, monkeypatch: pytest.MonkeyPatch) -> StubGpu:
    device = StubGpu()
    monkeypatch.setattr(target, "current_device", lambda: device)
    return device


def on_gpu(x: np.ndarray) -> Any:
    made = stub_cupy.ndarray(x.shape, x.dtype)
    made._a[...] = x
    return made


def test_arrays_of_the_cpu_are_staged_and_given_back(gpu: StubGpu) -> None:
    b = Builder("f")
    x, y = b.input(TensorType("f32", (100,))), b.input(TensorType("f32"))
    executable = compile_program(b.graph([x * y, x + y]), "triton_gpu", aliases=((0, 0),))
    x_there, x_here, y_here = on_gpu(np.ones(100, np.float32)), np.ones(100, np.float32), np.asarray(3, np.float32)
    slot, slot_here = on_gpu(np.zeros(100, np.float32)), np.zeros(100, np.float32)
    assert executable.run((x_there, y_here, slot)) == DONE
    assert np.all(x_there._a == 3) and np.all(slot._a == 4) and gpu.moved == 4
    assert executable.run((x_there, y_here, slot)) == DONE
    assert np.all(x_there._a == 9) and gpu.moved == 4, "it was there already"
    y_here[...] = 2
    assert executable.run((x_here, y_here, slot_here)) == DONE
    assert np.all(x_here == 2) and np.all(slot_here == 3) and gpu.moved == 4 + 3 * 400 + 4


def test_what_the_cpu_can_say_itself_is_not_read_back(gpu: StubGpu) -> None:
    b = Builder("f")
    x, counter, step = b.input(TensorType("f32", (8,))), b.input(TensorType("u64")), b.input(TensorType("u64"))
    moved = counter + step
    graph = b.graph([x * 2.0, moved, x.emit("sum", axis=(0,), keepdims=False)])
    executable = compile_program(graph, "triton_gpu", aliases=((0, 0), (1, 1)))
    counter_here, step_here = np.asarray(5, np.uint64), np.asarray(8, np.uint64)
    arrays = on_gpu(np.ones(8, np.float32)), counter_here, step_here, on_gpu(np.zeros((), np.float32))
    for k in range(3):
        assert executable.run(arrays) == DONE
        assert counter_here == 5 + 8 * (k + 1)
    assert gpu.moved == 8 * 4, "the counter for each run, and the step"


def test_a_number_that_depends_on_the_gpu_is_read_back(gpu: StubGpu) -> None:
    b = Builder("f")
    x, total = b.input(TensorType("f32", (8,))), b.input(TensorType("f32"))
    graph = b.graph([total + x.emit("sum", axis=(0,), keepdims=False)])
    executable = compile_program(graph, "triton_gpu", aliases=((0, 1),))
    here = np.asarray(1, np.float32)
    assert executable.run((on_gpu(np.ones(8, np.float32)), here)) == DONE
    assert here == 9 and gpu.moved == 8


def test_without_triton_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "has_triton", lambda: False)
    with pytest.raises(CannotLower, match=r"not installed: pip install 'tracegrad\[gpu\]'"):
        picked()


@needs_cupy
def test_without_a_gpu_it_says_how_to_check_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu() -> int:
        raise RuntimeError("no CUDA-capable device is detected")

    monkeypatch.setattr("cupy.cuda.runtime.getDevice", no_gpu)
    monkeypatch.setattr(target, "has_triton", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(CannotLower, match="TRITON_INTERPRET=1"):
        picked()


def test_a_budget_of_memory_is_kept(oracle_device: OracleDevice) -> None:
    """Values that are used at the end are computed again, and the same."""
    b = Builder("deep")
    x = b.input(TensorType("f32", (64, 64)))
    made = [x]
    for _ in range(8):
        made.append(made[-1].emit("matmul", x).emit("tanh"))
    total = made[-1]
    for value in reversed(made[:-1]):
        total = total.emit("matmul", value).emit("tanh")
    graph, values = b.graph([total]), np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) / 8
    free = compile_program(graph, "triton_gpu")
    tight = compile_program(graph, "triton_gpu", memory_budget=free.arena_bytes // 2)
    assert tight.arena_bytes <= free.arena_bytes // 2
    np.testing.assert_array_equal(tight(values)[0], free(values)[0])


def test_streams_that_are_gone_keep_nothing(oracle_device: OracleDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = picked()
    for stream in range(40):
        monkeypatch.setattr(oracle_device, "order", lambda stream=stream: stream)
        executable(X, np.array([0, 1, 2]), Y)
    assert len(executable.run._free) <= MOST_ORDERS + 1         # type: ignore[attr-defined]


def test_updates_of_many_parameters_are_one_launch(oracle_device: OracleDevice) -> None:
    """Of different lengths, each of which is a word; what one launch takes is told of each of them in part."""
    b = Builder("updates")
    shapes = (30,), (5, 20), (7,), (64,)
    parameters, gradients = ([b.input(TensorType("f32", shape)) for shape in shapes] for _ in range(2))
    graph = b.graph([p - g * 0.5 for p, g in zip(parameters, gradients)])
    executable = compile_program(graph, "triton_gpu", aliases=tuple((k, k) for k in range(4)))
    given = [np.full(shape, k, np.float32) for k, shape in enumerate(2 * shapes)]
    observer = native_observer()
    mark = observer.start()
    assert executable.run(given) == DONE
    observer.stop(mark)
    assert [float(x.max()) for x in given[:4]] == [k - (4 + k) / 2 for k in range(4)]
    assert oracle_device.launched == executable.kernels_compiled == 1
    reports, = executable.steps
    assert len(reports) == 4 and all(report.time is not None and len(report.beside) == 3 for report in reports)
