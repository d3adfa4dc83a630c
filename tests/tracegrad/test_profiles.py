"""tg.profile(): what was done is noted, by kind and thread, nested as it was; the trace is what its readers expect."""
from __future__ import annotations

import json
import threading
import warnings

import numpy as np
import pytest

import tracegrad as tg
from codegen import get_num_threads, set_num_threads
from codegen.llvm_cpu import observer
from tracegrad import dispatch
from tracegrad.chrome_trace import MOMENTS
from tracegrad.spans import begin


def work(x):
    return (tg.exp(x @ x) * 2.0).sum()


def calls_of(profile):
    return [span.facts["came_to"] for span in profile.spans if span.kind == "call"]


def test_every_call_and_every_step_of_it_is_noted():
    f, x = tg.trace(work), tg.ones(16, 16)
    with tg.profile() as p:
        for _ in range(4):
            f(x)
    assert calls_of(p) == ["new path", "replay", "replay", "replay"]
    steps = len(f.explain().kernels)
    assert [e.kind for e in p.native].count("run") == 3 and [e.kind for e in p.native].count("step") == 3 * steps
    kinds = {span.kind for span in p.spans}
    assert {"call", "record", "compile", "code", "op"} == kinds
    assert {span.name for span in p.spans if span.kind == "op"} >= {"matmul", "exp", "sum"}
    assert p.lost == 0 and all(p.begin <= e.begin <= e.end <= p.end for e in (*p.spans, *p.native))


def test_what_is_noted_lies_within_what_it_is_part_of():
    f, x = tg.trace(work), tg.ones(16, 16)
    f(x)
    with tg.profile() as p:
        f(x), f(x)
    calls = [span for span in p.spans if span.kind == "call"]
    runs = [e for e in p.native if e.kind == "run"]
    steps = [e for e in p.native if e.kind == "step"]
    assert len(runs) == 2
    for inner, outer in ((runs, calls), (steps, runs)):
        assert all(any(o.begin <= e.begin and e.end <= o.end and o.thread == e.thread for o in outer) for e in inner)
    for one, next in zip(steps, steps[1:]):
        assert one.end <= next.begin


def test_nothing_is_noted_before_and_after():
    f, x = tg.trace(work), tg.ones(16, 16)
    f(x)
    with tg.profile() as p:
        f(x)
    f(x), x + 1.0
    assert len(calls_of(p)) == 1 and begin() == 0
    assert dispatch._REFERENCES == {name: op.reference for name, op in dispatch.OPS.items()}
    with tg.profile() as empty:
        pass
    assert (empty.spans, empty.native) == ((), ())


def test_profiles_nest_and_a_body_that_raises_ends_them():
    f, x = tg.trace(work), tg.ones(16, 16)
    f(x)
    with pytest.raises(ZeroDivisionError):
        with tg.profile() as outer:
            f(x)
            with tg.profile() as inner:
                f(x)
            1 / 0
    assert (len(calls_of(outer)), len(calls_of(inner))) == (2, 1) and begin() == 0
    assert [len([e for e in p.native if e.kind == "run"]) for p in (outer, inner)] == [2, 1]


def test_the_parts_that_threads_do_are_told_apart():
    f, x = tg.trace(lambda x: tg.tanh(x) * tg.exp(x)), tg.ones(1 << 20)
    f(x)
    before = get_num_threads()
    set_num_threads(3)
    try:
        with tg.profile() as p:
            for _ in range(20):
                f(x)
    finally:
        set_num_threads(before)
    step, = f.explain().kernels
    for run in (e for e in p.native if e.kind == "step"):
        parts = [e for e in p.native if e.kind == "part" and run.begin <= e.begin and e.end <= run.end]
        assert sum(part.chunks for part in parts) == run.chunks > 1
        assert len({part.thread for part in parts}) == len(parts)
    assert step.time.runs == 20 and 0 < step.time.shortest <= step.time.mean


def test_other_threads_native_calls_are_noted():
    f, x = tg.trace(work), tg.ones(16, 16)
    f(x)
    with tg.profile() as p:
        thread = threading.Thread(target=lambda: [f(x) for _ in range(3)], name="worker")
        thread.start()
        identity = thread.ident
        thread.join()
    assert [e.thread for e in p.native if e.kind == "run"] == [identity] * 3


def test_an_explanation_has_the_times_of_steps_that_were_profiled():
    f, x = tg.trace(work), tg.ones(64, 64)
    f(x)
    assert all(step.time is None for step in f.explain().kernels)
    with tg.profile():
        f(x), f(x)
    explanation = f.explain()
    assert [step.time.runs for step in explanation.kernels] == [2] * len(explanation.kernels)
    assert "where it was profiled" in str(explanation)


def test_steps_that_are_one_launch_are_one_row_and_share_its_time():
    parameters = [tg.ones(n, requires_grad=True) for n in (100_000, 70_000, 5_000)]
    optimizer = tg.optim.Adam(parameters)

    @tg.trace
    def step(x):
        optimizer.zero_grad()
        loss = sum((p * p * x).sum() for p in parameters)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2):
        step(tg.ones(1))
    with tg.profile() as p:
        step(tg.ones(1)), step(tg.ones(1))
    kernels = step.explain().kernels
    launches = [a for a in p.activities() if a.kind == "step"]
    assert len(launches) < 2 * len(kernels) and any(" at once: " in a.name for a in launches)
    assert all(kernel.time.runs == 2 for kernel in kernels)
    assert sum(k.time.total for k in kernels) == pytest.approx(sum(a.end - a.begin for a in launches) * 1e-9)
    assert sum(k.flops for k in kernels) == sum(a.facts["flops"] for a in launches) / 2


