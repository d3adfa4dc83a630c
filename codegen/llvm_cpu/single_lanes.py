"""Lanes one after the other, or a few together: accesses for which the processor has no instruction.

    the first n of 64 bytes        if n & 32: room[0:32] = ..   if n & 16: room[n & 32 : ..] = ..   ...     x = room
    lanes 20 elements apart        for k < lanes: room[k] = b[20*k]                                         x = room

and stores the other way. LLVM would make a branch for each lane that a mask may hide, and compute each lane's address
in a vector: a kernel of bytes took 0.1 s to compile, one that reads every other of them 1.1 s.

1. No element is touched but those of lanes that exist.
2. Lanes that are not read are 0.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.assembler import BYTES, I64, Assembler, Type, Value, vector

AT_ONCE = 8
"""Lanes in a turn of a loop over all of them."""

Where = Callable[[Value, int], Value]
"""The address of lane number k + some more."""


def read_few(a: Assembler, type: Type, address: Value, count: int, invariant: bool) -> Value:
    """The first `count` lanes, a number, from an address on."""
    x, lanes = a.constant(type, 0), range(type.lanes)
    for size, before in _pieces(type.lanes, count):
        at = a.address(address, vector(type.dtype), a.constant(I64, before))
        piece = a.load(vector(type.dtype, size), at, invariant)
        if size == 1:
            x = a.insert(x, piece, before)
        else:
            wide = a.shuffle(piece, piece, [min(max(k - before, 0), size - 1) for k in lanes])
            x = a.shuffle(x, wide, [k + type.lanes * (before <= k < before + size) for k in lanes])
    return x


def read_first(a: Assembler, type: Type, address: Value, count: Value) -> Value:
    """The first `count` lanes, which are not all, from an address on."""
    room = _empty(a, type)
    _copy_first(a, type, count, address, room)
    return a.load(type, room, False)


def write_first(a: Assembler, x: Value, address: Value, count: Value) -> None:
    """Store the first `count` lanes, which are not all, from an address on."""
    if count.number is not None:
        for size, before in _pieces(x.type.lanes, count.number):
            piece = a.shuffle(x, x, range(before, before + size)) if size > 1 else a.extract(x, before)
            a.store(piece, a.address(address, vector(x.type.dtype), a.constant(I64, before)))
        return
    room = _room(a, x.type)
    a.store(x, room)
    _copy_first(a, x.type, count, room, address)


def read_each(a: Assembler, type: Type, where: Where, count: Value | None, mask: Value | None = None) -> Value:
    """Each lane from its own address: the first `count` only, if given, and only where the mask holds, if given."""
    room = _room(a, type) if count is None and mask is None else _empty(a, type)
    element = vector(type.dtype)

    def read(k: Value, more: int) -> list[Value]:
        a.store(a.load(element, where(k, more), False), _beyond(a, element, room, k, more))
        return []

    if mask is None:
        _each(a, type.lanes, count, read)
        return a.load(type, room, False)
    flag, flags = vector("u8"), vector("u8", type.lanes)
    held = a.shared_room("mask", type.lanes)
    a.store(a.convert("zext", mask, flags), held)

    def read_held(k: Value, _: int) -> list[Value]:
        holds = a.compare("icmp ne", a.load(flag, a.address(held, flag, k), False), a.constant(flag, 0))
        return a.when(holds, [], lambda: read(k, 0))

    _each(a, type.lanes, count or a.constant(I64, type.lanes), read_held)
    return a.load(type, room, False)


def write_each(a: Assembler, x: Value, where: Where, count: Value | None) -> None:
    """Store each lane to its own address, in order; the first `count` only, if given."""
    room, element = _room(a, x.type), vector(x.type.dtype)
    a.store(x, room)

    def write(k: Value, more: int) -> list[Value]:
        a.store(a.load(element, _beyond(a, element, room, k, more), False), where(k, more))
        return []

    _each(a, x.type.lanes, count, write)


def apart(a: Assembler, element: Type, first: Value, step: int) -> Where:
    """Lanes that are `step` elements apart."""
    def where(k: Value, more: int) -> Value:
        index = k if step == 1 else a.binary("mul nsw", k, a.constant(I64, step))
        return _beyond(a, element, first, index, more * step)

    return where


def indexed(a: Assembler, element: Type, pointer: Value, indices: Value) -> Where:
    """Lanes that are at the indices, a vector, from a pointer on."""
    room, one = a.shared_room("indices", _bytes(indices.type)), vector(indices.type.dtype)
    a.store(indices, room)

    def where(k: Value, more: int) -> Value:
        return a.address(pointer, element, a.load(one, _beyond(a, one, room, k, more), False))

    return where


def _bytes(type: Type) -> int:
    return type.lanes * BYTES[type.element]


def _room(a: Assembler, type: Type) -> Value:
    return a.shared_room("lanes", _bytes(type))


def _empty(a: Assembler, type: Type) -> Value:
    """Room for the lanes, all of them 0."""
    room = _room(a, type)
    a.store(a.constant(type, 0), room)
    return room


def _beyond(a: Assembler, element: Type, pointer: Value, k: Value, more: int) -> Value:
    """The address of element k + more, as one that is a fixed way from that of element k."""
    at = a.address(pointer, element, k)
    return a.address(at, element, a.constant(I64, more)) if more else at


def _each(a: Assembler, lanes: int, count: Value | None, do: Callable[[Value, int], list[Value]]) -> None:
    """For all lanes, some at a time, or for the first `count`, of which there is at least one."""
    together = min(lanes, AT_ONCE) if count is None else 1

    def several(k: Value, _: list[Value]) -> list[Value]:
        for more in range(together):
            do(k, more)
        return []

    a.loop(a.constant(I64, 0), a.constant(I64, lanes) if count is None else count, together, [], several)


def _pieces(lanes: int, count: int) -> list[tuple[int, int]]:
    """The powers of two that a count below `lanes` is the sum of, and the sum of those before each."""
    sizes = [1 << k for k in reversed(range(lanes.bit_length() - 1))]
    return [(size, count & -2 * size) for size in sizes if count & size]


def _copy_first(a: Assembler, type: Type, count: Value, source: Value, target: Value) -> None:
    """In pieces of half, a quarter .. of the lanes: those whose sum `count` is."""
    element = vector(type.dtype)
    for size, _ in _pieces(type.lanes, type.lanes - 1):
        piece, before = vector(type.dtype, size), a.binary("and", count, a.constant(I64, -2 * size))

        def copy(piece: Type = piece, before: Value = before) -> list[Value]:
            a.store(a.load(piece, a.address(source, element, before), False), a.address(target, element, before))
            return []

        needed = a.compare("icmp ne", a.binary("and", count, a.constant(I64, size)), a.constant(I64, 0))
        a.when(needed, [], copy)
