"""observer: how long each launch of this process takes, noted by native code while somebody wants to know.

    drive ──► observe(kernel, params, chunks, failed, instruction) ──► launch(share, ...) ──► kernel, in each thread
                 │ clock                                                  │ clock, thread
                 └──────────────► records: what, where in which program, thread, begin, end, chunks

1. Nothing of it exists until the first start(): it is a module of its own, compiled then and kept in the cache. Without
   an observer the driver makes launches itself.
2. A thread's part in a launch is one record, however many chunks it ran; parts beyond THREADS threads are left out.
3. Records lie in one buffer, which stays until the process ends, since a run that has begun goes on writing. What does
   not fit is counted, not kept.
4. Programs that exist while somebody observes are kept alive until the records are read.
5. Where there is no clock that native code can read, start() does nothing, and no record is found.
"""
from __future__ import annotations

import ctypes
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from string import Template
from typing import Any

import numpy as np

from codegen.cache import content_key, default_cache
from codegen.executable import Measured, NativeEvent, clock_ns
from codegen.ir.structs import struct
from codegen.llvm_cpu.clock import host_clock, now_text
from codegen.llvm_cpu.encoding import Encoding
from codegen.llvm_cpu.identity import machine_identity
from codegen.llvm_cpu.link import COLD
from codegen.llvm_cpu.loading import Loading
from codegen.llvm_cpu.runtime import runtime
from codegen.schedule.step_reports import StepTime

RECORDS, WORDS, THREADS = 1 << 20, 6, 64
"""How many records there is room for, the words of each, and the threads whose parts in a launch are told apart."""

BEGIN, END, STEP, PART = range(4)
"""The first word of a record: a run begins, a run ends, a step, a thread's part in one."""

