"""autograd.Function: custom derivatives, eager and in traces, and what is said of what users get wrong."""
from __future__ import annotations

import gc
import inspect
import threading
import weakref
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from custom_functions import Cube, MaskedReLU, Multiply, OnSign, Power, SineCosine

import tracegrad as tg
from tracegrad.autograd import Function, grad, gradcheck, gradgradcheck, once_differentiable


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


class CubeOfOne(Cube):
    @staticmethod
    def double_backward(ctx, gg):
        x, = ctx.saved_tensors
        return 6 * x * gg


# ---- what it computes -------------------------------------------------------------------------------------------


def test_a_product() -> None:
    a, b = leaf(2.0), leaf(1.0)
    Multiply.apply(a, b).sum().backward()
    assert a.grad.tolist() == [1] and b.grad.tolist() == [2]


def test_methods_written_without_staticmethod() -> None:
    x = leaf(-2, -1, 0, 1, 2)
    y = MaskedReLU.apply(x)
    assert y.tolist() == [0, 0, 0, 1, 2]
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 1]


def test_methods_written_with_self_and_ctx() -> None:
    class Double(Function):
        def forward(self, ctx, x):
            assert isinstance(self, Double)
            return x * 2

        def backward(self, ctx, g):
            return g * 2

    x = leaf(1, 2)
    Double.apply(x).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_what_is_no_tensor_has_no_gradient() -> None:
    x = leaf(2.0)
    Power.apply(x, 3).backward(tg.ones(1, dtype=tg.float64))
    assert x.grad.tolist() == [12]


def test_keyword_arguments_count_in_the_order_of_forward() -> None:
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, factor=1.0, *, shift=None):
            ctx.factor = factor
            return x * factor + shift

        @staticmethod
        def backward(ctx, g):
            return g * ctx.factor, None, g

    x, shift = leaf(1, 2), leaf(5, 6)
    y = Scale.apply(x, shift=shift, factor=3.0)
    assert y.tolist() == [8, 12]
    y.sum().backward()
    assert x.grad.tolist() == [3, 3] and shift.grad.tolist() == [1, 1]


def test_setup_context() -> None:
    class Square(Function):
        @staticmethod
        def forward(x):
            return x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, = inputs
            assert output.shape == x.shape
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return 2 * x * g

    assert gradcheck(Square.apply, leaf(1, -3)) and gradgradcheck(Square.apply, leaf(1, -3))


def test_several_outputs_call_backward_once() -> None:
    calls = []

    class Counted(SineCosine):
        @staticmethod
        def backward(ctx, gs, gc):
            calls.append((gs, gc))
            return SineCosine.backward(ctx, gs, gc)

    x = leaf(0.3, 0.7)
    s, c = Counted.apply(x)
    (s * c + s).sum().backward()
    assert len(calls) == 1
    v = x.array
    np.testing.assert_allclose(x.grad.array, np.cos(2 * v) + np.cos(v))
    assert gradcheck(SineCosine.apply, leaf(0.3, 0.7)) and gradgradcheck(SineCosine.apply, leaf(0.3, 0.7))


def test_hooks_of_a_call_with_several_outputs() -> None:
    seen: list[Any] = []
    x = leaf(0.3, 0.7)
    s, c = SineCosine.apply(x)
    s.grad_fn.register_prehook(lambda g: (g[0] * 2, g[1]))
    s.grad_fn.register_hook(lambda of_operands, of_results: seen.append((of_operands, of_results)))
    call = (s * 1.0).grad_fn.next_functions[0][0]
    call.register_prehook(lambda g: seen.append(g))
    s.sum().backward()
    before, ((of_x,), after) = seen
    assert [before[0].tolist(), before[1]] == [[2, 2], None] == [after[0].tolist(), after[1]]
    np.testing.assert_allclose(of_x.array, 2 * np.cos(x.array))
    np.testing.assert_allclose(x.grad.array, 2 * np.cos(x.array))


