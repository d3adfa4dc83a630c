"""The frame of the benchmarks: rounds, workers that fail, comparison of results, the report. No assertion on time."""
from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time

import pytest

from benchmarks import elsewhere, readme, report, rounds
from benchmarks.__main__ import NAMES, main
from benchmarks.frame import Benchmark, FreshBenchmark, calls_per_sample, seconds_per_call
from benchmarks.rounds import Row, compare, relative_difference
from benchmarks.worker import rest
from codegen import Ceilings

FAKE = '''
import os
from benchmarks.frame import Benchmark, FreshBenchmark, Work

def steady(case):
    return Work(lambda: sum(range(1000)), [1.0, 2.0])

def wrong(case):
    return Work(lambda: None, [1.0, 2.5])

def failing(case):
    if case == "b":
        raise ValueError("not this one")
    return steady(case)

def dying(case):
    os._exit(3)

BENCHMARK = Benchmark("a question", ("a", "b"), {"steady": steady, "wrong": wrong, "failing": failing, "dying": dying})
'''

FAKE_FRESH = '''
from benchmarks.frame import FreshBenchmark

def counting(case, cache):
    mark = cache / "mark"
    before = mark.exists()
    mark.touch()
    return 1.0 if before else 2.0

BENCHMARK = FreshBenchmark("fresh?", ("cold", "warm"), {"counting": counting}, warm_cases=("warm",))
'''

