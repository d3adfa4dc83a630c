"""Random programs run twice, eagerly and traced, with changes between calls: nothing that can be seen may differ."""
from __future__ import annotations

import pytest
from program_strategies import scenarios
from random_programs import played

pytestmark = pytest.mark.usefixtures("drafts", "oracle_device")


@pytest.mark.parametrize(("target", "examples"), [("interpret", 80), ("llvm_cpu", 100), ("triton_gpu", 12)])
def test_traced_programs_do_what_the_same_programs_do_eagerly(target: str, examples: int) -> None:
    sums = played(scenarios(), target, examples)
    assert sums.without_aborts > 0.4 * sums.programs, "too many programs were not replayable at all"
    assert sums.replays > 0.25 * sums.calls, "falling back too often would hide what replays get wrong"
