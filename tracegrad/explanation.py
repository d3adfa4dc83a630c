"""Explanation: what is known about a traced function when it is asked for, as data and as a report for a person.

    print(f.explain())                  what is assumed, which ways calls go, what that costs, what is not compiled
    print(f.explain(verbose=True))      every guard, every operation, every kernel
    f.explain().to_html("f.html")       the same as a page, the tree of paths and the graphs drawn

An Explanation is a snapshot: later calls do not change it.
"""
from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from types import CodeType
from typing import TYPE_CHECKING

import numpy as np

from codegen import StepReport
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, FLOATS
from tracegrad.aborts import Aborted
from tracegrad.explanation_page import page
from tracegrad.explanation_text import report
from tracegrad.guards import Guard
from tracegrad.made import MadeView
from tracegrad.path_tree import Stretch, Way, counted, lines_of, stretches
from tracegrad.rates import bytes_text
from tracegrad.recorded import Read
from tracegrad.replay import Root, Trace
from tracegrad.reports import ExitReport, ReadReport, RootReport, TraceReport
from tracegrad.segments import Segment, in_order
from tracegrad.source_lines import first_line, source_of

if TYPE_CHECKING:
    from tracegrad.tracing import Traced


@struct(eq=False, repr=False)
class Explanation:
    """`roots`: what is known from one set of assumptions on entry, the last used first; `aborts`: why not; `followed`:
    were calls that were not replayed followed?"""

    heading: str
    summary: tuple[str, ...]
    roots: tuple[RootReport, ...]
    aborts: tuple[Aborted, ...]
    followed: bool = False
    verbose: bool = False

    @property
    def traces(self) -> tuple[TraceReport, ...]:
        """The paths that are replayed."""
        return tuple(trace for root in self.roots if not root.quarantined for trace in root.traces)

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What the paths assume: each with its route, its condition, the value expected and the line that read it."""
        return tuple(guard for root in self.roots for guard in root.guards)

    @property
    def exits(self) -> tuple[ExitReport, ...]:
        """Where calls leave, since no path goes that way, or left, before one did."""
        return tuple(ExitReport(stretch.question, stretch.unseen, stretch.line, stretch.source, stretch.exits)
                     for root in self.roots for stretch in stretches(root.tree) if stretch.unseen or stretch.exits)

    @property
    def kernels(self) -> tuple[StepReport, ...]:
        """The steps of the native calls: what each does, and the bytes it moves."""
        return tuple(step for root in self.roots for block in root.steps for step in block)

    def __str__(self) -> str:
        return report(self)

    __repr__ = __str__          # at the prompt the report is what is wanted

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the report as one page that is complete in itself: it loads nothing and runs no script."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(page(self))


def explain(traced: Traced, roots: Sequence[Root], quarantined: Sequence[Root], aborts: tuple[Aborted, ...],
            verbose: bool) -> Explanation:
    """The report of a traced function; see Traced.explain."""
    function, stats = traced.eager, traced.stats
    code = getattr(function, "__code__", None)
    where = f", {first_line(code)}" if code else ""
    came_from = {"replays": stats.replays, "follows": stats.follows, "eager": stats.eager_calls,
                 "new paths": stats.new_paths}
    beside = {"recordings": stats.recordings, "left a path": stats.side_exits, "audited": stats.audits}
    seconds = f"recording and compiling took {stats.compile_seconds * 1e3:.0f} ms"
    summary: tuple[str, ...] = (
        f"{counted(stats.calls, 'call')}; {_numbers(came_from)}",
        f"{_numbers(beside)}; {counted(stats.kernels_compiled, 'kernel')} compiled; {seconds}")
    new_sizes = sum(tree.followed_at_new_sizes for tree in traced._trees())
    if new_sizes:
        summary += (f"{counted(new_sizes, 'call')} at sizes that none had before: followed, by kernels for all sizes "
                    "where there is much to compute",)
    for backward in [] if (backwards := traced._compiling.backwards) is None else backwards.traced.values():
        summary += (_of_backward(backward),)
    found: list[RootReport] = []
    for root in (*roots, *quarantined):
        paths = sum(len(other.traces) for other in found)
        found.append(_root(len(found) + 1, paths + 1, root, root in quarantined, traced._compiling.memory_budget))
    heading = f"traced function {traced.name}{where}"
    return Explanation(heading, summary if stats.calls else (), tuple(found), aborts, stats.follows > 0, verbose)


def _of_backward(traced: Traced) -> str:
    """How calls of a custom function's backward went."""
    stats, why = traced.stats, traced.explain().aborts
    counts = {"replays": stats.replays, "follows": stats.follows, "eager": stats.eager_calls,
              "new paths": stats.new_paths}
    said = f"{traced.name}: {counted(stats.calls, 'call')}; {_numbers(counts)}"
    return said if not why else f"{said}; {why[0]}"


def _numbers(counts: dict[str, int]) -> str:
    return ", ".join(f"{what}: {n}" for what, n in counts.items() if n) or "nothing recorded"


