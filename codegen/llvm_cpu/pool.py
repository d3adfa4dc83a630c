"""pool: the threads that run the chunks of a launch, as LLVM text.

`@launch(kernel, buffers, chunks, failed)` calls kernel(buffers, first, last, failed) until 0..chunks-1 are covered.
The caller publishes a launch, works on it itself like any helper, and waits for what others have claimed:

    caller                                          helper
      publish kernel, buffers, ticket                 sleep until there is a launch
      wake sleepers                                   claim a unit, run it, done += 1; until none is left
      claim a unit, run it, done += 1; until none     spin a while, sleep
      wait until done == units

1. A unit is claimed by compare-and-swap on the ticket (launch number, the units that are left), so a helper that slept
   through a launch can claim nothing of it: its number has changed. The caller claims the first that is left, helpers
   the last, so that what one launch wrote is read by the same processor in the next, whose caches have it.
2. The caller waits for claimed units only, never for a helper to show up. Where helpers do not exist (in a forked
   child, or when none could be started) the caller runs everything itself.
3. One launch at a time uses the pool; a second caller at once runs its launch alone.
4. Which thread runs a unit has no influence on the result: the chunks of a kernel are independent.
5. Helpers take no signal, so a program that waits for one, or handles it in a thread of its own, gets it.
6. Sleeping helpers are woken elsewhere than on their caller's processor, where it may run elsewhere: they may not run
   there until they are awake. Left to itself, the system puts one there now and then, though others are idle (a
   virtual machine's idle processors look busy to it), and leaves it there for a tenth of a second.
7. Without futexes (any system but Linux) `@launch` is a plain call: one thread.
"""
from __future__ import annotations

from string import Template

SYSTEM_CALLS = {
    "x86_64": (202, 186), "aarch64": (98, 178), "riscv64": (98, 178), "ppc64le": (221, 207), "s390x": (238, 236)}
"""The numbers of the system calls futex and gettid on Linux, by machine."""

_PAUSES = {"x86_64": "call void @llvm.x86.sse2.pause()", "aarch64": "call void @llvm.aarch64.hint(i32 1)"}
_PAUSE_DECLARATIONS = {
    "x86_64": "declare void @llvm.x86.sse2.pause()", "aarch64": "declare void @llvm.aarch64.hint(i32)"}

_HELPER_SPINS = 10_000
"""How often an idle helper looks for a launch before it sleeps: some 0.2 ms, to bridge the Python between two runs."""

_CALLER_SPINS = 10_000
"""How often a caller looks for the end of its launch before it sleeps, and may come back on a helper's processor."""

_CALLER_YIELDS = 1024
"""Each time it has looked so often, a power of two, it lets others have its processor: there may be a helper."""

MASK_BYTES = 128
"""A set of processors, as the system has it, for 1024 of them. Where there are more, helpers are not kept off any."""

_PLACED = 1024
"""So many helpers, the first ones, are kept off the caller's processor."""

_SERIAL = """
define void @launch(ptr %kernel, ptr %buffers, i64 %chunks, ptr %failed) nounwind {
  call void %kernel(ptr %buffers, i64 0, i64 %chunks, ptr %failed)
  ret void
}
define void @set_helpers(i32 %helpers) nounwind {
  ret void
}
define void @reset_pool() nounwind {
  ret void
}
"""