FAKE_THREADS = '''
import os
from benchmarks.frame import Benchmark, Work

def cores(case):
    return Work(lambda: None, [len(os.sched_getaffinity(0)), int(os.environ["OMP_NUM_THREADS"])])

BENCHMARK = Benchmark("threads?", ("a",), {"all": cores, "one": cores}, threads={"one": 1})
'''


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Benchmarks beside the real ones, seen by this process and by workers."""
    monkeypatch.setattr(sys.modules["benchmarks"], "__path__", [*sys.modules["benchmarks"].__path__, str(tmp_path)])
    (tmp_path / "sitecustomize.py").write_text(
        f"import benchmarks\nbenchmarks.__path__.append({str(tmp_path)!r})\n")
    (tmp_path / "fake.py").write_text(FAKE)
    (tmp_path / "fake_fresh.py").write_text(FAKE_FRESH)
    (tmp_path / "fake_threads.py").write_text(FAKE_THREADS)
    of_threads = rounds.environment

    def environment(threads):
        return of_threads(threads) | {"PYTHONPATH": f"{rounds.ROOT}:{tmp_path}"}

    monkeypatch.setattr(rounds, "environment", environment)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_a_question_and_tracegrad_first(name):
    benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    assert isinstance(benchmark, Benchmark | FreshBenchmark)
    assert benchmark.question and benchmark.cases and next(iter(benchmark.contenders)) == "tracegrad"
    assert "tracegrad" in rounds.installed(benchmark.contenders)


def test_rounds_interleave_and_survive_contenders_that_fail(fake):
    benchmark = importlib.import_module("benchmarks.fake").BENCHMARK
    seen = []
    rows = rounds.run("fake", benchmark, rounds=2, budget=0.001, progress=seen.append)
    by = {(row.case, row.contender): row for row in rows}
    assert len(rows) == 8
    assert len(by["a", "steady"].measured) == 2 and by["a", "steady"].ratio == 1 and by["a", "steady"].agrees
    assert by["a", "wrong"].difference == pytest.approx(0.2) and not by["a", "wrong"].agrees
    assert by["b", "failing"].error == "ValueError: not this one" and by["a", "failing"].error is None
    assert by["a", "dying"].error == "the worker died with exit status 3" and by["b", "dying"].error
    turns = [text for text in seen if "round" in text and " a:" in text]
    assert turns == [f"fake a: round {k} of 2, {c}" for k in (1, 2) for c in ("steady", "wrong", "failing")]
    table = report.as_table(benchmark, rows)
    assert "RESULTS DIFFER by 2.0e-01" in table and "failed: ValueError: not this one" in table


def test_fresh_rounds_start_cold_or_warm(fake):
    benchmark = importlib.import_module("benchmarks.fake_fresh").BENCHMARK
    cold, warm = rounds.run_fresh("fake_fresh", benchmark, rounds=2, progress=lambda text: None)
    assert cold.measured == [2.0, 2.0] and warm.measured == [1.0, 1.0]


def test_a_contender_may_have_threads_of_its_own(fake, monkeypatch):
    seen = {}
    monkeypatch.setattr(rounds, "compare", lambda rows, numbers, tolerance: seen.update(numbers))
    benchmark = importlib.import_module("benchmarks.fake_threads").BENCHMARK
    rounds.run("fake_threads", benchmark, rounds=1, budget=0.001, progress=lambda text: None, threads=2)
    assert seen["one"] == [1, 1] and seen["all"] == [min(2, len(os.sched_getaffinity(0))), 2]


def test_ratios_are_medians_of_ratios_within_a_round():
    rows = [Row("a", "first", [1.0, 10.0, 2.0]), Row("a", "second", [2.0, 20.0, 8.0])]
    compare(rows, {}, 0.0)
    assert rows[0].ratio == 1 and rows[1].ratio == 2


def test_relative_difference():
    assert relative_difference([1.0, -4.0], [1.0, -5.0]) == pytest.approx(0.2)
    assert relative_difference([0.0], [0.0]) == 0 and relative_difference([], []) == 0
    assert relative_difference([1.0], [1.0, 2.0]) == float("inf")


def test_a_worker_is_done_when_its_threads_are():
    left = [1.0]                                # of processor time, which is what a thread that spins uses

    def spins():
        start = time.thread_time()
        while left[0] > 0.0:
            left[0] = 0.1 - (time.thread_time() - start)
    threading.Thread(target=spins).start()
    rest(patience=60.0)
    assert left[0] <= 0.0


def test_short_calls_are_timed_many_at_a_time():
    calls = []
    n = calls_per_sample(lambda: calls.append(1))
    assert n > 1 and len(calls) >= 4 * n - 1         # each of 1, 2, 4, .. once, and three times n
    del calls[:]
    seconds_per_call(lambda: calls.append(1), 5, budget=0.0)
    assert len(calls) == 15


@pytest.mark.parametrize(("measured", "unit", "text"), [
    (1.234, "s", "1.23 s"), (0.0123, "s", "12.3 ms"), (4.567e-4, "s", "457 us"), (2e-7, "s", "200 ns"),
    (3e-10, "s", "0.300 ns"), (2.5e9, "B", "2.50 GB"), (123e6, "B", "123 MB"), (0, "B", "0.00 KB"),
])
def test_amounts(measured, unit, text):
    assert report.amount(measured, unit) == text


def test_the_report_is_written(tmp_path, monkeypatch, capsys):
    case = "8 floats"
    rows = [Row(case, "tracegrad", [1.0, 2.0], 1.0), Row(case, "torch", [3.0, 4.0], 2.5), Row(case, "jax", error="no")]
    monkeypatch.setattr(rounds, "run", lambda *args: rows)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "call_overhead", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="failed"):
        main()
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["machine"]["threads"] == "2" and written["benchmarks"][0]["rows"][1]["ratio"] == 2.5
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    markdown = (tmp_path / "results.md").read_text()
    assert "| call_overhead, 8 floats | 1.50 s (1.00x) | 3.50 s (2.50x) | failed |" in markdown
    assert "call_overhead: the cost of a call" in capsys.readouterr().out


def test_the_rows_of_the_readme_are_those_that_were_measured(tmp_path):
    def row(contender, seconds, ratio, error=None):
        return {"case": "short", "contender": contender, "measured": [seconds], "ratio": ratio, "error": error}

    rows = [row("tracegrad", 1e-3, 1.0), row("jax", 5e-3, 5.0), row("jax unrolled", 4e-3, 4.0),
            row("torch", 1.0, None, "no"), row("numpy", 1.0, None, "NotImplementedError: never")]
    (tmp_path / "results.json").write_text(json.dumps({"benchmarks": [{"name": "rnn", "unit": "s", "rows": rows}]}))
    table = "| | tracegrad |\n|---|---:|\n| rnn, short |\n| heat | 2 s |\n"
    assert readme.renewed(table, readme.measured_in([tmp_path])).splitlines()[2:] == [
        "| rnn, short | 1.00 ms (1.00x) |  | failed |  | 4.00 ms (4.00x) |  |  |", "| heat | 2 s |"]


def test_what_others_use_of_the_machine_is_seen(monkeypatch, tmp_path):
    def stat(busy: int) -> None:
        (tmp_path / "stat").write_text(f"cpu {busy} 0 0 9999 0 0 0 0 0 0\ncpu0 1\n")

    monkeypatch.setattr(elsewhere, "STAT", tmp_path / "stat")
    monkeypatch.setattr(elsewhere, "own_seconds", lambda: 0.0)
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(elsewhere.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(elsewhere.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(elsewhere.os, "sysconf", lambda name: 100)
    stat(1000)
    with elsewhere.watched() as share:
        stat(1500)
    assert share == [0.25] and "25% of the machine" in elsewhere.warning(share)
    assert elsewhere.warning([0.01]) == elsewhere.warning([]) == ""


def test_unknown_names_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "nonsense"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no benchmark nonsense" in capsys.readouterr().err


def test_work_is_told_as_a_share_of_what_the_machine_can_do():
    ceilings = Ceilings(2, {1 << 20: 40e9}, {1 << 20: 20e9}, {"f32": 100e9, "f64": 50e9})
    benchmark = Benchmark("?", ("moves", "reads", "computes"), {}, bytes_moved={"moves": 1e9, "reads": 1e9},
                          flops={"computes": 1e9}, reads_only=frozenset({"reads"}),
                          dtypes={"moves": "f32", "reads": "f32", "computes": "f64"})
    rows = [Row(case, "tracegrad", [0.1]) for case in benchmark.cases] + [Row("moves", "numpy", error="not there")]
    report.add_shares(benchmark, rows, ceilings)
    assert [row.share for row in rows] == ["50% of 20 GB/s", "25% of 40 GB/s", "20% of 50 Gflop/s", ""]
    assert "50% of 20 GB/s" in report.as_table(benchmark, rows)
