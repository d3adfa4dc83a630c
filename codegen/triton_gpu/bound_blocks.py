"""bound_blocks: a block of a plan, on the arrays of a run: what the device starts, part after part.

    clear flag, launch, launch; read flag; launch, launch; leave if it is set; launch that writes an input

1. Steps that wait for nothing are one part, which the device may start at once (see Device.together).
2. A check is asked for where its flag is known, and waited for only before the first step that writes what the caller
   can see, or where the block ends: until then the device has more to do.
3. Where a reference refuses its operands the check fails, as it does where an index is out of bounds.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, assert_never

from codegen.ir.dims import number_of
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
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
    at_once,
    written,
)
from codegen.triton_gpu.devices import Device, Reading, Work
from codegen.triton_gpu.kernels import KernelLaunch


class Left(Exception):
    """A check has failed."""


class Room(Protocol):
    """The part of a workspace that a block works in."""

    arena: Any
    flag: Any
    failed: Reading
    refused: bool


@struct(eq=False)
class BoundBlock:
    """Its parts in order, and what reads the value that decides where control goes on.

    A part is one step or more, from that number on; what belongs to none has the number -1.
    """

    parts: tuple[tuple[int, Work], ...]
    decider: Reading | None


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
            run.append((-1, self._device.clear(room.flag)))
        for numbers in at_once(steps):
            number, step = numbers.start, steps[numbers.start]
            if apart:
                cut()
            if is_asked and any(self._is_input(block, b) for k in numbers for b in written(steps[k])):
                alone(-1, partial(_leave_if_failed, room))
                is_asked = False
            match step:
                case Check():
                    alone(-1, room.failed.start)
                    is_asked = True
                case Host():
                    alone(number, partial(_tried, self._work(step, arrays, room), room))
                case _:
                    run.append((number, self._work(step, arrays, room)))
        cut()
        if is_asked:
            alone(-1, partial(_leave_if_failed, room))
        decider = None
        if block.decider is not None:
            place, dtype = block.decider
            decider = self._device.reading(self._array(block, Buffer(dtype, 1, place), room, given, is_placed=True))
        return BoundBlock(tuple(parts), decider)

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

    @staticmethod
    def _is_input(block: PlannedBlock, buffer: int) -> bool:
        place = block.plan.buffers[buffer].place
        return isinstance(place, Input | Output) and isinstance(block.place(place), Input)

    def _work(self, step: Step, arrays: Sequence[Any], room: Room) -> Work:
        match step:
            case Launch() | Matmul() | Spliced():
                made = self._launches[id(step)]
                if isinstance(step, Matmul):
                    better = self._device.product(step, made, arrays[step.a], arrays[step.b], arrays[step.c])
                    if better is not None:
                        return better
                return self._device.launch(made.spec, [arrays[b] for b in made.buffers],
                                           tuple(map(number_of, made.words)), room.flag)
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


def _tried(work: Work, room: Room) -> None:
    """Run a reference, which may refuse its operands, or fail otherwise: whoever runs it eagerly then meets that."""
    try:
        work()
    except Exception:  # noqa: BLE001 - invariant 3
        room.refused = True


def _leave_if_failed(room: Room) -> None:
    if room.failed.value() or room.refused:
        raise Left
