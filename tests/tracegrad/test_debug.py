"""tg.debug: what looks inside a run is given the same values, in the same order, by eager runs and by replays."""
from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.aborts import Abort


def vector(seed: int, n: int = 3, **options: Any) -> tg.Tensor:
    """Small whole numbers, so that sums are exact whatever their order."""
    return tg.tensor(np.random.default_rng(seed).integers(-8, 8, n).astype(float), **options)


def plain(value: Any) -> Any:
    """What was handed over, comparable."""
    if isinstance(value, tg.Tensor):
        assert value.is_leaf and not value.requires_grad and value.view_of is None
        return "tensor", value.array.tolist()
    if isinstance(value, np.ndarray):
        return "array", value.tolist()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return type(value)(map(plain, value)) if isinstance(value, list | tuple) else value


def agree(make: Callable[[list], Callable[..., Any]], calls: list[tuple], replays: int,
          target: str = "auto") -> list:
    """Make the function twice, around a list that it hands things to; call one plainly, one traced. What was handed."""
    expected: list[Any] = []
    found: list[Any] = []
    eager, traced = make(expected), tg.trace(target=target)(make(found))
    for args in calls:
        results = [run(*args) for run in (eager, traced)]
        np.testing.assert_allclose(*(r.detach().numpy() for r in results), rtol=1e-12)
        assert [plain(v) for v in found] == [plain(v) for v in expected]
    assert traced.stats.replays == replays, traced.explain()      # type: ignore[attr-defined]
    return found


def test_values_are_those_of_their_place() -> None:
    def make(seen: list) -> Callable:
        def f(x: tg.Tensor) -> tg.Tensor:
            y = x.clone()
            tg.debug.callback(seen.append, y)
            y *= 2
            tg.debug.callback(seen.append, y)
            half = y[1:]
            half += 1.0
            tg.debug.callback(seen.append, half)
            tg.debug.callback(seen.append, y)
            return y
        return f

    found = agree(make, [(vector(k),) for k in range(4)], replays=3)
    assert len(found) == 16


def test_a_function_written_in_place_holds_what_the_run_holds() -> None:
    def make(seen: list) -> Callable:
        def f(x: tg.Tensor, step: int) -> tg.Tensor:
            scale = 3.0
            for k in range(2):
                x = x * scale
                tg.debug.callback(lambda v, w, k=k: seen.append((k, step, scale, v, w, x)),      # noqa: B023
                                  x.sum(), (x, {"step": step}))
            return x
        return f

    found = agree(make, [(vector(k), k) for k in range(5)], replays=3)
    assert [entry[:3] for entry in found[-2:]] == [(0, 4, 3.0), (1, 4, 3.0)]


def log(seen: list, *values: Any) -> None:
    seen.append(values)


class Meter:
    """An object whose method is handed over; `sum` is a name that the function mentions too."""

    def __init__(self, seen: list):
        self.seen, self.sum, self.last = seen, 0, None

    def update(self, value: Any) -> None:
        self.sum += 1
        self.last = value
        self.seen.append(value)

    def __call__(self, value: Any) -> None:
        self.update(value)


def by_name(seen: list) -> Callable[..., Any]:
    return functools.partial(log, seen)


@pytest.mark.parametrize("hand", [
    lambda seen: lambda v: seen.append(v), by_name, Meter, lambda seen: Meter(seen).update, lambda seen: seen.append])
def test_whatever_can_be_called(hand: Callable[[list], Callable]) -> None:
    def make(seen: list) -> Callable:
        look = hand(seen)

        def f(x: tg.Tensor) -> tg.Tensor:
            y = (x * x).sum()
            tg.debug.callback(look, y)
            return y
        return f

    agree(make, [(vector(k),) for k in range(4)], replays=3)


def test_methods_of_what_the_function_names() -> None:
    def make(seen: list) -> Callable:
        meter = Meter(seen)

        class Model:
            def __init__(self) -> None:
                self.seen = seen
                self.scale = 2.0

            def look(self, value: Any) -> None:
                self.last = value
                self.seen.append(value)

        model = Model()

        def f(x: tg.Tensor) -> tg.Tensor:
            y = (x * model.scale).sum()
            tg.debug.callback(meter.update, y)
            tg.debug.callback(model.look, y)
            tg.debug.callback(model.look, x)
            return y
        return f

    agree(make, [(vector(k),) for k in range(4)], replays=3)


def test_a_list_among_the_arguments() -> None:
    @tg.trace
    def f(x: tg.Tensor, seen: list) -> tg.Tensor:
        tg.debug.callback(seen.append, x)
        return x * 2.0

    seen: list[tg.Tensor] = []
    for k in range(4):
        f(vector(k), seen)
    assert [v.array.tolist() for v in seen] == [vector(k).array.tolist() for k in range(4)]
    assert f.stats.replays == 3


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_what_the_function_reads_and_a_callback_changes_is_never_stale() -> None:
    def make(seen: list) -> Callable:
        def f(x: tg.Tensor) -> tg.Tensor:
            tg.debug.callback(seen.append, x)
            return x * len(seen)
        return f

    agree(make, [(vector(k),) for k in range(4)], replays=0)

    def make_attribute(seen: list) -> Callable:
        meter = Meter(seen)

        def f(x: tg.Tensor) -> tg.Tensor:
            tg.debug.callback(lambda v: meter.update(v), x)
            return x * meter.sum
        return f

    agree(make_attribute, [(vector(k),) for k in range(4)], replays=0)


