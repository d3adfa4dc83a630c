"""What is made to last is old for the collector, and what the user froze stays frozen."""
from __future__ import annotations

import gc

import pytest

from codegen import collector, made_to_last

COUNTED = collector.has_frozen              # which other tests do without


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "has_frozen", COUNTED)


@made_to_last
def _making() -> list[list[int]]:
    return [[k] for k in range(10)]


def test_what_was_made_is_not_young() -> None:
    gc.unfreeze()                       # what there is before the tests is frozen
    try:
        made = _making()
        assert not any(one is made for young in (0, 1) for one in gc.get_objects(generation=young))
        assert any(one is made for one in gc.get_objects(generation=2))
        assert gc.get_freeze_count() == 0
    finally:
        gc.freeze()


def test_what_was_frozen_stays_frozen() -> None:
    gc.freeze()                         # as it is in the tests in any case
    frozen = gc.get_freeze_count()
    _making()
    assert gc.get_freeze_count() >= frozen > 0
