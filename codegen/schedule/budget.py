"""budget: an order of tasks -> one that works in fewer bytes: what is not read for long is dropped and computed again.

    0: %3 = exp %0                         0: %3 = exp %0
    1: %4 = matmul %3, %1                  1: %4 = matmul %3, %1           %3 is dropped
    ..                             ->      ..
    8: %9 = matmul %8, %3                  8: Again(%3) = exp %0
                                           9: %9 = matmul %8, Again(%3)

The tasks are gone through as they will run. Where more than the budget would be held, that is dropped which costs the
least to compute again for its bytes and for how long they would lie there, with all that was dropped around it: the
rule of Kirisame et al., Dynamic Tensor Rematerialization (2021), but that it is known here what is read when. So some
values of a long chain are kept, far apart (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).

1. What is done again is a task as it is, or a part of it (see parts_of_kernels), on equal operands: the same bits.
2. Tasks keep their order, and nothing is done again after an input that it reads was overwritten.
3. What the host does, what is put together in memory, and what is written in place are done once.
"""
from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from math import inf, prod
from typing import cast

from codegen.ir.dims import Size, number_of
from codegen.ir.structs import struct
from codegen.schedule.calls import Product
from codegen.schedule.expressions import Storage
from codegen.schedule.flops import flops_of_kernel
from codegen.schedule.kernel import Scatter
from codegen.schedule.memory import aligned
from codegen.schedule.parts_of_kernels import only
from codegen.schedule.passes import Lowered
from codegen.schedule.plan import Input
from codegen.schedule.tasks import Again, Attend, Inside, Place, Splice, Task, copy, launch

MOST_AGAIN = 1.0
"""What is done again takes at most so many times as long as all tasks once."""

TRIES = 8
"""So many budgets are gone through to meet one: places in the arena take more than what lies in them."""

FLOPS_OF_A_BYTE = 4
"""Operations in the time in which a byte comes from memory."""

SMALL = 64
"""Bytes of an input, the state of a generator, that is copied before it is overwritten if it is to be read again."""

NEGLIGIBLE = 1 / 4096
"""Part of the budget below which nothing is dropped."""

Groups = Sequence[Sequence[Task]]


@struct(eq=False)
class Tasks:
    """Groups of tasks in their order; where what is `fixed` is (there before the run, or the caller's); what is a part
    of what; the bytes of a place."""

    groups: Groups
    fixed: Mapping[Place, object]
    inside: Mapping[Place, Inside]
    size_of: Callable[[Place], Size]

    def bytes(self, place: Place) -> int:
        """What a place takes in the arena."""
        return aligned(number_of(self.size_of(place)))

    def cost(self, task: Task) -> float:
        """How long a task takes: the time in which memory gives or takes a byte is one."""
        match task.work:
            case Lowered(kernel):
                flops = flops_of_kernel(kernel)
            case Product(_, _, batch, m, n, k) | Splice(Product(_, _, batch, m, n, k)):
                flops = 2 * prod(map(number_of, (batch, m, n, k)))
            case Attend(_, Splice(Product(_, _, batch, m, n, k)), _, Splice(Product(n=columns))):
                flops = 2 * prod(map(number_of, (batch, m, n, k + columns)))
            case _:
                flops = 0
        return sum(map(self.bytes, (*task.reads, *task.writes))) + flops / FLOPS_OF_A_BYTE


@struct(eq=False)
class _Ordered:
    """An order of tasks: the bytes that it takes, and how many of them are done again."""

    groups: Groups
    bytes: int
    again: int


def within(tasks: Tasks, budget: int, arena_bytes: Callable[[Groups], int]) -> Groups:
    """The tasks in an order that takes at most `budget` bytes, with as little done again as was found; else in as few
    as was found. `arena_bytes`: what an order takes."""
    known = _Known(tasks)
    low, high = 0.0, float(_Run(known, inf).most())
    best = _Ordered(tasks.groups, arena_bytes(tasks.groups), 0)
    target = min(float(budget), high)
    for _ in range(TRIES):
        run = _Run(known, target)
        if run.most() == inf:
            low = target
        else:
            found = _Ordered(run.order, arena_bytes(run.order), run.again)
            if found.bytes > budget:
                high = target
            else:
                low = target
            if found.bytes < best.bytes if best.bytes > budget else found.bytes <= budget and found.again < best.again:
                best = found
        target = (low + high) / 2
    return best.groups