def test_a_method_that_is_replaced_is_seen() -> None:
    seen: list[Any] = []

    class Own(Meter):
        pass

    meter = Own(seen)

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        tg.debug.callback(meter.update, x)
        return x + 1.0

    for k in range(3):
        f(vector(k))
    Own.update = lambda self, value: seen.append("class")       # type: ignore[method-assign, assignment]
    f(vector(3))
    meter.update = lambda value: seen.append("instance")        # type: ignore[method-assign, assignment]
    f(vector(4))
    assert seen[3:] == ["class", "instance"]


def test_training_under_backward_and_no_grad() -> None:
    def make(seen: list) -> Callable:
        w = vector(9, requires_grad=True)

        def step(x: tg.Tensor) -> tg.Tensor:
            loss = ((w * x).sum() - 1.0).square()
            tg.debug.callback(seen.append, loss)
            w.grad = None
            loss.backward()
            tg.debug.callback(lambda g: seen.append(g), w.grad)
            with tg.no_grad():
                w.sub_(0.1 * w.grad)
                tg.debug.callback(lambda v: seen.append(v), w)
            return loss
        return step

    def rounded(seen: list) -> Callable:
        return make(seen)

    expected: list[Any] = []
    found: list[Any] = []
    eager, traced = rounded(expected), tg.trace(rounded(found))
    for k in range(5):
        eager(vector(k))
        traced(vector(k))
    for e, v in zip(expected, found, strict=True):
        np.testing.assert_allclose(v.numpy(), e.numpy(), rtol=1e-12)
    assert traced.stats.replays == 4      # type: ignore[attr-defined]


def test_nested_traced_functions() -> None:
    def make(seen: list) -> Callable:
        @tg.trace
        def inner(x: tg.Tensor) -> tg.Tensor:
            tg.debug.callback(lambda v: seen.append(("inner", v)), x)
            return x * 2.0

        def outer(x: tg.Tensor) -> tg.Tensor:
            y = inner(x) + inner(x + 1.0)
            tg.debug.callback(lambda v: seen.append(("outer", v)), y)
            return y
        return outer

    agree(make, [(vector(k),) for k in range(4)], replays=3)


def test_numpy_code() -> None:
    seen: list[Any] = []

    @tg.trace
    def f(u: np.ndarray, step: float) -> np.ndarray:
        v = u * 2
        tg.debug.callback(lambda a, n, s: seen.append((a, n, s)), v, v.sum(), step)
        v += 1
        return v

    for k in range(5):
        u = np.arange(3.0) + k
        np.testing.assert_array_equal(f(u, 0.5 * k), u * 2 + 1)
    for k, (a, n, s) in enumerate(seen):
        assert type(a) is np.ndarray and isinstance(n, float)
        assert a.tolist() == ((np.arange(3.0) + k) * 2).tolist() and n == a.sum() and s == 0.5 * k
    assert len(seen) == 5 and f.stats.replays == 3


def test_every_counts_the_calls_of_one_place() -> None:
    def make(seen: list) -> Callable:
        def f(x: tg.Tensor, k: int) -> tg.Tensor:
            tg.debug.callback(lambda v: seen.append(("a", v)), x, every=3)
            for _ in range(2):
                tg.debug.callback(lambda v: seen.append(("b", v)), x, every=5)
            return x + 1.0
        return f

    seen: list[Any] = []
    f = tg.trace(make(seen))
    for k in range(7):
        f(tg.full((1,), k), 0)
    assert [(name, v.item()) for name, v in seen] == [
        ("a", 0), ("b", 0), ("b", 2), ("a", 3), ("b", 5), ("a", 6)]
    assert f.stats.replays == 6     # type: ignore[attr-defined]


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    def make(seen: list) -> Callable:
        def f(x: tg.Tensor, step: int) -> tg.Tensor:
            loss = x.sum()
            tg.debug.print("{:3d} loss {:.3f} {name}={x}", step, loss, x=x, name="x")
            tg.debug.print("plain")
            return loss
        return f

    eager, traced = make([]), tg.trace(make([]))
    for run in (eager, traced):
        for k in range(5):
            run(vector(k), k)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20 and lines[:10] == lines[10:]
    assert lines[2] == f"  1 loss {vector(1).sum().item():.3f} x={vector(1)}"
    assert traced.stats.replays == 3        # type: ignore[attr-defined]


