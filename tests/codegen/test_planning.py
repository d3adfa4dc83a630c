"""Which plan a program gets: in parts where a processor's caches, or a GPU's memory, would not hold the whole."""
from __future__ import annotations

import pytest
import training_graphs

from codegen.compiler import source_of
from codegen.ir.program import program_of
from codegen.ir.tree import opened
from codegen.planning import MORE_BYTES, plan_of
from codegen.schedule.machine import Machine
from codegen.schedule.plan import ProgramPlan
from codegen.triton_gpu.target import gpu_machine


def planned(batch: int, length: int, machine: Machine) -> ProgramPlan:
    """Attention of 12 heads of 64, forward and backward."""
    step = training_graphs.attention(batch, 12, length, 64)
    return plan_of(source_of(opened(program_of(step.graph)), False), (step.aliases,), machine)


def test_a_gpu_computes_in_parts_only_what_would_take_much_room() -> None:
    """Scores of 8 batches of 512x512 are 100 MB: a processor's cache holds none of that, a GPU's memory all."""
    whole = planned(8, 512, gpu_machine())
    assert 0 < whole.arena_bytes < MORE_BYTES and len(whole.steps) < 20
    parts = planned(32, 2048, gpu_machine())
    assert len(parts.steps) > 2 * len(whole.steps)
    assert parts.arena_bytes < 32 * 12 * 2048 * 2048 * 4
    assert len(planned(8, 512, Machine()).steps) > 2 * len(whole.steps)


@pytest.mark.parametrize("bytes", [1 << 28, 1 << 30])
def test_a_budget_is_met_in_parts(bytes: int) -> None:
    within = planned(8, 512, gpu_machine(bytes))
    assert within.arena_bytes <= planned(8, 512, gpu_machine()).arena_bytes
    assert within.arena_bytes <= bytes or bytes < 1 << 29