def test_calls_that_are_not_replayed():
    def prints(x):
        print(end="")
        return tg.sin(x * 2.0) + x

    inner = tg.trace(work)

    def of_words(words):
        return inner(x) + len(words)

    followed, eager, x = tg.trace(prints), tg.trace(of_words), tg.ones(1 << 7, 1 << 7)
    inner(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tg.profile() as p:
            for _ in range(4):
                followed(x)
        assert calls_of(p).count("follow") == followed.stats.follows > 0
        kinds = [span.kind for span in p.spans]
        assert kinds.count("follow") == followed.stats.follows and "fallback" not in kinds
        assert {span.facts["by"] for span in p.spans if span.kind == "segment"} == {"NumPy", "native code"}
        with tg.profile() as p, tg.eager():
            followed(x)
        assert calls_of(p) == []
        with tg.profile() as p:
            for _ in range(3):
                eager(np.array(["a"]))
    calls = [(span.name, span.facts["came_to"]) for span in p.spans if span.kind == "call"]
    assert calls.count(("work", "replay")) == inner.stats.replays > 0       # inside of an eager call
    assert calls.count(("of_words", "eager")) == 3
    fallbacks = [span for span in p.spans if span.kind == "fallback"]
    assert fallbacks and all("an array of dtype" in span.facts["reason"] for span in fallbacks)


def test_the_trace_has_the_form_that_its_readers_expect(tmp_path):
    f, x = tg.trace(work), tg.ones(1 << 8, 1 << 8)
    with tg.profile() as p:
        for _ in range(3):
            f(x)
        tg.trace(lambda x: x * 2.0)(tg.ones(3)), tg.ones(2) + 1.0
    p.save(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert set(trace) == {"traceEvents", "displayTimeUnit"} and trace["displayTimeUnit"] in ("ms", "ns")
    open_: dict[int, list[float]] = {}
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str) and isinstance(event["pid"], int) and isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name") and isinstance(event["args"]["name"], str)
            continue
        assert event["ph"] == ("i" if event["cat"] in MOMENTS else "X") and event["ts"] >= 0
        if event["ph"] == "X":
            ends = open_.setdefault(event["tid"], [])
            while ends and ends[-1] <= event["ts"]:
                ends.pop()
            assert event["dur"] >= 0 and (not ends or event["ts"] + event["dur"] <= ends[-1] + 1e-3), event
            ends.append(event["ts"] + event["dur"])
    names = {event["args"]["name"] for event in trace["traceEvents"] if event["ph"] == "M"}
    assert threading.current_thread().name in names
    kernel = next(e for e in trace["traceEvents"] if e.get("cat") == "step" and e["name"].startswith("matmul"))
    assert kernel["args"]["flops"] == 2 * 256**3 and "test_profiles.py" in kernel["args"]["lines"]


def test_the_table_adds_up():
    f, x = tg.trace(work), tg.ones(64, 64)
    with tg.profile() as p:
        for _ in range(5):
            f(x)
        x + 1.0
    lines = p.table().splitlines()
    assert "5 calls of traced functions: 1 new path, 4 replays" in lines[0]
    shares = [float(line.split("%")[0].split()[-1]) for line in lines[2:]]
    assert abs(sum(shares) - 100) < 0.06 * len(shares) and lines[-1].endswith("outside of tracegrad")
    assert any("work: matmul 64x64 @ 64x64 of f32" in line and "test_profiles.py" in line for line in lines)
    assert len(p.table(most=2).splitlines()) == 6 and str(p) == p.table()


def test_a_profile_is_looked_at_after_it_was_taken():
    with tg.profile() as p:
        for look in (p.table, lambda: p.save("nowhere.json")):
            with pytest.raises(RuntimeError, match=r"test_profiles.py:\d+: profile: it is still being taken"):
                look()


def test_without_a_clock_for_native_code_the_rest_is_noted(monkeypatch):
    monkeypatch.setattr(observer, "_native", lambda: None)
    monkeypatch.setattr("codegen.targets.native_observer", observer.Observer)
    f, x = tg.trace(work), tg.ones(16, 16)
    with tg.profile() as p:
        f(x), f(x)
    assert calls_of(p) == ["new path", "replay"] and p.native == () and "guards" in p.table()


def test_what_there_is_no_room_for_is_counted(monkeypatch):
    watcher = observer.observer()
    f, x = tg.trace(work), tg.ones(16, 16)
    f(x), f(x)
    mark = watcher.start()
    f(x)
    events, lost = watcher.stop(observer.Mark(mark.records, mark.time))
    assert events and lost == 0
    monkeypatch.setattr(observer, "RECORDS", 2)
    mark = watcher.start()
    f(x)
    _, lost = watcher.stop(mark)
    assert lost > 0


def test_a_function_that_takes_a_profile_is_not_replayed():
    def profiles(x):
        with tg.profile():
            return x * 2.0

    with pytest.raises(tg.NotCompiled, match="profile inside of a traced function"):
        tg.trace(profiles, strict=True)(tg.ones(2))


def test_what_is_kept_is_kept_once():
    f = tg.trace(work, keep=8)
    with tg.profile():
        f(tg.ones(4, 4)), f(tg.ones(4, 4))
    assert f.rerun(-2) is not None
    with pytest.raises(IndexError):
        f.rerun(-3)
