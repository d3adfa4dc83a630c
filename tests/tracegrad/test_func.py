"""tg.func: derivatives of functions against closed forms, differences and each other; nested, traced, over trees."""
from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import func

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 1.5, (3, 2))
A = RNG.standard_normal((4, 3))


def tensor(x, **how):
    return tg.tensor(x, dtype=tg.float64, **how)


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy() if isinstance(a, tg.Tensor) else a,
                               b.detach().numpy() if isinstance(b, tg.Tensor) else b, rtol=1e-10, atol=1e-12)


def smooth(x):
    return (tg.tanh(x) * tg.exp(-x * x)).sum() + (x[0] * x[1] ** 3).sum() + tg.prod(x)


def field(x):
    return tg.sin(tensor(A) @ x) * x[0]


def numeric(f, x, eps=1e-6):
    """[*f(x).shape, *x.shape]: the Jacobian by central differences."""
    columns = []
    for k in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[k] = eps
        columns.append((f(tensor(x + step)).numpy() - f(tensor(x - step)).numpy()) / (2 * eps))
    return np.moveaxis(np.array(columns), 0, -1).reshape(*columns[0].shape, *x.shape)


def twice(f, *args, replays=1):
    """What f gives, and what it gives traced, which is replayed and is the same."""
    traced = tg.trace(f)
    eager = f(*args)
    for _ in range(replays + 1):
        found = traced(*args)
    assert traced.stats.replays >= replays, str(traced.explain())
    for a, b in zip(tg.pytrees.tree_leaves(eager), tg.pytrees.tree_leaves(found), strict=True):
        close(a, b)
        assert a.dtype == b.dtype and a.requires_grad == b.requires_grad
    return eager


def test_grad_is_the_gradient():
    np.testing.assert_allclose(twice(func.grad(smooth), tensor(X)).numpy(), numeric(smooth, X), rtol=1e-7, atol=1e-8)


def test_value_and_grad_give_both_in_the_order_of_their_names():
    x = tensor(X)
    value, g = twice(func.value_and_grad(smooth), x)
    close(value, smooth(x))
    close(g, func.grad(smooth)(x))
    g2, value2 = func.grad_and_value(smooth)(x)
    close(g2, g)
    close(value2, value)


def test_argnums_choose_arguments_and_aux_is_passed_through():
    def f(a, b, *, scale):
        return (a * b * scale).sum(), {"product": a * b}

    a, b = tensor([1.0, 2.0]), tensor([3.0, 5.0])
    g, aux = func.grad(f, argnums=-1, has_aux=True)(a, b, scale=2.0)
    close(g, [2.0, 4.0])
    close(aux["product"], [3.0, 10.0])
    assert not g.requires_grad and not aux["product"].requires_grad
    (ga, gb), _ = func.grad(f, argnums=(0, 1), has_aux=True)(a, b, scale=1.0)
    close(ga, b)
    close(gb, a)
    (value, aux), g = func.value_and_grad(f, has_aux=True)(a, b, scale=1.0)
    close(value, 13.0)


def test_trees_give_trees_and_what_is_no_number_gives_none():
    def f(params, x):
        return (params["w"] * x).sum() + params["b"][0] ** 2 + params["count"]

    params = {"w": tensor([1.0, 2.0]), "b": [tensor(3.0), "name"], "count": tg.tensor(4)}
    g = func.grad(f)(params, tensor([5.0, 7.0]))
    close(g["w"], [5.0, 7.0])
    close(g["b"][0], 6.0)
    assert g["b"][1] is None and g["count"] is None
    unused = func.grad(lambda p: p[0] * 2)((tensor(1.0), tensor([1.0, 2.0])))
    close(unused[1], [0.0, 0.0])


def test_numbers_and_arrays_are_differentiated_by_as_tensors():
    close(func.grad(lambda x: x ** 2)(3.0), 6.0)
    close(func.grad(lambda x: (x ** 2).sum())(np.array([1.0, 2.0])), [2.0, 4.0])


def test_vjp_pulls_back_as_often_as_one_likes():
    y, pull = func.vjp(field, tensor(X))
    close(y, field(tensor(X)))
    jacobian = numeric(field, X)
    for _ in range(2):
        v = RNG.standard_normal(y.shape)
        np.testing.assert_allclose(pull(tensor(v)).numpy(), np.tensordot(v, jacobian, 2), rtol=1e-7, atol=1e-8)
    (a, b), pull, aux = func.vjp(lambda x, y: ((x * y, x), "aux"), tensor(2.0), tensor(3.0), has_aux=True)
    assert aux == "aux"
    gx, gy = pull((tensor(1.0), tensor(10.0)))
    close(gx, 13.0)
    close(gy, 2.0)


