"""Training as people write it: every idiom traced, replayed, and equal to the eager run."""
from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn


def batches(count: int = 6) -> list[tuple[tg.Tensor, tg.Tensor]]:
    g = tg.Generator(5)
    return [(tg.randn(4, 3, generator=g), tg.randint(3, size=(4,), generator=g)) for _ in range(count)]


class Tied(nn.Module):
    """A model whose last product uses the matrix of the embedding."""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(3, 5)
        self.hidden = nn.Linear(5, 5)
        self.out = nn.Linear(5, 3, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Any) -> Any:
        return self.out(tg.tanh(self.hidden(self.embedding((x > 0).sum(axis=1) % 3))))


def classifier() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 3))


def plain(trace: Callable) -> Any:
    """The usual step, with the state of everything as the result."""
    model, loss_of = classifier(), nn.CrossEntropyLoss()
    optimizer = tg.optim.AdamW(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return model, [trace(step)]


def tied(trace: Callable) -> Any:
    """Weights that two layers share."""
    model = Tied()
    assert len(list(model.parameters())) == 3 and len(model.state_dict()) == 4
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, [trace(step)]


def accumulated(trace: Callable) -> Any:
    """Gradients of two batches added up before a step."""
    model = classifier()
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
    optimizer.zero_grad(set_to_none=False)
    for p in model.parameters():
        p.grad = tg.zeros_like(p)
    count = 0

    def add(x: Any, y: Any) -> Any:
        loss = nn.functional.cross_entropy(model(x), y) / 2
        loss.backward()
        return loss

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    add, update = trace(add), trace(update)

    def step(x: Any, y: Any) -> Any:
        nonlocal count
        loss = add(x, y)
        count += 1
        if count % 2 == 0:
            update()
        return loss

    step.traced = add       # type: ignore[attr-defined]
    return model, [step]


def averaged(trace: Callable) -> Any:
    """A second model that follows the first as a running mean of its weights."""
    model = classifier()
    mean = copy.deepcopy(model).requires_grad_(False)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        with tg.no_grad():
            for a, p in zip(mean.parameters(), model.parameters()):
                a.mul_(0.9).add_(p, alpha=0.1)
        return loss + nn.functional.cross_entropy(mean(x), y).detach()

    return mean, [trace(step)]


def adversarial(trace: Callable) -> Any:
    """Two models against each other, each with an optimizer of its own."""
    maker = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 3))
    judge = nn.Sequential(nn.Linear(3, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))
    of_maker, of_judge = (tg.optim.Adam(m.parameters(), lr=0.01, betas=(0.5, 0.9)) for m in (maker, judge))
    loss_of = nn.BCEWithLogitsLoss()

    def step(x: Any, y: Any) -> Any:
        made = maker(tg.randn(4, 2))
        of_judge.zero_grad()
        loss = loss_of(judge(x), tg.ones(4, 1)) + loss_of(judge(made.detach()), tg.zeros(4, 1))
        loss.backward()
        of_judge.step()
        of_maker.zero_grad()
        loss_of(judge(made), tg.ones(4, 1)).backward()
        of_maker.step()
        return loss

    return nn.ModuleList([maker, judge]), [trace(step)]


def frozen(trace: Callable) -> Any:
    """A model whose first layers stay as they are, and groups with rates of their own."""
    model = classifier()
    model[0].requires_grad_(False)
    optimizer = tg.optim.RMSprop([{"params": model[1].parameters(), "lr": 0.001}, {"params": model[4].parameters()}])

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return loss

    return model, [trace(step)]


def penalized(trace: Callable) -> Any:
    """A penalty on the gradient with respect to the input: a derivative of a derivative."""
    model = nn.Sequential(nn.Linear(3, 6), nn.Softplus(), nn.Linear(6, 3))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        x = x.detach().requires_grad_()
        loss = nn.functional.cross_entropy(model(x), y)
        (slope,) = tg.autograd.grad(loss, [x], create_graph=True)
        loss = loss + 0.1 * (slope * slope).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()        # it was differentiated by a tensor that the step made

    return model, [trace(step)]


@pytest.mark.parametrize("idiom", [plain, tied, accumulated, averaged, adversarial, frozen, penalized],
                         ids=lambda f: f.__name__)
def test_idioms_replay_and_are_what_they_are_eagerly(idiom: Callable) -> None:
    paths, states = [], []
    for traced in (True, False):
        tg.manual_seed(0)
        model, (step,) = idiom(tg.trace if traced else lambda f: f)
        paths.append([step(x, y).item() for x, y in batches()])
        states.append([v.numpy() for v in model.state_dict().values()])
        if traced:
            stats = getattr(step, "traced", step).stats
            assert stats.replays >= 4, getattr(step, "traced", step).explain()
    np.testing.assert_allclose(*paths, rtol=1e-4)
    for a, b in zip(*states):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
