"""trace(audit=n): a path that gives what the Python does not give is found out, said, and never replayed again."""
from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest

import tracegrad as tg


def break_executables(traced, output=-1):
    """From now on every known path of `traced` computes one of its output arrays wrong, or the first it writes."""
    for root in (root for tree in traced._trees() for root in tree.roots):
        right, at = root.executable, output if output != "written" else root.written[0]

        def run(arrays, right=right, at=at):
            left_at = right.run(arrays)
            arrays[at][...] += 1.0
            return left_at

        root.executable = replace(right, run=run)
        root.__post_init__()


def test_a_path_that_is_right_is_audited_in_one_replay_of_n():
    traced = tg.trace(lambda x: tg.exp(x) * 2.0, audit=3)
    x = tg.arange(4, dtype=tg.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(8):
            np.testing.assert_allclose(traced(x).numpy(), np.exp(np.arange(4)) * 2, rtol=1e-5)
    stats = traced.stats
    assert (stats.recordings, stats.replays, stats.audits, stats.eager_calls) == (1, 4, 3, 3) and not stats.aborts


def test_a_path_that_is_wrong_is_quarantined_and_said_with_its_operation_and_line():
    def f(x):
        y = tg.exp(x)
        return y * 3.0

    traced = tg.trace(f, audit=2)
    x = tg.arange(4, dtype=tg.float32)
    traced(x), traced(x)
    break_executables(traced)
    wrong = traced(x)                               # the second replay is not audited
    assert not np.allclose(wrong.numpy(), f(x).numpy())
    with pytest.warns(tg.AuditFailed, match=r"test_audits\.py:\d+: .*mul : f32\[4\]"):
        np.testing.assert_array_equal(traced(x).numpy(), f(x).numpy())
    replays = traced.stats.replays
    with warnings.catch_warnings():
        warnings.simplefilter("error", tg.AuditFailed)
        for k in range(5):
            np.testing.assert_array_equal(traced(x + k).numpy(), f(x + k).numpy())
    assert traced.stats.replays == replays and traced.stats.recordings == 1
    assert traced.stats.aborts["QUARANTINED"] >= 1 and tg.Abort.QUARANTINED.sentence in str(traced.explain())
    other = tg.ones(5)                              # another path is another path
    traced(other), traced(other), traced(other)
    assert traced.stats.replays == replays + 1
    with pytest.raises(tg.NotCompiled, match="QUARANTINED"):
        strict(f, x)


def strict(f, x):
    traced = tg.trace(f, audit=1, strict=True)
    traced(x)
    break_executables(traced)
    with pytest.warns(tg.AuditFailed):
        traced(x)
    traced(x)


@dataclass
class Model:
    w: tg.Tensor
    h: tg.Tensor


def model():
    return Model(tg.arange(3, dtype=tg.float32).requires_grad_(), tg.zeros(3))


def state(m):
    return [m.w.tolist(), m.h.tolist(), None if m.w.grad is None else m.w.grad.tolist()]


def train(m, x):
    loss = (m.w * x).sum()
    loss.backward()
    with tg.no_grad():
        m.w -= 0.5 * m.w.grad
    m.h = m.h * 0.5 + loss.detach()
    return loss


@pytest.mark.parametrize("wrong", [False, True])
def test_effects_happen_once(wrong):
    mine, twin = model(), model()
    traced = tg.trace(train, audit=1)
    x = tg.ones(3)
    for k in range(5):
        if k == 2 and wrong:
            break_executables(traced, "written")
            with pytest.warns(tg.AuditFailed):
                result = traced(mine, x * k)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tg.NotReplayed)
                result = traced(mine, x * k)
        assert result.tolist() == train(twin, x * k).tolist()
        assert state(mine) == state(twin)
    assert traced.stats.audits == (1 if wrong else 3), traced.explain()


@pytest.mark.parametrize("position, name", [(0, "args[0].w: "), (1, "result: "), (2, "args[0].h: "),
                                            (3, "args[0].w.grad: ")])
def test_everything_that_a_call_leaves_behind_is_compared(position, name):
    traced, m = tg.trace(train, audit=1), model()
    traced(m, tg.ones(3))
    root, = traced._tree.roots
    assert [root.sources[k].text for k in root.written] == ["args[0].w"] and len(root.outputs) == 3
    break_executables(traced, position - 4 if position else "written")
    with pytest.warns(tg.AuditFailed) as caught:
        traced(model(), tg.ones(3))
    assert caught[0].filename == __file__
    assert name in str(caught[0].message)


def test_arrays_and_what_is_written_to_them():
    def f(x, scale):
        x += 1.0
        return {"y": x * scale, "x": x}

    traced = tg.trace(f, audit=1)
    for _ in range(4):
        x, twin = np.arange(3.0), np.arange(3.0)
        a, b = traced(x, 2.0), f(twin, 2.0)
        assert a["x"] is x and x.tolist() == twin.tolist() and a["y"].tolist() == b["y"].tolist()
    assert traced.stats.audits == 3 and not traced.stats.aborts, traced.explain()
    break_executables(traced, "written")
    x = np.arange(3.0)
    with pytest.warns(tg.AuditFailed):
        assert traced(x, 2.0)["x"].tolist() == [1.0, 2.0, 3.0]