def test_jvp_and_linearize_push_forward():
    jacobian, v = numeric(field, X), RNG.standard_normal(X.shape)
    y, t = twice(lambda x, v: func.jvp(field, (x,), (v,)), tensor(X), tensor(v))
    np.testing.assert_allclose(t.numpy(), np.tensordot(jacobian, v, 2), rtol=1e-7, atol=1e-8)
    calls = []

    def counted(x):
        calls.append(1)
        return field(x)

    y, push = func.linearize(counted, tensor(X))
    close(push(tensor(v)), t)
    close(push(tensor(2 * v)), 2 * t)
    assert len(calls) == 1
    p, v = {"a": tensor(2.0), "b": tensor(3.0)}, {"b": tensor(1.0), "a": tensor(0.0)}
    _, t, aux = func.jvp(lambda d: ({"y": d["a"] * d["b"], "n": tg.tensor(1)}, "aux"), (p,), (v,), has_aux=True)
    close(t["y"], 2.0)
    assert aux == "aux" and t["n"].item() == 0


@pytest.mark.parametrize("jacobian", [func.jacrev, func.jacfwd], ids=["rev", "fwd"])
def test_jacobians(jacobian):
    np.testing.assert_allclose(twice(jacobian(field), tensor(X)).numpy(), numeric(field, X), rtol=1e-7, atol=1e-8)
    a, b = tensor([1.0, 2.0]), tensor([[3.0], [5.0]])
    found = jacobian(lambda a, b: {"y": a * b, "s": a.sum()}, argnums=(1, 0))(a, b)
    assert found["y"][0].shape == (2, 2, 2, 1) and found["y"][1].shape == (2, 2, 2)
    close(found["s"][1], [1.0, 1.0])
    close(found["s"][0], np.zeros((2, 1)))
    j, aux = jacobian(lambda x: (x * x, "aux"), has_aux=True)(a)
    close(j, np.diag([2.0, 4.0]))
    assert aux == "aux"


def test_hessians_and_their_products():
    h = twice(func.hessian(smooth), tensor(X))
    np.testing.assert_allclose(h.numpy(), numeric(func.grad(smooth), X), rtol=1e-6, atol=1e-7)
    for nested in (func.jacrev(func.jacfwd(smooth)), func.jacrev(func.jacrev(smooth)), func.jacfwd(func.jacfwd(smooth)),
                   func.jacrev(func.grad(smooth))):
        close(nested(tensor(X)), h)
    v = RNG.standard_normal(X.shape)
    close(twice(lambda x, v: func.hvp(smooth, x, v), tensor(X), tensor(v)), np.tensordot(h.numpy(), v, 2))
    at, along = (tensor(2.0), tensor(3.0)), (tensor(1.0), tensor(0.0))
    (pa, pb), aux = func.hvp(lambda a, b: ((a * b).sum(), "aux"), at, along, has_aux=True)
    close(pa, 0.0)
    close(pb, 1.0)
    assert aux == "aux"


def test_hvp_over_trees():
    params = {"w": tensor(X), "b": tensor([1.0, 2.0])}
    along = tg.pytrees.tree_map(lambda x: x * 0 + 1, params)
    found = func.hvp(lambda p: (tg.tanh(p["w"] + p["b"])).sum(), params, along)
    _, expected = func.jvp(func.grad(lambda p: (tg.tanh(p["w"] + p["b"])).sum()), (params,), (along,))
    close(found["w"], expected["w"])
    close(found["b"], expected["b"])


def test_nested_transforms_do_not_confuse_what_they_differentiate_by():
    one = tensor(1.0)
    close(twice(lambda x: func.grad(lambda x: x * func.grad(lambda y: x + y)(one))(x), one), 1.0)
    close(func.grad(lambda x: func.grad(lambda y: x * y * y)(x))(tensor(3.0)), 12.0)
    close(func.jvp(lambda x: x * func.jvp(lambda y: x * y, (one,), (one,))[1], (tensor(3.0),), (one,))[1], 6.0)
    f = tg.sin
    for expected in (np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin):
        close(f(tensor(0.5)), expected(0.5))
        f = func.grad(f)


def test_third_derivatives_in_every_mode():
    def third(a, b, c):
        return a(b(c(lambda x: tg.exp(2 * x))))(tensor(0.3))

    modes = (func.grad, func.jacfwd, func.jacrev)
    for a in modes:
        for b in modes:
            for c in modes:
                close(third(a, b, c), 8 * np.exp(0.6))


def test_what_is_captured_is_differentiated_by_whoever_asks():
    w = tensor(2.0, requires_grad=True)
    g = twice(lambda x: func.grad(lambda x: w * x ** 3)(x), tensor(1.5))
    assert g.requires_grad
    g.backward()
    close(w.grad, 3 * 1.5 ** 2)
    with tg.no_grad():
        inside = func.grad(lambda x: w * x ** 3)(tensor(1.5))
    assert not inside.requires_grad
    close(inside, g)


