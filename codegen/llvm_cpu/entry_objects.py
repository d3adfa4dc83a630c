"""What the entry does with objects in many places, as LLVM text.

    @count_of(names)                     how many names there are, which null stands for if there are none
    @drop_between(first, end)            give up the references in registers, the last first
    @count_one(object, offset)           one more in a slot that holds an int
    @packed, @named                      the arguments of a call as Python has them, a tuple and a dict
    @in_python(function, self, root, exit, args, nargs, names)        the call as one of a Python function
"""
from __future__ import annotations

from codegen.llvm_cpu.entry_code import WORD, EntryCode
from codegen.llvm_cpu.entry_host import HostOffsets
from codegen.llvm_cpu.objects import LARGEST_DIGIT, Layout


def objects_text(layout: Layout, offsets: HostOffsets) -> str:
    """The text of all of them."""
    return _TEXT + _count_one(layout, offsets) + _drop_between(layout, offsets)


def _count_one(layout: Layout, offsets: HostOffsets) -> str:
    """An int that nothing but the slot holds is counted where it is; another one takes the place of any other."""
    code = EntryCode(layout, offsets, "c")
    code.start("entry")
    at = code.at("%object", "%offset")
    before = code.load("ptr", at)
    code.need(code.is_held_once(before), "anew")
    code.need(code.has_type(before, "@type_int"), "anew")
    code.need(code.equal("i64", code.load("i64", before, layout.size), str(layout.one_digit)), "anew")
    digit = code.load("i32", before, layout.digit)
    code.need(code.let(f"icmp ult i32 {digit}, {LARGEST_DIGIT}"), "anew")
    code.store("i32", code.let(f"add i32 {digit}, 1"), before, layout.digit)
    code.do("ret void")
    code.start("anew")
    number = code.call("i64", "PyLong_AsLongLong", f"ptr {before}")
    after = code.call("ptr", "PyLong_FromLongLong", f"i64 {code.let(f'add i64 {number}, 1')}")

    def replace() -> None:
        code.store("ptr", after, at)
        code.do(f"call void @Py_DecRef(ptr {before})")
    code.unless(code.equal("ptr", after, "null"), replace)
    code.do("ret void")
    return "\n".join((
        "define internal void @count_one(ptr %object, i64 %offset) nounwind {", *code.lines, "}", ""))


def _drop_between(layout: Layout, offsets: HostOffsets) -> str:
    code = EntryCode(layout, offsets, "d")
    code.start("one")
    code.do(f"%before = getelementptr i8, ptr %at, i64 {-WORD}")
    code.drop(code.load("ptr", "%before"))
    after = code.block
    code.jump("next")
    return "\n".join((
        "define internal void @drop_between(ptr %first, ptr %end) nounwind {", "entry:", "  br label %next", "next:",
        f"  %at = phi ptr [ %end, %entry ], [ %before, %{after} ]", "  %more = icmp ugt ptr %at, %first",
        "  br i1 %more, label %one, label %out", *code.lines, "out:", "  ret void", "}", ""))


_TEXT = """
define internal i64 @count_of(ptr %names) nounwind {
  %none = icmp eq ptr %names, null
  br i1 %none, label %zero, label %some
zero:
  ret i64 0
some:
  %at = getelementptr i64, ptr %names, i64 2
  %count = load i64, ptr %at
  ret i64 %count
}

; the positional arguments as a tuple
define internal ptr @packed(ptr %args, i64 %count) nounwind {
entry:
  %made = call ptr @PyTuple_New(i64 %count)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %out, label %fill
fill:
  %items = getelementptr i64, ptr %made, i64 3
  br label %next
next:
  %index = phi i64 [ 0, %fill ], [ %following, %one ]
  %more = icmp ult i64 %index, %count
  br i1 %more, label %one, label %out
one:
  %from = getelementptr ptr, ptr %args, i64 %index
  %to = getelementptr ptr, ptr %items, i64 %index
  %object = load ptr, ptr %from
  call void @Py_IncRef(ptr %object)
  store ptr %object, ptr %to
  %following = add i64 %index, 1
  br label %next
out:
  ret ptr %made
}

; the others as a dict
define internal ptr @named(ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %made = call ptr @PyDict_New()
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %out, label %fill
fill:
  %count = call i64 @count_of(ptr %names)
  %keys = getelementptr i64, ptr %names, i64 3
  %values = getelementptr ptr, ptr %args, i64 %nargs
  br label %next
next:
  %index = phi i64 [ 0, %fill ], [ %following, %one ]
  %more = icmp ult i64 %index, %count
  br i1 %more, label %one, label %out
one:
  %key.at = getelementptr ptr, ptr %keys, i64 %index
  %value.at = getelementptr ptr, ptr %values, i64 %index
  %key = load ptr, ptr %key.at
  %value = load ptr, ptr %value.at
  %status = call i32 @PyDict_SetItem(ptr %made, ptr %key, ptr %value)
  %following = add i64 %index, 1
  %good = icmp eq i32 %status, 0
  br i1 %good, label %next, label %bad
bad:
  call void @Py_DecRef(ptr %made)
  ret ptr null
out:
  ret ptr %made
}

; function(self, [root, exit,] args, kwargs)
define internal ptr @in_python(ptr %function, ptr %self, ptr %root, i64 %exit, ptr %args, i64 %nargs, ptr %names) {
entry:
  %given = alloca [5 x ptr]
  %tuple = call ptr @packed(ptr %args, i64 %nargs)
  %no.tuple = icmp eq ptr %tuple, null
  br i1 %no.tuple, label %out, label %packed
packed:
  %dict = call ptr @named(ptr %args, i64 %nargs, ptr %names)
  %no.dict = icmp eq ptr %dict, null
  br i1 %no.dict, label %drop.tuple, label %both
both:
  store ptr %self, ptr %given
  %second = getelementptr ptr, ptr %given, i64 1
  %third = getelementptr ptr, ptr %given, i64 2
  %fourth = getelementptr ptr, ptr %given, i64 3
  %fifth = getelementptr ptr, ptr %given, i64 4
  %short = icmp eq ptr %root, null
  br i1 %short, label %three, label %five
three:
  store ptr %tuple, ptr %second
  store ptr %dict, ptr %third
  %short.result = call ptr @PyObject_Vectorcall(ptr %function, ptr %given, i64 3, ptr null)
  br label %called
five:
  %number = call ptr @PyLong_FromLongLong(i64 %exit)
  %no.number = icmp eq ptr %number, null
  br i1 %no.number, label %called, label %five.more
five.more:
  store ptr %root, ptr %second
  store ptr %number, ptr %third
  store ptr %tuple, ptr %fourth
  store ptr %dict, ptr %fifth
  %long.result = call ptr @PyObject_Vectorcall(ptr %function, ptr %given, i64 5, ptr null)
  call void @Py_DecRef(ptr %number)
  br label %called
called:
  %made = phi ptr [ %short.result, %three ], [ null, %five ], [ %long.result, %five.more ]
  call void @Py_DecRef(ptr %dict)
  br label %drop.tuple
drop.tuple:
  %result = phi ptr [ null, %packed ], [ %made, %called ]
  call void @Py_DecRef(ptr %tuple)
  ret ptr %result
out:
  ret ptr null
}
"""
