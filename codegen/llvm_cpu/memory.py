"""Loads, stores and indirect accesses as LLVM instructions, at a Point of the nest.

1. Memory is touched only in lanes that exist and whose guards hold.
2. Where a check fails, 1 is stored to %failed; it is never otherwise written.
3. What a kernel only reads is read as far out as its index is known.
4. Past the caches goes only what is large, stored at neighbors, and not read by the kernel.
5. Lanes that are loaded a few elements apart are parts of a longer vector, of which the others are not read.
"""
from __future__ import annotations

from math import gcd

from codegen.ir.dims import Dim, Size, content
from codegen.ir.structs import struct
from codegen.ir.types import SIGNED
from codegen.llvm_cpu import halves, indexing, operations
from codegen.llvm_cpu.assembler import BYTES, I32, I64, Assembler, Type, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.halves import HALVES
from codegen.llvm_cpu.indexing import Affine, Point
from codegen.schedule.index import ZERO, add, coefficient, scale
from codegen.schedule.kernel import Gather, Index, Load, Param, Scatter, Store

LINE = 64
"""Bytes that memory is fetched in."""

BEYOND_CACHES, STREAMED = 40 << 20, 1 << 23
"""A kernel that goes over so many bytes in all leaves little of them in a last cache, so what it writes, if that is so
much, goes past it, which spares memory reading what is overwritten. Measured, 2 threads and a last cache of 32 MB:
multiplying 64 MB by a number takes 0.7 of the time, softmax and its derivative of 16 MB each 0.7, adding two arrays of
16 MB 0.75; of 12 MB, 36 in all, 1.1."""

PIECE = 16
"""Bytes that are streamed at once, at least."""

LONG_ROW = 1 << 14
"""Bytes from which on rows are worth beginning and ending under masks, to be streamed by lines."""

FARTHEST = 4
"""So far apart may lanes be that are taken from a longer vector. Against lane by lane, measured with f32 on AVX2: 2
apart takes 0.3 of the time, 3 apart 0.4, 4 apart 0.6. Storing under a mask of that kind takes twice as long."""


