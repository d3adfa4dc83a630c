"""entry_call: the native function that Python calls. It tries the roots of a function, and runs the first that fits.

    f(x, w, b=c)  ->  @call(f, (x, w, c), 2, ("b",))
        f ─ its tree ─ its entry ─ order: [roots, what counts, program, program, ...]
        program: [idle frame, positional arguments, named ones, root, makes a frame, word of the names, ...]
        frame:   [next idle frame, frame of the driver, registers: arguments, what is found; constants; room]

1. Every root is a program of instructions (entry_ops, entry_run), which `@call` runs one after the other. The root that
   fits is put first.
2. Where no root fits, or anything is not as expected, the function `otherwise` of the host is called instead, as if
   there were no entry. Nothing has changed then.
3. A frame is one call's, from its arguments to its result, so calls may overlap. So are the references in it.
"""
from __future__ import annotations

from collections.abc import Mapping

from codegen.llvm_cpu.entry_apart import APART
from codegen.llvm_cpu.entry_code import WORD, EntryCode
from codegen.llvm_cpu.entry_host import EntryHost, HostOffsets, host_offsets
from codegen.llvm_cpu.entry_keeping import keeping_text
from codegen.llvm_cpu.entry_objects import objects_text
from codegen.llvm_cpu.entry_ops import FINDING
from codegen.llvm_cpu.entry_run import RUNNING
from codegen.llvm_cpu.objects import addresses, object_layout

OPS = {**FINDING, **APART, **RUNNING}
CODES = {name: code for code, name in enumerate(OPS)}
"""The first word of each instruction."""

IDLE, POSITIONAL, NAMED, ROOT, GROW, NAMES = range(6)
HEADER = 6
"""The words before a program."""

FRAME_HEADER = 2
"""The words of a frame before its registers: the next idle frame, the frame of the driver."""

ORDER_HEADER = 2


def call_imports(host: EntryHost, symbols: Mapping[str, int]) -> dict[str, int]:
    """The address of everything that the text names; `symbols` has those of the runtime."""
    return {**addresses(), **host.imports(), **{name: symbols[name] for name in ("drive", "raise_interruption")}}


def call_text(host: EntryHost) -> str | None:
    """The LLVM text of @call, or None where it could not read what it is given."""
    layout, offsets = object_layout(), host_offsets(host)
    if layout is None or offsets is None:
        return None
    body = EntryCode(layout, offsets, "b")
    for name, op in OPS.items():
        body.start(f"op{CODES[name]}")
        op(body)
    phis = [f"%{which} = phi ptr " + ", ".join([f"[ {first}, %ready ]", *(f"[ {n[k]}, %{n[0]} ]" for n in body.nexts)])
            for which, first, k in (("at", "%start", 1), ("top", "%base", 2))]
    cases = " ".join(f"i64 {CODES[name]}, label %op{CODES[name]}" for name in OPS)
    opening = EntryCode(layout, offsets, "o")
    _open(opening, len(host.idle))
    head = "define ptr @call(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {"
    return "\n".join((
        _declarations(host), objects_text(layout, offsets), keeping_text(layout, offsets), head, *opening.lines,
        "dispatch:", *("  " + phi for phi in phis),
        "  %code = load i64, ptr %at",
        f"  switch i64 %code, label %miss [ {cases} ]", *body.lines, _closing(offsets), "}", ""))


