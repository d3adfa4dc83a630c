"""Random programs whose sizes change at nearly every call run twice, eagerly and traced: nothing seen may differ.

The suite runs few; AGREEMENT_EXAMPLES says how many of each test, and a number of another kind seeds the drawing:

    AGREEMENT_EXAMPLES=5000 AGREEMENT_SEED=7 python -m pytest tests/agreement/test_sizes.py
"""
from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from program_strategies import Scenario
from sized_programs import sized_scenarios
from twins import play

from tracegrad import deferred_work

EXAMPLES = int(os.environ.get("AGREEMENT_EXAMPLES", "0"))
SEED = int(os.environ.get("AGREEMENT_SEED", "0"))


@pytest.mark.parametrize(("large", "examples"), [(0, 100), (deferred_work.LARGE, 50)], ids=["native", "as it is"])
def test_programs_at_changing_sizes_do_what_they_do_eagerly(monkeypatch, large: int, examples: int) -> None:
    """`large`: from how many bytes of an operation on a size that is new is computed by native code at once."""
    monkeypatch.setattr(deferred_work, "LARGE", large)
    calls = follows = eager = 0

    @seed(SEED)
    @settings(max_examples=EXAMPLES or examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(sized_scenarios())
    def run(scenario: Scenario) -> None:
        nonlocal calls, follows, eager
        stats = play(scenario, "llvm_cpu")
        calls, follows, eager = calls + stats.calls, follows + stats.follows, eager + stats.eager_calls

    run()
    assert follows > 0.2 * calls and eager < 0.3 * calls, (calls, follows, eager)
