"""Joining: the operands of a concat are computed where they belong, whatever the tree of concats and who else reads."""
from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_oracle import agree, kernels_of

from codegen.ir.builder import Builder, Value
from codegen.ir.types import TensorType
from codegen.schedule.machine import Machine
from codegen.schedule.plan import Copy

JOINS = Machine(least_joined=1)
ROW = TensorType("f32", (1, 40))


def arrays(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(k).standard_normal(ROW.shape).astype(np.float32) for k in range(count)]


def joined(parts: list[Value]) -> Value:
    first, *others = parts
    for part in others:
        first = first.emit("concat", part, axis=0)
    return first


def test_what_is_computed_is_not_copied_and_kernels_that_differ_in_where_are_one() -> None:
    b = Builder("rows")
    x = b.input(TensorType("f32", (8, 40)))
    rows = [x.emit("slice", start=(k, 0), stop=(k + 1, 40), step=(1, 1)) for k in range(8)]
    state, states = b.constant(0, "f32").emit("broadcast", shape=(1, 40)), []
    for row in rows:
        state = (row + state.emit("flip", axes=(1,))).emit("tanh")
        states.append(state)
    plan = agree(b.graph([joined(states)]), [np.tile(arrays(1)[0], (8, 1))], machine=Machine())
    assert not any(isinstance(step, Copy) for step in plan.steps)
    assert len(set(kernels_of(plan))) < len(kernels_of(plan)) == 8


def test_inputs_outputs_and_what_is_in_another_are_copied() -> None:
    b = Builder("shared")
    x, y = b.input(ROW), b.input(ROW)
    one, two = x.emit("exp"), y.emit("tanh")
    first, second = joined([one, two, x]), joined([two, one, two])
    plan = agree(b.graph([first, second, two]), arrays(2), machine=JOINS)
    assert sum(isinstance(step, Copy) for step in plan.steps) == 5      # x, and all but `one`, in whichever it is


def test_an_output_over_an_input_is_written_after_that_has_been_read() -> None:
    b = Builder("rotated")
    x = b.input(TensorType("f32", (2, 40)))
    top, bottom = (x.emit("slice", start=(k, 0), stop=(k + 1, 40), step=(1, 1)).emit("exp") for k in range(2))
    agree(b.graph([bottom.emit("concat", top, axis=0)]), [np.concatenate(arrays(2))], ((0, 0),), JOINS)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_trees_of_concats_agree(data: st.DataObject) -> None:
    b = Builder("tree")
    values = [b.input(ROW), b.input(ROW)]
    values += [values[0].emit("tanh"), values[1] + values[0], values[0].emit("sum", axis=(0,), keepdims=True)]
    for _ in range(data.draw(st.integers(1, 6))):
        x, y = data.draw(st.sampled_from(values)), data.draw(st.sampled_from(values))
        values.append(x.emit("concat", y, axis=0))
        if data.draw(st.booleans()):
            values.append(values[-1].emit("exp"))
    outputs = data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    agree(b.graph(outputs), arrays(2), machine=JOINS)
