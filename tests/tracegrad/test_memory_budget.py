"""trace(memory_budget=...): the same results in fewer bytes, and what `explain` says of it."""
from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.autograd import saved_bytes

ROWS, WIDTH, LAYERS = 128, 32, 12
ACTIVATION = 4 * ROWS * WIDTH


def weights(layers: int = LAYERS) -> list[Any]:
    rng = np.random.default_rng(0)
    return [tg.tensor(rng.normal(size=shape).astype(np.float32) * 0.2, requires_grad=True)
            for _ in range(layers) for shape in ((WIDTH, WIDTH), (WIDTH,))]


def rows(count: int = ROWS) -> Any:
    return tg.tensor(np.random.default_rng(count).normal(size=(count, WIDTH)).astype(np.float32))


def residual(params: list[Any], x: Any) -> Any:
    for w, b in zip(params[::2], params[1::2]):
        x = x + tg.tanh(x @ w + b)
    return (x * x).mean()


def dropping(params: list[Any], x: Any) -> Any:
    for w, b in zip(params[::2], params[1::2]):
        mean = x.mean(axis=-1, keepdims=True)
        x = tg.nn.functional.dropout(x + tg.tanh((x - mean) @ w + b), 0.1)
    return (x * x).mean()


def trained(loss: Callable[..., Any], budget: int | None, steps: int = 4) -> tuple[Any, list[Any]]:
    """The traced step, and the losses and weights after some of them."""
    params, x = weights(), rows()
    optimizer = tg.optim.SGD(params, lr=0.05, momentum=0.9)
    tg.manual_seed(3)

    @tg.trace(memory_budget=budget, strict=True)
    def step(x):
        optimizer.zero_grad()
        y = loss(params, x)
        y.backward()
        optimizer.step()
        return y.detach()

    found = [step(x).item() for _ in range(steps)]
    assert step.stats.replays >= steps - 2
    return step, [*found, *(p.detach().numpy().tobytes() for p in params)]


def arena(f: Any) -> int:
    return max(root.executable.arena_bytes for root in f._tree.roots)


@pytest.mark.parametrize("loss", [residual, dropping])
def test_a_step_gives_the_same_bits_in_fewer_bytes(loss: Callable[..., Any]) -> None:
    whole, expected = trained(loss, None)
    for part in (0.8, 0.5):
        budget = int(part * arena(whole))
        step, found = trained(loss, budget)
        assert arena(step) <= budget < arena(whole) and found == expected
        assert any(kernel.summary.startswith("again: ") for kernel in step.explain().kernels)


def test_what_is_checked_in_the_end_does_not_hold_up_the_rest() -> None:
    """The gradient of an embedding is scattered last, and what is checked comes first where there is room."""
    def trained(part: float | None, whole: int = 0) -> tuple[int, list[Any]]:
        tg.manual_seed(0)
        layers = [tg.nn.Embedding(50, 32), *(tg.nn.Linear(32, 32) for _ in range(6))]
        norm = tg.nn.LayerNorm(32)
        params = [p for layer in (*layers, norm) for p in layer.parameters()]
        optimizer = tg.optim.SGD(params, lr=0.01)

        @tg.trace(memory_budget=None if part is None else int(part * whole), strict=True)
        def step(x):
            optimizer.zero_grad()
            x = layers[0](x)
            for layer in layers[1:]:
                x = x + tg.nn.functional.gelu(layer(norm(x)))
            loss = (x * x).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        x = tg.tensor(np.random.default_rng(0).integers(0, 50, (16, 20)))
        found = [step(x).item() for _ in range(3)]
        return arena(step), [*found, *(p.detach().numpy().tobytes() for p in params)]

    whole, expected = trained(None)
    used, found = trained(0.7, whole)
    assert used <= 0.7 * whole and found == expected


def test_what_explain_says() -> None:
    step, _ = trained(residual, 10 ** 9)
    (trace,) = step.explain().traces
    assert trace.memory[0].endswith("of a budget of 953.7 MB") and "repeat" not in str(step.explain())
    budget = arena(step) // 2
    step, _ = trained(residual, budget)
    (trace,) = step.explain().traces
    assert "steps repeat earlier ones" in trace.memory[0] and ", without one in " in trace.memory[0]
    assert f"memory: {trace.memory[0]}" in str(step.explain())
    step, _ = trained(residual, None)
    assert step.explain().traces[0].memory == () and "memory:" not in str(step.explain())


def test_it_warns_once_where_a_budget_cannot_be_met() -> None:
    with pytest.warns(tg.OverBudget, match=r"step: a native call works in \d+ bytes, .* memory_budget=64 cannot be met"
                      ) as heard:
        step, found = trained(residual, 64)
    assert len(heard) == 1 and heard[0].filename == __file__
    whole, expected = trained(residual, None)
    assert found == expected and arena(step) < 0.5 * arena(whole)
    assert ", which cannot be met" in step.explain().traces[0].memory[0]


@pytest.mark.parametrize("wrong", [-1, -10 ** 12])
def test_a_negative_budget(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"memory_budget is a number of bytes, 0 or more, not {wrong}"):
        tg.trace(residual, memory_budget=wrong)


@pytest.mark.parametrize("wrong", ["1GB", 1e9, True, (1,)])
def test_a_budget_that_is_no_int(wrong: Any) -> None:
    with pytest.raises(TypeError, match="memory_budget is a number of bytes, an int, not "):
        tg.trace(memory_budget=wrong)


def gradients(f: Callable[..., Any], params: list[Any], x: Any) -> list[Any]:
    for p in params:
        p.grad = None
    f(x).backward()
    return [p.grad.numpy() for p in params]