@struct
class Buffers:
    """The params of a kernel, where they lie, the flag of its checks, and what the processor can do.

    streamed: the buffers that are stored past the caches.
    """

    params: tuple[Param, ...]
    pointers: tuple[Value, ...]
    failed: Value
    features: Features
    streamed: frozenset[int] = frozenset()

    def element(self, buffer: int, lanes: int = 1) -> Type:
        """The type in memory: a bool is a byte, f16 and bf16 are their bits."""
        dtype = self.params[buffer].dtype
        return vector("u8" if dtype == "bool" else halves.MEMORY if dtype in HALVES else dtype, lanes)

    def read_only(self, buffer: int) -> bool:
        return self.params[buffer].access == "in"

    def large(self) -> frozenset[int]:
        """The buffers that it would be good to stream, with elements of one size."""
        sizes = {k: 0 if isinstance(p.size, Dim) else p.size * self.item(k) for k, p in enumerate(self.params)}
        if sum(sizes.values()) < BEYOND_CACHES:
            return frozenset()
        found = [k for k, p in enumerate(self.params) if p.access == "out" and sizes[k] >= STREAMED]
        return frozenset(k for k in found if self.item(k) == self.item(found[0]))

    def item(self, buffer: int) -> int:
        """Bytes of an element."""
        return BYTES[self.element(buffer).element]

    def alike(self, a: Assembler, buffers: frozenset[int], unit: int) -> Value:
        """Are all these buffers as far into a unit of memory, a line or a piece, and by whole pieces?"""
        first, *others = (a.convert("ptrtoint", self.pointers[k], I64) for k in sorted(buffers))
        differ = a.binary("and", first, a.constant(I64, PIECE - 1))
        for other in others:
            apart = a.binary("and", a.binary("xor", first, other), a.constant(I64, unit - 1))
            differ = a.binary("or", differ, apart)
        return a.compare("icmp eq", differ, a.constant(I64, 0))

    def phase(self, a: Assembler, buffer: int) -> Value:
        """How many elements into a line of memory a buffer begins."""
        place, item = a.convert("ptrtoint", self.pointers[buffer], I64), self.item(buffer)
        elements = a.binary("lshr", place, a.constant(I64, item.bit_length() - 1))
        return a.binary("and", elements, a.constant(I64, LINE // item - 1))

    def by_lines(self, buffer: int, index: Index, along: str, beside: Index = ZERO) -> bool:
        """Does all that is in an index, but the steps along an axis, which are to neighbors, go by whole lines?

        All that is in it and not in the index `beside`.
        """
        line, apart = LINE // self.item(buffer), add(index, scale(beside, -1))
        others = [content(c) for term, c in apart.terms if term != along]
        return coefficient(index, along) == 1 and all(c % line == 0 for c in (*others, content(apart.constant)))

    def fetch(self, a: Assembler, point: Point, buffer: int, index: Index, near: int) -> None:
        """Ask for the lines that hold the lanes at an index, which may be past the end of the buffer."""
        form, element = indexing.affine(a, point, index), self.element(buffer)
        assert form is not None
        for lane in range(0, point.lanes, LINE // BYTES[element.element]):
            at = a.binary("add nsw", form.base, a.constant(I64, lane)) if lane else form.base
            a.prefetch(a.address(self.pointers[buffer], element, at), near)

    def narrow(self, buffer: int) -> bool:
        """Do all indices of it fit i32?"""
        size = self.params[buffer].size
        return isinstance(size, Dim) or size < 1 << 30


def _from_memory(a: Assembler, buffers: Buffers, buffer: int, x: Value) -> Value:
    dtype = buffers.params[buffer].dtype
    if dtype in HALVES:
        return halves.load_bits(a, buffers.features, x, dtype)
    return a.compare("icmp ne", x, a.constant(x.type, 0)) if dtype == "bool" else x


def _to_memory(a: Assembler, buffers: Buffers, x: Value) -> Value:
    if x.type.dtype in HALVES:
        return halves.store_bits(a, buffers.features, x)
    return a.convert("zext", x, vector("u8", x.type.lanes)) if x.type.dtype == "bool" else x


# ---- direct --------------------------------------------------------------------------------------------------------


def load(a: Assembler, buffers: Buffers, point: Point, s: Load) -> Value:
    """buffer[index], 0 where a guard does not hold; a scalar where it is the same in every lane."""
    if buffers.params[s.buffer].size == 0 or indexing.fails(point, s.guards):
        return a.constant(vector(buffers.params[s.buffer].dtype), 0)
    scalar, vectors = indexing.held_apart(a, point, s.guards)
    held = indexing.both(a, scalar, vectors)
    form = indexing.affine(a, point, s.index)
    if form is not None and form.step == 0 and _same_in_all_lanes(held):
        return _from_memory(a, buffers, s.buffer, _read_scalar(a, buffers, s.buffer, form.base, held))
    if form is not None and form.step == 0:
        x = _from_memory(a, buffers, s.buffer, _read_anyway(a, buffers, s.buffer, form.base))
        return operations.select(a, held, x, a.constant(x.type, 0)) if held is not None else x
    if form is not None and form.step == 1 and held is not None and point.mask is None:
        type = buffers.element(s.buffer, point.lanes)
        return _from_memory(a, buffers, s.buffer, _read_guarded(a, buffers, s.buffer, type, form, scalar, vectors))
    type, mask = buffers.element(s.buffer, point.lanes), indexing.both(a, point.mask, held)
    if form is not None and abs(form.step) == 1:
        return _from_memory(a, buffers, s.buffer, _read_contiguous(a, buffers, s.buffer, type, form, mask))
    if form is not None and 1 < form.step <= FARTHEST:
        return _from_memory(a, buffers, s.buffer, _read_apart(a, buffers, s.buffer, type, form, mask))
    address = a.address(buffers.pointers[s.buffer], type, indexing.lanes(a, point, s.index))
    x = a.masked_load(type, address, _mask(a, mask, point.lanes), buffers.read_only(s.buffer))
    return _from_memory(a, buffers, s.buffer, x)


def _same_in_all_lanes(mask: Value | None) -> bool:
    return mask is None or mask.type.lanes == 1


def _read_scalar(a: Assembler, buffers: Buffers, buffer: int, index: Value, held: Value | None) -> Value:
    """One element, at index 0 where `held` does not hold, and then not taken."""
    type, zero = buffers.element(buffer), a.constant(I64, 0)
    where = index if held is None else a.select(held, index, zero)
    x = a.load(type, a.address(buffers.pointers[buffer], type, where), buffers.read_only(buffer))
    return x if held is None else a.select(held, x, a.constant(type, 0))


def _read_anyway(a: Assembler, buffers: Buffers, buffer: int, index: Value) -> Value:
    """One element, some other one where the index is outside: a guard that differs from lane to lane decides later."""
    type, size = buffers.element(buffer), a.size(buffers.params[buffer].size)
    where = a.select(a.compare("icmp ult", index, size), index, a.constant(I64, 0))
    return a.load(type, a.address(buffers.pointers[buffer], type, where), buffers.read_only(buffer))


def _read_contiguous(a: Assembler, buffers: Buffers, buffer: int, type: Type, form: Affine,
                     mask: Value | None) -> Value:
    """Neighbors in memory; those of a negative step are read forwards and then reversed."""
    backwards, invariant = form.step < 0, buffers.read_only(buffer)
    order = range(type.lanes - 1, -1, -1)
    first = a.binary("add nsw", form.base, a.constant(I64, 1 - type.lanes)) if backwards else form.base
    address = a.address(buffers.pointers[buffer], type, first)
    if mask is None:
        x = a.load(type, address, invariant)
    else:
        mask = a.splat(mask, type.lanes)
        x = a.masked_load(type, address, a.shuffle(mask, mask, order) if backwards else mask, invariant)
    return a.shuffle(x, x, order) if backwards else x


def _read_guarded(a: Assembler, buffers: Buffers, buffer: int, type: Type, form: Affine, scalar: Value | None,
                  vectors: Value | None) -> Value:
    """Neighbors in memory where guards hold, else 0: all are read and those kept, unless not all are in the buffer.

    Nothing is read where a guard holds in no lane. A masked load would do, but processors do not fetch ahead for it.
    """
    zero = a.constant(type, 0)

    def whole() -> list[Value]:
        x = _read_contiguous(a, buffers, buffer, type, form, None)
        return [x if vectors is None else a.select(vectors, x, zero)]

    def read() -> list[Value]:
        room = buffers.params[buffer].size - type.lanes + 1
        if vectors is None or isinstance(room, int) and room < 1:
            return whole() if vectors is None else [_read_contiguous(a, buffers, buffer, type, form, vectors)]
        most = a.size(room) if isinstance(room, int) else a.intrinsic("smax", a.size(room), a.constant(I64, 0))
        inside = a.compare("icmp ult", form.base, most)
        outside = a.binary("xor", inside, a.constant(vector("bool"), True))
        x = a.when(inside, [zero], whole)
        return a.when(outside, x, lambda: [_read_contiguous(a, buffers, buffer, type, form, vectors)])

    x, = read() if scalar is None else a.when(scalar, [zero], read)
    return x


def _read_apart(a: Assembler, buffers: Buffers, buffer: int, type: Type, form: Affine, mask: Value | None) -> Value:
    """Every form.step-th of a longer vector."""
    wide, step = vector(type.dtype, type.lanes * form.step), form.step
    address = a.address(buffers.pointers[buffer], wide, form.base)
    x = a.masked_load(wide, address, _apart(a, mask, type.lanes, step), buffers.read_only(buffer))
    return a.shuffle(x, x, range(0, wide.lanes, step))


def _apart(a: Assembler, mask: Value | None, lanes: int, step: int) -> Value:
    """A mask for every step-th lane of a longer vector."""
    none = a.constant(vector("bool", lanes), False)
    return a.shuffle(_mask(a, mask, lanes), none, [lanes if k % step else k // step for k in range(lanes * step)])


def _mask(a: Assembler, mask: Value | None, lanes: int) -> Value:
    return a.splat(a.constant(vector("bool"), True) if mask is None else mask, lanes)


def store(a: Assembler, buffers: Buffers, point: Point, s: Store, x: Value) -> None:
    """buffer[index] = x."""
    form = indexing.affine(a, point, s.index)
    pointer, type = buffers.pointers[s.buffer], buffers.element(s.buffer, point.lanes)
    x = _to_memory(a, buffers, x)
    if form is not None and form.step == 0 and x.type.lanes == 1:
        a.store(x, a.address(pointer, type, form.base))
        return
    x = a.splat(x, point.lanes)
    if form is None or form.step != 1:
        address = a.address(pointer, type, indexing.lanes(a, point, s.index))
        a.masked_store(x, address, _mask(a, point.mask, point.lanes))
    elif point.mask is not None:
        a.masked_store(x, a.address(pointer, type, form.base), point.mask)
    elif piece := _streamed_piece(buffers, point, s, form):
        a.stream(x, a.address(pointer, type, form.base), piece)
    else:
        a.store(x, a.address(pointer, type, form.base))


def _streamed_piece(buffers: Buffers, point: Point, s: Store, form: Affine) -> int:
    """What a store of neighbors past the caches is at a multiple of, a line or a PIECE; 0 if it does not go there."""
    size = point.lanes * buffers.item(s.buffer)
    if s.buffer not in buffers.streamed or point.vector is None or size < PIECE:
        return 0
    if point.with_lines is not None and buffers.by_lines(s.buffer, s.index, point.vector, point.with_lines):
        return min(LINE, size)
    return PIECE if gcd(form.aligned, point.lanes) * buffers.item(s.buffer) % PIECE == 0 else 0


# ---- indirect ------------------------------------------------------------------------------------------------------


def _checked(a: Assembler, buffers: Buffers, point: Point, k: Value, size: Size, held: Value | None,
             dtype: str) -> tuple[Value, Value]:
    """k counted from the start, as `dtype`, and where it is in bounds (and held); else the check fails."""
    signed = k.type.dtype in SIGNED
    k = operations.to_integer(a, k, dtype)
    count = a.size_in_lanes(size, k.type)
    if signed:
        k = a.select(a.compare("icmp slt", k, a.constant(k.type, 0)), a.binary("add", k, count), k)
    good = a.compare("icmp ult", k, count)
    bad = indexing.both(a, a.binary("xor", good, a.constant(good.type, True)), held)
    if bad.type.lanes > 1:
        bad = a.intrinsic("vector.reduce.or", indexing.both(a, bad, point.mask), type=vector("bool"))
    a.store_if(bad, a.constant(I32, 1), buffers.failed)
    return k, indexing.both(a, good, held)


def _index_dtype(buffers: Buffers, buffer: int, k: Value, size: Size) -> str:
    small = k.type.dtype in ("i8", "u8", "i16", "u16", "i32") and (isinstance(size, Dim) or size < 1 << 30)
    return "i32" if small and buffers.narrow(buffer) else "i64"


def gather(a: Assembler, buffers: Buffers, point: Point, s: Gather, k: Value) -> Value:
    """buffer[base + stride * k], 0 where a guard does not hold and where k is out of bounds."""
    if buffers.params[s.buffer].size == 0:
        dtype = buffers.params[s.buffer].dtype
        _checked(a, buffers, point, k, s.size, indexing.holds(a, point, s.guards), "i64")
        return a.constant(vector(dtype), 0)
    held = indexing.holds(a, point, s.guards)
    form = indexing.affine(a, point, s.base)
    if k.type.lanes == 1 and _same_in_all_lanes(held) and form is not None and abs(form.step) <= 1:
        return _gather_row(a, buffers, point, s, k, form, held)
    dtype = _index_dtype(buffers, s.buffer, k, s.size)
    k, usable = _checked(a, buffers, point, k, s.size, held, dtype)
    type = buffers.element(s.buffer, point.lanes)
    row = a.splat(a.binary("mul", k, a.size_in_lanes(s.stride, k.type)), point.lanes)
    base = operations.to_integer(a, indexing.lanes(a, point, s.base), dtype)
    address = a.address(buffers.pointers[s.buffer], type, a.binary("add", base, row))
    mask = indexing.both(a, usable, point.mask)
    x = a.masked_load(type, address, _mask(a, mask, point.lanes), buffers.read_only(s.buffer))
    return _from_memory(a, buffers, s.buffer, x)


def _gather_row(a: Assembler, buffers: Buffers, point: Point, s: Gather, k: Value, form: Affine,
                held: Value | None) -> Value:
    """One k for all lanes: a direct load whose index is moved by it, to row 0 where k is out of bounds."""
    k, usable = _checked(a, buffers, point, k, s.size, held, "i64")
    row = a.binary("mul", k, a.size(s.stride))
    if form.step == 0:
        x = _read_scalar(a, buffers, s.buffer, a.binary("add", form.base, row), usable)
    else:
        type = buffers.element(s.buffer, point.lanes)
        moved = Affine(a.binary("add", form.base, row), form.step, 1)
        x = _read_contiguous(a, buffers, s.buffer, type, moved, indexing.both(a, usable, point.mask))
    return _from_memory(a, buffers, s.buffer, x)


def scatter(a: Assembler, buffers: Buffers, point: Point, s: Scatter, k: Value, x: Value) -> None:
    """buffer[base + stride * k] += x, or = x, where k is in bounds; scalars only."""
    k, usable = _checked(a, buffers, point, k, s.size, None, "i64")
    form = indexing.affine(a, point, s.base)
    assert form is not None and x.type.lanes == 1
    type = buffers.element(s.buffer)

    def write() -> list[Value]:
        index = a.binary("add", form.base, a.binary("mul", k, a.size(s.stride)))
        address = a.address(buffers.pointers[s.buffer], type, index)
        after = x
        if s.kind == "add":
            before = _from_memory(a, buffers, s.buffer, a.load(type, address, False))
            after = operations.binary(a, buffers.features, "add", before, x)
        a.store(_to_memory(a, buffers, after), address)
        return []

    a.when(usable, [], write)
