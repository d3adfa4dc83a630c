"""gemm_packing: parts of matrices arranged in a room, in the order in which gemm's innermost loop reads them.

    a stored by columns:   room[r, p] = a[p, r]                        transposed by squares
    b stored by columns:   room[j / strip, p, c] = b[j + c, p]         transposed by squares, the same way
    b stored by rows:      room[j / strip, p, c] = b[p, j + c]         copied; columns beyond the last are 0
"""
from __future__ import annotations

from codegen.ir.structs import struct
from codegen.llvm_cpu.assembler import Value, vector
from codegen.llvm_cpu.gemm_panels import Elements
from codegen.llvm_cpu.squares import side, transposed

STRIP_VECTORS = 2
"""The width of a strip of columns."""

SQUARE = 8
"""Transposition is done in squares (see squares) of so many rows and columns, or of half or a quarter as many."""


_AHEAD = 16
"""So many lines ahead are fetched: a part's lines are too short for the processor to see where the next begins."""


@struct
class Part:
    """Lines of a matrix, `pitch` elements apart: the first `elements` of each of `lines`."""

    start: Value
    lines: Value
    elements: Value
    pitch: Value


@struct
class Room:
    """Where element c of line p is: at strip(c) * strip_step + p * pitch + c inside its strip.

    `per_column`: strip_step for one column.
    """

    start: Value
    pitch: Value
    per_column: Value


def copy_lines(e: Elements, part: Part, room: Room) -> list[Value]:
    """Line p of the part becomes line p of the room, strip by strip."""
    strip = STRIP_VECTORS * e.lanes
    whole = e.down_to(part.elements, strip)
    masks = [e.mask(e.minus(e.minus(part.elements, whole), e.number(v * e.lanes)), e.lanes)
             for v in range(STRIP_VECTORS)]

    def copy(p: Value, j: Value, full: bool) -> list[Value]:
        start = e.at(part.start, e.plus(e.times(p, part.pitch), j))
        target = e.at(room.start, e.plus(e.times(j, room.per_column), e.times(p, room.pitch)))
        e.a.prefetch(e.at(start, e.times(part.pitch, e.number(_AHEAD))))
        for v, mask in enumerate(masks):
            offset = e.number(v * e.lanes)
            at = e.at(start, offset)
            read = e.a.load(e.lane, at, False) if full else e.a.masked_load(e.lane, at, mask, False)
            e.a.store(read, e.at(target, offset))
        return []

    e.a.when(e.less(e.number(0), whole), [], lambda: e.a.loop(e.number(0), part.lines, 1, [], lambda p, _: e.a.loop(
        e.number(0), whole, strip, [], lambda j, _: copy(p, j, True))))
    return e.a.when(e.less(whole, part.elements), [], lambda: e.a.loop(
        e.number(0), part.lines, 1, [], lambda p, _: copy(p, whole, False)))


def transpose(e: Elements, part: Part, room: Room) -> list[Value]:
    """Element x of line l of the part becomes element l of line x of the room.

    Whole squares are written: up to the next multiple of their size in both directions.
    """
    strip, size = STRIP_VECTORS * e.lanes, side(e.item, e.features.vector_bytes)
    line = vector(e.real.dtype, size)
    last = e.minus(part.lines, e.number(1))

    def squares(l: Value) -> list[Value]:
        """Along lines l, l + 1, ... What is opaque about their addresses LLVM need not analyze, which takes it long."""
        numbers = [e.least(e.plus(l, e.number(k)), last) for k in range(size)]
        sources = [e.a.inside(e.at(part.start, e.times(n, part.pitch))) for n in numbers]
        before = e.down_to(l, strip)
        start = e.at(room.start, e.plus(e.times(before, room.per_column), e.minus(l, before)))
        targets = [e.a.inside(e.at(start, e.times(e.number(k), room.pitch))) for k in range(size)]

        def square(x: Value) -> list[Value]:
            mask, line_of_room = e.mask(e.minus(part.elements, x), size), e.times(x, room.pitch)
            for source in sources:
                e.a.prefetch(e.at(source, e.plus(x, e.times(part.pitch, e.number(_AHEAD)))))
            read = [e.a.masked_load(line, e.at(source, x), mask, False) for source in sources]
            for target, column in zip(targets, transposed(e.a, read, e.item), strict=True):
                e.a.store(column, e.at(target, line_of_room))
            return []

        return e.a.loop(e.number(0), part.elements, size, [], lambda x, _: square(x))

    return e.a.loop(e.number(0), part.lines, size, [], lambda l, _: squares(l))
