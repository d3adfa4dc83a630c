"""The instructions of an entry program that run what was found to fit: arrays in, the driver, Tensors out.

Words name registers (r, k) or are numbers (n), as in entry_ops. Where one fails, the call raises.

1. Up to "drive" nothing has changed that the caller can see. After it nothing is tested.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.driver import FRAME_SLOTS
from codegen.llvm_cpu.entry_code import WORD, EntryCode
from codegen.llvm_cpu.entry_ops import Op
from codegen.llvm_cpu.interruptions import INTERRUPTED

RUNNING: dict[str, Op] = {}

LARGEST = 1 << 53
"""Up to this an int is taken as a number; a larger one does not fit."""


def running(name: str) -> Callable[[Op], Op]:
    """Enter an instruction into the table."""
    def enter(op: Op) -> Op:
        RUNNING[name] = op
        return op
    return enter


def _set_slot(code: EntryCode, array: str, slot: str) -> None:
    """The driver finds an array's elements at a slot of its frame."""
    driven = code.load("ptr", "%frame", WORD)
    first = code.at(driven, WORD * FRAME_SLOTS)
    code.store("ptr", code.load("ptr", array, code.layout.data), code.item_at(first, slot))


@running("take")
def _take(code: EntryCode) -> None:
    """r n: an array is argument n of the run."""
    _set_slot(code, code.register(1), code.word(2))
    code.next(3)


@running("take in order")
def _take_in_order(code: EntryCode) -> None:
    """r n: an array, copied if it is not C-contiguous, is argument n of the run; it is found."""
    o = code.register(1)
    flags = code.load("i32", o, code.layout.flags)
    ordered, copied, on = code.new_label(), code.new_label(), code.new_label()
    code.branch(code.unequal("i32", code.let(f"and i32 {flags}, 1"), "0"), ordered, copied)
    code.start(ordered)
    code.keep(o)
    code.jump(on)
    code.start(copied)
    copy = code.call("ptr", "PyArray_NewCopy", f"ptr {o}", "i32 0")
    code.need(code.unequal("ptr", copy, "null"), "raise")
    copied = code.block
    code.jump(on)
    code.start(on)
    array = code.let(f"phi ptr [ {o}, %{ordered} ], [ {copy}, %{copied} ]")
    _set_slot(code, array, code.word(2))
    code.next(3, code.push_owned(array))


@running("take float")
def _take_float(code: EntryCode) -> None:
    """r n: a float is written into the frame, at offset n."""
    o = code.register(1)
    code.need(code.has_type(o, "@type_float"))
    code.store("i64", code.load("i64", o, code.layout.number), "%frame", code.word(2))
    code.next(3)


@running("take int")
def _take_int(code: EntryCode) -> None:
    """r n: an int is written into the frame, at offset n, if it is no larger than LARGEST."""
    o = code.register(1)
    code.need(code.has_type(o, "@type_int"))
    number = code.call("i64", "PyLong_AsLongLong", f"ptr {o}")
    shifted = code.let(f"add i64 {number}, {LARGEST}")          # -1 if it is an error, too
    code.need(code.let(f"icmp ule i64 {shifted}, {2 * LARGEST}"))
    code.unless(code.unequal("i64", number, "-1"),
                lambda: code.need(code.equal("ptr", code.call("ptr", "PyErr_Occurred"), "null")))
    code.store("i64", number, "%frame", code.word(2))
    code.next(3)


@running("allocate")
def _allocate(code: EntryCode) -> None:
    """k n1 n2 n ...: a new array of dtype k, of n2 dimensions of sizes n, is argument n1 of the run; it is found."""
    dtype, rank, sizes = code.register(1), code.word(3), code.words_from(4)
    code.keep(dtype)
    array = code.call("ptr", "PyArray_NewFromDescr", "ptr @type_array", f"ptr {dtype}",
                      f"i32 {code.let(f'trunc i64 {rank} to i32')}", f"ptr {sizes}", "ptr null", "ptr null", "i32 0",
                      "ptr null")
    code.need(code.unequal("ptr", array, "null"), "raise")
    _set_slot(code, array, code.word(2))
    code.next(4, code.push_owned(array), more=rank)


@running("ask for")
def _ask_for(code: EntryCode) -> None:
    """k n: the array that the function k gives is argument n of the run; it is found."""
    array = code.call("ptr", "PyObject_CallNoArgs", f"ptr {code.register(1)}")
    code.need(code.unequal("ptr", array, "null"), "raise")
    _set_slot(code, array, code.word(2))
    code.next(3, code.push_owned(array))


@running("call")
def _call(code: EntryCode) -> None:
    """k n r ...: what the function k gives, called with the n objects, is found."""
    made = code.call_with(1, 2, 3)
    code.need(code.unequal("ptr", made, "null"), "raise")
    code.next(3, code.push_owned(made), more=code.word(2))


