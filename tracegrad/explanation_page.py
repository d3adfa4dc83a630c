"""An Explanation as one HTML page: complete in itself, without script, light or dark as the reader's system is.

The parts: what is in every guard, line and name is the user's, so everything is escaped where it enters the page.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from codegen import StepReport
from codegen.ir.text import print_graph
from tracegrad.aborts import Aborted
from tracegrad.assumptions import assumptions, reads_and_rest
from tracegrad.explanation_text import FOLLOWED, counted_runs
from tracegrad.graph_drawing import draw_graph
from tracegrad.page_style import STYLE
from tracegrad.path_drawing import draw_paths
from tracegrad.path_tree import counted
from tracegrad.rates import bytes_text, flops_text, share_text, time_text
from tracegrad.reports import RootReport, TraceReport

if TYPE_CHECKING:
    from tracegrad.explanation import Explanation

MOST_OPEN = 1           # paths that are open from the start

def page(explanation: Explanation) -> str:
    """The page."""
    name, _, line = explanation.heading.removeprefix("traced function ").partition(", ")
    body = [f'<h1>traced function <code>{escape(name)}</code> <span class="dim">{escape(line)}</span></h1>',
            *(f'<div class="dim">{escape(text)}</div>' for text in explanation.summary)]
    body += [_abort(aborted) for aborted in explanation.aborts]
    body += [f"<p>{FOLLOWED}</p>"] * (explanation.followed and bool(explanation.aborts))
    body += [_root(root) for root in explanation.roots]
    if len(body) == 1:
        body.append("<p>it has not been called yet</p>")
    return ('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
            f"<title>{escape(explanation.heading)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(body) + "\n</main>\n</body>\n</html>\n")


def _abort(aborted: Aborted) -> str:
    where = f"<code>{escape(aborted.line)}</code>: " if aborted.line else ""
    reason = aborted.reason
    return (f'<section class="bad">{where}<strong>not compiled:</strong> {escape(reason.sentence)}: '
            f'{escape(aborted.detail)} <span class="dim">Abort.{reason.name}</span><br/>cure: {escape(reason.cure)}'
            "</section>")


def _root(root: RootReport) -> str:
    title = f"{counted(len(root.traces), 'path')}, {counted(root.replays, 'replay')}"
    parts = [f'<h2>root {root.number} <span class="dim">{title}</span></h2>']
    if root.quarantined:
        parts.append('<p class="bad"><strong>quarantined:</strong> an audit found it wrong; '
                     "it is not replayed again</p>")
    if root.refusals:
        parts.append(f"<p>{counted(root.refusals, 'call')} left because an index was out of bounds or an operand was "
                     "refused, and ran eagerly</p>")
    if root.tree.ways:
        parts += ["<h3>ways that calls go</h3>", f'<div class="drawing">{draw_paths(root.tree)}</div>']
    parts.append(_guards(root))
    parts += [_trace(root, trace, k < MOST_OPEN) for k, trace in enumerate(root.traces)]
    if root.plan:
        parts.append(_folded("the native call: buffers and kernels", f"<pre>{escape(root.plan)}</pre>"))
    return f'<section id="root-{root.number}">{"".join(parts)}</section>'


def _guards(root: RootReport) -> str:
    reads, rest = reads_and_rest(root.inputs, assumptions(root.guards)[0])
    every = _table(("line", "what", "condition"), [(g.line or "", g.route, g.condition) for g in root.guards])
    return _folded(
        '<b>guards</b> <span class="dim">it is replayed while these are as they were</span>',
        _table(("line", "read"), [(a.line or "", str(a)) for a in reads])
        + _table(("line", "assumed"), [(a.line or "", str(a)) for a in rest])
        + _folded(f"all {len(root.guards)} guards", every), is_open=True)


def _trace(root: RootReport, trace: TraceReport, is_open: bool) -> str:
    steps = root.steps_of(trace)
    facts = [counted(trace.replays, "replay"), counted(len(trace.graph.nodes), "operation")]
    if steps:
        facts.append(f"{counted(len(steps), 'step')} that move {bytes_text(sum(s.bytes_moved for s in steps))}")
    facts.append(f"recorded and compiled in {trace.seconds * 1e3:.0f} ms")
    parts = []
    if trace.because:
        parts.append(f"<p>recorded again because <code>{escape(trace.because)}</code></p>")
    rows = [("Python read", text) for text in counted_runs(map(str, trace.reads))]
    rows += [(title, ", ".join(texts)) for title, texts in (("for all sizes", trace.sizes), ("memory", trace.memory),
                                                            ("writes in place", trace.writes), ("sets", trace.sets),
                                                            ("makes", trace.makes),
                                                            ("calls back at", trace.calls_back)) if texts]
    if rows:
        titles = [title if k == 0 or rows[k - 1][0] != title else "" for k, (title, _) in enumerate(rows)]
        parts.append(_table((), [(title, text) for title, (_, text) in zip(titles, rows)]))
    if steps:
        parts.append(_folded("steps of the native call", _steps(root.turns_of(trace)), is_open=True))
    drawn = draw_graph(trace.graph, trace.inputs, {read.of for read in trace.reads})
    if drawn is not None:
        parts.append(_folded("the graph, drawn", f'<div class="drawing">{drawn}</div>', is_open=True))
    parts.append(_folded("the graph as text", f"<pre>{escape(print_graph(trace.graph))}</pre>", is_open=drawn is None))
    return _folded(f'<b>path {trace.number}</b> <span class="dim">{escape("; ".join(facts))}</span>', "".join(parts),
                   is_open=is_open, anchor=f"path-{trace.number}")


def _steps(turns: Sequence[tuple[Sequence[StepReport], int]]) -> str:
    """A row for each step; its bar is as long as it took, or else moves bytes."""
    timed = any(step.time for steps, _ in turns for step in steps)

    def length(step: StepReport) -> float:
        return (step.time.mean if step.time else 0.0) if timed else step.bytes_moved

    most = max(map(length, (step for steps, _ in turns for step in steps))) or 1
    rows = []
    for steps, times in turns:
        turn = ' class="turn"' if times > 1 else ""
        rows += [f'<tr><td class="dim" colspan="6">{times} times:</td></tr>'] if times > 1 else []
        for step in steps:
            took = ("", "") if step.time is None else (time_text(step.time.mean), share_text(step, step.time.mean))
            numbers = (bytes_text(step.bytes_moved), flops_text(step.flops), *took)
            why = escape("; ".join(step.why), quote=True)
            rows.append(f'<tr{turn}><td title="{why}">{escape(step.summary)}</td>'
                        + "".join(f'<td class="number">{text}</td>' for text in numbers)
                        + f'<td><span class="bar" style="width: {160 * length(step) / most:.0f}px"></span></td></tr>')
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = f"<tr>{''.join(f'<th>{escape(text)}</th>' for text in heads)}</tr>" if heads else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}{body}</table></div>'


def _folded(title: str, content: str, *, is_open: bool = False, anchor: str = "") -> str:
    """What can be folded away; title and content are HTML."""
    opened = ' open="open"' if is_open else ""
    named = f' id="{escape(anchor)}"' if anchor else ""
    return f"<details{opened}{named}><summary>{title}</summary>{content}</details>"