_SIGNATURES = {
    "PyCell_Get": "ptr (ptr)", "PyContextVar_Get": "i32 (ptr, ptr, ptr)", "PyDict_GetItemWithError": "ptr (ptr, ptr)",
    "PyDict_New": "ptr ()", "PyDict_Next": "i32 (ptr, ptr, ptr, ptr)", "PyDict_SetItem": "i32 (ptr, ptr, ptr)",
    "PyDict_Size": "i64 (ptr)", "PyErr_Clear": "void ()", "PyErr_Occurred": "ptr ()",
    "PyEval_RestoreThread": "void (ptr)", "PyEval_SaveThread": "ptr ()", "PyLong_AsLongLong": "i64 (ptr)",
    "PyLong_FromLongLong": "ptr (i64)",
    "PyObject_CallNoArgs": "ptr (ptr)", "PyObject_GenericGetDict": "ptr (ptr, ptr)",
    "PyObject_GetAttr": "ptr (ptr, ptr)", "PyObject_RichCompareBool": "i32 (ptr, ptr, i32)",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)", "PySet_Contains": "i32 (ptr, ptr)", "PyTuple_New": "ptr (i64)",
    "PyThreadState_Get": "ptr ()", "PyThreadState_GetID": "i64 (ptr)", "PyType_GenericAlloc": "ptr (ptr, i64)",
    "PyWeakref_NewRef": "ptr (ptr, ptr)", "_Py_Dealloc": "void (ptr)",
    "Py_DecRef": "void (ptr)", "Py_IncRef": "void (ptr)",
    "PyArray_NewCopy": "ptr (ptr, i32)", "PyArray_EquivTypes": "i8 (ptr, ptr)",
    "PyArray_NewFromDescr": "ptr (ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)", "drive": "i64 (ptr)",
    "raise_interruption": "void ()",
    "llvm.memset.p0.i64": "void (ptr, i8, i64, i1)", "llvm.memmove.p0.p0.i64": "void (ptr, ptr, i64, i1)",
}


def _declarations(host: EntryHost) -> str:
    functions = (f"declare {kind.replace(' (', f' @{name}(')}" for name, kind in _SIGNATURES.items())
    objects = sorted({*addresses(), *host.imports()} - set(_SIGNATURES))
    return "\n".join((*functions, *(f"@{name} = external global i8" for name in objects)))


def _open(code: EntryCode, idle: int) -> None:
    """From the arguments to the first instruction of each root in turn."""
    layout, offsets = code.layout, code.offsets
    code.start("entry")
    for name, kind in (("result", "ptr"), ("value", "ptr"), ("walk.place", "i64"), ("walk.key", "ptr"),
                       ("walk.value", "ptr")):
        code.do(f"%{name} = alloca {kind}")
    code.store("ptr", "null", "%result")
    for k in range(idle):
        code.call("i32", "PyContextVar_Get", f"ptr @host_idle_{k}", "ptr @none", "ptr %value")
        value = code.load("ptr", "%value")
        code.need(code.unequal("ptr", value, "null"), "failed")
        code.drop(value)
        code.need(code.equal("ptr", value, "@none"), "otherwise")
    code.do("%named = call i64 @count_of(ptr %names)")
    code.do("%count = add i64 %nargs, %named")
    tree = code.load("ptr", "%self", offsets.tree)
    code.need(code.unequal("ptr", tree, "null"), "otherwise")
    code.need(code.has_type(tree, "@host_entry_type"), "otherwise")
    code.do(f"%entry.at = getelementptr i8, ptr {tree}, i64 {offsets.entry}")
    code.do("%held = load ptr, ptr %entry.at")
    code.need(code.unequal("ptr", "%held", "null"), "otherwise")
    code.need(code.has_type("%held", "@host_order_type"), "otherwise")
    order = code.load("ptr", "%held", offsets.order)
    code.need(code.has_type(order, "@type_array"), "otherwise")
    code.do(f"%order.at = getelementptr i8, ptr {order}, i64 {layout.data}")
    code.do("%order = load ptr, ptr %order.at")
    code.keep("%held")
    code.do("%roots = load i64, ptr %order")
    code.do(f"%programs = getelementptr i64, ptr %order, i64 {ORDER_HEADER}")
    before = code.block
    code.jump("try")

    code.start("try")
    code.do(f"%number = phi i64 [ 0, %{before} ], [ %number.next, %again ]")
    code.need(code.let("icmp ult i64 %number, %roots"), "exhausted")
    code.do("%program.at = getelementptr ptr, ptr %programs, i64 %number")
    code.do("%program = load ptr, ptr %program.at")
    code.need(code.equal("i64", code.load("i64", "%program", WORD * POSITIONAL), "%nargs"), "again")
    code.need(code.equal("i64", code.load("i64", "%program", WORD * NAMED), "%named"), "again")
    expected = code.item_at("%program", code.load("i64", "%program", WORD * NAMES))
    given = code.at("%names", layout.items)
    code.for_each("%named", lambda index: code.need(code.equal(
        "ptr", code.load("ptr", code.item_at(given, index)), code.load("ptr", code.item_at(expected, index))), "again"))
    first = code.load("ptr", "%program", WORD * IDLE)

    def grow() -> None:
        made = code.call("ptr", "PyObject_CallNoArgs", f"ptr {code.load('ptr', '%program', WORD * GROW)}")
        code.need(code.unequal("ptr", made, "null"), "broken")
        code.drop(made)
    code.unless(code.unequal("ptr", first, "null"), grow)
    code.do("%frame = load ptr, ptr %program")
    code.need(code.unequal("ptr", "%frame", "null"), "again")
    code.store("ptr", code.load("ptr", "%frame"), "%program", WORD * IDLE)
    code.do(f"%registers = getelementptr i64, ptr %frame, i64 {FRAME_HEADER}")
    code.for_each("%count", lambda index: code.store(
        "ptr", code.load("ptr", code.item_at("%args", index)), code.item_at("%registers", index)))
    code.do("%base = getelementptr ptr, ptr %registers, i64 %count")
    code.do(f"%start = getelementptr i64, ptr %program, i64 {HEADER}")
    code.jump("ready")
    code.start("ready")
    code.jump("dispatch")


