"""The benchmark of the GPU target at tiny sizes, on a stand-in of CuPy. No assertion on time."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import stub_cupy
from gpu_extra import needs_triton
from oracle_device import OracleDriver, written_as_kernel

from benchmarks.gpu import __main__ as benchmark
from benchmarks.gpu import attention, bandwidth, correctness, first, latency, models, processes, steps, sweep
from benchmarks.gpu.timing import EventClock, relative_error
from benchmarks.rounds import ROOT, Row
from codegen import TARGETS
from codegen.triton_gpu import cublas
from codegen.triton_gpu.host_device import HostDevice
from tracegrad.devices import NoGPU

TARGET = TARGETS["triton_gpu"]


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A GPU, for which programs are compiled as for the CPU."""
    monkeypatch.setitem(TARGETS, "triton_gpu", stub_cupy.on_numpy(TARGETS["llvm_cpu"]))
    monkeypatch.setattr(steps, "has_torch", lambda: False)
    with stub_cupy.installed() as cupy:
        yield cupy


def good(rows: Any) -> list[Row]:
    found = list(rows)
    assert found and not [(row.case, row.error, row.difference) for row in found if row.error or not row.agrees]
    return found


def once(clock: EventClock, call: Any, *budget: Any) -> list[float]:
    """Instead of the times of many calls."""
    call()
    return [1e-3]


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs for the GPU are those for the GPU, their kernels in Triton's interpreter, on what stands for CuPy's."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(TARGETS, "triton_gpu", stub_cupy.on_numpy(TARGET))
    given = HostDevice.given
    monkeypatch.setattr(HostDevice, "given", lambda device, array: given(device, getattr(array, "_a", array)))


def test_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "LEAST_SHARE", 0.0)
    rows = good(bandwidth.measure(((1000,), (8, 32)), budget=0.0, flushed=1024))
    assert [row.case for row in rows] == ["copy", "copy", "elementwise chain", "softmax, 32 columns",
                                          "layer norm and its backward, 32 columns"]
    assert all(row.measured and row.share for row in rows) and "of the copy" in rows[-1].share


@needs_triton
def test_what_falls_short_is_told_by_kernels(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "LEAST_SHARE", 1e9)
    rows = good(bandwidth.measure(((1000,), (8, 32)), budget=0.0, flushed=1024))
    told = [row for row in rows if row.contender not in ("tracegrad", "CUDA")]
    assert {row.case for row in told} == {row.case for row in rows} - {"copy"}
    assert told[1].contender.endswith(": x 8, r 32 whole, 1 warps") and "GB/s" in told[1].share


@needs_triton
def test_attention(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventClock, "seconds", once)
    rows = good(attention.measure((1, 2, 10, 16), 0.0, EventClock(1024)))
    assert len(rows) == 6 and all("TFLOP/s" in row.share and row.difference for row in rows)
    monkeypatch.setattr(attention, "expected", lambda q, k, v: v)
    assert not next(attention.measure((1, 2, 10, 16), 0.0, EventClock(1024))).agrees