_TEXT = Template("""
declare i64 @pthread_self()
declare void @launch(ptr, ptr, i64, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

%part = type { i64, i64, i64, i64 }     ; thread, begin, end, chunks
@records = internal global ptr null
@next = internal global i64 0

define void @set_records(ptr %records) nounwind {
  store ptr %records, ptr @records
  store atomic i64 0, ptr @next seq_cst, align 8
  ret void
}

; how many records there would be if there was room for all
define i64 @count_records() nounwind {
  %count = load atomic i64, ptr @next seq_cst, align 8
  ret i64 %count
}

define internal void @note(i64 %kind, ptr %where, i64 %thread, i64 %begin, i64 %end, i64 %chunks) nounwind {
  %index = atomicrmw add ptr @next, i64 1 monotonic, align 8
  %fits = icmp ult i64 %index, $records
  br i1 %fits, label %write, label %out
write:
  %records = load ptr, ptr @records
  %word = mul i64 %index, $words
  %record = getelementptr i64, ptr %records, i64 %word
  %where.at = getelementptr i64, ptr %record, i64 1
  %thread.at = getelementptr i64, ptr %record, i64 2
  %begin.at = getelementptr i64, ptr %record, i64 3
  %end.at = getelementptr i64, ptr %record, i64 4
  %chunks.at = getelementptr i64, ptr %record, i64 5
  store i64 %kind, ptr %record
  store ptr %where, ptr %where.at
  store i64 %thread, ptr %thread.at
  store i64 %begin, ptr %begin.at
  store i64 %end, ptr %end.at
  store i64 %chunks, ptr %chunks.at
  br label %out
out:
  ret void
}

; a kernel: runs the one in the table, and adds the time to the part of this thread
define internal void @share(ptr %table, i64 %first, i64 %last, ptr %failed) nounwind {
entry:
  %params.at = getelementptr ptr, ptr %table, i64 1
  %parts.at = getelementptr ptr, ptr %table, i64 2
  %kernel = load ptr, ptr %table
  %params = load ptr, ptr %params.at
  %parts = load ptr, ptr %parts.at
  %thread = call i64 @pthread_self()
  %begin = call i64 @now()
  call void %kernel(ptr %params, i64 %first, i64 %last, ptr %failed)
  %end = call i64 @now()
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k.next, %other ]
  %none = icmp eq i64 %k, $threads
  br i1 %none, label %out, label %compare
compare:
  %part = getelementptr %part, ptr %parts, i64 %k
  %swap = cmpxchg ptr %part, i64 0, i64 %thread acq_rel acquire, align 8
  %owner = extractvalue { i64, i1 } %swap, 0
  %new = extractvalue { i64, i1 } %swap, 1
  %begin.at = getelementptr %part, ptr %part, i64 0, i32 1
  br i1 %new, label %enter, label %known
known:
  %own = icmp eq i64 %owner, %thread
  br i1 %own, label %add, label %other
other:
  %k.next = add i64 %k, 1
  br label %look
enter:
  store i64 %begin, ptr %begin.at
  br label %add
add:
  %end.at = getelementptr %part, ptr %part, i64 0, i32 2
  %chunks.at = getelementptr %part, ptr %part, i64 0, i32 3
  store i64 %end, ptr %end.at
  %count = sub i64 %last, %first
  %before = load i64, ptr %chunks.at
  %chunks = add i64 %before, %count
  store i64 %chunks, ptr %chunks.at
  br label %out
out:
  ret void
}

define void @observe(ptr %kernel, ptr %params, i64 %chunks, ptr %failed, ptr %where) nounwind {
entry:
  %parts = alloca [$threads x %part], align 64
  %table = alloca [3 x ptr]
  %thread = call i64 @pthread_self()
  %begin = call i64 @now()
  %is.run = icmp eq ptr %kernel, null
  br i1 %is.run, label %run, label %step
run:
  call void @note(i64 %chunks, ptr %where, i64 %thread, i64 %begin, i64 %begin, i64 0)
  ret void
step:
  %several = icmp ugt i64 %chunks, 1
  br i1 %several, label %shared, label %alone
alone:
  call void @launch(ptr %kernel, ptr %params, i64 %chunks, ptr %failed)
  %end.alone = call i64 @now()
  call void @note(i64 $step, ptr %where, i64 %thread, i64 %begin, i64 %end.alone, i64 %chunks)
  ret void
shared:
  call void @llvm.memset.p0.i64(ptr %parts, i8 0, i64 $part_bytes, i1 false)
  %params.at = getelementptr ptr, ptr %table, i64 1
  %parts.at = getelementptr ptr, ptr %table, i64 2
  store ptr %kernel, ptr %table
  store ptr %params, ptr %params.at
  store ptr %parts, ptr %parts.at
  call void @launch(ptr @share, ptr %table, i64 %chunks, ptr %failed)
  %end = call i64 @now()
  call void @note(i64 $step, ptr %where, i64 %thread, i64 %begin, i64 %end, i64 %chunks)
  br label %look
look:
  %k = phi i64 [ 0, %shared ], [ %k.next, %tell ]
  %complete = icmp eq i64 %k, $threads
  br i1 %complete, label %out, label %part
part:
  %part.at = getelementptr %part, ptr %parts, i64 %k
  %part.thread = load i64, ptr %part.at
  %used = icmp ne i64 %part.thread, 0
  br i1 %used, label %tell, label %out
tell:
  %part.begin.at = getelementptr %part, ptr %part.at, i64 0, i32 1
  %part.end.at = getelementptr %part, ptr %part.at, i64 0, i32 2
  %part.chunks.at = getelementptr %part, ptr %part.at, i64 0, i32 3
  %part.begin = load i64, ptr %part.begin.at
  %part.end = load i64, ptr %part.end.at
  %part.chunks = load i64, ptr %part.chunks.at
  call void @note(i64 $part, ptr %where, i64 %part.thread, i64 %part.begin, i64 %part.end, i64 %part.chunks)
  %k.next = add i64 %k, 1
  br label %look
out:
  ret void
}
""")


@struct
class Mark:
    """A moment: so many records were there, at this time."""

    records: int
    time: int