def _closing(offsets: HostOffsets) -> str:
    """From the end of a root to the next root, or out of the function."""
    counted = "\n".join(f"  call void @count_one(ptr %counted, i64 {offset})" for offset in offsets.counts)
    return f"""
miss:
  call void @PyErr_Clear()
  br label %unwind
raise:
  br label %unwind
leave:
  br label %unwind
done:
  %first.already = icmp eq i64 %number, 0
  br i1 %first.already, label %unwind, label %advance
advance:
  %there = load ptr, ptr %program.at
  %still.there = icmp eq ptr %there, %program
  br i1 %still.there, label %advance.now, label %unwind
advance.now:
  %second.program = getelementptr ptr, ptr %programs, i64 1
  %moved = mul i64 %number, {WORD}
  call void @llvm.memmove.p0.p0.i64(ptr %second.program, ptr %programs, i64 %moved, i1 false)
  store ptr %program, ptr %programs
  br label %unwind
unwind:
  %outcome = phi i64 [ 0, %miss ], [ 1, %raise ], [ 2, %leave ], [ 1, %done ], [ 1, %advance ], [ 1, %advance.now ]
  %exit = phi i64 [ 0, %miss ], [ 0, %raise ], [ %left.at, %leave ], [ 0, %done ], [ 0, %advance ], [ 0, %advance.now ]
  call void @drop_between(ptr %base, ptr %top)
  %idle = load ptr, ptr %program
  store ptr %idle, ptr %frame
  store ptr %frame, ptr %program
  switch i64 %outcome, label %again [ i64 1, label %returned i64 2, label %left ]
again:
  %number.next = add i64 %number, 1
  br label %try
returned:
  %counted.at = getelementptr ptr, ptr %order, i64 1
  %counted = load ptr, ptr %counted.at
{counted}
  %made = load ptr, ptr %result
  call void @Py_DecRef(ptr %held)
  ret ptr %made
left:
  %root.at = getelementptr ptr, ptr %program, i64 {ROOT}
  %root = load ptr, ptr %root.at
  %after = call ptr @in_python(ptr @host_left, ptr %self, ptr %root, i64 %exit, ptr %args, i64 %nargs, ptr %names)
  call void @Py_DecRef(ptr %held)
  ret ptr %after
broken:
  call void @Py_DecRef(ptr %held)
  ret ptr null
failed:
  ret ptr null
exhausted:
  call void @Py_DecRef(ptr %held)
  br label %otherwise
otherwise:
  %fallen = call ptr @in_python(ptr @host_otherwise, ptr %self, ptr null, i64 0, ptr %args, i64 %nargs, ptr %names)
  ret ptr %fallen
"""
