"""Random programs run twice, eagerly and traced, with changes between calls: nothing that can be seen may differ.

The suite runs few; AGREEMENT_EXAMPLES says how many of each test, and a number of another kind seeds the drawing:

    AGREEMENT_EXAMPLES=20000 AGREEMENT_SEED=7 python -m pytest tests/agreement/test_programs.py
"""
from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from program_strategies import Scenario, scenarios
from twins import play

EXAMPLES = int(os.environ.get("AGREEMENT_EXAMPLES", "0"))
SEED = int(os.environ.get("AGREEMENT_SEED", "0"))


@pytest.mark.parametrize(("target", "examples"), [("interpret", 150), ("llvm_cpu", 100)])
def test_traced_programs_do_what_the_same_programs_do_eagerly(target: str, examples: int) -> None:
    calls = replays = without_aborts = 0

    @seed(SEED)
    @settings(max_examples=EXAMPLES or examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(scenarios())
    def run(scenario: Scenario) -> None:
        nonlocal calls, replays, without_aborts
        stats = play(scenario, target)
        calls, replays = calls + stats.calls, replays + stats.replays
        without_aborts += not stats.aborts

    run()
    assert without_aborts > 0.4 * (EXAMPLES or examples), "too many programs were not replayable at all"
    assert replays > 0.25 * calls, "falling back too often would hide what replays get wrong"