@needs_triton
def test_sweeps(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = EventClock(1024)
    cases = [sweep.Case("softmax", bandwidth.softmax, ((8, 5000),), "bfloat16"),
             sweep.Case("transposed", sweep.transposed, ((128, 128),)), sweep.Case("Adam", sweep.adam, ((1000,),) * 4),
             sweep.Case("column sums", sweep.column_sums, ((100, 40),)), sweep.Case("wrong", lambda x: x.none, ((3,),))]
    *rows, wrong = sweep.tilings(60.0, cases, 0.0, clock, most=4)
    assert wrong.error and "AttributeError" in wrong.error
    good(rows)
    for case in cases[:-1]:
        of = [row for row in rows if row.case.startswith(case.name)]
        assert of[0].ratio is None and len(of) > 1 and all(row.ratio for row in of[1:])
        assert len({row.contender for row in of}) == len(of)
    product = sweep.Product(64, 48, 40, "bf16", transpose_b=True)
    first, *more = good(sweep.tiles(60.0, [product], 0.0, clock, most=3))
    assert first.contender == "32 x 32, k 64, 4 warps, 1 stages" and len(more) == 3 and all(row.ratio for row in more)
    monkeypatch.setattr(EventClock, "seconds", once)
    rows = good(sweep.attentions(60.0, ((1, 2, 20, 16),), 0.0, clock, most=2))
    assert [row.ratio for row in rows] == [None, 1.0] * 2 and rows[0].contender.startswith("16 rows, 32 scores, k 16")
    assert not list(sweep.attentions(-1.0, clock=clock))
    assert not list(sweep.tilings(-1.0, cases, 0.0, clock)) and not list(sweep.tiles(-1.0, [product], 0.0, clock))


def test_every_case_of_the_sweeps_has_candidates() -> None:
    assert len({case.name + case.dtype for case in sweep.cases()}) == len(sweep.cases()) > 30
    for product in sweep.products():
        for capability in ((8, 0), (9, 0)):
            found = sweep.tile_candidates(product, capability)
            assert len(set(found)) == len(found) > 5


@needs_triton
def test_what_all_else_takes(cuda_device: OracleDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "triton_gpu", TARGET)
    monkeypatch.setattr(first, "find_spec", lambda name: None)
    monkeypatch.setitem(first.CHECKS, "matrix products", lambda: first.products(16))
    monkeypatch.setattr(cublas, "load", lambda: SimpleNamespace(**dict.fromkeys(cublas.SIGNATURES, lambda *given: 0)))
    found = {row.case: row for row in first.measure()}
    assert list(found) == list(first.CHECKS)
    assert not {name: row for name, row in found.items() if row.error}


MODELS = {"MLP": models.MLP((8, 16, 4), 8), "transformer": models.Transformer(1, 8, 2, 4, 2),
          "GPT": models.Transformer(1, 8, 2, 4, 2, 16)}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_steps(model: models.Model) -> None:
    for half in (False, True):
        (row,) = good(steps.measure("tiny", half, model, rounds=2))
        assert len(row.measured) == 2 and row.contender == "tracegrad"


@needs_triton
def test_steps_on_the_card(cuda_device: OracleDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "triton_gpu", TARGET)
    stub_cupy.GRAPHS.clear()
    good(steps.measure("tiny", False, models.Transformer(1, 8, 2, 4, 2), rounds=2))
    good(steps.overhead(models.MLP((4, 4), 2), 2, 2, 1024))
    assert cuda_device.launches and stub_cupy.GRAPHS


def test_overhead() -> None:
    assert "beside the GPU's work" in good(steps.overhead(models.MLP((4, 4), 2), 2, 2, 1024))[-1].share


def test_a_contender_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*model: Any) -> Any:
        raise ValueError("not this one")

    monkeypatch.setattr(steps, "has_torch", lambda: True)
    monkeypatch.setattr(steps, "torch_step", broken)
    alone, failed, row = steps.measure("tiny", False, models.MLP((4, 4), 2), rounds=2)
    assert alone.case == "tiny, float32, by itself" and alone.measured == row.measured and row.ratio is None
    assert failed.error == "ValueError: not this one" and "in broken" in failed.traceback


