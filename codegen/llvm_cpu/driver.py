"""driver: the native function that runs a program of words (see encoding), compiled once for a machine.

A run has a frame: words of its own, where the driver finds the program, the storage of every buffer, and room.

    frame:    program | failed | slot 0 .. slot s-1 | room for the params of a launch

1. Slots 0..arguments-1 are the arguments of the run, whose pointers each run fills in; the others stay.
2. A program is only read, so any number of runs may be in it, each with a frame.
3. An observer (see observer) that is set when a run begins is given its launches to make, and told where it begins and
   ends. Without one a run loads a pointer, and each launch tests it in a register.
"""
from __future__ import annotations

from codegen.llvm_cpu.interruptions import INTERRUPTED

STOP, CHECK, LAUNCH, BRANCH, SWITCH, POLL = range(6)
"""The first word of each instruction."""

CHECK_EXIT = 0
"""The exit taken where a check fails."""

SLOT_BITS = 24
"""The low bits of an operand of a launch are its slot, those above them the bytes of the slot that come before it."""

COPY_CHUNK_BYTES = 1 << 18

HEADER_WORDS = 3
"""arguments, does it call BLAS, word of the frame where the room for params begins."""

FRAME_SLOTS = 2
"""The word of a frame where the slots begin."""


SIGNED_KIND = 4
"""The kinds of numbers in a switch: how often its bytes double, 0 to 3, and this if they have a sign."""


_KINDS = {k + SIGNED_KIND * signed: f"{'i' if signed else 'u'}{8 << k}" for signed in (False, True) for k in range(4)}

_NUMBERS_TEXT = "".join(f"""
{name}:
  %{name}.value = load i{name[1:]}, ptr %value.at
""" + (f"  %{name}.number = add i64 %{name}.value, 0" if name[1:] == "64" else
       f"  %{name}.number = {name[0].replace('u', 'z').replace('i', 's')}ext i{name[1:]} %{name}.value to i64") + """
  br label %search
""" for name in _KINDS.values())

EXPORTS = ("copy", "fill_zero", "together", "drive", "after_fork", "set_observer")
"""What DRIVER_TEXT defines to be called from outside."""

