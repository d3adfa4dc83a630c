"""points: launches of one point each, one after the other, become one launch of a point that does all they did.

    launch A on x1                    launch A on x1, then B on y1, then A on x2
    launch B on y1             ->
    launch A on x2

Such are the numbers that an optimizer keeps for each parameter. Where a launch takes longer than what it does, as on a
GPU, most of what they take is gone. Passes of one kernel are in order, so they may wait for each other.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from codegen.schedule.kernel import (
    Gather,
    Kernel,
    Load,
    Param,
    Pass,
    Scatter,
    Statement,
    Store,
    makes_value,
    operands,
    with_operands,
)
from codegen.schedule.passes import Lowered
from codegen.schedule.tasks import Storage, Task

MOST_PARAMS, MOST_STATEMENTS = 128, 400
"""Of a kernel that does what several did."""


def in_one_launch(order: Sequence[Sequence[Task]]) -> list[list[Task]]:
    """The groups of tasks in order, launches of one point in a row, each by itself, as one."""
    found: list[list[Task]] = []
    row: list[Lowered] = []
    for group in order:
        own = group[0].work if len(group) == 1 else None
        if not isinstance(own, Lowered) or not _is_a_point(own.kernel) or [*map(group[0].place, own.storages)] != [
                *own.storages]:
            found += [*_groups(row), [*group]]
            row = []
            continue
        if row and not _fits((*row, own)):
            found += _groups(row)
            row = []
        row.append(own)
    return [*found, *_groups(row)]


def _is_a_point(kernel: Kernel) -> bool:
    return not (kernel.axes or kernel.checked or any(one.axes for one in kernel.passes))


def _fits(row: Sequence[Lowered]) -> bool:
    return (len({storage for one in row for storage in one.storages}) <= MOST_PARAMS
            and sum(len(p.body) for one in row for p in one.kernel.passes) <= MOST_STATEMENTS)


def _groups(row: Sequence[Lowered]) -> list[list[Task]]:
    """One task by itself for a row of launches; none if there is nothing in it."""
    if not row:
        return []
    params: dict[Storage, Param] = {}
    for one in row:
        for storage, param in zip(one.storages, one.kernel.params):
            known = params.get(storage, param)
            params[storage] = param if known.access == param.access else replace(param, access="inout")
    places = {storage: k for k, storage in enumerate(params)}
    passes: list[Pass] = []
    first = 0
    for one in row:
        buffers = [places[storage] for storage in one.storages]
        passes += [Pass((), tuple(_moved(s, first, buffers) for s in p.body)) for p in one.kernel.passes]
        first += sum(makes_value(s) for p in one.kernel.passes for s in p.body)
    kernel = Kernel(tuple(params.values()), (), tuple(passes), None, 0)
    values = tuple(dict.fromkeys(v for one in row for v in one.values))
    reads = frozenset(_of_access(row, "out"))
    return [[Task(Lowered(kernel, tuple(params), values), reads, frozenset(_of_access(row, "in")))]]


def _of_access(row: Iterable[Lowered], other: str) -> Iterable[Storage]:
    """The storages whose access is not `other`."""
    return (storage for one in row for storage, param in zip(one.storages, one.kernel.params) if param.access != other)


def _moved(s: Statement, first: int, buffers: Sequence[int]) -> Statement:
    """A statement whose values begin at `first`, on other buffers."""
    s = with_operands(s, [first + v for v in operands(s)])
    return replace(s, buffer=buffers[s.buffer]) if isinstance(s, Load | Gather | Store | Scatter) else s
