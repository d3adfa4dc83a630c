"""The text of an Explanation: what a person asks first comes first, and what repeats is said once."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from codegen import StepReport
from codegen.ir.graph import Graph
from codegen.ir.text import print_graph
from tracegrad.aborts import Abort, Aborted
from tracegrad.assumptions import Assumption, assumptions, listed, reads_and_rest
from tracegrad.path_tree import Row, Stretch, Way, counted, lines_of, rows, unseen
from tracegrad.rates import bytes_text, flops_text, share_text, time_text
from tracegrad.reports import RootReport, TraceReport

if TYPE_CHECKING:
    from tracegrad.explanation import Explanation

FOLLOWED = "calls that are not replayed are followed: their Python runs, their work on tensors is compiled"
MOST_LINES = 24         # of a section, where not everything is asked for
MOST_STEP_LINES = 48
FIRST_NODES, LAST_NODES = 16, 4
MOST_PATHS = 6          # that are told one by one
MOST_ROOTS = 3
WIDEST = 110            # characters of a step or an operation


def report(explanation: Explanation) -> str:
    """The whole report."""
    lines = [explanation.heading, *(f"  {line}" for line in explanation.summary)]
    if not explanation.roots and not explanation.aborts:
        lines += ["", "  it has not been called yet"]
    told = len(explanation.roots) if explanation.verbose else MOST_ROOTS
    for root in explanation.roots[:told]:
        lines += ["", *_root(root, explanation.verbose)]
    rest = [_heading(root) + (f"; recorded again because {root.traces[0].because}" if root.traces[0].because else "")
            for root in explanation.roots[told:]]
    lines += ["", *rest, "(explain(verbose=True) tells all of them)"] if rest else []
    if explanation.aborts:
        lines += ["", *_aborts(explanation.aborts, explanation.verbose), *[FOLLOWED] * explanation.followed]
    return "\n".join(lines)


def step_lines(step: StepReport, timed: bool, verbose: bool) -> list[str]:
    """A line for a step; below it a reason why it is not one with others, or every decision about it.

    `timed`: there is a column for how long it took, and how near that is to what the machine can do.
    """
    line = f"{bytes_text(step.bytes_moved):>11} {flops_text(step.flops):>12}  "
    if timed:
        took = "" if step.time is None else time_text(step.time.mean)
        share = "" if step.time is None else share_text(step, step.time.mean)
        line += f"{took:>8} {share:<19}  "
    where = f"  @ {lines_of(step.lines)}" if step.lines else ""
    told = step.why if verbose else [decision.sentence for decision in step.decisions if decision.parts][:1]
    return [f"{line}{_fitted(step.summary, verbose)}{where}",
            *(f"{'':{len(line) + 2}}{_fitted(sentence, verbose)}" for sentence in told)]


def _root(root: RootReport, verbose: bool) -> list[str]:
    lines = [_heading(root)]
    told, untold = assumptions(root.guards)
    reads, rest = reads_and_rest(root.inputs, told)
    lines += _section("reads", _by_line(reads), verbose)
    lines += _section("guards", list(map(str, root.guards)), verbose) if verbose else _guards(rest, untold)
    if len(root.traces) > 1 or root.tree.ways:
        lines += ["  ways", *(f"    {line}" for line in tree_lines(root.tree))]
    shown = root.traces if verbose else root.traces[:MOST_PATHS]
    with_graphs = verbose or root.number == len(root.traces) == 1       # those of several paths are much alike
    for trace in shown:
        lines += _trace(root, trace, verbose, with_graphs)
    lines += _more(len(root.traces) - len(shown), "path")
    if verbose:
        lines += _section("native call", root.plan.splitlines(), verbose)
    if root.refusals:
        lines.append(f"  {counted(root.refusals, 'call')} left because an index was out of bounds or an operand was "
                     "refused, and ran eagerly")
    return lines


def _aborts(aborts: Sequence[Aborted], verbose: bool) -> list[str]:
    """Every abort; of several for one reason at one line the first, since it led to the others."""
    if verbose:
        return list(map(str, aborts))
    first: dict[tuple[Abort, str | None], list[Aborted]] = {}
    for aborted in aborts:
        first.setdefault((aborted.reason, aborted.line), []).append(aborted)
    lines = []
    for alike in first.values():
        lines += [str(alike[0]), *_more(len(alike) - 1, "reason of this kind there")]
    return lines


def _heading(root: RootReport) -> str:
    title = f"root {root.number}: {counted(len(root.traces), 'path')}, {counted(root.replays, 'replay')}"
    return title + (", QUARANTINED: an audit found it wrong, it is not replayed again" if root.quarantined else "")


def _guards(told: Sequence[Assumption], untold: int) -> list[str]:
    lines = _section("guards: it is replayed while these are as they were", _by_line(told), False)
    return lines + [f"    and {counted(untold, 'guard')} on code, on absent names and on what is usual "
                    "(explain(verbose=True))"] * (untold > 0)


def _by_line(told: Sequence[Assumption]) -> list[str]:
    width = max((len(a.line) + 2 for a in told if a.line), default=0)
    lines = [f"{a.line:<{width}}{a}" for a in told if a.line]
    everywhere = "; ".join(str(a) for a in told if not a.line)
    return lines + [f"{'':<{width}}{everywhere}"] * bool(everywhere)


def tree_lines(tree: Stretch) -> list[str]:
    """The ways that calls go, along the trunk of the tree."""
    lines: list[str] = []
    for row in rows(tree):
        lines += _row(row)
    return lines


def _row(row: Row) -> list[str]:
    first, last = row.stretches[0], row.stretches[-1]
    if not first.question:
        return [_leaf(first)]
    lines = []
    if len(row.stretches) > 1:
        lines.append(f"{len(row.stretches)} times, at first with {counted(first.calls, 'replay')}, "
                     f"at last with {last.calls}:")
    if first.operations:
        lines.append(_work(first))
    lines += [first.asked, *_ways(row)]
    if row.trunk is not None:
        lines.append(f"  {row.trunk.value}: {counted(row.trunk.calls, 'replay')}, then")
    return lines


def _ways(row: Row) -> list[str]:
    """The ways beside the trunk."""
    sides, lines = list(row.sides), []
    if len(row.stretches) > 1 and sides:
        ends = sorted(way.to.path or 0 for way in sides)
        paths = f"path {ends[0]}" if len(ends) == 1 else f"{len(ends)} paths, from {ends[0]} to {ends[-1]}"
        values = "/".join(dict.fromkeys(way.value for way in sides))
        lines.append(f"  {values}: {counted(sum(way.calls for way in sides), 'replay')}, {paths}")
    else:
        for way in sides:
            lines += _side(way)
    if (beyond := unseen(row)) is not None:
        values, says = beyond
        elsewhere = "elsewhere " if sides and len(row.stretches) > 1 else ""
        lines.append(f"  {values}: {elsewhere}{says}")
    return lines


def _side(way: Way) -> list[str]:
    head = f"  {way.value}: {counted(way.calls, 'replay')}, "
    if not way.to.question:
        return [head + _leaf(way.to)]
    return [head + "then", *(f"  | {line}" for line in tree_lines(way.to))]


def _leaf(end: Stretch) -> str:
    return f"{_work(end)}, end of path {end.path}" if end.operations else f"end of path {end.path}"


def _work(stretch: Stretch) -> str:
    return counted(stretch.operations, "operation") + (f", {stretch.lines}" if stretch.lines else "")


def _trace(root: RootReport, trace: TraceReport, verbose: bool, with_graph: bool) -> list[str]:
    lines = [f"  path {trace.number}: {counted(trace.replays, 'replay')}, each one native call; "
             f"recorded and compiled in {trace.seconds * 1e3:.0f} ms"]
    if trace.because:
        lines.append(f"    recorded again because {trace.because}")
    lines += _indented(_section("Python read", list(map(str, trace.reads)), verbose))
    for title, items in (("for all sizes", trace.sizes), ("memory", trace.memory),
                         ("writes in place", trace.writes), ("sets", trace.sets), ("makes", trace.makes),
                         ("calls back at", trace.calls_back)):
        if items:
            lines.append(f"    {title}: {', '.join(items) if verbose else listed(items)}")
    steps = root.steps_of(trace)
    if steps:
        work = bytes_text(sum(step.bytes_moved for step in steps)) + " moved"
        if flops := flops_text(sum(step.flops for step in steps)):
            work += f", {flops}"
        if seconds := sum(step.time.mean for step in steps if step.time):
            work += f", {time_text(seconds)} where it was profiled"
        told, timed = [], any(step.time for step in steps)
        for turn, times in root.turns_of(trace):
            told += [f"{times} times:"] if times > 1 else []
            told += ["| "[times == 1] + line for step in turn for line in step_lines(step, timed, verbose)]
        lines += _indented(_section(f"{counted(len(steps), 'step')}, {work}", told, verbose, MOST_STEP_LINES))
    if with_graph:
        lines += _indented(["  graph", *(f"    {line}" for line in graph_lines(trace.graph, verbose))])
    return lines


def graph_lines(graph: Graph, verbose: bool) -> list[str]:
    """The text of a graph; of a long one its beginning and its end."""
    lines = print_graph(graph).splitlines()
    left_out = len(graph.nodes) - FIRST_NODES - LAST_NODES
    if not verbose:
        lines = [_fitted(line, verbose) for line in lines]
    if verbose or left_out <= LAST_NODES:
        return lines
    return [*lines[:1 + FIRST_NODES], f"  ... {left_out} more (explain(verbose=True))", *lines[-2 - LAST_NODES:]]


def _fitted(text: str, verbose: bool) -> str:
    """The text, or its beginning."""
    return text if verbose or len(text) <= WIDEST else text[:WIDEST - 3] + "..."


def _section(title: str, items: Sequence[str], verbose: bool, most: int = MOST_LINES) -> list[str]:
    """A title and lines below it, equal neighbors once, and so many."""
    if not items:
        return []
    lines = list(items) if verbose else list(counted_runs(items))
    shown = lines if verbose or len(lines) <= most + 2 else lines[:most]
    return [f"  {title}", *(f"    {line}" for line in shown), *_more(len(lines) - len(shown), "line", "    ")]


def counted_runs(items: Iterable[str]) -> Iterable[str]:
    """Items that are equal to their neighbors once, with how often."""
    runs: list[tuple[str, int]] = []
    for item in items:
        if runs and runs[-1][0] == item:
            runs[-1] = item, runs[-1][1] + 1
        else:
            runs.append((item, 1))
    return (f"{item}  ({times} times)" if times > 1 else item for item, times in runs)


def _more(count: int, thing: str, indent: str = "  ") -> list[str]:
    """What is left out; the plural of `thing` is made of its first word."""
    word, space, rest = thing.partition(" ")
    things = f"{word}{'' if count == 1 else 's'}{space}{rest}"
    return [f"{indent}... {count} more {things} (explain(verbose=True))"] * (count > 0)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
