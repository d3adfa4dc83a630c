"""Never a stale answer: programs that change under a traced function give what plain Python gives, and run as they can.

`docs/hazards.md` lists them all; `pytest --update-golden` writes it.
"""
from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from stale import EAGER, FOLLOW, REPLAY, Hazard, compare, has_effect, play
from stale_of_attributes import ATTRIBUTES
from stale_of_containers import CONTAINERS
from stale_of_functions import FUNCTIONS
from stale_of_names import NAMES
from stale_of_paths import PATHS
from stale_of_tensors import TENSORS
from stale_of_world import WORLD

SUBJECTS: dict[str, tuple[Hazard, ...]] = {
    "Variables": NAMES, "Attributes": ATTRIBUTES, "Containers": CONTAINERS, "Functions": FUNCTIONS,
    "Tensors": TENSORS, "Paths": PATHS, "The world outside": WORLD}
HAZARDS = [hazard for hazards in SUBJECTS.values() for hazard in hazards]
PAGE = Path(__file__).parents[2] / "docs" / "hazards.md"
HEADING = """# What changes are seen

Each line is a small program of the test suite that depends on something, with how many changes of it are tried between
calls. After every change the traced function gives what plain Python gives and leaves behind what plain Python leaves
behind: values, types, identities, shared memory, exceptions, output, files, random states. The calls that follow with
nothing changed run in the way that is named, and after a change that does not matter to the program not even the first
call records anew.

{counts}. Where calls are followed, the Python runs on every call, since what it does or reads cannot be done again
without it. [tracing.md](tracing.md) says what the ways are.
"""


@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda h: h.name)
def test_is_never_stale(hazard, tmp_path):
    plain = play(hazard, traced=False, folder=tmp_path / "plain")
    for before, after, change in zip(plain, plain[1:], hazard.all_changes):
        assert change.harmless or has_effect(before[-1], after[0]), f"it proves nothing: {change.text}"
    compare(hazard, plain, play(hazard, traced=True, folder=tmp_path / "traced"))


def page() -> str:
    """The text of docs/hazards.md."""
    modes = Counter(h.mode for h in HAZARDS)
    counts = f"{modes[REPLAY]} programs are replayed, {modes[FOLLOW]} followed, {modes[EAGER] or 'none is'} eager"
    lines = [HEADING.format(counts=counts).rstrip()]
    for subject, hazards in SUBJECTS.items():
        lines += ["", f"## {subject}", "", "| program | changes | of no matter | unchanged calls |"]
        lines.append("|---|---|---|---|")
        for h in hazards:
            modes_after = sorted({c.mode for c in h.all_changes if c.mode and c.mode != h.mode})
            way = f"{h.mode}; {', '.join(modes_after)} after some" if modes_after else h.mode
            lines.append(f"| {h.name} | {len(h.changes)} | {len(h.harmless) or ''} | {way} |")
    return "\n".join(lines) + "\n"


def test_the_page_of_hazards_is_true(request: pytest.FixtureRequest) -> None:
    text = page()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "pytest tests/tracegrad/test_stale.py --update-golden writes the page anew"


def test_there_are_enough():
    names = [h.name for h in HAZARDS]
    assert len(names) == len(set(names)) >= 80
    assert all(len(h.all_changes) >= 3 for h in HAZARDS)
