"""tasks: what has to be done, what has to wait for what, and in which order it is done.

A task reads and writes storages: values of the graph (an input's is the caller's own), partial results, temporaries.
The list it is made from is one right order; edges say which other orders are right too:

1. What reads a storage comes after what wrote it, and before what writes it next.
2. What writes storage that the caller can see comes after the Check.
3. Whatever the Check waits for comes as early as it can.
"""
from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from codegen.schedule.calls import Product
from codegen.schedule.expressions import Storage
from codegen.schedule.passes import Lowered


@dataclass(frozen=True, slots=True)
class Temporary:
    """Storage for what input `input` held before it was overwritten."""

    input: int


@dataclass(frozen=True, slots=True)
class OutputCopy:
    """The storage of output `output` when its value is stored elsewhere as well."""

    output: int


Place = Storage | Temporary | OutputCopy


@dataclass(frozen=True, slots=True)
class Task:
    """A launch, a product, a copy (`work` is None) or the check; what it reads and what it writes."""

    work: Lowered | Product | None
    reads: frozenset[Place]
    writes: frozenset[Place]


CHECK = Task(None, frozenset(), frozenset())


def launch(lowered: Lowered) -> Task:
    """The task of a kernel."""
    access = list(zip(lowered.kernel.params, lowered.storages))
    reads, writes = (frozenset(s for p, s in access if p.access != other) for other in ("out", "in"))
    return Task(lowered, reads, writes)


def copy(source: Place, target: Place) -> Task:
    """The task of copying a storage."""
    return Task(None, frozenset({source}), frozenset({target}))


class TaskGraph:
    """Tasks by number and their edges."""

    def __init__(self, tasks: Iterable[Task]):
        self.tasks: list[Task] = []
        self.before: list[set[int]] = []                # what each task waits for
        self.check: int | None = None
        self._writer: dict[Place, int] = {}
        self._readers: dict[Place, list[int]] = {}
        for task in tasks:
            self.add(task)
        checked = [k for k, t in enumerate(self.tasks) if isinstance(t.work, Lowered) and t.work.kernel.checked]
        if checked:
            self.check = self.add(CHECK)
            self.before[self.check] |= set(checked)

    def add(self, task: Task) -> int:
        """Put a task at the end of the list; its number."""
        number = len(self.tasks)
        self.tasks.append(task)
        waits: set[int] = set()
        for place in task.reads:
            if place in self._writer:
                waits.add(self._writer[place])
        for place in task.writes:
            waits.update(self._readers.get(place, ()))
            if place in self._writer:
                waits.add(self._writer[place])
        for place in task.reads - task.writes:
            self._readers.setdefault(place, []).append(number)
        for place in task.writes:
            self._writer[place] = number
            self._readers[place] = []
        self.before.append(waits - {number})
        return number

    def readers(self, place: Place) -> list[int]:
        """The tasks that read a storage, whatever wrote it."""
        return [k for k, task in enumerate(self.tasks) if place in task.reads]

    def writers(self, place: Place) -> list[int]:
        """The tasks that write a storage."""
        return [k for k, task in enumerate(self.tasks) if place in task.writes]

    def try_after(self, late: int, early: Iterable[int]) -> bool:
        """Make task `late` wait for others as well, unless one of them waits for it; was it possible?"""
        wanted = set(early) - {late}
        for k in wanted:
            if late in self.ancestors(k):
                return False
        self.before[late] |= wanted
        return True

    def ancestors(self, number: int) -> set[int]:
        """What a task waits for, directly or not."""
        found: set[int] = set()
        pending = list(self.before[number])
        while pending:
            k = pending.pop()
            if k not in found:
                found.add(k)
                pending += self.before[k]
        return found

    def order(self) -> list[int]:
        """All tasks in an order that waits where it has to; what the check waits for comes first, else as listed."""
        urgent = self.ancestors(self.check) | {self.check} if self.check is not None else set()
        waiting = [set(w) for w in self.before]
        followers: list[list[int]] = [[] for _ in self.tasks]
        for k, w in enumerate(waiting):
            for early in w:
                followers[early].append(k)
        ready = [(k not in urgent, k) for k, w in enumerate(waiting) if not w]
        heapq.heapify(ready)
        result: list[int] = []
        while ready:
            _, k = heapq.heappop(ready)
            result.append(k)
            for follower in followers[k]:
                waiting[follower].discard(k)
                if not waiting[follower]:
                    heapq.heappush(ready, (follower not in urgent, follower))
        return result
