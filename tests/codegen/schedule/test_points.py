"""Launches of one point each are one launch, on a machine where a launch takes longer than what it does."""
from __future__ import annotations

import numpy as np
from plan_oracle import AT_ONCE, agree

from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.types import TensorType
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch

F64 = TensorType("f64")
COUNTERS = 40
ALIASES = tuple((k, k) for k in range(COUNTERS))


def counters() -> Graph:
    """Numbers that go up by one each, in place, and one that is made of them all."""
    b = Builder("counters")
    inputs = [b.input(F64) for _ in range(COUNTERS)]
    ups = [b.emit("add", x, b.constant(1.0, "f64")) for x in inputs]
    total = ups[0]
    for up in ups[1:]:
        total = b.emit("mul", total, b.emit("exp", up))
    return b.graph([*ups, total])


def launches(machine: Machine) -> list[Launch]:
    return [step for step in schedule(counters(), ALIASES, machine).steps if isinstance(step, Launch)]


def test_launches_of_one_point_are_one_launch():
    assert len(launches(AT_ONCE)) == 1
    assert len(launches(Machine())) > 1
    agree(counters(), [np.asarray(k / 100) for k in range(COUNTERS)], ALIASES, AT_ONCE)


def test_the_launch_says_what_it_computes():
    plan = schedule(counters(), ALIASES, AT_ONCE)
    (origin,) = plan.origins
    assert len(origin.values) > COUNTERS
