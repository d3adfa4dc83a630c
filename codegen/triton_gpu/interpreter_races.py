"""What the programs of a launch do to each other's elements. The interpreter runs them in order; a GPU does not.

An error, though the interpreter would compute something:

    a program reads or changes what another has changed, or changes what another has read
    a program reads what it wrote itself, without a barrier in between: its threads do not wait for each other
    a program changes what it read through fewer lanes than it has threads, without a barrier: several threads read the
    same element then, one of them writes it, and another may only read it after that
    lanes of one store write different values to one element
    an element is changed by atomic accesses, and read or written by others

Who writes what is there already changes nothing.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ATOMICALLY, SEVERAL = -1, -2
"""Who changed an element: all programs that did, by atomic accesses. Who read it: more than one program."""

NEVER = -1

WARP = 32
"""Threads that read and write in step."""

MOST = 1 << 20
"""So many elements are noted as read before it is looked at which."""


class Race(Exception):
    """Two accesses of a launch whose order is not known, and matters."""


class _Elements:
    """Of each element of a buffer: the program that read it last and that changed it last, counted from 1, and when.

    What was read is looked at when the buffer is written to: most buffers of a launch are not.
    """

    def __init__(self, size: int):
        self.size = size
        self.read: list[tuple[int, int, np.ndarray]] = []
        self.most = MOST
        self.reader: np.ndarray | None = None
        self.writer: np.ndarray | None = None

    def has_read(self, program: int, when: int, at: np.ndarray) -> None:
        self.read.append((program, when, at))
        self.most -= at.size
        if self.most < 0:
            self.readers()

    def readers(self) -> np.ndarray:
        """Of each element, who read it last; `shared` is when several threads did."""
        if self.reader is None:
            self.reader, self.shared = np.zeros(self.size, np.int32), np.full(self.size, NEVER, np.int32)
        for program, when, at in self.read:
            before = self.reader[at]
            self.reader[at] = np.where((before == 0) | (before == program), program, SEVERAL)
            if when != NEVER:
                self.shared[at] = when
        self.read, self.most = [], MOST
        return self.reader

    def writers(self) -> np.ndarray:
        """Of each element, who changed it last; `written` is when."""
        if self.writer is None:
            self.writer, self.written = np.zeros(self.size, np.int32), np.zeros(self.size, np.int32)
        return self.writer


class Races:
    """Watches a launch: `program` is the number of the one that runs now."""

    def __init__(self) -> None:
        self.begin([])

    def begin(self, sizes: Sequence[int], threads: int = 1) -> None:
        """A launch begins, on buffers of so many elements; a program has so many threads."""
        self.elements = [_Elements(size) for size in sizes]
        self.program, self.barriers, self.threads = 0, 0, threads

    def load(self, number: int, at: np.ndarray, lanes: int) -> None:
        """The elements `at` of a buffer are read, through so many lanes."""
        of, me = self.elements[number], self.program + 1
        if of.writer is not None:
            writer = of.writer[at]
            if writer.any():
                _refuse(number, at, writer, writer == ATOMICALLY, "reads", "changed by atomic accesses")
                _refuse(number, at, writer, (writer != 0) & (writer != me), "reads", "changed by program {}")
                _refuse(number, at, writer, (writer == me) & (of.written[at] == self.barriers), "reads",
                        "written by itself, with no barrier in between")
        of.has_read(me, self.barriers if lanes < self.threads > WARP else NEVER, at)

    def store(self, number: int, at: np.ndarray, changed: np.ndarray) -> None:
        """The elements `at` are written; `changed`: which of them are another number then."""
        self._change(number, at, changed, self.program + 1, "writes")

    def atomic(self, number: int, at: np.ndarray) -> None:
        """The elements `at` are changed by one atomic access each."""
        changed = self.elements[number].writers()[at] != ATOMICALLY
        self._change(number, at, changed, ATOMICALLY, "changes, atomically,")

    def _change(self, number: int, at: np.ndarray, changed: np.ndarray, by: int, what: str) -> None:
        of, me = self.elements[number], self.program + 1
        writers = of.writers()
        writer, reader = writers[at], of.readers()[at]
        if writer.any():
            _refuse(number, at, writer, changed & (writer == ATOMICALLY), what, "changed by atomic accesses")
            _refuse(number, at, writer, changed & (writer != 0) & (writer != me), what, "changed by program {}")
        if reader.any():
            _refuse(number, at, reader, changed & (reader == SEVERAL), what, "read by others")
            _refuse(number, at, reader, changed & (reader != 0) & (reader != me), what, "read by program {}")
            _refuse(number, at, reader, changed & (of.shared[at] == self.barriers), what,
                    "read by several of its threads, with no barrier in between")
        new = at[changed | (writer == 0)]
        writers[new], of.written[new] = by, self.barriers


def _refuse(number: int, at: np.ndarray, others: np.ndarray, where: np.ndarray, does: str, done: str) -> None:
    if where.any():
        element, other = int(at[where].flat[0]), int(others[where].flat[0])
        raise Race(f"it {does} element {element} of buffer {number}, which was {done.format(other - 1)}")
