"""Every hazard once more, through tg.trace: what calls give before and after a change is what plain Python gives."""
from __future__ import annotations

import re

import pytest
from hazards import Hazard, outcome, program, restored, run_in
from hazards_of_code import CODE
from hazards_of_tensors import TENSORS
from hazards_of_values import VALUES
from hazards_refused import REFUSED, REPLAYABLE

import tracegrad as tg

NOT_DETERMINED = ("time", "random", "default_rng", "gc.get_objects", "print", "f'{c}'")
"""Hazards that use these give something else on each call."""

CASES = [(h, c) for h in (*VALUES, *CODE, *TENSORS, *REFUSED, *REPLAYABLE) for c in (*h.changes, *h.harmless, "")
         if not any(word in h.source for word in NOT_DETERMINED)]


def calls(hazard: Hazard, change: str, traced: bool) -> list[str]:
    """What four calls before the change and three after it give."""
    namespace = program(hazard.source)
    plain = namespace["f"]
    function = tg.trace(plain) if traced else plain

    def call() -> str:
        f = function if namespace["f"] is plain else namespace["f"]
        return re.sub(r"grad_fn=<\w+ backward>", "grad_fn", outcome(f, namespace["args"], namespace["kwargs"]))

    with restored():
        before = [call() for _ in range(4)]
        run_in(namespace, change)
        return before + [call() for _ in range(3)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("hazard", "change"), CASES, ids=[f"{h.name}: {c}" for h, c in CASES])
def test_traced_gives_what_python_gives(hazard, change):
    assert calls(hazard, change, traced=True) == calls(hazard, change, traced=False)


@pytest.mark.filterwarnings("ignore")
def test_most_hazards_replay_while_nothing_changes():
    """So that running everything eagerly cannot pass."""
    replayed = 0
    for hazard in TENSORS:
        namespace = program(hazard.source)
        traced = tg.trace(namespace["f"])
        for _ in range(3):
            traced(*namespace["args"], **namespace["kwargs"])
        replayed += traced.stats.replays > 0
    assert replayed == len(TENSORS)
