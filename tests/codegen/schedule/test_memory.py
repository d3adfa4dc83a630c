"""The arena: what lives at the same time never overlaps, and no more room is taken than lives at once needs."""
from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.schedule.memory import ALIGNMENT, LiveRange, arena_offsets

RANGES = st.lists(st.builds(lambda a, b, n: LiveRange(min(a, b), max(a, b), n), st.integers(0, 12), st.integers(0, 12),
                            st.integers(1, 1000)), max_size=20)


@settings(deadline=None, max_examples=200)
@given(RANGES)
def test_no_overlap(ranges: list[LiveRange]) -> None:
    offsets, total = arena_offsets(ranges)
    for k, a in enumerate(ranges):
        assert offsets[k] % ALIGNMENT == 0 and offsets[k] + a.bytes <= total
        for j, b in enumerate(ranges[:k]):
            apart = a.last < b.first or b.last < a.first
            assert apart or offsets[k] + a.bytes <= offsets[j] or offsets[j] + b.bytes <= offsets[k]


def test_a_chain_takes_two_places() -> None:
    chain = [LiveRange(k, k + 1, 1000) for k in range(10)]
    assert arena_offsets(chain)[1] == 2 * 1024


def test_a_small_one_fits_in_a_gap() -> None:
    small = LiveRange(5, 9, 64)
    offsets, total = arena_offsets([LiveRange(0, 9, 256), LiveRange(0, 4, 128), small, small])
    assert total == 256 + 128 and sorted(offsets[2:]) == [256, 320]


def test_nothing() -> None:
    assert arena_offsets([]) == ([], 0)
