"""vmap: a function of examples, at once where its operations are those of each, one by one where they may not be."""
from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import func, vmap

RNG = np.random.default_rng(0)
XS = RNG.standard_normal((4, 3))
W = RNG.standard_normal((3, 3))


def tensor(x, **how):
    return tg.tensor(x, dtype=tg.float64, **how)


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy() if isinstance(a, tg.Tensor) else a,
                               b.detach().numpy() if isinstance(b, tg.Tensor) else b, rtol=1e-10, atol=1e-12)


def f(x, w):
    return tg.tanh(w @ x).sum() * x.mean()


def counting(function):
    runs = []

    def counted(*args, **kwargs):
        runs.append(1)
        return function(*args, **kwargs)
    return counted, runs


def twice(function, *args):
    """What it gives, and what it gives traced, which is replayed and is the same."""
    traced, eager = tg.trace(function), function(*args)
    for _ in range(2):
        found = traced(*args)
    assert traced.stats.replays == 1, str(traced.explain())
    for a, b in zip(tg.pytrees.tree_leaves(eager), tg.pytrees.tree_leaves(found), strict=True):
        close(a, b)
        assert a.dtype == b.dtype and a.requires_grad == b.requires_grad
    return eager


def test_one_run_does_for_all_what_it_does_for_one():
    counted, runs = counting(f)
    found = vmap(counted, in_axes=(0, None))(tensor(XS), tensor(W))
    close(found, [f(tensor(x), tensor(W)).item() for x in XS])
    assert len(runs) == 1
    twice(vmap(f, in_axes=(0, None)), tensor(XS), tensor(W))


def test_axes_of_arguments_and_results():
    x, y = tensor(RNG.standard_normal((2, 4, 3))), tensor(RNG.standard_normal((3, 4)))

    def g(x, y):
        return x * y.sum(), x @ x.T

    a, b = vmap(g, in_axes=(1, -1), out_axes=(2, -1))(x, y)
    assert a.shape == (2, 3, 4) and b.shape == (2, 2, 4)
    for k in range(4):
        close(a[..., k], g(x[:, k], y[:, k])[0])
        close(b[..., k], g(x[:, k], y[:, k])[1])
    a, b = vmap(g, in_dims=1, out_dims=1)(x, y)
    close(a[:, 2], g(x[:, 2], y[:, 2])[0])


def test_trees():
    def g(d, scale, *, shift):
        return {"a": d["x"] * scale + shift, "b": (d["n"], scale * 2, 7)}

    d = {"x": tensor(XS), "n": tensor(1.5)}
    out = {"a": 1, "b": (None, 0, None)}
    found = vmap(g, in_axes=({"n": None, "x": 0}, None), out_axes=out)(d, tensor(2.0), shift=1)
    close(found["a"], (XS * 2 + 1).T)
    close(found["b"][0], 1.5)
    close(found["b"][1], [4.0] * 4)
    assert found["b"][2].item() == 7


def test_gradients_for_each_example_and_the_gradient_of_all():
    x, w = tensor(XS), tensor(W)
    each = [func.grad(f, argnums=1)(xk, w) for xk in x]
    counted, runs = counting(func.grad(f, argnums=1))
    found = vmap(counted, in_axes=(0, None))(x, w)
    close(found, tg.stack(each))
    assert len(runs) == 1 and not found.requires_grad
    twice(vmap(func.grad(f, argnums=1), in_axes=(0, None)), x, w)
    close(twice(func.grad(lambda w: vmap(f, in_axes=(0, None))(x, w).sum()), w), sum(each))
    w = tensor(W, requires_grad=True)
    vmap(f, in_axes=(0, None))(x, w).sum().backward()
    close(w.grad, sum(each))


def test_nested():
    x, w = tensor(XS), tensor(np.stack([W, 2 * W]))
    found = twice(lambda x, w: vmap(lambda x: vmap(lambda w: f(x, w))(w))(x), x, w)
    close(found, [[f(xk, wj).item() for wj in w] for xk in x])
    found = twice(vmap(func.hessian(f), in_axes=(0, None)), x, w[0])
    for k in range(4):
        close(found[k], func.hessian(f)(x[k], w[0]))
    found = twice(vmap(lambda x, v: func.jvp(lambda x: f(x, w[0]), (x,), (v,))[1]), x, x)
    close(found, [func.jvp(lambda x: f(x, w[0]), (xk,), (xk,))[1].item() for xk in x])
    found = func.jacrev(lambda x: vmap(f, in_axes=(0, None))(x, w[0]))(x)
    close(found, func.jacfwd(lambda x: vmap(f, in_axes=(0, None))(x, w[0]))(x))
    found = vmap(lambda x: func.vjp(lambda x: x * x, x)[1](x))(x)
    close(found, 2 * XS * XS)


