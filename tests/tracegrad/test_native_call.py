"""Calls by the native entry: what they give, count and leave behind is what a replay by Python would have."""
from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import native_call, native_replay, trace_tree
from tracegrad.native_guards import NativeGuards
from tracegrad.tensors import Tensor
from tracegrad.trace_tree import OFTEN


def tensor(*shape: int, seed: int = 0, requires_grad: bool = False) -> Tensor:
    return tg.tensor(np.random.default_rng(seed).random(shape, np.float32), requires_grad=requires_grad)


def test_calls_are_replayed_by_python_while_the_entry_is_compiled(monkeypatch):
    class Unready:
        is_ready = False

    f, x = tg.trace(lambda x: x * 2), tensor(3)
    with monkeypatch.context() as patch:
        patch.setattr(native_call, "_native", lambda traced, tree: Unready)
        assert all(f(x).tolist() == (x * 2).tolist() for _ in range(3))
        assert f.stats.replays == 2 and f._tree.entry is None
    assert f(x).tolist() == (x * 2).tolist() and f._tree.entry is not None
    assert f.stats.replays == 3


def test_first_replays_do_not_wait_for_the_native_program(monkeypatch):
    monkeypatch.setattr(trace_tree, "SOON", 2)
    f, x = tg.trace(lambda x: x * 2), tensor(3)
    native = []
    for _ in range(5):
        assert f(x).tolist() == (x * 2).tolist()
        native.append(f._tree.roots[0].native is not None)
    assert native == [False, False, False, True, True] and f.stats.replays == 4


