"""Routes: where their derivatives lead, what uses them up, and what they do when the target has no code for them."""
from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen import TARGETS, CannotLower


def vector(*values: float, requires_grad: bool = False) -> tg.Tensor:
    return tg.tensor(np.array(values, np.float64), requires_grad=requires_grad)


def numbers(x: tg.Tensor | None) -> Any:
    return None if x is None else x.detach().numpy().tolist()


def called_twice(f: Any, *args: Any) -> tuple[Any, Any]:
    """What f gives eagerly, and what its replay gives."""
    traced = tg.trace(f)
    traced(*args)
    result = traced(*args)
    assert traced.stats.replays == 1, traced.explain()
    return f(*args), result


def test_an_input_that_nothing_leads_to_gets_no_grad() -> None:
    w, u = vector(1, 2, requires_grad=True), vector(3, 4, requires_grad=True)

    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        return (w * x).sum(), (u * x).sum()

    for outputs in called_twice(f, vector(1, 1)):
        w.grad = u.grad = None
        outputs[0].backward()
        assert numbers(w.grad) == [1, 1] and u.grad is None
        with pytest.raises(RuntimeError, match="do not depend on input"):
            tg.autograd.grad(outputs[1], w)


def test_one_output_uses_up_what_it_shares_with_another_and_nothing_else() -> None:
    w, u = vector(1, 2, requires_grad=True), vector(3, 4, requires_grad=True)

    def f(x: tg.Tensor) -> tuple[tg.Tensor, ...]:
        shared = tg.tanh(w * x)
        return shared.sum(), (shared * shared).sum(), (u * x).tanh().sum()

    for first, second, third in called_twice(f, vector(1, 1)):
        first.backward()
        third.backward()
        with pytest.raises(RuntimeError, match="backward through a graph that was freed"):
            second.backward()


def test_what_saves_nothing_is_never_used_up() -> None:
    w = vector(1, 2, requires_grad=True)
    for y in called_twice(lambda: (w * 2.0 + 1.0).sum()):
        w.grad = None
        y.backward()
        y.backward()
        assert numbers(w.grad) == [4, 4]


def test_a_result_of_a_run_that_went_backward_is_used_up() -> None:
    w, u = vector(1, 2, requires_grad=True), vector(3, 4, requires_grad=True)

    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        loss, other = (w * w * x).sum(), (u * u * x).sum()
        loss.backward()
        return loss, loss + other

    traced = tg.trace(f)
    for _ in range(4):
        loss, both = traced(vector(1, 1))
        assert not loss.is_leaf and loss.requires_grad
        with pytest.raises(RuntimeError, match="freed"):
            loss.backward()
        assert numbers(tg.autograd.grad(both, u, retain_graph=True)[0]) == [6, 8]
        with pytest.raises(RuntimeError, match="freed"):
            both.backward()
    assert traced.stats.replays >= 2


def test_gradients_require_grad_where_eager_ones_do() -> None:
    w, x = vector(1, 2, requires_grad=True), vector(3, 4, requires_grad=True)
    for y in called_twice(lambda: (w * x).sum() + (w * 2.0).sum()):
        by_w, by_x = tg.autograd.grad(y, (w, x), create_graph=True)
        assert by_w.requires_grad and by_x.requires_grad
        second = tg.autograd.grad((by_w * by_w).sum(), (w, x), allow_unused=True)
        assert second[0] is None and numbers(second[1]) == [10, 12]
    for y in called_twice(lambda: (w * 2.0).sum()):
        assert not tg.autograd.grad(y, w, create_graph=True)[0].requires_grad


def test_a_result_that_leads_to_a_tensor_the_run_made_is_left_to_python() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        made = tg.ones(2, dtype=tg.float64, requires_grad=True)
        return made, (made * x).sum()

    with pytest.warns(tg.NotReplayed, match="HISTORY"):
        for _ in range(3):
            made, y = f(vector(3, 4))
            y.backward()
            assert numbers(made.grad) == [3, 4]


def test_a_leaf_written_through_a_view_is_not_what_it_was() -> None:
    w = vector(1, 2, requires_grad=True)

    @tg.trace
    def f() -> tg.Tensor:
        with tg.no_grad():
            view = w[None]
            view *= 0.5
        return w * w

    with pytest.warns(tg.NotReplayed, match="HISTORY"):
        for k in range(3):
            w.grad = None
            f().sum().backward()
            assert numbers(w.grad) == [2.0**-k, 2.0 * 2.0**-k]


def test_a_history_that_a_write_gives_to_an_argument_is_left_to_python() -> None:
    w = vector(1, 2, requires_grad=True)

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        x += w
        return x.sum()

    with pytest.warns(tg.NotReplayed, match="NOT_RECORDED"):
        for _ in range(3):
            w.grad = None
            x = w * 3.0
            f(x)
            x.sum().backward()
            assert numbers(w.grad) == [4, 4]


