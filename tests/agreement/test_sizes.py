"""Random programs whose sizes change at nearly every call run twice, eagerly and traced: nothing seen may differ."""
from __future__ import annotations

import pytest
from random_programs import played
from sized_programs import sized_scenarios

from tracegrad import deferred_work


@pytest.mark.parametrize(("large", "examples"), [(0, 60), (deferred_work.LARGE, 50)], ids=["native", "as it is"])
def test_programs_at_changing_sizes_do_what_they_do_eagerly(monkeypatch, large: int, examples: int) -> None:
    """`large`: from how many bytes of an operation on a size that is new is computed by native code at once."""
    monkeypatch.setattr(deferred_work, "LARGE", large)
    sums = played(sized_scenarios(), "llvm_cpu", examples, where=f"large {large}")
    assert sums.follows > 0.2 * sums.calls and sums.eager_calls < 0.3 * sums.calls, sums
