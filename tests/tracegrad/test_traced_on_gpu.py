"""What a traced function offers, on tensors of a GPU: CuPy and CUDA are stand-ins, kernels are run by the oracle."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn

pytestmark = pytest.mark.usefixtures("cuda_device")


def training_step() -> tuple[Callable, Any]:
    tg.manual_seed(0)
    model = nn.Linear(4, 3).to("cuda")
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, tg.randn(5, 4).to("cuda")


def test_it_is_verified_and_audited() -> None:
    step, x = training_step()
    traced = tg.trace(step, audit=2)
    losses = [traced(x).item() for _ in range(6)]
    assert "agree" in str(traced.verify(x))
    step, x = training_step()
    np.testing.assert_allclose(losses, [step(x).item() for _ in range(6)], rtol=1e-5)
    assert traced.stats.audits == 3 and traced.stats.replays == 2 and not traced.stats.aborts


def test_calls_that_are_kept_can_be_run_again() -> None:
    step, x = training_step()
    traced = tg.trace(lambda x: step(x) * 0 + x.sum(), keep=2)
    given = [traced(x * k).item() for k in range(4)]
    assert traced.rerun(-1).item() == pytest.approx(given[-1], rel=1e-5)
    assert traced.rerun(-2).item() == pytest.approx(given[-2], rel=1e-5)


def test_a_result_is_differentiated_outside() -> None:
    model, x = nn.Linear(4, 3).to("cuda"), tg.randn(5, 4).to("cuda")
    traced = tg.trace(lambda x: (model(x).tanh() ** 2).sum())
    for function in (traced, traced, traced, traced.eager):
        model.weight.grad = None
        function(x).backward()
        assert model.weight.grad.device.type == "cuda"
        found = model.weight.grad.cpu().numpy()
        if function is traced:
            compiled = found
    np.testing.assert_allclose(compiled, found, rtol=1e-5)
    assert traced.stats.replays == 2


def test_ways_and_sizes() -> None:
    @tg.trace
    def halved(x):
        while x.sum() > 4:
            x = x / 2
        return x.exp()

    for n in (3, 3, 5, 5, 4):
        x = (tg.ones(n) * 3).to("cuda")
        np.testing.assert_allclose(halved(x).cpu().numpy(), halved.eager(x).cpu().numpy(), rtol=1e-6)
    assert halved.stats.replays >= 2


def test_each_device_has_its_own_paths() -> None:
    traced = tg.trace(lambda x: x.tanh() * 2)
    for _ in range(3):
        for device in ("cpu", "cuda"):
            assert traced(tg.ones(3).to(device)).device.type == device
    assert traced.stats.replays == 4


def test_it_is_explained_and_profiled() -> None:
    step, x = training_step()
    traced = tg.trace(step)
    traced(x), traced(x)
    assert "kernel over" in str(traced.explain(verbose=True))
    with tg.profile() as profile:
        traced(x)
    assert "1 replay" in str(profile.table()) and any(event.kind == "step" for event in profile.native)


def test_what_is_checkpointed_is_computed_again() -> None:
    x, w = tg.randn(6, 4).to("cuda"), tg.randn(4, 4).to("cuda")
    w.requires_grad = True

    @tg.trace
    def f(x):
        w.grad = None
        loss = (tg.checkpoint(lambda x: (x @ w).tanh(), x) @ w).sum()
        loss.backward()
        return loss.detach()

    for _ in range(3):
        f(x)
    found = w.grad.cpu().numpy()
    f.eager(x)
    np.testing.assert_allclose(found, w.grad.cpu().numpy(), rtol=1e-5)
    assert f.stats.replays == 2


def on_a_stream(x: tg.Tensor) -> None:
    with tg.cuda.Stream():
        x.sum()


@pytest.mark.parametrize(("asked", "why"), [
    (lambda x: tg.cuda.synchronize(), "EFFECT"),                # a replay would not wait
    (lambda x: tg.cuda.set_device(0), "EFFECT"),
    (lambda x: tg.cuda.empty_cache(), "EFFECT"),
    (lambda x: tg.cuda.Event().record(), "EFFECT"),
    (lambda x: x.record_stream(tg.cuda.current_stream()), "EFFECT"),
    (on_a_stream, "EFFECT"),
    (lambda x: tg.cuda.memory_allocated(), "HIDDEN_STATE"),     # a replay would not look
    (lambda x: tg.cuda.current_stream().query(), "HIDDEN_STATE"),
])
def test_what_is_asked_of_the_gpu_is_asked_in_every_call(asked: Callable, why: str) -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        asked(x)
        return x + 1

    x = tg.ones(3, device="cuda")
    for _ in range(4):
        assert f(x).tolist() == [2.0] * 3
    assert f.stats.replays == 0 and why in f.stats.aborts


def test_a_mask_selects_in_a_traced_function() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return x[x > 1] * 2

    for _ in range(3):
        assert f(tg.arange(4.0, device="cuda")).tolist() == [4.0, 6.0]


def test_callbacks_are_given_tensors_of_the_gpu() -> None:
    seen: list[tg.Tensor] = []

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        tg.debug.callback(seen.append, y)
        return y.sum()

    traced = tg.trace(f)
    x = tg.arange(3.0, device="cuda")
    for g in (f, traced, traced, traced):
        assert g(x).item() == 6.0
    assert traced.stats.replays == 2 and [(t.tolist(), t.is_cuda) for t in seen] == [([0.0, 2.0, 4.0], True)] * 4
