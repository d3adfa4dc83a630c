"""gemm_packing: parts of matrices arranged in a room, in the order in which gemm's innermost loop reads them.

    a stored by columns:            room[r, p] = a[p, r]            transposed by squares
    a strip of b, by columns:       room[p, c] = b[j + c, p]        transposed by squares, the same way
    some strips of b, by rows:      room[p, c] = b[p, j + c]        copied; columns beyond the last are 0
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.structs import struct
from codegen.llvm_cpu.assembler import Value, vector
from codegen.llvm_cpu.gemm_panels import Elements
from codegen.llvm_cpu.squares import NEAR, transposed_near

LINE = 64
"""Bytes of a line of a cache."""

_AHEAD = 16
"""So many lines ahead are fetched: a part's lines are too short for the processor to see where the next begins. Squares
that are whole lines of a cache take 1.1 of the time with it."""


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


def copy_strips(e: Elements, part: Part, vectors: int, copied: Value, room: Room, apart: Value) -> list[Value]:
    """Line p of each strip of a part becomes line p of that strip's room; these are `apart` elements from each other.

    Strips are so many `vectors` wide. Full ones only if `copied`; one with fewer columns, the last, always, with 0 for
    what is missing.
    """
    strip = vectors * e.lanes
    full = e.a.binary("udiv", part.elements, e.number(strip))
    rest = e.minus(part.elements, e.times(full, e.number(strip)))
    masks = [e.mask(e.minus(rest, e.number(v * e.lanes)), e.lanes) for v in range(vectors)]

    def copy(p: Value, s: Value, masked: bool) -> list[Value]:
        start = e.at(part.start, e.plus(e.times(p, part.pitch), e.times(s, e.number(strip))))
        target = e.at(room.start, e.plus(e.times(p, room.pitch), e.times(s, apart)))
        for v, mask in enumerate(masks):
            offset = e.number(v * e.lanes)
            at = e.at(start, offset)
            read = e.a.masked_load(e.lane, at, mask, False) if masked else e.a.load(e.lane, at, False)
            e.a.store(read, e.at(target, offset))
        return []

    def lines(line: Callable[[Value], list[Value]]) -> list[Value]:
        return e.a.loop(e.number(0), part.lines, 1, [], lambda p, _: line(p))

    some = e.a.binary("and", copied, e.less(e.number(0), full))
    e.a.when(some, [], lambda: lines(lambda p: e.a.loop(
        e.number(0), full, 1, [], lambda s, _: copy(p, s, False))))
    return e.a.when(e.less(e.number(0), rest), [], lambda: lines(lambda p: copy(p, full, True)))


def transpose(e: Elements, part: Part, room: Room) -> list[Value]:
    """Element x of line l of the part becomes element l of line x of the room.

    In squares as wide as a vector, the last of which begins where it ends with the part's elements, and so computes
    some again; where all are fewer, lines are copied to where there are as many. Of the room's lines whole squares are
    written: up to the next multiple of their size.
    """
    a, size = e.a, e.lanes
    last, zero = e.minus(part.lines, e.number(1)), e.number(0)
    few, farthest = e.less(part.elements, e.number(size)), e.minus(part.elements, e.number(size))
    farthest = a.select(few, zero, farthest)
    mask, widened = e.mask(part.elements, size), a.room(size * size * e.item)

    def squares(l: Value) -> list[Value]:
        """Along lines l, l + 1, ... What is opaque about their addresses LLVM need not analyze, which takes it long."""
        numbers = [e.least(e.plus(l, e.number(k)), last) for k in range(size)]
        lines = [e.at(part.start, e.times(n, part.pitch)) for n in numbers]
        copies = [e.at(widened, e.number(k * size)) for k in range(size)]

        def copy() -> list[Value]:
            for line, own in zip(lines, copies, strict=True):
                a.store(a.masked_load(e.lane, line, mask, False), own)
            return []

        a.when(few, [], copy)
        sources = [a.inside(a.select(few, own, line)) for line, own in zip(lines, copies, strict=True)]
        start = e.at(room.start, l)
        targets = [a.inside(e.at(start, e.times(e.number(k), room.pitch))) for k in range(size)]

        def square(x: Value) -> list[Value]:
            if e.features.vector_bytes < LINE:
                for source in sources:
                    a.prefetch(e.at(source, e.plus(x, e.times(part.pitch, e.number(_AHEAD)))))
            line_of_room = e.times(x, room.pitch)
            columns = columns_of_square(e, [e.at(source, x) for source in sources])
            for target, column in zip(targets, columns, strict=True):
                a.store(column, e.at(target, line_of_room))
            return []

        return a.loop(zero, part.elements, size, [], lambda x, _: square(e.least(x, farthest)))

    return a.loop(zero, part.lines, size, [], lambda l, _: squares(l))


def columns_of_square(e: Elements, lines: list[Value]) -> list[Value]:
    """The columns of the square that begins at these addresses, put together of 16 bytes of each line.

    What loads put together need not be shuffled: within 16 bytes, lines as far apart as there are elements in them.
    """
    near = NEAR // e.item
    piece = vector(e.real.dtype, near)

    def joined(column: int, first: int) -> Value:
        parts = [e.a.load(piece, e.at(line, e.number(column)), False) for line in lines[first::near]]
        while len(parts) > 1:
            parts = [e.a.shuffle(x, y, range(2 * x.type.lanes)) for x, y in zip(parts[::2], parts[1::2])]
        return parts[0]

    return [column for j in range(0, e.lanes, near)
            for column in transposed_near(e.a, [joined(j, r) for r in range(near)], e.lanes)]
