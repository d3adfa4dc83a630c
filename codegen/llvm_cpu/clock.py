"""clock: LLVM text of @now(), the time that codegen.clock_ns() tells, read by native code."""
from __future__ import annotations

import time
from string import Template

_NOW = Template("""
declare i32 @clock_gettime(i32, ptr)

define internal i64 @now() nounwind {
  %time = alloca [2 x i64]
  %ignored = call i32 @clock_gettime(i32 $clock, ptr %time)
  %nanoseconds.at = getelementptr i64, ptr %time, i64 1
  %seconds = load i64, ptr %time
  %nanoseconds = load i64, ptr %nanoseconds.at
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %nanoseconds
  ret i64 %now
}
""")


def host_clock() -> int | None:
    """The number of a monotonic clock for clock_gettime; None if this system has none."""
    return getattr(time, "CLOCK_MONOTONIC", None)


def now_text(clock: int) -> str:
    """The text, of the clock with this number."""
    return _NOW.substitute(clock=clock)
