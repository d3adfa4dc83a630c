"""checkpoint, saved_tensors_hooks, saved_bytes: what is kept for backward, and what is computed again."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.autograd import Function, grad, gradcheck, gradgradcheck, saved_bytes, saved_tensors_hooks
from tracegrad.checkpointing import CheckpointError


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    numbers = np.random.default_rng(seed).standard_normal(shape)
    return tg.tensor(numbers, dtype=tg.float64, requires_grad=True)


def block(x: tg.Tensor, w: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
    return x + tg.tanh(x @ w).exp() @ v / 8


def as_written(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def gradients(run: Callable[..., Any], order: int = 1) -> list[np.ndarray]:
    """Of a sum over two blocks, to every weight; of the second order, of the sum of their squares."""
    x, ws = leaf(5, 4), [leaf(4, 4, seed=k) for k in range(4)]
    y = run(block, run(block, x, *ws[:2]), *ws[2:]).sum()
    found: Any = grad(y, [x, *ws], create_graph=order == 2)
    if order == 2:
        found = grad(sum((g * g).sum() for g in found), [x, *ws])
    return [g.array for g in found]


@pytest.mark.parametrize("order", [1, 2])
def test_the_same_gradients(order: int) -> None:
    for a, b in zip(gradients(as_written, order), gradients(tg.checkpoint, order), strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_derivatives_are_right() -> None:
    f = lambda x, w: tg.checkpoint(lambda x: tg.tanh(x @ w), x).sum()       # noqa: E731 - w is found, not given
    points = leaf(3, 2), leaf(2, 2, seed=1)
    assert gradcheck(f, points) and gradgradcheck(f, points)


def test_what_is_kept() -> None:
    ws = [leaf(64, 64, seed=k) for k in range(8)]

    def loss(run: Callable[..., Any]) -> tg.Tensor:
        x = tg.ones(100, 64, dtype=tg.float64)
        for k in range(0, 8, 2):
            x = run(block, x, ws[k], ws[k + 1])
        return x.sum()

    one = 100 * 64 * 8
    assert saved_bytes(loss(tg.checkpoint)) <= 4 * one
    assert saved_bytes(loss(as_written)) >= 11 * one


def test_the_function_runs_twice_and_no_more() -> None:
    runs = []

    def f(x: tg.Tensor) -> tg.Tensor:
        runs.append(tg.is_grad_enabled())
        return tg.sin(tg.exp(x)).cos()

    x = leaf(3)
    y = tg.checkpoint(f, x)
    y.sum().backward(retain_graph=True)
    assert runs == [True, True]
    y.sum().backward()
    assert len(runs) == 3 and x.grad is not None
    with tg.no_grad():
        tg.checkpoint(f, x)
    assert len(runs) == 4


def test_the_same_random_numbers_are_drawn() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return (tg.rand(*x.shape, dtype=tg.float64) * x).exp()

    x = leaf(100)
    found = []
    for run in (as_written, tg.checkpoint):
        tg.manual_seed(3)
        y = run(f, x)
        after = tg.rand(1).item()
        g, = grad(y.sum(), x)
        found.append((g.array, after, tg.rand(1).item()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


def test_nested() -> None:
    def outer(x: tg.Tensor, *ws: tg.Tensor) -> tg.Tensor:
        return tg.checkpoint(block, tg.checkpoint(block, x, *ws[:2]), *ws[2:])

    x, ws = leaf(5, 4), [leaf(4, 4, seed=k) for k in range(4)]
    y = tg.checkpoint(outer, x, *ws).sum()
    found = [g.array for g in grad(y, [x, *ws])]
    for a, b in zip(gradients(as_written), found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_containers_keywords_and_results_in_containers() -> None:
    def f(xs: list[tg.Tensor], *, scale: dict[str, tg.Tensor], n: int) -> dict[str, Any]:
        return {"y": (xs[0] * scale["s"]).exp() ** n, "n": n}

    x, s = leaf(3), leaf(3, seed=1)
    plain, again = f([x], scale={"s": s}, n=2), tg.checkpoint(f, [x], scale={"s": s}, n=2)
    assert again["n"] == 2
    for a, b in zip(grad(plain["y"].sum(), (x, s)), grad(again["y"].sum(), (x, s))):
        assert a.tolist() == b.tolist()


def test_arguments_that_are_overwritten_later() -> None:
    w = leaf(3)
    x = w * 2
    y = tg.checkpoint(lambda x: x.exp().sin(), x)
    expected, = grad((w * 2).exp().sin().sum(), w)
    with tg.no_grad():
        x.zero_()
    assert grad(y.sum(), w)[0].tolist() == expected.tolist()


def test_in_place_inside() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        z = y.exp()
        y.mul_(3)
        return (y * z).sin()

    x = leaf(3)
    assert grad(tg.checkpoint(f, x).sum(), x)[0].tolist() == grad(f(x).sum(), x)[0].tolist()


def test_a_weight_that_was_changed_in_between() -> None:
    w, x = leaf(3), leaf(3, seed=1)
    y = tg.checkpoint(lambda x: (x + w).exp(), x).sum()
    with tg.no_grad():
        w.mul_(2)
    with pytest.raises(CheckpointError, match=r"checkpoint at test_checkpointing.py:\d+: a tensor of shape \[3\] "):
        y.backward()


def test_a_function_that_does_something_else_the_second_time() -> None:
    turns = iter(range(10))

    def f(x: tg.Tensor) -> tg.Tensor:
        for _ in range(2 + next(turns)):
            x = x.sin()
        return x

    y = tg.checkpoint(f, leaf(3)).sum()
    with pytest.raises(CheckpointError, match="saved 2 values for backward when it ran again, and 1 before"):
        y.backward()


def test_a_custom_function_inside() -> None:
    class Sine(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return g * x.cos()

    f = lambda x: tg.checkpoint(lambda x: Sine.apply(x * 2).exp(), x)       # noqa: E731
    assert gradcheck(f, leaf(3)) and gradgradcheck(f, leaf(3))


def test_under_transforms() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return (tg.tanh(x) ** 2).sum()

    def again(x: tg.Tensor) -> tg.Tensor:
        return tg.checkpoint(f, x)

    one, many, func = leaf(3).detach(), leaf(4, 3).detach(), tg.func
    for transform, x in ((func.grad, one), (func.hessian, one), (lambda f: func.jacrev(func.jacrev(f)), one),
                         (lambda f: func.vmap(func.hessian(f)), many),
                         (lambda f: func.hessian(lambda xs: func.vmap(f)(xs).sum()), many)):
        np.testing.assert_allclose(transform(again)(x).array, transform(f)(x).array, rtol=1e-12)


def test_a_derivative_taken_inside() -> None:
    def penalty(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        y = (tg.tanh(x @ w) ** 2).sum()
        g, = grad(y, w, create_graph=True)
        return (g * g).sum() + y

    x, w = leaf(5, 3), leaf(3, 3, seed=1)
    for a, b in zip(grad(tg.checkpoint(penalty, x, w), (x, w)), grad(penalty(x, w), (x, w)), strict=True):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-12)
    traced = tg.trace(lambda x, w: grad(tg.checkpoint(penalty, x, w), (x, w)))
    for _ in range(3):
        for a, b in zip(traced(x, w), grad(penalty(x, w), (x, w)), strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-12)
    assert traced.stats.replays


# ---- in traces --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_a_traced_step_computes_again(order: int) -> None:
    ws = [leaf(16, 16, seed=k) for k in range(4)]

    def step(run: Callable[..., Any], x: tg.Tensor) -> list[tg.Tensor]:
        y = run(block, run(block, x, *ws[:2]), *ws[2:]).sum()
        found: Any = grad(y, ws, create_graph=order == 2)
        return list(found if order == 1 else grad(sum((g * g).sum() for g in found), ws))

    traced, x = tg.trace(step), leaf(8, 16).detach()
    for _ in range(3):
        for a, b in zip(traced(tg.checkpoint, x), step(as_written, x), strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-8, atol=1e-8)
    assert traced.stats.replays >= 1, traced.explain()
    assert "after" in str(traced.explain(verbose=True))


@pytest.mark.parametrize("order", [1, 2])
def test_a_traced_loss_that_is_returned(order: int) -> None:
    ws = [leaf(16, 16, seed=k) for k in range(8)]

    def loss(run: Callable[..., Any], x: tg.Tensor) -> tg.Tensor:
        for k in range(0, 8, 2):
            x = run(block, x, ws[k], ws[k + 1])
        return x.sum()

    def found(y: tg.Tensor) -> list[tg.Tensor]:
        g: Any = grad(y, ws, create_graph=order == 2)
        return list(g if order == 1 else grad(sum((t * t).sum() for t in g), ws))

    x = leaf(64, 16).detach()
    expected, plain, again = found(loss(as_written, x)), tg.trace(loss), tg.trace(loss)
    for _ in range(3):
        for a, b in zip(found(again(tg.checkpoint, x)), expected, strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-8, atol=1e-8)
        kept = saved_bytes(again(tg.checkpoint, x))
        assert 2 * kept <= saved_bytes(plain(as_written, x))
    assert again.stats.replays >= 3 and plain.stats.replays, again.explain()
    assert kept == 3 * 64 * 16 * 8


def test_a_checkpoint_in_a_checkpoint_of_a_traced_loss() -> None:
    ws = [leaf(8, 8, seed=k) for k in range(4)]

    def outer(x: tg.Tensor) -> tg.Tensor:
        return tg.checkpoint(block, tg.checkpoint(block, x, *ws[:2]), *ws[2:])

    loss = tg.trace(lambda x: tg.checkpoint(outer, x).sum())
    x = leaf(5, 8)
    expected = grad(block(block(x, *ws[:2]), *ws[2:]).sum(), [x, *ws])
    for _ in range(3):
        for a, b in zip(grad(loss(x), [x, *ws]), expected, strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-10)
    assert loss.stats.replays


# ---- hooks of what is saved -------------------------------------------------------------------------------------


def test_hooks_of_saved_tensors() -> None:
    packed: list[Any] = []

    def pack(t: tg.Tensor) -> int:
        assert not t.requires_grad and not tg.is_grad_enabled()
        packed.append(t.numpy().copy())
        return len(packed) - 1

    x = leaf(3)
    with saved_tensors_hooks(pack, lambda k: tg.asarray(packed[k])):
        y = (x * x).exp().sum()
    assert len(packed) == 3 and saved_bytes(y) == 0
    g, = grad(y, x, create_graph=True)
    np.testing.assert_allclose(g.array, 2 * x.array * np.exp(x.array ** 2))
    gg, = grad(g.sum(), x)
    np.testing.assert_allclose(gg.array, (2 + 4 * x.array ** 2) * np.exp(x.array ** 2))


def test_an_argument_that_the_function_also_finds_elsewhere() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 1
        return grad(tg.checkpoint(lambda z: z * y * tg.sin(y), y).sum(), x)[0]

    x = leaf(3)
    expected = grad((x * x * tg.sin(x)).sum(), x)[0]
    traced = tg.trace(f)
    for function in (f, *[traced] * 3):
        np.testing.assert_allclose(function(x).array, expected.array)


def test_hooks_that_return_something_else() -> None:
    x = leaf(3)
    with saved_tensors_hooks(lambda t: None, lambda kept: kept):
        y = x.exp().sum()
    with pytest.raises(TypeError, match=r"unpack returned a NoneType; what was packed is a Tensor \[3\] float64"):
        y.backward()
    with saved_tensors_hooks(lambda t: t, lambda t: t[:2]):
        y = x.exp().sum()
    with pytest.raises(RuntimeError, match=r"unpack returned \[2\] float64"):
        y.backward()


def test_hooks_end_with_their_block_and_nest() -> None:
    seen = []
    x = leaf(3)
    with saved_tensors_hooks(lambda t: seen.append("outer") or t, lambda t: t):
        with saved_tensors_hooks(lambda t: seen.append("inner") or t, lambda t: t):
            x.exp()
        x.exp()
    x.exp()
    assert seen == ["inner", "outer"]
    with saved_tensors_hooks(lambda t: 1 / 0, lambda t: t), pytest.raises(ZeroDivisionError):
        x.exp()
    assert tg.is_grad_enabled()


def test_traced_functions_under_hooks() -> None:
    seen = []
    f = tg.trace(lambda x: x.exp().sum())
    x = leaf(3)
    for _ in range(3):
        f(x)
    with saved_tensors_hooks(lambda t: seen.append(t.shape) or t, lambda t: t):
        y = f(x)
    y.backward()
    assert seen and x.grad.tolist() == x.exp().tolist()


def test_saved_bytes_counts_what_only_the_history_holds() -> None:
    x = leaf(1000)
    y = x.exp()
    z = y.sin().sum()
    assert saved_bytes(z) == 0                  # x and y are in use
    del y
    assert saved_bytes(z) == 8000
    z.backward()
    assert saved_bytes(z) == 0 and saved_bytes(x.detach()) == 0
    f = tg.trace(lambda x: x.exp().sin().sum())
    for _ in range(3):
        z = f(x)
    assert saved_bytes(z) == 8000
