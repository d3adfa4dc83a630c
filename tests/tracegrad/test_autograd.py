"""backward, grad, hooks, grad mode: what PyTorch does, and the errors."""
from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from recordings import recording

import tracegrad as tg
from tracegrad.autograd import GradcheckError, grad, gradcheck, gradgradcheck
from tracegrad.tensors import Tensor


def leaf(*values: float) -> Tensor:
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


def test_backward_accumulates_into_the_storage_that_is_there() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    assert first is not None and first.tolist() == [2, 4] and not first.requires_grad
    storage = first.array
    (x * 3.0).sum().backward()
    assert x.grad is first and first.array is storage and first.tolist() == [5, 7]


def test_gradients_of_leaves_share_no_memory() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = tg.ones(2, dtype=tg.float64)
    c = a + b
    c.retain_grad()
    c.backward(seed)
    assert a.grad is not None and b.grad is not None and c.grad is not None
    for one, other in ((a.grad, b.grad), (a.grad, seed), (b.grad, seed), (a.grad, c.grad), (b.grad, c.grad)):
        assert not np.shares_memory(one.array, other.array)
    a.sum().backward()                      # a cotangent that is a broadcast: read-only, and all one element
    a.grad.zero_()
    assert b.grad.tolist() == [1, 1]


def test_leaf_used_twice_and_leaf_as_output() -> None:
    x = leaf(2.0)
    y = x * x + x
    y.backward()
    assert x.grad is not None and x.grad.tolist() == [5]
    x.backward()
    assert x.grad.tolist() == [6]


def test_create_graph_to_the_third_order() -> None:
    x = leaf(3.0)
    y = x * x * x * x
    for expected in (4 * 27, 12 * 9, 24 * 3):
        y, = grad(y, x, create_graph=True)
        assert y.tolist() == [expected] and y.requires_grad
    x.grad = None
    (x * x).backward(create_graph=True)
    assert x.grad is not None and x.grad.requires_grad
    first = x.grad
    (x * x * x).backward(create_graph=True)
    assert x.grad is not first and first.tolist() == [6] and x.grad.tolist() == [33]


def test_a_freed_graph_names_the_remedy() -> None:
    x = leaf(1.0)
    y = x.exp()
    z = y * y
    z.backward()
    with pytest.raises(RuntimeError, match=r"^test_autograd\.py:\d+: mul: backward through a graph that was freed: "
                                           "pass retain_graph=True to the first backward$"):
        z.backward()
    y = x.exp()
    y.backward(retain_graph=True)
    y.backward()
    kept = x + 1.0                          # saves nothing, so nothing is freed
    kept.backward()
    kept.backward()


def test_backward_frees_what_was_saved() -> None:
    x = leaf(1.0)
    hidden = x * 2.0
    array = weakref.ref(hidden.array)
    loss = (hidden * hidden).sum()
    del hidden
    assert array() is not None
    loss.backward()
    assert array() is None


def test_graphs_are_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        x = leaf(1.0)
        y = x.exp().tanh() * x
        node = weakref.ref(y.saved() if y.saved else y)
        array = weakref.ref(y.array)
        y.detach()
        z = y.reshape(1)[0] * y.exp()
        del y, z
        assert array() is None and node() is None
    finally:
        gc.enable()


def test_detached_results_do_not_keep_graphs() -> None:
    x = leaf(1.0)
    y = x.exp()
    node = y.grad_fn
    kept = y.detach()
    saved = weakref.ref(node.result)
    del y, node
    assert saved() is None and kept.tolist() == [np.e]


@pytest.mark.parametrize("gradient,message,error", [
    (None, r"the tensor has shape \[2\]: with more than one element, pass a gradient, or sum it", RuntimeError),
    (1.0, "the gradient is a float, not a Tensor", TypeError),
    (tg.ones(3), r"the gradient has shape \[3\], the tensor \[2\]: pass one of the tensor's shape", RuntimeError),
])
def test_backward_refuses(gradient: Tensor | None, message: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^test_autograd\.py:\d+: backward: {message}$"):
        (leaf(1.0, 2.0) * 2.0).backward(gradient)


def test_backward_without_a_history() -> None:
    with pytest.raises(RuntimeError, match="does not require grad and has no grad_fn"):
        tg.ones(1).backward()


def test_grad_of_several_outputs_and_inputs() -> None:
    a, b, c = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0)
    y, z = a * b, (a + 1.0).sum()
    ga, gb = grad((y, z), (a, b), (tg.tensor([1.0, 10.0], dtype=tg.float64), None), retain_graph=True)
    assert ga is not None and gb is not None
    assert ga.tolist() == [4, 41] and gb.tolist() == [1, 20]
    assert a.grad is None and b.grad is None
    with pytest.raises(RuntimeError, match="the outputs do not depend on input 1; allow_unused=True gives None"):
        grad(z, (a, c), retain_graph=True)
    assert grad(z, (a, c), allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match="grad: input 0 does not require grad"):
        grad(y, tg.ones(1))
    with pytest.raises(RuntimeError, match="1 gradients for 2 outputs"):
        grad((y, z), a, [None])


