"""Never a stale answer: programs that change under a traced function give what plain Python gives, and run as they can.
"""
from __future__ import annotations

import pytest
from stale import EAGER, FOLLOW, Hazard, compare, has_effect, play
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

@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda h: h.name)
def test_is_never_stale(hazard, tmp_path):
    plain = play(hazard, traced=False, folder=tmp_path / "plain")
    for before, after, change in zip(plain, plain[1:], hazard.all_changes):
        assert change.harmless or has_effect(before[-1], after[0]), f"it proves nothing: {change.text}"
    compare(plain=plain, traced=play(hazard, traced=True, folder=tmp_path / "traced"), hazard=hazard, instead=INSTEAD)


def test_there_are_enough():
    names = [h.name for h in HAZARDS]
    assert len(names) == len(set(names)) >= 80
    assert all(len(h.all_changes) >= 3 for h in HAZARDS)
