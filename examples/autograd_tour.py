"""Derivatives of one's own, and what else autograd does: each step as plain Python, then traced and replayed.

    python -m examples.autograd_tour

Every program is run eagerly for what it should give, and then several times traced: the results must be the same, and
the last calls replays of what was recorded.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad.autograd import Function


class Multiply(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b, g * a


class ReLU(Function):
    """The gradient is masked in place."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        g = g.clone()
        g[x < 0] = 0
        return g


class Cell(Function):
    """One step of a recurrent network: tanh(x wx + h wh + b)."""

    @staticmethod
    def forward(ctx, x, h, wx, wh, b):
        new = tg.tanh(x @ wx + h @ wh + b)
        ctx.save_for_backward(x, h, wx, wh, new)
        return new

    @staticmethod
    def backward(ctx, g):
        x, h, wx, wh, new = ctx.saved_tensors
        g = g * (1 - new * new)
        return g @ wx.T, g @ wh.T, x.T @ g, h.T @ g, g.sum(axis=0)


class OnSign(Function):
    """Both ways ask for a value in Python."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2 if x.sum() > 0 else x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 2 if x.sum() > 0 else 2 * g * x


class Cube(Function):
    """x ** 3, whose second derivative is given, too."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 3 * x ** 2 * g

    @staticmethod
    def double_backward(ctx, gg):
        x, = ctx.saved_tensors
        return 6 * x * gg


class Power(Function):
    """x ** n; n is a number, and has no gradient."""

    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x)
        ctx.n = n
        return x ** n

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * ctx.n * x ** (ctx.n - 1), None


def gradients(loss: tg.Tensor, *leaves: tg.Tensor) -> list[tg.Tensor]:
    return list(tg.autograd.grad(loss, leaves))


def product(a, b):
    return gradients(a * b, a, b)


def custom_product(a, b):
    return gradients(Multiply.apply(a, b).sum(), a, b)


def custom_relu(x):
    return gradients(ReLU.apply(x).sum(), x)


def recurrence(xs, wx, wh, b):
    h = tg.zeros(2, 4)
    for x in xs:
        h = Cell.apply(x, h, wx, wh, b)
    return gradients((h * h).sum(), wx, wh, b)


def on_sign(x):
    return gradients(OnSign.apply(x).sum(), x)


def second_derivative(x):
    g, = tg.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    return gradients(g.sum(), x)


def power(x, n):
    return gradients(Power.apply(x, n), x)


def by_name(x):
    return gradients(tg.ops.tour_relu(x).sum(), x)


def expensive(x, w):
    for _ in range(8):
        x = tg.tanh(x @ w) + x
    return x


def checkpointed(x, w):
    return gradients((tg.checkpoint(expensive, x, w) ** 2).sum(), w)


class Network(tg.nn.Module):
    """One whose weights are edited and whose layers are replaced and added between calls."""

    def __init__(self):
        super().__init__()
        self.layers = tg.nn.ModuleList([tg.nn.Linear(3, 4), tg.nn.Linear(4, 2)])

    def forward(self, x):
        for layer in self.layers:
            x = tg.tanh(layer(x))
        return x


def leaf(*shape: int) -> tg.Tensor:
    return (tg.randn(*shape) * 0.5).requires_grad_()


def same(a: Any, b: Any) -> bool:
    return all(np.allclose(x.numpy(), y.numpy(), rtol=1e-4, atol=1e-5) for x, y in zip(a, b, strict=True))


def show(name: str, program: Callable[..., list[tg.Tensor]], *calls: tuple[Any, ...]) -> None:
    """Run a program with each of these arguments, eagerly and traced, and say what it gave."""
    traced = tg.trace(program)
    for _ in range(4):
        for args in calls:
            found, expected = traced(*args), program(*args)
            assert same(found, expected), f"{name}: {found} instead of {expected}"
    assert traced.stats.replays >= 2 * len(calls), traced.explain()
    first = ", ".join(f"{g.item():g}" if g.size == 1 else f"{np.round(g.numpy().ravel()[:5], 3).tolist()}"
                      for g in program(*calls[0]))
    print(f"{name:<34} {traced.stats.recordings} recorded, {traced.stats.replays:>2} replayed   {first[:60]}")


def network() -> None:
    """Every edit is seen by the next call."""
    model, x = Network(), tg.randn(5, 3)
    traced = tg.trace(lambda x: model(x).sum().detach())

    def edit_weight() -> None:
        with tg.no_grad():
            model.layers[0].weight[0] = 3.0

    def replace_layer() -> None:
        model.layers[1] = tg.nn.Linear(4, 2)

    def add_layer() -> None:
        model.layers.append(tg.nn.Linear(2, 2))

    for edit in (edit_weight, replace_layer, add_layer):
        for _ in range(3):
            assert np.allclose(traced(x).item(), model(x).sum().item(), rtol=1e-5)
        edit()
        assert np.allclose(traced(x).item(), model(x).sum().item(), rtol=1e-5), edit.__name__
    print(f"{'a network that is edited':<34} {traced.stats.recordings} recorded, {traced.stats.replays:>2} replayed")


def main() -> None:
    tg.manual_seed(0)
    number = lambda value: tg.tensor(float(value), requires_grad=True)      # noqa: E731
    show("a product at (1, 2)", product, (number(1), number(2)))
    show("a custom product", custom_product, (leaf(3), leaf(3)))
    show("a custom ReLU", custom_relu, (tg.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], requires_grad=True),))
    weights = leaf(3, 4), leaf(4, 4), leaf(4)
    show("a recurrent cell, 2, 3 and 5 steps", recurrence, *(([tg.randn(2, 3) for _ in range(n)], *weights)
                                                             for n in (2, 3, 5)))
    show("branches in forward and backward", on_sign, *((tg.tensor(x, requires_grad=True),)
                                                        for x in ([1.0, 2.0], [-1.0, -2.0])))
    show("a second derivative of one's own", second_derivative, (leaf(3),))
    x = tg.tensor([0.5, -1.5], dtype=tg.float64, requires_grad=True)
    assert tg.autograd.gradcheck(Cube.apply, x) and tg.autograd.gradgradcheck(Cube.apply, x)
    show("2 ** 3, whose gradient is 12", power, (number(2), 3))
    tg.autograd.register_function("tour_relu", ReLU)
    show("a function called by its name", by_name, (leaf(4),))
    show("a checkpointed function", checkpointed, (tg.randn(16, 8), leaf(8, 8)))
    network()


if __name__ == "__main__":
    main()
