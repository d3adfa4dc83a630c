"""profile_table: the activities of one thread, by what they are, with the time that each took itself."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from codegen import StepReport
from codegen.ir.structs import struct
from tracegrad.chrome_trace import MOMENTS
from tracegrad.path_tree import counted, lines_of
from tracegrad.rates import share_text, time_text

WIDEST = 90


@struct
class Activity:
    """Something that a thread did, from `begin` to `end`: a Span, or a native event of `program`, maybe its `step`."""

    kind: str
    name: str
    thread: int
    begin: int
    end: int
    facts: Mapping[str, Any]
    program: str = ""
    step: StepReport | None = None

    @property
    def what(self) -> str:
        """What it is, in a table."""
        match self.kind:
            case "step":
                return f"{self.program}: {self.name}"
            case "run":
                return f"{self.name}: from kernel to kernel"
            case "call":
                return f"{self.name}: guards, storage, results"
            case "op":
                return f"{self.name}, by NumPy"
            case "segment":
                return f"{self.name}: deferred work, by {self.facts['by']}"
            case _:
                return f"{self.name}: {_SAID[self.kind]}"


_SAID = {"record": "recording its Python", "compile": "making a path", "code": "making native code",
         "eager": "its Python", "follow": "its Python, followed"}


@struct(frozen=False)
class _Row:
    nanoseconds: int = 0
    times: int = 0
    of: Activity | None = None


def table(activities: Iterable[Activity], begin: int, end: int, thread: int, lost: int, most: int) -> str:
    """The text: a row for each thing that was done, the longest first; what is not tracegrad's last."""
    everything = list(activities)
    own = sorted((a for a in everything if a.thread == thread and a.kind not in MOMENTS and a.kind != "part"),
                 key=lambda a: (a.begin, -a.end))
    rows: dict[str, _Row] = {}
    open_: list[Activity] = []
    for activity in own:
        while open_ and open_[-1].end <= activity.begin:
            open_.pop()
        length = activity.end - activity.begin
        row = rows.setdefault(activity.what, _Row())
        row.nanoseconds, row.times, row.of = row.nanoseconds + length, row.times + 1, activity
        if open_:
            rows[open_[-1].what].nanoseconds -= length
        open_.append(activity)
    whole = max(1, end - begin)
    ordered = sorted(rows.items(), key=lambda item: -item[1].nanoseconds)
    calls = [a.facts["came_to"] for a in everything if a.kind == "call"]
    kinds = ", ".join(counted(calls.count(kind), kind) for kind in dict.fromkeys(calls))
    head = f"{time_text(whole * 1e-9)}, {counted(len(calls), 'call')} of traced functions"
    lines = [f"{head}: {kinds}" if calls else head,
             f"{'total':>9} {'share':>6} {'times':>7} {'each':>9} {'how near the ceiling':<19} what"]
    for what, row in ordered[:most]:
        lines.append(_line(row.nanoseconds, whole, row.times, what, row.of))
    if rest := ordered[most:]:
        lines.append(_line(sum(row.nanoseconds for _, row in rest), whole, len(rest), "in more rows: table(most=...)"))
    lines.append(_line(whole - sum(row.nanoseconds for row in rows.values()), whole, 1, "outside of tracegrad"))
    lines += [f"{counted(lost, 'native event')} left out: there was no room for more"] * (lost > 0)
    return "\n".join(lines)


def _line(nanoseconds: int, whole: int, times: int, what: str, of: Activity | None = None) -> str:
    each = nanoseconds / times * 1e-9
    step = None if of is None else of.step
    share = "" if step is None else share_text(step, each)
    where = f"  @ {lines_of(step.lines)}" if step is not None and step.lines else ""
    text = what if len(what) <= WIDEST else what[:WIDEST - 3] + "..."
    return (f"{time_text(nanoseconds * 1e-9):>9} {nanoseconds / whole:>6.1%} {times:>7} {time_text(each):>9} "
            f"{share:<19}  {text}{where}")
