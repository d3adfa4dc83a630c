"""placement: tasks -> Plan: what is written straight into the caller's storage, the order of steps, the buffers.

An output that shares the storage of an input is written there by the task that computes it when everything else that
reads the input can be done before, and the Check too; else it is computed beside it and copied at the end. In the arena
a large result is written over an operand that nothing reads afterwards.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from codegen.ir.dims import Dim, Size, typical
from codegen.ir.types import DTYPES
from codegen.schedule.calls import HostCall, Product
from codegen.schedule.copies import as_launch
from codegen.schedule.expressions import Partial
from codegen.schedule.forms import StaticGraph
from codegen.schedule.gathering import gathered
from codegen.schedule.inplace import can_overwrite, overwriting
from codegen.schedule.kernel import Kernel
from codegen.schedule.lengths import of_any_length
from codegen.schedule.memory import LiveRange, arena_offsets
from codegen.schedule.narrowing import narrowed
from codegen.schedule.passes import Lowered
from codegen.schedule.plan import (
    NOWHERE,
    Arena,
    Attention,
    Buffer,
    Check,
    Constant,
    Copy,
    Decision,
    Host,
    Input,
    Launch,
    Matmul,
    Origin,
    Output,
    Part,
    Plan,
    Spliced,
    Step,
)
from codegen.schedule.points import in_one_launch
from codegen.schedule.sizes import given_sizes, in_words, with_sizes
from codegen.schedule.small_launches import gathered_small
from codegen.schedule.tasks import (
    Again,
    Aligned,
    Attend,
    Inside,
    Join,
    OutputCopy,
    Piece,
    Place,
    Splice,
    Task,
    TaskGraph,
    Temporary,
    computed,
    copy,
    finish_of,
)

_Fixed = Input | Output | Constant
"""Storage that is there before a run."""

WORTH_OVERWRITING = 1 << 18
"""Bytes from which on it pays to write over an operand: a kernel that does is another kernel, to be compiled too."""

if TYPE_CHECKING:
    from codegen.schedule.budget import Groups


def placed(graph: StaticGraph, aliases: tuple[tuple[int, int], ...], outputs: Sequence[int], tasks: Sequence[Task],
           inside: Mapping[Place, Inside], held: Mapping[Place, Constant], decisions: tuple[Decision, ...],
           budget: int | None = None, at_once: bool = False) -> Plan:
    """The plan that does the tasks; `outputs`: the value that each output is, an input, empty, or stored by a task.

    `inside`: the places that are part of another's storage; `held`: values that are in the executable's own storage.
    `budget`: the bytes of its arena, if that can be: for it tasks are done again (see budget).
    `at_once`: is it for a machine that computes all points of a launch at once?
    """
    visible = _Visible(graph, dict(aliases), outputs, tasks)
    visible.at.update(held)
    if at_once:
        visible.copy_by_launches()
        groups = [[k] for k in visible.tasks.order()]
    else:
        groups = gathered(visible.tasks, visible.tasks.order(), partial(_bytes_in_arena, graph, visible.at))
    order = once = visible.tasks_of(groups)
    buffers_of = partial(_Buffers, graph, outputs, visible.at, inside)
    buffers = buffers_of(order)
    if budget is not None and buffers.arena_bytes > budget:
        from codegen.schedule.budget import Tasks, within  # which few programs need

        listed = [visible.tasks.tasks[k] for k in visible.tasks.order(hurried=False)]
        alone = [[task] for task in listed if not isinstance(task.work, Join)]
        for whole in (order, alone):                # what is done at once, or early, needs more room at once
            known = Tasks(whole, visible.at, inside, buffers.bytes)
            found = within(known, budget, lambda order: buffers_of(order).arena_bytes)
            if (smaller := buffers_of(found)).arena_bytes < buffers.arena_bytes:
                order, buffers = found, smaller
            if buffers.arena_bytes <= budget:
                break
    if at_once:
        ways = [order]
        if order is once:
            alike = gathered_small(visible.tasks, [k for k, in groups], visible.at, buffers.bytes)
            ways.insert(0, visible.tasks_of(alike))
        for fewer in ways:
            in_fewer = buffers_of(shorter := in_one_launch(fewer))
            if budget is None or in_fewer.arena_bytes <= max(budget, buffers.arena_bytes):
                order, buffers = shorter, in_fewer
                break
    steps = of_any_length(tuple(buffers.step(task, bool(k)) for group in order for k, task in enumerate(group)))
    types = tuple(map(graph.graph.type_of, graph.graph.outputs))
    symbolic = tuple(dict.fromkeys(size for shape in graph.shapes for size in shape if isinstance(size, Dim)))
    return Plan(graph.graph.inputs, types, aliases, tuple(buffers.buffers), steps, buffers.arena_bytes, symbolic,
                (*decisions, *visible.decisions), tuple(_origin(graph, task) for group in order for task in group))


def _bytes_in_arena(graph: StaticGraph, at: Mapping[Place, _Fixed], task: Task) -> int:
    """The bytes that a task writes and the caller does not see; partial results count as small."""
    return sum(typical(graph.sizes[v]) * DTYPES[graph.dtype(v)].itemsize
               for v in task.writes if v not in at and isinstance(v, int))


def _origin(graph: StaticGraph, task: Task) -> Origin:
    work = task.work
    again = any(isinstance(p, Again) and p.turn for p in task.writes)
    values = (work.values if isinstance(work, Lowered | Splice | Attend)
              else [p for p in map(computed, task.writes) if isinstance(p, int)])
    own = tuple(sorted(v for v in values if v >= graph.first))
    return Origin(own, tuple(dict.fromkeys(line for v in own if (line := graph.node(v).line))), again)


class _Visible:
    """What is in the caller's storage, `at`, and the tasks that put it there."""

    def __init__(self, graph: StaticGraph, aliases: dict[int, int], outputs: Sequence[int], tasks: Sequence[Task]):
        self.graph, self.aliases, self.outputs = graph, aliases, outputs
        self.decisions: list[Decision] = []
        self.at: dict[Place, _Fixed] = {v: Input(v) for v in range(graph.first)}
        self.computed: list[tuple[int, int]] = []           # aliases whose output could be computed in place
        early, late = self._copies()
        self.tasks = TaskGraph([*tasks, *early])
        for output, input in self.computed:
            if self._write_in_place(output, input):
                self._decide(output, f"output {output} is written over input {input} as it is computed")
            else:
                late.append(copy(self.outputs[output], input))
                self._decide(output, f"output {output} is computed beside input {input} and copied into it at the end")
        for task in late:
            self.tasks.add_after_check(task)

    def copy_by_launches(self) -> None:
        """Have launches do what copies do."""
        for k, task in enumerate(self.tasks.tasks):
            if task.work is None and task.writes:
                (source,) = task.reads
                value = source.input if isinstance(source, Temporary) else source
                if isinstance(value, int):
                    self.tasks.tasks[k] = as_launch(task, self.graph.dtype(value), self.graph.sizes[value])

    def tasks_of(self, groups: Iterable[Iterable[int]]) -> Groups:
        """Groups of tasks, given by their numbers; a join is done by those that write its parts."""
        found = ([self.tasks.tasks[k] for k in group] for group in groups)
        return [[task for task in group if not isinstance(task.work, Join)] for group in found]

    def _decide(self, output: int, sentence: str) -> None:
        self.decisions.append(Decision(self.outputs[output], sentence))

    def _copies(self) -> tuple[list[Task], list[Task]]:
        """Copies that have to be done before any input is overwritten, and copies into inputs, which come last."""
        early: list[Task] = []
        late: list[Task] = []
        overwritten = {i for o, i in self.aliases.items() if self.outputs[o] != i}
        settled: set[int] = set()                           # values whose own storage is that of an output
        for output, v in enumerate(self.outputs):
            if self.graph.sizes[v] == 0 or output in self.aliases:
                continue
            if v < self.graph.first or v in settled:
                early.append(copy(v, OutputCopy(output)))
                self.at[OutputCopy(output)] = Output(output)
            else:
                settled.add(v)
                self.at[v] = Output(output)
        saved: set[int] = set()
        for output, input in self.aliases.items():
            v = self.outputs[output]
            if self.graph.sizes[v] == 0 or v == input:
                continue
            if v in overwritten and v < self.graph.first:
                early += [] if v in saved else [copy(v, Temporary(v))]
                saved.add(v)
                late.append(copy(Temporary(v), input))
            elif v < self.graph.first or v in settled:
                late.append(copy(v, input))
            else:
                settled.add(v)
                self.computed.append((output, input))
        return early, late

    def _write_in_place(self, output: int, input: int) -> bool:
        """Let the task that computes an output write it into the input's storage, if it may."""
        v = self.outputs[output]
        writers = self.tasks.writers(v)
        if len(writers) != 1:
            return False
        work = self.tasks.tasks[writers[0]].work
        if isinstance(work, Join):
            return False
        if input in self.tasks.tasks[writers[0]].reads:
            finish = finish_of(work)
            if finish is None or input in finish[1]:
                return False
            kernel, storages = finish[0].kernel, finish[0].storages
            if not can_overwrite(kernel, storages.index(input), storages.index(v)):
                return False
        if not self.tasks.try_after(writers[0], self.tasks.readers(input), after_check=True):
            return False
        self.at[v] = Input(input)
        return True