class Observer:
    """Notes what all threads of this process run, while at least one start() was not followed by its stop()."""

    def __init__(self) -> None:
        self._programs: weakref.WeakKeyDictionary[Measured, Encoding] = weakref.WeakKeyDictionary()
        self._kept: list[tuple[Measured, Encoding]] = []
        self._users = 0
        self._records: np.ndarray | None = None
        self._first: Mark | None = None                     # of those that have not stopped
        self._lock = threading.Lock()

    def add(self, program: Measured, encoding: Encoding) -> None:
        """A program was made whose words these are."""
        with self._lock:
            self._programs[program] = encoding
            if self._users:
                self._kept.append((program, encoding))

    def start(self) -> Mark:
        """Note what runs from now on; what to give to stop()."""
        native = _native()
        with self._lock:
            if self._records is None:
                self._records = np.empty((RECORDS, WORDS), np.int64)
            if not self._users:
                self._kept = list(self._programs.items())
                if native is not None:
                    native.set_records(self._records.ctypes.data)
                    native.set_observer(native.observe)
            self._users += 1
            mark = Mark(0 if native is None else native.count_records(), clock_ns())
            self._first = self._first or mark
            return mark

    def stop(self, mark: Mark) -> tuple[list[NativeEvent], int]:
        """What was noted since start() gave `mark`, and how much more there was no room for.

        The last to stop adds what was noted to the times of the programs.
        """
        native = _native()
        with self._lock:
            assert self._records is not None and self._first is not None
            count = 0 if native is None else native.count_records()
            self._users -= 1
            programs = sorted(self._kept, key=lambda kept: kept[1].words.ctypes.data)
            if not self._users:
                if native is not None:
                    native.set_observer(None)
                _add_times(_events(self._records[:count], self._first.time, programs))
                self._kept, self._first = [], None
            events = _events(self._records[mark.records:count], mark.time, programs)
            return events, max(0, count - max(mark.records, RECORDS))


@cache
def observer() -> Observer:
    """The observer of this process."""
    return Observer()


def _events(records: np.ndarray, since: int, programs: list[tuple[Measured, Encoding]]) -> list[NativeEvent]:
    """What records say that began after `since`: a run that began before may be about to write one."""
    starts = [encoding.words.ctypes.data for _, encoding in programs]
    begun: dict[int, int] = {}                              # by thread, when the run in progress began
    found = []
    for kind, where, thread, begin, end, chunks in records.tolist():
        at = bisect_right(starts, where) - 1
        if at < 0 or begin < since:
            continue
        program, encoding = programs[at]
        if kind == BEGIN:
            begun[thread] = begin
        elif kind == END:
            if (began := begun.pop(thread, None)) is not None:
                found.append(NativeEvent("run", thread, began, end, program))
        elif (step := encoding.steps.get((where - starts[at]) // 8)) is not None:
            found.append(NativeEvent("step" if kind == STEP else "part", thread, begin, end, program, *step, chunks))
    return found


def _add_times(events: list[NativeEvent]) -> None:
    for event in events:
        if event.kind == "step":
            times, place = event.of.times, (event.block, event.step)
            times[place] = times.get(place, StepTime()).plus(event.end - event.begin)


@struct
class _Native:
    observe: int
    set_records: Callable[..., Any]
    count_records: Callable[..., Any]
    set_observer: Callable[..., Any]


@cache
def _native() -> _Native | None:
    clock = host_clock()
    if clock is None:
        return None
    text = now_text(clock) + _TEXT.substitute(
        records=RECORDS, words=WORDS, threads=THREADS, part_bytes=32 * THREADS, step=STEP, part=PART)
    base, shared = runtime(), default_cache()
    with shared.lock:
        symbols = Loading(content_key("observer", machine_identity(), text), shared.disk, lambda: text,
                          ("observe", "set_records", "count_records"), {"launch": base.symbols["launch"]},
                          COLD).addresses()
    return _Native(symbols["observe"], ctypes.CFUNCTYPE(None, ctypes.c_void_p)(symbols["set_records"]),
                   ctypes.CFUNCTYPE(ctypes.c_int64)(symbols["count_records"]),
                   ctypes.CFUNCTYPE(None, ctypes.c_void_p)(base.symbols["set_observer"]))