def test_grad_with_respect_to_a_value_inside() -> None:
    x = leaf(2.0)
    y = x * x
    z = y * y * x
    gy, gx = grad(z, (y, x))
    assert gy is not None and gx is not None and gy.tolist() == [16] and gx.tolist() == [80]
    g, = grad(y, y)
    assert g is not None and g.tolist() == [1]


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracegrad.derivatives import VJPS
    x, w = tg.ones(2, 3), tg.ones(3, 4, requires_grad=True)
    first, second = VJPS["matmul"]
    monkeypatch.setitem(VJPS, "matmul", (lambda *a: pytest.fail("not needed"), second))
    (x @ w).sum().backward()
    assert w.grad is not None


def test_hooks() -> None:
    seen = []
    x = leaf(1.0, 2.0)
    y = x * 3.0
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 2.0)
    x.register_hook(lambda g: g + 1.0)
    y.sum().backward(retain_graph=True)
    assert seen == [[1, 1]] and x.grad is not None and x.grad.tolist() == [7, 7]
    with recording() as recorder:
        y.sum().backward(retain_graph=True)
    assert "HOOK" in {a.reason.name for a in recorder.aborts}
    handle.remove()
    assert [None if g is None else g.tolist() for g in grad(y.sum(), x)] == [[4, 4]]
    with pytest.raises(RuntimeError, match="register_hook: the tensor does not require grad"):
        tg.ones(1).register_hook(print)


def test_retain_grad() -> None:
    x = leaf(2.0)
    y = x * x
    z = y * 3.0
    y.retain_grad()
    z.backward()
    assert y.grad is not None and y.grad.tolist() == [3] and z.grad is None and not y.is_leaf


