"""Executable: a compiled program, ready to run on arrays.

    executable = compile_program(graph)
    y, = executable(x)                      checked: copies where it must, makes the outputs, raises on an exit
    result = executable.run((x, y))         trusted: one native call

A run is given the inputs and one uninitialized array for each slot, and comes to an end or takes an exit. The outputs
of an end are in arrays that the run was given: an aliased one in its input, the others in slots.

    block1: return %0, %2 : f32[3], f32[]           slots   f32[3], f32[], f32[3]
    block2: return %1, %1 : f32[3], f32[3]          ends    (1, 2), (1, 3)              with one input

1. The k-th output of a type at an end has the k-th slot of that type, so ends share slots.
"""
from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, TensorType, type_of
from codegen.schedule.plan import ProgramPlan, at_once
from codegen.schedule.plan_text import print_program_plan
from codegen.schedule.step_reports import Listings, StepReport, StepTime, step_reports, together

DONE = -1
"""What a run returns that came to the first end; at end k it is DONE - k. An exit is its number, 0 or more."""

clock_ns = (partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC) if hasattr(time, "CLOCK_MONOTONIC")
            else time.monotonic_ns)
"""The clock of events, in nanoseconds: where there is one that native code can read, it is that."""

Aliases = tuple[tuple[int, int], ...]
"""(output, input) pairs that share storage."""


class ExitTaken(Exception):
    """A run left at an exit; its outputs were not computed."""

    def __init__(self, exit: int):
        super().__init__(f"the run left at exit {exit}" + (": an index is out of bounds" if exit == 0 else ""))
        self.exit = exit


class Measured:
    """The plan of a program and what is known of its steps: what they are compiled to, and, by (block, step), how long
    they took in runs that were profiled."""

    __slots__ = ("name", "listings", "times", "_make_plan", "_plan", "__weakref__")

    def __init__(self, name: str, make_plan: Callable[[], ProgramPlan], listings: Listings | None = None):
        self.name, self._make_plan, self.listings = name, make_plan, listings
        self.times: dict[tuple[int, int], StepTime] = {}
        self._plan: ProgramPlan | None = None

    @property
    def plan(self) -> ProgramPlan:
        """The plan; of a program that was kept on disk it is made when it is first asked for."""
        if self._plan is None:
            self._plan = self._make_plan()
        return self._plan

    @property
    def steps(self) -> tuple[tuple[StepReport, ...], ...]:
        """For each block of the plan, which may cut those of the program, a report for each of its steps.

        Steps that are one launch share its time, each according to the bytes that it moves.
        """
        reports = {id(plan): step_reports(plan, self.listings) for plan in self.plan.plans}
        return tuple(self._timed(number, reports[id(block.plan)]) for number, block in enumerate(self.plan.blocks))

    def _timed(self, number: int, reports: tuple[StepReport, ...]) -> tuple[StepReport, ...]:
        found = list(reports)
        steps = self.plan.blocks[number].plan.steps
        for numbers in at_once(steps):
            for k in numbers:
                found[k] = replace(reports[k], beside=(*steps[numbers.start:k], *steps[k + 1:numbers.stop]))
            time = self.times.get((number, numbers.start))
            if time is None:
                continue
            moved = sum(reports[k].bytes_moved for k in numbers)
            for k in numbers:
                part = reports[k].bytes_moved / moved if moved and len(numbers) > 1 else 1.0
                found[k] = replace(found[k], time=time.scaled(part))
        return tuple(found)

    def launches(self, block: int) -> dict[int, StepReport]:
        """A report for each launch of a block, by the number of its first step."""
        plan = self.plan.blocks[block].plan
        reports = step_reports(plan, self.listings)
        return {numbers.start: together(reports[numbers.start:numbers.stop]) for numbers in at_once(plan.steps)}


@struct(eq=False)
class NativeEvent:
    """What native code did in a thread, from `begin` to `end` as `clock_ns` counts.

    `kind`: "run" of a program, "step" of one, or the "part" of a step that a thread did, so many `chunks` of it.
    `thread`: as threading.get_ident() gives it. `block`, `step`: which of the plan.
    """

    kind: str
    thread: int
    begin: int
    end: int
    of: Measured
    block: int = 0
    step: int = 0
    chunks: int = 0


@struct(eq=False)
class EntryRun:
    """How native code that found the arrays itself runs an executable: in a frame (see llvm_cpu.entry_call).

    `frame` gives one that nobody else has, with its `address`. `is_long`: it takes longer than to release the
    interpreter lock and to get it back.
    """

    frame: Callable[[], Any]
    is_long: bool


