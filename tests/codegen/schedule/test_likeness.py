"""Groups that are alike: the plan is the one it would be if each had been lowered by itself."""
from __future__ import annotations

import pytest

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule import likeness, pipeline
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan_text import print_plan


def turns(different: bool) -> Graph:
    """Steps over a square, each of which reads what the one before has stored; one may add another number."""
    b = Builder("turns")
    x = b.input(TensorType("f32", (256, 256)))
    for k in range(6):
        moved = b.emit("transpose", b.emit("exp", x), axes=(1, 0))
        number = b.emit("constant", value="2.5" if different and k == 3 else "0.5", dtype="f32")
        x = b.emit("sum", b.emit("mul", moved, b.emit("broadcast", number, shape=(256, 256))), axis=(0,), keepdims=True)
        x = b.emit("broadcast", x, shape=(256, 256))
    return optimize(b.graph([x]))


@pytest.mark.parametrize("different", [False, True])
def test_the_plan_is_the_same(monkeypatch: pytest.MonkeyPatch, different: bool) -> None:
    graph, lowered, lower = turns(different), [], pipeline.lower_group
    monkeypatch.setattr(pipeline, "lower_group", lambda *of: lowered.append(of) or lower(*of))
    text = print_plan(schedule(graph))
    few = len(lowered)
    monkeypatch.setattr(likeness.AlikeGroups, "kernels", lambda self, group, loaded, lower: lower())
    assert print_plan(schedule(graph)) == text
    assert few < len(lowered) - few


def cut(b: Builder, x: Value, start: tuple[int, ...], extents: tuple[int, ...], step: int = 1) -> Value:
    stop = tuple(a + n * step for a, n in zip(start, extents))
    return b.emit("slice", x, start=start, stop=stop, step=(step,) * len(start))


def one(b: Builder, x: Value, w: Value, k: int) -> Value:
    return b.emit("reshape", cut(b, x, (k, 0, 0), (1, 8, 32)), shape=(8, 32))


def two_as_far_apart(b: Builder, x: Value, w: Value, k: int) -> Value:
    return b.emit("sub", one(b, x, w, k), one(b, x, w, k + 2))


def two_apart(b: Builder, x: Value, w: Value, k: int) -> Value:
    return b.emit("sub", one(b, x, w, k), one(b, x, w, 2 * k + 1))


def and_whole(b: Builder, x: Value, w: Value, k: int) -> Value:
    whole = b.emit("reshape", cut(b, x, (1, 0, 0), (1, 8, 32)), shape=(8, 32))
    return b.emit("mul", one(b, x, w, k), whole)


def of_a_sum(b: Builder, x: Value, w: Value, k: int) -> Value:
    biased = b.emit("add", b.emit("reshape", b.emit("reshape", x, shape=(128, 32)), shape=(16, 8, 32)), w)
    return one(b, biased, w, k)


def across(b: Builder, x: Value, w: Value, k: int) -> Value:
    return b.emit("reshape", cut(b, x, (0, k % 3, k), (8, 1, 32 - 12), 1), shape=(8, 20))


def with_steps(b: Builder, x: Value, w: Value, k: int) -> Value:
    return b.emit("reshape", cut(b, x, (k, 0, k % 2), (1, 4, 15), 2), shape=(4, 15))


def turned(b: Builder, x: Value, w: Value, k: int) -> Value:
    return one(b, b.emit("transpose", x, axes=(0, 1, 2)), w, k) if k % 2 else one(b, b.emit("flip", x, axes=(0,)), w, k)


def edged(b: Builder, x: Value, w: Value, k: int) -> Value:
    return b.emit("pad", one(b, x, w, k), low=(0, 3), high=(1, 0), interior=(0, 1))


def counted(b: Builder, x: Value, w: Value, k: int) -> Value:
    places = b.emit("iota", axis=0, dtype="f32", shape=(16, 8, 32))
    return one(b, b.emit("add", x, places), w, k)


@pytest.mark.parametrize(("read", "is_alike"), [
    (one, True), (two_as_far_apart, True), (two_apart, False), (and_whole, False), (of_a_sum, True), (across, True),
    (with_steps, True), (turned, False), (edged, True), (counted, False)], ids=lambda p: getattr(p, "__name__", ""))
def test_where_slices_begin_makes_no_difference(monkeypatch: pytest.MonkeyPatch, read, is_alike: bool) -> None:
    """Steps of a recurrence, each of which reads another part."""
    b = Builder("steps")
    x, w, r, state = (b.input(TensorType("f32", shape)) for shape in ((16, 8, 32), (32,), (1, 16), (1, 1)))
    for k in range(6):
        y = read(b, x, w, k)
        y = b.emit("tanh", b.emit("add", y, b.emit("broadcast", state, shape=y.shape)))
        state = cut(b, b.emit("matmul", cut(b, r, (0, 0), (1, y.shape[0])), y), (0, 0), (1, 1))
    graph, lowered, lower = optimize(b.graph([state])), [], pipeline.lower_group
    monkeypatch.setattr(pipeline, "lower_group", lambda *of: lowered.append(of) or lower(*of))
    text = print_plan(schedule(graph))
    few = len(lowered)
    monkeypatch.setattr(likeness.AlikeGroups, "kernels", lambda self, group, loaded, lower: lower())
    assert print_plan(schedule(graph)) == text
    assert (few <= (len(lowered) - few) // 2) == is_alike
