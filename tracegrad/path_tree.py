"""The paths of a root as people look at them: stretches of work, what Python then asked, and the ways that it went.

    9 operations, model.py:8-12
    model.py:13: while error > tolerance     ─┬─ False    9 calls ── 1 operation ── path 2
                                              └─ True    31 calls ── 4 operations, model.py:14-15 ── ...

`rows` lays a tree out for reading: along its trunk, the way with most below it, so that a loop of a hundred turns is no
staircase, and turns that are alike are one row.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from codegen.ir.structs import struct

FEWEST_ALIKE = 3        # turns that are alike are one row from here on


@struct(eq=False)
class Way:
    """What was read, and what came then. `calls`: how many replays went this way."""

    value: str
    calls: int
    to: Stretch


@struct(eq=False)
class Stretch:
    """What happens between two reads: `operations` at `lines`, then `question` at `line`, or the end of path `path`.

    `source` is what that line says. `unseen`: ways that no path goes; `exits`: how many calls left here, since they had
    to go one; `given_up`: how often recording it was, `closed`: why it is not tried again; `size`: how many stretches
    it begins.
    """

    operations: int
    lines: str
    calls: int
    question: str = ""
    line: str | None = None
    source: str | None = None
    ways: tuple[Way, ...] = ()
    unseen: tuple[str, ...] = ()
    exits: int = 0
    given_up: int = 0
    closed: str | None = None
    path: int | None = None
    size: int = 1

    @property
    def asked(self) -> str:
        """The question, as `model.py:13: while error > tolerance`."""
        where = f"{self.line}: " if self.line else ""
        return f"{where}{self.source or self.question}"


@struct(eq=False)
class Row:
    """Stretches of the trunk that are alike, mostly one. `trunk`: how the last of them goes on, None at an end."""

    stretches: tuple[Stretch, ...]
    trunk: Way | None

    @property
    def sides(self) -> Iterator[Way]:
        """The ways beside the trunk."""
        trunk = _trunks(self.stretches, self.trunk)
        return (way for stretch, kept in zip(self.stretches, trunk) for way in stretch.ways if way is not kept)


def stretches(tree: Stretch) -> list[Stretch]:
    """All of a tree, each before those it leads to."""
    found, todo = [], [tree]
    while todo:
        stretch = todo.pop()
        found.append(stretch)
        todo += reversed([way.to for way in stretch.ways])
    return found


def unseen(row: Row) -> tuple[str, str] | None:
    """The values at a row for which no way is known, and what came of calls that left there; None if all are known."""
    ends = [stretch for stretch in row.stretches if stretch.unseen]
    if not ends:
        return None
    exits, given_up = sum(stretch.exits for stretch in ends), sum(stretch.given_up for stretch in ends)
    says = f"not known, {counted(exits, 'call')} left here" if exits else "not known, no call has gone there"
    if given_up:
        says += f", {counted(given_up, 'recording')} given up"
    if any(stretch.closed for stretch in ends):
        says += ", not recorded again after an audit"
    return " or ".join(dict.fromkeys(value for stretch in ends for value in stretch.unseen)), says


def rows(tree: Stretch) -> list[Row]:
    """The rows of a tree, from its root; trees beside the trunk have rows of their own."""
    single: list[Row] = []
    at: Stretch | None = tree
    while at is not None:
        trunk = max(at.ways, key=lambda way: (way.to.size, way.calls), default=None)
        single.append(Row((at,), trunk))
        at = None if trunk is None else trunk.to
    found: list[Row] = []
    while single:
        alike = 1
        while alike < len(single) and _shape(single[alike]) == _shape(single[0]) is not None:
            alike += 1
        taken = alike if alike >= FEWEST_ALIKE else 1
        found.append(Row(tuple(row.stretches[0] for row in single[:taken]), single[taken - 1].trunk))
        del single[:taken]
    return found


def _shape(row: Row) -> tuple[object, ...] | None:
    """What is equal in turns that are alike; None for what is always shown."""
    stretch, = row.stretches
    if row.trunk is None or any(side.to.ways for side in row.sides):
        return None
    return stretch.operations, stretch.lines, stretch.asked, row.trunk.value


def _trunks(stretches: Sequence[Stretch], last: Way | None) -> Iterator[Way | None]:
    """For each stretch of a row the way to the next."""
    for here, after in zip(stretches, stretches[1:]):
        yield next(way for way in here.ways if way.to is after)
    yield last


def lines_of(lines: Iterable[str | None]) -> str:
    """The user's lines that operations come from, briefly: `model.py:8-12, layers.py:3`."""
    files: dict[str, list[int]] = {}
    for line in lines:
        if line is not None:
            file, _, number = line.rpartition(":")
            files.setdefault(file, []).append(int(number))
    return ", ".join(f"{file}:{_range(min(numbers), max(numbers))}" for file, numbers in files.items())


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def counted(number: int, thing: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
