"""The instructions of an entry program about values that are kept as they are, whatever is written later.

    "keep"       the value of an object, which whoever writes to it later finds and copies      (see Keeping)
    "prepare"    before something is written: values that somebody has go on with copies

1. A value that the object has kept is found in a load; one that nobody else has needs no copy, and stays.
2. Whatever is less simple (memory that is shared, work that is deferred) is left to the functions of the host.
"""
from __future__ import annotations

from codegen.llvm_cpu.entry_code import EntryCode
from codegen.llvm_cpu.entry_host import HostOffsets
from codegen.llvm_cpu.entry_run import running
from codegen.llvm_cpu.objects import Layout


@running("keep")
def _keep(code: EntryCode) -> None:
    """r: the present value of an object is found."""
    value = code.call("ptr", "value_of", f"ptr {code.register(1)}")
    code.need(code.unequal("ptr", value, "null"), "raise")
    code.next(2, code.push_owned(value))


@running("prepare")
def _prepare(code: EntryCode) -> None:
    """r: an object is about to be written."""
    o = code.register(1)

    def tell() -> None:
        code.store("ptr", o, "%top")
        made = code.call("ptr", "PyObject_Vectorcall", "ptr @host_prepare", "ptr %top", "i64 1", "ptr null")
        code.need(code.unequal("ptr", made, "null"), "raise")
        code.drop(made)
    code.unless(code.call("i1", "may_change", f"ptr {o}"), tell)
    code.next(2)


def keeping_text(layout: Layout, offsets: HostOffsets) -> str:
    """@value_of(object): the value, a new reference, null for an error. @may_change(object): need nothing be done?"""
    return _value_of(layout, offsets) + _may_change(layout, offsets)


def _value_of(layout: Layout, offsets: HostOffsets) -> str:
    code = EntryCode(layout, offsets, "v")
    code.start("entry")
    code.do("%given = alloca ptr")
    kept, shared = code.load("ptr", "%o", offsets.kept), code.load("ptr", "%o", offsets.shared)
    array = code.load("ptr", "%o", offsets.array)
    for held in (kept, shared, array):
        code.need(code.unequal("ptr", held, "null"), "ask")
    code.branch(code.has_type(kept, "@host_value"), "there", "look")
    code.start("there")
    code.keep(kept)
    code.do(f"ret ptr {kept}")
    code.start("look")
    code.need(code.has_type(array, "@type_array"), "ask")
    for offset in (offsets.kept, offsets.known):
        code.need(code.equal("ptr", code.load("ptr", "%o", offset), "@none"), "ask")
    code.branch(code.equal("ptr", shared, "@none"), "fresh", "of.others")
    _write_copied(code, shared, array)
    _write_fresh(code, array)
    code.start("ask")
    code.store("ptr", "%o", "%given")
    code.do(f"ret ptr {code.call('ptr', 'PyObject_Vectorcall', 'ptr @host_keep', 'ptr %given', 'i64 1', 'ptr null')}")
    code.start("failed")
    code.do("ret ptr null")
    return "\n".join(("define internal ptr @value_of(ptr %o) nounwind {", *code.lines, "}", ""))


def _write_copied(code: EntryCode, shared: str, array: str) -> None:
    """The value of memory that others may write to unseen is a copy."""
    code.start("of.others")
    code.need(code.has_type(shared, "@host_sharing"), "ask")
    code.need(code.equal("ptr", code.load("ptr", shared, code.offsets.foreign), "@true"), "ask")
    copy = code.call("ptr", "PyArray_NewCopy", f"ptr {array}", "i32 0")
    code.need(code.unequal("ptr", copy, "null"), "failed")
    value = _new_value(code, copy)
    code.keep("@host_gone")
    code.store("ptr", "@host_gone", value, code.offsets.owner)
    code.do(f"ret ptr {value}")