def test_what_a_callback_raises_comes_out_of_the_call() -> None:
    calls: list[float] = []

    def check(total: tg.Tensor) -> None:
        calls.append(total.item())
        if total > 3:
            raise ArithmeticError(f"{total.item()} is too much")

    state = {"last": tg.zeros(2)}

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        state["last"] = x
        tg.debug.callback(check, x.sum())
        return x * 2.0

    with pytest.raises(ArithmeticError):
        f(tg.full((2,), 5.0))
    for k in (0.0, 1.0):
        f(tg.full((2,), k))
    with pytest.raises(ArithmeticError, match="8.0 is too much"):
        f(tg.full((2,), 4.0))
    assert calls == [10.0, 0.0, 2.0, 8.0] and state["last"].tolist() == [4.0, 4.0]
    assert f.stats.replays == 2


def test_a_callback_may_call_traced_functions() -> None:
    seen: list[Any] = []

    @tg.trace
    def norm(x: tg.Tensor) -> tg.Tensor:
        return tg.sqrt((x * x).sum())

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        tg.debug.callback(lambda v: seen.append(norm(v).item()), x)
        return x * 2.0

    for k in range(4):
        f(vector(k))
    np.testing.assert_allclose(seen, [np.linalg.norm(vector(k).numpy()) for k in range(4)])
    assert f.stats.replays == 3 and norm.stats.calls == 4 and norm.stats.replays == 3


def test_what_is_kept_is_ones_own() -> None:
    kept: list[tg.Tensor] = []

    def change(v: tg.Tensor) -> None:
        kept.append(v)
        v *= 0.0

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2.0
        tg.debug.callback(change, y)
        tg.debug.callback(change, x)
        return y

    for k in range(4):
        x = vector(k)
        assert f(x).tolist() == (vector(k) * 2.0).tolist() and x.tolist() == vector(k).tolist()
    assert len({id(v.array) for v in kept}) == 8


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_what_cannot_be_called_again() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        count = 0

        def look(v: tg.Tensor) -> None:
            nonlocal count
            count += 1

        tg.debug.callback(look, x)
        return x * count

    for k in range(3):
        assert f(vector(k)).tolist() == vector(k).tolist()
    assert f.stats.aborts[Abort.CALLBACK.name] and f.stats.replays == 0


def test_threads_count_together() -> None:
    seen: list[int] = []

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        tg.debug.callback(lambda v: seen.append(1), x, every=4)
        return x + 1.0

    f(vector(0))
    threads = [threading.Thread(target=lambda: [f(vector(k)) for k in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 101


def test_misuse_is_named() -> None:
    x = vector(0)
    with pytest.raises(TypeError, match="test_debug.py:.*the function comes first, and Tensor is none"):
        tg.debug.callback(x, x)     # type: ignore[arg-type]
    with pytest.raises(ValueError, match="test_debug.py:.*every=0"):
        tg.debug.callback(id, x, every=0)
    with pytest.raises(TypeError, match="the format comes first"):
        tg.debug.print(x)           # type: ignore[arg-type]
    with pytest.raises(ValueError, match="test_debug.py:.*'{} {}' does not fit"):
        tg.debug.print("{} {}", x)


@dataclass
class Both:
    a: tg.Tensor
    more: dict[str, Any]


def test_containers_hold_what_was_in_them_then() -> None:
    def make(seen: list) -> Callable:
        captured = np.arange(3.0)

        def f(x: tg.Tensor) -> tg.Tensor:
            y = x * 2.0
            both = Both(y, {"n": 1, "u": captured})
            tg.debug.callback(lambda b: seen.append([type(b).__name__, b.a, b.more]), both)
            tg.debug.callback(lambda *v: seen.append(v), x[::2], x.reshape(1, 3).T, x[0:0], x > 0, tg.int8, "t", None)
            y += 1.0
            return y
        return f

    agree(make, [(vector(k),) for k in range(4)], replays=3)


def test_only_what_the_taken_path_comes_to_is_handed_over() -> None:
    def make(seen: list) -> Callable:
        history: list[str] = []

        def f(x: tg.Tensor) -> tg.Tensor:
            tg.debug.callback(lambda v: history.append("all"), x)
            if x.sum() > 0:
                tg.debug.callback(lambda v: seen.append(("positive", v)), x)
                return x * 2.0
            tg.debug.callback(seen.append, x)
            while x.sum() < 0:
                x = x + 1.0
                tg.debug.callback(lambda v: seen.append(("step", v, len(history))), x)
            return x
        return f

    calls = [(tg.full((2,), v),) for v in (1.0, -1.0, -3.0, 2.0, -1.0, -3.0, -2.0, -3.0, 1.0)]
    for target in ("interpret", "llvm_cpu"):
        agree(make, calls, replays=5, target=target)


def test_reports_name_the_places_and_checks_call_nobody_twice() -> None:
    seen: list[int] = []

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        tg.debug.callback(lambda v: seen.append(1), x)
        tg.debug.callback(lambda v: None, x, every=5)
        return x * 2.0

    for k in range(3):
        f(vector(k))
    where = re.search(r"calls back at: test_debug.py:(\d+), test_debug.py:(\d+) every 5 times", str(f.explain()))
    assert where is not None and int(where[2]) == int(where[1]) + 1
    assert f.verify(vector(0)).agrees and len(seen) == 4          # that of the Python run
    audited = tg.trace(audit=1)(f.eager)
    for k in range(3):
        audited(vector(k))
    assert audited.stats.audits == 2 and len(seen) == 7
