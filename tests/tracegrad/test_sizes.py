"""Promise 3: the second size of a dimension compiles once more, the third and all later ones compile nothing."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tracegrad as tg
from tracegrad import runs
from tracegrad.deferred_work import Work
from tracegrad.limits import bytes_of


def compiled_at(traced: Callable, eager: Callable, calls: list[tuple], for_all_sizes: bool = True) -> list[int]:
    """How many kernels each of these calls compiled; each is made three times, and its result is the eager one.

    The second size is recorded for all sizes: no Python runs from then on. Or else, from the third size on, the first
    call is followed, and the second recorded.
    """
    counts = []
    for given in calls:
        before = traced.stats.kernels_compiled
        expected = eager(*given)
        for _ in range(3):
            assert_allclose(traced(*given).detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
        counts.append(traced.stats.kernels_compiled - before)
    stats = traced.stats
    recorded, followed = (2, 0) if for_all_sizes else (len(calls), len(calls) - 2)
    assert stats.follows == followed and stats.new_paths == stats.recordings == recorded
    assert stats.replays == 3 * len(calls) - recorded - followed and not stats.aborts
    return counts


def learner() -> Callable:
    tg.manual_seed(0)
    model = tg.nn.Sequential(tg.nn.Linear(20, 32), tg.nn.Tanh(), tg.nn.Linear(32, 10))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_a_training_step_at_many_batch_sizes() -> None:
    eager, step = learner(), tg.trace(learner())
    compiled = []
    for b in (8, 16, 24, 33, 7, 2):
        before = step.stats.kernels_compiled
        x, y = tg.randn(b, 20), tg.randn(b, 10)
        for _ in range(3):
            assert_allclose(step(x, y).item(), eager(x, y).item(), rtol=1e-4)
        compiled.append(step.stats.kernels_compiled - before)
    assert compiled[0] and not any(compiled[2:]) and step.stats.replays == 16 and step.stats.recordings == 2


def test_work_that_only_a_followed_call_does_compiles_nothing_at_new_sizes() -> None:
    """Its values are those that a history keeps, which a recorded run leaves to the derivative of its path."""
    tg.manual_seed(0)
    layer = tg.nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    traced, compiled = tg.trace(lambda x: layer(x) * (len(x[0]) / x.shape[1])), []      # len asks for a number
    for n in (100, 120, 140, 160, 180, 200):
        before, x = traced.stats.kernels_compiled, tg.randn(4, n, 64)
        assert_allclose(traced(x).detach().numpy(), layer(x).detach().numpy(), rtol=1e-4, atol=1e-5)
        compiled.append(traced.stats.kernels_compiled - before)
    assert compiled[0] and not any(compiled[2:]) and traced.stats.follows == 4


def attention(q, k, v):
    return tg.nn.functional.softmax(q @ k.mT / 4.0, axis=-1) @ v


def normalized(x, w):
    return tg.nn.functional.layer_norm(tg.tanh(x @ w), (w.shape[1],))


def shifted(x, w):
    return tg.concat([x[:, 1:], x[:, :1] * 2], axis=1).cumsum(axis=1).T @ w


def picked(x, w):
    return (x.max(axis=1) + x.mean(axis=1))[:, None] * w[1] + x.flip(1).sum(axis=0)[:2].sum()


def pooled(x):
    return tg.nn.functional.max_pool2d(tg.tanh(x), 2)


def joined(x, y):
    return tg.concat([x, y, x], axis=0)[::2]


CALLS = {
    "attention": (attention, lambda s: tuple(tg.randn(2, s, 16) for _ in range(3))),
    "normalized": (normalized, lambda s: (tg.randn(s, 6), tg.randn(6, 40))),
    "shifted": (shifted, lambda s: (tg.randn(s, 2 * s), tg.randn(s, 3))),
    "pooled": (pooled, lambda s: (tg.randn(2, 1, 2 * s, 4 * s),)),
    "joined": (joined, lambda s: (tg.randn(s, 3), tg.randn(s + 1, 3))),
    "encoder": (tg.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval(),
                lambda s: (tg.randn(2, s, 8),)),
    "picked": (picked, lambda s: (tg.randn(s, s + 3), tg.randn(2, 5))),
}


@pytest.mark.parametrize("name", CALLS)
def test_sequences_of_any_length(name: str) -> None:
    function, inputs = CALLS[name]
    tg.manual_seed(0)
    calls = [inputs(s) for s in (5, 9, 16, 33, 64, 3)]
    compiled = compiled_at(tg.trace(function), function, calls)
    assert compiled[0] and not any(compiled[2:])


def test_a_size_that_python_reads_is_right_at_every_size() -> None:
    def scaled(x):
        total = x.sum() / len(x)
        return total + (1.0 if x.shape[0] > 10 else 0.0)

    tg.manual_seed(0)
    compiled_at(tg.trace(scaled), scaled, [(tg.randn(s),) for s in (5, 9, 16, 33, 8, 12)], for_all_sizes=False)


def test_backward_of_a_result_at_many_sizes() -> None:
    def forward(x, w):
        return tg.tanh(x @ w).sum()

    tg.manual_seed(0)
    w, traced = tg.randn(6, 3, requires_grad=True), tg.trace(forward)
    for b in (4, 8, 12, 5):
        x = tg.randn(b, 6)
        for _ in range(2):
            w.grad = None
            traced(x, w).backward()
            found, w.grad = w.grad.numpy().copy(), None
            forward(x, w).backward()
            assert_allclose(found, w.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_sizes_without_end() -> None:
    def scaled(x):
        return tg.exp(x) * 2

    traced = tg.trace(scaled, limits=tg.Limits(sizes=6))
    sizes = [*range(3, 30), *range(3, 10)]
    for n in sizes:
        x = tg.randn(n)
        for _ in range(3):
            assert_allclose(traced(x).numpy(), scaled(x).numpy(), rtol=1e-5)
        assert len(traced._tree.traces) <= 7         # one has kernels of its own
    assert traced.stats.kernels_compiled <= 2 and not traced.stats.eager_calls and not traced.stats.aborts
    assert traced.stats.recordings == 2 and not traced.stats.follows


def test_sizes_that_never_come_back_are_computed_by_the_same_kernels_for_ever(monkeypatch) -> None:
    def f(x):
        return tg.exp(x * 0.5) + tg.tanh(x) * (len(x) / len(x))     # which is not recorded for all sizes

    traced, interpreted = tg.trace(f, limits=tg.Limits(sizes=20)), []
    real = Work.interpret
    monkeypatch.setattr(Work, "interpret", lambda *given: interpreted.append(1) or real(*given))
    known, counts = traced._follow.known, []
    for n in range(4000, 4500, 5):
        x = tg.randn(n)
        assert_allclose(traced(x).numpy(), f(x).numpy(), rtol=1e-4, atol=1e-6)
        counts.append((traced.stats.kernels_compiled, known.families, known.size, len(known.compiled)))
    assert len(set(counts[4:])) == 1 and counts[-1][2:] == (0, 1)
    assert traced.stats.recordings == 2 and traced.stats.follows == 98 and interpreted == [1]
    assert "98 calls at sizes that none had before" in str(traced.explain())


def test_a_size_that_returns_is_replayed() -> None:
    traced = tg.trace(lambda x: x + len(x))
    for n in (3, 4, 5, 6, 7, 5, 5, 6, 6):
        traced(tg.randn(n))
    assert (traced.stats.new_paths, traced.stats.follows, traced.stats.replays) == (4, 3, 2)


def test_small_sizes_take_turns_with_others_that_broadcast() -> None:
    def f(x, y):
        return (x + y).sum(axis=0) * x.shape[0]

    traced = tg.trace(f)
    for n, m in ((5, 5), (6, 6), (7, 7), (1, 8), (9, 1), (0, 0), (0, 1), (1, 1), (2, 2), (8, 8), (1, 9), (10, 1)):
        x, y = tg.randn(n, 3), tg.randn(m, 3)
        assert_allclose(traced(x, y).numpy(), f(x, y).numpy(), rtol=1e-6)


def test_sizes_give_way_where_memory_is_short() -> None:
    traced = tg.trace(lambda x: tg.exp(x) * 2, limits=tg.Limits(bytes=1 << 16))
    for n in range(1000, 1020):
        for _ in range(3):
            traced(tg.zeros(n))
    held = [bytes_of(root) for root in traced._tree.roots if root.executable.shares_kernels]
    assert 3 <= len(held) < 10 and sum(held) <= 1 << 14 and not traced.stats.aborts


def test_reset_forgets_sizes() -> None:
    double = tg.trace(lambda x: x * 2)
    for n in (3, 4):
        double(tg.zeros(n))
    sizes = double._compiling.sizes
    double.reset()
    assert double._compiling.sizes is not sizes
    assert np.array_equal(double(tg.ones(5)).numpy(), np.full(5, 2.0))


def test_a_loop_of_known_turns_compiles_nothing() -> None:
    tg.manual_seed(0)
    w, u, b = tg.randn(6, 8), tg.randn(8, 8) * 0.3, tg.zeros(8)
    for weight in (w, u, b):
        weight.requires_grad_()

    def recurrent(xs):
        h = tg.zeros(3, 8)
        for x in xs:
            h = tg.tanh(x @ w + h @ u + b)
        loss = (h * h).sum()
        return loss.detach(), *tg.autograd.grad(loss, (w, u, b))

    traced, compiled = tg.trace(recurrent), []
    for length in (2, 3, 4, 5, 6, 9, 20):
        before, xs = traced.stats.kernels_compiled, [tg.randn(3, 6) for _ in range(length)]
        for _ in range(2):
            for found, expected in zip(traced(xs), recurrent(xs), strict=True):
                assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)
        compiled.append(traced.stats.kernels_compiled - before)
    assert all(compiled[:3]) and not any(compiled[3:]) and traced.stats.replays == 7


def test_branches_at_many_sizes() -> None:
    def either(x):
        y = tg.tanh(x).mean(axis=0)
        return tg.exp(y) * 2 if y.sum() > 0 else y / 2

    tg.manual_seed(0)
    traced, compiled = tg.trace(either), []
    for n in (8, 16, 24, 33, 7):
        before = traced.stats.kernels_compiled
        for sign in (1, -1) if n % 2 == 0 else (-1, 1):
            x = tg.rand(n, 3) * sign
            for _ in range(3):
                assert_allclose(traced(x).numpy(), either(x).numpy(), rtol=1e-4)
        compiled.append(traced.stats.kernels_compiled - before)
    stats = traced.stats
    assert compiled[0] and not any(compiled[2:]) and not stats.eager_calls
    assert (stats.new_paths, stats.follows, stats.replays) == (4, 0, 26)


def test_a_longer_sequence_through_a_gated_cell_compiles_nothing_backward_from_outside_either() -> None:
    tg.manual_seed(0)
    w, u, b = tg.randn(6, 32), tg.randn(8, 32) * 0.3, tg.zeros(32)
    for weight in (w, u, b):
        weight.requires_grad_()

    def gated(xs):
        h, c = tg.zeros(3, 8), tg.zeros(3, 8)
        for x in xs:
            z = x @ w + h @ u + b
            c = tg.sigmoid(z[:, :8]) * c + tg.sigmoid(z[:, 8:16]) * tg.tanh(z[:, 16:24])
            h = tg.sigmoid(z[:, 24:]) * tg.tanh(c)
        return (h * h).sum()

    traced, compiled = tg.trace(gated), []
    for length in (2, 3, 4, 5, 7, 12):
        before, xs = traced.stats.kernels_compiled, [tg.randn(3, 6) for _ in range(length)]
        expected = tg.autograd.grad(gated(xs), (w, u, b))
        for _ in range(2):
            for found, e in zip(tg.autograd.grad(traced(xs), (w, u, b)), expected, strict=True):
                assert_allclose(found.numpy(), e.numpy(), rtol=1e-3, atol=1e-4)
        compiled.append(traced.stats.kernels_compiled - before)
    assert all(compiled[:2]) and not any(compiled[3:]), compiled


def test_another_size_is_recorded_without_looking_again(monkeypatch) -> None:
    step, looked = tg.trace(learner()), []
    real = runs.read_set
    monkeypatch.setattr(runs, "read_set", lambda *given, **named: looked.append(1) or real(*given, **named))
    for b in (8, 16):
        step(tg.randn(b, 20), tg.randn(b, 10))
    assert step.stats.recordings == step.stats.new_paths == 2 and len(looked) == 1
    assert "args[0] had shape (8, 20), now (16, 20)" in str(step._tree.traces[0].because)


def test_a_size_that_runs_other_code() -> None:
    offset = {"value": 1.0}
    def small(x): return x + offset["value"]
    def large(x): return x * offset["value"]
    def f(x): return small(x) if x.shape[0] < 10 else large(x)
    traced = tg.trace(f)
    for n in (3, 12, 12, 12, 4, 20):
        offset["value"] += 1.0 if n == 20 else 0.0
        for _ in range(2):
            assert traced(tg.ones(n)).tolist() == f(tg.ones(n)).tolist()


def test_a_size_at_which_the_same_code_changes_something() -> None:
    seen = [0]
    def f(x):
        if x.shape[0] > 10:
            seen[0] = seen[0] + 1
        return x * 2.0
    traced = tg.trace(f)
    for n in (3, 12, 12, 5, 13):
        traced(tg.ones(n))
    assert seen == [3]


def test_a_size_that_comes_with_other_state() -> None:
    state = {"w": 2.0, "layers": [tg.ones(3)]}
    def f(x): return x * state["w"] + sum(w.sum() for w in state["layers"])
    traced = tg.trace(f)
    for n in (3, 4, 5, 6, 7):
        state["w"] += 1.0 if n % 2 else 0.0
        if n == 6:
            state["layers"].append(tg.ones(2))
        for _ in range(2):
            assert traced(tg.ones(n)).tolist() == f(tg.ones(n)).tolist()


def test_a_captured_tensor_of_another_size() -> None:
    state = {"w": tg.ones(3)}
    def f(x): return (x * state["w"]).sum(), state
    traced = tg.trace(f)
    for n in (3, 4, 5):
        state["w"] = tg.full((n,), float(n))
        for _ in range(2):
            total, given = traced(tg.ones(n))
            assert total.item() == n * n and given is state