def test_an_output_nothing_is_computed_from_has_zeros_or_none() -> None:
    seen: list[Any] = []

    class Pair(Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append(b)
            return a * 2, None

    x = leaf(1, 2)
    Pair.apply(x, True)[0].sum().backward()
    Pair.apply(x, False)[0].sum().backward()
    assert seen[0].tolist() == [0, 0] and seen[1] is None and x.grad.tolist() == [4, 4]


def test_the_container_of_the_outputs_is_kept() -> None:
    Both = namedtuple("Both", "value, name")

    class Named(Function):
        @staticmethod
        def forward(ctx, x):
            return Both(x * 2, "twice")

        @staticmethod
        def backward(ctx, g, of_name):
            assert of_name is None
            return g * 2

    x = leaf(1.0)
    both = Named.apply(x)
    assert type(both) is Both and both.name == "twice"
    both.value.backward(tg.ones(1, dtype=tg.float64))
    assert x.grad.tolist() == [2]


def test_needs_input_grad() -> None:
    seen = []

    class Product(Multiply):
        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return Multiply.backward(ctx, g)

    a, b, c = leaf(2.0), leaf(3.0), tg.ones(1, dtype=tg.float64)
    Product.apply(a, c).sum().backward()
    grad(Product.apply(a, b).sum(), b)
    assert seen == [(True, False), (False, True)]


def test_marked_as_not_differentiable() -> None:
    class Sorted(Function):
        @staticmethod
        def forward(ctx, x):
            order = x.argsort()
            rounded = x.round()
            ctx.mark_non_differentiable(rounded)
            return x * 2, order, rounded

        @staticmethod
        def backward(ctx, g, g_order, g_rounded):
            assert g_order.tolist() == [0, 0] and g_rounded.tolist() == [0, 0]
            return g * 2

    y, order, rounded = Sorted.apply(leaf(2, 1))
    assert y.requires_grad and not order.requires_grad and not rounded.requires_grad
    y.sum().backward()


def test_an_argument_changed_in_place() -> None:
    class Doubled(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, g):
            return g * 2

    w = leaf(1, 2)
    x = w * 3
    y = Doubled.apply(x)
    assert y is x and x.tolist() == [6, 12]
    (x * x).sum().backward()
    assert w.grad.tolist() == [72, 144]
    with pytest.raises(RuntimeError, match="Doubled: a leaf that requires grad was changed in place"):
        Doubled.apply(leaf(1.0))


def test_what_shares_memory_with_an_argument_changed_in_place() -> None:
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.factor = factor
            ctx.mark_dirty(x)
            return x.mul_(factor)

        @staticmethod
        def backward(ctx, g):
            return g * ctx.factor, None

    def of_a_view(x: tg.Tensor) -> tg.Tensor:
        whole = x * 1
        Scale.apply(whole[1:], 3)
        return grad((whole * whole).sum(), x)[0]

    def under_a_view(x: tg.Tensor) -> tg.Tensor:
        whole = x * 1
        view = whole[1:]
        Scale.apply(whole, 3)
        return grad((view * view).sum(), x)[0]

    def overlapping(x: tg.Tensor) -> tg.Tensor:
        whole = x * 1
        first, last = whole[:2], whole[1:]
        Scale.apply(first, 2)
        Scale.apply(last, 5)
        return grad((first * first).sum() + (last * whole[:2]).sum(), x)[0]

    x0, x1, x2 = 0.5, -1.5, 2.0
    for f, expected in ((of_a_view, [2 * x0, 18 * x1, 18 * x2]), (under_a_view, [0, 18 * x1, 18 * x2]),
                        (overlapping, [8 * x0 + 20 * x1, 20 * x0 + 200 * x1 + 50 * x2, 50 * x1])):
        traced = tg.trace(f)
        for function in (f, *[traced] * 4):
            np.testing.assert_allclose(function(leaf(x0, x1, x2)).array, expected)
        assert traced.stats.replays >= 2
    view = (leaf(x0, x1) * 1)[1:]
    assert Scale.apply(view, 3) is view
    with pytest.raises(RuntimeError, match="a view of a leaf that requires grad is written to"):
        Scale.apply(leaf(1.0, 2.0)[1:], 3)


def test_an_argument_returned_as_it_is() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 10

    x = leaf(1, 2)
    y = Same.apply(x)
    assert y is not x and x.is_leaf and np.shares_memory(y.array, x.array)
    y.sum().backward()
    assert x.grad.tolist() == [10, 10]


def test_gradients_are_summed_and_cast_to_the_argument() -> None:
    class Add(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g.astype(tg.float64), g

    a, b = tg.ones(2, 3, requires_grad=True), tg.ones(3, requires_grad=True)
    Add.apply(a, b).sum().backward()
    assert a.grad.dtype == tg.float32 and b.grad.tolist() == [2, 2, 2]


def test_without_grad_there_is_no_history() -> None:
    x = leaf(1.0)
    with tg.no_grad():
        assert not Power.apply(x, 2).requires_grad
    assert not Power.apply(x.detach(), 2).requires_grad


def test_branches_on_values() -> None:
    for values in ((1.0, 2.0), (-1.0, -2.0)):
        assert gradcheck(OnSign.apply, leaf(*values)) and gradgradcheck(OnSign.apply, leaf(*values))


def test_numpy_inside() -> None:
    class ByNumPy(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.asarray(np.sinh(x.numpy()))

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return g * tg.asarray(np.cosh(x.numpy()))

    assert gradcheck(ByNumPy.apply, leaf(0.1, 1.0))
    f = tg.trace(lambda x: ByNumPy.apply(x) * 2)
    for _ in range(4):
        np.testing.assert_allclose(f(leaf(0.1, 1.0)).array, np.sinh([0.1, 1.0]) * 2)


# ---- what is saved ----------------------------------------------------------------------------------------------


def test_what_is_saved_stays_what_it_was() -> None:
    w = leaf(2.0)
    x = w * 1.0
    y = Power.apply(x, 3)
    with tg.no_grad():
        x.zero_()
    y.backward(tg.ones(1, dtype=tg.float64))
    assert w.grad.tolist() == [12]


def test_what_is_saved_is_freed_with_the_graph() -> None:
    x = leaf(2.0)
    y = Power.apply(x, 3).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [24]
    with pytest.raises(RuntimeError, match="Power: backward through a graph that was freed: pass retain_graph"):
        y.backward()


def test_a_call_dies_with_its_result() -> None:
    x = leaf(0.5)
    s, c = SineCosine.apply(x)
    node, held = weakref.ref(s.grad_fn), weakref.ref(s.grad_fn.edges[0])
    gc.disable()
    try:
        del s, c
        assert node() is None and held() is None
    finally:
        gc.enable()


def test_saving_what_is_no_tensor() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, n):
            ctx.save_for_backward(x, n)
            return x

    with pytest.raises(TypeError, match=r"test_functions.py:\d+: Wrong: save_for_backward was given a int"):
        Wrong.apply(leaf(1.0), 3)


# ---- higher derivatives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [Cube, CubeOfOne])
def test_double_backward(function: type[Function]) -> None:
    x = leaf(0.5, -1.5)
    assert gradcheck(function.apply, x) and gradgradcheck(function.apply, x)
    g, = grad(function.apply(x).sum(), x, create_graph=True)
    gg, = grad(g.sum(), x, create_graph=True)
    ggg, = grad(gg.sum(), x)
    assert g.tolist() == [0.75, 6.75] and gg.tolist() == [3, -9] and ggg.tolist() == [6, 6]


def test_double_backward_is_what_is_used() -> None:
    class Wrong(Cube):
        @staticmethod
        def double_backward(ctx, gg, g):
            return gg * 0

    x = leaf(1.0)
    g, = grad(Wrong.apply(x).sum(), x, create_graph=True)
    assert grad((g * g).sum(), x)[0].tolist() == [0]
    with pytest.raises(tg.autograd.GradcheckError):
        gradgradcheck(Wrong.apply, x)


def test_double_backward_is_for_one_tensor() -> None:
    class Two(Multiply):
        @staticmethod
        def double_backward(ctx, gg, g):
            return gg

    with pytest.raises(TypeError, match="Two defines double_backward, which is for one tensor in and one out: .* 2"):
        Two.apply(leaf(1.0), leaf(2.0))


def test_once_differentiable() -> None:
    class Once(Power):
        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return Power.backward(ctx, g)

    x = leaf(2.0)
    g, = grad(Once.apply(x, 3).sum(), x, create_graph=True)
    assert g.tolist() == [12]
    with pytest.raises(RuntimeError, match="Once.backward is differentiated, and it was marked once_differentiable"):
        g.sum().backward()


def test_functions_that_are_each_others_derivative() -> None:
    class Sine(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.sin(x)

        @staticmethod
        def backward(ctx, g):
            return g * Cosine.apply(ctx.saved_tensors[0])

    class Cosine(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.cos(x)

        @staticmethod
        def backward(ctx, g):
            return -g * Sine.apply(ctx.saved_tensors[0])

    x = leaf(0.4)
    y = Sine.apply(x)
    for expected in (np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v), np.sin):
        y, = grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(y.array, expected(x.array))


# ---- what users get wrong ---------------------------------------------------------------------------------------


def wrong(found: Any, n: int = 1) -> tg.Tensor:
    """The output of a function of n tensors whose backward returns this."""
    class Wrong(Function):
        @staticmethod
        def forward(ctx, *args):
            return args[0] * 2

        @staticmethod
        def backward(ctx, g):
            return found

    return Wrong.apply(*(tg.ones(2, 3, requires_grad=True) for _ in range(n))).sum()


@pytest.mark.parametrize("found, n, error, message", [
    (None, 1, RuntimeError, r"Wrong.backward returned None \(is there a return\?\): expected a gradient for each of"),
    (tg.ones(2, 3), 2, RuntimeError, "Wrong.backward returned a Tensor: expected a gradient for each of the 2 arg"),
    ((None, tg.ones(2, 3)), 1, RuntimeError, "Wrong.backward returned 2 values: expected a gradient for each of the 1"),
    (tg.ones(3), 1, RuntimeError, r"Wrong.backward returned a gradient of shape \[3\] for argument 0: expected \[2,"),
    (1.0, 1, RuntimeError, "Wrong.backward returned a float: expected a gradient for each"),
    ((1.0, None), 2, TypeError, "Wrong.backward returned a float for argument 0: expected a Tensor or None"),
])
def test_what_backward_returns_is_checked(found: Any, n: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wrong(found, n).backward()


def test_more_nones_than_arguments_are_fine() -> None:
    wrong((tg.ones(2, 3), None, None)).backward()


def test_a_gradient_for_what_is_no_tensor() -> None:
    class Wrong(Power):
        @staticmethod
        def backward(ctx, g):
            return g, g

    with pytest.raises(RuntimeError, match="returned a gradient for argument 1, which is no Tensor: expected None"):
        Wrong.apply(leaf(1.0), 2).sum().backward()


def test_what_forward_returns_is_checked() -> None:
    class Forgotten(Function):
        @staticmethod
        def forward(ctx, x):
            x * 2

    class Marked(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x * 2

    with pytest.raises(TypeError, match=r"test_functions.py:\d+: Forgotten.forward returned None \(is there a return"):
        Forgotten.apply(leaf(1.0))
    with pytest.raises(RuntimeError, match="Marked.forward marked a tensor dirty that it does not return"):
        Marked.apply(leaf(1.0) * 2)


def test_methods_that_are_missing() -> None:
    class Empty(Function):
        pass

    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError, match="Empty defines no forward"):
        Empty.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="Half defines no backward"):
        Half.apply(leaf(1.0)).sum().backward()
    with pytest.raises(TypeError, match=r"Half.apply\(...\)"):
        Half()(leaf(1.0))


def test_an_error_in_forward_leaves_the_grad_mode() -> None:
    class Raising(Function):
        @staticmethod
        def forward(ctx, x):
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        Raising.apply(leaf(1.0))
    assert tg.is_grad_enabled()


def test_anomalies_name_the_function() -> None:
    class Bad(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return a * float("nan")

    with tg.autograd.detect_anomaly():
        y, _ = Bad.apply(leaf(1.0))
        with pytest.raises(tg.autograd.AnomalyError, match=r"backward of Bad, done at test_functions.py:\d+"):
            y.sum().backward()


# ---- in traces --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function, args", [
    (Multiply, ((1.0, -2.0), (3.0, 4.0))), (MaskedReLU, ((-2.0, -1.0, 0.0, 1.0, 2.0),)), (Power, ((2.0, 3.0), 3)),
    (SineCosine, ((0.3, 0.7),)), (Cube, ((0.5, -1.5),)), (OnSign, ((1.0, 2.0),)), (OnSign, ((-1.0, -2.0),)),
])
def test_a_traced_step_is_replayed(function: type[Function], args: tuple) -> None:
    def step(*args: Any) -> Any:
        y = function.apply(*args)
        loss = sum((t * t).sum() for t in (y if isinstance(y, tuple) else (y,)))
        loss.backward()
        return loss.detach()

    def made() -> list[Any]:
        return [leaf(*a) if isinstance(a, tuple) else a for a in args]

    traced, expected = tg.trace(step), made()
    loss = step(*expected)
    for _ in range(4):
        given = made()
        np.testing.assert_allclose(traced(*given).array, loss.array)
        for a, b in zip(given, expected):
            if isinstance(a, tg.Tensor):
                np.testing.assert_allclose(a.grad.array, b.grad.array)
    assert traced.stats.replays >= 2, traced.explain()


def test_a_traced_branch_goes_both_ways() -> None:
    @tg.trace
    def step(x: tg.Tensor) -> tg.Tensor:
        OnSign.apply(x).sum().backward()
        return x.grad

    for k in range(12):
        x = leaf(1, 2) if k % 3 else leaf(-1, -2)
        assert step(x).tolist() == ([2, 2] if k % 3 else [-2, -4])
    assert step.stats.replays >= 6


def test_second_derivatives_in_a_trace() -> None:
    @tg.trace
    def second(x: tg.Tensor) -> tg.Tensor:
        g, = grad(CubeOfOne.apply(x).sum(), x, create_graph=True)
        return grad((g * g).sum(), x)[0]

    for _ in range(4):
        np.testing.assert_allclose(second(leaf(0.5, -1.5)).array, 36 * np.array([0.5, -1.5]) ** 3)
    assert second.stats.replays >= 2


def test_a_backward_that_is_replaced_is_seen() -> None:
    class Scaled(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    @tg.trace
    def step(x: tg.Tensor) -> tg.Tensor:
        Scaled.apply(x).sum().backward()
        return x.grad

    assert [step(leaf(1.0)).item() for _ in range(3)] == [2, 2, 2] and step.stats.replays
    Scaled.backward = staticmethod(lambda ctx, g: g * 7)
    assert [step(leaf(1.0)).item() for _ in range(3)] == [7, 7, 7]


def test_threads_have_their_own_calls() -> None:
    failed = []

    def work(value: float) -> None:
        for _ in range(50):
            x = leaf(value)
            SineCosine.apply(Power.apply(x, 3))[0].sum().backward()
            if not np.allclose(x.grad.array, np.cos(value ** 3) * 3 * value ** 2):
                failed.append(value)

    threads = [threading.Thread(target=work, args=(v,)) for v in (0.5, 1.5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


# ---- registered ops, and functions given with their vjp ----------------------------------------------------------


def test_a_registered_function_is_called_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg.ops, "my_power", None, raising=False)
    monkeypatch.delattr(tg.ops, "my_power")

    class Documented(Power):
        """x to the n."""

    assert tg.autograd.register_function("my_power", Documented) is tg.ops.my_power
    x = leaf(2.0)
    tg.ops.my_power(x, n=3).sum().backward()
    assert x.grad.tolist() == [12]
    assert tg.ops.my_power.__doc__ == "x to the n." and str(inspect.signature(tg.ops.my_power)) == "(x, n)"
    with pytest.raises(ValueError, match="tg.ops.my_power is there already"):
        tg.autograd.register_function("my_power", Documented)

    @tg.trace
    def step(x: tg.Tensor) -> tg.Tensor:
        tg.ops.my_power(x, 3).sum().backward()
        return x.grad

    assert [step(leaf(2.0)).item() for _ in range(4)] == [12] * 4 and step.stats.replays >= 2


@pytest.mark.parametrize("name", ["", "two words", "class", "_hidden", "__getattr__", 3])
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="register_function"):
        tg.autograd.register_function(name, Power)


def test_what_is_registered_is_a_function_class() -> None:
    with pytest.raises(TypeError, match="expected a class derived from tg.autograd.Function"):
        tg.autograd.register_function("some_function", lambda x: x)     # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="tg.ops has no some_function: registered are"):
        tg.ops.some_function    # type: ignore[attr-defined]


def scaled_power() -> Any:
    @tg.autograd.custom_op
    def scaled(x, n=2, scale=1.0):
        """scale * x ** n"""
        return scale * x ** n

    @scaled.vjp
    def scaled_vjp(g, y, x, n=2, scale=1.0):
        return g * n * y / x, None, None

    return scaled


def test_a_custom_op() -> None:
    scaled = scaled_power()
    assert scaled.__doc__ == "scale * x ** n" and scaled.__name__ == "scaled"
    for call in (lambda x: scaled(x, 3, 2.0), lambda x: scaled(x, scale=3.0), lambda x: scaled(n=1, x=x)):
        assert gradcheck(call, leaf(1.5, 2.0)) and gradgradcheck(call, leaf(1.5, 2.0))
    with pytest.raises(TypeError, match="scaled has no parameter m, or was given it twice"):
        scaled(leaf(1.0), m=3)
    with pytest.raises(TypeError, match="scaled: x is missing"):
        scaled(n=3)


def test_a_custom_op_in_a_trace() -> None:
    scaled = scaled_power()

    @tg.trace
    def step(x: tg.Tensor) -> tg.Tensor:
        scaled(x, 3).sum().backward()
        return x.grad

    assert [step(leaf(2.0)).item() for _ in range(4)] == [12] * 4 and step.stats.replays >= 2


def test_a_custom_op_of_several_results() -> None:
    @tg.autograd.custom_op
    def both(x, y):
        return x * y, x + y

    @both.vjp
    def both_vjp(g, results, x, y):
        of_product, of_sum = g
        return of_product * y + of_sum, of_product * x + of_sum

    assert gradcheck(both, (leaf(1, 2), leaf(3, 4))) and gradgradcheck(both, (leaf(1, 2), leaf(3, 4)))


def test_the_rule_of_a_custom_op_is_given_defaults() -> None:
    @tg.autograd.custom_op
    def scaled(x, factor=3.0, shift=1.0):
        return x * factor + shift

    @scaled.vjp
    def scaled_vjp(g, y, x, factor, shift):
        return g * factor, None, None

    x = leaf(1.0)
    assert grad(scaled(x).sum(), x)[0].item() == 3 and grad(scaled(x, 5).sum(), x)[0].item() == 5
    assert scaled(x, shift=0.0).item() == 3
    with pytest.raises(TypeError, match="scaled: x is missing"):
        scaled(factor=2.0)
    with pytest.raises(TypeError, match="custom_op decorates a function, not a int"):
        tg.autograd.custom_op(3)            # type: ignore[arg-type]


def test_a_custom_op_without_a_vjp() -> None:
    @tg.autograd.custom_op
    def halved(x):
        return x / 2

    y = halved(leaf(1.0))
    with pytest.raises(NotImplementedError, match="halved has no derivative: @halved.vjp gives it one"):
        y.sum().backward()

    def by_name(x, *, n):
        return x * n

    with pytest.raises(TypeError, match="by_name has parameters that are given by name only"):
        tg.autograd.custom_op(by_name)
