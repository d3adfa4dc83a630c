"""Executable: a compiled graph, ready to run on arrays.

    executable = compile_program(graph)
    y, = executable(x)                      checked: copies where it must, makes the outputs, raises on an exit
    left_at = executable.run((x, y))        trusted: one native call
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from codegen.ir.types import DTYPES, TensorType, type_of
from codegen.schedule.plan import Plan
from codegen.schedule.plan_text import print_plan

DONE = -1
"""What a run returns that took no exit."""


class ExitTaken(Exception):
    """A run left at an exit; its outputs were not computed."""

    def __init__(self, exit: int):
        super().__init__(f"the run left at exit {exit}" + (": an index is out of bounds" if exit == 0 else ""))
        self.exit = exit


@dataclass(frozen=True, slots=True, eq=False)
class Executable:
    """What compile_program gives.

    `run(arrays)` takes inputs, then the outputs that are not aliased: C-contiguous, aligned, of the right types, no
    output overlapping anything. It trusts its caller. It is one native call, releases the interpreter lock, may be
    called by several threads at once, and returns -1, or the number of the exit that was taken.
    aliases: (output, input) pairs that share storage.
    """

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    aliases: tuple[tuple[int, int], ...]
    run: Callable[[tuple[np.ndarray, ...]], int]
    plan: Plan | None = None
    compile_seconds: float = 0.0
    kernels_compiled: int = 0
    kernels_reused: int = 0

    def describe(self) -> str:
        """What a run does, step by step, for people to read: buffers, kernels, and why they are as they are."""
        return "" if self.plan is None else print_plan(self.plan)

    def __call__(self, *inputs: object) -> tuple[np.ndarray, ...]:
        """The outputs for these inputs, which stay as they are; TypeError for wrong inputs, ExitTaken for an exit."""
        if len(inputs) != len(self.inputs):
            raise TypeError(f"{len(self.inputs)} inputs are needed, {len(inputs)} were given")
        arrays = [_checked(k, array, type) for k, (array, type) in enumerate(zip(inputs, self.inputs, strict=True))]
        owner = dict(self.aliases)
        for input in owner.values():
            arrays[input] = arrays[input].copy()
        outputs = [arrays[owner[k]] if k in owner else np.empty(cast(tuple[int, ...], type.shape), DTYPES[type.dtype])
                   for k, type in enumerate(self.outputs)]
        left_at = self.run((*arrays, *(output for k, output in enumerate(outputs) if k not in owner)))
        if left_at != DONE:
            raise ExitTaken(left_at)
        return tuple(outputs)


def _checked(number: int, array: object, type: TensorType) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"input {number} is {array!r}, not an array")
    given = type_of(array)
    if given != type:
        raise TypeError(f"input {number} is {given}, not {type}")
    return np.require(array, requirements=("C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"))
