"""Random programs whose sizes change at nearly every call run twice, eagerly and traced: nothing seen may differ."""
from __future__ import annotations

from typing import Any

import pytest
from random_programs import played
from sized_programs import sized_scenarios

from tracegrad import deferred_work
from tracegrad.all_sizes import AllSizes


@pytest.mark.usefixtures("oracle_device")
@pytest.mark.parametrize(("target", "large", "examples"), [
    ("llvm_cpu", 0, 60), ("llvm_cpu", deferred_work.LARGE, 50), ("triton_gpu", 0, 20)],
    ids=["native", "as it is", "on a device"])
def test_programs_at_changing_sizes_do_what_they_do_eagerly(monkeypatch, target: str, large: int, examples: int
                                                            ) -> None:
    """`large`: from how many bytes of an operation on a size that is new is computed by native code at once."""
    monkeypatch.setattr(deferred_work, "LARGE", large)
    at_sizes, real = 0, AllSizes.find

    def counted(self: AllSizes, *given: Any) -> Any:
        nonlocal at_sizes
        found = real(self, *given)
        at_sizes += found is not None
        return found

    monkeypatch.setattr(AllSizes, "find", counted)
    sums = played(sized_scenarios(), target, examples, where=f"large {large}")
    assert sums.follows > 0.1 * sums.calls and at_sizes > 0.03 * sums.calls and sums.eager_calls < 0.3 * sums.calls, (
        sums, at_sizes)