def _write_fresh(code: EntryCode, array: str) -> None:
    """The value of memory that is its own alone is kept."""
    offsets = code.offsets
    code.start("fresh")
    code.keep(array)
    value = _new_value(code, array)
    owner = code.call("ptr", "PyWeakref_NewRef", "ptr %o", "ptr null")
    code.need(code.unequal("ptr", owner, "null"), "drop.value")
    code.store("ptr", owner, value, offsets.owner)
    reference = code.call("ptr", "PyWeakref_NewRef", f"ptr {value}", "ptr null")
    code.need(code.unequal("ptr", reference, "null"), "drop.value")
    for offset in (offsets.kept, offsets.known, offsets.shared):        # what was freed meanwhile may have run anything
        code.need(code.equal("ptr", code.load("ptr", "%o", offset), "@none"), "drop.both")
    for held, offset in ((reference, offsets.known), (value, offsets.kept)):
        code.store("ptr", held, "%o", offset)
        code.drop("@none")
    code.keep(value)
    code.do(f"ret ptr {value}")
    code.start("drop.both")
    code.drop(reference)
    code.drop(value)
    code.jump("ask")
    code.start("drop.value")
    code.drop(value)
    code.jump("failed")


def _new_value(code: EntryCode, array: str) -> str:
    """A new value that takes over a reference to its array, without an owner."""
    value, offsets = code.call("ptr", "PyType_GenericAlloc", "ptr @host_value", "i64 0"), code.offsets

    def release() -> None:
        code.drop(array)
        code.jump("failed")
        code.start(code.new_label())
    code.unless(code.unequal("ptr", value, "null"), release)
    code.store("ptr", array, value, offsets.value)
    return value


def _may_change(layout: Layout, offsets: HostOffsets) -> str:
    code = EntryCode(layout, offsets, "p")
    code.start("entry")
    code.need(code.equal("i64", code.load("i64", "@host_watching", layout.size), "0"), "no")
    known, shared = code.load("ptr", "%o", offsets.known), code.load("ptr", "%o", offsets.shared)
    code.need(code.unequal("ptr", shared, "null"), "no")
    unknown, look = code.new_label(), code.new_label()
    code.branch(code.equal("ptr", known, "@none"), unknown, look)

    code.start(unknown)                                 # no value of it is known: of others that share it, perhaps
    listed = _values_listed(code, shared, "yes")
    code.branch(code.equal("i64", code.load("i64", listed, layout.size), "0"), "yes", "no")

    code.start(look)                                    # one is known: may it change, as nobody has it?
    kept = code.load("ptr", "%o", offsets.kept)
    code.need(code.unequal("ptr", kept, "null"), "no")
    code.need(code.has_type(kept, "@host_value"), "no")
    code.need(code.is_held_once(kept), "no")
    code.need(code.equal("ptr", code.load("ptr", kept, offsets.value), code.load("ptr", "%o", offsets.array)), "no")
    listed = _values_listed(code, shared, "yes")
    code.need(code.equal("i64", code.load("i64", listed, layout.size), "1"), "no")
    first = code.load("ptr", code.load("ptr", listed, layout.items))
    code.branch(code.equal("ptr", first, known), "yes", "no")
    for label, answer in (("yes", "true"), ("no", "false")):
        code.start(label)
        code.do(f"ret i1 {answer}")
    return "\n".join(("define internal i1 @may_change(ptr %o) nounwind {", *code.lines, "}", ""))


def _values_listed(code: EntryCode, shared: str, alone: str) -> str:
    """The list of values in memory that is shared; on to `alone` if it is not."""
    code.need(code.unequal("ptr", shared, "@none"), alone)
    code.need(code.has_type(shared, "@host_sharing"), "no")
    listed = code.load("ptr", shared, code.offsets.sharing)
    code.need(code.unequal("ptr", listed, "null"), "no")
    code.need(code.has_type(listed, "@type_list"), "no")
    return listed
