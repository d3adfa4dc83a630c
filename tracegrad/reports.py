"""What an Explanation is made of: frozen reports of roots, traces, reads and exits."""
from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import groupby

from codegen import StepReport, StepTime
from codegen.ir.graph import Graph
from codegen.ir.structs import struct
from tracegrad.guards import Guard
from tracegrad.path_tree import Stretch


@struct
class ReadReport:
    """Python was given a number: at `line`, which says `source`, it asked for `question` of value `of` of the path's
    graph, and got `value`."""

    of: int
    question: str
    value: str
    line: str | None
    source: str | None

    def __str__(self) -> str:
        where = f"{self.line}: " if self.line else ""
        return f"{where}{self.source or self.question} -> {self.value}"


@struct
class ExitReport:
    """Where `calls` calls left, since the way they had to go was not known; `unseen` are those that still are not."""

    question: str
    unseen: tuple[str, ...]
    line: str | None
    source: str | None
    calls: int

    def __str__(self) -> str:
        where = f"{self.line}: " if self.line else ""
        unseen = f", not known: {' or '.join(self.unseen)}" if self.unseen else ""
        return f"{where}{self.source or self.question}: {self.calls} calls left here{unseen}"


@struct(eq=False)
class TraceReport:
    """One path. `because`: what was new in the call that recorded it; `inputs`: where those of the graph are found;
    `blocks`: which of its root's it goes through; `sizes`: if it was recorded for all, what its symbols are; `memory`:
    what became of its budget, if it has one.
    """

    number: int
    replays: int
    seconds: float
    because: str | None
    reads: tuple[ReadReport, ...]
    graph: Graph
    inputs: tuple[str, ...]
    writes: tuple[str, ...]
    sets: tuple[str, ...]
    makes: tuple[str, ...]
    calls_back: tuple[str, ...]
    blocks: tuple[int, ...]
    sizes: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()


@struct(eq=False)
class RootReport:
    """Paths that assume the same on entry. `inputs`: (where each is found, its type); `steps`: those of each block;
    `refusals`: how many calls left because an index was out of bounds or an operand was refused."""

    number: int
    inputs: tuple[tuple[str, str], ...]
    guards: tuple[Guard, ...]
    tree: Stretch
    traces: tuple[TraceReport, ...]
    steps: tuple[tuple[StepReport, ...], ...]
    plan: str
    refusals: int = 0
    quarantined: bool = False

    @property
    def replays(self) -> int:
        """How many calls were one native call."""
        return sum(trace.replays for trace in self.traces)

    def steps_of(self, trace: TraceReport) -> list[StepReport]:
        """What that native call does on one path."""
        return [step for block in trace.blocks for step in self.steps[block]]

    def turns_of(self, trace: TraceReport) -> list[tuple[tuple[StepReport, ...], int]]:
        """The same by block, equal neighbors once, with how often: a loop does the same on every turn."""
        blocks = [self.steps[block] for block in trace.blocks if self.steps[block]]
        turns = [list(alike) for _, alike in groupby(blocks)]
        return [(tuple(map(_over_all, *alike)), len(alike)) for alike in turns]


def _over_all(*turns: StepReport) -> StepReport:
    """One step of a loop, with its times over all turns."""
    times = [step.time for step in turns if step.time is not None]
    return replace(turns[0], time=reduce(StepTime.and_also, times)) if times else turns[0]