def test_random_numbers_are_drawn_once():
    def f(x):
        return x + tg.rand(3)

    traced = tg.trace(f, audit=1)
    tg.manual_seed(3)
    ours = [traced(tg.zeros(3)).tolist() for _ in range(4)]
    tg.manual_seed(3)
    assert ours == [f(tg.zeros(3)).tolist() for _ in range(4)]
    assert traced.stats.audits == 3 and not traced.stats.aborts, traced.explain()


def test_a_python_that_raises_where_the_path_does_not(monkeypatch):
    traced = tg.trace(lambda x: x * 2.0, audit=1)
    traced(tg.ones(2))

    def raises(x):
        raise KeyError("mine")

    monkeypatch.setattr(traced, "eager", raises)
    with pytest.warns(tg.AuditFailed, match="the Python raised KeyError"), pytest.raises(KeyError, match="mine"):
        traced(tg.ones(2))
    assert not traced.explain().traces


@pytest.mark.parametrize("audit", [-1, 0.5, True])
def test_an_audit_is_a_number_of_calls(audit):
    with pytest.raises(ValueError, match="audit"):
        tg.trace(lambda x: x, audit=audit)


def test_a_wrong_path_for_all_sizes_is_replayed_at_none():
    def f(x):
        return x * 2 if x.sum() > 0 else x * 3

    def wrong(numbers):
        made = right.resized(numbers)

        def run(arrays):
            left_at = made.run(arrays)
            arrays[-1][...] += 1.0
            return left_at
        return replace(made, run=run)

    traced = tg.trace(f, audit=2)
    for n in (4, 9, 9):
        for sign in (1.0, -1.0):
            traced(tg.full((n,), sign))
    (paths,) = traced._tree._all_sizes
    right = paths.root.executable
    paths.root.executable = replace(right, resized=wrong)
    with pytest.warns(tg.AuditFailed):                      # at a size of which the tree has no root
        np.testing.assert_array_equal(traced(tg.ones(30)).numpy(), np.full(30, 2.0))
    replays = traced.stats.replays
    with warnings.catch_warnings():
        warnings.simplefilter("error", tg.AuditFailed)
        for n in (31, 32, 9):
            np.testing.assert_array_equal(traced(tg.full((n,), -1.0)).numpy(), np.full(n, -3.0))
    assert not traced._tree._all_sizes and traced.stats.replays == replays


def test_one_wrong_path_leaves_the_others():
    def f(x):
        y = x * 2.0
        if y.sum() > 0:
            if y.sum() > 10:
                return y * 3.0
            return y + 1.0
        return -y

    traced = tg.trace(f, audit=2)
    inputs = [tg.full((3,), value) for value in (-1.0, 1.0, 5.0)]
    for x in inputs:
        traced(x)
    root, = traced._tree.roots
    right = root.executable
    wrong_end = next(k for k, t in enumerate(root.traces) if [read.number for read in t.path.reads] == [1, 0])

    def run(arrays):
        end = right.run(arrays)
        if end == -1 - wrong_end:
            arrays[-1][...] += 1.0
        return end

    root.executable = replace(right, run=run)
    root.__post_init__()
    wrong = root.traces[wrong_end]
    with pytest.warns(tg.AuditFailed) as caught:
        for x in inputs * 2:
            traced(x)
    assert len(caught) == 1 and len(traced.explain().traces) == 2
    assert all(trace.path is not wrong.path for trace in traced._tree.traces)
    replays = traced.stats.replays + traced.stats.audits
    with warnings.catch_warnings():
        warnings.simplefilter("error", tg.AuditFailed)
        for x in inputs * 3:
            np.testing.assert_array_equal(traced(x).numpy(), f(x).numpy())
    assert traced.stats.replays + traced.stats.audits == replays + 6, traced.explain()
    assert traced.stats.recordings == 3 and traced.stats.aborts["QUARANTINED"] >= 3


def test_callbacks_are_called_once():
    seen = []

    def f(x):
        y = x * 2.0
        tg.debug.callback(lambda t: seen.append(t.tolist()), y)
        return y + 1.0

    traced = tg.trace(f, audit=1)
    for k in range(4):
        traced(tg.full((1,), float(k)))
    assert seen == [[0.0], [2.0], [4.0], [6.0]] and traced.stats.audits == 3, traced.explain()


def test_what_a_callback_raises_is_no_mismatch():
    def raises(t):
        if t.item() > 2:
            raise ArithmeticError("mine")

    def f(x):
        tg.debug.callback(raises, x.sum())
        return x * 2.0

    traced = tg.trace(f, audit=1)
    traced(tg.ones(1)), traced(tg.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ArithmeticError, match="mine"):
            traced(tg.full((1,), 3.0))
    assert traced(tg.ones(1)).tolist() == [2.0] and not traced.stats.aborts


def test_captured_state_that_is_the_result():
    kept = model()

    def f(x):
        kept.h = kept.h + x
        return kept

    traced, twin = tg.trace(f, audit=1), model()
    for k in range(4):
        assert traced(tg.full((3,), float(k))) is kept
        twin.h = twin.h + float(k)
        assert state(kept) == state(twin)
    assert traced.stats.audits >= 2 and not traced.stats.aborts, traced.explain()
    break_executables(traced)
    with pytest.warns(tg.AuditFailed, match=r"kept\.h: "):
        traced(tg.ones(3))
