"""Explanation: what is known about a traced function, as a report for a person."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codegen.ir.text import print_graph
from codegen.ir.types import DTYPES, FLOATS
from tracegrad.aborts import Aborted
from tracegrad.made import MadeView
from tracegrad.recorder import Read
from tracegrad.replay import Root, Trace
from tracegrad.source_lines import first_line

if TYPE_CHECKING:
    from tracegrad.tracing import Traced


@dataclass(frozen=True, slots=True)
class Explanation:
    """`roots`: what is known from one set of assumptions on entry, the last used first; `aborts`: why not."""

    heading: str
    summary: str
    roots: tuple[Root, ...]
    aborts: tuple[Aborted, ...]

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The known paths."""
        return tuple(trace for root in self.roots for trace in root.traces)

    @property
    def guards(self) -> tuple[tuple[str, ...], ...]:
        """For each root, its guards as sentences."""
        return tuple(root.guards.sentences() for root in self.roots)

    @property
    def exits(self) -> tuple[int, ...]:
        """For each root, how many calls left it."""
        return tuple(map(left, self.roots))

    @property
    def kernels(self) -> tuple[str, ...]:
        """For each root, the steps of its one native call."""
        return tuple(root.executable.describe() for root in self.roots)

    def __str__(self) -> str:
        lines = [self.heading, "  " + self.summary]
        for number, root in enumerate(self.roots, 1):
            lines += ["", *_root(number, root)]
        for aborted in self.aborts:
            lines += ["", f"ran eagerly: {aborted}"]
        if not self.roots and not self.aborts:
            lines += ["", "it has not been called yet"]
        return "\n".join(lines)


def left(root: Root) -> int:
    """How many calls left a root at an exit."""
    return root.refusals + sum(segment.growth.exits for segment in set(root.exits))


def explain(traced: Traced, roots: Sequence[Root], aborts: tuple[Aborted, ...]) -> Explanation:
    """The report of a traced function; see Traced.explain."""
    function, stats = traced.eager, traced.stats
    code = getattr(function, "__code__", None)
    where = f" ({first_line(code)})" if code else ""
    summary = (f"{stats.calls} calls: {stats.replays} replays, {stats.recordings} recordings, {stats.eager_calls} eager"
               f"{f', {stats.side_exits} left at an exit' if stats.side_exits else ''}; "
               f"{stats.kernels_compiled} kernels compiled, "
               f"recording and compiling took {stats.compile_seconds * 1e3:.0f} ms")
    return Explanation(f"traced function {traced.name}{where}", summary, tuple(roots), aborts)


def _root(number: int, root: Root) -> list[str]:
    """What its paths assume and read, what each does, and what their one native call does."""
    lines = [f"root {number}: {root.replays} replays, each one native call; paths: {len(root.traces)}"]
    lines += _section("reads", [f"{s.text}: {type}" for s, type in zip(root.sources, root.executable.inputs)])
    lines += _section("guards", list(root.guards.sentences()))
    for k, trace in enumerate(root.traces, 1):
        lines.append(f"  path {number}.{k}: {trace.replays} replays; "
                     f"recorded and compiled in {trace.seconds * 1e3:.0f} ms")
        lines += (f"  {line}" for line in _path(root, trace))
    lines += _section("native call", root.executable.describe().splitlines())
    if root.refusals:
        lines.append(f"  {root.refusals} calls left at an exit (an index was out of bounds) and ran eagerly")
    return lines


def _path(root: Root, trace: Trace) -> list[str]:
    """One path: what was read on it, what it writes and gives."""
    leaves = root.guards.sources
    lines = _section("Python read", [f"{r.line or '?'}: {r.what} of %{r.value}: {_shown(r)}" for r in trace.path.reads])
    lines += _section("writes in place", [root.sources[trace.path.inputs[k]].text for k in trace.path.written])
    lines += _section("sets", [
        *(f"{leaves[trace.leaves[e.leaf]]}.grad{' = None' if e.tensor is None else ''}" for e in trace.grad_effects),
        *(effect.slot.text for effect in trace.slot_effects)])
    lines += _section("makes", [
        *(f"{m.type}{', differentiable' if m.has_history else ''}" for m in trace.made),
        *(f"a view by {m.op}" for m in trace.makes if isinstance(m, MadeView))])
    return lines + _section("graph", print_graph(trace.graph).splitlines())


def _shown(read: Read) -> str:
    """The number that was read."""
    if read.dtype == "bool":
        return str(bool(read.number))
    if read.dtype not in FLOATS:
        return str(read.number)
    dtype = DTYPES[read.dtype]
    return repr(np.array(read.number, f"u{dtype.itemsize}").view(dtype)[()].item())


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"  {title}", *(f"    {line}" for line in lines)] if lines else []
