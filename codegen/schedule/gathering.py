"""gathering: launches that wait for nothing of each other become one launch of the pool.

    launch A on x1     launch B on y1          launch A on x1, beside: A on x2, A on x3
    launch A on x2     launch B on y2    ->    launch B on y1, beside: B on y2, B on y3
    launch A on x3     launch B on y3

So the updates of all parameters of a model are one launch: the threads meet once, and a small parameter's update is a
chunk among others.

1. A launch goes to the earliest such place that what it waits for allows, if what it makes is small or in storage that
   the caller can see: temporary results would be needed longer.
2. A launch that is large by itself, or all that are small together, gain nothing and stay as they are.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from codegen.ir.dims import typical
from codegen.ir.types import DTYPES
from codegen.schedule.passes import Lowered
from codegen.schedule.tasks import Task, TaskGraph

MOST_CHUNKS = 1024
"""Of all launches in one."""

ENOUGH_BYTES = 1 << 17
"""Fewer bytes than this, touched by all launches in one, are gone through before a second thread has come to help."""

LIGHT_BYTES = 1 << 16
"""Temporary results of a launch that may be needed longer."""


def gathered(graph: TaskGraph, order: Sequence[int], bytes_in_arena: Callable[[Task], int]) -> list[list[int]]:
    """The tasks in `order`, those that are one launch together."""
    groups: list[list[int]] = []
    chunks: list[int] = []                      # of each group; that of what nothing can join is MOST_CHUNKS
    place: dict[int, int] = {}
    first_open = 0                              # no group before this one can be joined
    for k in order:
        own = _chunks(graph.tasks[k])
        earliest = 1 + max((place[b] for b in graph.before[k] if b in place), default=-1)
        if own < MOST_CHUNKS and bytes_in_arena(graph.tasks[k]) > LIGHT_BYTES:
            earliest = max(earliest, len(groups) - 1)
        places = range(max(earliest, first_open), len(groups))
        joined = next((g for g in places if chunks[g] + own <= MOST_CHUNKS), None)
        if joined is None:
            joined = len(groups)
            groups.append([])
            chunks.append(0)
        groups[joined].append(k)
        chunks[joined] += own
        place[k] = joined
        while first_open < len(chunks) and chunks[first_open] >= MOST_CHUNKS:
            first_open += 1
    gains = [_is_worth_it(graph, group) for group in groups]
    if not any(gains):
        return [[k] for k in order]
    return [part for group, gain in zip(groups, gains) for part in ([group] if gain else [[k] for k in group])]


def _chunks(task: Task) -> int:
    """Of a launch that may be one with others; MOST_CHUNKS of all else."""
    work = task.work
    if not isinstance(work, Lowered) or work.kernel.checked:
        return MOST_CHUNKS
    return min(typical(work.kernel.chunks), MOST_CHUNKS)


def _is_worth_it(graph: TaskGraph, group: Sequence[int]) -> bool:
    kernels = [work.kernel for k in group if isinstance(work := graph.tasks[k].work, Lowered)]
    touched = sum(typical(param.size) * DTYPES[param.dtype].itemsize for one in kernels for param in one.params)
    return len(group) > 1 and touched >= ENOUGH_BYTES

