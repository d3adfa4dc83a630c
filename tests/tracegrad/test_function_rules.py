"""`jvp` and `vmap` of custom functions: they are asked where they are there, and agree with what is done without."""
from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import func
from tracegrad.autograd import Function, GradcheckError, grad, gradcheck


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


def test_a_call_that_a_replay_makes_again() -> None:
    class Split(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.save_for_forward(x, x * 7)
            return x ** 3

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return 3 * g * x ** 2

        @staticmethod
        def jvp(ctx, t):
            x, seven = ctx.saved_tensors
            return 3 * t * x * seven

    traced, x = tg.trace(lambda x: Split.apply(x * 1) * 2), X.numpy()
    for _ in range(4):
        np.testing.assert_allclose(func.jvp(traced, (X,), (T,))[1].numpy(), 42 * T.numpy() * x ** 2)
        np.testing.assert_allclose(func.grad(lambda x: traced(x).sum())(X).numpy(), 6 * x ** 2)
    assert traced.stats.replays >= 4


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


def test_gradcheck_of_forward_mode() -> None:
    x, y = X.clone().requires_grad_(), T.clone().requires_grad_()
    assert gradcheck(lambda a, b: MixedWithRule.apply(a, 3, b, I)[0], (x, y), check_forward_ad=True)
    assert gradcheck(lambda z: tg.exp(z) * z.conj(), tg.complex(X, T).requires_grad_(), check_forward_ad=True)
    assert gradcheck(Cube.apply, x)
    with pytest.raises(GradcheckError, match=r"1 of 2 Jacobians is not .*\n +mode  output .*\n  forward +0 +0  3 of 9"):
        gradcheck(Cube.apply, x, check_forward_ad=True)


def test_a_backward_that_forward_modes_cannot_be_derived_from() -> None:
    class InNumPy(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.sin(x)

        @staticmethod
        def backward(ctx, g):
            return tg.asarray(g.detach().numpy() * np.cos(ctx.saved_tensors[0].detach().numpy()))

    class WithRule(InNumPy):
        @staticmethod
        def jvp(ctx, t):
            return t * tg.cos(ctx.saved_tensors[0])

    class Once(InNumPy):
        @staticmethod
        @tg.autograd.once_differentiable
        def backward(ctx, g):
            return g

    class Stopped(InNumPy):
        @staticmethod
        def backward(ctx, g):
            return tg.zeros_like(g)

    for call in (lambda f: func.jvp(f, (X,), (T,)), lambda f: func.jacfwd(f)(X), lambda f: func.linearize(f, X)[1](T)):
        with pytest.raises(RuntimeError, match=r"InNumPy.backward gives gradients that have no history"):
            call(InNumPy.apply)
        with pytest.raises(RuntimeError, match=r"once_differentiable: write it in tensors .* or give it a jvp"):
            call(Once.apply)
    np.testing.assert_allclose(func.jvp(WithRule.apply, (X,), (T,))[1].numpy(), T.numpy() * np.cos(X.numpy()))
    assert not func.jvp(Stopped.apply, (X,), (T,))[1].any()
    np.testing.assert_allclose(func.grad(lambda x: InNumPy.apply(x).sum())(X).numpy(), np.cos(X.numpy()))


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


def left_to_the_collector() -> list[object]:
    """What is in cycles, of tracegrad's types and functions: other threads of the process may leave something, too."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [x for x in gc.garbage if str(getattr(x, "__module__", "")).startswith("tracegrad")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


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
        assert alive() is None and not left_to_the_collector()
    finally:
        gc.enable()


# ---- vmap -------------------------------------------------------------------------------------------------------


class Scaled(Function):
    """x w x; without a vmap of its own."""

    @staticmethod
    def forward(x, w):
        return x * w * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * 2 * x * w, g * x * x


class ScaledWithRule(Scaled):
    @staticmethod
    def vmap(info, in_dims, x, w):
        x, w = (t if axis is None else t.movedim(axis, 0) for t, axis in zip((x, w), in_dims))
        return (x * x * w).movedim(0, -1), -1


class Seven(Scaled):
    """Wrong on purpose: its vmap is seven times forward, to tell who is asked."""

    @staticmethod
    def vmap(info, in_dims, x, w):
        if info.batch_size != 2 or info.randomness != "error":
            raise ValueError(info)
        return 7 * x * w * x, 0


M = tg.stack([X, T])


def for_many(function: type[Function]) -> Callable[[tg.Tensor, tg.Tensor], list[Any]]:
    def f(m: tg.Tensor, x: tg.Tensor) -> list[Any]:
        call = function.apply
        return [
            tg.vmap(lambda a: call(a * 2, x) + a)(m),
            tg.vmap(lambda a: call(x, a), in_axes=1, out_axes=1)(m.T),
            tg.vmap(lambda a: call(call(a, x), a))(m),
            tg.vmap(lambda a: call(x, x) * a)(m),
            tg.vmap(tg.vmap(call, in_axes=(0, None)), in_axes=(None, 0))(m, m),
            tg.vmap(func.grad_and_value(lambda a: call(a, a * x).sum()))(m),
            func.grad(lambda q: tg.vmap(lambda a: call(a, x))(q).sum())(m),
            func.jvp(tg.vmap(lambda a: call(a, x * a)), (m,), (m * 2,)),
            tg.vmap(lambda a: func.jvp(lambda b: call(b, x), (a,), (x,)))(m),
            tg.vmap(func.jacrev(lambda a: call(a, a)))(m),
            tg.vmap(func.hessian(lambda a: call(a, x).sum()))(m),
            func.jacrev(tg.vmap(lambda a: call(a, x)))(m),
            tg.vmap(lambda a: tg.checkpoint(call, a, x))(m),
            tg.vmap(lambda a: call(a, x), chunk_size=1)(m),
            tg.vmap(lambda a: call(a * tg.rand(3, dtype=tg.float64), x) * 0, randomness="different")(m),
        ]
    return f


def test_a_vmap_says_what_is_done_without() -> None:
    expected = flat(for_many(Scaled)(M, X))
    f = for_many(ScaledWithRule)
    traced = tg.trace(f)
    for function in (f, *[traced] * 4):
        found = flat(function(M, X))
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, 1e-10, 1e-12)
    assert traced.stats.replays >= 2, traced.explain()


def test_vmap_asks_the_vmap_of_a_function() -> None:
    def f(m: tg.Tensor, x: tg.Tensor) -> list[tg.Tensor]:
        return [
            tg.vmap(lambda a: Seven.apply(a, x))(m),
            tg.vmap(lambda a: Seven.apply(x, a))(m),
            func.grad(lambda q: tg.vmap(lambda a: Seven.apply(a, x))(q).sum())(m),      # of what its vmap does
            tg.vmap(func.grad(lambda a: Seven.apply(a, x).sum()))(m),                   # its own backward
            tg.vmap(lambda a: Seven.apply(x, x) + 0 * a)(m),                            # the same for all examples
        ]

    m, x = M.numpy(), X.numpy()
    expected = [7 * m * m * x, 7 * x * x * m, 14 * m * x, 2 * m * x, np.stack([x ** 3] * 2)]
    traced = tg.trace(f)
    for function in (f, *[traced] * 4):
        for a, b in zip(function(M, X), expected):
            np.testing.assert_allclose(a.numpy(), b, 1e-10)
    assert traced.stats.replays >= 2
    weighted, w = M.clone().requires_grad_(), X.clone().requires_grad_()
    of_m, of_x = grad(tg.vmap(lambda a: Seven.apply(a, w))(weighted).sum(), (weighted, w))
    np.testing.assert_allclose(of_m.numpy(), 14 * m * x)
    np.testing.assert_allclose(of_x.numpy(), 7 * (m * m).sum(0))


def test_a_vmap_that_calls_its_function() -> None:
    class Recursive(Function):
        @staticmethod
        def forward(x):
            return x ** 3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return 3 * g * ctx.saved_tensors[0] ** 2

        @staticmethod
        def vmap(info, in_dims, x):
            return Recursive.apply(x) * 7, in_dims[0]

    m = M.numpy()
    np.testing.assert_allclose(tg.vmap(Recursive.apply)(M).numpy(), 7 * m ** 3)
    np.testing.assert_allclose(tg.vmap(tg.vmap(Recursive.apply))(M).numpy(), 49 * m ** 3)
    np.testing.assert_allclose(func.grad(lambda q: tg.vmap(Recursive.apply)(q).sum())(M).numpy(), 21 * m ** 2)


def test_a_vmap_of_several_results_and_of_trees() -> None:
    class Several(Function):
        @staticmethod
        def forward(x, weights):
            return x * weights[0], weights[1]["k"]

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def vmap(info, in_dims, x, weights):
            assert in_dims == (0, [0, {"k": None}])
            return (7 * x * weights[0], weights[1]["k"]), (0, None)

    y, k = tg.vmap(lambda a: Several.apply(a, [a * 2, {"k": X}]))(M)
    np.testing.assert_allclose(y.numpy(), 14 * M.numpy() ** 2)
    np.testing.assert_allclose(k.numpy(), np.stack([X.numpy()] * 2))


@pytest.mark.parametrize("found, message", [
    (lambda x: x, r"returned a Tensor: expected \(output, out_dims\)"),
    (lambda x: None, r"returned None \(is there a return\?\): expected \(output, out_dims\)"),
    (lambda x: (3, 0), "returned a int for output: expected a Tensor or a tuple of them"),
    (lambda x: ((x, x), (0,)), "returned 1 out_dims for 2 results"),
    (lambda x: (x, 5), r"returned f64\[2,3\] for result 0, with out_dims 5: expected a Tensor with the 2 examples"),
    (lambda x: (x, 1), r"returned f64\[2,3\] for result 0, with out_dims 1: expected a Tensor with the 2 examples"),
])
def test_what_vmap_returns_is_checked(found: Any, message: str) -> None:
    class Wrong(Scaled):
        @staticmethod
        def vmap(info, in_dims, x, w):
            return found(x)

    def f(m: tg.Tensor) -> Any:
        return tg.vmap(lambda a: Wrong.apply(a, X))(m)

    for function in (f, tg.trace(f)):
        with pytest.raises(RuntimeError, match=r"^test_function_rules\.py:\d+: Wrong.vmap " + message):
            function(M)


def test_nothing_of_a_vmap_stays() -> None:
    def call() -> None:
        tg.vmap(lambda a: Seven.apply(a, X))(M)

    call()
    gc.collect()
    gc.disable()
    try:
        call()
        assert not left_to_the_collector()
    finally:
        gc.enable()


def test_a_vmap_that_writes_to_its_arguments() -> None:
    class Doubled(Function):
        @staticmethod
        def forward(x):
            return x * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def vmap(info, in_dims, x):
            return x.mul_(2), 0

    def f(m: tg.Tensor) -> tg.Tensor:
        return tg.vmap(lambda a: Doubled.apply(a * 1))(m)

    for function in (f, tg.trace(f), tg.vmap(Doubled.apply)):
        with pytest.raises(ValueError, match=r"read-only array; write to a clone\(\)"):
            function(M)
    np.testing.assert_array_equal(M.numpy(), np.stack([X.numpy(), T.numpy()]))


def test_rules_that_do_not_go_together() -> None:
    class Both(Seven):
        generate_vmap_rule = True

    class WithContext(Cube):
        @staticmethod
        def vmap(info, in_dims, x):
            return x ** 3, 0

    with pytest.raises(RuntimeError, match="Both has a vmap, and generate_vmap_rule=True, which asks for another"):
        tg.vmap(Both.apply)(M, M)
    np.testing.assert_allclose(tg.vmap(WithContext.apply)(M).numpy(), M.numpy() ** 3)
    with pytest.raises(RuntimeError, match="WithContext has a vmap, .* setup_context"):
        tg.vmap(func.grad(lambda a: WithContext.apply(a).sum()))(M)