_POOL = Template("""
; ---- the pool. What is written by different threads lies on cache lines (in pairs) of its own.
%pool = type {
  i32,          ;  0 published: how many launches there were; idle helpers sleep on it
  i32,          ;  1 sleepers: how many helpers sleep, or are about to
  [30 x i32],
  i64,          ;  3 ticket: launch number << 40 | end of the units that are left << 20 | the first of them
  [15 x i64],
  i32,          ;  5 done: completed units of the launch; the caller sleeps on it
  i32,          ;  6 waiting: the caller sleeps, or is about to
  [30 x i32],
  ptr,          ;  8 kernel
  ptr,          ;  9 buffers
  ptr,          ; 10 failed
  i64,          ; 11 chunks
  i64,          ; 12 span: chunks in a unit
  i32,          ; 13 helpers: how many may take part
  i32,          ; 14 started: how many exist
  i32,          ; 15 busy: a launch is under way
  i32,          ; 16 units of the launch
  [$slots x i32] ; 17 the thread number of each helper once it has begun; the last slot is for those beyond
}
@pool = internal global %pool zeroinitializer, align 128
@published = internal alias i32, ptr @pool
@sleepers = internal alias i32, getelementptr (%pool, ptr @pool, i64 0, i32 1)
@ticket = internal alias i64, getelementptr (%pool, ptr @pool, i64 0, i32 3)
@done = internal alias i32, getelementptr (%pool, ptr @pool, i64 0, i32 5)
@waiting = internal alias i32, getelementptr (%pool, ptr @pool, i64 0, i32 6)
@pool.kernel = internal alias ptr, getelementptr (%pool, ptr @pool, i64 0, i32 8)
@pool.buffers = internal alias ptr, getelementptr (%pool, ptr @pool, i64 0, i32 9)
@pool.failed = internal alias ptr, getelementptr (%pool, ptr @pool, i64 0, i32 10)
@pool.chunks = internal alias i64, getelementptr (%pool, ptr @pool, i64 0, i32 11)
@span = internal alias i64, getelementptr (%pool, ptr @pool, i64 0, i32 12)
@helpers = internal alias i32, getelementptr (%pool, ptr @pool, i64 0, i32 13)
@started = internal alias i32, getelementptr (%pool, ptr @pool, i64 0, i32 14)
@busy = internal alias i32, getelementptr (%pool, ptr @pool, i64 0, i32 15)
@units = internal alias i32, getelementptr (%pool, ptr @pool, i64 0, i32 16)

declare i64 @syscall(i64, ...)
declare i32 @sched_getcpu()
declare i32 @sched_yield()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i64 @llvm.umin.i64(i64, i64)
$declare_pause

; sleep while *word == expected; operation 128 is FUTEX_WAIT_PRIVATE
define internal void @wait_on(ptr %word, i32 %expected) nounwind {
  %wide = zext i32 %expected to i64
  call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i64 128, i64 %wide, ptr null, ptr null, i64 0)
  ret void
}

; wake up to `count` of those that sleep on the word; operation 129 is FUTEX_WAKE_PRIVATE
define internal void @wake(ptr %word, i32 %count) nounwind {
  %wide = zext i32 %count to i64
  call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i64 129, i64 %wide, ptr null, ptr null, i64 0)
  ret void
}

; claim and run units of the published launch until none is left, the last ones first or the first ones
define internal void @drain(i1 %last.first) nounwind {
entry:
  %first = load atomic i64, ptr @ticket acquire, align 8
  br label %look
look:
  %ticket.seen = phi i64 [ %first, %entry ], [ %ticket.now, %claim ], [ %ticket.again, %finished ]
  %lowest = and i64 %ticket.seen, 1048575
  %above = lshr i64 %ticket.seen, 20
  %end.of.left = and i64 %above, 1048575
  %left = icmp ult i64 %lowest, %end.of.left
  br i1 %left, label %claim, label %out
claim:
  %highest = sub i64 %end.of.left, 1
  %unit = select i1 %last.first, i64 %highest, i64 %lowest
  %claimed = select i1 %last.first, i64 -1048576, i64 1
  %ticket.next = add i64 %ticket.seen, %claimed
  %swap = cmpxchg ptr @ticket, i64 %ticket.seen, i64 %ticket.next acq_rel acquire, align 8
  %ticket.now = extractvalue { i64, i1 } %swap, 0
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %run, label %look
run:                                  ; from here until done counts the unit, the launch cannot end
  %kernel = load ptr, ptr @pool.kernel
  %buffers = load ptr, ptr @pool.buffers
  %failed = load ptr, ptr @pool.failed
  %chunks = load i64, ptr @pool.chunks
  %in.unit = load i64, ptr @span
  %units.all = load i32, ptr @units
  %begin = mul i64 %unit, %in.unit
  %end.whole = add i64 %begin, %in.unit
  %end = call i64 @llvm.umin.i64(i64 %end.whole, i64 %chunks)
  call void %kernel(ptr %buffers, i64 %begin, i64 %end, ptr %failed)
  %done.before = atomicrmw add ptr @done, i32 1 seq_cst, align 4
  %done.now = add i32 %done.before, 1
  %last = icmp eq i32 %done.now, %units.all
  br i1 %last, label %tell, label %finished
tell:
  %asleep = load atomic i32, ptr @waiting seq_cst, align 4
  %someone = icmp ne i32 %asleep, 0
  br i1 %someone, label %wake.caller, label %finished
wake.caller:
  call void @wake(ptr @done, i32 1)
  br label %finished
finished:
  %ticket.again = load atomic i64, ptr @ticket acquire, align 8
  br label %look
out:
  ret void
}

; the life of a helper; the argument is its number
define internal ptr @helper(ptr %argument) nounwind {
entry:
  %number.wide = ptrtoint ptr %argument to i64
  %number = trunc i64 %number.wide to i32
  %thread.wide = call i64 (i64, ...) @syscall(i64 $gettid)
  %thread = trunc i64 %thread.wide to i32
  %place = call i64 @llvm.umin.i64(i64 %number.wide, i64 $placed)
  %thread.at = getelementptr %pool, ptr @pool, i64 0, i32 17, i64 %place
  store atomic i32 %thread, ptr %thread.at seq_cst, align 4
  br label %top
top:
  %seen = load atomic i32, ptr @published seq_cst, align 4
  %allowed = load atomic i32, ptr @helpers seq_cst, align 4
  %wanted = icmp ult i32 %number, %allowed
  br i1 %wanted, label %work, label %sleep
work:
  call void @drain(i1 true)
  br label %spin
spin:
  %count = phi i32 [ 0, %work ], [ %count.next, %pause ]
  %now = load atomic i32, ptr @published acquire, align 4
  %new = icmp ne i32 %now, %seen
  br i1 %new, label %top, label %pause
pause:
  $pause
  %count.next = add i32 %count, 1
  %patient = icmp ult i32 %count.next, $helper_spins
  br i1 %patient, label %spin, label %sleep
sleep:
  %before = atomicrmw add ptr @sleepers, i32 1 seq_cst, align 4
  call void @wait_on(ptr @published, i32 %seen)
  %after = atomicrmw sub ptr @sleepers, i32 1 seq_cst, align 4
  br label %top
}

; start helpers until there are `count`; be content with those that the system allows.
; They inherit the mask of signals: all are blocked but those that a fault raises (ILL, BUS, FPE, SEGV).
define internal void @start(i32 %count) nounwind {
entry:
  %thread = alloca i64
  %signals = alloca [128 x i8], align 8
  %before = alloca [128 x i8], align 8
  %filled = call i32 @sigfillset(ptr %signals)
  %ill = call i32 @sigdelset(ptr %signals, i32 4)
  %bus = call i32 @sigdelset(ptr %signals, i32 7)
  %fpe = call i32 @sigdelset(ptr %signals, i32 8)
  %segv = call i32 @sigdelset(ptr %signals, i32 11)
  %blocked = call i32 @pthread_sigmask(i32 0, ptr %signals, ptr %before)
  %first = load i32, ptr @started
  br label %check
check:
  %number = phi i32 [ %first, %entry ], [ %next, %created ]
  %enough = icmp uge i32 %number, %count
  br i1 %enough, label %out, label %create
create:
  %wide = zext i32 %number to i64
  %place = call i64 @llvm.umin.i64(i64 %wide, i64 $placed)
  %thread.at = getelementptr %pool, ptr @pool, i64 0, i32 17, i64 %place
  store atomic i32 0, ptr %thread.at seq_cst, align 4
  %argument = inttoptr i64 %wide to ptr
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @helper, ptr %argument)
  %refused = icmp ne i32 %error, 0
  br i1 %refused, label %content, label %created
created:
  %handle = load i64, ptr %thread
  %ignored = call i32 @pthread_detach(i64 %handle)
  %next = add i32 %number, 1
  store i32 %next, ptr @started
  br label %check
content:
  store atomic i32 %number, ptr @helpers seq_cst, align 4
  br label %out
out:
  %restored = call i32 @pthread_sigmask(i32 2, ptr %before, ptr null)
  ret void
}

; all helpers may run on these processors; where the system refuses, they stay where they may
define internal void @place_helpers(ptr %mask) nounwind {
entry:
  %exist = load i32, ptr @started
  %exist.wide = zext i32 %exist to i64
  %count = call i64 @llvm.umin.i64(i64 %exist.wide, i64 $placed)
  br label %check
check:
  %number = phi i64 [ 0, %entry ], [ %next, %passed ]
  %left = icmp ult i64 %number, %count
  br i1 %left, label %look, label %out
look:
  %next = add i64 %number, 1
  %thread.at = getelementptr %pool, ptr @pool, i64 0, i32 17, i64 %number
  %thread = load atomic i32, ptr %thread.at monotonic, align 4
  %begun = icmp ne i32 %thread, 0     ; 0 would be this thread
  br i1 %begun, label %place, label %passed
place:
  %refused = call i32 @sched_setaffinity(i32 %thread, i64 $mask_bytes, ptr %mask)
  br label %passed
passed:
  br label %check
out:
  ret void
}

; wake up to `count` helpers elsewhere: while it wakes them they may run where this thread may, but not where it is
define internal void @wake_apart(i32 %count) nounwind {
entry:
  %all = alloca [$mask_bytes x i8], align 8
  %others = alloca [$mask_bytes x i8], align 8
  %here = call i32 @sched_getcpu()
  %asked = call i32 @sched_getaffinity(i32 0, i64 $mask_bytes, ptr %all)
  %told = icmp eq i32 %asked, 0
  %known = icmp ult i32 %here, $processors
  %both = and i1 %told, %known
  br i1 %both, label %exclude, label %anywhere
exclude:
  %mask = load i$processors, ptr %all, align 8
  store i$processors %mask, ptr %others, align 8
  %here.wide = zext i32 %here to i64
  %word.number = lshr i64 %here.wide, 6
  %word.at = getelementptr i64, ptr %others, i64 %word.number
  %bit.number = and i64 %here.wide, 63
  %bit = shl i64 1, %bit.number
  %without = xor i64 %bit, -1
  %word = load i64, ptr %word.at
  %word.left = and i64 %word, %without
  store i64 %word.left, ptr %word.at
  %mask.left = load i$processors, ptr %others, align 8
  %elsewhere = icmp ne i$processors %mask.left, 0
  br i1 %elsewhere, label %apart, label %anywhere
apart:
  call void @place_helpers(ptr %others)
  call void @wake(ptr @published, i32 %count)
  call void @place_helpers(ptr %all)
  ret void
anywhere:
  call void @wake(ptr @published, i32 %count)
  ret void
}

define void @launch(ptr %kernel, ptr %buffers, i64 %chunks, ptr %failed) nounwind {
entry:
  %several = icmp ugt i64 %chunks, 1
  %allowed = load atomic i32, ptr @helpers monotonic, align 4
  %helped = icmp ne i32 %allowed, 0
  %parallel = and i1 %several, %helped
  br i1 %parallel, label %try, label %alone
try:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic, align 4
  %free = extractvalue { i32, i1 } %swap, 1
  br i1 %free, label %ours, label %alone
alone:
  call void %kernel(ptr %buffers, i64 0, i64 %chunks, ptr %failed)
  ret void
ours:
  %exist = load i32, ptr @started
  %missing = icmp ult i32 %exist, %allowed
  br i1 %missing, label %more, label %publish
more:
  call void @start(i32 %allowed)
  br label %publish
publish:
  %chunks.up = add i64 %chunks, 524287
  %in.unit = lshr i64 %chunks.up, 19
  %units.up = add i64 %chunks, %in.unit
  %units.top = sub i64 %units.up, 1
  %units = udiv i64 %units.top, %in.unit
  store ptr %kernel, ptr @pool.kernel
  store ptr %buffers, ptr @pool.buffers
  store ptr %failed, ptr @pool.failed
  store i64 %chunks, ptr @pool.chunks
  store i64 %in.unit, ptr @span
  %units.all = trunc i64 %units to i32
  store i32 %units.all, ptr @units
  store atomic i32 0, ptr @done monotonic, align 4
  %old = load atomic i64, ptr @ticket monotonic, align 8
  %launch.old = lshr i64 %old, 40
  %launch.new = add i64 %launch.old, 1
  %high = shl i64 %launch.new, 40
  %middle = shl i64 %units, 20
  %new = or i64 %high, %middle
  store atomic i64 %new, ptr @ticket seq_cst, align 8
  %published.before = atomicrmw add ptr @published, i32 1 seq_cst, align 4
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %someone = icmp ne i32 %asleep, 0
  br i1 %someone, label %wake.helpers, label %work
wake.helpers:                         ; all, if there are some that may not take part
  %units.narrow = trunc i64 %units to i32
  %useful = sub i32 %units.narrow, 1
  %exist.now = load i32, ptr @started
  %surplus = icmp ugt i32 %exist.now, %allowed
  %count = select i1 %surplus, i32 2147483647, i32 %useful
  call void @wake_apart(i32 %count)
  br label %work
work:
  call void @drain(i1 false)
  br label %spin
spin:
  %spins = phi i32 [ 0, %work ], [ %spins.next, %again ]
  %done.seen = load atomic i32, ptr @done acquire, align 4
  %complete = icmp eq i32 %done.seen, %units.all
  br i1 %complete, label %out, label %pause
pause:
  $pause
  %spins.next = add i32 %spins, 1
  %since.yield = urem i32 %spins.next, $caller_yields
  %long = icmp eq i32 %since.yield, 0
  br i1 %long, label %yield, label %again
yield:
  %yielded = call i32 @sched_yield()
  br label %again
again:
  %patient = icmp ult i32 %spins.next, $caller_spins
  br i1 %patient, label %spin, label %settle
settle:
  store atomic i32 1, ptr @waiting seq_cst, align 4
  br label %sleep
sleep:
  %done.now = load atomic i32, ptr @done seq_cst, align 4
  %complete.now = icmp eq i32 %done.now, %units.all
  br i1 %complete.now, label %awake, label %nap
nap:
  call void @wait_on(ptr @done, i32 %done.now)
  br label %sleep
awake:
  store atomic i32 0, ptr @waiting seq_cst, align 4
  br label %out
out:
  store atomic i32 0, ptr @busy release, align 4
  ret void
}

define void @set_helpers(i32 %count) nounwind {
  store atomic i32 %count, ptr @helpers seq_cst, align 4
  ret void
}

; in a forked child: no helper exists, no launch is under way; helpers are started anew by the next launch
define void @reset_pool() nounwind {
  store atomic i32 0, ptr @started seq_cst, align 4
  store atomic i32 0, ptr @sleepers seq_cst, align 4
  store atomic i32 0, ptr @waiting seq_cst, align 4
  %old = load atomic i64, ptr @ticket seq_cst, align 8
  %launch = lshr i64 %old, 40
  %launch.next = add i64 %launch, 1
  %new = shl i64 %launch.next, 40
  store atomic i64 %new, ptr @ticket seq_cst, align 8
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
}
""")


def pool_text(system: str, machine: str) -> str:
    """The LLVM text of @launch, @set_helpers(helpers) and @reset_pool(): over futexes where there are any, else serial.

    `system` and `machine` as platform.system() and platform.machine() give them.
    """
    if system != "Linux" or machine not in SYSTEM_CALLS:
        return _SERIAL
    futex, gettid = SYSTEM_CALLS[machine]
    return _POOL.substitute(
        futex=futex, gettid=gettid, helper_spins=_HELPER_SPINS, caller_spins=_CALLER_SPINS,
        caller_yields=_CALLER_YIELDS, placed=_PLACED, slots=_PLACED + 1, mask_bytes=MASK_BYTES,
        processors=8 * MASK_BYTES,
        pause=_PAUSES.get(machine, "; no hint for the processor"), declare_pause=_PAUSE_DECLARATIONS.get(machine, ""))
