"""Loads and stores as LLVM instructions, at a Point of the nest.

1. Memory is written only in lanes that exist. It is read only in lanes that exist and whose guards hold, and between
   those and beyond them where a longer vector is still inside the buffer: of what is found there nothing is used.
2. What a kernel only reads is read as far out as its index is known.
3. Past the caches goes only what is large, stored at neighbors, and not read by the kernel. Is that known only when it
   runs, or where in memory an array begins, it is asked at each vector: a jump that always goes one way costs nothing.
"""
from __future__ import annotations

from math import gcd

from codegen.ir.dims import Dim, content
from codegen.ir.structs import struct
from codegen.llvm_cpu import halves, indexing, operations, single_lanes
from codegen.llvm_cpu.assembler import BYTES, I64, Assembler, Type, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.halves import HALVES
from codegen.llvm_cpu.indexing import Affine, Point
from codegen.schedule.index import ZERO, add, coefficient, scale
from codegen.schedule.kernel import Index, Load, Param, Store

LINE = 64
"""Bytes that memory is fetched in."""

BEYOND_CACHES, STREAMED = 40 << 20, 1 << 23
"""A kernel that goes over so many bytes in all leaves little of them in a last cache, so what it writes, if that is so
much, goes past it, which spares memory reading what is overwritten. Measured, 2 threads and a last cache of 32 MB:
multiplying 64 MB by a number takes 0.7 of the time, softmax and its derivative of 16 MB each 0.7, adding two arrays of
16 MB 0.75; of 12 MB, 36 in all, 1.1."""

PIECE = 16
"""Bytes that are streamed at once, at least. Where a vector begins with one, as any array of NumPy does, all but the
first and the last are streamed in units of two: softmax and its derivative take 0.91 of the time."""

UNIT = 32
"""Bytes that are streamed at once, at most, where no line is known to begin."""

LONG_ROW, BROKEN_ROW = 1 << 14, 1 << 8
"""Bytes from which on rows are worth beginning and ending under masks, to be streamed by lines: rows of whole lines,
and others. The others begin anywhere, and lines that are written partly past the caches and partly not take longest, so
shorter ones are not streamed. 64 MB in rows of 4094 numbers, a stencil, take 0.79 of the time, of 516 0.3, cropped rows
of 131 0.35, a softmax of rows of 67 0.25."""

FARTHEST = 4
"""So far apart may lanes be that are taken from a longer vector. Against lane by lane, measured with f32 on AVX2: 2
apart takes 0.3 of the time, 3 apart 0.4, 4 apart 0.6. Storing under a mask of that kind takes twice as long."""


