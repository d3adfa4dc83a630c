"""Launches of one kernel as one: each part does what the kernel does, and stays within its own buffers."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import training_graphs
from gpu_extra import needs_triton
from machine_code import instructions, registers_and_stack
from random_kernels import contents

from codegen.cache import Cache
from codegen.ir.builder import Builder
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_kernel
from codegen.schedule.kernel_text import parse_kernel
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch
from codegen.schedule.sizes import kernel_at
from codegen.triton_gpu.compile import compile_specs
from codegen.triton_gpu.host_check import run
from codegen.triton_gpu.kernels import kernel_launches
from codegen.triton_gpu.parts import emit_row
from codegen.triton_gpu.target import gpu_machine

pytestmark = needs_triton

ANY_LENGTH = parse_kernel("""kernel (b0: f32[n0] inout, b1: f32[n0] in, b2: f32[1] in) given 1 {
  for i < n0 vector:
    pass:
      v0 = load b0[i]
      v1 = load b1[i]
      v2 = load b2[0]
      v3 = mul v1 v2
      v4 = sub v0 v3
      store b0[i] v4
}""")


def kernel_of(function, *shapes: tuple[int, ...]) -> Kernel:
    b = Builder("f")
    plan = schedule(optimize(b.graph([function(*(b.input(TensorType("f32", shape)) for shape in shapes))])),
                    machine=gpu_machine())
    step, = plan.steps
    assert isinstance(step, Launch)
    return step.kernel


KERNELS = {
    "any length": (ANY_LENGTH, [(3000,), (1,), (1024,), (70,)]),
    "one point": (kernel_of(lambda x: x.emit("exp") + 1.0, ()), [()] * 5),
    "rows": (kernel_of(lambda x: x.emit("exp") / x.emit("exp").emit("sum", axis=(1,), keepdims=True), (40, 70)),
             [()] * 3),
    "columns": (kernel_of(lambda x, y: y - x.emit("sum", axis=(0,), keepdims=False), (70, 300), (300,)), [()] * 3),
    "turned": (kernel_of(lambda x, y: x.emit("transpose", axes=(1, 0)) + y, (70, 130), (130, 70)), [()] * 2),
}


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("name", KERNELS)
def test_parts(name: str, wide: bool) -> None:
    kernel, given = KERNELS[name]
    words: Sequence[tuple[int, ...]] = given
    known = [kernel_at(kernel, own) for own in words]
    generator = np.random.default_rng(0)
    expected = [[contents(p, generator) for p in one.params] for one in known]
    actual = [x.copy() for buffers in expected for x in buffers]
    for one, buffers in zip(known, expected):
        assert run_kernel(one, buffers)
    spec = emit_row(((kernel, len(words)),), wide)
    assert run(spec, actual, [word for own in words for word in own])
    for a, e in zip(actual, (x for buffers in expected for x in buffers), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)
    assert compile_specs([spec], (9, 0), Cache(None), (True,))


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
def test_several_kernels(wide: bool) -> None:
    """Two of them of one name, two that are given their length, some once."""
    twice = replace(ANY_LENGTH, passes=(replace(ANY_LENGTH.passes[0], body=(
        *ANY_LENGTH.passes[0].body[:4], replace(ANY_LENGTH.passes[0].body[4], x=3, y=0),
        ANY_LENGTH.passes[0].body[5])),))
    assert twice != ANY_LENGTH
    row = [(ANY_LENGTH, [(3000,), (5,)]), (KERNELS["columns"][0], [()] * 2), (twice, [(2000,)]),
           (KERNELS["one point"][0], [()] * 3), (KERNELS["rows"][0], [()])]
    known = [kernel_at(kernel, own) for kernel, given in row for own in given]
    generator = np.random.default_rng(0)
    expected = [[contents(p, generator) for p in one.params] for one in known]
    actual = [x.copy() for buffers in expected for x in buffers]
    for one, buffers in zip(known, expected):
        assert run_kernel(one, buffers)
    spec = emit_row(tuple((kernel, len(given)) for kernel, given in row), wide)
    assert run(spec, actual, [word for _, given in row for own in given for word in own])
    for a, e in zip(actual, (x for buffers in expected for x in buffers), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)
    for (_, aligned), cubin in compile_specs([spec], (9, 0), Cache(None)).items():
        assert registers_and_stack(cubin.code)[1] == 0, f"{aligned=} spills registers"


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
def test_the_code_of_many_updates(capability: tuple[int, int]) -> None:
    """Buffers are accessed by 16 bytes, as where a launch has its own; nothing spills."""
    step = training_graphs.adam_step(*[(1024 * k,) for k in range(1, 31)])
    plan = schedule(optimize(step.graph), step.aliases, gpu_machine())
    specs = [made.spec for made in kernel_launches(plan, capability).values()]
    assert max(len(spec.pointers) for spec in specs) > 100
    for (spec, _), cubin in compile_specs(specs, capability, Cache(None), (True,)).items():
        assert registers_and_stack(cubin.code)[1] == 0, f"{spec.name} spills registers"
        if len(spec.pointers) > 100:
            accesses = {i for i in instructions(cubin.code) if i.startswith(("LDG", "STG"))}
            assert accesses == {"LDG.E.128", "STG.E.128", "LDG.E"}, "the count of updates is a number"
