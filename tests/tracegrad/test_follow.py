"""Followed calls: the Python runs every time, and what it does and gives is what plain Python does and gives."""
from __future__ import annotations

import io
import logging
import threading
from contextlib import redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
from program_strategies import scenarios
from random_programs import played

import tracegrad as tg
from tracegrad.aborts import Abort, Aborted
from tracegrad.tracing import Traced

pytestmark = pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
CALLS = 7
PROGRAMS: dict = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


# Each is given a fresh `s`, a namespace for state, and the number of the call; what it gives and leaves is compared.


@program
def prints_a_loss(s, k):
    y = (s.x * 2 + 1).tanh()
    print("loss", y.sum())
    return y * 3


@program
def logs(s, k):
    y = (s.x.exp() + 1).log()
    logging.getLogger("tracegrad.tests").info("%s", float(y.mean()))
    return y


@program
def counts(s, k):
    s.count = getattr(s, "count", 0) + 1
    return s.x * s.count + s.x.sin()


@program
def appends(s, k):
    s.seen.append(s.x.sum() * k)
    return (s.x + len(s.seen)).cos() * 2


@program
def draws_from_numpy(s, k):
    scale = float(np.random.default_rng(k).standard_normal())
    return (s.x * scale + scale).exp().sum(axis=1)


@program
def reads_in_the_middle(s, k):
    y = s.x @ s.x.T
    scale = y.numpy().max()
    return y / float(scale) + y.tolist()[0][0]


@program
def memoizes(s, k):
    if k % 2 not in s.memo:
        s.memo[k % 2] = (s.x * (k % 2 + 2)).exp()
    print(k)
    return s.memo[k % 2] + s.x


@program
def writes_through_a_view(s, k):
    y = s.x * 2
    v = y[1:3]
    v += 10
    y[0, 0] = 7.0
    print(y)
    v *= 2
    return y + v.sum()


@program
def writes_to_an_argument(s, k):
    y = s.x.exp()
    s.x += 1
    z = s.x * 2
    s.x[0] = 0
    print(k, round(float(y.mean()), 2))
    return y, z, s.x + 0


@program
def writes_seen_by_views(s, k):
    whole = s.x.reshape(-1)
    y = whole * 3
    whole.copy_(y)
    print(s.x)
    s.x.mul_(0.5)
    return whole + y


@program
def aliases_of_pending(s, k):
    y = s.x + 1
    flat, turned = y.reshape(-1), y.T
    turned[0] = 5.0
    print(k)
    flat.add_(1)
    return y, flat, turned, y.detach()


@program
def copies_stay_apart(s, k):
    y = s.x * 2
    z, w = y.clone(), tg.zeros_like(y)
    w.copy_(y)
    print(k)
    y += 1
    z *= 2
    w[0, 0] = -1
    return y, z, w


@program
def reshape_of_a_transposed_sum(s, k):
    y = s.x.T + 1
    flat = y.reshape(-1)
    flat[0] = 100.0
    print(k)
    return y, flat


@program
def handed_out(s, k):
    a = s.x.numpy()
    y = s.x * 2
    a[0, 0] = 50.0 + k
    print(k)
    return y, s.x + 1


@program
def step_of_sgd(s, k):
    loss = ((s.x @ s.w - 1) ** 2).mean()
    loss.backward()
    print(f"{loss.item():.3f}")
    with tg.no_grad():
        s.w -= 0.1 * s.w.grad
    s.w.grad = None
    return loss


@program
def step_of_adam(s, k):
    s.opt.zero_grad()
    loss = ((s.x @ s.w).tanh() - 1).square().sum()
    loss.backward()
    s.losses.append(float(loss))
    s.opt.step()
    return loss


@program
def grads_accumulate(s, k):
    (s.x @ s.w).sum().backward()
    print(s.w.grad.sum())
    (s.w * s.w).sum().backward()
    return s.w.grad * 1


@program
def retained_graph(s, k):
    y = (s.x @ s.w).exp().mean()
    y.backward(retain_graph=True)
    first = s.w.grad.clone()
    print(k)
    y.backward()
    return first, s.w.grad + 0


@program
def second_derivative(s, k):
    y = (s.w ** 3).sum()
    g, = tg.autograd.grad(y, [s.w], create_graph=True)
    print(k)
    h, = tg.autograd.grad((g * g).sum(), [s.w])
    return g, h


@program
def gradient_hook(s, k):
    y = s.w * 2
    y.register_hook(lambda g: s.seen.append(g.sum()) or g * k)
    (y * y).sum().backward()
    return s.w.grad * 1


@program
def saved_then_overwritten(s, k):
    y = s.w * 1
    z = y * y
    with tg.no_grad():
        y.detach().mul_(2)
    print(k)
    z.sum().backward()
    return s.w.grad * 1, y


@program
def captured_graph_goes_on(s, k):
    y = (s.x @ s.w).tanh()
    print(k)
    return y * y


@program
def shapes_change(s, k):
    y = s.x[:2 + k % 2].to(tg.float64 if k % 3 == 0 else tg.float32)
    print(y.shape)
    return (y * 2 + 1).sum(axis=0)


@program
def weights_edited_between(s, k):
    s.w.detach().numpy()[0] = k
    print(k)
    return (s.x @ s.w).detach() * 2


@program
def indexes(s, k):
    rows = tg.tensor([0, 2, 1])
    y = (s.x * 2)[rows]
    best = y.argmax(axis=1)
    print(k)
    return y, best, y[tg.tensor([0, 1]), best[:2]], y[y > 1]


