"""Results of traced functions that are differentiated through custom functions: replayed, as eager ones are."""
from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from custom_functions import Cube, MaskedReLU, Multiply, OnSign, Power, SineCosine

import tracegrad as tg
from tracegrad.autodiff import history
from tracegrad.autograd import Function, custom_op, grad, once_differentiable


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


class Tanh(Function):
    """Its derivative is told by its output."""

    @staticmethod
    def forward(ctx, x):
        y = tg.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return g * (1 - y * y)


class Parts(Function):
    """Keeps much of what it knows as attributes, tensors too."""

    @staticmethod
    def forward(ctx, x, w, names):
        product = x @ w
        ctx.shapes = {"x": x.shape, "names": list(names)}
        ctx.x, ctx.w, ctx.positive = x, w, product > 0
        return tg.where(ctx.positive, product, 0.1 * product)

    @staticmethod
    def backward(ctx, g):
        assert ctx.shapes == {"x": ctx.x.shape, "names": ["a", "b"]}
        g = tg.where(ctx.positive, g, 0.1 * g)
        return g @ ctx.w.T if ctx.needs_input_grad[0] else None, ctx.x.T @ g if ctx.needs_input_grad[1] else None, None


class Softmax(Function):
    """Calls another in its backward, and has an output without a gradient."""

    @staticmethod
    def forward(ctx, x):
        e = tg.exp(x - x.amax(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)
        largest = y.argmax(axis=-1)
        ctx.mark_non_differentiable(largest)
        ctx.save_for_backward(y)
        return y, largest

    @staticmethod
    def backward(ctx, g, _):
        y, = ctx.saved_tensors
        return Multiply.apply(y, g - (g * y).sum(axis=-1, keepdims=True))


@custom_op
def scaled(x, factor):
    return x * factor


@scaled.vjp
def scaled_vjp(g, y, x, factor):
    return g * factor, None


def cubed(x: tg.Tensor) -> tg.Tensor:
    return x * x * x


def residual(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    for _ in range(4):
        x = x + Tanh.apply(x @ w)
    return x


def recurrent(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    h = tg.zeros(4, dtype=tg.float64)
    for row in x:
        h = Tanh.apply(row + h @ w)
    return h


def of_several(x: tg.Tensor, w: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
    s, c = SineCosine.apply(x @ w)
    p, largest = Softmax.apply(c)
    return s, p * s, largest


def changed_in_place(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    y = Tanh.apply(x * w.sum(axis=0))
    z = y * y
    y += x
    y *= 2
    return y @ w + z.sum()


PROGRAMS: list[Callable[..., Any]] = [
    lambda x, w: Multiply.apply(x, w.sum(axis=0)), lambda x, w: MaskedReLU.apply(x @ w),
    lambda x, w: Tanh.apply(x) * w[0],
    lambda x, w: Power.apply(x @ w, 3) * 2, lambda x, w: Cube.apply(x).sum() * w, lambda x, w: OnSign.apply(x @ w),
    lambda x, w: Parts.apply(x * 2, w, ("a", "b")), lambda x, w: scaled(x @ w, 3.0),
    lambda x, w: MaskedReLU.apply(MaskedReLU.apply(x @ w) @ w).sum(), lambda x, w: Multiply.apply(x @ w, x @ w),
    lambda x, w: Tanh.apply(x @ w)[1:], lambda x, w: (Tanh.apply(x), {"again": [Power.apply(x @ w, 2), x.detach()]}),
    lambda x, w: tg.exp(Tanh.apply(x @ w) + x), lambda x, w: tg.tanh(MaskedReLU.apply(tg.exp(x @ w)) @ tg.sigmoid(w)),
    lambda x, w: tg.exp(MaskedReLU.apply(x) + w[0]), lambda x, w: cubed(MaskedReLU.apply(x) + w[0]),
    residual, recurrent, of_several, changed_in_place,
]





def flat(result: Any) -> list[tg.Tensor]:
    if isinstance(result, tg.Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [t for part in parts for t in flat(part)]


def derivatives(f: Callable[..., Any], *args: tg.Tensor) -> list[np.ndarray]:
    """What f gives, its gradients and those of them, all from one graph that is kept."""
    found = flat(f(*args))
    total = sum((t * t).sum() * (k + 1) for k, t in enumerate(found) if t.requires_grad)
    first = grad(total, args, create_graph=True)
    second = grad(sum((g * g * g).sum() for g in first), args, retain_graph=True)
    again = grad(total, args)
    return [t.array.copy() for t in (*found, *first, *second, *again)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_replay_is_differentiated_as_the_eager_run(program: Callable[..., Any]) -> None:
    traced = tg.trace(program)
    for k in range(12):
        x, w = leaf(3, 4, seed=k), leaf(4, 4, seed=100 + k)
        for a, b in zip(derivatives(traced, x, w), derivatives(program, x, w), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert traced.stats.replays >= 8, traced.explain()


def replayed(traced: Any, calls: int = 6) -> None:
    assert traced.stats.replays >= calls - 3, traced.explain()


def test_backward_sees_the_world_as_it_is_then() -> None:
    world: dict[str, Any] = {"scale": 1.0, "calls": 0}

    class Scaled(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            world["calls"] += 1
            return g * world["scale"]

    traced = tg.trace(lambda x: Scaled.apply(x).sum())
    for k in range(6):
        x, world["scale"] = leaf(2), -1.0
        y = traced(x)
        world["scale"] = float(k)
        y.backward()
        assert x.grad.tolist() == [k, k] and world["calls"] == k + 1
    replayed(traced)
    Scaled.backward = staticmethod(lambda ctx, g: g * 7)
    for _ in range(3):
        x = leaf(2)
        y = traced(x)
        y.backward()
        assert x.grad.tolist() == [7, 7] and world["calls"] == 6
        Scaled.backward = staticmethod(lambda ctx, g: g * 7)


def test_backward_draws_random_numbers() -> None:
    class Noisy(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * tg.randn(*g.shape, dtype=tg.float64)

    def drawn(f: Callable[..., Any]) -> list[list[float]]:
        tg.manual_seed(1)
        found = []
        for _ in range(6):
            x = leaf(3)
            f(x).sum().backward()
            found.append(x.grad.tolist())
        return found

    traced = tg.trace(lambda x: Noisy.apply(x))
    assert drawn(traced) == drawn(Noisy.apply)
    replayed(traced)


def test_what_backward_changes_on_ctx_stays_with_the_call() -> None:
    class Counting(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.count, ctx.seen = 0, []
            return x * 2

        @staticmethod
        def backward(ctx, g):
            ctx.count += 1
            ctx.seen.append(ctx.count)
            assert len(ctx.seen) == ctx.count
            return g * ctx.count

    traced = tg.trace(lambda x: Counting.apply(x).sum())
    for _ in range(6):
        x = leaf(2)
        y = traced(x)
        for k in (1, 2, 3):
            assert grad(y, x, retain_graph=True)[0].tolist() == [k, k]
    replayed(traced)


def test_a_graph_that_was_freed() -> None:
    traced = tg.trace(lambda x: MaskedReLU.apply(x * 2))
    for _ in range(6):
        x = leaf(3)
        y = traced(x).sum()
        y.backward()
        with pytest.raises(RuntimeError, match="MaskedReLU: backward through a graph that was freed"):
            y.backward()
    replayed(traced)


def test_a_graph_that_the_run_has_freed() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        y = MaskedReLU.apply(x * x)
        g, = grad(y.sum(), x)
        return y, g

    for k in range(6):
        x = leaf(3, seed=k)
        y, g = f(x)
        np.testing.assert_allclose(g.array, 2 * x.array)
        with pytest.raises(RuntimeError, match="freed"):
            y.sum().backward()
    replayed(f)


def test_what_is_kept_by_the_run_is_differentiated_again() -> None:
    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        y = Tanh.apply(x * x)
        g, = grad(y.sum(), x, create_graph=True)
        return y, g

    traced = tg.trace(f)
    for k in range(6):
        x = leaf(3, seed=k)
        y, g = traced(x)
        expected_y, expected_g = f(x)
        for a, b in ((y, expected_y), (g, expected_g)):
            found, = grad((a * a).sum(), x, retain_graph=True)
            expected, = grad((b * b).sum(), x, retain_graph=True)
            np.testing.assert_allclose(found.array, expected.array, rtol=1e-9)
    replayed(traced)


def test_what_is_saved_stays_what_it_was() -> None:
    class Keeps(Function):
        @staticmethod
        def forward(ctx, x, w):
            y = x * w
            ctx.save_for_backward(x, w, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, w, y = ctx.saved_tensors
            return g * w + y * 0, g * x

    traced = tg.trace(lambda x, w: Keeps.apply(x, w))
    for k in range(8):
        x, w = leaf(3, seed=k), leaf(3, seed=k + 50)
        kept_x, kept_w = x.array.copy(), w.array.copy()
        y = traced(x, w)
        with tg.no_grad():
            x.zero_()
            w *= 5
            y.detach().fill_(7.0)
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.array, kept_w)
        np.testing.assert_array_equal(w.grad.array, kept_x)
    replayed(traced)


def test_hooks_and_kept_grads_of_results() -> None:
    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        y = MaskedReLU.apply(x * 2)
        return y, Tanh.apply(y).sum()

    def called(f: Callable[..., Any], k: int) -> list[list[float]]:
        seen = []
        x = leaf(3, seed=k)
        y, loss = f(x)
        y.retain_grad()
        y.register_hook(lambda g: seen.append(g.tolist()))
        y.grad_fn.register_hook(lambda given, found: seen.append([t.tolist() for t in (*given, *found)]))
        loss.grad_fn.register_prehook(lambda g: (g[0] * 3,))
        loss.backward()
        return [*seen, y.grad.tolist(), x.grad.tolist()]

    traced = tg.trace(f)
    for k in range(6):
        for a, b in zip(called(traced, k), called(f, k), strict=True):
            np.testing.assert_allclose(a, b)
    replayed(traced)


def test_hooks_inside_are_pythons() -> None:
    seen: list[int] = []

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        h = MaskedReLU.apply(x * 2)
        h.register_hook(lambda g: seen.append(1))
        return h * 3

    with pytest.warns(tg.NotReplayed):
        for k in range(5):
            f(leaf(3)).sum().backward()
            assert len(seen) == k + 1


def test_an_output_that_nothing_is_computed_from() -> None:
    seen: list[Any] = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            return x * 1, x * 2, 5

        @staticmethod
        def backward(ctx, ga, gb, gc):
            seen.append((ga, gb, gc))
            return ga if gb is None else ga + 2 * gb, None

    traced = tg.trace(lambda x, materialize: Two.apply(x * 3, materialize))
    for materialize in (True, False) * 6:
        x = leaf(2)
        a, b, five = traced(x, materialize)
        a.sum().backward()
        assert five == 5 and x.grad.tolist() == [3, 3]
        ga, gb, gc = seen.pop()
        assert not seen and gc is None and ga.tolist() == [1, 1]
        assert gb.tolist() == [0, 0] if materialize else gb is None
    assert traced.stats.replays >= 6, traced.explain()


def test_needs_input_grad_is_that_of_each_walk() -> None:
    seen: list[tuple[bool, ...]] = []

    class Sum(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.wanted = ctx.needs_input_grad
            return a + b

        @staticmethod
        def backward(ctx, g):
            seen.append((*ctx.needs_input_grad, *ctx.wanted))
            return g, g

    traced = tg.trace(lambda a, b: Sum.apply(a * 2, b))
    for _ in range(8):
        a, b = leaf(2), leaf(2)
        y = traced(a, b)
        grad(y.sum(), b)
        grad(traced(a, b.detach()).sum(), a)
        assert seen == [(False, True, True, True), (True, False, True, False)]
        seen.clear()
    replayed(traced)


def test_one_that_is_differentiated_once() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return 2 * x * g

    traced = tg.trace(lambda x: Square.apply(x))
    for _ in range(6):
        x = leaf(2)
        g, = grad(traced(x).sum(), x, create_graph=True)
        np.testing.assert_allclose(g.array, 2 * x.array)
        with pytest.raises(RuntimeError, match="marked once_differentiable"):
            grad(g.sum(), x)
    replayed(traced)


def test_state_that_is_carried_from_call_to_call_has_its_history() -> None:
    class Cell(tg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tg.nn.Parameter(leaf(3, 3).detach())
            self.h = tg.zeros(3, dtype=tg.float64)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            self.h = Tanh.apply(x + self.h @ self.w)
            return self.h

    def run(wrap: Callable[..., Any]) -> tuple[np.ndarray, Any]:
        cell = Cell()
        step = wrap(cell.forward)
        for k in range(9):
            y = step(leaf(3, seed=k).detach())
            if k % 3 == 2:
                y.sum().backward()
                cell.h = cell.h.detach()
        return cell.w.grad.array, step

    found, step = run(tg.trace)
    np.testing.assert_allclose(found, run(lambda f: f)[0])
    assert step.stats.replays >= 3, step.explain()


def test_an_argument_changed_in_place() -> None:
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x *= 2
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    traced = tg.trace(lambda x: Double.apply(x * x) + 1)
    for k in range(6):
        x = leaf(3, seed=k)
        traced(x).sum().backward()
        np.testing.assert_allclose(x.grad.array, 4 * x.array)
    replayed(traced)


@pytest.mark.parametrize("nested", [False, True])
def test_numbers_and_sizes_that_change(nested: bool) -> None:
    seen: list[Any] = []

    class Sized(Function):
        @staticmethod
        def forward(ctx, x, n):
            ctx.n, ctx.sizes = n, (x.shape[0], (x.shape, n))
            if nested:
                ctx.sizes = [*ctx.sizes]
            ctx.save_for_backward(x)
            return x * n

        @staticmethod
        def backward(ctx, g):
            seen.append((ctx.n, *ctx.sizes, ctx.saved_tensors[0].shape))
            return g * ctx.n * ctx.sizes[0], None

    traced = tg.trace(lambda x, n: Sized.apply(x + 1, n).sum())
    for k in range(24):
        rows, n = 2 + k % 6, float(k % 7)
        x = leaf(rows, 2)
        traced(x, n).backward()
        assert x.grad.tolist() == [[n * rows] * 2] * rows
        found, count, (shape, again), saved = seen.pop()
        assert [type(v) for v in (found, again, count, *shape)] == [float, float, int, int, int]
        assert (found, again, count, shape, saved) == (n, n, rows, (rows, 2), (rows, 2))
    assert traced.stats.replays >= (0 if nested else 20), traced.explain()


def test_a_call_dies_with_its_result() -> None:
    traced = tg.trace(lambda x: Parts.apply(Tanh.apply(x) * 2, x, ("a", "b")).sum())
    gc.collect()
    gc.disable()                    # no cycle keeps what is large
    try:
        for k in range(8):
            y = traced(leaf(3, 3))
            nodes = [weakref.ref(node) for node in history([y.grad_fn])]
            if k % 2:
                y.backward()
            del y
            assert len(nodes) > 2 and all(node() is None for node in nodes)
    finally:
        gc.enable()
    replayed(traced)


@pytest.mark.parametrize("kept, why", [
    (lambda: (lambda: 1), "ctx.kept is builtins.function"), (object, "ctx.kept is builtins.object"),
])
def test_what_cannot_be_put_on_ctx_again_is_followed(kept: Callable[[], Any], why: str) -> None:
    class Keeps(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.kept = kept()
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return None if ctx.kept is None else g * 2

    traced = tg.trace(lambda x: Keeps.apply(x))
    with pytest.warns(tg.NotReplayed, match=f"its gradient is that of Keeps.backward, and {why}"):
        for _ in range(5):
            x = leaf(2)
            traced(x).sum().backward()
            assert x.grad.tolist() == [2, 2]
    assert traced.stats.replays == 0


def test_a_class_that_the_run_makes_is_followed() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        half = x.detach() / 2

        class Local(Function):
            @staticmethod
            def forward(ctx, x):
                return x * x

            @staticmethod
            def backward(ctx, g):
                return g * half * 4

        return Local.apply(x)

    with pytest.warns(tg.NotReplayed, match="a class that the run made"):
        for k in range(5):
            x = leaf(2, seed=k)
            f(x).sum().backward()
            np.testing.assert_allclose(x.grad.array, 2 * x.array)


def test_ways_that_meet_are_gone_once() -> None:
    """A value that is reached by a call and past it, layer after layer: no way is gone twice for it."""
    traced = tg.trace(residual)
    for k in range(6):
        x, w = leaf(3, 4, seed=k), leaf(4, 4, seed=9)
        y = traced(x, w)
        if k > 3:
            nodes, ways = history([y.grad_fn]), len(y.grad_fn.call.route._derivatives)
            assert [node.op for node in nodes].count("Tanh") == 4 and len(nodes) <= 13
            y.sum().backward()
            assert len(y.grad_fn.call.route._derivatives) <= 9, ways
    replayed(traced)


# ---- how backward runs ------------------------------------------------------------------------------------------


def gradients(f: Callable[..., Any], walks: int = 1, calls: int = 9) -> list[np.ndarray]:
    """Those of x, call after call, walk after walk."""
    found = []
    for k in range(calls):
        x = leaf(3, seed=k)
        y = f(x)
        found += [grad((y * y).sum(), x, retain_graph=True)[0].array.copy() for _ in range(walks)]
    return found


def test_backward_is_traced_by_itself() -> None:
    traced = tg.trace(lambda x: MaskedReLU.apply(x * 2))
    np.testing.assert_allclose(gradients(traced), gradients(lambda x: MaskedReLU.apply(x * 2)))
    assert "MaskedReLU.backward: 8 calls; replays: 7, new paths: 1" in str(traced.explain())
    traced.reset()
    assert "MaskedReLU.backward" not in str(traced.explain())


def test_a_backward_that_changes_what_is_on_ctx() -> None:
    class Changing(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.times, ctx.total, ctx.latest = tg.ones(3, dtype=tg.float64), tg.zeros(3, dtype=tg.float64), None
            return x * 2

        @staticmethod
        def backward(ctx, g):
            ctx.times += 1
            ctx.total = ctx.total + g
            found = g * ctx.times + ctx.total
            if ctx.latest is not None:
                found = found + ctx.latest
            ctx.latest = found
            return found

    traced = tg.trace(lambda x: Changing.apply(x))
    np.testing.assert_allclose(gradients(traced, walks=3), gradients(Changing.apply, walks=3))
    replayed(traced)


def test_a_backward_that_changes_what_it_is_given() -> None:
    class Masking(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            g *= 2
            g[ctx.saved_tensors[0] < 0] = 0
            return g

    traced = tg.trace(lambda x: Masking.apply(x))
    for k in range(8):
        x, g = leaf(3, seed=k), tg.ones(3, dtype=tg.float64)
        traced(x).backward(g)
        assert x.grad.tolist() == [2.0 * (v > 0) for v in x.tolist()]
        assert x.grad is not g
    replayed(traced)


@pytest.mark.filterwarnings("error")
def test_a_backward_that_cannot_be_replayed_says_so_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    class Printing(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            print("backward")
            return g * 2

    traced = tg.trace(lambda x: Printing.apply(x))
    gradients(traced)
    assert capsys.readouterr().out == "backward\n" * 9
    assert "Printing.backward: 8 calls; follows" in str(traced.explain()) and "(Abort." in str(traced.explain())


@pytest.mark.parametrize("backward", [
    classmethod(lambda cls, ctx, g: g * 2), staticmethod(type("Twice", (), {"__call__": lambda self, ctx, g: g * 2})()),
    lambda self, ctx, g: g * 2, lambda ctx, g: g * 2, staticmethod(once_differentiable(lambda ctx, g: g * 2)),
])
def test_a_backward_of_any_kind(backward: Any) -> None:
    kind = type("Kind", (Function,), {"forward": staticmethod(lambda ctx, x: x * 2), "backward": backward})
    traced = tg.trace(lambda x: kind.apply(x))
    np.testing.assert_allclose(gradients(traced), gradients(kind.apply))
    replayed(traced)


def test_a_backward_that_reads_what_changes() -> None:
    scale = tg.tensor(2.0, dtype=tg.float64)
    numbers = [3.0]

    class Reading(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g * scale * numbers[-1]

    traced = tg.trace(lambda x: Reading.apply(x).sum())
    for k in range(12):
        x = leaf(2)
        y = traced(x)
        scale.fill_(float(k))
        if k % 4 == 3:
            numbers.append(float(k))
        y.backward()
        assert x.grad.tolist() == [k * numbers[-1]] * 2
    replayed(traced)


def test_errors_of_backward_are_those_of_the_user() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, how):
            ctx.how = how
            return x * 2

        @staticmethod
        def backward(ctx, g):
            if ctx.how == "raises":
                raise KeyError("mine")
            return g if ctx.how == "few" else (g[:1].reshape(1, 1, 1, 1), None)

    traced = tg.trace(lambda x, how: Wrong.apply(x, how))
    for _ in range(5):
        for how, error, message in (("raises", KeyError, "mine"), ("few", RuntimeError, "1 value|a Tensor"),
                                    ("shape", RuntimeError, "shape")):
            x = leaf(3)
            with pytest.raises(error, match=message):
                traced(x, how).sum().backward()
            assert x.grad is None
    assert traced.stats.replays >= 10


def test_what_is_checkpointed_is_followed() -> None:
    w = leaf(3, 3, seed=5)
    traced = tg.trace(lambda x: tg.checkpoint(lambda z: Tanh.apply(z @ w) * z, x))
    expected = gradients(lambda x: Tanh.apply(x @ w) * x)
    with pytest.warns(tg.NotReplayed, match="which is checkpointed"):
        np.testing.assert_allclose(gradients(traced), expected)


def test_transforms_of_functions() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.func.grad(lambda z: (Tanh.apply(z * 2) ** 2).sum())(x)

    np.testing.assert_allclose(gradients(tg.trace(f)), gradients(f))


def test_views_of_results() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = Tanh.apply(x * 2)
        return y, y[1:], y.reshape(3, 1)

    def total(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: sum((t * (k + 2)).sum() for k, t in enumerate(f(x)))

    traced = tg.trace(f)
    np.testing.assert_allclose(gradients(total(traced)), gradients(total(f)))
    replayed(traced)


@pytest.mark.parametrize("program", [
    residual, lambda x, w: MaskedReLU.apply(x @ w), lambda x, w: MaskedReLU.apply(x + 1) + w[0], recurrent,
])
def test_what_is_kept_is_freed_with_the_graph(program: Callable[..., Any]) -> None:
    def bytes_kept(f: Callable[..., Any], k: int) -> list[int]:
        y = f(leaf(3, 4, seed=k), leaf(4, 4))
        before = tg.autograd.saved_bytes(y)
        y.backward()
        return [before, tg.autograd.saved_bytes(y)]

    traced = tg.trace(lambda x, w: program(x, w).sum())
    for k in range(6):
        kept, left = bytes_kept(traced, k)
        assert kept and left == 0
    replayed(traced)


def test_ways_that_read_nothing_are_gone_again() -> None:
    def f(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        return (MaskedReLU.apply(x * x) + w[0]).sum()

    traced = tg.trace(f)
    for function in (f, *[traced] * 6):
        x, w = leaf(3, 4), leaf(4, 4)
        y = function(x, w)
        grad(y, x)
        expected = np.zeros((4, 4))
        expected[0] = 3
        for _ in range(2):
            np.testing.assert_array_equal(grad(y, w)[0].array, expected)
        with pytest.raises(RuntimeError, match="freed"):
            grad(y, x)
    replayed(traced)


def test_what_is_saved_for_jvp_is_not_what_backward_is_given() -> None:
    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            y = tg.exp(x)
            ctx.save_for_backward(y)
            ctx.save_for_forward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            y, = ctx.saved_tensors
            return g * y

        @staticmethod
        def jvp(ctx, t):
            x, y = ctx.saved_tensors
            return t * tg.exp(x)

    traced = tg.trace(lambda x: Both.apply(x * 2))
    np.testing.assert_allclose(gradients(traced), gradients(lambda x: Both.apply(x * 2)))
    replayed(traced)
    x, v = leaf(3, seed=1), leaf(3, seed=2).detach()
    for _ in range(3):
        _, found = tg.func.jvp(traced, (x.detach(),), (v,))
        np.testing.assert_allclose(found.array, 2 * np.exp(2 * x.array) * v.array)
