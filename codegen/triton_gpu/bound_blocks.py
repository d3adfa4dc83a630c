"""bound_blocks: a block of a plan, on the arrays of a run: what the device starts, part after part.

    expect; clear flag, launch, ask for flag, launch, launch that writes an input unless it is set; leave if it is

1. Steps that wait for nothing are one part, which the device may start at once (see Device.together).
2. A check is asked for where its flag is known, and waited for where the block ends: until then the device has more to
   do. What writes what the caller can see looks at the flag itself; only before what cannot is it waited for.
3. Where a reference refuses its operands the check fails, as it does where an index is out of bounds. References run
   before the check, so nothing has been written then.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import dropwhile
from typing import Any, Protocol, assert_never

from codegen.ir.dims import number_of
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.schedule.plan import (
    Arena,
    Attention,
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
    at_once,
    written,
)
from codegen.triton_gpu.devices import Device, Flag, Reading, Work
from codegen.triton_gpu.kernels import KernelLaunch


class Left(Exception):
    """A check has failed."""


class Room(Protocol):
    """The part of a workspace that a block works in."""

    arena: Any
    flag: Flag


@struct(eq=False)
class BoundBlock:
    """Its parts in order, and what reads the value that decides where control goes on. `is_asked`: is the answer of a
    check still to be waited for?

    A part is one step or more, from that number on; what belongs to none has the number -1.
    """

    parts: tuple[tuple[int, Work], ...]
    decider: Reading | None
    is_asked: bool


def conditional_steps(plan: ProgramPlan) -> frozenset[int]:
    """The ids of those that write what the caller can see after a check of their block, which may fail."""
    return frozenset(id(step) for block in plan.blocks
                     for step in dropwhile(lambda step: not isinstance(step, Check), block.plan.steps)
                     if _is_seen(block, step))


class Binder:
    """Binds the blocks of a plan for a device; `launches`: of its steps that kernels do, by the id of the step, or of
    the first of those that are one."""

    def __init__(self, plan: ProgramPlan, device: Device, launches: Mapping[int, KernelLaunch]):
        self._inputs, self._device, self._launches = len(plan.inputs), device, launches
        self._constants = {data: device.constant(data) for data in dict.fromkeys(
            place.data for block in plan.blocks for place in _places(block) if isinstance(place, Constant))}

    def bound(self, block: PlannedBlock, room: Room, given: Sequence[Any], apart: bool) -> BoundBlock:
        """The block on these arrays; `apart`: each step is a part by itself."""
        arrays = [self._array(block, buffer, room, given) for buffer in block.plan.buffers]
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
            alone(-1, room.flag.expect)
            run.append((-1, room.flag.clear))
        for numbers in at_once(steps):
            number, step = numbers.start, steps[numbers.start]
            if apart:
                cut()
            if is_asked and not self._is_conditional(step) and any(_is_seen(block, steps[k]) for k in numbers):
                alone(-1, partial(leave_if_failed, room.flag))
                is_asked = False
            match step:
                case Check():
                    run.append((-1, room.flag.ask))
                    is_asked = True
                case Host():
                    alone(number, partial(_tried, self._work(step, arrays, room)))
                case _:
                    run.append((number, self._work(step, arrays, room)))
        cut()
        decider = None
        if block.decider is not None:
            place, dtype = block.decider
            decider = self._device.reading(self._array(block, Buffer(dtype, 1, place), room, given, is_placed=True))
        return BoundBlock(tuple(parts), decider, is_asked)

    def _array(self, block: PlannedBlock, buffer: Buffer, room: Room, given: Sequence[Any],
               is_placed: bool = False) -> Any:
        """The array that a buffer is; `is_placed`: its place is one in the program already."""
        size, item = number_of(buffer.size), DTYPES[buffer.dtype].itemsize
        offset = number_of(buffer.start) * item
        assert isinstance(buffer.place, Place)
        match buffer.place if is_placed else block.place(buffer.place):
            case Input(index):
                memory = given[index]
            case Output(index):
                memory = given[self._inputs + index]
            case Arena(start):
                memory, offset = room.arena, offset + start
            case Constant(data):
                memory = self._constants[data]
            case place:
                raise AssertionError(f"{place} is of a plan with symbols")
        return self._device.elements(memory, buffer.dtype, offset, size)

    def _is_conditional(self, step: Step) -> bool:
        made = self._launches.get(id(step))
        return made is not None and made.spec.conditional

    def _work(self, step: Step, arrays: Sequence[Any], room: Room) -> Work:
        match step:
            case Launch() | Matmul() | Spliced() | Attention():
                made = self._launches[id(step)]
                if isinstance(step, Matmul) and not made.spec.conditional:
                    better = self._device.product(step, made, arrays[step.a], arrays[step.b], arrays[step.c])
                    if better is not None:
                        return better
                return self._device.launch(made.spec, [arrays[b] for b in made.buffers],
                                           tuple(map(number_of, made.words)), room.flag.array)
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


def _is_seen(block: PlannedBlock, step: Step) -> bool:
    """Does a step write what the caller can see also where the run is left?"""
    places = [block.plan.buffers[buffer].place for buffer in written(step)]
    return any(isinstance(place, Input | Output) and isinstance(block.place(place), Input) for place in places)


def _tried(work: Work) -> None:
    """Run a reference, which may refuse its operands, or fail otherwise: whoever runs it eagerly then meets that."""
    try:
        work()
    except Exception as refusal:                 # invariant 3
        raise Left from refusal


def leave_if_failed(flag: Flag) -> None:
    """Wait for what was asked; Left if the flag was set."""
    if flag.is_set():
        raise Left
