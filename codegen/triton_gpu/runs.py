"""runs: a ProgramPlan on a Device: block after block, and the way that is taken where a value decides.

    run = Runner(plan, device, launches, measured, numbers)
    run((x, y, slot))       DONE - k at end k, or the number of the exit that was taken

1. A run works in a workspace that no other has, nor had one before it whose work may not be done yet.
2. Where its arrays are where they were in an earlier run of the workspace, the device starts again what it was given
   then (see bound_blocks).
3. An array that does not lie on the device is staged: what stands for it is at one address in all runs. So is one
   that moves, if it is not long and not written over: each run has another batch and another loss, and all that is
   captured is to be captured once. A slot may be in two places in turn, as a gradient is whose last one is still there.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from codegen.executable import DONE, Measured, clock_ns
from codegen.ir.program import CHECK_FAILED, Branch, Exit, Jump, Return, Switch, Target, case_number
from codegen.ir.structs import struct
from codegen.ir.types import NAMES
from codegen.schedule.plan import PlannedBlock, ProgramPlan
from codegen.triton_gpu.bound_blocks import Binder, BoundBlock, Left, leave_if_failed
from codegen.triton_gpu.cpu_numbers import CpuNumber
from codegen.triton_gpu.devices import Device, Flag
from codegen.triton_gpu.kernels import KernelLaunch
from codegen.triton_gpu.step_times import STEP_TIMES

MOST_BOUND = 16
"""So many runs, with arrays elsewhere each, a workspace remembers."""

MOST_ORDERS = 8
"""For so many streams workspaces are kept."""

MOVED_BYTES = 1 << 22
"""To copy so many bytes takes less than to start work step by step that could have been one graph."""

SLOT_PLACES = 2
"""In so many places what a run makes may be, in turn."""

FEW_BYTES = 256
"""So few bytes of an array that lies elsewhere are not copied again while they are the same."""


@struct(frozen=False, eq=False)
class Workspace:
    """What one run at a time works in.

    `staged`: where arrays go that lie elsewhere, by their place; `sent`: the bytes that are there, if they are few.
    `bound`: what was run on arrays at these addresses.
    """

    arena: Any
    flag: Flag
    staged: dict[int, Any] = field(default_factory=dict)
    sent: dict[int, bytes] = field(default_factory=dict)
    bound: OrderedDict[tuple[int | None, ...], _Run] = field(default_factory=OrderedDict)
    places: dict[int, set[int]] = field(default_factory=dict)       # where arrays were, those that do not move


@struct(frozen=False, eq=False)
class _Run:
    """The arrays of a run, those that are staged, and the blocks that were run on them."""

    given: list[Any]
    elsewhere: tuple[int, ...]
    blocks: dict[int, BoundBlock] = field(default_factory=dict)


class Runner:
    """Runs one plan on one device; `launches`: of its steps that kernels do, by id. `measured`: for times of steps.
    `numbers`: what the CPU computes itself of what is given back to it.
    """

    def __init__(self, plan: ProgramPlan, device: Device, launches: Mapping[int, KernelLaunch], measured: Measured,
                 numbers: Mapping[tuple[int, int], CpuNumber]):
        self._plan, self._device, self._measured, self._numbers = plan, device, measured, numbers
        self._binder = Binder(plan, device, launches)
        returning = [number for number, block in enumerate(plan.blocks) if isinstance(block.terminator, Return)]
        self._end_of_block = {number: end for end, number in enumerate(returning)}
        self._free: dict[int, list[Workspace]] = {}                 # by the order that its last run was in
        self._moving: frozenset[int] = frozenset()                  # places of arrays that change their addresses
        self._stay = {place for end in plan.ends for place in end if place < len(plan.inputs)}

    def __call__(self, arrays: Sequence[Any]) -> int:
        """What Executable.run says."""
        elsewhere = self._device.elsewhere()
        if elsewhere is None:
            return self._on_device(arrays)
        with elsewhere:
            return self._on_device(arrays)

    def _on_device(self, arrays: Sequence[Any]) -> int:
        order = self._device.order()
        if len(self._free) > MOST_ORDERS:
            self._free = {}                     # of streams that are gone, mostly
        free = self._free.setdefault(order, [])
        try:
            workspace = free.pop()
        except IndexError:
            workspace = Workspace(self._device.memory(self._plan.arena_bytes), self._device.flag())
        run = self._run(workspace, arrays)
        for k in run.elsewhere:
            self._send(workspace, k, arrays[k])
        result = self._result(workspace, run)
        if run.elsewhere and result <= DONE:
            self._give_back(workspace, run, arrays, DONE - result)
        free.append(workspace)                  # which one that was interrupted is not: an answer may be under way
        return result

    def _run(self, workspace: Workspace, arrays: Sequence[Any]) -> _Run:
        """What is known of runs on these arrays, or will be."""
        where = None if STEP_TIMES.is_wanted else self._device.where(arrays)
        if where is None:
            return self._new_run(workspace, arrays)
        if self._moving:
            where = tuple([None if k in self._moving else address for k, address in enumerate(where)])
        known = workspace.bound.get(where)
        if known is None:
            where = self._without_moving(where, workspace.places, arrays)
            known = workspace.bound.get(where)
        if known is None:
            known = workspace.bound[where] = self._new_run(workspace, arrays)
            if len(workspace.bound) > MOST_BOUND:
                workspace.bound.popitem(last=False)
        elif len(workspace.bound) > 1:
            workspace.bound.move_to_end(where)
        return known

    def _without_moving(self, where: tuple[int | None, ...], places: dict[int, set[int]], arrays: Sequence[Any]
                        ) -> tuple[int | None, ...]:
        """Where those arrays are that do not move: others are staged from now on, if they may be."""
        moved = []
        for k, address in enumerate(where):
            if address is None or address in (known := places.setdefault(k, set())):
                continue
            if len(known) < (1 if k < len(self._plan.inputs) else SLOT_PLACES):
                known.add(address)
            elif k not in self._stay and arrays[k].nbytes <= MOVED_BYTES:
                moved.append(k)
            else:
                places[k] = {address}
        if not moved:
            return where
        self._moving |= frozenset(moved)
        return tuple([None if k in self._moving else address for k, address in enumerate(where)])

    def _new_run(self, workspace: Workspace, arrays: Sequence[Any]) -> _Run:
        device = self._device
        here = [device.holds(array) and k not in self._moving for k, array in enumerate(arrays)]
        given = [device.given(array) if is_here else self._staged(workspace, k, array)
                 for k, (array, is_here) in enumerate(zip(arrays, here))]
        return _Run(given, tuple([k for k, is_here in enumerate(here) if not is_here]))

    # ---- arrays that lie elsewhere ---------------------------------------------------------------------------------

    def _staged(self, workspace: Workspace, k: int, array: np.ndarray) -> Any:
        """The array of the device that stands for one that lies elsewhere: the same in every run of a workspace."""
        if k not in workspace.staged:
            memory = self._device.memory(array.nbytes)
            workspace.staged[k] = self._device.elements(memory, NAMES[array.dtype], 0, array.size)
        return workspace.staged[k]

    def _send(self, workspace: Workspace, k: int, array: np.ndarray) -> None:
        """Have what stands for an input hold its values."""
        if k >= len(self._plan.inputs) or not array.size:
            return
        if self._device.holds(array):
            self._device.copy(self._device.given(array), workspace.staged[k])()
            return
        content = array.tobytes() if array.nbytes <= FEW_BYTES else None
        if content is None or workspace.sent.get(k) != content:
            self._device.upload(array, workspace.staged[k])
        if content is not None:
            workspace.sent[k] = content

    def _give_back(self, workspace: Workspace, run: _Run, arrays: Sequence[Any], end: int) -> None:
        """Have the arrays that lie elsewhere hold what the run has written. What the CPU can say itself it says first:
        it may follow from what is overwritten."""
        elsewhere = set(run.elsewhere)
        places = [k for k in dict.fromkeys(self._plan.ends[end]) if k in elsewhere and arrays[k].size]
        values = {k: number.value(arrays) for k in places if (number := self._numbers.get((end, k))) is not None
                  and not any(self._device.holds(arrays[n]) for n in number.inputs)}
        for k in places:
            workspace.sent.pop(k, None)
            if self._device.holds(arrays[k]):
                self._device.copy(run.given[k], self._device.given(arrays[k]))()
            elif k in values:
                arrays[k][...] = values[k]
            else:
                self._device.download(run.given[k], arrays[k])

    # ---- what is run -----------------------------------------------------------------------------------------------

    def _result(self, workspace: Workspace, run: _Run) -> int:
        try:
            if not STEP_TIMES.is_wanted:
                return self._follow(workspace, run, False)
            begin = clock_ns()
            result = self._follow(workspace, run, True)
            STEP_TIMES.note_run(self._measured, begin)
            return result
        except Left:
            return CHECK_FAILED.number

    def _follow(self, workspace: Workspace, run: _Run, is_timed: bool) -> int:
        """Run block after block until the program ends or is left."""
        number = 0
        while True:
            block = self._plan.blocks[number]
            bound = run.blocks.get(number)
            if bound is None:
                bound = run.blocks[number] = self._binder.bound(block, workspace, run.given, apart=is_timed)
            for step, part in bound.parts:
                if is_timed and step >= 0:
                    begin = clock_ns()
                    STEP_TIMES.note_step(self._measured, number, step, begin, self._device.timed(part))
                else:
                    part()
            target = None if isinstance(block.terminator, Return) else _target(block, bound)
            if bound.is_asked:
                leave_if_failed(workspace.flag)
            if target is None:
                return DONE - self._end_of_block[number]
            if isinstance(target, Exit):
                return target.number
            number = target.block


def _target(block: PlannedBlock, bound: BoundBlock) -> Target:
    """Where control goes on after a block, by the value that it looks at."""
    if isinstance(block.terminator, Jump):
        return block.terminator.target
    assert bound.decider is not None
    bound.decider.start()
    value = bound.decider.value()
    match block.terminator:
        case Branch(_, then, else_):
            return then if value else else_
        case Switch(_, cases, default):
            number = case_number(value)
            return next((target for case, target in cases if case == number), default)
        case _:
            raise AssertionError("a block that returns goes nowhere")