def test_a_result_has_a_history_where_the_argument_has_one():
    x = tensor(1.5, requires_grad=True)
    y = func.grad(lambda x: x ** 3)(x * 2)
    y.backward()
    close(x.grad, 3 * 2 * 3.0 * 2)
    assert not func.grad(lambda x: x ** 3)(tensor(1.5)).requires_grad
    assert x.grad_fn is None


def test_no_grad_inside_counts():
    def f(x):
        with tg.no_grad():
            c = x * 2
        return x * c + x.detach()

    close(func.grad(f)(tensor(3.0)), 6.0)
    close(func.jvp(f, (tensor(3.0),), (tensor(1.0),))[1], 6.0)


def test_writes_in_place_inside_are_differentiated():
    def f(x):
        y = x * 1
        y[0] = y[1] * y[2]
        y *= x
        return y.sum()

    x = tensor([2.0, 3.0, 5.0])
    close(twice(func.grad(f), x), [15.0, 2 * 5 + 6, 2 * 3 + 10])


def test_writes_to_the_argument_are_differentiated_by_what_it_was():
    def f(x):
        x *= x
        return (x * x).sum()

    close(func.grad(f)(tensor([2.0, 3.0])), [32.0, 108.0])
    close(func.jvp(f, (tensor([2.0, 3.0]),), (tensor([1.0, 0.0]),))[1], 32.0)

    class Clipped(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.maximum(x, 0.0)

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            g[x < 0] = 0
            return g

    x, v = tensor([-2.0, 3.0]), tensor([5.0, 7.0])
    close(func.jvp(Clipped.apply, (x,), (v,))[1], [0.0, 7.0])
    close(func.jacfwd(Clipped.apply)(x), [[0.0, 0.0], [0.0, 1.0]])
    close(v, [5.0, 7.0])


def test_classes_that_were_registered_are_trees_in_traced_functions():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def __tree_flatten__(self):
            return (self.a, self.b), None

        @staticmethod
        def __tree_unflatten__(aux, children):
            return Pair(*children)

    def f(pair):
        return func.grad(lambda p: (p.a * p.b ** 2).sum())(pair), tg.pytrees.tree_map(lambda x: x * 2, [pair.a])

    traced = tg.trace(f)
    for k in (1.0, 2.0, 3.0):
        g, (twice_a,) = traced(Pair(tensor([k]), tensor([3.0])))
        close(g.a, [9.0])
        close(g.b, [6.0 * k])
        close(twice_a, [2 * k])


def test_traced_functions_are_differentiated_compiled():
    traced = tg.trace(smooth)
    x = tensor(X)
    for _ in range(3):
        g = func.grad(traced)(x)
        h = func.hvp(traced, x, x)
        _, t = func.jvp(traced, (x,), (x,))
    close(g, func.grad(smooth)(x))
    close(h, func.hvp(smooth, x, x))
    close(t, func.jvp(smooth, (x,), (x,))[1])
    assert traced.stats.recordings == 1 and traced.stats.replays >= 8


def test_transforms_made_outside_of_a_trace_see_what_changes():
    scale = [2.0]
    gradient = func.grad(lambda x: (x * x * scale[0]).sum())

    @tg.trace
    def step(x):
        return gradient(x)

    x = tensor([1.0, 2.0])
    for _ in range(3):
        close(step(x), [4.0, 8.0])
    scale[0] = 3.0
    for _ in range(3):
        close(step(x), [6.0, 12.0])
    assert step.stats.replays >= 4


def test_traced_results_of_transforms_are_differentiated_by_what_they_captured():
    w = tensor([2.0, 3.0], requires_grad=True)

    @tg.trace
    def f(x):
        return func.grad(lambda x: (w * x ** 3).sum())(x)

    for _ in range(3):
        w.grad = None
        f(tensor([1.0, 2.0])).sum().backward()
        close(w.grad, [3.0, 12.0])
    assert f.stats.replays >= 2


def test_branches_inside_are_paths():
    def f(x):
        return (x * x if x.sum() > 0 else -x).sum()

    traced = tg.trace(func.grad(f))
    for sign in (1, -1, 1, -1, 1, -1):
        close(traced(tensor([sign * 1.0, sign * 2.0])), func.grad(f)(tensor([sign * 1.0, sign * 2.0])))
    assert traced.stats.replays >= 3


def test_complex_numbers():
    z = tg.tensor([1 + 2j, 3 - 1j], dtype=tg.complex128)
    close(func.grad(lambda z: (tg.abs(z) ** 2).sum())(z), 2 * z)
    v = tg.tensor([1j, 2.0 + 1j], dtype=tg.complex128)
    close(func.jvp(lambda z: z * z, (z,), (v,))[1], 2 * z * v)
    with pytest.raises(TypeError, match="test_func.py:.*view_as_real"):
        func.jacrev(lambda z: z * z)(z)


def test_functional_call_replaces_parameters_for_one_call():
    model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.Tanh(), tg.nn.Linear(4, 1)).double()
    names, before = [name for name, _ in model.named_parameters()], list(model.parameters())
    params = {name: p.detach() for name, p in model.named_parameters()}
    x = tg.randn(5, 3, dtype=tg.float64)

    def loss(params, x):
        return (func.functional_call(model, params, (x,)) ** 2).mean()

    g = twice(func.grad(loss), params, x)
    assert list(g) == names and all(a is b for a, b in zip(before, model.parameters()))
    (model(x) ** 2).mean().backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(g[name].numpy(), p.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_functional_call_knows_lists_of_parameters_buffers_and_ties():
    class Tied(tg.nn.Module):
        def __init__(self):
            self.items = tg.nn.ParameterList([tg.ones(2), tg.ones(2)])
            self.named = tg.nn.ParameterDict({"a": tg.ones(2)})
            self.again = self.items[0]
            self.register_buffer("shift", tg.zeros(2))

        def forward(self, x, *, scale=1.0):
            return (self.items[0] * self.again * self.named["a"] * x + self.shift) * scale

    model, two = Tied(), tg.full(2, 2.0)
    close(func.functional_call(model, {"items.0": two}, two, {"scale": 3.0}), [24.0, 24.0])
    close(func.functional_call(model, {"items.0": two}, two, tie_weights=False), [4.0, 4.0])
    close(func.functional_call(model, ({"named.a": two}, {"shift": two}), two), [6.0, 6.0])
    with pytest.raises(KeyError, match="no parameter or buffer 'missing'"):
        func.functional_call(model, {"missing": two}, two)
    with pytest.raises(KeyError, match="strict"):
        func.functional_call(model, {"shift": two}, two, strict=True)


def test_a_module_is_a_tree():
    model = tg.nn.Linear(3, 1)
    x = tg.ones(3)
    g = func.grad(lambda m: m(x).sum())(model)
    close(g.weight, np.ones((1, 3)))
    close(g.bias, [1.0])


def test_reverse_and_forward_agree_with_gradcheck_of_what_they_give():
    x = tensor(X, requires_grad=True)
    assert tg.autograd.gradcheck(func.grad(smooth), x)
    assert tg.autograd.gradcheck(lambda x: func.jvp(field, (x,), (x * x,))[1], x)


@pytest.mark.parametrize(("misuse", "error", "sentence"), [
    (lambda x: func.grad(tg.sin)(x), TypeError, r"a real number, a 0-d tensor, and it returned f64\[3,2\]: sum it"),
    (lambda x: func.grad(lambda x: 1.0)(x), TypeError, "returns a tensor, and it returned a float"),
    (lambda x: func.grad(smooth, argnums=2)(x), ValueError, "argnums=2, and there are 1 positional"),
    (lambda x: func.grad(smooth, argnums=(0, 0))(x), ValueError, "names one twice"),
    (lambda x: func.grad(smooth)(tg.arange(3)), TypeError, r"number 0 of it is i64\[3\]"),
    (lambda x: func.grad(smooth)(["a"]), TypeError, "a tree without one"),
    (lambda x: func.grad(smooth, has_aux=True)(x), TypeError, r"returns \(value, aux\)"),
    (lambda x: func.jvp(tg.sin, (x,), (x[0],)), TypeError, r"of its shape and dtype, and not f64\[2\]"),
    (lambda x: func.jvp(tg.sin, x, x), TypeError, "primals and tangents are tuples"),
    (lambda x: func.jvp(tg.sin, (x,), (x, x)), ValueError, "the tangents are not a tree like"),
    (lambda x: func.vjp(lambda x: (x, x), x)[1](x), ValueError, "the cotangents are not a tree like"),
    (lambda x: func.vjp(tg.sin, x)[1](tg.ones(7)), TypeError, "has cotangents of its shape and dtype, and not f32"),
    (lambda x: func.vjp(tg.sin, x)[1](tg.ones(3, 2)), TypeError, r"and not f32\[3,2\]"),
    (lambda x: func.vjp(lambda x: "y", x), TypeError, "it returned a str"),
])
def test_misuse_is_told_with_the_line_and_the_remedy(misuse, error, sentence):
    with pytest.raises(error, match=f"test_func.py:.*{sentence}"):
        misuse(tensor(X))