@program
def dropout_and_noise(s, k):
    tg.manual_seed(k)
    y = tg.nn.functional.dropout(s.x, 0.5) + tg.randn(4, 3)
    print(round(float(y.sum()), 3))
    return y * tg.rand(3)


@program
def raises_half_way(s, k):
    s.x *= 2
    y = s.x + 1
    s.seen.append(y)
    if k % 2:
        raise KeyError("half way")
    print(k)
    return y


@program
def refused_values(s, k):
    s.x += 1
    y = s.x * 2
    try:
        y = y[tg.tensor([0, 9])]
    except IndexError as error:
        print(str(error))
    return y


@program
def refused_types(s, k):
    y = s.x * 2
    print(k)
    try:
        return y @ y
    except TypeError as error:
        return y, str(error).partition(": ")[2]


@program
def threads_inside(s, k):
    y = s.x * 2 + 1
    found = []
    thread = threading.Thread(target=lambda: found.append(float((y * 2).sum())))
    thread.start()
    z = y.exp()
    thread.join()
    s.seen.append(found[0])
    return z


@program
def another_thread_writes(s, k):
    y = s.x * 2
    thread = threading.Thread(target=lambda: s.x.add_(1))
    thread.start()
    thread.join()
    print(k)
    return y, s.x * 1


@program
def a_traced_function_inside(s, k):
    y = tg.trace(lambda t: t * 2 + 1)(s.x)
    print(k)
    return y


@program
def a_layer_norm(s, k):
    y = tg.nn.functional.layer_norm(s.x, (3,))
    print(y.sum() > -1e9)
    return y.softmax(axis=-1)


def fresh():
    x = tg.tensor(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    w = tg.tensor(np.linspace(0.1, 1, 6, dtype=np.float32).reshape(3, 2), requires_grad=True)
    return SimpleNamespace(x=x, w=w, seen=[], memo={}, losses=[], opt=tg.optim.Adam([w], lr=0.05))


def same(a, b):
    if isinstance(a, tg.Tensor):
        assert isinstance(b, tg.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        assert a.requires_grad == b.requires_grad and (a.grad_fn is None) == (b.grad_fn is None)
        np.testing.assert_allclose(a.detach().array, b.detach().array, rtol=3e-5, atol=1e-6)
        same(a._grad, b._grad)
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, float):
        assert b == pytest.approx(a, rel=3e-5)
    elif not isinstance(a, tg.optim.Optimizer):
        assert a == b


def call(function, s, k):
    """What a call gives or raises, and what it prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        try:
            result = function(s, k)
        except (KeyError, TypeError, IndexError) as error:
            result = f"{type(error).__name__}: {error}"
    return result, out.getvalue()


@pytest.mark.parametrize("name", PROGRAMS)
def test_followed_calls_do_what_python_does(name):
    function = PROGRAMS[name]
    traced = tg.trace(function)
    plain, followed = fresh(), fresh()
    for k in range(CALLS):
        (expected, said), (result, printed) = call(function, plain, k), call(traced, followed, k)
        same(expected, result)
        same(vars(plain), vars(followed))
        if name not in ("prints_a_loss", "writes_seen_by_views", "writes_through_a_view"):    # what rounds may differ
            assert said == printed
    stats = traced.stats
    assert stats.follows >= CALLS - 4 and stats.follows + stats.recordings == CALLS, traced.explain()


def test_random_programs_followed_do_what_they_do_eagerly(monkeypatch):
    reason = [Aborted(Abort.EFFECT, "every call is to be followed")]
    monkeypatch.setattr(Traced, "_reason_not_to_record", lambda *anything: reason)
    sums = played(scenarios(), "llvm_cpu", 40)
    assert sums.follows == sums.calls > 100


def test_strict_raises_where_a_call_would_be_followed():
    @tg.trace(strict=True)
    def f(x):
        print("here")
        return x * 2

    with pytest.raises(tg.NotCompiled, match="print"):
        f(tg.ones(3))


def test_a_followed_function_says_so_once():
    @tg.trace
    def f(x):
        print("here")
        return x * 2

    with pytest.warns(tg.Followed, match="its Python runs at every call") as heard:
        for _ in range(4):
            f(tg.ones(3))
    assert len([w for w in heard if issubclass(w.category, tg.NotReplayed)]) == 1
    assert "followed" in str(f.explain()) and f.stats.follows == 2


def test_work_that_comes_again_is_compiled_once_and_numbers_that_change_are_inputs():
    @tg.trace
    def f(x, k):
        y = ((x * k + k).tanh() * 2).sum()
        print(float(y))
        return y * 3 + x.sum() * 2

    for k in range(20):
        f(tg.ones(64), k + 0.5)
    compiled = f._follow.known.compiled
    assert len(compiled) == 2 and f.stats.follows >= 9
    size = f._follow.known.size
    f(tg.ones(64), 99.5)
    assert f._follow.known.size == size


def test_what_keeps_changing_is_not_followed_for_ever():
    @tg.trace
    def f(x, k):
        y = x.reshape(k, -1)
        print(k)
        return (y.exp() + 1).sum(axis=k % 2)

    for k in range(1, 60):
        f(tg.ones(2520)[:k * 7], k)
    assert f.stats.eager_calls > f.stats.recordings - f.stats.new_paths


def test_nothing_stays_pending_after_a_call():
    kept = []

    @tg.trace
    def f(x):
        y = x * 2
        kept.append(y)
        return y.exp(), y.T

    for _ in range(5):
        results = f(tg.ones(2, 3))
    assert f.stats.follows and {type(t) for t in (*kept, *results)} == {tg.Tensor}
