"""Numbers that are read only to be compared: the way of the path is how that ends, and the bytecode says what it is."""
from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.compared import comparisons_of

TOLERANCE = 0.5


class Limits:
    def __init__(self, top: float):
        self.top = top


limits = Limits(2.0)


class Number:
    """Gives 1.5, or 3, and notes what is found of the read."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def item(self) -> float:
        self.found.append(", ".join(map(str, comparisons_of(sys._getframe(1), "item", 1.5))))
        return 1.5

    def __float__(self) -> float:
        self.found.append(", ".join(map(str, comparisons_of(sys._getframe(1), "float", 1.5))))
        return 1.5

    def __int__(self) -> int:
        self.found.append(", ".join(map(str, comparisons_of(sys._getframe(1), "int", 3))))
        return 3


def at_once(x, tol=0.1):
    return 1 if x.item() < tol else 2


def of_the_absolute_value(x, tol=0.1):
    if abs(x.item()) <= tol:
        return 1


def in_a_variable(x, tol=0.1):
    err = abs(float(x))
    if err < tol:
        return 1
    return 2


def the_other_side(x, tol=0.1):
    return tol * 2 >= float(x)


def what_is_global(x):
    return float(x) < TOLERANCE


def what_an_object_holds(x):
    return float(x) > limits.top


def twice(x):
    value = x.item()
    return value > 1 and value < 2


def in_a_loop(x, tol=0.1):
    n = 0
    err = math.inf
    while err > tol and n < 1:
        err = x.item()
        n += 1
    return n


def work_between(x, tol=0.1):
    y, n = 0, 3
    err = x.item()
    y = x
    n += 2 * n
    if err < tol + n:
        return y
    return n


def whether_it_is_finite(x):
    loss = x.item()
    if not math.isfinite(loss):
        raise FloatingPointError
    return 1


def an_integer(x):
    return int(x) == 3


def before_other_calls(x):
    if x.item() > 1:
        return len([x])


def stored_as_a_bool(x):
    small = x.item() < 1
    return small, len("a")


def between_two(x):
    if 0.2 < float(x) < 0.7:
        return 1
    return 2


def between_two_as_a_bool(x, low=1):
    return not low <= abs(x.item()) < low + 1


def between_two_of_an_object(x):
    return -limits.top < x.item() <= limits.top <= TOLERANCE


def between_two_in_a_loop(x):
    for _ in range(2):
        if not 1 < (value := x.item()) < 2:
            break
    else:
        return 1
    return 2 if value > 3 else 3


def after_a_number_on_the_stack(x):
    n, value = 3, x.item()
    return value > n


FOUND: list[tuple[Callable[..., Any], list[str]]] = [
    (at_once, ["< 0.1"]), (of_the_absolute_value, ["abs <= 0.1"]), (in_a_variable, ["abs < 0.1"]),
    (the_other_side, ["<= 0.2"]), (what_is_global, ["< 0.5"]), (what_an_object_holds, ["> 2.0"]),
    (twice, ["> 1, < 2"]), (in_a_loop, ["> 0.1"]), (work_between, ["< 9.1"]), (whether_it_is_finite, ["abs < inf"]),
    (an_integer, ["== 3"]), (before_other_calls, ["> 1"]), (stored_as_a_bool, ["< 1"]),
    (between_two, ["> 0.2, < 0.7"]), (between_two_as_a_bool, ["abs >= 1, abs < 2"]),
    (between_two_of_an_object, ["> -2.0, <= 2.0"]), (between_two_in_a_loop, ["> 1, < 2"] * 2),
    (after_a_number_on_the_stack, ["> 3"])]


def returned_too(x):
    err = x.item()
    return err if err < 1 else 2


def used_by_a_handler(x):
    err = x.item()
    try:
        if err < 2:
            raise ValueError
    except ValueError:
        return f"{err}"


def used_in_the_next_turn(x):
    err = 0
    for _ in range(2):
        if err > 1:
            print(end=str(err)[:0])
        err = x.item()
        if err < 0:
            break


def computed_with(x):
    return x.item() * 2 < 1


def in_a_closure(x):
    err = x.item()
    if err < 1:
        return 1
    return lambda: err


def seen_by_locals(x):
    err = x.item()
    if err < 1:
        return locals()


def by_another_function(x):
    return math.sqrt(x) < 1


def with_the_left_side_changed_meanwhile(x):
    return TOLERANCE > float(x if len([x]) else None)


def between_two_of_which_one_may_have_changed(x):
    return TOLERANCE < float([x].pop()) < 2


def used_where_the_first_fails(x):
    if 2 < (value := x.item()) < 3:
        return 1
    return value


def used_where_the_second_fails(x):
    value = x.item()
    return value if not 1 < value < 2 else 1


def with_an_unknown_upper_end(x):
    return 1 < x.item() < len("abc")


def given_to_a_call(x):
    return max(x.item(), 1) < 2


def truth(x):
    return 1 if x.item() else 2


def unlike(x):
    return x.item() < len("abc")


def sum_of_two(x):
    return x.item() + x.item() < 1


@pytest.mark.parametrize(("function", "found"), FOUND, ids=[function.__name__ for function, _ in FOUND])
def test_comparisons_that_are_found(function: Callable[..., Any], found: list[str]) -> None:
    x = Number()
    function(x)
    assert x.found == found


@pytest.mark.parametrize("function", [
    returned_too, used_by_a_handler, used_in_the_next_turn, computed_with, in_a_closure, seen_by_locals,
    by_another_function, with_the_left_side_changed_meanwhile, between_two_of_which_one_may_have_changed,
    used_where_the_first_fails, used_where_the_second_fails, with_an_unknown_upper_end, given_to_a_call, truth, unlike,
    sum_of_two],
    ids=lambda function: function.__name__)
def test_what_may_do_more_with_the_number_is_not_understood(function: Callable[..., Any]) -> None:
    x = Number()
    function(x)
    assert set(x.found) == {""}


def test_loops_until_a_number_is_small_are_replayed_for_any_number() -> None:
    def newton(a: tg.Tensor, tol: float = 1e-6) -> tuple[tg.Tensor, int]:
        x = a
        for turns in range(50):             # noqa: B007
            fx = x * tg.tanh(x) - a
            if abs(fx.item()) < tol:
                break
            x = x - fx / (tg.tanh(x) + x * (1 - tg.tanh(x) ** 2))
        return x, turns

    traced = tg.trace(newton)
    values = [tg.tensor(v) for v in np.random.default_rng(0).uniform(0.5, 3, 40).astype(np.float32)]
    for a in values:
        traced(a)
    before = traced.stats.replays
    for a in values:
        (x, turns), (y, expected) = traced(a), newton(a)
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-5)
        assert turns == expected
    assert traced.stats.replays - before == len(values)
    assert "if abs(fx.item()) < tol -> False" in str(traced.explain())


@pytest.mark.parametrize("dtype", [
    tg.float64, tg.float32, tg.float16, tg.bfloat16, tg.int64, tg.int32, tg.uint8, tg.uint64], ids=str)
def test_values_at_the_edges_go_the_way_that_python_goes(dtype: Any) -> None:
    def f(x: tg.Tensor, at: float) -> int:
        return 1 if x.item() < at else 2

    def g(x: tg.Tensor) -> int:
        if floats and math.isnan(x.item()):
            return 3
        return 1 if abs(x.item()) >= 3 else 2

    def h(x: tg.Tensor, at: float) -> bool:
        return -at < x.item() <= at

    floats = dtype.kind == "f" or dtype == tg.bfloat16
    at = 0.1 if floats else 3
    near = [0.1, math.nextafter(0.1, 1), 0.0999, math.nan, math.inf, -math.inf, -3.0] if floats else [2, 3, 4, 100]
    for function, rest in ((f, (at,)), (g, ()), (h, (at,))):
        traced = tg.trace(function)
        for _ in range(3):
            for value in near:
                x = tg.tensor(np.asarray(value).astype(np.dtype(dtype)))
                assert traced(x, *rest) == function(x, *rest), value      # type: ignore[operator]
        if floats:
            assert traced.stats.follows == 0 and traced.stats.recordings <= 3, traced.stats


def test_what_is_used_on_one_way_only_is_one_tree_all_the_same() -> None:
    def f(x: tg.Tensor) -> int:
        i = int(x)
        if i > 2:
            return i
        return -1

    traced = tg.trace(f)
    for _ in range(3):
        for value in (1, 3, 4, 2, 7):
            assert traced(tg.tensor(value)) == f(tg.tensor(value))
    assert (traced.stats.recordings, traced.stats.replays) == (5, 10), traced.stats


def test_what_it_is_compared_with_may_change() -> None:
    holder = Limits(1.0)

    def f(x: tg.Tensor) -> tg.Tensor:
        return x * 2 if float(x.sum()) < holder.top else x - 1

    traced = tg.trace(f)
    for top in (1.0, 5.0, 1.0, 0.0, 5.0):
        holder.top = top
        for value in (0.3, 0.4, 2.0):
            x = tg.tensor([value, value])
            assert traced(x).tolist() == f(x).tolist()
    assert traced.stats.replays
