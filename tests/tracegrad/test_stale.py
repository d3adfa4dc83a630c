"""Never a stale answer: programs that change under a traced function give what plain Python gives, and run as they can.
"""
from __future__ import annotations

import pytest
from stale import EAGER, FOLLOW, RECORD, REPLAY, Hazard, compare, has_effect, play
from stale_of_attributes import ATTRIBUTES
from stale_of_containers import CONTAINERS
from stale_of_functions import FUNCTIONS
from stale_of_names import NAMES
from stale_of_paths import PATHS
from stale_of_tensors import TENSORS
from stale_of_world import WORLD

HAZARDS: tuple[Hazard, ...] = (*NAMES, *ATTRIBUTES, *CONTAINERS, *FUNCTIONS, *TENSORS, *PATHS, *WORLD)

INSTEAD = {FOLLOW: (EAGER,)}
"""What may be seen in the place of a mode that does not exist yet."""

NOT_REACHED = {
    "values decide": ("two paths by a value, with a suffix that reads a flag",
                      "a branch that a captured Tensor decides",
                      "and, or, not, chained comparisons", "while by value", "an integer that is read",
                      "a float that is read", "assertions", "an exception by value, with state already changed",
                      "filters and sums by value"),
}
"""Hazards that give the right answer, and run eagerly where they must be replayed."""

EAGER_STILL = {name for names in NOT_REACHED.values() for name in names}


@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda h: h.name)
def test_is_never_stale(hazard, tmp_path):
    plain = play(hazard, traced=False, folder=tmp_path / "plain")
    for before, after, change in zip(plain, plain[1:], hazard.all_changes):
        assert change.harmless or has_effect(before[-1], after[0]), f"it proves nothing: {change.text}"
    compare(plain=plain, traced=play(hazard, traced=True, folder=tmp_path / "traced"), hazard=hazard,
            instead=INSTEAD | ({REPLAY: (EAGER, RECORD)} if hazard.name in EAGER_STILL else {}))


def test_there_are_enough():
    names = [h.name for h in HAZARDS]
    assert len(names) == len(set(names)) >= 80
    assert all(len(h.all_changes) >= 3 for h in HAZARDS)
