"""Plans for a GPU, run step by step in Triton's interpreter."""
from __future__ import annotations

import numpy as np

from codegen.ir.types import DTYPES
from codegen.schedule.plan import Arena, Buffer, Input, Output, Plan
from codegen.triton_gpu import host_check
from codegen.triton_gpu.kernels import kernel_launch
from codegen.triton_gpu.products import ProductLaunch


def run(plan: Plan, inputs: list[np.ndarray], instead: ProductLaunch | None = None) -> list[np.ndarray]:
    """Every step of a plan, in the interpreter; inputs are written where outputs share their storage.

    `instead`: what is launched for each step.
    """
    given = [np.array(x, order="C") for x in inputs]
    outputs = [np.empty(tuple(map(int, type.shape)), DTYPES[type.dtype]) for type in plan.outputs]
    for output, input in plan.aliases:
        outputs[output] = given[input]
    places = {Input: given, Output: outputs}
    arena = np.full(plan.arena_bytes, 0xFF, np.uint8)

    def array(b: Buffer) -> np.ndarray:
        if isinstance(b.place, Arena):
            return arena[b.place.offset:].view(DTYPES[b.dtype])[b.start:b.start + b.size]
        return places[type(b.place)][b.place.index].reshape(-1)[b.start:b.start + b.size]

    buffers = [*map(array, plan.buffers)]
    for step in plan.steps:
        launch = instead or kernel_launch(step, (9, 0))
        assert host_check.run(launch.spec, [buffers[b] for b in launch.buffers], launch.words)
    return outputs
