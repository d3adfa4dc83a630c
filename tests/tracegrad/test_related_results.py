"""Results of one replay that are computed from each other: their histories lead through each other, as eager."""
from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import tracegrad as tg


def loss_and_logits(w, x):
    logits = tg.tanh(x @ w)
    return (logits * logits * w.sum()).mean(), logits


def logits_and_loss(w, x):
    return loss_and_logits(w, x)[::-1]


def chain(w, x):
    a = tg.sin(x @ w)
    b = a.exp() * w.mean()
    c = (a * b).sum() + (b ** 3).sum()
    return b, c, a


def apart(w, x):
    return (x @ w).sum(), (w * w * w)


def retains(results, w, x):
    for r in results:
        r.retain_grad()
    sum(r.sum() for r in results).backward()
    return [r.grad for r in results] + [w.grad]


def hooks_see_and_change(results, w, x):
    seen = []
    for r in results:
        r.register_hook(lambda g: seen.append(g.clone()))
        r.register_hook(lambda g: g * 2.0)
    smallest = min(results, key=lambda r: r.size)
    smallest.sum().backward()
    return [*sorted(seen, key=lambda g: (g.size, float(g.sum()))), w.grad]


def of_each_other(results, w, x):
    found = []
    for r in results:
        given = tg.autograd.grad(r.sum(), [*results, w], retain_graph=True, allow_unused=True)
        found += [tg.zeros(1) if g is None else g for g in given]
    return found


def twice(results, w, x):
    first, second = results[:2]
    first.retain_grad()
    second.retain_grad()
    (g,) = tg.autograd.grad(sum((r * r).sum() for r in results), [w], create_graph=True)
    (g * g).sum().backward()
    return [g.detach(), w.grad]


def of_second_order(results, w, x):
    first, second = results[:2]
    (g,) = tg.autograd.grad((second * second).sum(), [first], create_graph=True, allow_unused=True)
    g = (first * 1.5 if g is None else g * 1.0)
    (g * g).sum().backward()
    return [w.grad]


def used_up(results, w, x):
    first, second, *_ = results
    said = []
    for use in (lambda: tg.autograd.grad(second.sum(), [first], allow_unused=True), first.sum().backward,
                second.sum().backward, first.sum().backward):
        try:
            use()
        except RuntimeError as error:
            assert "freed" in str(error)
            said.append(1.0)
        else:
            said.append(0.0)
    return [tg.tensor(said), w.grad]


FUNCTIONS = (loss_and_logits, logits_and_loss, chain, apart)


@pytest.mark.parametrize("use", [retains, hooks_see_and_change, of_each_other, twice, of_second_order, used_up],
                         ids=lambda use: use.__name__)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_gradients_of_results_are_those_of_the_python(function, use):
    rng = np.random.default_rng(0)
    w0, x = rng.standard_normal((4, 3)), tg.tensor(rng.standard_normal((5, 4)))
    traced = tg.trace(function)
    for _ in range(4):
        answers = []
        for f in (function, traced):
            w = tg.tensor(w0, requires_grad=True)
            answers.append([None if g is None else g.detach().numpy() for g in use(f(w, x), w, x)])
        assert len(answers[0]) == len(answers[1])
        for expected, found in zip(*answers):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert traced.stats.replays == 3


def test_a_result_that_keeps_its_grad_is_not_replayed_without():
    def f(w):
        h = tg.sin(w)
        h.retain_grad()
        return (h * h).sum(), h

    traced, w = tg.trace(f), tg.tensor([0.5, 0.7], requires_grad=True)
    for k in range(3):
        with pytest.warns(tg.Followed) if k == 0 else nullcontext():
            y, h = traced(w)
        y.backward()
        np.testing.assert_allclose(h.grad.numpy(), 2 * np.sin([0.5, 0.7]), rtol=1e-6)


def test_gradients_asked_for_are_not_the_memory_of_grads():
    w = tg.tensor([0.5, 0.7], requires_grad=True)
    h = tg.sin(w)
    h.retain_grad()
    y = (h * 3.0).sum()
    (g,) = tg.autograd.grad(y, [h], retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(g.numpy(), [3.0, 3.0])
    np.testing.assert_array_equal(h.grad.numpy(), [6.0, 6.0])
