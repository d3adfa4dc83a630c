"""Outputs that share the storage of inputs: in place where that is right, else by a copy, never half done."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from plan_oracle import agree, kernels_of

from codegen.ir.builder import Builder, Value
from codegen.ir.types import TensorType
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import CannotLower, Check, Copy, Input, Launch, Matmul, Output, Plan

MATRIX = TensorType("f32", (4, 4))


def planned(make: Callable[..., list[Value]], *aliases: tuple[int, int], inputs: int = 2) -> Plan:
    b = Builder("f")
    graph = b.graph(make(*(b.input(MATRIX) for _ in range(inputs))))
    rng = np.random.default_rng(0)
    return agree(graph, [rng.normal(size=(4, 4)).astype("f4") for _ in range(inputs)], aliases)


def copies(plan: Plan) -> int:
    return sum(isinstance(step, Copy) for step in plan.steps)


def turned(x: Value) -> Value:
    return x.emit("transpose", axes=(1, 0))


def test_update_in_place() -> None:
    plan = planned(lambda w, g: [w - g * 0.1], (0, 0))
    (kernel,) = kernels_of(plan)
    assert [p.access for p in kernel.params] == ["inout", "in"] and copies(plan) == 0 and plan.arena_bytes == 0


def test_two_updates_of_one_kernel_in_place() -> None:
    plan = planned(lambda a, b: [a + b, a - b], (0, 0), (1, 1))
    assert copies(plan) == 0 and [p.access for p in kernels_of(plan)[0].params] == ["inout", "inout"]


def test_read_at_other_points() -> None:
    plan = planned(lambda w, g: [turned(w) - g], (0, 0))
    assert copies(plan) == 1 and plan.arena_bytes > 0


def test_other_readers_come_first() -> None:
    """A product reads the weights; it is done before they are overwritten, though it is listed after."""
    plan = planned(lambda w, x: [w * 0.5, x.emit("matmul", w)], (0, 0))
    assert [type(step) for step in plan.steps] == [Matmul, Launch] and copies(plan) == 0


def test_readers_that_wait_for_the_update() -> None:
    """a + 1 over a, b + (what a became) over b: each waits for the other's old value only where it has to."""
    plan = planned(lambda a, b: [a.emit("matmul", b), b.emit("matmul", a)], (0, 0), (1, 1))
    assert copies(plan) == 2


def test_swap() -> None:
    plan = planned(lambda a, b: [b, a], (0, 0), (1, 1))
    assert copies(plan) == 4 and kernels_of(plan) == []


def test_rotation_with_a_fresh_copy() -> None:
    planned(lambda a, b, c: [b, c, a, a], (0, 0), (1, 1), (2, 2), inputs=3)


def test_swap_of_computed_values() -> None:
    planned(lambda a, b: [b + 1.0, a + 1.0], (0, 0), (1, 1))
    planned(lambda a, b: [turned(b), turned(a)], (0, 0), (1, 1))


def test_unchanged() -> None:
    plan = planned(lambda a, b: [a, b + a], (0, 0), (1, 1))
    assert copies(plan) == 0 and len(plan.steps) == 1


def test_output_that_is_an_input() -> None:
    plan = planned(lambda a, b: [a, b.emit("reshape", shape=(16,)), turned(a)])
    assert copies(plan) == 2 and len(kernels_of(plan)) == 1


def test_output_listed_twice() -> None:
    def twice(a: Value, b: Value) -> list[Value]:
        c = a + b
        return [c, c, c.emit("reshape", shape=(16,)), c]
    assert copies(planned(twice)) == 3
    assert copies(planned(twice, (0, 0), (3, 1))) == 3


def test_no_write_before_the_check() -> None:
    b = Builder("f")
    w, places = b.input(TensorType("f32", (8,))), b.input(TensorType("i64", (8,)))
    graph = b.graph([w * 2.0, w.emit("gather", places, axis=0)])
    rng = np.random.default_rng(0)
    plan = agree(graph, [rng.normal(size=8).astype("f4"), np.arange(8) - 3], ((0, 0),))
    assert [type(step) for step in plan.steps][-2:] == [Check, Launch] or isinstance(plan.steps[-1], Copy)
    agree(graph, [rng.normal(size=8).astype("f4"), np.arange(8)], ((0, 0),))
    agree(graph, [rng.normal(size=8).astype("f4"), np.arange(8) + 1], ((0, 0),))


def test_what_a_check_needs_of_an_update() -> None:
    """The gather reads the new weights, so they are computed before the check, and beside the old ones."""
    b = Builder("f")
    w, places = b.input(TensorType("f32", (8,))), b.input(TensorType("i64", (3,)))
    new = (w * 2.0).emit("exp")
    graph = b.graph([new, new.emit("gather", places, axis=0)])
    plan = agree(graph, [np.ones(8, "f4"), np.asarray([0, 7, 8])], ((0, 0),))
    assert copies(plan) == 1
    agree(graph, [np.ones(8, "f4"), np.asarray([0, 7, -8])], ((0, 0),))


def test_check_comes_early() -> None:
    b = Builder("f")
    x, places = b.input(MATRIX), b.input(TensorType("i64", (4, 1)))
    picked = x.emit("gather", places, axis=1)
    product = x.emit("matmul", x).emit("matmul", x)
    plan = agree(b.graph([product, picked]), [np.ones((4, 4), "f4"), np.zeros((4, 1), "int64")])
    assert isinstance(plan.steps[1], Check)


def test_check_of_points_that_are_cut_away() -> None:
    b = Builder("f")
    x, places = b.input(TensorType("f32", (5,))), b.input(TensorType("i64", (4,)))
    picked = x.emit("gather", places, axis=0).emit("slice", start=(1,), stop=(3,), step=(1,))
    graph = b.graph([picked])
    agree(graph, [np.arange(5, dtype="f4"), np.asarray([5, 0, 1, 2])])
    agree(graph, [np.arange(5, dtype="f4"), np.asarray([4, 0, 1, -5])])


def test_aliases_of_other_types() -> None:
    b = Builder("f")
    x = b.input(MATRIX)
    with pytest.raises(CannotLower, match=r"output 0 is f32\[16\] and cannot share the storage of input 0, f32\[4,4\]"):
        schedule(b.graph([x.emit("reshape", shape=(16,))]), ((0, 0),))


def test_over_an_operand_in_the_arena() -> None:
    """What is large is written over an operand that nothing reads afterwards; what is small is not."""
    for size, written_over in ((256, True), (128, False)):
        b = Builder("f")
        x = b.input(TensorType("f32", (size, size)))
        hidden = x.emit("matmul", x).emit("maximum", x.constant(0.0))
        data = np.random.default_rng(0).normal(size=(size, size)).astype("f4")
        plan = agree(b.graph([hidden.emit("matmul", x)]), [data], rtol=1e-3, atol=1e-3)
        (kernel,) = kernels_of(plan)
        assert [p.access for p in kernel.params] == (["inout"] if written_over else ["in", "out"])
        assert plan.arena_bytes == 4 * size * size * (1 if written_over else 2)


def test_places() -> None:
    plan = planned(lambda a, b: [a + b, a * b], (0, 0))
    assert {type(b.place) for b in plan.buffers} == {Input, Output}
