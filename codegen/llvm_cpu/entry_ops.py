"""The instructions of an entry program that find objects and test them, each with the native code that does it.

A word of an instruction names a register (r, k: where an object is), or is a number (n). What an instruction finds goes
into the next register. Where a test fails, or what is looked for is not there, the root does not fit the call.

1. A register holds a reference of its own, so whatever code runs meanwhile frees nothing that is still read.
2. An object is only read as what it was tested to be.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.entry_code import WORD, EntryCode

Op = Callable[[EntryCode], None]
FINDING: dict[str, Op] = {}


def finding(name: str) -> Callable[[Op], Op]:
    """Enter an instruction into the table."""
    def enter(op: Op) -> Op:
        FINDING[name] = op
        return op
    return enter


# ---- what is found ---------------------------------------------------------------------------------------------------

@finding("slot")
def _slot(code: EntryCode) -> None:
    """r n: what the object holds at an offset of n bytes."""
    found = code.load("ptr", code.register(1), code.word(2))
    code.need(code.unequal("ptr", found, "null"))
    code.next(3, code.push(found))


@finding("namespace")
def _namespace(code: EntryCode) -> None:
    """r: its __dict__."""
    found = code.call("ptr", "PyObject_GenericGetDict", f"ptr {code.register(1)}", "ptr null")
    code.need(code.unequal("ptr", found, "null"))
    code.next(2, code.push_owned(found))


@finding("of thread")
def _of_thread(code: EntryCode) -> None:
    """r k1 k2 n1 n2: what a threading.local has under the name k1 in this thread, or else k2.

    n1 and n2 are the thread that it was last asked for in, and its namespace there, which is there as long as both are.
    """
    thread = code.call("i64", "PyThreadState_GetID", f"ptr {code.call('ptr', 'PyThreadState_Get')}")

    def look() -> None:
        found = code.call("ptr", "PyObject_GetAttr", f"ptr {code.register(1)}", "ptr @namespace")
        code.need(code.unequal("ptr", found, "null"))
        code.drop(found)
        code.need(code.has_type(found, "@type_dict"))
        code.store("ptr", found, "%at", 5 * WORD)
        code.store("i64", thread, "%at", 4 * WORD)
    code.unless(code.equal("i64", thread, code.word(4)), look)
    _push_found(code, code.call("ptr", "PyDict_GetItemWithError", f"ptr {code.address(5)}", f"ptr {code.register(2)}"),
                code.register(3), 6)


@finding("cell")
def _cell(code: EntryCode) -> None:
    """r: what a variable holds."""
    cell = code.register(1)
    code.need(code.has_type(cell, "@type_cell"))
    found = code.call("ptr", "PyCell_Get", f"ptr {cell}")
    code.need(code.unequal("ptr", found, "null"))
    code.next(2, code.push_owned(found))


def _looked_up(code: EntryCode) -> str:
    namespace, key = code.register(1), code.register(2)
    code.need(code.has_type(namespace, "@type_dict"))
    return code.call("ptr", "PyDict_GetItemWithError", f"ptr {namespace}", f"ptr {key}")


@finding("key")
def _key(code: EntryCode) -> None:
    """r k: what a dict has under a key."""
    found = _looked_up(code)
    code.need(code.unequal("ptr", found, "null"))
    code.next(3, code.push(found))


@finding("no key")
def _no_key(code: EntryCode) -> None:
    """r k: a dict has no such key."""
    code.need(code.equal("ptr", _looked_up(code), "null"))
    code.need(code.equal("ptr", code.call("ptr", "PyErr_Occurred"), "null"))
    code.next(3)


@finding("key or")
def _key_or(code: EntryCode) -> None:
    """r k1 k2: what a dict has under key k1, or else k2."""
    _push_found(code, _looked_up(code), code.register(3), 4)


def _push_found(code: EntryCode, found: str, otherwise: str, words: int) -> None:
    """What a dict gave is found, or else something else, by an instruction of so many words."""
    absent = code.equal("ptr", found, "null")
    code.unless(code.let(f"xor i1 {absent}, true"),
                lambda: code.need(code.equal("ptr", code.call("ptr", "PyErr_Occurred"), "null")))
    code.next(words, code.push(code.let(f"select i1 {absent}, ptr {otherwise}, ptr {found}")))


@finding("items")
def _items(code: EntryCode) -> None:
    """r n: the n items of a list or a tuple."""
    layout, o, count = code.layout, code.register(1), code.word(2)
    is_list, is_tuple = code.has_type(o, "@type_list"), code.has_type(o, "@type_tuple")
    code.need(code.either(is_list, is_tuple))
    code.need(code.equal("i64", code.load("i64", o, layout.size), count))
    inside, beside = code.at(o, layout.items), code.load("ptr", o, layout.items)
    first = code.let(f"select i1 {is_list}, ptr {beside}, ptr {inside}")
    code.next(3, code.push_each(count, lambda index: code.load("ptr", code.item_at(first, index))))


def _walked(code: EntryCode, o: str, visit: Callable[[str, str, str], None]) -> None:
    """Visit each (number, key, value) of a dict."""
    place, key, value = (f"%{name}" for name in ("walk.place", "walk.key", "walk.value"))
    code.store("i64", "0", place)
    size = code.call("i64", "PyDict_Size", f"ptr {o}")

    def one(index: str) -> None:
        more = code.call("i32", "PyDict_Next", f"ptr {o}", f"ptr {place}", f"ptr {key}", f"ptr {value}")
        code.need(code.unequal("i32", more, "0"))
        visit(index, code.load("ptr", key), code.load("ptr", value))
    code.for_each(size, one)


@finding("keys")
def _keys(code: EntryCode) -> None:
    """r n k ...: the keys of a dict are these n objects, in this order."""
    o, count, expected = code.register(1), code.word(2), code.words_from(3)
    code.need(code.has_type(o, "@type_dict"))
    code.need(code.equal("i64", code.call("i64", "PyDict_Size", f"ptr {o}"), count))
    _walked(code, o, lambda index, key, value:
            code.need(code.equal("ptr", key, code.register_of(expected, index))))
    code.next(3, more=count)


@finding("values")
def _values(code: EntryCode) -> None:
    """r n: the n values of a dict."""
    o, count = code.register(1), code.word(2)
    code.need(code.has_type(o, "@type_dict"))
    code.need(code.equal("i64", code.call("i64", "PyDict_Size", f"ptr {o}"), count))
    _walked(code, o, lambda index, key, value: code.store("ptr", value, code.item_at("%top", index)))
    code.for_each(count, lambda index: code.keep(code.load("ptr", code.item_at("%top", index))))
    code.next(3, code.item_at("%top", count))


# ---- what is tested --------------------------------------------------------------------------------------------------

@finding("is")
def _is(code: EntryCode) -> None:
    """r k: the one is the other."""
    code.need(code.equal("ptr", code.register(1), code.register(2)))
    code.next(3)


@finding("is not")
def _is_not(code: EntryCode) -> None:
    """r k: they are two."""
    code.need(code.unequal("ptr", code.register(1), code.register(2)))
    code.next(3)


@finding("type")
def _type(code: EntryCode) -> None:
    """r k: its class is k."""
    code.need(code.has_type(code.register(1), code.register(2)))
    code.next(3)


@finding("equal")
def _equal(code: EntryCode) -> None:
    """r k: it has the class of k, a number, a str or bytes, and equals it."""
    o, expected = code.register(1), code.register(2)

    def compare() -> None:
        code.need(code.has_type(o, code.load("ptr", expected, code.layout.type)))
        same = code.call("i32", "PyObject_RichCompareBool", f"ptr {o}", f"ptr {expected}", "i32 2")
        code.need(code.equal("i32", same, "1"))
    code.unless(code.equal("ptr", o, expected), compare)
    code.next(3)


@finding("bits")
def _bits(code: EntryCode) -> None:
    """r k: it is a float, of the bits of k."""
    o, number = code.register(1), code.layout.number
    code.need(code.has_type(o, "@type_float"))
    code.need(code.equal("i64", code.load("i64", o, number), code.load("i64", code.register(2), number)))
    code.next(3)


@finding("size")
def _size(code: EntryCode) -> None:
    """r n: a list or a tuple has n items."""
    code.need(code.equal("i64", code.load("i64", code.register(1), code.layout.size), code.word(2)))
    code.next(3)


@finding("dict size")
def _dict_size(code: EntryCode) -> None:
    """r n: a dict has n items."""
    code.need(code.equal("i64", code.call("i64", "PyDict_Size", f"ptr {code.register(1)}"), code.word(2)))
    code.next(3)


@finding("empty")
def _empty(code: EntryCode) -> None:
    """r: it is None or a list without items."""
    o = code.register(1)

    def is_list() -> None:
        code.need(code.has_type(o, "@type_list"))
        code.need(code.equal("i64", code.load("i64", o, code.layout.size), "0"))
    code.unless(code.equal("ptr", o, "@none"), is_list)
    code.next(2)


def _has_none_of(code: EntryCode, o: str, names: str) -> None:
    """None of the keys of a dict, all of which are strings, is in a set of strings."""
    def one(index: str, key: str, value: str) -> None:
        code.need(code.has_type(key, "@type_str"))
        code.need(code.equal("i32", code.call("i32", "PySet_Contains", f"ptr {names}", f"ptr {key}"), "0"))
    code.need(code.has_type(o, "@type_dict"))
    _walked(code, o, one)


@finding("none of")
def _none_of(code: EntryCode) -> None:
    """r k: a dict has no key that is in the set k."""
    _has_none_of(code, code.register(1), code.register(2))
    code.next(3)


# ---- functions -------------------------------------------------------------------------------------------------------

@finding("function")
def _function(code: EntryCode) -> None:
    """r k1 k2: it is the function k1, or a function with the globals k2."""
    o = code.register(1)

    def is_like() -> None:
        code.need(code.has_type(o, "@type_function"))
        code.need(code.equal("ptr", code.load("ptr", o, code.layout.globals), code.register(2 + 1)))
    code.unless(code.equal("ptr", o, code.register(2)), is_like)
    code.next(4)


@finding("code")
def _code(code: EntryCode) -> None:
    """r k: a function has the code k."""
    code.need(code.equal("ptr", code.load("ptr", code.register(1), code.layout.code), code.register(2)))
    code.next(3)


@finding("nothing at")
def _nothing_at(code: EntryCode) -> None:
    """r n: an object holds nothing, or None, at an offset of n bytes."""
    part = code.load("ptr", code.register(1), code.word(2))
    code.need(code.either(code.equal("ptr", part, "null"), code.equal("ptr", part, "@none")))
    code.next(3)


@finding("context is none")
def _context_is_none(code: EntryCode) -> None:
    """k: the context variable k has no value, or None."""
    code.call("i32", "PyContextVar_Get", f"ptr {code.register(1)}", "ptr @none", "ptr %value")
    value = code.load("ptr", "%value")
    code.need(code.unequal("ptr", value, "null"))
    code.drop(value)
    code.need(code.equal("ptr", value, "@none"))
    code.next(2)


@finding("function has none of")
def _function_has_none_of(code: EntryCode) -> None:
    """r k: no attribute of a function is named in the set k."""
    names = code.load("ptr", code.register(1), code.layout.namespace)
    code.unless(code.equal("ptr", names, "null"), lambda: _has_none_of(code, names, code.register(2)))
    code.next(3)


# ---- arrays ----------------------------------------------------------------------------------------------------------

@finding("dtype")
def _dtype(code: EntryCode) -> None:
    """r k: an array has the dtype k."""
    _need_dtype(code, code.register(1), code.register(2))
    code.next(3)


def _need_dtype(code: EntryCode, array: str, expected: str) -> None:
    dtype = code.load("ptr", array, code.layout.dtype)

    def compare() -> None:
        same = code.call("i8", "PyArray_EquivTypes", f"ptr {dtype}", f"ptr {expected}")
        code.need(code.unequal("i8", same, "0"))
    code.unless(code.equal("ptr", dtype, expected), compare)


def _need_numbers(code: EntryCode, array: str, offset: int, word: int) -> str:
    """As many dimensions as a word says, with the numbers that follow it; that many."""
    count, expected = code.word(word), code.words_from(word + 1)
    rank = code.let(f"sext i32 {code.load('i32', array, code.layout.rank)} to i64")
    code.need(code.equal("i64", rank, count))
    numbers = code.load("ptr", array, offset)
    code.for_each(count, lambda index: code.need(code.equal(
        "i64", code.load("i64", code.item_at(numbers, index)), code.load("i64", code.item_at(expected, index)))))
    return count


def _need_flags(code: EntryCode, array: str, wanted: str) -> None:
    flags = code.let(f"zext i32 {code.load('i32', array, code.layout.flags)} to i64")
    code.need(code.equal("i64", code.let(f"and i64 {flags}, {wanted}"), wanted))


@finding("shape")
def _shape(code: EntryCode) -> None:
    """r n n ...: an array has n dimensions, of these sizes."""
    code.next(3, more=_need_numbers(code, code.register(1), code.layout.shape, 2))


@finding("strides")
def _strides(code: EntryCode) -> None:
    """r n n ...: an array has n dimensions, with these strides."""
    code.next(3, more=_need_numbers(code, code.register(1), code.layout.strides, 2))


@finding("flags")
def _flags(code: EntryCode) -> None:
    """r n: an array has all flags that are in n."""
    _need_flags(code, code.register(1), code.word(2))
    code.next(3)


@finding("owns")
def _owns(code: EntryCode) -> None:
    """r: the memory of an array is its own."""
    code.need(code.equal("ptr", code.load("ptr", code.register(1), code.layout.base), "null"))
    code.next(2)


@finding("array of")
def _array_of(code: EntryCode) -> None:
    """r k1 n1 k2 n2 n3 n ...: an object of class k1 holds at offset n1 an array of dtype k2 that has all flags that are
    in n2, and n3 dimensions of sizes n; it is found."""
    layout, o = code.layout, code.register(1)
    code.need(code.has_type(o, code.register(2)))
    array = code.load("ptr", o, code.word(3))
    code.need(code.unequal("ptr", array, "null"))
    code.need(code.has_type(array, "@type_array"))
    _need_dtype(code, array, code.register(4))
    _need_flags(code, array, code.word(5))
    count = _need_numbers(code, array, layout.shape, 6)
    code.next(7, code.push(array), more=count)


@finding("holds")
def _holds(code: EntryCode) -> None:
    """r n n1 k1 ...: at each offset n1 of an object is what k1 is; a list without items is as good as None."""
    o, count, pairs = code.register(1), code.word(2), code.words_from(3)

    def one(index: str) -> None:
        pair = code.let(f"getelementptr [2 x i64], ptr {pairs}, i64 {index}")
        held = code.load("ptr", o, code.load("i64", pair))
        expected = code.load("ptr", "%frame", code.load("i64", pair, WORD))

        def may_be_empty() -> None:
            code.need(code.equal("ptr", expected, "@none"))
            code.need(code.unequal("ptr", held, "null"))
            code.need(code.has_type(held, "@type_list"))
            code.need(code.equal("i64", code.load("i64", held, code.layout.size), "0"))
        code.unless(code.equal("ptr", held, expected), may_be_empty)
    code.for_each(count, one)
    code.next(3, more=code.let(f"mul i64 {count}, 2"))


# ---- ways through the tests ------------------------------------------------------------------------------------------

@finding("skip if")
def _skip_if(code: EntryCode) -> None:
    """r k n: go on n words further if the one is the other."""
    same = code.equal("ptr", code.register(1), code.register(2))
    code.next(4, more=code.let(f"select i1 {same}, i64 {code.word(3)}, i64 0"))


@finding("version")
def _version(code: EntryCode) -> None:
    """n1 n2 n3: go on n3 words further if the number at address n1 is n2."""
    same = code.equal("i64", code.load("i64", code.address(1)), code.word(2))
    code.next(4, more=code.let(f"select i1 {same}, i64 {code.word(3)}, i64 0"))


@finding("held")
def _held(code: EntryCode) -> None:
    """n1 n2 n3: the number at address n1 is that of the "version" n2 words before; the registers from the offset n3 of
    the frame on are not needed any more."""
    version = code.item_at("%at", code.let(f"sub i64 0, {code.word(2)}"))
    code.store("i64", code.load("i64", code.address(1)), version, 2 * WORD)
    first = code.at("%frame", code.word(3))
    code.do(f"call void @drop_between(ptr {first}, ptr %top)")
    code.next(4, first)


@finding("check")
def _check(code: EntryCode) -> None:
    """k n1 n2 r ...: the function k, called with the n2 objects, gives a tuple of n1; those are found."""
    made, wanted = code.call_with(1, 3, 4), code.word(2)
    code.need(code.unequal("ptr", made, "null"))
    good = code.new_label()
    bad = code.new_label()
    code.branch(code.has_type(made, "@type_tuple"), good, bad)
    code.start(bad)
    code.drop(made)
    code.jump("miss")
    code.start(good)
    first = code.at(made, code.layout.items)
    top = code.push_each(wanted, lambda index: code.load("ptr", code.item_at(first, index)))
    code.drop(made)
    code.next(4, top, more=code.word(3))
