"""Limits: a traced function grows as far as they allow and says so; what is cold gives way; results stay right."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import limits
from tracegrad.limits import FIRST_WAIT, bytes_of

pytestmark = pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")


def modes() -> tuple[dict[str, float], Any]:
    """A function with as many paths as its captured number has values."""
    state = {"k": 0.0}

    def f(x: tg.Tensor) -> tg.Tensor:
        return x * state["k"] + 1.0
    return state, f


def check(state: dict[str, float], f: Any, k: float) -> None:
    state["k"] = k
    assert f(tg.ones(2)).tolist() == [k + 1.0] * 2


def identity(stats: Any) -> None:
    assert stats.calls == stats.replays + stats.follows + stats.eager_calls + stats.new_paths


def test_they_are_a_frozen_record_of_numbers() -> None:
    some = tg.Limits(paths=3, kernels=5, seconds=0.5, bytes=1000)
    assert (some.paths, some.unused, some.kernels, some.seconds, some.bytes) == (3, 16, 5, 0.5, 1000)
    with pytest.raises(AttributeError):
        some.paths = 4      # type: ignore[misc]
    for wrong in ({"paths": -1}, {"seconds": "1"}, {"kernels": True}, {"bytes": float("nan")}):
        with pytest.raises(ValueError, match=f"Limits: {next(iter(wrong))}="):
            tg.Limits(**wrong)      # type: ignore[arg-type]


def test_past_the_number_of_paths_it_says_so_and_cold_ones_give_way() -> None:
    state, function = modes()
    f = tg.trace(limits=tg.Limits(paths=4))(function)
    for k in (1.0, 2.0, 3.0, 4.0):
        check(state, f, k)
        check(state, f, k)
    for n in range(FIRST_WAIT - 1):
        check(state, f, 5.0)                    # there is no room: it runs eagerly
        check(state, f, float(1 + n % 2))       # 1 and 2 are in use
    assert f.stats.recordings == 4 and f.stats.aborts["TOO_MANY_PATHS"] == FIRST_WAIT - 1
    assert "4 paths" in str(f.explain())
    check(state, f, 5.0)                        # 3 and 4, which are cold, give way
    assert f.stats.recordings == 5 and len(f.explain().traces) == 3
    replays = f.stats.replays
    for k in (5.0, 1.0, 2.0, 5.0):
        check(state, f, k)
    assert f.stats.replays == replays + 4
    identity(f.stats)


def test_what_is_never_come_back_to_is_recorded_less_and_less() -> None:
    state, function = modes()
    f = tg.trace(limits=tg.Limits(unused=4))(function)
    for k in range(400):
        check(state, f, float(k))
    assert f.stats.recordings == 4 * 3          # after 64 and after 128 calls without room the cold ones gave way
    for _ in range(3 * FIRST_WAIT):             # it settles down
        check(state, f, -1.0)
    assert f.stats.replays > 0
    identity(f.stats)


def test_paths_of_a_root_in_use_give_way_one_by_one() -> None:
    def steps(x: tg.Tensor) -> tg.Tensor:
        while x.sum() < 8.0:
            x = x * 2.0
        return x

    f = tg.trace(limits=tg.Limits(unused=3))(steps)
    starts = [tg.full((2,), 4.0 / 2**k) for k in range(5)]
    for x in starts[:2] * 3 + starts[2:]:
        assert f(x).tolist() == steps(x).tolist()
    f(starts[0] / 64.0)
    for n in range(FIRST_WAIT + 8):
        assert f(starts[0] / 128.0).tolist() == steps(starts[0] / 128.0).tolist()
        assert f(starts[n % 2]).tolist() == [4.0, 4.0]
    assert f.stats.aborts["TOO_MANY_PATHS"] > 0
    lengths = sorted(len(trace.path.reads) for trace in f._tree.traces)
    assert lengths == [1, 2, 8] and len(f._tree.roots) == 1
    replays = f.stats.replays
    for x in (starts[0] / 128.0, starts[0], starts[1]):
        f(x)
    assert f.stats.replays == replays + 3
    identity(f.stats)


def test_kernels_and_seconds_end_recording_for_good() -> None:
    for some in (tg.Limits(kernels=1), tg.Limits(seconds=0.0)):
        f = tg.trace(limits=some)(lambda x: tg.exp(x) * x.sum() if x.ndim == 1 else x.ndim * x)
        shapes = [(3,), (2, 2), (2, 2, 2)]
        for shape in shapes * 3:
            x = tg.ones(*shape)
            np.testing.assert_allclose(f(x).numpy(), f.eager(x).numpy(), rtol=1e-6)
        assert f.stats.recordings == (1 if some.kernels == 1 else 0)
        assert f.stats.aborts["TOO_MANY_PATHS"] == f.stats.eager_calls + f.stats.follows
        text = str(f.explain())
        assert ("the limit is 1" if some.kernels == 1 else "the limit is 0") in text
        identity(f.stats)


def test_bytes() -> None:
    state, function = modes()
    f = tg.trace(limits=tg.Limits(bytes=20))(function)
    for k in range(8):
        check(state, f, float(k))
    held = sum(map(bytes_of, f._tree.roots))
    assert f.stats.recordings == 3 and held >= 20 > held - max(map(bytes_of, f._tree.roots))
    assert f"that take {held} bytes" in str(f.explain())


def test_a_call_without_a_path_follows_or_runs_eagerly_within_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_WAIT", 2)
    state, function = modes()
    f = tg.trace(strict=True, limits=tg.Limits(paths=1))(function)
    check(state, f, 1.0)
    state["k"] = 2.0
    with pytest.raises(tg.NotCompiled, match="1 paths"):
        f(tg.ones(2))
    check(state, f, 2.0)
    identity(f.stats)