DRIVER_TEXT = f"""
; ---- the driver
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)

; buffers: source, target; literals: bytes
define void @copy(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {{
  %target.at = getelementptr ptr, ptr %buffers, i64 1
  %literals.at = getelementptr ptr, ptr %buffers, i64 2
  %source = load ptr, ptr %buffers
  %target = load ptr, ptr %target.at
  %literals = load ptr, ptr %literals.at
  %size = load i64, ptr %literals
  %begin = mul i64 %first, {COPY_CHUNK_BYTES}
  %end.whole = mul i64 %last, {COPY_CHUNK_BYTES}
  %end = call i64 @llvm.umin.i64(i64 %end.whole, i64 %size)
  %length = sub i64 %end, %begin
  %from = getelementptr i8, ptr %source, i64 %begin
  %to = getelementptr i8, ptr %target, i64 %begin
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %length, i1 false)
  ret void
}}

; buffers: target; literals: bytes
define void @fill_zero(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {{
  %literals.at = getelementptr ptr, ptr %buffers, i64 1
  %target = load ptr, ptr %buffers
  %literals = load ptr, ptr %literals.at
  %size = load i64, ptr %literals
  %begin = mul i64 %first, {COPY_CHUNK_BYTES}
  %end.whole = mul i64 %last, {COPY_CHUNK_BYTES}
  %end = call i64 @llvm.umin.i64(i64 %end.whole, i64 %size)
  %length = sub i64 %end, %begin
  %to = getelementptr i8, ptr %target, i64 %begin
  call void @llvm.memset.p0.i64(ptr %to, i8 0, i64 %length, i1 false)
  ret void
}}

; several launches in one. buffers: a table, then those of each; the table: how many they are, for each its kernel, the
; first of its chunks among those of all and where its buffers are, then 0 and the chunks of all
define void @together(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {{
entry:
  %table = load ptr, ptr %buffers
  %count = load i64, ptr %table
  br label %look
look:
  %n = phi i64 [ 0, %entry ], [ %n.next, %passed ]
  %more = icmp ult i64 %n, %count
  br i1 %more, label %member, label %end
member:
  %n.next = add i64 %n, 1
  %row = mul i64 %n, 3
  %kernel.word = add i64 %row, 1
  %begin.word = add i64 %row, 2
  %where.word = add i64 %row, 3
  %stop.word = add i64 %row, 5
  %kernel.at = getelementptr i64, ptr %table, i64 %kernel.word
  %begin.at = getelementptr i64, ptr %table, i64 %begin.word
  %where.at = getelementptr i64, ptr %table, i64 %where.word
  %stop.at = getelementptr i64, ptr %table, i64 %stop.word
  %begin = load i64, ptr %begin.at
  %stop = load i64, ptr %stop.at
  %from.all = call i64 @llvm.smax.i64(i64 %first, i64 %begin)
  %to.all = call i64 @llvm.smin.i64(i64 %last, i64 %stop)
  %some = icmp slt i64 %from.all, %to.all
  br i1 %some, label %run, label %passed
run:
  %kernel = load ptr, ptr %kernel.at
  %where = load i64, ptr %where.at
  %own = getelementptr ptr, ptr %buffers, i64 %where
  %from = sub i64 %from.all, %begin
  %to = sub i64 %to.all, %begin
  call void %kernel(ptr %own, i64 %from, i64 %to, ptr %failed)
  br label %passed
passed:
  br label %look
end:
  ret void
}}

@observer = internal global ptr null

; observer(kernel, params, chunks, failed, instruction); a null for the kernel: a run of the program at `instruction`
; begins (0 chunks) or ends (1)
define void @set_observer(ptr %observer) nounwind {{
  store atomic ptr %observer, ptr @observer seq_cst, align 8
  ret void
}}

; run the program of a frame whose slots are filled; the result at which it stops
define i64 @drive(ptr %frame) nounwind {{
entry:
  %program = load ptr, ptr %frame
  %failed = getelementptr i64, ptr %frame, i64 1
  %slots = getelementptr i64, ptr %frame, i64 {FRAME_SLOTS}
  store i64 0, ptr %failed
  %multiplies.at = getelementptr i64, ptr %program, i64 1
  %room.at = getelementptr i64, ptr %program, i64 2
  %multiplies = load i64, ptr %multiplies.at
  %room = load i64, ptr %room.at
  %params = getelementptr i64, ptr %frame, i64 %room
  %start = getelementptr i64, ptr %program, i64 {HEADER_WORDS}
  %blas = icmp ne i64 %multiplies, 0
  %observer = load atomic ptr, ptr @observer monotonic, align 8
  %observed = icmp ne ptr %observer, null
  br i1 %observed, label %tell.begin, label %begin
tell.begin:
  call void %observer(ptr null, ptr null, i64 0, ptr null, ptr %program)
  br label %begin
begin:
  br i1 %blas, label %hold, label %next
hold:
  call void @hold_blas()
  br label %next
next:
  %at = phi ptr [ %start, %begin ], [ %start, %hold ], [ %after.check, %passed ], [ %after.launch, %launched ],
    [ %after.branch, %branch ], [ %after.switch, %turn ], [ %word.1.at, %poll ]
  %word.1.at = getelementptr i64, ptr %at, i64 1
  %code = load i64, ptr %at
  switch i64 %code, label %stop [ i64 {CHECK}, label %check i64 {LAUNCH}, label %gather
                                  i64 {BRANCH}, label %branch i64 {SWITCH}, label %switch
                                  i64 {POLL}, label %poll ]

check:
  %flag = load i32, ptr %failed
  %bad = icmp ne i32 %flag, 0
  br i1 %bad, label %leave, label %passed
passed:
  %after.check = getelementptr i64, ptr %at, i64 2
  br label %next
leave:
  %exit = load i64, ptr %word.1.at
  br label %finish

gather:
  %kernel.at = getelementptr i64, ptr %at, i64 2
  %chunks.at = getelementptr i64, ptr %at, i64 3
  %count.at = getelementptr i64, ptr %at, i64 4
  %operands = getelementptr i64, ptr %at, i64 5
  %length = load i64, ptr %word.1.at
  %kernel = load ptr, ptr %kernel.at
  %chunks = load i64, ptr %chunks.at
  %count = load i64, ptr %count.at
  br label %param
param:
  %index = phi i64 [ 0, %gather ], [ %index.next, %resolve ]
  %complete = icmp eq i64 %index, %count
  br i1 %complete, label %run, label %resolve
resolve:
  %slot.at = getelementptr i64, ptr %operands, i64 %index
  %place = load i64, ptr %slot.at
  %slot = and i64 %place, {(1 << SLOT_BITS) - 1}
  %before = lshr i64 %place, {SLOT_BITS}
  %whole.at = getelementptr ptr, ptr %slots, i64 %slot
  %whole = load ptr, ptr %whole.at
  %storage = getelementptr i8, ptr %whole, i64 %before
  %param.at = getelementptr ptr, ptr %params, i64 %index
  store ptr %storage, ptr %param.at
  %index.next = add i64 %index, 1
  br label %param
run:
  %literals = getelementptr i64, ptr %operands, i64 %count
  %last.at = getelementptr ptr, ptr %params, i64 %count
  store ptr %literals, ptr %last.at
  br i1 %observed, label %show, label %plain
show:
  call void %observer(ptr %kernel, ptr %params, i64 %chunks, ptr %failed, ptr %at)
  br label %launched
plain:
  call void @launch(ptr %kernel, ptr %params, i64 %chunks, ptr %failed)
  br label %launched
launched:
  %after.launch = getelementptr i64, ptr %at, i64 %length
  br label %next

poll:
  %interrupted = call i1 @poll()
  br i1 %interrupted, label %finish, label %next

branch:
  %truth.slot = load i64, ptr %word.1.at
  %truth.at.at = getelementptr ptr, ptr %slots, i64 %truth.slot
  %truth.at = load ptr, ptr %truth.at.at
  %truth = load i8, ptr %truth.at
  %false = icmp eq i8 %truth, 0
  %way = select i1 %false, i64 3, i64 2
  %way.at = getelementptr i64, ptr %at, i64 %way
  %way.word = load i64, ptr %way.at
  %after.branch = getelementptr i64, ptr %program, i64 %way.word
  br label %next

switch:
  %kind.at = getelementptr i64, ptr %at, i64 2
  %cases.at = getelementptr i64, ptr %at, i64 3
  %default.at = getelementptr i64, ptr %at, i64 4
  %value.slot = load i64, ptr %word.1.at
  %kind = load i64, ptr %kind.at
  %cases = load i64, ptr %cases.at
  %value.at.at = getelementptr ptr, ptr %slots, i64 %value.slot
  %value.at = load ptr, ptr %value.at.at
  switch i64 %kind, label %{_KINDS[0]} [ {" ".join(f"i64 {k}, label %{name}" for k, name in _KINDS.items())} ]
{_NUMBERS_TEXT}
search:
  %number = phi i64 {", ".join(f"[ %{name}.number, %{name} ]" for name in _KINDS.values())}
  br label %case
case:
  %case.index = phi i64 [ 0, %search ], [ %case.next, %other ]
  %exhausted = icmp eq i64 %case.index, %cases
  br i1 %exhausted, label %turn, label %compare
compare:
  %pair = mul i64 %case.index, 2
  %pair.word = add i64 %pair, 5
  %case.at = getelementptr i64, ptr %at, i64 %pair.word
  %case.number = load i64, ptr %case.at
  %matches = icmp eq i64 %case.number, %number
  br i1 %matches, label %matched, label %other
other:
  %case.next = add i64 %case.index, 1
  br label %case
matched:
  %matched.at = getelementptr i64, ptr %case.at, i64 1
  br label %turn
turn:
  %turn.at = phi ptr [ %default.at, %case ], [ %matched.at, %matched ]
  %turn.word = load i64, ptr %turn.at
  %after.switch = getelementptr i64, ptr %program, i64 %turn.word
  br label %next

stop:
  %outcome = load i64, ptr %word.1.at
  br label %finish
finish:
  %result = phi i64 [ %outcome, %stop ], [ %exit, %leave ], [ {INTERRUPTED}, %poll ]
  br i1 %blas, label %release, label %done
release:
  call void @release_blas()
  br label %done
done:
  br i1 %observed, label %tell.end, label %out
tell.end:
  call void %observer(ptr null, ptr null, i64 1, ptr null, ptr %program)
  br label %out
out:
  ret i64 %result
}}

; a forked child has no helpers and no runs under way
define void @after_fork() nounwind {{
  call void @reset_pool()
  call void @reset_blas()
  ret void
}}
"""
"""@copy, @fill_zero, @drive(frame) and @after_fork(); beside the texts of threads, blas and interruptions."""
