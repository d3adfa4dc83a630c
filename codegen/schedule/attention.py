"""attention: a product of weights that a kernel makes of the rows of a product is one launch with both.

    %3 = product of %0 and %1: 64x512                        for each block of columns of 64x512:
    kernel for i < 64: pass j < 512: max of %3[i,j]            score = %0 times columns of %1
      pass j: exp(%3[i,j] - max), accumulate sum      ->       before, largest = largest, max(largest, score)
      pass j: divide by the sum, store %4[i,j]                 weight = exp(score - largest)
    %5 = product of %4 and %2: 512x32                          total, %5 = each * exp(before - largest), + weight, * %2
                                                             %5 = %5 / total

A row of scores is never whole: M. Milakov and N. Gimelshein (2018), Online normalizer calculation for softmax;
T. Dao et al. (2022), FlashAttention. What the kernel does with a row's largest score and with its total is not looked
at, only that a weight is exp(score - f(largest)), multiplied and divided by numbers of its row:

1. A weight is proportional to exp(score - shift), whatever the shift. So weights are computed with the largest score so
   far for it, and what was added up is multiplied by exp(before - largest) where that rises.
2. In the end the result is multiplied by what the kernel makes of the largest score and the total: by `rows`, which are
   its statements at a point whose score is the shift. Where all scores are -inf that is 0, so that no weight is NaN
   before the kernel says so.
3. Scores and weights are read by nothing else; or by what comes later, derivatives, for which both are computed again
   where products are fast, as those of halves are. Other numbers of a row the kernel may store.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from codegen.schedule.attention_parts import in_one
from codegen.schedule.expressions import Storage
from codegen.schedule.half_products import HALVES
from codegen.schedule.machine import Machine
from codegen.schedule.passes import Lowered
from codegen.schedule.plan import Decision
from codegen.schedule.spliced import is_written
from codegen.schedule.tasks import LATER, Again, Place, Task, splice_of


def attended(tasks: Sequence[Task], machine: Machine, dtypes: Sequence[str], kept: Collection[Place]
             ) -> tuple[list[Task], list[Decision]]:
    """The tasks with one for each two products, and the kernel between them, that can be one launch.

    `dtypes`: of the values; `kept`: those read by more than tasks.
    """
    attentions = _Attentions(tasks, machine, dtypes, kept)
    number = 0
    while number < len(attentions.tasks):
        attentions.find(number)
        number += 1
    return [task for task in attentions.tasks if task is not None], attentions.decisions


class _Attentions:
    """Tasks in a right order, of which products and kernels between them become one."""

    def __init__(self, tasks: Sequence[Task], machine: Machine, dtypes: Sequence[str], kept: Collection[Place]):
        self.tasks: list[Task | None] = list(tasks)
        self.machine, self.dtypes, self.kept = machine, dtypes, kept
        self.decisions: list[Decision] = []

    def find(self, number: int) -> None:
        """Have task `number`, if it is a product by such weights, do what makes these, too."""
        task = self.tasks[number]
        result = None if task is None else splice_of(task, self.dtypes)
        if result is None or result.left is not None:
            return
        second = self._maker(result.product.a)
        between = None if second is None else self.tasks[second]
        if second is None or between is None or not isinstance(between.work, Lowered):
            return
        for storage in between.work.storages:
            first = self._maker(storage)
            if first is not None and first < second < number and self._are_one(first, second, number):
                return

    def _maker(self, place: Place) -> int | None:
        """The one task that makes what only tasks read."""
        makers = [k for k, task in enumerate(self.tasks) if task is not None and place in task.writes]
        return makers[0] if len(makers) == 1 and place not in self.kept else None

    def _readers(self, places: Collection[Place]) -> list[int]:
        return [k for k, task in enumerate(self.tasks) if task is not None and not task.reads.isdisjoint(places)]

    def _are_one(self, first: int, second: int, number: int) -> bool:
        """Make these three tasks one, if they can be."""
        before, between, task = self.tasks[first], self.tasks[second], self.tasks[number]
        assert before is not None and between is not None and task is not None and isinstance(between.work, Lowered)
        scores, result = splice_of(before, self.dtypes), splice_of(task, self.dtypes)
        if scores is None or result is None or scores.behind:
            return False
        large = {scores.value, result.product.a}
        if not large.isdisjoint((*result.operands[1:], *(result.behind.storages if result.behind else ()))):
            return False            # what multiplies the weights, or is behind the result, reads them too
        readers = [k for k in self._readers(large) if k not in (second, number)]
        late = min(readers, default=len(self.tasks))
        again = bool(readers)
        if again and (scores.dtype not in HALVES or self.machine.arena_bytes is not None or late < number):
            return False
        if is_written(before.reads, self.tasks[first + 1:late if again else number]) or is_written(
                between.reads, self.tasks[second + 1:late if again else number]):
            return False
        rows = between.writes - large
        if any(second < k < number for k in self._readers(rows)):
            return False
        seen = {p for p in rows if p in self.kept or any(k < late for k in self._readers({p}) if k != number)}
        work = in_one(scores, between.work, result, seen, self.machine)
        if work is None:
            return False
        reads = (before.reads | between.reads | task.reads) - large - rows
        self.tasks[first] = self.tasks[second] = None
        self.tasks[number] = Task(work, reads, task.writes | seen)
        self._decide(result.value, f"%{result.value} matmul is one launch with %{scores.value} matmul and the weights "
                                   f"%{work.weights} between them, whose rows are never whole")
        if again:
            self._do_again(before, between, late, seen)
            self._decide(work.weights, f"%{scores.value} and %{work.weights} are computed again for what reads them "
                                       "later: until then they are not stored")
        return True

    def _do_again(self, before: Task, between: Task, late: int, seen: Collection[Place]) -> None:
        """Do two tasks before task `late`, for it and those after it; but what was `seen` before is not read again."""
        new: dict[Place, Place] = {p: Again(cast(Storage, p), LATER) for p in (*before.writes, *between.writes)}
        read = {p: place for p, place in new.items() if p not in seen}

        def renamed(places: Collection[Place], names: dict[Place, Place]) -> frozenset[Place]:
            return frozenset(names.get(p, p) for p in places)

        self.tasks[late:] = [None if task is None else Task(task.work, renamed(task.reads, read), task.writes)
                             for task in self.tasks[late:]]
        self.tasks[late:late] = [Task(one.work, renamed(one.reads, new), renamed(one.writes, new))
                                 for one in (before, between)]

    def _decide(self, value: int, sentence: str) -> None:
        self.decisions.append(Decision(value, sentence))
