"""`jvp` of custom functions: forward modes call it, and agree with what they derive where there is none."""
from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import func
from tracegrad.autograd import Function, grad


def values(seed: int, *shape: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape))


class Mixed(Function):
    """x n + y y, an order, a number and 2 x; forward modes derive themselves from backward."""

    @staticmethod
    def forward(x, n, y, i):
        return x * n + y * y, tg.argsort(x), 5, x * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.n, y, _ = inputs
        ctx.save_for_backward(y)
        ctx.save_for_forward(x, y)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, g, of_order, of_number, h):
        y, = ctx.saved_tensors
        return g * ctx.n + 2 * h, None, 2 * y * g, None


class MixedWithRule(Mixed):
    @staticmethod
    def jvp(ctx, of_x, of_n, of_y, of_i):
        if of_n is not None or of_i is not None:
            raise TypeError("neither has a tangent")
        x, y = ctx.saved_tensors
        return of_x * ctx.n + 2 * y * of_y, None, None, of_x * 2


class Cube(Function):
    """Wrong on purpose: its jvp is seven times the derivative, to tell who is asked."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2

    @staticmethod
    def jvp(ctx, t):
        return 21 * t * ctx.saved_tensors[0] ** 2


X, T, S = values(0, 3), values(1, 3), values(2, 3)
I = tg.tensor([0, 1, 2])


def everything(function: type[Function]) -> Callable[[tg.Tensor, tg.Tensor, tg.Tensor], Any]:
    def f(x: tg.Tensor, t: tg.Tensor, s: tg.Tensor) -> Any:
        def both(a: tg.Tensor, b: tg.Tensor) -> Any:
            first, *_, last = function.apply(a, 3, b, I)
            return first * last, function.apply(b, 2, a * first, I)[0]

        return [
            func.jvp(lambda a: function.apply(a, 3, t, I)[0], (x,), (s,)),
            func.jvp(lambda a: function.apply(t, 3, a, I)[0], (x,), (s,)),
            func.jvp(lambda a: function.apply(a, 3, a, I)[3], (x,), (s,)),
            func.jvp(both, (x, t), (t, s)),
            func.jacfwd(both, argnums=(0, 1))(x, t),
            func.linearize(both, x, t)[1](s, t),
            func.jacfwd(lambda a: function.apply(t, 3, s, I)[0])(x),
            func.hessian(lambda a: both(a, a * t)[1].sum())(x),
            func.jacfwd(func.jacfwd(lambda a: both(a, t)[0]))(x),
            func.grad(lambda a: func.jvp(both, (a, t), (s, a))[1][0].sum())(x),
            func.jvp(tg.vmap(lambda a: function.apply(a, 3, a, I)[0] * a), (tg.stack([x, t]),), (tg.stack([t, s]),)),
            tg.vmap(lambda a, v: func.jvp(lambda b: both(b, b * t), (a,), (v,)))(tg.stack([x, t]), tg.stack([t, s])),
            func.jvp(lambda a: tg.checkpoint(lambda b: function.apply(b, 3, a, I)[0] * b, a), (x,), (s,)),
        ]
    return f


def flat(tree: Any) -> list[np.ndarray]:
    return [np.array(t.numpy()) for t in flat_tensors(tree)]


def flat_tensors(tree: Any) -> list[tg.Tensor]:
    return [tree] if isinstance(tree, tg.Tensor) else [t for part in tree for t in flat_tensors(part)]


def test_a_jvp_says_what_forward_modes_derive() -> None:
    expected = flat(everything(Mixed)(X, T, S))
    f = everything(MixedWithRule)
    traced = tg.trace(f)
    for function in (f, *[traced] * 4):
        found = flat(function(X, T, S))
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, 1e-10, 1e-12)
    assert traced.stats.replays >= 2, traced.explain()


def test_forward_modes_ask_jvp_and_reverse_modes_backward() -> None:
    def f(x: tg.Tensor, t: tg.Tensor) -> list[tg.Tensor]:
        return [
            func.jvp(Cube.apply, (x,), (t,))[1],
            tg.diagonal(func.jacfwd(Cube.apply)(x)),
            func.linearize(Cube.apply, x)[1](t),
            func.jvp(lambda a: func.jvp(Cube.apply, (a,), (t,))[1], (x,), (t,))[1],
            func.grad(lambda a: func.jvp(Cube.apply, (a,), (t,))[1].sum())(x),
            func.vjp(Cube.apply, x)[1](t),
            tg.diagonal(func.jacrev(Cube.apply)(x)),
            func.hvp(lambda a: Cube.apply(a).sum(), x, t),
        ]

    x, t = X.numpy(), T.numpy()
    seven = [21 * x * x * t, 21 * x * x, 21 * x * x * t, 42 * x * t * t, 42 * x * t]
    expected = [*seven, 3 * x * x * t, 3 * x * x, 6 * x * t]
    traced = tg.trace(f)
    for function in (f, *[traced] * 4):
        for a, b in zip(function(X, T), expected):
            np.testing.assert_allclose(a.numpy(), b, 1e-10)
    assert traced.stats.replays >= 2


def test_a_tangent_has_a_history() -> None:
    x, t = X.clone().requires_grad_(), T.clone().requires_grad_()
    tangent = func.jvp(Cube.apply, (x,), (t,))[1]
    of_x, of_t = grad(tangent.sum(), (x, t))
    np.testing.assert_allclose(of_x.numpy(), 42 * X.numpy() * T.numpy())
    np.testing.assert_allclose(of_t.numpy(), 21 * X.numpy() ** 2)


def test_a_function_with_a_jvp_alone() -> None:
    class Forward(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.set_materialize_grads(False)
            ctx.save_for_forward(y)
            return x * y

        @staticmethod
        def jvp(ctx, of_x, of_y):
            assert of_y is None and ctx.needs_input_grad == (True, False)
            return of_x * ctx.saved_tensors[0]

    y, t = func.jvp(lambda x: Forward.apply(x, T), (X,), (S,))
    np.testing.assert_allclose(t.numpy(), S.numpy() * T.numpy())
    with pytest.raises(NotImplementedError, match="Forward defines no backward"):
        func.grad(lambda x: Forward.apply(x, T).sum())(X)


def test_complex_tangents() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z * 1j

        @staticmethod
        def backward(ctx, g):
            return (2j * ctx.saved_tensors[0]).conj() * g

        @staticmethod
        def jvp(ctx, t):
            return 2j * ctx.saved_tensors[0] * t

    z, t = tg.complex(X, T), tg.complex(S, X)
    np.testing.assert_allclose(func.jvp(Square.apply, (z,), (t,))[1].numpy(), 2j * z.numpy() * t.numpy())
    np.testing.assert_allclose(func.jvp(lambda z: z * z * 1j, (z,), (t,))[1].numpy(), 2j * z.numpy() * t.numpy())


@pytest.mark.parametrize("found, error, message", [
    (lambda t: (t, None), RuntimeError, "Wrong.jvp returned 2 values: expected a tangent for each of the 4 results"),
    (lambda t: None, RuntimeError, r"Wrong.jvp returned None \(is there a return\?\): expected a tangent for each"),
    (lambda t: (t[:1], None, None, t), RuntimeError, r"a tangent of shape \[1\] for result 0: expected \[3\]"),
    (lambda t: (t, t, None, t), RuntimeError, "a tangent for result 1, which has no derivative: expected None"),
    (lambda t: (t, None, t, t), RuntimeError, "a tangent for result 2, which has no derivative: expected None"),
    (lambda t: (1.0, None, None, t), TypeError, "returned a float for result 0: expected a Tensor or None"),
])
def test_what_jvp_returns_is_checked(found: Any, error: type[Exception], message: str) -> None:
    class Wrong(Mixed):
        @staticmethod
        def jvp(ctx, t, *rest):
            return found(t)

    def f(x: tg.Tensor) -> Any:
        return func.jvp(lambda a: Wrong.apply(a, 3, a, I)[0], (x,), (x,))

    for function in (f, tg.trace(f)):
        with pytest.raises(error, match=r"^test_function_rules\.py:\d+: .*" + message):
            function(X)


def test_nothing_of_a_forward_mode_stays() -> None:
    x = X.clone().requires_grad_()
    y = Cube.apply(x)
    alive = weakref.ref(y.grad_fn)
    gc.collect()
    gc.disable()
    try:
        del y
        push = func.linearize(Cube.apply, x)[1]
        kept = push(T)
        del push, kept
        assert alive() is None and not gc.collect()
    finally:
        gc.enable()
