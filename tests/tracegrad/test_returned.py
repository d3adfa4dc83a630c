"""Numbers that are read only to be returned are outputs: they may change from call to call."""
from __future__ import annotations

import math
import sys

import pytest

import tracegrad as tg
from tracegrad.returned import is_only_returned

seen = []


def item(value=1.5):
    seen.append(is_only_returned(sys._getframe(1)))
    return value


def at_once():
    return item()


def in_a_variable():
    loss = item()
    other = len([1, 2])
    return loss, other


def in_a_dict_with_work_beside_it(n=3):
    loss = item()
    return {"loss": loss, "share": n / 2, "rest": [1, 2]}


def in_a_loop():
    for _ in range(3):
        loss = item()
    return [loss, (3, loss)]


def under_another_name():
    loss = item()
    same = loss
    return same


def beside_others(xs=(1, 2)):
    return xs[0], len(xs) / 2, -xs[1], item()


def never_used():
    loss = item()      # noqa: F841 - that is the point
    return 3


def compared():
    loss = item()
    return 1 if loss > 2 else loss


def computed_with():
    loss = item()
    return loss * 2


def formatted():
    loss = item()
    return f"{loss}"


def in_a_closure():
    loss = item()
    return loss, (lambda: loss)


def seen_by_locals():
    loss = item()
    return locals() and loss


def given_to_a_call():
    loss = item()
    return str(loss)


def a_key():
    return {item(): 1}[1.5]


@pytest.mark.parametrize("function, expected", [
    *((f, True) for f in (at_once, in_a_variable, in_a_dict_with_work_beside_it, in_a_loop, under_another_name,
                          beside_others, never_used)),
    *((f, False) for f in (compared, computed_with, formatted, in_a_closure, seen_by_locals, given_to_a_call, a_key)),
], ids=lambda p: getattr(p, "__name__", ""))
def test_bytecode_tells_where_a_number_goes(function, expected):
    seen.clear()
    function()
    assert set(seen) == {expected}


def metrics(x):
    loss = (x * x).sum()
    value = loss.item()
    return {"loss": value, "positive": [(x > 0).sum().item()], "any": (x > 2).any().item(), "float": float(loss)}


def overwritten(x):
    total = x.sum()
    before = total.item()
    total += 1.0
    return before, total.item()


def of_float(x):
    return float(x.sum())


def last_of_a_loop(x):
    for _ in range(3):
        x = x * 2.0
        value = x.sum().item()
    return value


@pytest.mark.parametrize("function", [metrics, overwritten, of_float, last_of_a_loop], ids=lambda f: f.__name__)
def test_they_change_and_the_call_is_replayed(function):
    traced = tg.trace(function, strict=True)
    for k in range(10):
        x = tg.tensor([1.0, -2.0, k / 2.0], dtype=tg.float64)
        found = traced(x)
        assert found == function(x) and repr(found) == repr(function(x))
    assert (traced.stats.recordings, traced.stats.replays) == (1, 9)


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("function", [
    lambda x: math.sqrt(x.sum()), lambda x: round(float(x.sum())), lambda x: f"{x.sum().item():.3f}",
    lambda x: [float(x.sum()) for _ in range(2)],
])
def test_what_is_made_of_a_number_is_made_anew(function):
    traced = tg.trace(function)
    for k in range(7):
        x = tg.tensor([1.0, 2.0, k / 2.0], dtype=tg.float64)
        assert traced(x) == function(x)