@struct(eq=False)
class Executable:
    """What compile_program gives.

    `run(arrays)` takes inputs, then an array for each slot: C-contiguous, aligned, of the right types, no slot or
    aliased input overlapping anything. It trusts its caller. It is one native call, releases the interpreter lock, may
    be called by several threads at once, and returns the number of the exit that was taken, or DONE - k at end k.
    `shares_kernels`: they serve other sizes too, so to compile for one compiles none. `resized(numbers)` is then what
    these kernels run as with other numbers for the program's symbols; CannotLower where they do not serve those.
    `entry`: None where a run needs Python.
    ends: for each Return of the program, in order of blocks, the position in `arrays` of each of its outputs.
    `measured`: what its steps are, and how long they took. `arena_bytes`: what a run needs beside its arrays.
    """

    inputs: tuple[TensorType, ...]
    slots: tuple[TensorType, ...]
    ends: tuple[tuple[int, ...], ...]
    run: Callable[[tuple[np.ndarray, ...]], int]
    arena_bytes: int = 0
    compile_seconds: float = 0.0
    kernels_compiled: int = 0
    kernels_reused: int = 0
    shares_kernels: bool = False
    measured: Measured | None = None
    entry: EntryRun | None = None
    resized: Callable[[Mapping[str, int]], Executable] | None = None

    @property
    def plan(self) -> ProgramPlan | None:
        """What a run does, as data; None where the target has no plan."""
        return None if self.measured is None else self.measured.plan

    def outputs(self, end: int = 0) -> tuple[TensorType, ...]:
        """The types of the outputs at an end."""
        types = (*self.inputs, *self.slots)
        return tuple(types[place] for place in self.ends[end])

    def describe(self) -> str:
        """What a run does, step by step, for people to read: buffers, kernels, and why they are as they are."""
        if self.measured is None:
            return ""
        plan, listings = self.measured.plan, self.measured.listings
        rows = [one.steps[numbers.start:numbers.stop] for one in plan.plans for numbers in at_once(one.steps)]
        sources = dict.fromkeys(listings.triton(*row) for row in rows) if listings else {}
        return "\n".join([print_program_plan(plan), *filter(None, sources)])

    @property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        """For each end, the blocks on the way to it, as `steps` has them; () where the target has no plan."""
        return () if self.plan is None else self.plan.ways

    @property
    def steps(self) -> tuple[tuple[StepReport, ...], ...]:
        """Reports of its steps, by block (see Measured); () where the target has no plan."""
        return () if self.measured is None else self.measured.steps

    def __call__(self, *inputs: object) -> tuple[np.ndarray, ...]:
        """The outputs for these inputs, which stay as they are; TypeError for wrong inputs, ExitTaken for an exit."""
        if len(inputs) != len(self.inputs):
            raise TypeError(f"{len(self.inputs)} inputs are needed, {len(inputs)} were given")
        arrays = [_checked(k, array, type) for k, (array, type) in enumerate(zip(inputs, self.inputs, strict=True))]
        for k in {place for end in self.ends for place in end if place < len(arrays)}:
            arrays[k] = arrays[k].copy()
        arrays += [np.empty(cast(tuple[int, ...], type.shape), DTYPES[type.dtype]) for type in self.slots]
        result = self.run(tuple(arrays))
        if result > DONE:
            raise ExitTaken(result)
        return tuple(arrays[place] for place in self.ends[DONE - result])


def storage_of_ends(inputs: int, outputs: Sequence[Sequence[TensorType]], aliases: Sequence[Aliases]
                    ) -> tuple[tuple[TensorType, ...], tuple[tuple[int, ...], ...]]:
    """The slots of a program whose ends have outputs of these types, and the places of these (see Executable)."""
    slots: list[TensorType] = []
    of_type: defaultdict[TensorType, list[int]] = defaultdict(list)
    ends: list[tuple[int, ...]] = []
    for types, pairs in zip(outputs, aliases, strict=True):
        owner, taken = dict(pairs), Counter[TensorType]()
        places = []
        for k, type in enumerate(types):
            if k in owner:
                places.append(owner[k])
                continue
            if taken[type] == len(of_type[type]):
                of_type[type].append(inputs + len(slots))
                slots.append(type)
            places.append(of_type[type][taken[type]])
            taken[type] += 1
        ends.append(tuple(places))
    return tuple(slots), tuple(ends)


def _checked(number: int, array: object, expected: TensorType) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"input {number} is {array!r}, not an array")
    if type(array) is np.ndarray and array.dtype is DTYPES[expected.dtype] and array.shape == expected.shape:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    given = type_of(array)
    if given != expected:
        raise TypeError(f"input {number} is {given}, not {expected}")
    return np.require(array, requirements=("C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"))