def test_grad_mode() -> None:
    x = leaf(1.0)
    with tg.no_grad():
        assert not tg.is_grad_enabled() and not (x * 2.0).requires_grad
        with tg.enable_grad():
            assert (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    assert tg.is_grad_enabled()
    assert not tg.no_grad()(lambda: x * 2.0)().requires_grad

    @tg.no_grad()
    def named(a: int) -> int:
        """Its own."""
        return a
    assert named(3) == 3 and named.__doc__ == "Its own."
    once = tg.no_grad()
    with once, once:
        pass
    assert tg.is_grad_enabled()
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert tg.is_grad_enabled()


def test_grad_mode_belongs_to_the_thread() -> None:
    with tg.no_grad():
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(tg.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_requires_grad_and_leaves() -> None:
    x = leaf(1.0)
    y = x * 2.0
    assert x.is_leaf and not y.is_leaf and y.requires_grad and y.grad_fn is not None and x.grad_fn is None
    assert not y.detach().requires_grad and y.detach().is_leaf
    assert not (tg.ones(2) * 2.0).requires_grad
    with pytest.raises(RuntimeError, match=r"requires_grad_: i64\[1\] is neither floating-point nor complex"):
        tg.tensor([1], requires_grad=True)
    with pytest.raises(RuntimeError, match="requires_grad_: the tensor is not a leaf; use detach"):
        y.requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad
    assert not (x > 0).requires_grad and not x.argmax().requires_grad


def test_grad_is_none_or_fits() -> None:
    x = leaf(1.0, 2.0)
    for wrong in (tg.ones(3, dtype=tg.float64), tg.ones(2)):
        with pytest.raises(RuntimeError, match="grad must be None or a Tensor of shape"):
            x.grad = wrong
    x.grad = tg.zeros(2, dtype=tg.float64)
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_clone_and_detach() -> None:
    x = leaf(1.0, 2.0)
    y = x.clone()
    y.sum().backward()
    assert not np.shares_memory(x.array, y.array) and x.grad is not None and x.grad.tolist() == [1, 1]
    assert np.shares_memory(x.detach().array, x.array)


def test_gradcheck_refuses_what_it_cannot_check() -> None:
    with pytest.raises(TypeError, match="gradcheck: input 0 is float32: numerical derivatives need float64"):
        gradcheck(tg.exp, tg.ones(1, requires_grad=True))
    assert gradcheck(lambda a, b: (a * b, a > b), (leaf(1.0), tg.tensor([2.0], dtype=tg.float64)))
    assert gradgradcheck(lambda a: a * 3.0, leaf(1.0))
    with pytest.raises(GradcheckError, match="1 of 1 Jacobian is not what differences say"):
        gradcheck(lambda a: a + a.detach(), leaf(1.0))


def test_a_double_backward_after_the_leaf_was_overwritten() -> None:
    x = leaf(2.0)
    y = x * x * x
    with tg.no_grad():
        x.fill_(5.0)
    first, = grad(y, x, create_graph=True)
    assert first is not None and first.tolist() == [12]
    second, = grad(first, x)
    assert second is not None and second.tolist() == [12]


def test_gradient_dtype_follows_the_tensor() -> None:
    x = tg.ones(2, requires_grad=True)
    x.backward(tg.ones(2, dtype=tg.float64))
    assert x.grad is not None and x.grad.dtype == tg.float32


def test_a_handle_removes_its_own_hook() -> None:
    x, seen = tg.tensor([1.0], requires_grad=True), []
    first, second = (x.register_hook(seen.append) for _ in range(2))
    first.remove()
    first.remove()
    x.sum().backward()
    assert len(seen) == 1
    second.remove()
    x.sum().backward()
    assert len(seen) == 1


# ---- the graph --------------------------------------------------------------------------------------------------


def test_the_graph_can_be_walked() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x * w + 1.0).sum()
    assert y.grad_fn.name() == "sum" and repr(y.grad_fn) == "<sum backward>"
    (added, which), = y.grad_fn.next_functions
    assert added.name() == "add" and which == 0 and added.next_functions[1] == (None, 0)
    product = added.next_functions[0][0]
    leaves = [function.variable for function, _ in product.next_functions]
    assert leaves[0] is x and leaves[1] is w and product.next_functions[0][0].name() == "AccumulateGrad"
    assert product.next_functions[0] == product.next_functions[0] and x.grad_fn is None


def test_hooks_of_operations() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0).detach()
    seen: list[tuple] = []
    y = x * w
    z = y.sum()
    first = y.grad_fn.register_prehook(lambda gradients: (gradients[0] * 10,))
    after = y.grad_fn.register_hook(lambda of_operands, of_result: seen.append((of_operands, of_result)))
    z.backward(retain_graph=True)
    (of_x, of_w), (of_y,) = seen[0]
    assert of_x.tolist() == [30, 40] and of_w is None and of_y.tolist() == [10, 10] and x.grad.tolist() == [30, 40]
    first.remove()
    after.remove()
    y.grad_fn.register_hook(lambda of_operands, of_result: (of_operands[0] * 0, None))
    x.grad = None
    z.backward(retain_graph=True)
    assert len(seen) == 1 and x.grad.tolist() == [0, 0]
    y.grad_fn.register_hook(lambda of_operands, of_result: ())
    with pytest.raises(RuntimeError, match="a hook of mul, after its backward returned 0 gradients: it was given 2"):
        z.backward()


def test_a_hook_after_an_operation_of_a_traced_step() -> None:
    calls = []

    @tg.trace
    def step(x: Tensor) -> Tensor:
        y = x * x
        y.grad_fn.register_hook(lambda of_operands, of_result: calls.append(1))
        return grad(y.sum(), x)[0]

    for k in range(1, 4):
        assert step(leaf(1.0, 2.0)).tolist() == [2, 4] and len(calls) == k


# ---- grad modes -------------------------------------------------------------------------------------------------


def test_set_grad_enabled() -> None:
    with tg.set_grad_enabled(False):
        assert not tg.is_grad_enabled()
        with tg.set_grad_enabled(True):
            assert tg.is_grad_enabled()
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()
    tg.set_grad_enabled(False)
    assert not tg.is_grad_enabled()
    tg.set_grad_enabled(True)
    mode = tg.set_grad_enabled(False)
    for _ in range(2):
        with mode:
            assert not tg.is_grad_enabled()
        assert tg.is_grad_enabled()

    @tg.set_grad_enabled(False)
    def f() -> bool:
        return tg.is_grad_enabled()

    assert not f() and tg.is_grad_enabled() and f.__name__ == "f"