@running("make")
def _make(code: EntryCode) -> None:
    """r k: a new object of the host around an array, with the flag k, is found."""
    offsets = code.offsets
    made = code.call("ptr", "PyType_GenericAlloc", "ptr @host_made", "i64 0")
    code.need(code.unequal("ptr", made, "null"), "raise")
    for k, offset in ((1, offsets.array), (2, offsets.flag)):
        held = code.register(k)
        code.keep(held)
        code.store("ptr", held, made, offset)
    for offset in offsets.others:
        code.store("ptr", "@none", made, offset)
    code.keep("@none", len(offsets.others))
    code.next(3, code.push_owned(made))


@running("new")
def _new(code: EntryCode) -> None:
    """k n n1 r1 ...: a new object of class k, which holds r1 at the offset n1, and so on for n of them, is found."""
    count, pairs = code.word(2), code.words_from(3)
    made = code.call("ptr", "PyType_GenericAlloc", f"ptr {code.register(1)}", "i64 0")
    code.need(code.unequal("ptr", made, "null"), "raise")

    def one(index: str) -> None:
        pair = code.let(f"getelementptr [2 x i64], ptr {pairs}, i64 {index}")
        held = code.load("ptr", "%frame", code.load("i64", pair, WORD))
        code.keep(held)
        code.store("ptr", held, made, code.load("i64", pair))
    code.for_each(count, one)
    code.next(3, code.push_owned(made), more=code.let(f"mul i64 {count}, 2"))


@running("put")
def _put(code: EntryCode) -> None:
    """r n k: an object holds k at an offset of n bytes, from now on."""
    place, new = code.at(code.register(1), code.word(2)), code.register(3)
    old = code.load("ptr", place)
    code.keep(new)
    code.store("ptr", new, place)
    code.unless(code.equal("ptr", old, "null"), lambda: code.drop(old))
    code.next(4)


@running("drive")
def _drive(code: EntryCode) -> None:
    """n n ...: run; at end k of the plan go on at word n of the program. The interpreter lock is held if n1 is 0."""
    driven = code.load("ptr", "%frame", WORD)
    held, released, on = code.new_label(), code.new_label(), code.new_label()
    code.branch(code.equal("i64", code.word(1), "0"), held, released)
    code.start(held)
    first = code.call("i64", "drive", f"ptr {driven}")
    code.jump(on)
    code.start(released)
    thread = code.call("ptr", "PyEval_SaveThread")
    second = code.call("i64", "drive", f"ptr {driven}")
    code.do(f"call void @PyEval_RestoreThread(ptr {thread})")
    code.jump(on)
    code.start(on)
    code.do(f"%left.at = phi i64 [ {first}, %{held} ], [ {second}, %{released} ]")
    interrupted = code.equal("i64", "%left.at", str(INTERRUPTED))

    def interrupt() -> None:
        code.do("call void @raise_interruption()")
        code.jump("raise")
        code.start(code.new_label())
    code.unless(code.let(f"xor i1 {interrupted}, true"), interrupt)
    code.need(code.let("icmp slt i64 %left.at, 0"), "leave")
    end = code.let("sub i64 1, %left.at")                   # -1 is end 0, whose word is the second
    code.go(code.item_at("%program", code.load("i64", code.item_at("%at", end))))


@running("count")
def _count(code: EntryCode) -> None:
    """r n: one more in the slot of an object at an offset of n bytes, which holds an int."""
    code.do(f"call void @count_one(ptr {code.register(1)}, i64 {code.word(2)})")
    code.next(3)


@running("pack")
def _pack(code: EntryCode) -> None:
    """n r ...: a tuple of the n objects is found."""
    count, words = code.word(1), code.words_from(2)
    made = code.call("ptr", "PyTuple_New", f"i64 {count}")
    code.need(code.unequal("ptr", made, "null"), "raise")
    first = code.at(made, code.layout.items)

    def one(index: str) -> None:
        o = code.register_of(words, index)
        code.keep(o)
        code.store("ptr", o, code.item_at(first, index))
    code.for_each(count, one)
    code.next(2, code.push_owned(made), more=count)


@running("arguments")
def _arguments(code: EntryCode) -> None:
    """The tuple of positional arguments and the dict of the others are found."""
    args = code.call("ptr", "packed", "ptr %args", "i64 %nargs")
    code.need(code.unequal("ptr", args, "null"), "raise")
    kwargs = code.call("ptr", "named", "ptr %args", "i64 %nargs", "ptr %names")

    def release() -> None:
        code.drop(args)
        code.jump("raise")
        code.start(code.new_label())
    code.unless(code.unequal("ptr", kwargs, "null"), release)
    code.next(1, code.push_owned(kwargs, code.push_owned(args)))


@running("return")
def _return(code: EntryCode) -> None:
    """r: the result of the call."""
    result = code.register(1)
    code.keep(result)
    code.store("ptr", result, "%result")
    code.jump("done")
