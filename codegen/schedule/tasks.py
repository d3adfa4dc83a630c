"""tasks: what has to be done, what has to wait for what, and in which order it is done.

A task reads and writes storages: values of the graph (an input's is the caller's own), partial results, temporaries.
The list it is made from is one right order; edges say which other orders are right too:

1. What reads a storage comes after what wrote it, and before what writes it next.
2. What writes storage that the caller can see comes after the Check.
3. Whatever the Check waits for comes as early as it can.
"""
from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.schedule.calls import HostCall, Product
from codegen.schedule.expressions import Storage
from codegen.schedule.passes import Lowered


@struct
class Temporary:
    """Storage for what input `input` held before it was overwritten."""

    input: int


@struct
class Aligned:
    """Storage for a copy of input `input` that begins with a line of memory (see alignment)."""

    input: int


@struct
class OutputCopy:
    """The storage of output `output` when its value is stored elsewhere as well."""

    output: int


@struct
class Piece:
    """The part of the storage of concat `whole` into which its k-th operand, value `value`, is copied."""

    whole: int
    k: int
    value: int


@struct
class Again:
    """Storage for what `of` held before it was dropped, computed again by the `turn`-th task that does so (see budget);
    turn 0: for a copy of input `of`; LATER: for what was not held before (see attention).
    """

    of: Storage
    turn: int


LATER = -1

Place = Storage | Temporary | Aligned | OutputCopy | Piece | Again


@struct
class Inside:
    """Part of the storage of value `whole`, from element `start` on."""

    whole: int
    start: Size


class Join:
    """The work of a concat whose operands lie where they belong: none."""


JOIN = Join()


@struct
class Splice:
    """A product of `dtype`, value `value` of the graph, with kernels before and behind it (see spliced)."""

    product: Product
    value: int
    dtype: str
    left: Lowered | None = None
    right: Lowered | None = None
    behind: Lowered | None = None

    @property
    def parts(self) -> tuple[Lowered, ...]:
        """The kernels that there are."""
        return tuple(part for part in (self.left, self.right, self.behind) if part is not None)

    @property
    def values(self) -> tuple[int, ...]:
        """The values of the graph that it is there for."""
        return tuple(dict.fromkeys((self.value, *(v for part in self.parts for v in part.values))))

    @property
    def operands(self) -> tuple[Storage, ...]:
        """What is read to multiply."""
        sides = (self.left, self.product.a), (self.right, self.product.b)
        return tuple(s for part, whole in sides for s in (part.storages if part else (whole,)))


@struct
class Attend:
    """Two products in one launch (see attention): `scores`, whose result goes behind it on to be weights, and `result`,
    whose left operand these, value `weights` of the graph, are. `rows` is done with numbers of a row, of which what is
    behind `result` reads `read`. `reach`: in row i all scores are -inf from column i + reach on, if that is known.
    """

    weights: int
    scores: Splice
    rows: Lowered
    result: Splice
    read: int
    reach: int | None = None

    @property
    def values(self) -> tuple[int, ...]:
        """The values of the graph that it is there for."""
        return tuple(dict.fromkeys((*self.scores.values, *self.rows.values, *self.result.values)))


Work = Lowered | Product | Splice | Attend | HostCall | Join | None
"""A launch, a product, one with more in it, two in one, a call of the host, a join; None: a copy or the check."""


@struct
class Task:
    """Work, and what it reads and writes."""

    work: Work
    reads: frozenset[Place]
    writes: frozenset[Place]

    def place(self, storage: Storage) -> Place:
        """Where it finds or puts what its work calls by this name: there, in a copy, or where it was computed again."""
        if storage in self.reads or storage in self.writes:
            return storage
        found = [p for p in (*self.reads, *self.writes) if isinstance(p, Aligned) and p.input == storage
                 or isinstance(p, Again) and p.of == storage]
        assert found, f"{storage} is neither read nor written"
        return found[0]

    @property
    def can_fail(self) -> bool:
        """Does the check look at it? The host may refuse operands, run out of memory or be interrupted."""
        return isinstance(self.work, HostCall) or isinstance(self.work, Lowered) and self.work.kernel.checked


