"""gemm_packing: parts of matrices arranged in a room, in the order in which gemm's innermost loop reads them.

    a stored by columns:            room[r, p] = a[p, r]            transposed by squares
    a strip of b, by columns:       room[p, c] = b[j + c, p]        transposed by squares, the same way
    a strip of b, by rows:          room[p, c] = b[p, j + c]        copied; columns beyond the last are 0
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


LINE = 64
"""Bytes of a line of a cache."""

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
    """Where element c of line p is: at p * pitch + c."""

    start: Value
    pitch: Value


def fetch_strip(e: Elements, start: Value) -> None:
    """Ask for a line of a strip, by where lines of the cache end: where arrays begin inside one, as NumPy's do, the
    strip before has brought the first."""
    size = STRIP_VECTORS * e.features.vector_bytes
    for end in range(min(LINE, size), size + 1, LINE):
        e.a.prefetch(e.at(start, e.number(end // e.item - 1)))


def copy_strip(e: Elements, part: Part, room: Room) -> list[Value]:
    """Line p of a part that is no wider than a strip becomes line p of the room; what is missing to a strip is 0."""
    masks = [e.mask(e.minus(part.elements, e.number(v * e.lanes)), e.lanes) for v in range(STRIP_VECTORS)]

    def copy(p: Value, full: bool) -> list[Value]:
        start, target = (e.at(place.start, e.times(p, place.pitch)) for place in (part, room))
        fetch_strip(e, e.at(start, e.times(part.pitch, e.number(_AHEAD))))
        for v, mask in enumerate(masks):
            offset = e.number(v * e.lanes)
            at = e.at(start, offset)
            read = e.a.load(e.lane, at, False) if full else e.a.masked_load(e.lane, at, mask, False)
            e.a.store(read, e.at(target, offset))
        return []

    def lines(full: bool) -> list[Value]:
        return e.a.loop(e.number(0), part.lines, 1, [], lambda p, _: copy(p, full))

    partial = e.less(part.elements, e.number(STRIP_VECTORS * e.lanes))
    e.a.when(e.not_(partial), [], lambda: lines(True))
    return e.a.when(partial, [], lambda: lines(False))


def transpose(e: Elements, part: Part, room: Room) -> list[Value]:
    """Element x of line l of the part becomes element l of line x of the room.

    Whole squares are written: up to the next multiple of their size in both directions.
    """
    size = side(e.item, e.features.vector_bytes)
    line = vector(e.real.dtype, size)
    last = e.minus(part.lines, e.number(1))

    def squares(l: Value) -> list[Value]:
        """Along lines l, l + 1, ... What is opaque about their addresses LLVM need not analyze, which takes it long."""
        numbers = [e.least(e.plus(l, e.number(k)), last) for k in range(size)]
        sources = [e.a.inside(e.at(part.start, e.times(n, part.pitch))) for n in numbers]
        start = e.at(room.start, l)
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
