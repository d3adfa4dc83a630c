"""runs: a ProgramPlan on a Device: steps one after the other, and the way that is taken where a value decides.

    run = Runner(plan, device, launches)
    run((x, y, slot))       DONE - k at end k, or the number of the exit that was taken

1. A run works in a workspace that no other has. Where its arrays are where they were in an earlier run of that, the
   steps are known as the device has put them together, and are started again.
2. A check is asked for where its flag is known, and waited for only before the first step that writes what the caller
   can see, or where the block ends: until then the device has more to do.
3. Where a reference refuses its operands the check fails, as it does where an index is out of bounds.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any, assert_never

import numpy as np

from codegen.executable import DONE, Measured, clock_ns
from codegen.ir.dims import number_of
from codegen.ir.program import CHECK_FAILED, Branch, Exit, Jump, Return, Switch, Target, case_number
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, NAMES
from codegen.schedule.plan import (
    Arena,
    Buffer,
    Check,
    Constant,
    Copy,
    Host,
    Input,
    Launch,
    Matmul,
    Output,
    Place,
    PlannedBlock,
    ProgramPlan,
    Spliced,
    Step,
    written,
)
from codegen.triton_gpu.devices import Device, Work
from codegen.triton_gpu.kernels import KernelLaunch
from codegen.triton_gpu.step_times import STEP_TIMES

MOST_BOUND = 16
"""So many runs, with arrays elsewhere each, a workspace remembers."""

FEW_BYTES = 256
"""So few bytes of an array that lies elsewhere are not copied again while they are the same."""

_FLAG_BYTES = 4


@struct(frozen=False, eq=False)
class _Bound:
    """A block on the arrays of a run: its parts in order, and the value that decides where control goes on.

    A part is one step or more, from that number on; what belongs to none has the number -1.
    """

    parts: tuple[tuple[int, Work], ...]
    decider: Any


@struct(frozen=False, eq=False)
class _Workspace:
    """What one run at a time works in. `refused`: has a reference refused its operands? `asked`: gives the flag.

    `bound`: the blocks that were run on arrays at these addresses. `staged`: where arrays go that lie elsewhere, by
    their place; `sent`: the bytes that are there already, if they are few.
    """

    arena: Any
    flag: Any
    staged: dict[int, Any] = field(default_factory=dict)
    sent: dict[int, bytes] = field(default_factory=dict)
    refused: bool = False
    asked: Callable[[], np.generic] | None = None
    bound: OrderedDict[tuple[int, ...], dict[int, _Bound]] = field(default_factory=OrderedDict)


class _Left(Exception):
    """A check has failed."""


class Runner:
    """Runs one plan on one device; `launches`: of its steps that kernels do, by id. `measured`: for times of steps."""

    def __init__(self, plan: ProgramPlan, device: Device, launches: Mapping[int, KernelLaunch], measured: Measured):
        self._plan, self._device, self._launches, self._measured = plan, device, launches, measured
        self._constants = {data: device.constant(data) for data in dict.fromkeys(
            place.data for block in plan.blocks for place in _places(block) if isinstance(place, Constant))}
        returning = [number for number, block in enumerate(plan.blocks) if isinstance(block.terminator, Return)]
        self._end_of_block = {number: end for end, number in enumerate(returning)}
        self._free: list[_Workspace] = []

    def __call__(self, arrays: Sequence[Any]) -> int:
        """What Executable.run says."""
        device = self._device
        workspace = self._workspace()
        given = [device.given(array) if device.holds(array) else self._staged(workspace, k, array)
                 for k, array in enumerate(arrays)]
        try:
            result = self._result(workspace, given)
            if result <= DONE:
                self._give_back(workspace, given, arrays, self._plan.ends[DONE - result])
        finally:
            self._free.append(workspace)
        return result

    def _result(self, workspace: _Workspace, given: Sequence[Any]) -> int:
        try:
            if not STEP_TIMES.is_wanted:
                return self._follow(self._known(workspace, given), workspace, given)
            begin = clock_ns()
            result = self._follow({}, workspace, given, is_timed=True)
            STEP_TIMES.note_run(self._measured, begin)
            return result
        except _Left:
            return CHECK_FAILED.number

    def _staged(self, workspace: _Workspace, k: int, array: np.ndarray) -> Any:
        """The array of the device that stands for one that lies elsewhere: the same in every run of a workspace."""
        if k not in workspace.staged:
            size, dtype = array.size, NAMES[array.dtype]
            workspace.staged[k] = self._device.elements(self._device.memory(array.nbytes), dtype, 0, size)
        if k < len(self._plan.inputs) and array.size:
            content = array.tobytes() if array.nbytes <= FEW_BYTES else None
            if content is None or workspace.sent.get(k) != content:
                self._device.upload(array, workspace.staged[k])
            if content is not None:
                workspace.sent[k] = content
        return workspace.staged[k]

    def _give_back(self, workspace: _Workspace, given: Sequence[Any], arrays: Sequence[Any], places: Sequence[int]
                   ) -> None:
        """Have the arrays that lie elsewhere hold what the run has written."""
        for place in dict.fromkeys(places):
            if not self._device.holds(arrays[place]) and arrays[place].size:
                workspace.sent.pop(place, None)
                self._device.download(given[place], arrays[place])

    def _workspace(self) -> _Workspace:
        try:
            workspace = self._free.pop()
        except IndexError:
            return _Workspace(self._device.memory(self._plan.arena_bytes), self._device.memory(_FLAG_BYTES))
        workspace.refused, workspace.asked = False, None
        return workspace

    def _known(self, workspace: _Workspace, given: Sequence[Any]) -> dict[int, _Bound]:
        """The blocks that are bound to these arrays already; what is bound later is kept there."""
        addresses = tuple([self._device.address(array) for array in given])
        if None in addresses:
            return {}
        known = workspace.bound.setdefault(addresses, {})       # type: ignore[arg-type]
        workspace.bound.move_to_end(addresses)                  # type: ignore[arg-type]
        if len(workspace.bound) > MOST_BOUND:
            workspace.bound.popitem(last=False)
        return known

    def _follow(self, known: dict[int, _Bound], workspace: _Workspace, given: Sequence[Any],
                is_timed: bool = False) -> int:
        """Run block after block until the program ends or is left."""
        number = 0
        while True:
            block = self._plan.blocks[number]
            if number not in known:
                known[number] = self._bound(block, workspace, given, apart=is_timed)
            bound = known[number]
            for step, part in bound.parts:
                if is_timed and step >= 0:
                    begin = clock_ns()
                    STEP_TIMES.note_step(self._measured, number, step, begin, self._device.timed(part))
                else:
                    part()
            if isinstance(block.terminator, Return):
                return DONE - self._end_of_block[number]
            target = self._target(block, bound)
            if isinstance(target, Exit):
                return target.number
            number = target.block

    def _target(self, block: PlannedBlock, bound: _Bound) -> Target:
        match block.terminator:
            case Jump(target):
                return target
            case Branch(_, then, else_):
                return then if self._device.ask(bound.decider)() else else_
            case Switch(_, cases, default):
                value = case_number(self._device.ask(bound.decider)())
                return next((target for number, target in cases if number == value), default)
            case _:
                raise AssertionError("a block that returns goes nowhere")

    # ---- blocks on arrays ------------------------------------------------------------------------------------------

    def _bound(self, block: PlannedBlock, workspace: _Workspace, given: Sequence[Any], apart: bool) -> _Bound:
        """The block on these arrays; `apart`: each step is a part by itself."""
        arrays = [self._array(block, buffer, workspace, given) for buffer in block.plan.buffers]
        steps = block.plan.steps
        parts: list[tuple[int, Work]] = []
        run: list[tuple[int, Work]] = []        # of steps that the device can start at once
        is_asked = False

        def cut() -> None:
            if run:
                parts.append((run[0][0], self._device.together([work for _, work in run])))
                run.clear()

        def alone(number: int, work: Work) -> None:
            cut()
            parts.append((number, work))

        if any(isinstance(step, Check) for step in steps):
            run.append((-1, self._device.clear(self._flag(workspace))))
        for number, step in enumerate(steps):
            if apart:
                cut()
            if is_asked and any(self._is_input(block, b) for b in written(step)):
                alone(-1, partial(_leave_if_failed, workspace))
                is_asked = False
            match step:
                case Check():
                    alone(-1, partial(self._ask, workspace))
                    is_asked = True
                case Host():
                    alone(number, partial(_tried, self._work(step, arrays, workspace), workspace))
                case _:
                    run.append((number, self._work(step, arrays, workspace)))
        cut()
        if is_asked:
            alone(-1, partial(_leave_if_failed, workspace))
        decider = None
        if block.decider is not None:
            place, dtype = block.decider
            decider = self._array(block, Buffer(dtype, 1, place), workspace, given, is_placed=True)
        return _Bound(tuple(parts), decider)

    def _array(self, block: PlannedBlock, buffer: Buffer, workspace: _Workspace, given: Sequence[Any],
               is_placed: bool = False) -> Any:
        """The array that a buffer is; `is_placed`: its place is one in the program already."""
        size, item = number_of(buffer.size), DTYPES[buffer.dtype].itemsize
        offset = number_of(buffer.start) * item
        assert isinstance(buffer.place, Place)
        match buffer.place if is_placed else block.place(buffer.place):
            case Input(index):
                memory = given[index]
            case Output(index):
                memory = given[len(self._plan.inputs) + index]
            case Arena(start):
                memory, offset = workspace.arena, offset + start
            case Constant(data):
                memory = self._constants[data]
            case place:
                raise AssertionError(f"{place} is of a plan with symbols")
        return self._device.elements(memory, buffer.dtype, offset, size)

    def _flag(self, workspace: _Workspace) -> Any:
        return self._device.elements(workspace.flag, "i32", 0, 1)

    def _ask(self, workspace: _Workspace) -> None:
        workspace.asked = self._device.ask(self._flag(workspace))

    @staticmethod
    def _is_input(block: PlannedBlock, buffer: int) -> bool:
        place = block.plan.buffers[buffer].place
        return isinstance(place, Input | Output) and isinstance(block.place(place), Input)

    def _work(self, step: Step, arrays: Sequence[Any], workspace: _Workspace) -> Work:
        match step:
            case Launch() | Matmul() | Spliced():
                if isinstance(step, Matmul):
                    library = self._device.product(step, arrays[step.a], arrays[step.b], arrays[step.c])
                    if library is not None:
                        return library
                made = self._launches[id(step)]
                return self._device.launch(made.spec, [arrays[b] for b in made.buffers],
                                           tuple(map(number_of, made.words)), self._flag(workspace))
            case Host(_, _, operands, result):
                return self._device.host_call(step, [None if k is None else arrays[k] for k, _ in operands],
                                              arrays[result])
            case Copy(source, target):
                return self._device.copy(arrays[source], arrays[target])
            case Check():
                raise AssertionError("a check is no work")
            case _:
                assert_never(step)


def _places(block: PlannedBlock) -> list[Any]:
    """All that a block reads and writes, in the program."""
    found = [block.place(buffer.place) for buffer in block.plan.buffers]
    return found if block.decider is None else [*found, block.decider[0]]


def _tried(work: Work, workspace: _Workspace) -> None:
    """Run a reference, which may refuse its operands, or fail otherwise: whoever runs it eagerly then meets that."""
    try:
        work()
    except Exception:  # noqa: BLE001 - invariant 3
        workspace.refused = True


def _leave_if_failed(workspace: _Workspace) -> None:
    assert workspace.asked is not None
    if workspace.refused or workspace.asked():
        raise _Left