def test_a_function_that_was_traced():
    traced = tg.trace(f)
    close(vmap(traced, in_axes=(0, None))(tensor(XS), tensor(W)), vmap(f, in_axes=(0, None))(tensor(XS), tensor(W)))


def test_branches_on_values_run_for_each_example():
    def g(x):
        return x * 2 if x.sum() > 0 else -x

    expected = np.where(XS.sum(1, keepdims=True) > 0, XS * 2, -XS)
    close(vmap(g)(tensor(XS)), expected)
    close(func.grad(lambda x: vmap(g)(x).sum())(tensor(XS)), np.where(XS.sum(1, keepdims=True) > 0, 2.0, -1.0) + 0 * XS)
    close(vmap(lambda x: vmap(lambda y: y + 1 if x.sum() > y else y)(x))(tensor(XS)),
          np.where(XS.sum(1, keepdims=True) > XS, XS + 1, XS))
    traced = tg.trace(vmap(g))
    for sign in (1, 1, -1, -1, 1):
        close(traced(tensor(sign * XS)), vmap(g)(tensor(sign * XS)))
    assert traced.stats.replays >= 1


def test_a_read_that_the_function_catches_is_one_all_the_same():
    def g(x):
        try:
            return x * float(x[0])
        except BaseException:  # noqa: BLE001 - what is tested
            return x

    close(vmap(g)(tensor(XS)), XS * XS[:, :1])


def test_branches_on_what_all_examples_share_run_for_each_too():
    close(vmap(lambda x, c: x * 2 if c > 0 else x, in_axes=(0, None))(tensor(XS), tensor(1.0)), XS * 2)
    assert vmap(lambda x: x * 2 if x.shape == (3,) else x)(tensor(XS)).shape == (4, 3)


def test_writes_in_place():
    def inside(x):
        y = x * 1
        y[0] = y[1] + y[2]
        y[1:] *= 2
        return y

    counted, runs = counting(inside)
    expected = np.stack([XS[:, 1] + XS[:, 2], XS[:, 1] * 2, XS[:, 2] * 2], 1)
    close(vmap(counted)(tensor(XS)), expected)
    assert len(runs) == 1

    total = tensor(np.zeros(3))

    def outside(x):
        total.add_(x)
        return total.clone()

    close(vmap(outside)(tensor(XS)), np.cumsum(XS, 0))
    close(total, XS.sum(0))

    def argument(x):
        x *= 2
        return x.sum()

    x = tensor(XS)
    close(vmap(argument)(x), 2 * XS.sum(1))
    close(x, 2 * XS)


def test_what_is_kept_is_that_of_an_example():
    kept = []

    def g(x):
        kept[:] = [x * 3]
        return x

    vmap(g)(tensor(XS))
    close(kept[0], XS[-1] * 3)