def test_a_history_that_a_first_use_gives_is_seen() -> None:
    kept = {"h": vector(1, 2)}

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        kept["h"].copy_(x)
        return kept["h"]

    with pytest.warns(tg.NotReplayed):
        for k in range(4):
            x = vector(k, 1, requires_grad=True)
            f(x).sum().backward()
            assert numbers(x.grad) == [1, 1] and kept["h"].requires_grad


def test_a_detached_view_that_gets_a_history_has_its_new_value() -> None:
    def f(w: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        view = w.detach()
        view += x + w
        with tg.no_grad():
            return view * 2.0

    traced = tg.trace(f)
    for k in range(3):
        w, x = vector(1, 2, requires_grad=True), vector(k, 3)
        assert numbers(traced(w, x)) == [2.0 * (k + 2), 14] and numbers(w) == [k + 2, 7]
    assert traced.stats.replays == 2


def test_a_backward_that_the_target_declines_runs_operation_by_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    def declines(source: Any, *rest: Any) -> Any:
        if "backward" in source.tree.name:
            raise CannotLower("no derivatives here")
        return TARGETS["llvm_cpu"].compile(source, *rest)

    monkeypatch.setitem(TARGETS, "forward only", replace(TARGETS["llvm_cpu"], name="forward only", compile=declines))

    @tg.trace(target="forward only")
    def f(x: tg.Tensor) -> tg.Tensor:
        return (tg.exp(x) * x).sum()

    for _ in range(3):
        x = vector(0.5, -1.5, requires_grad=True)
        g, = tg.autograd.grad(f(x), x, create_graph=True)
        second, = tg.autograd.grad(g.sum(), x)
        point = np.array([0.5, -1.5])
        np.testing.assert_allclose(numbers(g), np.exp(point) * (point + 1), 1e-12)
        np.testing.assert_allclose(numbers(second), np.exp(point) * (point + 2), 1e-12)
    assert f.stats.replays == 2


@pytest.mark.parametrize("dtype", [tg.complex128, tg.bfloat16])
def test_saved_values_of_every_dtype_have_a_history(dtype: Any) -> None:
    """The derivative of a gradient leads through exp(y), which is saved, to y."""
    @tg.trace
    def f(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        return x * tg.exp(y)

    for _ in range(2):
        x, y = (tg.tensor([0.5, -1.5], dtype=dtype, requires_grad=True) for _ in range(2))
        ones = tg.ones(2, dtype=dtype)
        g, = tg.autograd.grad(f(x, y), x, ones, create_graph=True)
        second, = tg.autograd.grad(g, y, ones)
        assert second.tolist() == tg.exp(y).tolist()


def test_results_lie_in_memory_as_the_python_has_them() -> None:
    """Results in another order of axes are computed in it, by the program: no copy is made of them."""
    w = tg.randn(6, 5, 4).requires_grad_()

    def f(a: tg.Tensor) -> tuple[tg.Tensor, ...]:
        y = (w.permute(2, 0, 1) * a).exp()
        return y, y.sum(axis=0), (y * 3).transpose(0, 1), a.mT * 2, (a * 2)[::-1] + 1

    traced = tg.trace(f)
    for _ in range(3):
        a = tg.randn(4, 6, 5)
        found, expected = traced(a), f(a)
        for x, y in zip(found, expected):
            assert x.array.strides == y.array.strides
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-6)
        (g,), (h,) = (tg.autograd.grad((y[0] ** 2).sum() + y[2].sum(), w) for y in (found, expected))
        np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-5)
    assert traced.stats.replays == 2
    (root,) = traced._tree.roots
    assert [made.strides for made in root.traces[0].made] == [None] * 5


def test_what_uses_a_route_up_is_known_from_what_all_ways_lead_through(monkeypatch) -> None:
    def f(w: tg.Tensor, u: tg.Tensor) -> tuple[tg.Tensor, ...]:
        joined = tg.tanh(w * u) + tg.exp(w)
        return ((joined - 1.0) ** 2).mean(), (u * u).sum()

    traced = tg.trace(f)
    traced(vector(1, 2, requires_grad=True), vector(3, 4, requires_grad=True))
    route = traced._tree.roots[0].traces[0].route
    assert route is not None

    def spent(freed: frozenset[int]) -> bool:
        route._spent.clear()
        return route.spent(freed)

    values = range(len(route.graph.inputs), len(route.graph.inputs) + len(route.graph.nodes))
    several = [frozenset(some) for n in range(4) for some in combinations(values, n)]
    known = [spent(freed) for freed in several]
    monkeypatch.setattr(type(route), "_is_passed", lambda *of: False)
    assert known == [spent(freed) for freed in several] and len(set(known)) == 2
