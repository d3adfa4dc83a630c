"""placement: tasks -> Plan: what is written straight into the caller's storage, the order of steps, the buffers.

An output that shares the storage of an input is written there by the task that computes it when everything else that
reads the input can be done before, and the Check too; else it is computed beside it and copied at the end.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.types import DTYPES
from codegen.schedule.calls import Product
from codegen.schedule.expressions import Partial
from codegen.schedule.forms import StaticGraph
from codegen.schedule.inplace import can_overwrite, overwriting
from codegen.schedule.memory import LiveRange, arena_offsets
from codegen.schedule.passes import Lowered
from codegen.schedule.plan import Arena, Buffer, Check, Copy, Input, Launch, Matmul, Output, Plan, Step
from codegen.schedule.tasks import OutputCopy, Place, Task, TaskGraph, Temporary, copy


def placed(graph: StaticGraph, aliases: tuple[tuple[int, int], ...], outputs: Sequence[int], tasks: Sequence[Task],
           decisions: tuple[str, ...]) -> Plan:
    """The plan that does the tasks; `outputs`: the value that each output is, an input, empty, or stored by a task."""
    builder = _Placement(graph, dict(aliases), outputs, tasks)
    return builder.plan(aliases, decisions)


class _Placement:
    def __init__(self, graph: StaticGraph, aliases: dict[int, int], outputs: Sequence[int], tasks: Sequence[Task]):
        self.graph, self.aliases, self.outputs = graph, aliases, outputs
        self.decisions: list[str] = []
        self.at: dict[Place, Input | Output] = {v: Input(v) for v in range(graph.first)}
        early, late = self._copies()
        self.tasks = TaskGraph([*tasks, *early])
        for output, input in self.computed_aliases:
            if not self._write_in_place(output, input):
                late.append(copy(self.outputs[output], input))
                self.decisions.append(f"output {output} is computed beside input {input} and copied into it at the end")
        for task in late:
            number = self.tasks.add(task)
            if self.tasks.check is not None:
                self.tasks.before[number].add(self.tasks.check)

    def _copies(self) -> tuple[list[Task], list[Task]]:
        """Copies that have to be done before any input is overwritten, and copies into inputs, which come last."""
        early: list[Task] = []
        late: list[Task] = []
        self.computed_aliases: list[tuple[int, int]] = []
        inputs = self.graph.first
        overwritten = {i for o, i in self.aliases.items() if self.outputs[o] != i}
        kept: set[int] = set()                                 # values whose own storage is that of an output
        for output, v in enumerate(self.outputs):
            if self.graph.sizes[v] == 0 or output in self.aliases:
                continue
            if v < inputs or v in kept:
                early.append(copy(v, OutputCopy(output)))
                self.at[OutputCopy(output)] = Output(output)
            else:
                kept.add(v)
                self.at[v] = Output(output)
        for output, input in self.aliases.items():
            v = self.outputs[output]
            if self.graph.sizes[v] == 0 or v == input:
                continue
            if v < inputs:
                source: Place = v
                if v in overwritten:
                    source = Temporary(v)
                    early += [copy(v, source)] if not any(source in task.writes for task in early) else []
                late.append(copy(source, input))
            elif v in kept:
                late.append(copy(v, input))
            else:
                kept.add(v)
                self.computed_aliases.append((output, input))
        return early, late

    def _write_in_place(self, output: int, input: int) -> bool:
        """Let the task that computes an output write it into the input's storage, if it may."""
        v = self.outputs[output]
        writers = self.tasks.writers(v)
        if len(writers) != 1:
            return False
        (number,) = writers
        task = self.tasks.tasks[number]
        if input in task.reads:
            if not isinstance(task.work, Lowered):
                return False
            storages = task.work.storages
            if not can_overwrite(task.work.kernel, storages.index(input), storages.index(v)):
                return False
        earlier = self.tasks.readers(input)
        if self.tasks.check is not None:
            earlier.append(self.tasks.check)
            if isinstance(task.work, Lowered) and task.work.kernel.checked:
                return False
        if not self.tasks.try_after(number, earlier):
            return False
        self.at[v] = Input(input)
        self.decisions.append(f"output {output} is written over input {input} as it is computed")
        return True

    # ---- buffers and steps -----------------------------------------------------------------------------------------

    def plan(self, aliases: tuple[tuple[int, int], ...], decisions: tuple[str, ...]) -> Plan:
        order = [self.tasks.tasks[k] for k in self.tasks.order()]
        ranges: dict[Place, tuple[int, int]] = {}
        for time, task in enumerate(order):
            for place in sorted(task.reads | task.writes, key=str):
                if place not in self.at:
                    ranges[place] = (ranges.get(place, (time, time))[0], time)
        offsets, arena_bytes = arena_offsets(
            [LiveRange(first, last, self._bytes(place, order)) for place, (first, last) in ranges.items()])
        where = {**self.at, **{p: Arena(offset) for p, offset in zip(ranges, offsets)}}
        buffers: list[Buffer] = []
        numbers: dict[Input | Output | Arena | Place, int] = {}

        def number(place: Place) -> int:
            spot = where[place]
            key = spot if not isinstance(spot, Arena) else place
            if key not in numbers:
                numbers[key] = len(buffers)
                dtype, size = self._extent(place, order)
                buffers.append(Buffer(dtype, size, spot))
            return numbers[key]

        steps: list[Step] = []
        for task in order:
            match task.work:
                case Lowered() as lowered:
                    kernel, storages = self._merged(lowered)
                    steps.append(Launch(kernel, tuple(map(number, storages))))
                case Product(a, b, batch, m, n, k, transpose_a, transpose_b):
                    (c,) = task.writes
                    dtype, _ = self._extent(c, order)
                    operands = number(a), number(b), number(c)
                    steps.append(Matmul(*operands, dtype, batch, m, n, k, transpose_a, transpose_b))
                case None if task.writes:
                    (source,), (target,) = task.reads, task.writes
                    steps.append(Copy(number(source), number(target)))
                case None:
                    steps.append(Check())
        graph = self.graph.graph
        types = tuple(map(graph.type_of, graph.outputs))
        return Plan(graph.inputs, types, aliases, tuple(buffers), tuple(steps), arena_bytes,
                    (*decisions, *self.decisions))

    def _merged(self, lowered: Lowered):
        """The kernel with one param for what it reads and what it writes over it."""
        kernel, storages = lowered.kernel, list(lowered.storages)
        for storage in list(storages):
            spot = self.at.get(storage)
            if isinstance(spot, Input) and spot.index != storage and spot.index in storages:
                result = storages.index(storage)
                kernel = overwriting(kernel, storages.index(spot.index), result)
                del storages[result]
        return kernel, storages

    def _extent(self, place: Place, order: Sequence[Task]) -> tuple[str, int]:
        """The dtype and size of a storage."""
        match place:
            case Partial():
                for task in order:
                    if isinstance(task.work, Lowered) and place in task.work.storages:
                        param = task.work.kernel.params[task.work.storages.index(place)]
                        return param.dtype, param.size
                raise AssertionError(f"{place} is never written")
            case Temporary(input):
                value = input
            case OutputCopy(output):
                value = self.outputs[output]
            case _:
                value = place
        return self.graph.dtype(value), self.graph.sizes[value]

    def _bytes(self, place: Place, order: Sequence[Task]) -> int:
        dtype, size = self._extent(place, order)
        return size * DTYPES[dtype].itemsize
