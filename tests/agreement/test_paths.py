"""Random programs that decide by values run twice, eagerly and traced: nothing that can be seen may differ."""
from __future__ import annotations

import pytest
from path_programs import path_scenarios
from random_programs import played


@pytest.mark.parametrize(("target", "examples"), [("interpret", 60), ("llvm_cpu", 60)])
def test_traced_programs_go_the_way_that_they_go_eagerly(target: str, examples: int) -> None:
    sums = played(path_scenarios(), target, examples)
    assert sums.replays > 0.3 * sums.calls, "falling back too often would hide what replays get wrong"
