"""Tests on random programs, graphs and trees: how many are drawn, from which seed, and what runs of them come to.

    @on_random(200, view_programs())            the test is run on so many draws
    played(scenarios(), "llvm_cpu", 100)        the stats, summed, of so many programs run as twins

The suite draws few, the same in every run. AGREEMENT_EXAMPLES says how many of each test, and AGREEMENT_SEED, a number,
draws others:

    AGREEMENT_EXAMPLES=20000 AGREEMENT_SEED=7 python -m pytest tests/agreement/test_programs.py
"""
from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from program_strategies import Scenario
from twins import play

EXAMPLES = int(os.environ.get("AGREEMENT_EXAMPLES", "0"))
SEED = int(os.environ.get("AGREEMENT_SEED", "0"))


def on_random(examples: int, *drawn: st.SearchStrategy[Any], where: str = ""
              ) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a test that takes what `drawn` draw as its last arguments; what else is the same draws others at other
    places `where` it runs.
    """
    chosen = settings(max_examples=EXAMPLES or examples, deadline=None, database=None, report_multiple_bugs=False,
                      suppress_health_check=list(HealthCheck))
    return lambda test: seed(f"{SEED} {where}")(chosen(given(*drawn)(test)))


def played(scenarios: st.SearchStrategy[Scenario], target: str, examples: int, where: str = "") -> SimpleNamespace:
    """Runs programs as twins; sums of the stats of the traced ones, with `programs` and how many never aborted.

    Programs are others for other targets.
    """
    sums = SimpleNamespace(programs=0, without_aborts=0, calls=0, replays=0, follows=0, eager_calls=0)

    @on_random(examples, scenarios, where=f"{target} {where}")
    def run(scenario: Scenario) -> None:
        stats = play(scenario, target)
        sums.programs += 1
        sums.without_aborts += not stats.aborts
        for name in ("calls", "replays", "follows", "eager_calls"):
            setattr(sums, name, getattr(sums, name) + getattr(stats, name))

    run()
    return sums
