"""The instructions of an entry program that hold objects against each other: are they as many as their registers?

    "distinct"      objects
    "own memory"    the memory of arrays

1. Each is looked for among those before it by a hash of its address, in room of the frame.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.entry_code import WORD, EntryCode
from codegen.llvm_cpu.entry_ops import Op


def _distinct(code: EntryCode) -> None:
    """n1 n2 n3 r ...: the n3 objects are as many; room for 2**n2 words, more than n3, is at offset n1 of the frame."""
    count, words = code.word(3), code.words_from(4)
    _need_distinct(code, count, lambda index: code.register_of(words, index), "miss")
    code.next(4, more=count)


def _own_memory(code: EntryCode) -> None:
    """n1 n2 n3 k r ...: the memory of the arrays of n3 Tensors, their own or that of an array that they are part of, is
    as many, or else the function k says that it will do, by a tuple; room as for "distinct"."""
    layout, count, words = code.layout, code.word(3), code.words_from(5)
    ask, known = code.new_label(), code.new_label()

    def array(index: str) -> str:
        found = code.load("ptr", code.register_of(words, index), code.offsets.array)
        code.need(code.unequal("ptr", found, "null"), ask)
        code.need(code.has_type(found, "@type_array"), ask)
        direct, part, whole = code.block, code.new_label(), code.new_label()
        base = code.load("ptr", found, layout.base)
        code.branch(code.equal("ptr", base, "null"), whole, part)
        code.start(part)
        code.need(code.has_type(base, "@type_array"), ask)
        code.need(code.equal("ptr", code.load("ptr", base, layout.base), "null"), ask)
        indirect = code.block
        code.jump(whole)
        code.start(whole)
        return code.let(f"phi ptr [ {found}, %{direct} ], [ {base}, %{indirect} ]")
    _need_distinct(code, count, array, ask)
    code.jump(known)
    code.start(ask)
    said = code.call_with(4, 3, 5)
    code.need(code.unequal("ptr", said, "null"))
    code.drop(said)
    code.need(code.unequal("ptr", said, "@none"))
    code.jump(known)
    code.start(known)
    code.next(5, more=count)


def _need_distinct(code: EntryCode, count: str, object_at: Callable[[str], str], otherwise: str) -> None:
    """So many objects are distinct; words 1 and 2 of the instruction say where room is, and how much."""
    room, bits = code.at("%frame", code.word(1)), code.word(2)
    capacity = code.let(f"shl i64 1, {bits}")
    shift, last = code.let(f"sub i64 64, {bits}"), code.let(f"sub i64 {capacity}, 1")
    size = code.let(f"mul i64 {capacity}, {WORD}")
    code.do(f"call void @llvm.memset.p0.i64(ptr {room}, i8 0, i64 {size}, i1 false)")

    def one(index: str) -> None:
        o = object_at(index)
        mixed = code.let(f"mul i64 {code.let(f'ptrtoint ptr {o} to i64')}, -7046029254386353131")
        place = code.let(f"lshr i64 {mixed}, {shift}")
        before, search, taken, free = code.block, code.new_label(), code.new_label(), code.new_label()
        code.jump(search)
        code.start(search)
        code.do(f"%{search}.at = phi i64 [ {place}, %{before} ], [ %{search}.next, %{taken} ]")
        where = code.item_at(room, f"%{search}.at")
        there = code.load("ptr", where)
        code.branch(code.equal("ptr", there, "null"), free, taken)
        code.start(taken)
        code.do(f"%{search}.past = add i64 %{search}.at, 1")
        code.do(f"%{search}.next = and i64 %{search}.past, {last}")
        code.branch(code.equal("ptr", there, o), otherwise, search)
        code.start(free)
        code.store("ptr", o, where)
    code.for_each(count, one)


APART: dict[str, Op] = {"distinct": _distinct, "own memory": _own_memory}