class _Buffers:
    """The buffers of tasks in their order, those done at once together, numbered as steps name them."""

    def __init__(self, graph: StaticGraph, outputs: Sequence[int], at: dict[Place, _Fixed],
                 inside: Mapping[Place, Inside], order: Sequence[Sequence[Task]]):
        self.graph, self.outputs, self.inside = graph, outputs, inside
        timed = [(time, task) for time, group in enumerate(order) for task in group]
        self.static = all(isinstance(size, int) for shape in graph.shapes for size in shape)
        launches = [task.work for _, task in timed if isinstance(task.work, Lowered)]
        self.partials = {storage: param for one in launches for storage, param in zip(one.storages, one.kernel.params)
                         if isinstance(storage, Partial)}
        self.owner = self._shared(timed, at)
        times: dict[Place, tuple[int, int]] = {}
        for time, task in timed:
            for place in task.reads | task.writes:
                if place not in at:
                    own = self._whole(place)
                    if own in at:
                        continue
                    times[own] = (times.get(own, (time, time))[0], time)
        ranges = [LiveRange(first, last, self.bytes(place)) for place, (first, last) in times.items()]
        self.where: dict[Place, _Fixed | Arena | LiveRange] = {**at, **dict(zip(times, ranges))}
        self.arena_bytes = 0
        if all(isinstance(r.bytes, int) for r in ranges):       # else it is planned for each binding of the symbols
            offsets, self.arena_bytes = arena_offsets(ranges)
            self.where.update((p, Arena(o)) for p, o in zip(times, offsets))
        self.buffers: list[Buffer] = []
        self.numbers: dict[tuple[Input | Output | Place, Size, Size], int] = {}

    def _whole(self, place: Place) -> Place:
        """What a place is part of, or the operand that it is written over, or itself."""
        return self.inside[place].whole if place in self.inside else self.owner.get(place, place)

    def _shared(self, timed: Sequence[tuple[int, Task]], at: dict[Place, _Fixed]) -> dict[Place, Place]:
        """Results that are written over an operand in the arena, and whose storage that was first."""
        shared = {*self.inside, *(part.whole for part in self.inside.values())}
        last = {place: time for time, task in timed for place in task.reads | task.writes}
        first = {place: time for time, task in reversed(timed) for place in task.writes}
        touching = Counter((time, place) for time, task in timed for place in task.reads | task.writes)
        owner: dict[Place, Place] = {}
        for time, task in timed:
            if (finish := finish_of(task.work)) is None:
                continue
            kernel, storages = finish[0].kernel, [*map(task.place, finish[0].storages)]
            others = {*map(task.place, finish[1])}
            own = [s for s in storages if s not in at and s not in shared and s not in others]
            free = [s for s in own if s in task.reads and first[s] < last[s] == time
                    and touching[time, s] == 1 and typical(self.bytes(s)) >= WORTH_OVERWRITING]
            for result in (s for s in own if s in task.writes and first[s] == time):
                for operand in free:
                    if can_overwrite(kernel, storages.index(operand), storages.index(result)):
                        owner[result] = owner.get(operand, operand)
                        free.remove(operand)
                        break
        return owner

    def step(self, task: Task, beside: bool) -> Step:
        """The step that does a task, `beside` the one before it or after."""
        match task.work:
            case Lowered(kernel, storages):
                kernel, parts = narrowed(kernel)
                places = map(task.place, storages)
                kernel, numbers = _merged(kernel, [self.number(p, *part) for p, part in zip(places, parts)])
                words: tuple[Size, ...] = ()
                if not self.static:
                    kernel, words = given_sizes(kernel)
                return Launch(kernel, numbers, words, beside)
            case Product(a, b) as product:
                (c,) = task.writes
                return self._product(product, self.number(task.place(a)), self.number(task.place(b)), self.number(c),
                                     self._extent(c)[0], {})
            case Splice() as splice:
                given: dict[Size, Dim] = {}
                return _with_words(self._spliced(splice, task, next(iter(task.writes)), given), tuple(given))
            case Attend() as attend:
                return self._attention(attend, task)
            case HostCall(node, operands, types):
                (result,) = task.writes
                read = tuple((None if v is None else self.number(task.place(v)), type)
                             for v, type in zip(operands, types))
                return Host(node.op, node.attrs, read, self.number(result), node.type)
            case None if task.writes:
                (source,), (target,) = task.reads, task.writes
                return Copy(self.number(source), self.number(target))
            case None:
                return Check()
            case Join():
                raise AssertionError("a join is no step")

    def _product(self, product: Product, a: int, b: int, c: int, dtype: str, words: dict[Size, Dim]) -> Matmul:
        """A product of buffers. `words`: what there are of them; those of its sizes are added."""
        sizes = (product.batch, product.m, product.n, product.k)
        plain = Matmul(a, b, c, dtype, *sizes, product.transpose_a, product.transpose_b)
        if self.static:
            return plain
        batch, m, n, k = (in_words(size, words) for size in sizes)
        return replace(plain, given=(batch, m, n, k), words=tuple(words))

    def _attention(self, attend: Attend, task: Task) -> Attention:
        words: dict[Size, Dim] = {}
        places = [*map(task.place, attend.rows.storages)]
        own = next(iter(task.writes - set(places)))         # if there are more, what is behind the result stores them
        scores = self._spliced(attend.scores, task, own, words)
        rows = self._part(attend.rows, task, words)
        result = self._spliced(attend.result, task, own, words)
        given = tuple(words)
        return Attention(_with_words(scores, given), _part_with_words(rows, given), _with_words(result, given),
                         attend.read, attend.reach)

    def _spliced(self, splice: Splice, task: Task, own: Place, words: dict[Size, Dim]) -> Spliced:
        """A product, whose result is in the place `own`, and its parts. `words`: as of _product."""
        left, right, behind = (None if part is None else self._part(part, task, words)
                               for part in (splice.left, splice.right, splice.behind))
        a = NOWHERE if left or splice.product.a == NOWHERE else self.number(task.place(splice.product.a))
        b = NOWHERE if right else self.number(task.place(splice.product.b))
        c = NOWHERE if behind else self.number(own)
        return Spliced(self._product(splice.product, a, b, c, splice.dtype, words), left, right, behind)

    def _part(self, lowered: Lowered, task: Task, words: dict[Size, Dim]) -> Part:
        kernel, parts = narrowed(lowered.kernel)
        places = map(task.place, lowered.storages)
        kernel, numbers = _merged(kernel, [self.number(p, *part) for p, part in zip(places, parts)])
        return Part(kernel if self.static else with_sizes(kernel, partial(in_words, words=words)), numbers)

    def number(self, place: Place, start: Size = 0, size: Size | None = None) -> int:
        """The number of the buffer of a storage, or of `size` elements of it from `start` on."""
        own = self._whole(place)
        spot = self.where[own]
        dtype, whole = self._extent(place)
        if place in self.inside:
            start = start + self.inside[place].start
        part = start, whole if size is None else size
        key = (own if isinstance(spot, Arena | LiveRange | Constant) else spot, *part)
        if key not in self.numbers:
            self.numbers[key] = len(self.buffers)
            self.buffers.append(Buffer(dtype, part[1], spot, part[0]))
        return self.numbers[key]

    def _extent(self, place: Place) -> tuple[str, Size]:
        """The dtype and size of a storage."""
        match place:
            case Partial():
                return self.partials[place].dtype, self.partials[place].size
            case Again(of):
                return self._extent(of)
            case Temporary(input) | Aligned(input):
                value = input
            case OutputCopy(output):
                value = self.outputs[output]
            case Piece():
                value = place.value
            case _:
                value = place
        return self.graph.dtype(value), self.graph.sizes[value]

    def bytes(self, place: Place) -> Size:
        """Of a storage."""
        dtype, size = self._extent(place)
        return size * DTYPES[dtype].itemsize


def _with_words(step: Spliced, words: tuple[Size, ...]) -> Spliced:
    """A product that is given all of these words, as its parts are."""
    parts = (part and _part_with_words(part, words) for part in (step.left, step.right, step.behind))
    return Spliced(replace(step.product, words=words), *parts)


def _part_with_words(part: Part, words: tuple[Size, ...]) -> Part:
    return replace(part, kernel=replace(part.kernel, words=len(words)))


def _merged(kernel: Kernel, numbers: list[int]) -> tuple[Kernel, tuple[int, ...]]:
    """The kernel with one param for buffers that are one, an operand's and that of the result written over it."""
    k = 0
    while k < len(numbers):
        same = [j for j, number in enumerate(numbers) if number == numbers[k] and j != k]
        if same and kernel.params[k].access != "in":
            kernel = overwriting(kernel, same[0], k)
            del numbers[k]
        else:
            k += 1
    return kernel, tuple(numbers)