class Model(tg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = tg.nn.Sequential(tg.nn.Linear(3, 3), tg.nn.Tanh(), tg.nn.Linear(3, 2))
        self.scale = 2.0

    def forward(self, x):
        return self.layers(x) * self.scale


def captured() -> tuple[Callable, tuple]:
    weights, namespace = [tensor(3, seed=k) for k in range(9)], {"bias": tensor(3, seed=9)}
    return lambda x: sum(weights, x) + namespace["bias"], (tensor(3),)


def written() -> tuple[Callable, tuple]:
    def f(x):
        nonlocal_state.mul_(0.5)
        return nonlocal_state + x
    nonlocal_state = tensor(3, seed=1)
    return f, (tensor(3),)


def stored() -> tuple[Callable, tuple]:
    class State:
        h = tensor(3, seed=1)
    state = State()
    state.h = tensor(3, seed=2)

    def f(x):
        state.h = state.h * 0.5 + x
        return state.h
    return f, (tensor(3),)


PROGRAMS: dict[str, Callable[[], tuple[Callable, tuple]]] = {
    "two tensors": lambda: (lambda x, y: x * 2.0 + y, (tensor(3), tensor(3, seed=1))),
    "a tuple of results": lambda: (lambda x: (x + 1.0, (x * 2.0, x)), (tensor(2, 3),)),
    "a scalar": lambda: (lambda x: x.sum(), (tensor(4),)),
    "no elements": lambda: (lambda x: x * 2.0, (tensor(0, 3),)),
    "a transposed argument": lambda: (lambda x: x @ x, (tensor(3, 3).T,)),
    "a large result": lambda: (lambda x: x * 2.0, (tensor(200, 200),)),
    "a view of a result": lambda: (lambda x: (x * 2.0)[1:], (tensor(4),)),
    "a dict of results": lambda: (lambda x: {"twice": x * 2.0}, (tensor(4),)),
    "captured tensors": captured,
    "a module": lambda: (Model(), (tensor(2, 3),)),
    "a number": lambda: (lambda x, k: x * k, (tensor(3), 3)),
    "a history": lambda: (lambda x: (x * x).sum(), (tensor(3, requires_grad=True),)),
    "a write in place": written,
    "a tensor that is stored": stored,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_calls_without_python_are_as_those_with_it(program: str) -> None:
    (function, args), (twin, twin_args) = PROGRAMS[program](), PROGRAMS[program]()
    if program == "a module":
        twin.layers = function.layers       # type: ignore[attr-defined]
    traced = tg.trace(function)
    for _ in range(5):
        same(traced(*args), twin(*twin_args))
    (root,) = traced._tree.roots
    assert root.native is not None and traced._tree.entry is not None
    replays = root.replays
    same(traced(*args), twin(*twin_args))
    assert root.replays == replays + 1
    assert (traced.stats.calls, traced.stats.replays, traced.stats.new_paths) == (6, 5, 1)


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert (a.requires_grad, a.dtype) == (b.requires_grad, b.dtype)
        np.testing.assert_allclose(a.array, b.array, rtol=1e-6)
        if a.requires_grad and a.ndim == 0:
            a.backward()
    elif isinstance(a, dict):
        same(tuple(a.items()), tuple(b.items()))
    elif isinstance(a, tuple):
        for one, other in zip(a, b, strict=True):
            same(one, other)
    else:
        assert a == b


def test_a_size_that_calls_come_back_to_gets_a_native_program() -> None:
    traced = tg.trace(lambda x: x * 2.0)
    for n in (3, 4):
        for k in range(OFTEN + 2):
            assert traced(tensor(n)).tolist() == (tensor(n) * 2.0).tolist()
            root = traced._tree.roots[0]
            assert (root.native is not None) is (k > 0 if n == 3 else k > OFTEN)
    for n in (5, 5, 3):                         # the entry is made anew when there is another root
        assert traced(tensor(n)).tolist() == (tensor(n) * 2.0).tolist()
    assert traced.stats.recordings == 2       # the second size is recorded for all


def test_arrays_are_taken_and_given_without_python() -> None:
    def f(a, b):
        a += b
        return a, np.tanh(a) * 2.0, a.sum()
    traced = tg.trace(f)

    def arrays(n: int = 3) -> tuple[np.ndarray, np.ndarray]:
        return np.linspace(-1.0, 1.0, n), np.linspace(0.0, 2.0, n)
    for n in (3, 4):
        (a, b), (c, d) = arrays(n), arrays(n)
        for _ in range(OFTEN + 2):
            first, second, total = traced(a, b)
            expected = f(c, d)
            assert first is a and type(second) is np.ndarray and type(total) is np.float64
            np.testing.assert_allclose(a, c)
            np.testing.assert_allclose(second, expected[1], rtol=1e-14)
            np.testing.assert_allclose(total, expected[2], rtol=1e-14)
    trees = traced._array_trees[()]
    assert all(root.native is not None for root in trees.roots) and traced.stats.replays >= 2 * OFTEN
    (a, b), (c, d) = arrays(), arrays()
    np.testing.assert_allclose(traced(a, a)[1], f(c, c)[1])             # one array twice
    np.testing.assert_allclose(traced(b[::-1], b)[1], f(d[::-1], d)[1])     # memory that overlaps
    big = np.full(3, 1e308)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        traced(big, big.copy())


@pytest.mark.parametrize("make", [lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: tg.optim.Adam(p, lr=0.01)])
def test_training_steps_are_native(make: Callable) -> None:
    models = Model(), Model()
    for mine, other in zip(*(m.parameters() for m in models), strict=True):
        with tg.no_grad():
            mine.copy_(other)
    x = tensor(4, 3)

    def step_of(model: Model) -> Callable[[], Tensor]:
        optimizer = make(model.parameters())

        def step() -> Tensor:
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss
        return step
    plain, traced = step_of(models[0]), tg.trace(step_of(models[1]))
    held = [p.detach() for p in models[1].parameters()]
    for _ in range(8):
        np.testing.assert_allclose(traced().array, plain().array, rtol=1e-5)
        for mine, other, view in zip(models[1].parameters(), models[0].parameters(), held, strict=True):
            np.testing.assert_allclose(mine.array, other.array, rtol=1e-4, atol=1e-6)
            assert mine.grad is not None and other.grad is not None
            np.testing.assert_allclose(mine.grad.array, other.grad.array, rtol=1e-4, atol=1e-6)
            assert view.array.base is mine.array or view.array is mine.array
    assert traced.stats.replays >= 5 and any(root.native is not None for root in traced._tree.roots)
    loss = traced()
    assert loss.requires_grad
    with pytest.raises(RuntimeError, match="freed"):
        loss.backward()


def test_a_backward_outside_follows_what_native_code_has_kept() -> None:
    w, x = tensor(3, seed=1, requires_grad=True), tensor(3)
    traced = tg.trace(lambda x: (x * w).tanh().sum())
    for k in range(5):
        loss, plain = traced(x), (x * w).tanh().sum()
        (expected,) = tg.autograd.grad(plain, [w])
        if k > 2:
            with tg.no_grad():
                w.mul_(0.5)                     # after the call, before its backward
        (found,) = tg.autograd.grad(loss, [w])
        np.testing.assert_allclose(found.array, expected.array, rtol=1e-5)
    assert traced._tree.roots[0].native is not None


def test_what_guards_see_native_code_sees() -> None:
    module, x = Model(), tensor(2, 3)
    traced = tg.trace(module)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: setattr(module, "scale", 3.0),
        lambda: setattr(module.layers[0], "weight", tg.nn.Parameter(tensor(3, 3, seed=5))),
        lambda: module.layers[2].bias.mul_(2.0),
        lambda: module.layers.append(tg.nn.Tanh()),
        lambda: setattr(Model, "forward", lambda self, x: self.layers(x) - self.scale),
        lambda: setattr(module.layers[0], "forward", lambda x: x),
    )
    before = Model.forward
    try:
        with tg.no_grad():
            for change in changes:
                for _ in range(3):
                    np.testing.assert_allclose(traced(x).array, module(x).array, rtol=1e-5)
                assert any(root.native is not None for root in traced._tree.roots)
                change()
            np.testing.assert_allclose(traced(x).array, module(x).array, rtol=1e-5)
    finally:
        Model.forward = before      # type: ignore[method-assign]
    for _ in range(3):
        assert traced(x).requires_grad          # another grad mode
        with tg.no_grad():
            assert not traced(x).requires_grad


def test_names_of_functions_and_classes_are_read_without_python() -> None:
    class Named:
        pass

    def g() -> None:
        pass

    def f(x):
        return x * len(f"{g.__name__} {g.__qualname__} {g.__module__}") + len(
            f"{Named.__name__} {Named.__qualname__} {Named.__module__}")
    traced, x = tg.trace(f), tensor(3)
    for named in (None, g, Named):
        for name in ("__name__", "__qualname__", "__module__"):
            if named is not None:
                setattr(named, name, getattr(named, name) + "s")
            for _ in range(4):
                np.testing.assert_array_equal(traced(x).array, f(x).array)
    roots = traced._tree.roots
    assert any(root.native is not None for root in roots) and traced.stats.new_paths == len(roots) == 7
    plain = tg.trace(lambda x: x * 2.0)
    plain(x)
    usual = NativeGuards(plain._tree.roots[0].guards).in_python
    assert all(NativeGuards(root.guards).in_python == usual for root in roots)


def test_keywords_are_bound_as_python_binds_them() -> None:
    def f(x, y=None, *, k=2.0):
        return x * k if y is None else x * k + y
    traced, x = tg.trace(f), tensor(3)
    for _ in range(4):
        for call in (lambda g: g(x), lambda g: g(x, x), lambda g: g(y=x, x=x), lambda g: g(x, k=3.0),
                     lambda g: g(**{"".join(("x",)): x})):
            np.testing.assert_array_equal(call(traced).array, call(f).array)
    for wrong in (lambda g: g(), lambda g: g(x, x, x), lambda g: g(x, z=x), lambda g: g(x, x=x)):
        with pytest.raises(TypeError) as plain:
            wrong(f)
        with pytest.raises(TypeError) as error:
            wrong(traced)
        assert str(error.value) == str(plain.value)


def test_nothing_is_kept_by_calls() -> None:
    function, args = PROGRAMS["a module"]()
    traced, pair = tg.trace(function), tg.trace(lambda x, *, k: (x * k, x + k))

    def calls() -> None:
        with tg.no_grad():
            traced(*args)
        traced(*args)
        pair(args[0], k=0.5)
        pair(args[0], k=float(np.random.default_rng(0).random()))
    for _ in range(10):
        calls()
    watched = (args[0], args[0].array, args[0].dtype, traced, traced._tree.entry, traced.stats, Tensor, np.ndarray)

    def counts() -> list[int]:
        gc.collect()
        return [*map(sys.getrefcount, watched), len(gc.get_objects())]
    before = counts()
    for _ in range(200):
        calls()
    assert all(now - then < 20 for now, then in zip(counts(), before))


def test_threads_share_a_function() -> None:
    function, args = captured()
    traced = tg.trace(function)
    expected = traced(*args).array
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(300):
            if not np.array_equal(traced(*args).array, expected):
                wrong.append(1)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and traced.stats.calls == 1201
    assert traced.stats.calls == traced.stats.replays + traced.stats.new_paths


def test_a_count_that_was_read_stays_what_it_was() -> None:
    traced, x = tg.trace(lambda x: x * 2.0), tensor(3)
    seen = []
    for _ in range(600):                        # beyond 256 ints are objects of their own
        traced(x)
        seen.append(traced.stats.calls)
        traced(x)
    assert seen == [*range(1, 1200, 2)] and traced.stats.replays == 1199
    traced.stats.calls = (1 << 30) - 2          # the last of one digit is the next one
    for count in ((1 << 30) - 1, 1 << 30, (1 << 30) + 1):
        traced(x)
        assert traced.stats.calls == count


def test_each_thread_has_a_grad_mode_of_its_own() -> None:
    traced, w = tg.trace(lambda w: w * 2.0), tensor(3, requires_grad=True)
    for _ in range(OFTEN + 3):
        assert traced(w).requires_grad
        with tg.no_grad():
            assert not traced(w).requires_grad
    assert all(root.native is not None for root in traced._tree.roots)
    turn, differs = threading.Barrier(3, timeout=10), []

    def work(enabled: bool) -> None:
        for k in range(6):
            turn.wait()
            with nullcontext() if enabled or not k else tg.no_grad():      # at first as a thread that has set nothing
                if traced(w).requires_grad is not (enabled or not k):
                    differs.append((enabled, k))
    threads = [threading.Thread(target=work, args=(enabled,)) for enabled in (True, False)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        turn.wait()
        assert traced(w).requires_grad
    for thread in threads:
        thread.join()
    assert not differs and traced.stats.new_paths == 2


def test_objects_that_are_not_what_they_were_are_left_to_python() -> None:
    traced, x = tg.trace(lambda x: x * 2.0), tensor(3)
    for _ in range(3):
        traced(x)
    hollow, wrong = Tensor.__new__(Tensor), tensor(3)
    wrong.array = 7                             # type: ignore[assignment]
    for bad in (hollow, wrong):
        with pytest.raises((AttributeError, TypeError)):
            traced(bad)
    tree = traced._tree
    for other in (None, 5, Tensor.__new__(Tensor)):
        traced._tree = other                    # type: ignore[assignment]
        with pytest.raises(AttributeError):
            traced(x)
    tree.entry = 5                              # type: ignore[assignment]
    traced._tree = tree
    np.testing.assert_array_equal(traced(x).numpy(), 2 * x.numpy())
    with pytest.raises(TypeError):
        type(traced).__call__(5, x)             # type: ignore[arg-type]


FALLBACK = """
import codegen.llvm_cpu.objects as objects
objects._agree = lambda layout: iter([False])
import numpy as np, tracegrad as tg
from codegen import describe_host
f, x = tg.trace(lambda x, k=2.0: x * k), tg.tensor([1.0, 2.0])
for _ in range(4):
    assert np.array_equal(f(x).numpy(), [2.0, 4.0]) and np.array_equal(f(x, k=3.0).numpy(), [3.0, 6.0])
assert f.stats.replays == 6 and f.stats.calls == 8, f.stats
assert type(type(f).__call__).__name__ == "function"
print(describe_host()["entry"])
"""


def test_where_objects_are_not_laid_out_as_expected_python_replays() -> None:
    run = subprocess.run([sys.executable, "-c", FALLBACK], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Python" in run.stdout


def test_variables_called_args_and_kwargs_are_no_arguments() -> None:
    args, kwargs = (2.0, 3.0), {"k": 4.0}
    f = tg.trace(lambda x, **more: x * args[0] + args[1] + kwargs["k"] + more.get("n", 0.0))
    for given in ({}, {"n": 1.0}, {}, {"n": 1.0}, {}, {"n": 1.0}):
        assert f(tg.ones(2), **given).tolist() == [9.0 + given.get("n", 0.0)] * 2
    assert f.stats.replays >= 2
    args = (5.0, 3.0)
    assert f(tg.ones(2)).tolist() == [12.0, 12.0]


def own() -> tuple[Tensor, Tensor]:
    return tg.ones(3), tg.ones(3)


def parts() -> tuple[Tensor, Tensor]:
    whole = tg.ones(6)
    return whole[:3], whole[3:]


def overlapping() -> tuple[Tensor, Tensor]:
    whole = tg.ones(5)
    return whole[:3], whole[2:]


@pytest.mark.parametrize(("memory", "asks"), [(own, False), (parts, True), (overlapping, True)])
def test_grads_are_added_to_natively_where_their_memory_is_their_own(monkeypatch, memory, asks):
    """Python is asked about memory that an array does not own, and results are right whatever it says."""
    def step(w, v):
        ((w * v) ** 2).sum().backward()

    def run(f):
        grads = []
        for turn in range(8):
            w, v = tensor(3, seed=turn, requires_grad=True), tensor(3, seed=turn + 1, requires_grad=True)
            w.grad, v.grad = (memory if turn > 4 else own)()
            asked.clear()
            f(w, v)
            grads.append((w.grad.tolist(), v.grad.tolist()))
        return grads
    asked: list[int] = []
    inner = native_replay.own_memory
    monkeypatch.setattr(native_replay, "own_memory", lambda *of: asked.append(1) or inner(*of))
    expected = run(step)
    assert run(tg.trace(step)) == expected
    assert bool(asked) is asks
