"""What is known of arrays on a GPU: when another one is in the place of one, all is asked again."""
from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.known_arrays import KnownArrays, found_elsewhere, with_known

pytestmark = pytest.mark.usefixtures("cuda_device")


def on_gpu(*values: float, dtype: Any = tg.float32) -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, device="cuda")


def traced(box: Any) -> Any:
    """It reads one tensor of the box after it has written to another."""
    @tg.trace
    def f(x):
        box.v.mul_(2)
        return (box.w + x) * box.v.sum()

    return f


def shared(box: Any) -> tg.Tensor:
    return box.v[:2]


@pytest.mark.parametrize("other", [
    lambda box: on_gpu(3.0), lambda box: on_gpu(3.0, 4.0, dtype=tg.float64), lambda box: on_gpu(3.0, 4.0, 5.0)[::2],
    shared, lambda box: on_gpu(3.0, 4.0).requires_grad_(), lambda box: on_gpu(5.0, 6.0)])
def test_another_array(other: Callable[[Any], tg.Tensor]) -> None:
    found = []
    for run in ("__call__", "eager"):
        box = SimpleNamespace(w=on_gpu(1.0, 2.0), v=on_gpu(1.0, 2.0))
        f, x = traced(box), on_gpu(0.5, 0.25)
        results = [getattr(f, run)(x) for _ in range(4)]
        before, box.w = box.w, other(box)           # that it is gone would be noticed
        results += [getattr(f, run)(x) for _ in range(3)]
        found.append([(y.dtype, y.requires_grad, y.tolist()) for y in results])
        assert before.tolist() == [1.0, 2.0]
        if run == "__call__":
            assert f.stats.replays >= 3
    assert found[0] == found[1]


def test_tensors_that_come_and_go() -> None:
    """The ids of those that are gone come back."""
    box = SimpleNamespace(w=None, v=on_gpu(1.0, 2.0))
    f = tg.trace(lambda x: (box.w * x).sum())
    x = on_gpu(3.0, 1.0)
    for k in range(60):
        box.w = None
        gc.collect(0)
        values = (float(k),) * (1 + k % 2)
        box.w = on_gpu(*values)
        assert f(x).item() == np.sum(np.float32(values) * np.float32([3, 1]))
    assert f.stats.replays > 40


def test_one_that_is_gone_is_forgotten_and_none_is_kept() -> None:
    known, a, b = KnownArrays(), on_gpu(1.0), on_gpu(2.0)
    assert known.keep((a.array, b.array)) == known.last[1] and known.last[0] == [id(a.array), id(b.array)]
    del b
    assert known.last[0] is None


def test_what_is_an_argument_is_asked_each_time() -> None:
    reads = [("v1 = args[0]", False), ("v2, v3, = v1", False), ("v4 = v1.__dict__", False), ("v5 = v4['w']", False),
             ("v6 = k1['model']", False), ("type(v6) is k2", True)]
    assert found_elsewhere(reads) == {"v4", "v5", "v6"}


def test_lines_of_what_is_known_come_last() -> None:
    texts = [("v1 = k1['w']", False), ("v2 = v1.array", False), ("v2.shape == k2", True), ("v3 = args[0]", False),
             ("v4 = v3.array", False), ("v4.shape == k3", True),
             ("len({*map(id, (owner(v1.array), owner(v3.array)))}) == 2", True)]
    before, ask, after = with_known(texts, ["v1"])
    assert before == [texts[0], ("v2 = v1.held", False), *texts[3:6]]
    assert ask[2:] == [
        " v2 = v1.array", " if not (v2.shape == k2 and len({*map(id, (owner(v1.array), ))}) == 1): return None",
        " owners = known.keep((v2, ))"]
    assert after == [("len({*owners, *map(id, (owner(v3.array), ))}) == 2", True)]


def test_a_replay_asks_nothing_of_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    box = SimpleNamespace(w=on_gpu(1.0, 2.0), v=on_gpu(1.0, 2.0))
    f, x = traced(box), on_gpu(0.5, 0.25)
    for _ in range(3):
        f(x)
    kept = []
    monkeypatch.setattr(KnownArrays, "keep", lambda known, arrays: kept.append(arrays))
    f(x), f(x)
    assert not kept and f.stats.replays == 4


@pytest.mark.parametrize("are_kept", [False, True])
def test_results_that_are_kept_stay_what_they_were(are_kept: bool) -> None:
    """Some of what a call makes is free again, some is not, and some may be looked at through another Tensor only."""
    w = on_gpu(1.0, 2.0).requires_grad_()

    @tg.trace
    def f(x):
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        return loss.detach(), x * 3, w.grad * 5

    kept = []
    for k in range(12):
        loss, triple, grad = f(on_gpu(float(k), 1.0))
        kept.append((k, loss, triple[:1] if are_kept else None, grad if k % 3 == 0 else None))
        for n, old, triple, grad in kept:
            assert old.item() == n + 2
            assert triple is None or triple.tolist() == [n * 3]
            assert grad is None or grad.tolist() == [n * 5, 5]
        assert w.grad.tolist() == [k, 1]
    assert f.stats.replays >= 10