def _root(number: int, first_path: int, root: Root, quarantined: bool, budget: int | None) -> RootReport:
    segments, codes = in_order(root.tree), root.guards.codes
    numbers = {id(trace.path): number for number, trace in enumerate(root.traces, first_path)}
    replays = {id(trace.path): trace.replays for trace in root.traces}
    made: dict[int, Stretch] = {}
    for segment in reversed(segments):
        ways = tuple(Way(value_text(segment.read, n), made[id(to)].calls, made[id(to)])
                     for n, to in segment.ways.items() if segment.read is not None)
        path = id(segment.path)
        made[id(segment)] = _stretch(segment, ways, replays.get(path, 0), numbers.get(path), codes)
    inputs = tuple((source.text, str(type)) for source, type in zip(root.sources, root.executable.inputs))
    blocks = root.executable.ways or ((),) * len(root.traces)
    traces = tuple(_trace(numbers[id(t.path)], root, t, way, codes, budget) for t, way in zip(root.traces, blocks))
    return RootReport(number, inputs, tuple(root.guards.guards), made[id(root.tree)], traces, root.executable.steps,
                      root.executable.describe(), root.refusals, quarantined)


def _stretch(segment: Segment, ways: tuple[Way, ...], replays: int, path: int | None,
             codes: Sequence[CodeType]) -> Stretch:
    read, growth, unseen = segment.read, segment.growth, tuple[str, ...]()
    size = 1 + sum(way.to.size for way in ways)
    calls = replays + sum(way.calls for way in ways)
    operations, lines = len(segment.nodes), lines_of(node.line for node in segment.nodes)
    if read is None:
        return Stretch(operations, lines, calls, path=path)
    if read.dtype == "bool":
        unseen = tuple(value_text(read, n) for n in (0, 1) if n not in segment.ways)
    else:
        unseen = ("another value",)
    return Stretch(operations, lines, calls, read.what, read.line, source_of(read.line, codes), ways, unseen,
                   growth.exits, growth.failures, None if growth.closed is None else str(growth.closed), path, size)


def _trace(number: int, root: Root, trace: Trace, blocks: tuple[int, ...], codes: Sequence[CodeType],
           budget: int | None) -> TraceReport:
    routes = [root.guards.sources[k] for k in trace.leaves]
    reads = tuple(
        ReadReport(read.value, read.what, value_text(read, read.number), read.line, source_of(read.line, codes))
        for read in trace.path.reads)
    inputs = tuple(root.sources[k].text for k in trace.path.inputs)
    writes = tuple(root.sources[trace.path.inputs[k]].text for k in trace.path.written)
    sets = (*(f"{routes[e.leaf]}.grad{' = None' if e.tensor is None else ''}" for e in trace.grad_effects),
            *(effect.slot.text for effect in trace.slot_effects))
    makes = (*(f"{m.type}{', differentiable' if m.has_history else ''}" for m in trace.made),
             *(f"a view by {m.op}" for m in trace.makes if isinstance(m, MadeView)))
    because = None if trace.because is None else str(trace.because)
    return TraceReport(number, trace.replays, trace.seconds, because, reads, trace.graph, inputs, writes, sets, makes,
                       tuple(map(str, trace.callbacks)), blocks,
                       _sizes(root), () if budget is None else _memory(root, trace, blocks, budget))


def _memory(root: Root, trace: Trace, blocks: tuple[int, ...], budget: int) -> tuple[str, ...]:
    """What a path works in, what it does again to do with that, and what it keeps for its backward."""
    executable, plan = root.executable, root.executable.plan
    works = f"works in {bytes_text(executable.arena_bytes)} of a budget of {bytes_text(budget)}"
    if executable.arena_bytes > budget:
        works += ", which cannot be met"
    again: tuple[str, ...] = ()
    if plan is not None and plan.unbounded_bytes is not None:
        works += f", without one in {bytes_text(plan.unbounded_bytes)}"
        origins = [origin for block in blocks for origin in plan.blocks[block].plan.origins]
        again = f"{sum(o.again for o in origins)} of {counted(len(origins), 'step')} repeat earlier ones",
    route = trace.route
    keeps = "" if route is None else f"keeps {bytes_text(route.saved_bytes)} for backward"
    if route is not None and len(route.worth_saving) > len(route.saved):
        keeps += f" of {bytes_text(route.bytes_of(route.worth_saving))}, and computes the rest again"
    return "; ".join((works, *again, *[keeps] * bool(keeps))),


def _sizes(root: Root) -> tuple[str, ...]:
    if root.all_sizes is not None:
        return root.all_sizes.sentences(root)
    return () if root.one_size is None else (f"no, {root.one_size}",)


def value_text(read: Read | None, number: int) -> str:
    """A number that was read, as Python shows it."""
    assert read is not None
    if read.dtype == "bool":
        return str(bool(number))
    if read.dtype not in FLOATS:
        return str(number)
    dtype = DTYPES[read.dtype]
    return repr(np.array(number, f"u{dtype.itemsize}").view(dtype)[()].item())