class _Known:
    """What is the same for every budget. Places of the arena stand for what they are parts of.

    touched: the groups that read or write a place. Of what can be computed again: `maker`, the task that does it, and
    `made`, the group that this is in; `operands`; `cost`; `until`: the last group before which it can be.
    small: inputs that are copied before they are overwritten, and the group in which they are.
    """

    def __init__(self, tasks: Tasks):
        self.tasks = tasks
        self.reads = [self._own(p for task in group for p in task.reads) for group in tasks.groups]
        self.writes = [self._own(p for task in group for p in task.writes) for group in tasks.groups]
        self.touched: defaultdict[Place, list[int]] = defaultdict(list)
        for number, places in enumerate(zip(self.reads, self.writes)):
            for place in dict.fromkeys(chain(*places)):
                self.touched[place].append(number)
        self.bytes = {place: tasks.bytes(place) for place in self.touched}
        self.total = sum(tasks.cost(task) for group in tasks.groups for task in group)
        overwritten: dict[Place, int] = {}
        for number, group in enumerate(tasks.groups):
            spots = (tasks.fixed.get(p) for task in group for p in task.writes)
            overwritten |= {spot.index: number for spot in spots if isinstance(spot, Input)}
        self.small = {p: number for p, number in overwritten.items() if tasks.bytes(p) <= SMALL}
        self.made: dict[Place, int] = {}
        self.maker: dict[Place, Task] = {}
        self.operands: dict[Place, list[Place]] = {}
        self.dependents: defaultdict[Place, list[Place]] = defaultdict(list)
        self.cost: dict[Place, float] = {}
        self.until: dict[Place, float] = {}
        self._parts: dict[tuple[int, frozenset[Place]], Task] = {}
        self._find_makers({p: number for p, number in overwritten.items() if p not in self.small})

    def _own(self, places: Iterable[Place]) -> list[Place]:
        tasks = self.tasks
        whole = (tasks.inside[p].whole if p in tasks.inside else p for p in places)
        return [p for p in dict.fromkeys(whole) if p not in tasks.fixed]

    def _find_makers(self, overwritten: Mapping[Place, int]) -> None:
        tasks = self.tasks
        parts = {*tasks.inside, *(part.whole for part in tasks.inside.values())}
        writes = Counter(p for group in tasks.groups for task in group for p in task.writes)
        for number, task in ((number, task) for number, group in enumerate(tasks.groups) for task in group):
            if not can_repeat(task) or any(p in parts or writes[p] > 1 for p in task.writes):
                continue
            self.bytes.update({p: tasks.bytes(p) for p in task.writes})
            for place in self._own(task.writes):
                part = self.part_of(task, {place})
                self.maker[place], self.made[place], self.cost[place] = task, number, tasks.cost(part)
                self.operands[place] = operands = self._own(part.reads - part.writes)
                self.until[place] = min((inf, *(overwritten.get(p, inf) for p in part.reads),
                                         *(self.until.get(p, inf) for p in operands)))
                for p in operands:
                    self.dependents[p].append(place)

    def part_of(self, task: Task, wanted: set[Place]) -> Task:
        """What of a task makes the places `wanted`, if that can be done by itself; else all of it."""
        work, key = task.work, (id(task), frozenset(wanted))
        if not isinstance(work, Lowered) or wanted == task.writes:
            return task
        if key not in self._parts:
            found = only(work.kernel, [k for k, s in enumerate(work.storages) if s in wanted])
            self._parts[key] = task if found is None else launch(
                Lowered(found[0], tuple(work.storages[k] for k in found[1]), work.values))
        return self._parts[key]


def can_repeat(task: Task) -> bool:
    """Does it give the same when it is done again on the same? See invariant 3."""
    if isinstance(task.work, Lowered):
        return not any(isinstance(s, Scatter) for one in task.work.kernel.passes for s in one.body)
    return isinstance(task.work, Product | Splice | Attend)