@struct
class Buffers:
    """The params of a kernel, where they lie, the flag of its checks, and what the processor can do.

    streamed: the buffers that are stored past the caches, or are if they turn out to be large.
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
        sizes = {k: p.size * self.item(k) for k, p in enumerate(self.params)}
        numbers = [size for size in sizes.values() if isinstance(size, int)]
        if len(numbers) < len(sizes) or sum(numbers) < BEYOND_CACHES:
            return frozenset()
        found = [k for k, p in enumerate(self.params) if p.access == "out" and numbers[k] >= STREAMED]
        return frozenset(k for k in found if self.item(k) == self.item(found[0]))

    def perhaps_large(self) -> frozenset[int]:
        """Those for which that is known only when sizes are."""
        if not any(isinstance(p.size, Dim) for p in self.params):
            return frozenset()
        return frozenset(k for k, p in enumerate(self.params) if p.access == "out" and (
            isinstance(p.size, Dim) or p.size * self.item(k) >= STREAMED))

    def is_large(self, a: Assembler, buffer: int) -> Value | None:
        """Is a buffer that is perhaps large so large that it is to be streamed? None if that is known."""
        sizes = [p.size * self.item(k) for k, p in enumerate(self.params)]
        total = sum(sizes)
        if isinstance(total, int):
            return None
        beyond = a.compare("icmp sge", a.size(total), a.constant(I64, BEYOND_CACHES))
        return a.binary("and", beyond, a.compare("icmp sge", a.size(sizes[buffer]), a.constant(I64, STREAMED)))

    def item(self, buffer: int) -> int:
        """Bytes of an element."""
        return BYTES[self.element(buffer).element]

    def alike(self, a: Assembler, buffers: frozenset[int]) -> Value:
        """Are all these buffers as far into a line of memory, and by whole pieces?"""
        first, *others = (a.convert("ptrtoint", self.pointers[k], I64) for k in sorted(buffers))
        differ = a.binary("and", first, a.constant(I64, PIECE - 1))
        for other in others:
            apart = a.binary("and", a.binary("xor", first, other), a.constant(I64, LINE - 1))
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

    def broken(self, a: Assembler, buffer: int, index: Index, along: str) -> Value:
        """Is there something in an index, besides the steps along an axis, that goes by no whole lines?"""
        line, others = LINE // self.item(buffer), [c for term, c in index.terms if term != along]
        odd = a.constant(I64, 0)
        for c in others:
            if content(c) % line:
                odd = a.binary("or", odd, a.binary("and", a.size(c), a.constant(I64, line - 1)))
        return a.compare("icmp ne", odd, a.constant(I64, 0))

    def fetch(self, a: Assembler, point: Point, buffer: int, index: Index, near: int) -> None:
        """Ask for the lines that hold the lanes at an index, which may be past the end of the buffer."""
        form = indexing.affine(a, point, index)
        assert form is not None
        self.fetch_lines(a, buffer, form.base, point.lanes, near)

    def fetch_lines(self, a: Assembler, buffer: int, first: Value, count: int, near: int) -> None:
        """Ask for the lines that hold `count` elements from `first` on, wherever that is."""
        element = self.element(buffer)
        for lane in range(0, count, LINE // BYTES[element.element]):
            at = a.binary("add", first, a.constant(I64, lane)) if lane else first
            a.prefetch(a.address(self.pointers[buffer], element, at), near)

    def narrow(self, buffer: int) -> bool:
        """Do all indices of it fit i32?"""
        size = self.params[buffer].size
        return isinstance(size, Dim) or size < 1 << 30


def from_memory(a: Assembler, buffers: Buffers, buffer: int, x: Value) -> Value:
    dtype = buffers.params[buffer].dtype
    if dtype in HALVES:
        return halves.load_bits(a, buffers.features, x, dtype)
    return a.compare("icmp ne", x, a.constant(x.type, 0)) if dtype == "bool" else x


def to_memory(a: Assembler, buffers: Buffers, x: Value) -> Value:
    if x.type.dtype in HALVES:
        return halves.store_bits(a, buffers.features, x)
    return a.convert("zext", x, vector("u8", x.type.lanes)) if x.type.dtype == "bool" else x


def load(a: Assembler, buffers: Buffers, point: Point, s: Load) -> Value:
    """buffer[index], 0 where a guard does not hold; a scalar where it is the same in every lane."""
    if buffers.params[s.buffer].size == 0 or indexing.fails(point, s.guards):
        return a.constant(vector(buffers.params[s.buffer].dtype), 0)
    scalar, vectors = indexing.held_apart(a, point, s.guards)
    held = indexing.both(a, scalar, vectors)
    form = indexing.affine(a, point, s.index)
    if form is not None and form.step == 0 and same_in_all_lanes(held):
        return from_memory(a, buffers, s.buffer, read_scalar(a, buffers, s.buffer, form.base, held))
    if form is not None and form.step == 0:
        x = from_memory(a, buffers, s.buffer, _read_anyway(a, buffers, s.buffer, form.base))
        return operations.select(a, held, x, a.constant(x.type, 0)) if held is not None else x
    if form is not None and form.step == 1 and held is not None and point.count is None:
        x = _read_guarded(a, buffers, point, s.buffer, form, scalar, vectors)
    elif form is not None and abs(form.step) == 1:
        x = read_contiguous(a, buffers, point, s.buffer, form, held)
    elif form is not None and 1 < form.step <= FARTHEST:
        x = _read_apart(a, buffers, point, s.buffer, form, held)
    else:
        x = read_anywhere(a, buffers, point, s.buffer, form or indexing.lanes(a, point, s.index), held)
    return from_memory(a, buffers, s.buffer, x)


def same_in_all_lanes(mask: Value | None) -> bool:
    return mask is None or mask.type.lanes == 1


def read_scalar(a: Assembler, buffers: Buffers, buffer: int, index: Value, held: Value | None) -> Value:
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


def read_contiguous(a: Assembler, buffers: Buffers, point: Point, buffer: int, form: Affine,
                    held: Value | None) -> Value:
    """Neighbors in memory; those of a negative step are read forwards and then reversed."""
    type, backwards, invariant = buffers.element(buffer, point.lanes), form.step < 0, buffers.read_only(buffer)
    mask, order = indexing.both(a, point.mask(a), held), range(type.lanes - 1, -1, -1)
    first = a.binary("add nsw", form.base, a.constant(I64, 1 - type.lanes)) if backwards else form.base
    address = a.address(buffers.pointers[buffer], type, first)
    if mask is None:
        x = a.load(type, address, invariant)
    elif buffers.features.reads_masked(buffers.item(buffer)):
        mask = a.splat(mask, type.lanes)
        x = a.masked_load(type, address, a.shuffle(mask, mask, order) if backwards else mask, invariant)
    elif held is None and point.count is not None and not backwards:
        if point.count.number is not None:
            return single_lanes.read_few(a, type, address, point.count.number, invariant)
        return _read_first(a, buffers, buffer, type, first, point.count)
    else:
        return read_anywhere(a, buffers, point, buffer, form, held)
    return a.shuffle(x, x, order) if backwards else x


def _read_first(a: Assembler, buffers: Buffers, buffer: int, type: Type, first: Value, count: Value) -> Value:
    """The first `count` lanes from index `first` on; what comes then is read, too, where it is in the buffer.

    A vector that was just stored in pieces waits until all are in the first cache: rows of 17 take a third of the time.
    """
    address = a.address(buffers.pointers[buffer], type, first)
    inside = _ends_inside(a, buffers, buffer, first, type.lanes)
    found = a.when(inside, [a.constant(type, 0)], lambda: [a.load(type, address, False)])
    rest = a.binary("xor", inside, a.constant(inside.type, True))
    return a.when(rest, found, lambda: [single_lanes.read_first(a, type, address, count)])[0]


def _ends_inside(a: Assembler, buffers: Buffers, buffer: int, first: Value, count: int) -> Value:
    """Are so many elements from index `first` on all in the buffer?"""
    end = a.binary("add nsw", first, a.constant(I64, count))
    return a.compare("icmp sle", end, a.size(buffers.params[buffer].size))


def _read_guarded(a: Assembler, buffers: Buffers, point: Point, buffer: int, form: Affine, scalar: Value | None,
                  vectors: Value | None) -> Value:
    """Neighbors in memory where guards hold, else 0: all are read and those kept, unless not all are in the buffer.

    Nothing is read where a guard holds in no lane. A masked load would do, but processors do not fetch ahead for it.
    """
    type = buffers.element(buffer, point.lanes)
    zero = a.constant(type, 0)

    def whole() -> list[Value]:
        x = read_contiguous(a, buffers, point, buffer, form, None)
        return [x if vectors is None else a.select(vectors, x, zero)]

    def read() -> list[Value]:
        room = buffers.params[buffer].size - type.lanes + 1
        if vectors is None or isinstance(room, int) and room < 1:
            return whole() if vectors is None else [read_contiguous(a, buffers, point, buffer, form, vectors)]
        most = a.size(room) if isinstance(room, int) else a.intrinsic("smax", a.size(room), a.constant(I64, 0))
        inside = a.compare("icmp ult", form.base, most)
        outside = a.binary("xor", inside, a.constant(vector("bool"), True))
        x = a.when(inside, [zero], whole)
        return a.when(outside, x, lambda: [read_contiguous(a, buffers, point, buffer, form, vectors)])

    x, = read() if scalar is None else a.when(scalar, [zero], read)
    return x


def _read_apart(a: Assembler, buffers: Buffers, point: Point, buffer: int, form: Affine, held: Value | None) -> Value:
    """Every form.step-th of a longer vector."""
    lanes, step, mask = point.lanes, form.step, indexing.both(a, point.mask(a), held)
    wide = buffers.element(buffer, lanes * step)
    address = a.address(buffers.pointers[buffer], wide, form.base)

    def one_by_one() -> list[Value]:
        return [read_anywhere(a, buffers, point, buffer, form, held)]

    def chosen(x: Value) -> Value:
        return a.shuffle(x, x, range(0, wide.lanes, step))

    def all_lanes() -> list[Value]:
        return [chosen(a.load(wide, address, False))]

    if buffers.features.writes_masked() or mask is not None and buffers.features.reads_masked(buffers.item(buffer)):
        return chosen(a.masked_load(wide, address, _apart(a, mask, lanes, step), buffers.read_only(buffer)))
    if mask is not None:
        return one_by_one()[0]
    inside = _ends_inside(a, buffers, buffer, form.base, wide.lanes)
    found = a.when(inside, [a.constant(buffers.element(buffer, lanes), 0)], all_lanes)
    return a.when(a.binary("xor", inside, a.constant(inside.type, True)), found, one_by_one)[0]


def _apart(a: Assembler, mask: Value | None, lanes: int, step: int) -> Value:
    """A mask for every step-th lane of a longer vector."""
    none = a.constant(vector("bool", lanes), False)
    return a.shuffle(_mask(a, mask, lanes), none, [lanes if k % step else k // step for k in range(lanes * step)])


def read_anywhere(a: Assembler, buffers: Buffers, point: Point, buffer: int, where: Affine | Value,
                  held: Value | None) -> Value:
    """Lanes at any indices: where an affine index says, or at those in a vector."""
    type, pointer, item = buffers.element(buffer, point.lanes), buffers.pointers[buffer], buffers.item(buffer)
    if buffers.features.gathers(item):
        if isinstance(where, Affine):
            where = indexing.spread(a, where, "i32" if buffers.narrow(buffer) else "i64", point.lanes)
        mask = _mask(a, indexing.both(a, point.mask(a), held), point.lanes)
        return a.masked_load(type, a.address(pointer, type, where), mask, buffers.read_only(buffer))
    if held is None:
        return single_lanes.read_each(a, type, _places(a, buffers, buffer, where), point.count)
    held = a.splat(held, point.lanes)
    if isinstance(where, Affine):
        return single_lanes.read_each(a, type, _places(a, buffers, buffer, where), point.count, held)
    where = a.select(held, where, a.constant(where.type, 0))        # there is an element 0
    x = single_lanes.read_each(a, type, _places(a, buffers, buffer, where), point.count)
    return a.select(held, x, a.constant(type, 0))


def _places(a: Assembler, buffers: Buffers, buffer: int, where: Affine | Value) -> single_lanes.Where:
    """The address of each lane."""
    element, pointer = buffers.element(buffer), buffers.pointers[buffer]
    if isinstance(where, Affine):
        return single_lanes.apart(a, element, a.address(pointer, element, where.base), where.step)
    return single_lanes.indexed(a, element, pointer, where)


def _mask(a: Assembler, mask: Value | None, lanes: int) -> Value:
    return a.splat(a.constant(vector("bool"), True) if mask is None else mask, lanes)


def store(a: Assembler, buffers: Buffers, point: Point, s: Store, x: Value) -> None:
    """buffer[index] = x."""
    form = indexing.affine(a, point, s.index)
    pointer, type = buffers.pointers[s.buffer], buffers.element(s.buffer, point.lanes)
    x = to_memory(a, buffers, x)
    if form is not None and form.step == 0 and x.type.lanes == 1:
        a.store(x, a.address(pointer, type, form.base))
        return
    x = a.splat(x, point.lanes)
    if form is None or form.step != 1:
        _write_anywhere(a, buffers, point, s, form, x)
        return
    address = a.address(pointer, type, form.base)
    if point.count is None:
        _store_all(a, buffers, point, s, form, x, address)
    elif buffers.features.writes_masked():
        a.masked_store(x, address, _mask(a, point.mask(a), point.lanes))
    else:
        single_lanes.write_first(a, x, address, point.count)


def _write_anywhere(a: Assembler, buffers: Buffers, point: Point, s: Store, form: Affine | None, x: Value) -> None:
    """Lanes that are no neighbors; the last one last."""
    if buffers.features.gathers(buffers.item(s.buffer)):
        address = a.address(buffers.pointers[s.buffer], x.type, indexing.lanes(a, point, s.index))
        a.masked_store(x, address, _mask(a, point.mask(a), point.lanes))
    else:
        where = _places(a, buffers, s.buffer, form or indexing.lanes(a, point, s.index))
        single_lanes.write_each(a, x, where, point.count)


def _store_all(a: Assembler, buffers: Buffers, point: Point, s: Store, form: Affine, x: Value, address: Value) -> None:
    """A whole vector of neighbors, past the caches if it is to go there and begins with a piece of memory."""
    size = point.lanes * buffers.item(s.buffer)
    if s.buffer not in buffers.streamed or point.vector is None or size < PIECE:
        a.store(x, address)
        return
    if point.with_lines is not None:
        by_lines = buffers.by_lines(s.buffer, s.index, point.vector, point.with_lines)
        a.stream(x, address, min(LINE, size)) if by_lines else a.store(x, address)
        return
    unit = min(UNIT, buffers.features.vector_bytes, size)
    whole = gcd(form.aligned, point.lanes) * buffers.item(s.buffer) % unit == 0
    place = a.convert("ptrtoint", buffers.pointers[s.buffer] if whole else address, I64)
    within, large = a.binary("and", place, a.constant(I64, unit - 1)), buffers.is_large(a, s.buffer)
    if large is not None:
        within = a.select(large, within, a.constant(I64, 1))
        within = a.select(buffers.broken(a, s.buffer, s.index, point.vector), a.constant(I64, 1), within)

    def in_units() -> list[Value]:
        a.stream(x, address, unit)
        return []

    def from_half_a_unit() -> list[Value]:
        lanes, item = a.inside(x), buffers.item(s.buffer)
        for at in (0, *range(PIECE, size, unit)):
            end = min(at + unit, size) if at else PIECE
            part = a.shuffle(lanes, lanes, range(at // item, end // item))
            a.stream(part, a.address(address, buffers.element(s.buffer), a.constant(I64, at // item)), end - at)
        return []

    def as_ever() -> list[Value]:
        a.store(x, address)
        return []

    a.when(a.compare("icmp eq", within, a.constant(I64, 0)), [], in_units)
    if unit > PIECE:
        a.when(a.compare("icmp eq", within, a.constant(I64, PIECE)), [], from_half_a_unit)
    other = a.binary("and", within, a.constant(I64, PIECE - 1))
    a.when(a.compare("icmp ne", other, a.constant(I64, 0)), [], as_ever)