def test_ops() -> None:
    cases = [case for case in correctness.op_cases() if case[1][0] in ("add", "sum", "matmul", "gather", "erf")]
    for compute, drawn in ((correctness.eagerly, cases[::5]), (correctness.compiled, correctness.first_of_each(cases))):
        assert {row.case for row in good(correctness.measure("ops", compute, drawn, 60.0))} >= {"ops, f32", "ops, bf16"}

    def wrong(op: str, operands: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
        return correctness.expected_of(op, operands, attrs) * 1.001

    rows = list(correctness.measure("ops", wrong, correctness.first_of_each(cases), 60.0))
    assert any(row.case == "ops: add f32" and not row.agrees for row in rows)
    good(correctness.products((8, 8, 8)))


@needs_triton
def test_kernels() -> None:
    (row,) = good(correctness.kernels(made=correctness.InInterpreter, most=4))
    assert row.share.startswith("4 of 4 agree")

    class Nothing(correctness.InInterpreter):
        def __call__(self, *launch: Any) -> bool:
            return True

    class Broken(correctness.InInterpreter):
        def __call__(self, *launch: Any) -> bool:
            raise RuntimeError("an illegal address")
    *told, row = correctness.kernels(made=Nothing, most=4)
    assert not row.agrees and "differs by" in str(told[0].error) and "@triton.jit" in told[0].traceback
    *told, row = correctness.kernels(made=Broken, most=20)
    assert len(told) == correctness.MOST_TOLD + 1 and "in __call__" in told[0].traceback and not row.agrees


@needs_triton
def test_all_kernels_are_drawn() -> None:
    assert len(correctness.drawn_kernels()) > 400


@needs_triton
def test_kernels_on_the_card(cuda_device: OracleDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    correctness.import_tests()
    import test_agreement
    monkeypatch.setattr(test_agreement, "emit_kernel", lambda kernel, wide: written_as_kernel(kernel))
    (row,) = good(correctness.kernels(most=12))
    assert row.share.startswith("12 of 12 agree") and cuda_device.launches == 12


def test_errors_are_relative_norms() -> None:
    assert relative_error(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.0
    assert relative_error(np.array([3.0, 4.1]), np.array([3.0, 4.0])) == pytest.approx(0.02)
    assert relative_error(np.array([np.inf]), np.array([1.0])) == float("inf")
    assert relative_error(np.array([1, 2]), np.array([1, 3])) == 0.5
    assert relative_error(np.array([1e-9]), np.array([0.0]), [np.array([1.0])]) == pytest.approx(2e-8)


def test_the_whole_of_it(tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "describe", lambda: {"gpu": "a GPU of tests", "cpu": "any"})
    given: list[tuple[str, float]] = []

    def run(name: str, seconds: float) -> Iterator[Row]:
        given.append((name, seconds))
        yield Row(f"a case of {name}", "tracegrad", [1.0, 2.0], share="90% of the copy")

    def written() -> Any:
        (file,) = tmp_path.glob("gpu-a-gpu-of-tests-*.json")
        found = json.loads(file.read_text())
        file.unlink()
        return found

    benchmark.main(["--out", str(tmp_path)], run)
    assert [name for name, _ in given] == list(benchmark.PARTS)
    assert sum(part.seconds for part in benchmark.PARTS.values()) <= 450
    assert given[-1][1] > 440                   # with what those before it have left
    found = written()
    assert found["machine"]["gpu"] == "a GPU of tests"
    assert [one["rows"][0]["case"] for one in found["benchmarks"]] == [f"a case of {name}" for name in benchmark.PARTS]
    assert "90% of the copy" in capsys.readouterr().out

    def ended(name: str, seconds: float) -> Iterator[Row]:
        yield Row("a case", "tracegrad", [1.0])
        if name == "products":
            raise KeyboardInterrupt             # what was found before is there
        yield Row(f"{name}: the whole part", "tracegrad", error="stopped after 1 s", traceback="File x.py, line 3")

    with pytest.raises(KeyboardInterrupt):
        benchmark.main(["bandwidth", "products", "--out", str(tmp_path)], ended)
    assert [len(one["rows"]) for one in written()["benchmarks"]] == [2, 1]
    capsys.readouterr()
    with pytest.raises(SystemExit, match="some results differ or failed"):
        benchmark.main(["bandwidth", "--out", str(tmp_path)], ended)
    said = capsys.readouterr()
    assert "failed: stopped after 1 s" in said.out and "File x.py, line 3" in said.err
    assert written()["benchmarks"][0]["rows"][1]["traceback"] == "File x.py, line 3"
    with pytest.raises(SystemExit, match="some results differ or failed"):
        benchmark.main(["bandwidth", "--out", str(tmp_path)], lambda name, seconds: iter(()))


def test_what_cannot_be_described_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, str]:
        raise RuntimeError("the driver says no")

    monkeypatch.setattr(benchmark, "describe", broken)
    assert "the driver says no" in benchmark.described()["not described"]


def test_the_machine_is_described(gpu: Any) -> None:
    gpu.cuda.runtime.driverGetVersion = gpu.cuda.runtime.runtimeGetVersion = lambda: 13000
    assert benchmark.describe()["compute capability"] == "9.0"


class Ended(NamedTuple):
    program: str
    seconds: float
    error: str
    traceback: str


ENDED = {
    "raises": Ended("print('words'); say(Row('one', 'x', [1.0])); raise ValueError('not this')", 60.0,
                    "ValueError: not this (exit status 1)", 'File "<string>", line 4'),
    "dies": Ended("say(Row('one', 'x', [1.0])); import os; os.abort()", 60.0, "exit status -6", "Aborted"),
    "never ends": Ended("say(Row('one', 'x', [1.0]))\nimport time; time.sleep(600)", 3.0, "stopped after 3 s", ""),
    "ends": Ended("say(Row('one', 'x', [1.0]))", 60.0, "", ""),
}


@pytest.mark.parametrize("name", ENDED)
def test_a_part_is_a_process_that_may_end_in_any_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given, popen = ENDED[name], subprocess.Popen

    def instead(command: list[str], **options: Any) -> Any:
        assert command[1:5] == ["-m", "benchmarks.gpu", "--child", "mlp"]
        head = "from benchmarks.gpu.processes import say\nfrom benchmarks.rounds import Row\n\n"
        return popen([sys.executable, "-c", head + given.program], **options)
    monkeypatch.setattr(subprocess, "Popen", instead)
    first, *more = processes.run_part("mlp", given.seconds)
    assert first == Row("one", "x", [1.0]) and len(more) == bool(given.error)
    for row in more:
        assert given.error in str(row.error) and given.traceback in row.traceback


def test_a_child_says_the_rows_of_its_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    part = benchmark.Part("any?", 20.0, lambda seconds: iter([Row("case", "x", [seconds])]))
    monkeypatch.setitem(benchmark.KNOWN, "mlp", part)
    benchmark.main(["--child", "mlp", "--seconds", "7"])
    assert json.loads(capsys.readouterr().out)["measured"] == [5.0]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> dict[str, str]:
        raise NoGPU("there is none")

    monkeypatch.setattr(benchmark, "describe", none)
    with pytest.raises(SystemExit, match="there is none\nThis benchmark is for a machine with a GPU"):
        benchmark.main([])


def test_a_process_that_dies_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "PROGRAM", "raise SystemExit('no GPU here')")
    assert [row.error for row in latency.measure(("tracegrad",))] == ["no GPU here"] * 2
    monkeypatch.setattr(latency, "PROGRAM", "print(1.5)")
    assert [row.measured for row in latency.measure(("tracegrad",))] == [[1.5]] * 2


@pytest.mark.peers
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize(("name", "half"), [("MLP", False), ("transformer", False), ("GPT", True)])
def test_steps_of_both_are_the_same(name: str, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU; TRACEGRAD_TORCH_COMPILE=1 compiles PyTorch's, too, which takes a minute."""
    import torch
    if "TRACEGRAD_TORCH_COMPILE" not in os.environ:
        monkeypatch.setattr(torch, "compile", lambda net: net)
    ours, theirs = (make(MODELS[name], half, "cpu") for make in (models.tracegrad_step, models.torch_step))
    np.testing.assert_allclose([float(ours()) for _ in range(3)], [float(theirs()) for _ in range(3)],
                               rtol=steps.TOLERANCE[half])


@pytest.mark.peers
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_both_are_measured_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    monkeypatch.setattr(torch, "compile", lambda net: net)
    monkeypatch.setattr(steps, "has_torch", lambda: True)
    monkeypatch.setattr(steps, "torch_step", lambda model, half: models.torch_step(model, half, "cpu"))
    monkeypatch.setattr(steps, "finish_torch", lambda: None)
    rows = good(steps.measure("tiny", False, models.MLP((8, 16, 4), 8), rounds=3))
    assert [(row.case, row.contender) for row in rows] == [
        ("tiny, float32, by itself", "tracegrad"), ("tiny, float32, by itself", "torch.compile"),
        ("tiny, float32", "torch.compile"), ("tiny, float32", "tracegrad")]
    assert rows[2].ratio is None and rows[3].ratio and rows[3].difference is not None
    assert attention._torch((1, 2, 8, 4), "float32", False, "cpu")().shape == (1, 2, 8, 4)
    assert len(attention._torch((1, 2, 8, 4), "float32", True, "cpu")()) == 3


def test_the_command(tmp_path: Any) -> None:
    """In processes of their own, in which the stand-in is CuPy; what launches kernels by itself finds no driver."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, stub_cupy\nsys.modules['torch'] = None\ninside = stub_cupy.installed()\ninside.__enter__()\n"
        "from codegen import TARGETS\nTARGETS['triton_gpu'] = stub_cupy.on_numpy(TARGETS['llvm_cpu'])\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "tests")))}
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu", "first", "products", "--out", tmp_path],
                          capture_output=True, text=True, cwd=ROOT, env=environment)
    (file,) = tmp_path.glob("gpu-*.json")
    of_first, of_products = (one["rows"] for one in json.loads(file.read_text())["benchmarks"])
    found = {row["case"]: row["error"] for row in of_first}
    assert list(found) == list(first.CHECKS) and found["a CUDA graph of kernels"] and not found["a training step"]
    assert "line" in next(row["traceback"] for row in of_first if row["error"])
    assert [row["agrees"] for row in of_products] == [True] * 4
    assert done.returncode == 1 and "some results differ or failed" in done.stderr and str(file) in done.stdout
