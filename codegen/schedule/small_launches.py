"""small_launches: launches of one kernel that wait for nothing of each other become one, which does what they all did.

    launch A on x1     launch B on y1          launch A on x1, beside: A on x2, A on x3
    launch A on x2     launch B on y2    ->    launch B on y1, beside: B on y2, B on y3
    launch A on x3     launch B on y3

For a machine that computes all points of a launch at once, and takes longer to start a small one than to do it: the
updates of all small parameters of a model are a few launches.

1. What is done together waits for all that any of it waits for, and all that waits for any of it waits for all: tasks
   are joined where that leaves some order, and done in the old one else.
2. So some results are needed longer. Kernels whose launches would need more room together than a part of what the plan
   works in stay as they are.
3. A launch that is long by itself gains nothing, nor does one that finds much of what it reads in a cache.
4. Small launches of several kernels are one where they wait for nothing, or for the check alone, and where nothing
   waits for them: then no order is lost.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import copy
from heapq import heapify, heappop, heappush
from itertools import accumulate

from codegen.ir.dims import Size, typical
from codegen.ir.types import DTYPES
from codegen.schedule.kernel import Kernel
from codegen.schedule.lengths import of_one_length
from codegen.schedule.narrowing import narrowed
from codegen.schedule.passes import Lowered
from codegen.schedule.tasks import Place, Task, TaskGraph

MOST_BYTES, MOST_READ = 1 << 24, 1 << 21
"""What touches more takes several times as long as it takes to start it; and so does what reads more of what was made
not long ago, and would not be in a cache any more."""

MOST_PARAMS = 320
"""Of all launches in one: a GPU takes 4 KiB of parameters."""

FEW_BYTES, MOST_STATEMENTS = 1 << 20, 400
"""What a launch touches that leaves most of a GPU empty. Of all kernels in one."""

MORE_ROOM, LITTLE_ROOM = 1 / 16, 1 << 20
"""What a plan may need more to work in: a part of what it needs, or so many bytes."""

NEARBY = 8
"""How many of the last launches of the same kernel a task may join."""


def gathered_small(graph: TaskGraph, order: Sequence[int], at: Mapping[Place, Hashable],
                   size_of: Callable[[Place], Size]) -> list[list[int]]:
    """The tasks in `order`, those that are one launch together. `at`: places in storage that the caller can see;
    `size_of`: the bytes of
    any other."""
    rows = _Rows(graph, order)
    alike: dict[tuple[Kernel, tuple[int, ...]], list[int]] = {}
    for k in order:
        if (form := _form(graph.tasks[k], at)) is not None:
            alike.setdefault(form, []).append(k)
    room = _room(rows, at, size_of)
    most = room + max(int(MORE_ROOM * room), LITTLE_ROOM)
    for (_, params), tasks in sorted(alike.items(), key=lambda item: -len(item[1])):
        joined = rows.joined(tasks, MOST_PARAMS // (1 + max(params)))
        if joined is not None and _room(joined, at, size_of) <= most:
            rows = joined
    for several in _at_an_end(rows):
        joined = rows.together(several)
        if _room(joined, at, size_of) <= most:
            rows = joined
    return rows.in_order()


def _at_an_end(rows: _Rows) -> list[list[list[int]]]:
    """Small rows that wait for nothing, or for the check alone, and such that nothing waits for: those of a launch."""
    graph = rows.graph
    found: dict[Hashable, list[list[int]]] = {}
    for row in rows.in_order():
        if not all(_is_small(graph.tasks[k]) for k in row):
            continue
        before = frozenset(early for k in row for early in graph.before[k])
        if not any(graph.after[k] for k in row):
            found.setdefault("last", []).append(row)
        elif before <= {graph.check}:
            found.setdefault(before, []).append(row)
    launches: list[list[list[int]]] = []
    for several in found.values():
        launches.append([])
        for row in several:
            tasks = [graph.tasks[k] for own in (*launches[-1], row) for k in own]
            kernels = [*dict.fromkeys(task.work.kernel for task in tasks if isinstance(task.work, Lowered))]
            if sum(len(task.reads | task.writes) for task in tasks) > MOST_PARAMS or (
                    sum(len(one.body) for kernel in kernels for one in kernel.passes) > MOST_STATEMENTS):
                launches.append([])
            launches[-1].append(row)
    return [launch for launch in launches if len(launch) > 1]


def _is_small(task: Task) -> bool:
    """Is it a launch that leaves most of a GPU empty?"""
    work = task.work
    return isinstance(work, Lowered) and not work.kernel.checked and _bytes(work.kernel) <= FEW_BYTES


def _bytes(kernel: Kernel) -> int:
    return sum(typical(param.size) * DTYPES[param.dtype].itemsize for param in kernel.params)


def _form(task: Task, at: Mapping[Place, Hashable]) -> tuple[Kernel, tuple[int, ...]] | None:
    """What launches of one kernel have in common; None for what is a launch by itself.

    The kernel for any length, and the number that each param has when those that are one buffer, because a result is
    written over an operand, are one."""
    work = task.work
    if not isinstance(work, Lowered) or work.kernel.checked:
        return None
    given = [*map(task.place, work.storages)]
    made = sum(typical(param.size) * DTYPES[param.dtype].itemsize for param, place in zip(work.kernel.params, given)
               if place in task.reads and place not in at)
    if _bytes(work.kernel) > MOST_BYTES or made > MOST_READ:
        return None
    kernel, _ = narrowed(work.kernel)
    places = [at.get(place, place) for place in given]
    own = [*dict.fromkeys(places)]
    return of_one_length(kernel) or kernel, tuple(map(own.index, places))


class _Rows:
    """Tasks of a graph by their positions in an order of it, some of them joined in rows. `above`, `below`: as bits,
    the positions of what has to be done before each or with it, and after or with it."""

    def __init__(self, graph: TaskGraph, order: Sequence[int]):
        self.graph, self.order = graph, order
        self.position = {k: position for position, k in enumerate(order)}
        self.above, self.below = [1 << k for k in range(len(order))], [1 << k for k in range(len(order))]
        for position, k in enumerate(order):
            for early in graph.before[k]:
                self.above[position] |= self.above[self.position[early]]
        for position, k in reversed([*enumerate(order)]):
            for early in graph.before[k]:
                self.below[self.position[early]] |= self.below[position]
        self.rows: dict[int, list[int]] = {}                # the tasks of each row of several, by each of them

    def joined(self, tasks: Sequence[int], most: int) -> _Rows | None:
        """The same with tasks, as many as can be, in rows of `most` or fewer; None if none can be."""
        new = copy(self)
        new.above, new.below, new.rows = [*self.above], [*self.below], dict(self.rows)
        found: list[list[int]] = []
        wanted = -(-len(tasks) // -(-len(tasks) // max(1, most)))       # rows of one length are one kernel
        for k in tasks:
            row = next((row for row in found[-NEARBY:] if len(row) < wanted and new._may_join(row[0], k)), None)
            if row is None:
                found.append([k])
                continue
            new._join(row[0], k)
            row.append(k)
        several = [row for row in found if len(row) > 1]
        new.rows |= {k: row for row in several for k in row}
        return new if several else None

    def together(self, several: Sequence[Sequence[int]]) -> _Rows:
        """The same with rows, none of which waits for another, as one."""
        new = copy(self)
        new.above, new.below, new.rows = [*self.above], [*self.below], dict(self.rows)
        row = [k for own in several for k in own]
        for own in several[1:]:
            new._join(row[0], own[0])
        new.rows |= dict.fromkeys(row, row)
        return new

    def _may_join(self, a: int, b: int) -> bool:
        a, b = self.position[a], self.position[b]
        return not (self.above[a] >> b | self.above[b] >> a) & 1

    def _join(self, a: int, b: int) -> None:
        a, b = self.position[a], self.position[b]
        above, below = self.above[a] | self.above[b], self.below[a] | self.below[b]
        for position in _bits(above):
            self.below[position] |= below
        for position in _bits(below):
            self.above[position] |= above

    def in_order(self) -> list[list[int]]:
        """The rows, and tasks that are in none, in the order of the first task of each, as far as none has to wait."""
        rows = [self.rows.get(k, [k]) for k in self.order]
        first = {k: min(self.position[each] for each in row) for k, row in zip(self.order, rows)}
        waiting = {first[k]: {first[early] for other in row for early in self.graph.before[other]}
                   for k, row in zip(self.order, rows) if first[k] == self.position[k]}
        after: dict[int, list[int]] = {}
        for position, early in waiting.items():
            for each in early:
                after.setdefault(each, []).append(position)
        ready = [position for position, early in waiting.items() if not early]
        heapify(ready)
        result = []
        while ready:
            position = heappop(ready)
            result.append(rows[position])
            for follower in after.get(position, ()):
                waiting[follower].discard(position)
                if not waiting[follower]:
                    heappush(ready, follower)
        return result


def _bits(mask: int) -> Iterator[int]:
    """The positions of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _room(rows: _Rows, at: Mapping[Place, Hashable], size_of: Callable[[Place], Size]) -> int:
    """The most bytes that are needed at a time."""
    times: dict[Place, tuple[int, int]] = {}
    order = rows.in_order()
    for time, row in enumerate(order):
        for task in (rows.graph.tasks[k] for k in row):
            for place in (place for place in (*task.reads, *task.writes) if place not in at):
                times[place] = times.get(place, (time, time))[0], time
    change = [0] * (len(order) + 1)
    for place, (begin, end) in times.items():
        size = typical(size_of(place))
        change[begin] += size
        change[end + 1] -= size
    return max(accumulate(change), default=0)