def splice_of(task: Task, dtypes: Sequence[str]) -> Splice | None:
    """The product that a task is, with what there is before and behind it. `dtypes`: of the values."""
    if isinstance(task.work, Splice):
        return task.work
    value = next(iter(task.writes), None)
    plain = isinstance(task.work, Product) and isinstance(value, int)
    return Splice(task.work, value, dtypes[value]) if plain else None       # type: ignore[arg-type, index]


def finish_of(work: Work) -> tuple[Lowered, tuple[Storage, ...]] | None:
    """The kernel that stores the results of a work, and what else the work reads; None where it is no kernel."""
    match work:
        case Lowered():
            return work, ()
        case Splice(behind=Lowered() as behind):
            return behind, work.operands
        case _:
            return None


def computed(place: Place) -> Place:
    """What is computed there: what was before, where it is computed again."""
    return place.of if isinstance(place, Again) else place


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
    """Tasks by number, and what each waits for."""

    def __init__(self, tasks: Iterable[Task]):
        self.tasks: list[Task] = []
        self.before: list[set[int]] = []
        self.after: list[set[int]] = []
        self._last_writer: dict[Place, int] = {}
        self._readers: dict[Place, list[int]] = {}
        self._writers: dict[Place, list[int]] = {}
        self._since: dict[Place, list[int]] = {}            # readers since the last write
        for task in tasks:
            self.add(task)
        checked = {k for k, t in enumerate(self.tasks) if t.can_fail}
        self.check = self.add(CHECK) if checked else None
        if self.check is not None:
            self._wait(self.check, checked)

    def add(self, task: Task) -> int:
        """Put a task at the end of the list; its number."""
        number = len(self.tasks)
        waits = {self._last_writer[place] for place in task.reads | task.writes if place in self._last_writer}
        waits |= {reader for place in task.writes for reader in self._since.get(place, ())}
        self.tasks.append(task)
        self.before.append(set())
        self.after.append(set())
        self._wait(number, waits - {number})
        for place in task.reads:
            self._readers.setdefault(place, []).append(number)
            self._since.setdefault(place, []).append(number)
        for place in task.writes:
            self._writers.setdefault(place, []).append(number)
            self._last_writer[place] = number
            self._since[place] = []
        return number

    def add_after_check(self, task: Task) -> None:
        """Put a task at the end of the list that writes what the caller can see."""
        number = self.add(task)
        if self.check is not None:
            self._wait(number, {self.check})

    def readers(self, place: Place) -> list[int]:
        """The tasks that read a storage, whatever wrote it."""
        return self._readers.get(place, [])

    def writers(self, place: Place) -> list[int]:
        """The tasks that write a storage."""
        return self._writers.get(place, [])

    def try_after(self, late: int, early: Iterable[int], after_check: bool) -> bool:
        """Make task `late` wait for others and for the check too, unless one of them waits for it: then False."""
        wanted = set(early) - {late}
        if after_check and self.check is not None:
            wanted.add(self.check)
        if not wanted.isdisjoint(_reached(self.after, late)):
            return False
        self._wait(late, wanted)
        return True

    def _wait(self, late: int, early: set[int]) -> None:
        self.before[late] |= early
        for k in early:
            self.after[k].add(late)

    def order(self, hurried: bool = True) -> list[int]:
        """All tasks in an order that waits where it has to, else as listed; `hurried`: but what the check waits for
        comes first."""
        urgent = _reached(self.before, self.check) | {self.check} if hurried and self.check is not None else set()
        waiting = [set(w) for w in self.before]
        ready = sorted((k not in urgent, k) for k, w in enumerate(waiting) if not w)
        result: list[int] = []
        while ready:
            _, k = ready.pop(0)
            result.append(k)
            for follower in self.after[k]:
                waiting[follower].discard(k)
                if not waiting[follower]:
                    insort(ready, (follower not in urgent, follower))
        return result


def _reached(edges: Sequence[set[int]], start: int) -> set[int]:
    """What edges lead to from `start`, over any number of them."""
    found: set[int] = set()
    pending = list(edges[start])
    while pending:
        k = pending.pop()
        if k not in found:
            found.add(k)
            pending += edges[k]
    return found
