"""Groups that are alike: the plan is the one it would be if each had been lowered by itself."""
from __future__ import annotations

import pytest

from codegen.ir.builder import Builder
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
