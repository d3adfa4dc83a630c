"""How many launches a training step is on a GPU. The numbers are what there is to hold, not what there has to be: who
needs fewer lowers them."""
from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress

import pytest
from gpu_extra import needs_triton
from machine_code import registers_and_stack

import codegen.llvm_cpu.target as cpu
from benchmarks.gpu.models import MLP, Model, Transformer, tracegrad_step
from codegen.cache import Cache
from codegen.planning import plan_of
from codegen.schedule.plan import CannotLower, Check, Launch, Plan, at_once
from codegen.triton_gpu.compile import compile_specs, shared_limit
from codegen.triton_gpu.kernels import kernel_launches
from codegen.triton_gpu.target import gpu_machine


def plan_of_step(model: Model, half: bool, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan for a GPU of a step: forward, backward and AdamW. Nothing is compiled."""
    found = []

    def planned(source, aliases, cache):
        found.append(plan_of(source, aliases, gpu_machine()))
        raise CannotLower("it is only planned")

    monkeypatch.setattr(cpu, "compile_source", planned)
    step = tracegrad_step(model, half, "cpu")
    for _ in range(3):
        with suppress(Exception):               # the step is strict, and there is nothing to run
            step()
    block, = found[0].blocks
    return block.plan


def launches(plan: Plan) -> int:
    return sum(not isinstance(plan.steps[numbers.start], Check) for numbers in at_once(plan.steps))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "half", "most"), [
    (MLP((64, 128, 128, 10), 32), False, 14), (MLP((64, 128, 128, 10), 32), True, 14),
    (Transformer(2, 64, 4, 32, 2), False, 57), (Transformer(2, 64, 4, 32, 2), True, 57),
    (Transformer(1, 64, 4, 32, 2, 100), True, 39),
], ids=["MLP", "MLP in bf16", "transformer", "transformer in bf16", "language model in bf16"])
def test_a_training_step(model: Model, half: bool, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of_step(model, half, monkeypatch)
    assert launches(plan) <= most


@pytest.mark.filterwarnings("ignore")
def test_the_updates_of_a_model_of_more_layers_are_not_more_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what no product does with its tile: biases, scales, counts."""
    counts = []
    for layers in (1, 2):
        steps = plan_of_step(Transformer(layers, 64, 4, 32, 2), False, monkeypatch).steps
        counts.append(Counter(len(numbers) > 1 for numbers in at_once(steps)
                              if isinstance(step := steps[numbers.start], Launch) and all(
                                  any(p.access == "inout" for p in one.kernel.params) for k in numbers
                                  if isinstance(one := steps[k], Launch)))[True])
        assert step is not None
    assert counts[0] == counts[1] > 0


ALL = os.environ.get("TRACEGRAD_ALL_GPU_KERNELS") == "1"


@needs_triton
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)] if ALL else [(9, 0)], ids=str)
@pytest.mark.parametrize("half", [False, True] if ALL else [True], ids=lambda half: "bf16" if half else "f32")
def test_no_kernel_of_a_step_spills(half: bool, capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """With TRACEGRAD_ALL_GPU_KERNELS=1 those of a layer of GPT-2 small, its embeddings and its loss, some minutes; else
    of a small model. With all that AdamW does."""
    model = Transformer(1, 768, 12, 512, 4, 50304) if ALL else MLP((64, 128, 128, 10), 32)
    plan = plan_of_step(model, half, monkeypatch)
    specs = {made.spec for made in kernel_launches(plan, capability).values()}
    code = compile_specs(specs, capability, Cache(None), (True,))
    assert {spec.name: registers_and_stack(code[spec, True].code)[1] for spec in specs} == dict.fromkeys(
        (spec.name for spec in specs), 0)
    assert all(code[spec, True].shared <= shared_limit(capability) for spec in specs)