@pytest.mark.filterwarnings("ignore::tracegrad.OverBudget")
def test_a_result_keeps_so_many_bytes_for_its_backward() -> None:
    params, x = weights(), rows()
    kept, found = [], []
    for budget in (None, 8 * ACTIVATION, 3 * ACTIVATION, 0):
        f = tg.trace(lambda x: residual(params, x), memory_budget=budget, strict=True)
        for _ in range(2):
            f(x)
        kept.append(saved_bytes(f(x)))
        found.append(gradients(f, params, x))
        assert f.stats.replays == 3
    assert kept[0] > kept[1] > kept[2] > kept[3] == 0
    assert kept[1] <= 8 * ACTIVATION and kept[2] <= 3 * ACTIVATION
    for other in found[1:]:
        for g, h in zip(found[0], other):
            np.testing.assert_allclose(g, h, rtol=1e-5, atol=1e-7)
    assert "keeps 0 bytes for backward of " in f.explain().traces[0].memory[0]


@pytest.mark.filterwarnings("ignore::tracegrad.OverBudget")
def test_what_was_drawn_is_drawn_again() -> None:
    params, x, found = weights(), rows(), []
    for budget in (None, 4 * ACTIVATION, 0):
        tg.manual_seed(5)
        f = tg.trace(lambda x: dropping(params, x), memory_budget=budget, strict=True)
        for _ in range(2):
            f(x)
        found.append(gradients(f, params, x))
        assert f.stats.replays == 2
    for other in found[1:]:
        for g, h in zip(found[0], other):
            np.testing.assert_allclose(g, h, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::tracegrad.OverBudget")
def test_second_derivatives_of_what_keeps_little() -> None:
    def second(budget: int | None) -> np.ndarray:
        x = tg.tensor(np.linspace(-1, 1, 64), requires_grad=True)
        f = tg.trace(lambda x: tg.exp(tg.sin(x) * tg.tanh(x)).sum(), memory_budget=budget, strict=True)
        for _ in range(2):
            f(x)
        g, = tg.autograd.grad(f(x), x, create_graph=True)
        return tg.autograd.grad((g * g).sum(), x)[0].numpy()
    np.testing.assert_allclose(second(0), second(None), rtol=1e-12)


@pytest.mark.filterwarnings("ignore::tracegrad.OverBudget")
def test_sizes_that_change_stay_within_it() -> None:
    params = weights()
    optimizer = tg.optim.SGD(params, lr=0.0)

    def step(x):
        optimizer.zero_grad()
        y = residual(params, x)
        y.backward()
        optimizer.step()
        return y.detach()

    whole = tg.trace(step, strict=True)
    for count in (64, 96, 96):
        whole(rows(count))
    budget = arena(whole)
    f = tg.trace(step, memory_budget=budget, strict=True)
    for count in (64, 96, 96, 64, 80, 128, 128, 96, 160, 160):
        np.testing.assert_allclose(f(rows(count)).item(), residual(params, rows(count)).item(), rtol=1e-5)
    arenas = {root.executable.inputs[0].shape[0]: root.executable.arena_bytes for root in f._tree.roots}
    assert f.stats.replays >= 4 and all(used <= budget for used in arenas.values())
    assert "repeat earlier ones" in str(f.explain())


@pytest.mark.filterwarnings("ignore::tracegrad.OverBudget")
def test_results_at_other_sizes_keep_no_more() -> None:
    params, budget = weights(), 4 * 4 * 64 * WIDTH
    f = tg.trace(lambda x: residual(params, x), memory_budget=budget, strict=True)
    for count in (16, 24, 24, 512, 512, 512):
        x = rows(count)
        y = f(x)
        expected = gradients(lambda x: residual(params, x), params, rows(count))
        for g, h in zip(gradients(f, params, rows(count)), expected):
            np.testing.assert_allclose(g, h, rtol=1e-4, atol=1e-6)
    assert f.stats.replays >= 6 and saved_bytes(y) <= budget
    assert f.explain().traces[0].sizes


class Square(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 2 * g * x


@pytest.mark.filterwarnings("ignore::tracegrad.OverBudget")
def test_what_a_custom_function_takes_part_in_is_kept_at_all_sizes() -> None:
    params = weights(8)

    def loss(x):
        for w in params[::2]:
            x = Square.apply(tg.tanh(x @ w))
        return x.sum()

    f = tg.trace(loss, memory_budget=4 * ACTIVATION)
    for count in (64, 96, 96, 100, 120, 128):
        y = f(rows(count))
        kept = saved_bytes(y)
        y.backward()
    assert (f.stats.recordings, f.stats.replays) == (2, 4) and kept > 4 * ACTIVATION


def test_copies_and_reset_functions_have_it_too() -> None:
    class Model(tg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = tg.nn.Linear(4, 4)

        @tg.trace(memory_budget=10 ** 6)
        def forward(self, x):
            return self.linear(x)

    model = copy.deepcopy(Model())
    assert "of a budget of" not in str(Model.forward.explain())
    model(tg.ones(2, 4))
    assert Model.forward.explain().traces[0].memory[0].startswith("works in 64 bytes of a budget of 976.6 kB")
    Model.forward.reset()
    model(tg.ones(2, 4))
    assert Model.forward.explain().traces[0].memory


def test_a_program_of_another_budget_is_another() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tg.OverBudget)
        arenas = [arena(trained(residual, budget, steps=2)[0]) for budget in (0, None, 0)]
    assert arenas[0] == arenas[2] < arenas[1]