class Tripled(tg.autograd.Function):
    """x * x with three times its derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 6 * g * x


def test_custom_functions_keep_their_backward():
    x = tensor(XS)
    close(vmap(func.grad(lambda x: Tripled.apply(x).sum()))(x), 6 * XS)
    close(func.grad(lambda x: vmap(Tripled.apply)(x).sum())(x), 6 * XS)
    close(func.jacrev(Tripled.apply)(x[0]), np.diag(6 * XS[0]))
    close(func.jvp(Tripled.apply, (x,), (x,))[1], 6 * XS * XS)


def test_what_a_checkpoint_computes_again_keeps_its_history():
    def body(x):
        return tg.tanh(tensor(W) @ x) * x

    def again(x):
        return tg.checkpoint(body, x)

    x = tensor(XS[0])
    for transform in (func.jacrev, func.jacfwd, lambda f: func.hessian(lambda x: (f(x) ** 2).sum()),
                      lambda f: func.grad(lambda x: func.jacrev(f)(x).sum()),
                      lambda f: lambda x: vmap(func.jacrev(f))(x[None]),
                      lambda f: func.grad(lambda x: vmap(f)(x[None]).sum())):
        close(transform(again)(x), transform(body)(x))


def test_random_numbers():
    zeros = tg.zeros(3, 1000)
    with pytest.raises(RuntimeError, match="test_vmap.py:.*randomness='different' draws for each example"):
        vmap(lambda x: x + tg.randn(1000))(zeros)
    for g in (lambda x: x + tg.randn(1000), lambda x: x + tg.randn(1000) if x[0] == 0 else x):
        a, b, c = vmap(g, randomness="different")(zeros).numpy()
        assert not (a == b).any() and not (b == c).any() and abs(a.mean()) < 0.2
        a, b, c = vmap(g, randomness="same")(zeros).numpy()
        assert (a == b).all() and (b == c).all()
    inner = vmap(vmap(lambda x: x + tg.rand(()), randomness="same"), randomness="different")(tg.zeros(2, 3)).numpy()
    assert (inner[:, :1] == inner).all() and inner[0, 0] != inner[1, 0]

    @tg.trace
    def traced(x):
        return vmap(lambda x: x + tg.randn(1000), randomness="different")(x)

    tg.manual_seed(7)
    eager = [traced.eager(zeros).numpy() for _ in range(3)]
    tg.manual_seed(7)
    np.testing.assert_array_equal(eager, [traced(zeros).numpy() for _ in range(3)])
    assert traced.stats.replays == 2


def test_constants_and_arrays_inside():
    numbers = np.array([1.0, 2.0, 3.0])

    def g(x):
        return x * tg.tensor([3.0, 4.0, 5.0], dtype=tg.float64) + tg.tensor(numbers) + tg.arange(3)

    found = twice(vmap(g), tensor(XS))
    close(found, XS * [3, 4, 5] + numbers + np.arange(3))


def test_nothing_and_parts():
    assert vmap(f, in_axes=(0, None))(tensor(XS[:0]), tensor(W)).shape == (0,)
    with pytest.raises(ValueError, match="there is none"):
        vmap(lambda x: x if x.sum() > 0 else -x)(tensor(XS[:0]))
    counted, runs = counting(f)
    close(vmap(counted, in_axes=(0, None), chunk_size=3)(tensor(XS), tensor(W)),
          vmap(f, in_axes=(0, None))(tensor(XS), tensor(W)))
    assert len(runs) == 2
    close(func.jacrev(lambda x: x * x, chunk_size=2)(tensor(XS[0])), np.diag(2 * XS[0]))


def test_parameters_of_several_models():
    model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.Tanh(), tg.nn.Linear(4, 1)).double()
    states = [{name: p.detach() * k for name, p in model.named_parameters()} for k in (1.0, 2.0)]
    stacked = {name: tg.stack([s[name] for s in states]) for name in states[0]}
    found = twice(lambda p, x: vmap(lambda p: func.functional_call(model, p, x))(p), stacked, tensor(XS))
    for k in range(2):
        close(found[k], func.functional_call(model, states[k], tensor(XS)))

    def loss(p, x, y):
        return ((func.functional_call(model, p, x) - y) ** 2).mean()

    each = twice(vmap(func.grad(loss), in_axes=(None, 0, 0)), states[0], tensor(XS), tensor(XS[:, :1]))
    close(each["0.weight"][2], func.grad(loss)(states[0], tensor(XS[2]), tensor(XS[2, :1]))["0.weight"])


def at_sizes(function, sizes=(5, 7, 7, 9, 12, 3, 31, 20, 2)):
    """The function traced, after calls at these sizes gave what it gives."""
    traced = tg.trace(function)
    for n in sizes:
        x = tensor(RNG.standard_normal((n, 3)))
        tg.manual_seed(n)
        expected = function(x)
        tg.manual_seed(n)
        for a, b in zip(tg.pytrees.tree_leaves(traced(x)), tg.pytrees.tree_leaves(expected), strict=True):
            close(a, b)
    return traced


def loss(w, x):
    return (tg.tanh(w @ x) ** 2).sum()


@pytest.mark.parametrize("function", [
    lambda x: vmap(lambda x: x / (x * x).sum())(x),
    lambda x: vmap(func.grad(loss), in_axes=(None, 0))(tensor(W), x),
    lambda x: vmap(lambda x: (func.grad(loss)(tensor(W), x) ** 2).sum())(x).mean() / x.shape[0],
    lambda x: vmap(lambda x, y: x * y[0], in_axes=(0, 0), out_axes=1)(x, tg.sin(x)),
    lambda x: vmap(lambda x: vmap(lambda y: y * x.sum())(x))(x),
    lambda x: vmap(func.jacrev(lambda x: tg.sin(tensor(W) @ x)))(x),
    lambda x: vmap(func.hessian(lambda x: loss(tensor(W), x)))(x),
    lambda x: vmap(lambda x: x[tg.argmax(x)] * tensor(W)[0, 1:].sum())(x),
    lambda x: vmap(lambda x: x + tg.rand(3, dtype=tg.float64), randomness="different")(x),
    lambda x: vmap(lambda x: x + tg.rand(3, dtype=tg.float64), randomness="same")(x),
    lambda x: vmap(lambda y: y / x.shape[0] + (x.shape[0] - 1))(x),
    lambda x: vmap(lambda x: x * 2, in_axes=1)(tg.stack([x.sum(0), x.mean(0)], axis=1)),
])
def test_one_recording_serves_all_numbers_of_examples(function):
    stats = at_sizes(function).stats
    assert (stats.recordings, stats.follows, stats.replays) == (2, 0, 7)


@pytest.mark.parametrize("function", [
    lambda x: vmap(lambda column: column * 2 + column.sum(), in_axes=1)(x),
    lambda x: vmap(lambda y: ((x - y) ** 2).sum())(x),
    lambda x: vmap(lambda y: (x[1:] * y).sum(0))(x),
    lambda x: vmap(lambda y: y + tg.ones(x.shape[0], 3, dtype=tg.float64).sum())(x),
    lambda x: vmap(lambda y: y * 2 if y.sum() > 0 else y)(x),
    lambda x: vmap(lambda y: y * len(x))(x),
    lambda x: vmap(lambda y: y * y.sum(), chunk_size=4)(x),
    lambda x: func.jacrev(lambda w: tg.tanh(x @ w).sum(0))(tensor(W)),
    lambda x: func.jacfwd(lambda x: x * x.sum())(x),
    lambda x: vmap(lambda c: c * (x * 2).shape[0])(tensor(W)),
    lambda x: vmap(lambda c: vmap(lambda d: c * d + x.sum())(tensor(W)))(tensor(W)),
])
def test_what_meets_sizes_that_change_is_right_at_each(function):
    at_sizes(function)


def test_a_way_that_depends_on_the_number_of_examples_is_taken_for_it():
    traced = at_sizes(lambda x: vmap(lambda y: y * 2 if x.shape[0] > 10 else y - 1)(x), (5, 7, 12, 9, 31, 8, 30, 6, 2))
    assert 2 <= traced.stats.recordings <= 4 and traced.stats.replays >= 4


def test_other_numbers_of_examples_are_compared_at_all_sizes():
    traced = tg.trace(lambda x, y: vmap(lambda x, y: x * y)(x, y))
    for n in (4, 6, 6, 8, 9):
        x = tensor(RNG.standard_normal((n, 3)))
        close(traced(x, x), x * x)
    with pytest.raises(ValueError, match=r"9 examples in f64\[9,3\] and 7 examples in f64\[7,3\]"):
        traced(x, x[:7])
    close(traced(x, x), x * x)


@pytest.mark.parametrize(("misuse", "error", "sentence"), [
    (lambda x: vmap(f)(x, 2.0), TypeError, "a float has no axis of examples: in_axes=None"),
    (lambda x: vmap(f)(x, x[:2]), ValueError, r"4 examples in f64\[4,3\] and 2 examples in f64\[2,3\]"),
    (lambda x: vmap(f, in_axes=None)(x, x), ValueError, "no argument has examples"),
    (lambda x: vmap(tg.sin, in_axes=2)(x), ValueError, "has no axis 2"),
    (lambda x: vmap(tg.sin, in_axes=({"a": 0},))(x), ValueError, "in_axes has"),
    (lambda x: vmap(tg.sin, out_axes=None)(x), ValueError, "out_axes=None for what differs"),
    (lambda x: vmap(tg.sin, out_axes=2)(x), ValueError, "see out_axes"),
    (lambda x: vmap(lambda x: "y")(x), TypeError, "returned a str"),
    (lambda x: vmap(tg.sin, randomness="some")(x), ValueError, "is none of"),
    (lambda x: vmap(tg.sin, chunk_size=0)(x), ValueError, "chunk_size=0 is not positive"),
    (lambda x: vmap(lambda x: x[:2] if x.sum() > 0 else x)(x), ValueError, "results of several types"),
])
def test_misuse_is_told_with_the_line_and_the_remedy(misuse, error, sentence):
    with pytest.raises(error, match=f"test_vmap.py:.*{sentence}"):
        misuse(tensor(XS))
