"""Squares: as many vectors as each has elements, transposed in registers.

    a0 a1 a2 a3             a0 b0 a2 b2             a0 b0 c0 d0
    b0 b1 b2 b3      ->     a1 b1 a3 b3      ->     a1 b1 c1 d1        shuffles that are one instruction each
    c0 c1 c2 c3             c0 d0 c2 d2             a2 b2 c2 d2
    d0 d1 d2 d3             c1 d1 c3 d3             a3 b3 c3 d3
"""
from __future__ import annotations

from codegen.llvm_cpu.assembler import Assembler, Value

NEAR = 16
"""Bytes within which one instruction shuffles elements as it likes; halves of longer registers it can only exchange."""

LARGEST = 32
"""Bytes of a vector, at most: a square of longer ones fills all registers. Of elements of one or two bytes 16 do."""


def side(item: int, vector_bytes: int) -> int:
    """How many elements of `item` bytes a square has on each side, a power of two."""
    return (min(vector_bytes, LARGEST) if item >= 4 else NEAR) // item


def transposed(a: Assembler, lines: list[Value], item: int) -> list[Value]:
    """The columns of a square of vectors of elements of `item` bytes.

    First within 16 bytes; then the halves that belong together are joined.
    """
    lanes, near = len(lines), min(NEAR // item, len(lines))
    lines = [column for first in range(0, lanes, near)
             for column in transposed_near(a, lines[first:first + near], lanes)]
    if near == lanes:
        return lines
    low, high = [*range(near), *range(lanes, lanes + near)], [*range(near, lanes), *range(lanes + near, 2 * lanes)]
    return [a.shuffle(lines[c], lines[c + near], half) for half in (low, high) for c in range(near)]


def transposed_near(a: Assembler, lines: list[Value], lanes: int) -> list[Value]:
    """As many lines, of `lanes` elements, as of these lie in 16 bytes: each 16 bytes is a square, transposed as such.

    Single elements, pairs, fours of two lines are interleaved.
    """
    near = len(lines)

    def interleaved(x: Value, y: Value, unit: int, half: int) -> Value:
        """The lower or upper halves of each 16 bytes of x and y, in turns of `unit` elements."""
        order = [part * lanes + start + half * near // 2 + u + k
                 for start in range(0, lanes, near) for u in range(0, near // 2, unit) for part in (0, 1)
                 for k in range(unit)]
        return a.shuffle(x, y, order)

    unit = 1
    while unit < near:
        before, lines = lines, list(lines)
        for r in range(near):
            if not r & unit:
                lines[r], lines[r + unit] = (interleaved(before[r], before[r + unit], unit, half) for half in (0, 1))
        unit *= 2
    return [lines[_reversed(r, near)] for r in range(near)]


def _reversed(number: int, size: int) -> int:
    """The number whose bits are read from the last on: that is how columns come out of interleaving."""
    result = 0
    while size > 1:
        result, number, size = 2 * result + number % 2, number // 2, size // 2
    return result
