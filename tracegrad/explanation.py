"""Explanation: what is known about a traced function, as a report for a person."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codegen.ir.text import print_graph
from tracegrad.aborts import Aborted
from tracegrad.replay import MadeView, Trace
from tracegrad.source_lines import first_line

if TYPE_CHECKING:
    from tracegrad.tracing import Traced


@dataclass(frozen=True, slots=True)
class Explanation:
    """`traces`: the known paths, the last used first; `guards`, `exits` and `kernels`: theirs; `aborts`: why not."""

    heading: str
    summary: str
    traces: tuple[Trace, ...]
    aborts: tuple[Aborted, ...]

    @property
    def guards(self) -> tuple[tuple[str, ...], ...]:
        """For each path, its guards as sentences."""
        return tuple(trace.guards.sentences() for trace in self.traces)

    @property
    def exits(self) -> tuple[int, ...]:
        """For each path, how many calls left it."""
        return tuple(trace.exits for trace in self.traces)

    @property
    def kernels(self) -> tuple[str, ...]:
        """For each path, the steps of its one native call."""
        return tuple(trace.executable.describe() for trace in self.traces)

    def __str__(self) -> str:
        lines = [self.heading, "  " + self.summary]
        for number, trace in enumerate(self.traces, 1):
            lines += ["", *_path(number, trace)]
        for aborted in self.aborts:
            lines += ["", f"ran eagerly: {aborted}"]
        if not self.traces and not self.aborts:
            lines += ["", "it has not been called yet"]
        return "\n".join(lines)


def explain(traced: Traced, traces: Sequence[Trace], aborts: tuple[Aborted, ...]) -> Explanation:
    """The report of a traced function; see Traced.explain."""
    function, stats = traced.eager, traced.stats
    code = getattr(function, "__code__", None)
    where = f" ({first_line(code)})" if code else ""
    summary = (f"{stats.calls} calls: {stats.replays} replays, {stats.recordings} recordings, {stats.eager_calls} eager"
               f"{f', {stats.side_exits} left at an exit' if stats.side_exits else ''}; "
               f"{stats.kernels_compiled} kernels compiled, "
               f"recording and compiling took {stats.compile_seconds * 1e3:.0f} ms")
    return Explanation(f"traced function {traced.name}{where}", summary, tuple(traces), aborts)


def _path(number: int, trace: Trace) -> list[str]:
    """One path: what it reads, writes and gives, what it assumes, and what its one native call does."""
    graph, leaves = trace.graph, trace.guards.sources
    lines = [f"path {number}: {trace.replays} replays, each one native call; "
             f"recorded and compiled in {trace.seconds * 1e3:.0f} ms"]
    lines += _section("reads", [f"{s.text}: {type}" for s, type in zip(trace.sources, graph.inputs)])
    lines += _section("writes in place", [trace.sources[k].text for k in trace.written])
    lines += _section("sets", [
        *(f"{leaves[e.leaf]}.grad{' = None' if e.tensor is None else ''}" for e in trace.grad_effects),
        *(effect.slot.text for effect in trace.slot_effects)])
    lines += _section("makes", [
        *(f"{m.type}{', differentiable' if m.has_history else ''}" for m in trace.made),
        *(f"a view by {m.op}" for m in trace.makes if isinstance(m, MadeView))])
    lines += _section("guards", list(trace.guards.sentences()))
    lines += _section("native call", trace.executable.describe().splitlines())
    lines += _section("graph", print_graph(graph).splitlines())
    if trace.exits:
        lines.append(f"  {trace.exits} calls left at an exit (an index was out of bounds) and ran eagerly")
    return lines


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"  {title}", *(f"    {line}" for line in lines)] if lines else []
