"""Accesses whose index is a value: gathers and scatters, checked.

    Gather buffer[base + stride * k]      k from 0 on, or from -1 down; elsewhere the check fails, and 0 is read

1. Where a check fails, 1 is stored to %failed; it is never otherwise written.
"""
from __future__ import annotations

from codegen.ir.dims import Dim, Size
from codegen.ir.types import SIGNED
from codegen.llvm_cpu import indexing, memory, operations
from codegen.llvm_cpu.assembler import I32, I64, Assembler, Value, vector
from codegen.llvm_cpu.indexing import Affine, Point
from codegen.llvm_cpu.memory import Buffers
from codegen.llvm_cpu.prefetch import SECOND
from codegen.schedule.kernel import Gather, Load, Scatter


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
        bad = a.intrinsic("vector.reduce.or", indexing.both(a, bad, point.mask(a)), type=vector("bool"))
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
    if k.type.lanes == 1 and memory.same_in_all_lanes(held) and form is not None and abs(form.step) <= 1:
        return _gather_row(a, buffers, point, s, k, form, held)
    dtype = _index_dtype(buffers, s.buffer, k, s.size)
    k, usable = _checked(a, buffers, point, k, s.size, held, dtype)
    row = a.splat(a.binary("mul", k, a.size_in_lanes(s.stride, k.type)), point.lanes)
    base = operations.to_integer(a, indexing.lanes(a, point, s.base), dtype)
    x = memory.read_anywhere(a, buffers, point, s.buffer, a.binary("add", base, row), usable)
    return memory.from_memory(a, buffers, s.buffer, x)


def _gather_row(a: Assembler, buffers: Buffers, point: Point, s: Gather, k: Value, form: Affine,
                held: Value | None) -> Value:
    """One k for all lanes: a direct load whose index is moved by it, to row 0 where k is out of bounds."""
    k, usable = _checked(a, buffers, point, k, s.size, held, "i64")
    row = a.binary("mul", k, a.size(s.stride))
    if form.step == 0:
        x = memory.read_scalar(a, buffers, s.buffer, a.binary("add", form.base, row), usable)
    else:
        moved = Affine(a.binary("add", form.base, row), form.step, 1)
        x = memory.read_contiguous(a, buffers, point, s.buffer, moved, usable)
    return memory.from_memory(a, buffers, s.buffer, x)


def fetch_row(a: Assembler, buffers: Buffers, point: Point, s: Gather, number: Load) -> None:
    """Ask for the lanes of the row whose number is at an index, or is the last of its buffer if that is past it."""
    where, form = indexing.affine(a, point, number.index), indexing.affine(a, point, s.base)
    if where is None or where.step != 0 or form is None:
        return
    last = a.binary("sub nsw", a.size(buffers.params[number.buffer].size), a.constant(I64, 1))
    found = memory.read_scalar(a, buffers, number.buffer, a.intrinsic("smin", where.base, last), None)
    row = a.binary("mul", operations.to_integer(a, found, "i64"), a.size(s.stride))
    buffers.fetch_lines(a, s.buffer, a.binary("add", form.base, row), point.lanes, SECOND)


def scatter(a: Assembler, buffers: Buffers, point: Point, s: Scatter, k: Value, x: Value) -> None:
    """buffer[base + stride * k] += x, or = x, where k is in bounds; scalars only. There is no max in order."""
    assert s.kind != "max"
    k, usable = _checked(a, buffers, point, k, s.size, None, "i64")
    form = indexing.affine(a, point, s.base)
    assert form is not None and x.type.lanes == 1
    type = buffers.element(s.buffer)

    def write() -> list[Value]:
        index = a.binary("add", form.base, a.binary("mul", k, a.size(s.stride)))
        address = a.address(buffers.pointers[s.buffer], type, index)
        after = x
        if s.kind == "add":
            before = memory.from_memory(a, buffers, s.buffer, a.load(type, address, False))
            after = operations.binary(a, buffers.features, "add", before, x)
        a.store(memory.to_memory(a, buffers, after), address)
        return []

    a.when(usable, [], write)
