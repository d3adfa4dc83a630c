"""interruptions: Ctrl-C, and every other signal, in a run that takes long.

    launch .. poll .. launch .. poll .. launch that writes an input .. launch ..        no poll from there on

A poll runs the handlers of pending signals, where Python runs them: in the main thread, with the interpreter lock. If
one raises, the run leaves with INTERRUPTED, and whoever called it calls @raise_interruption, which raises the same.

1. A poll stands only where the run has written nothing that the caller can see, and may still leave: see encoding.
2. It looks at a clock, and does nothing more unless POLL_SECONDS have passed since some poll did.
3. Without CPython, or a clock to be called natively, a poll finds nothing.
"""
from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Mapping
from string import Template

from codegen.llvm_cpu.clock import host_clock, now_text

INTERRUPTED = 1 << 32
"""What a run returns that a handler's exception has ended; no exit has such a number."""

POLL_SECONDS = 0.05

EXPORTS = ("raise_interruption", "set_main_thread")

_NEVER = """
define internal i1 @poll() nounwind {
  ret i1 false
}
define void @raise_interruption() nounwind {
  ret void
}
define void @set_main_thread(i64 %thread) nounwind {
  ret void
}
"""

_POLL = Template("""
; ---- interruptions
@main.thread = internal global i64 0
@last.poll = internal global i64 0
@raised = internal global [3 x ptr] zeroinitializer
declare i64 @PyThread_get_thread_ident()
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)
declare i32 @PyErr_CheckSignals()
declare void @PyErr_Fetch(ptr, ptr, ptr)
declare void @PyErr_Restore(ptr, ptr, ptr)

; has a handler of a signal raised? Only the main thread ever writes @raised
define internal i1 @poll() nounwind {
entry:
  %now = call i64 @now()
  %last = load atomic i64, ptr @last.poll monotonic, align 8
  %passed = sub i64 %now, %last
  %soon = icmp ult i64 %passed, $period
  br i1 %soon, label %no, label %due
due:
  %thread = call i64 @PyThread_get_thread_ident()
  %main = load i64, ptr @main.thread
  %handles = icmp eq i64 %thread, %main
  br i1 %handles, label %look, label %no
look:
  store atomic i64 %now, ptr @last.poll monotonic, align 8
  %lock = call i32 @PyGILState_Ensure()
  %outcome = call i32 @PyErr_CheckSignals()
  %fine = icmp eq i32 %outcome, 0
  br i1 %fine, label %release, label %keep
keep:
  $fetch
  br label %release
release:
  call void @PyGILState_Release(i32 %lock)
  %yes = xor i1 %fine, true
  ret i1 %yes
no:
  ret i1 false
}

; with the interpreter lock: make what a poll has kept the error of this thread
define void @raise_interruption() nounwind {
  %type = load ptr, ptr @raised
  %value = load ptr, ptr getelementptr (ptr, ptr @raised, i64 1)
  %traceback = load ptr, ptr getelementptr (ptr, ptr @raised, i64 2)
  call void @PyErr_Restore(ptr %type, ptr %value, ptr %traceback)
  ret void
}

define void @set_main_thread(i64 %thread) nounwind {
  store i64 %thread, ptr @main.thread
  ret void
}
""")

_FETCH = ("call void @PyErr_Fetch(ptr @raised, ptr getelementptr (ptr, ptr @raised, i64 1), "
          "ptr getelementptr (ptr, ptr @raised, i64 2))")


def poll_text(implementation: str, clock: int | None) -> str:
    """The LLVM text of @poll(), @raise_interruption() and @set_main_thread(ident).

    `implementation`: sys.implementation.name; `clock`: the number of a monotonic clock for clock_gettime, if there is.
    """
    if implementation != "cpython" or clock is None:
        return _NEVER
    return now_text(clock) + _POLL.substitute(period=round(POLL_SECONDS * 1e9), fetch=_FETCH)


def host_poll_text() -> str:
    """That of this process."""
    return poll_text(sys.implementation.name, host_clock())


def follow_main_thread(symbols: Mapping[str, int]) -> Callable[[], None]:
    """Tell a runtime which thread is the main one: now, and by what is returned, in a forked child."""
    set_main_thread = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(symbols["set_main_thread"])

    def tell() -> None:
        set_main_thread(threading.main_thread().ident or 0)

    tell()
    return tell


_RAISES = ctypes.PYFUNCTYPE(None)


def raiser(symbols: Mapping[str, int]) -> Callable[[], None]:
    """What raises the interruption of the run that has just left with INTERRUPTED."""
    return _RAISES(symbols["raise_interruption"])
