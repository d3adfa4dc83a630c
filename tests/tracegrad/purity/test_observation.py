"""Watching a run: what it gives, who else watches, whose code it was."""
from __future__ import annotations

import cProfile
import gc
import sys

import pytest
from hazards import LIBRARY, record

from tracegrad.aborts import Abort
from tracegrad.purity.observation import observe, supported
from tracegrad.purity.prediction import predict


def watch(fn, *args):
    return observe(predict(fn, args, {}, LIBRARY), lambda: fn(*args))


def test_the_result_and_the_code_that_ran():
    def g(x): return x + 1
    def f(x): return g(x)
    seen = watch(f, 1)
    assert seen.result == 2 and seen.error is None and not seen.refusals
    assert [c.co_name for c in seen.codes.values()] == ["f", "g"]


def test_an_exception_is_kept():
    def f(x): raise KeyError(x)
    seen = watch(f, 1)
    assert isinstance(seen.error, KeyError) and [r.reason for r in seen.refusals] == [Abort.RAISED]


def test_what_is_no_exception_passes_and_the_profile_function_is_restored():
    def f(x): raise KeyboardInterrupt
    before = sys.getprofile()
    with pytest.raises(KeyboardInterrupt):
        watch(f, 1)
    assert sys.getprofile() is before


def test_a_profile_function_goes_on_getting_every_event():
    def f(x): return len([x])
    events = []
    def profile(frame, event, arg): events.append((event, frame.f_code.co_name))
    sys.setprofile(profile)
    try:
        watch(f, 1)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert ("call", "f") in events and ("return", "f") in events and ("c_call", "f") in events


def test_a_profiler_written_in_c_survives():
    def f(x): return x
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        assert watch(f, 1).result == 1
    finally:
        profiler.disable()
    profiler.create_stats()
    assert any(name == "test_a_profiler_written_in_c_survives" or name == "watch" for _, _, name in profiler.stats)


def test_a_refusal_names_the_line_and_the_callee():
    program = record("import time as clocks\ndef f(x):\n    return clocks.time()")
    (refusal,) = program.reads.refusals
    assert (refusal.line, refusal.detail) == ("program.py:3", "time.time")
    assert "cure" in str(refusal)


def test_code_that_an_earlier_run_entered_is_predicted():
    source = "import statistics\ndef f(x): return statistics.fmean([x, 1.0])"
    assert {r.reason for r in record(source).reads.refusals} == {Abort.UNSEEN_CODE}
    assert record(source, rehearsals=1).reads.refusals == ()


def test_the_library_answers_for_its_own_code():
    program = record("def f(x): return (x * 2).sum().item()\nargs = (tg.ones(3),)")
    assert program.reads.refusals == ()
    assert [c.co_name for c in program.seen.codes.values()] == ["f"]


def test_code_with_a_filename_of_nobody_is_the_users():
    program = record("def f(x): return x + k\nk = 1")
    assert program.holds()
    program.change("k = 2")
    assert not program.holds()


def test_whether_runs_can_be_observed_here():
    reason = supported()
    assert (reason is None) == (sys.version_info[:2] in ((3, 11), (3, 12), (3, 13)))


def test_garbage_is_collected_before_or_after_but_not_during_a_run():
    def f(x): return [[x] for _ in range(100)][0]
    ran = []
    callback = lambda phase, info: ran.append(phase)    # noqa: E731
    threshold = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        seen = observe(predict(f, (1,), {}, LIBRARY), lambda: (len(ran), f(1), len(ran)))
    finally:
        gc.callbacks.remove(callback)
        gc.set_threshold(*threshold)
    assert seen.result[0] == seen.result[2] and gc.isenabled()


def test_the_locale_is_a_guard_where_numbers_are_formatted():
    routes = {guard.route for guard in record("def f(x): return f'{x:n}'").reads.guards.guards}
    assert "the locale of numbers" in routes
    assert "the locale of numbers" not in {guard.route for guard in record("def f(x): return x").reads.guards.guards}
