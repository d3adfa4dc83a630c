"""Every hazard: guards that hold while nothing changes, fail when it does, and do not fail for nothing."""
from __future__ import annotations

import pytest
from hazards import record, restored
from hazards_of_code import CODE
from hazards_of_tensors import TENSORS
from hazards_of_values import VALUES
from hazards_refused import REFUSED, REPLAYABLE

HAZARDS = (*VALUES, *CODE, *TENSORS)
CHANGES = [(h, c) for h in HAZARDS for c in h.changes]
HARMLESS = [(h, c) for h in HAZARDS for c in h.harmless]


@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda h: h.name)
def test_the_guards_hold_while_nothing_changes(hazard):
    program = record(hazard.source, hazard.rehearsals)
    assert program.reads.refusals == ()
    assert program.changes == []
    assert program.holds()


@pytest.mark.parametrize(("hazard", "change"), CHANGES, ids=[f"{h.name}: {c}" for h, c in CHANGES])
def test_a_change_is_seen(hazard, change):
    program = record(hazard.source, hazard.rehearsals)
    before = repr(program.seen.result)
    with restored():
        program.change(change)
        assert not program.holds()
        assert program.run() != before, "the change has no effect: it proves nothing"


@pytest.mark.parametrize(("hazard", "change"), HARMLESS, ids=[f"{h.name}: {c}" for h, c in HARMLESS])
def test_a_harmless_change_is_not_held_against_the_path(hazard, change):
    program = record(hazard.source, hazard.rehearsals)
    program.change(change)
    assert program.holds(), program.reads.guards.explain(program.args, program.kwargs)
    assert hazard in TENSORS or program.run() == repr(program.seen.result)


@pytest.mark.parametrize("hazard", REFUSED, ids=lambda h: h.name)
def test_is_refused_for_its_reason(hazard, capsys, recwarn):
    program = record(hazard.source, hazard.rehearsals)
    reasons = {refusal.reason for refusal in program.reads.refusals}
    allowed = hazard.refused if isinstance(hazard.refused, tuple) else (hazard.refused,)
    assert reasons & set(allowed), program.reads.refusals


@pytest.mark.parametrize("hazard", REPLAYABLE, ids=lambda h: h.name)
def test_is_replayable(hazard):
    program = record(hazard.source, hazard.rehearsals)
    assert program.reads.refusals == ()
    assert program.holds(), program.reads.guards.explain(program.args, program.kwargs)
