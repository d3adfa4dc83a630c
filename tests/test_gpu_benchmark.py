"""The benchmark of the GPU target at tiny sizes, on a stand-in of CuPy. No assertion on time."""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import stub_cupy
from gpu_extra import needs_triton
from oracle_device import OracleDriver, written_as_kernel

from benchmarks.gpu import __main__ as benchmark
from benchmarks.gpu import bandwidth, correctness, latency, models, steps
from benchmarks.gpu.timing import relative_error
from benchmarks.rounds import Row
from codegen import TARGETS
from tracegrad.devices import NoGPU

TARGET = TARGETS["triton_gpu"]


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU, for which programs are compiled as for the CPU."""
    monkeypatch.setitem(TARGETS, "triton_gpu", stub_cupy.on_numpy(TARGETS["llvm_cpu"]))
    monkeypatch.setattr(steps, "has_torch", lambda: False)
    with stub_cupy.installed():
        yield


def good(rows: Any) -> list[Row]:
    found = list(rows)
    assert found and not [(row.case, row.error, row.difference) for row in found if row.error or not row.agrees]
    return found


def test_bandwidth() -> None:
    rows = good(bandwidth.measure(((1000,), (8, 32)), budget=0.0, flushed=1024))
    assert [row.case for row in rows] == ["copy", "elementwise chain", "softmax, 32 columns",
                                          "layer norm and its backward, 32 columns"]
    assert all(row.measured and row.share for row in rows) and "of the copy" in rows[-1].share


@pytest.mark.parametrize("model", [
    models.MLP((8, 16, 4), 8), models.Transformer(1, 8, 2, 4, 2), models.Transformer(1, 8, 2, 4, 2, 16)],
    ids=["MLP", "transformer", "GPT"])
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
    failed, row = steps.measure("tiny", False, models.MLP((4, 4), 2), rounds=2)
    assert failed.error == "ValueError: not this one" and row.measured and row.ratio is None


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
    from codegen.triton_gpu.host_check import run
    (row,) = good(correctness.kernels(made=lambda specs: run, most=4))
    assert row.share.startswith("4 of 4 agree")
    *_, row = correctness.kernels(made=lambda specs: lambda spec, buffers, words: True, most=4)
    assert not row.agrees


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
    rows = {"mlp": [Row("a case", "tracegrad", [1.0, 2.0], share="90% of the copy")], "bandwidth": []}
    benchmark.main(["mlp", "--out", str(tmp_path)], lambda name: (rows[name], None))
    (file,) = tmp_path.glob("gpu-a-gpu-of-tests-*.json")
    written = json.loads(file.read_text())
    assert written["machine"]["gpu"] == "a GPU of tests" and written["benchmarks"][0]["rows"][0]["case"] == "a case"
    assert "90% of the copy" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="some results differ or failed"):
        benchmark.main(["bandwidth", "--out", str(tmp_path)], lambda name: (rows[name], "stopped after 1 s"))
    assert "failed: stopped after 1 s" in capsys.readouterr().out
    assert sum(part.seconds for part in benchmark.PARTS.values()) <= 450


def test_a_part_is_a_process_that_is_stopped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    part = benchmark.Part("never ends?", 0.01, lambda: iter(()))
    monkeypatch.setitem(benchmark.PARTS, "mlp", part)
    rows, failure = benchmark.run_part("mlp")
    assert rows == [] and failure == "stopped after 0 s"


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
