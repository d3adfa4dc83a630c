"""GradScaler: its state machine is that of PyTorch's documentation, and a scaled step is one native call."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from gpu_extra import needs_triton

import tracegrad as tg
from tracegrad.amp import GradScaler
from tracegrad.tensors import Tensor

F = tg.nn.functional


def leaf(*values: float, **options: Any) -> Tensor:
    return tg.tensor(list(values), requires_grad=True, **options)


def with_grad(*values: float) -> Tensor:
    w = leaf(*[1.0] * len(values))
    w.grad = tg.tensor(list(values))
    return w


# ---- scale and unscale ------------------------------------------------------------------------------------------


def test_it_scales_tensors_and_what_holds_them() -> None:
    scaler, x = GradScaler(init_scale=8.0), leaf(1.0, -2.0)
    assert scaler.scale(x).tolist() == [8, -16] and scaler.scale(x).requires_grad
    (a, (b,)), one = scaler.scale([x, (x * 2,)]), scaler.scale(tg.tensor([1e4], dtype="float16"))
    assert a.tolist() == [8, -16] and b.tolist() == [16, -32]
    assert one.dtype == tg.float32 and one.tolist() == [8e4]            # which float16 does not hold
    assert scaler.scale(tg.tensor(1.0, dtype="float64")).dtype == tg.float64
    with pytest.raises(ValueError, match="test_grad_scaler.py:.*outputs are a Tensor"):
        scaler.scale(2.0)


def test_unscaling_is_in_place_and_once() -> None:
    w, scaler = with_grad(8.0, 4.0), GradScaler(init_scale=4.0)
    optimizer, grad = tg.optim.SGD([w], lr=1.0), w.grad
    scaler.unscale_(optimizer)
    assert w.grad is grad and grad.tolist() == [2, 1]
    with pytest.raises(RuntimeError, match="was called on this optimizer since the last update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert w.tolist() == [-1, 0]
    for again, words in ((scaler.step, "step.. was called"), (scaler.unscale_, "called after step")):
        with pytest.raises(RuntimeError, match=words):
            again(optimizer)
    scaler.update()
    scaler.unscale_(optimizer)
    assert grad.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda s, o, w: s.update(), RuntimeError, "no gradients were checked"),
    (lambda s, o, w: s.step(tg.optim.SGD([leaf(1.0)], lr=1.0)), RuntimeError, "no parameter of the optimizer"),
    (lambda s, o, w: s.step(o, lambda: 1.0), RuntimeError, "takes no closure"),
    (lambda s, o, w: s.load_state_dict({}), RuntimeError, "the state is empty"),
    (lambda s, o, w: s.unscale_(tg.optim.SGD([half()], lr=1.0)), ValueError, "gradients are float16"),
    (lambda s, o, w: GradScaler(growth_factor=1.0), ValueError, "growth_factor 1.0"),
    (lambda s, o, w: GradScaler(backoff_factor=1.0), ValueError, "backoff_factor 1.0")])
def test_misuse_is_told(call: Callable, error: type[Exception], words: str) -> None:
    w = with_grad(1.0)
    with pytest.raises(error, match=words):
        call(GradScaler(), tg.optim.SGD([w], lr=1.0), w)


def half() -> Tensor:
    w = leaf(1.0, dtype="float16")
    w.grad = tg.ones(1, dtype="float16")
    return w


# ---- steps that are skipped -------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda ps: tg.optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.1), "Adam": lambda ps: tg.optim.Adam(ps),
    "AdamW": lambda ps: tg.optim.AdamW(ps), "Adamax": lambda ps: tg.optim.Adamax(ps),
    "NAdam": lambda ps: tg.optim.NAdam(ps), "RAdam": lambda ps: tg.optim.RAdam(ps),
    "Adagrad": lambda ps: tg.optim.Adagrad(ps), "RMSprop": lambda ps: tg.optim.RMSprop(ps, centered=True, momentum=0.5),
    "Adadelta": lambda ps: tg.optim.Adadelta(ps), "maximize": lambda ps: tg.optim.SGD(ps, lr=0.1, maximize=True)}


@pytest.mark.parametrize("bad", [inf, -inf, nan])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_step_whose_gradients_are_no_numbers_changes_nothing(make: Callable, bad: float) -> None:
    """Not in the parameters whose own gradient is finite either; and others are exactly what they are without."""
    plain, scaled = ([leaf(1.0, 2.0), leaf(3.0)] for _ in range(2))
    optimizer, other, scaler = make(plain), make(scaled), GradScaler(init_scale=2.0)
    for k in range(4):
        skipped = k in (0, 2)
        for ps, factor in ((plain, 1.0), (scaled, scaler.get_scale())):
            for p in ps:
                p.grad = tg.tensor(np.linspace(0.5, 1.5 + k, p.size, dtype=np.float32) * factor)
        if skipped:
            scaled[1].grad.fill_(bad)
        else:
            optimizer.step()
        assert scaler.step(other) is None
        scaler.update()
        assert scaler.get_scale() == (1.0 if k < 2 else 0.5)
        for p, q in zip((*plain, *optimizer.state_dict().values()), (*scaled, *other.state_dict().values())):
            assert p.tolist() == q.tolist()


def test_an_optimizer_with_a_step_of_its_own_is_called_or_not() -> None:
    class Own(tg.optim.SGD):
        steps = 0

        def step(self, closure: Any = None) -> Any:
            self.steps += 1
            return super().step(closure) or "stepped"

    w = with_grad(inf)
    optimizer, scaler = Own([w], lr=1.0), GradScaler(init_scale=1.0)
    assert scaler.step(optimizer) is None and optimizer.steps == 0
    scaler.update()
    w.grad = tg.tensor([0.5])
    assert scaler.step(optimizer) == "stepped" and w.tolist() == [0] and scaler.get_scale() == 0.5


def test_optimizers_are_judged_one_by_one_and_the_scale_by_all() -> None:
    good, bad = with_grad(2.0), with_grad(inf)
    first, second = tg.optim.SGD([good], lr=1.0), tg.optim.SGD([bad], lr=1.0)
    scaler = GradScaler(init_scale=2.0, growth_interval=1)
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert good.tolist() == [0] and bad.tolist() == [1] and scaler.get_scale() == 1.0


# ---- the scale --------------------------------------------------------------------------------------------------


def scales(scaler: Any, goods: str, step: Callable[[bool], None]) -> list[tuple[float, int]]:
    """Scale and count after each step; G is a good one, b a bad one."""
    found = []
    for good in goods:
        step(good == "G")
        scaler.update()
        found.append((scaler.get_scale(), scaler.state_dict()["_growth_tracker"]))
    return found


def stepping(scaler: GradScaler) -> Callable[[bool], None]:
    w = leaf(1.0)
    optimizer = tg.optim.SGD([w], lr=0.0)

    def step(good: bool) -> None:
        w.grad = tg.tensor([1.0 if good else inf])
        scaler.step(optimizer)
    return step


def test_it_grows_after_good_steps_and_backs_off_after_a_bad_one() -> None:
    scaler = GradScaler(init_scale=16.0, growth_factor=3.0, backoff_factor=0.25, growth_interval=2)
    assert scales(scaler, "GGGbGGbb", stepping(scaler)) == [
        (16, 1), (48, 0), (48, 1), (12, 0), (12, 1), (36, 0), (9, 0), (2.25, 0)]


def test_it_does_not_grow_beyond_float32() -> None:
    scaler = GradScaler(init_scale=2.0**127, growth_interval=1)
    assert scales(scaler, "GG", stepping(scaler)) == [(2.0**127, 0)] * 2


def test_a_new_scale_is_taken() -> None:
    scaler = GradScaler()
    scaler.update(32.0)
    assert scaler.get_scale() == 32
    scaler.update(tg.tensor(4.0))
    assert scaler.get_scale() == 4


def test_its_numbers_can_be_kept_and_set(tmp_path: Any) -> None:
    scaler = GradScaler(init_scale=16.0, growth_interval=3)
    scales(scaler, "bGG", stepping(scaler))
    state = scaler.state_dict()
    assert state == {"scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3,
                     "_growth_tracker": 2}
    other = GradScaler(growth_factor=5.0)
    other.load_state_dict(state)
    assert other.state_dict() == state and scales(other, "G", stepping(other)) == [(16, 0)]
    tg.save(tmp_path / "state.npz", {name: tg.tensor(value) for name, value in state.items()})
    third = GradScaler()
    third.load_state_dict(tg.load(tmp_path / "state.npz"))
    assert third.state_dict() == state
    third.set_growth_factor(4.0)
    third.set_backoff_factor(0.25)
    third.set_growth_interval(7)
    assert (third.get_growth_factor(), third.get_backoff_factor(), third.get_growth_interval()) == (4.0, 0.25, 7)
    assert repr(third) == "GradScaler(scale=8, enabled=True)"


def test_one_that_is_disabled_lets_everything_pass() -> None:
    w = with_grad(2.0)
    optimizer, scaler = tg.optim.SGD([w], lr=1.0), GradScaler(enabled=False)
    x = leaf(1.0)
    assert scaler.scale(x) is x and scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    scaler.unscale_(optimizer)
    assert scaler.step(optimizer, lambda: 3.0) == 3.0 and w.tolist() == [-1]
    scaler.update()
    scaler.load_state_dict({})
    assert not scaler.is_enabled()


@pytest.mark.peers
@pytest.mark.parametrize("goods", ["GGGGGG", "GbGGGbbGGGG", "bGGbGGG"])
def test_it_does_what_pytorchs_does(goods: str) -> None:
    torch = pytest.importorskip("torch")
    options = dict(init_scale=1024.0, growth_factor=4.0, backoff_factor=0.5, growth_interval=2)
    ours, theirs = GradScaler(**options), torch.amp.GradScaler("cpu", **options)
    w, v = leaf(1.0, -2.0), torch.tensor([1.0, -2.0], requires_grad=True)
    first, second = tg.optim.Adam([w], lr=0.1), torch.optim.Adam([v], lr=0.1)

    def step(scaler: Any, optimizer: Any, p: Any, good: bool) -> None:
        optimizer.zero_grad()
        scaler.scale((p * p).sum() * (1.0 if good else inf)).backward()
        scaler.step(optimizer)

    for good in goods:
        found = scales(ours, good, lambda good: step(ours, first, w, good))
        assert found == scales(theirs, good, lambda good: step(theirs, second, v, good))
        np.testing.assert_allclose(w.detach().numpy(), v.detach().numpy(), rtol=1e-6)
    assert ours.state_dict() == theirs.state_dict()


# ---- traced -----------------------------------------------------------------------------------------------------


def trained(make: Callable, own_unscale: bool, steps: int = 12
            ) -> tuple[Any, list[tuple[float, float]], list[np.ndarray]]:
    """A scaled step in float16 whose gradients overflow now and then: (step, losses and scales, parameters)."""
    tg.manual_seed(0)
    model = tg.nn.Sequential(tg.nn.Linear(8, 16), tg.nn.Tanh(), tg.nn.Linear(16, 4))
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
    scaler = GradScaler(init_scale=2.0**15, growth_interval=3)

    @make
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        with tg.autocast("float16"):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        if own_unscale:
            scaler.unscale_(optimizer)
            tg.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    x, y = np.random.default_rng(0).standard_normal((12, 5, 8)).astype(np.float32), tg.tensor([0, 1, 2, 3, 0])
    seen = []
    for k in range(steps):
        loss = step(tg.tensor(x[k] * (1e6 if k in (3, 9) else 1)), y)
        seen.append((loss.item(), scaler.get_scale()))
    return step, seen, [p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("own_unscale", [False, True])
def test_a_scaled_step_is_one_native_call_without_a_branch(own_unscale: bool) -> None:
    _, expected, parameters = trained(lambda f: f, own_unscale)
    step, found, theirs = trained(tg.trace, own_unscale)
    assert step.stats.recordings == 1 and step.stats.replays == 11, step.explain()
    assert "1 path, 11 replays" in str(step.explain())
    assert [s for _, s in found] == [s for _, s in expected] and {2.0**15, 2.0**16} <= {s for _, s in found}
    np.testing.assert_allclose([loss for loss, _ in found], [loss for loss, _ in expected], rtol=1e-3)
    for p, q in zip(theirs, parameters):
        np.testing.assert_allclose(p, q, rtol=1e-3, atol=1e-5)


@needs_triton
def test_a_scaled_step_of_the_gpu_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernels run in Triton's interpreter, products of f16 and the select of a bad step among them."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    _, expected, parameters = trained(lambda f: f, False, 5)
    step, found, theirs = trained(partial(tg.trace, target="triton_gpu"), False, 5)
    assert "1 path, 4 replays" in str(step.explain())
    assert [s for _, s in found] == [s for _, s in expected]
    for p, q in zip(theirs, parameters):
        np.testing.assert_allclose(p, q, rtol=1e-3, atol=1e-5)


def test_what_is_changed_between_steps_is_seen() -> None:
    w = leaf(1.0)
    optimizer, scaler = tg.optim.SGD([w], lr=0.0), GradScaler(init_scale=8.0, growth_interval=1)

    @tg.trace
    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad()
        scaled = scaler.scale((w * x).sum())
        scaled.backward()
        scaler.step(optimizer)
        scaler.update()
        return scaled

    x = tg.tensor([1.0])
    assert [step(x).item() for _ in range(4)] == [8, 16, 32, 64]
    scaler.update(1.0)
    scaler.set_growth_factor(3.0)
    assert [step(x).item() for _ in range(3)] == [1, 3, 9]
    scaler.load_state_dict(GradScaler(init_scale=2.0, growth_interval=2).state_dict())
    assert [step(x).item() for _ in range(4)] == [2, 2, 4, 4]


def test_parts_of_a_step_in_functions_of_their_own() -> None:
    """What is left between them is Python's, so they are followed or eager, and right."""
    w, x = leaf(3.0), tg.tensor([2.0])
    optimizer, scaler = tg.optim.SGD([w], lr=0.25), GradScaler(init_scale=4.0, growth_interval=100)

    @tg.trace
    def forward(x: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = (w * x).sum()
        scaler.scale(loss).backward()
        return loss

    @tg.trace
    def finish() -> None:
        scaler.step(optimizer)
        scaler.update()

    values = []
    for _ in range(4):
        forward(x)
        finish()
        values.append(w.item())
    assert values == [2.5, 2.0, 1.5, 1.0]
    assert forward.stats.replays >= 2 and finish.stats.replays >= 2