def test_inference_mode() -> None:
    x = leaf(1.0)
    with tg.inference_mode():
        y = x * 2
        with tg.inference_mode(False):
            assert not tg.is_grad_enabled()
    with tg.inference_mode(False):
        assert tg.is_grad_enabled()
    assert not y.requires_grad and (y * x).requires_grad
    assert not tg.inference_mode()(lambda: tg.is_grad_enabled())()


@pytest.mark.parametrize("mode", [tg.no_grad, tg.inference_mode])
def test_a_grad_mode_decorates_without_parentheses(mode: Any) -> None:
    @mode
    def named(x: Tensor) -> Tensor:
        return x * 2

    assert not named(leaf(1.0)).requires_grad and named.__name__ == "named" and tg.is_grad_enabled()
    with tg.no_grad():
        assert tg.enable_grad(lambda x: x * 2)(leaf(1.0)).requires_grad


def test_a_generator_that_a_grad_mode_decorates() -> None:
    seen = []

    @tg.no_grad()
    def steps(n: int) -> Any:
        try:
            for k in range(n):
                seen.append(tg.is_grad_enabled())
                with tg.enable_grad():
                    seen.append((yield k))
                    seen.append(tg.is_grad_enabled())
        except KeyError:
            yield "caught"
        finally:
            seen.append("end")
        return 7

    def outer() -> Any:
        seen.append((yield from steps(1)))

    for _ in outer():
        assert tg.is_grad_enabled()
    assert seen == [False, None, True, "end", 7]
    running = steps(2)
    assert next(running) == 0 and running.send("sent") == 1 and running.throw(KeyError("k")) == "caught"
    assert seen[5:] == [False, "sent", True, False] and tg.is_grad_enabled()
    running.close()
    assert seen[9:] == ["end"] and tg.is_grad_enabled()


def test_the_grad_mode_is_a_threads_own() -> None:
    seen = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tg.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


@pytest.mark.parametrize("mode", [lambda: tg.set_grad_enabled(False), tg.inference_mode, tg.no_grad])
def test_grad_modes_in_a_trace(mode) -> None:
    @tg.trace
    def f(x: Tensor) -> Tensor:
        with mode():
            scale = x * 2
        return grad((x * scale).sum(), x)[0]

    for _ in range(4):
        assert f(leaf(1.0, 2.0)).tolist() == [2, 4]
    assert f.stats.replays >= 2, f.explain()


# ---- gradcheck --------------------------------------------------------------------------------------------------


def test_gradcheck_says_what_differs_where() -> None:
    class Wrong(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y, x + y

        @staticmethod
        def backward(ctx, g, h):
            x, y = ctx.saved_tensors
            return g * y + h, g * x + h * tg.tensor([1.0, 1.5], dtype=tg.float64)

    points = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(Wrong.apply, points)
    assert "gradcheck: 1 of 4 Jacobians is not what differences say (atol 0.0001, rtol 0.001)" in str(caught.value)
    heads, row = str(caught.value).splitlines()[1:]
    assert row.split() == ["1", "1", "1", "of", "4", "[1],", "[1]", "1", "1.5"], heads
    assert gradcheck(Wrong.apply, points, raise_exception=False) is False


def test_gradcheck_wants_the_same_gradient_each_time() -> None:
    turns = iter(range(1000))

    class Drifting(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return g + g * 1e-6 * next(turns)

    with pytest.raises(GradcheckError, match="two backwards of output 0 give input 0 gradients that differ by up to"):
        gradcheck(Drifting.apply, leaf(1.0))
    assert not gradcheck(Drifting.apply, leaf(1.0), raise_exception=False)
    assert gradcheck(Drifting.apply, leaf(1.0), nondet_tol=1e-2)


def test_gradgradcheck_checks_the_way_to_the_cotangent() -> None:
    class Detached(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 3

        @staticmethod
        def backward(ctx, g):
            return g.detach() * 3

    assert gradcheck(Detached.apply, leaf(1.0, 2.0))
    with pytest.raises(GradcheckError):
        gradgradcheck(Detached.apply, leaf(1.0, 2.0))


def test_what_gradcheck_is_given() -> None:
    x = leaf(0.5, 2.0)
    assert gradcheck(lambda a, n, b: a * n * b, (x, 3, x)) and gradgradcheck(lambda a, n, b: a * n * b, (x, 3, x))
    assert gradcheck(lambda a: (a * 2, "a word", a > 0), x)
    for check in (gradcheck, gradgradcheck):
        with pytest.raises(ValueError, match="no input is a Tensor that requires grad: there is nothing to check"):
            check(tg.exp, x.detach())