class _Run:
    """The tasks gone through once, with so many bytes. `order`, `again`: see _Ordered.

    need: the group that next reads what was computed, by itself or to compute again what was dropped.
    """

    def __init__(self, known: _Known, budget: float):
        self.known, self.budget = known, budget
        self.order: list[list[Task]] = []
        self.again = 0
        self._now = 0
        self._held: dict[Place, Place] = {}         # what is in the arena, and under which name
        self._bytes = self._most = 0
        self._need: dict[Place, float] = {}
        self._spent = 0.0
        self._copied: set[Place] = set()            # inputs, before they were overwritten

    def most(self) -> float:
        """The bytes held at most; inf if more was done again than may be."""
        begins: list[int] = []                      # where each group is in the order
        for number, group in enumerate(self.known.tasks.groups):
            reads, writes = self.known.reads[number], self.known.writes[number]
            self._now = number
            self._bring(reads)
            if self._spent > MOST_AGAIN * self.known.total:
                return inf
            self._hold([p for p in writes if p not in self._held], {*reads, *writes})
            begins.append(len(self.order))
            self.order.append([self._named(task) for task in group])
            self._now = number + 1
            for place in dict.fromkeys((*reads, *writes)):
                self._see(place)
        for input in sorted(self._copied, key=self.known.small.__getitem__, reverse=True):
            self.order.insert(begins[self.known.small[input]], [copy(input, Again(cast(Storage, input), 0))])
        return self._most + sum(map(self.known.tasks.bytes, self._copied))

    def _named(self, task: Task, new: Mapping[Place, Place] | None = None) -> Task:
        """The task on what is held under other names by now; `new` of what it makes again."""
        names = self._held
        if new is not None:
            late = [p for p in task.reads if self.known.small.get(p, inf) < self._now]
            self._copied.update(late)
            new = {**new, **{p: Again(cast(Storage, p), 0) for p in late}}
        new = new or {}
        reads = frozenset(new.get(p) or names.get(p, p) for p in task.reads)
        return Task(task.work, reads, frozenset(new.get(p, p) for p in task.writes))

    def _hold(self, places: Sequence[Place], pinned: set[Place] | Counter[Place]) -> None:
        """Make room for these, and hold them under their own names."""
        self._make_room(sum(self.known.bytes[p] for p in places), pinned)
        for p in places:
            self._held[p] = p
            self._bytes += self.known.bytes[p]
        self._most = max(self._most, self._bytes)

    def _make_room(self, bytes: int, pinned: set[Place] | Counter[Place]) -> None:
        while self._bytes + bytes > self.budget:
            dropped = self._cheapest(pinned)
            if dropped is None:
                break
            del self._held[dropped]
            self._bytes -= self.known.bytes[dropped]
            for operand in self.known.operands[dropped]:
                self._see(operand)

    def _cheapest(self, pinned: set[Place] | Counter[Place]) -> Place | None:
        """What is dropped next; None if nothing can be."""
        known, least, best = self.known, inf, None
        negligible = self.budget * NEGLIGIBLE
        for place in self._held:
            need = self._need.get(place, 0)
            if (place in pinned or place not in known.maker or known.until[place] < need or need <= self._now
                    or known.bytes[place] < negligible):
                continue
            missing, longer = self._missing(place)
            gain = known.bytes[place] * (need - self._now)
            gain -= sum(known.bytes[p] * max(0.0, need - max(known.touched[p][-1], self._now)) for p in longer)
            if missing and gain > 0 and (price := sum(known.cost[p] for p in missing) / gain) < least:
                least, best = price, place
        return best

    def _missing(self, place: Place) -> tuple[set[Place], set[Place]]:
        """What is not there that takes part in making what is held at `place` again, or would be made of it, itself
        included: none if it cannot be made; and what would have to be held for it that cannot be dropped."""
        known, missing, longer, pending = self.known, {place}, set[Place](), [place]
        while pending:
            for p in known.operands[pending.pop()]:
                if p in self._held:
                    if p not in known.maker:
                        longer.add(p)
                elif p not in known.maker:
                    return set(), longer
                elif p not in missing:
                    missing.add(p)
                    pending.append(p)
        pending = [place]
        while pending:
            for p in known.dependents[pending.pop()]:
                if p not in self._held and p not in missing and self._need.get(p, inf) < inf:
                    missing.add(p)
                    pending.append(p)
        return missing, longer

    def _bring(self, places: Sequence[Place]) -> None:
        """Compute again what was dropped of these, and of what that takes."""
        known = self.known
        missing: dict[Place, None] = {}
        pending = [p for p in places if p not in self._held]
        while pending:
            p = pending.pop()
            if p not in missing:
                missing[p] = None
                pending += [q for q in known.operands[p] if q not in self._held]
        members = sorted(missing, key=known.made.__getitem__)
        of_task: defaultdict[int, set[Place]] = defaultdict(set)
        for p in members:
            of_task[id(known.maker[p])].add(p)
        pinned = Counter(p for m in members for p in known.operands[m])
        pinned.update(places)
        for member in members:
            if member not in self._held:
                task = known.maker[member]
                self._do_again(known.part_of(task, of_task[id(task)]), pinned)
            for p in known.operands[member]:
                pinned[p] -= 1
                if not pinned[p]:
                    del pinned[p]

    def _do_again(self, task: Task, pinned: Counter[Place]) -> None:
        known = self.known
        self._make_room(sum(known.bytes[p] for p in task.writes), pinned)
        self.again += 1
        self._most = max(self._most, self._bytes + sum(known.bytes[p] for p in task.writes))
        new: dict[Place, Place] = {p: Again(cast(Storage, p), self.again) for p in task.writes}
        self.order.append([self._named(task, new)])
        self._spent += known.tasks.cost(task)
        for p in task.writes:
            if p in known.maker and p not in self._held and self._need[p] < inf:
                self._held[p] = new[p]
                self._bytes += known.bytes[p]
        for operand in dict.fromkeys(q for p in task.writes for q in known.operands.get(p, ())):
            self._see(operand)

    def _see(self, place: Place) -> None:
        """Find out when a value that was computed is needed next; what is not is held no longer."""
        known, pending = self.known, [place]
        while pending:
            p = pending.pop()
            touched = known.touched[p]
            at = bisect_left(touched, self._now)
            need: float = touched[at] if at < len(touched) else inf
            for other in known.dependents[p]:
                if other not in self._held and other in self._need:
                    need = min(need, self._need[other])
            if need == self._need.get(p):
                continue
            self._need[p] = need
            if p not in self._held:
                pending += known.operands.get(p, ())
            elif need == inf:
                del self._held[p]
                self._bytes -= known.bytes[p]
