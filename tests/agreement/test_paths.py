"""Random programs that decide by values run twice, eagerly and traced: nothing that can be seen may differ.

The suite runs few; AGREEMENT_EXAMPLES says how many of each test, and a number of another kind seeds the drawing:

    AGREEMENT_EXAMPLES=20000 AGREEMENT_SEED=7 python -m pytest tests/agreement/test_paths.py
"""
from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from path_programs import path_scenarios
from program_strategies import Scenario
from twins import play

EXAMPLES = int(os.environ.get("AGREEMENT_EXAMPLES", "0"))
SEED = int(os.environ.get("AGREEMENT_SEED", "0"))


@pytest.mark.parametrize(("target", "examples"), [("interpret", 100), ("llvm_cpu", 50)])
def test_traced_programs_go_the_way_that_they_go_eagerly(target: str, examples: int) -> None:
    calls = replays = 0

    @seed(SEED)
    @settings(max_examples=EXAMPLES or examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(path_scenarios())
    def run(scenario: Scenario) -> None:
        nonlocal calls, replays
        stats = play(scenario, target)
        calls, replays = calls + stats.calls, replays + stats.replays

    run()
    assert replays > 0.3 * calls, "falling back too often would hide what replays get wrong"
