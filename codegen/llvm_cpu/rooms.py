"""rooms: memory in which a function arranges what it works on, taken for each call from what calls before it left.

    @symbol(...)    ->    room = take, @symbol.in(..., room), give

On the stack it would be too large for threads that were started with a small one.

1. A room is one call's at a time. A thread looks first where it left one: there lies what is in its processor's cache.
2. There is always a room, so a call without memory for another waits for it.
"""
from __future__ import annotations

from string import Template

MOST_ON_STACK = 1 << 13
"""Bytes that are on the stack all the same: what the rest of a call needs is more."""

INSIDE = ".in"
"""What the name of the function that is given a room ends in."""

_PLACES = 64
"""Rooms that are kept; a power of two. Each is written on a cache line of its own."""

_STACK_BITS = 20
"""Addresses of variables of one thread agree in the bits above these, mostly."""

_TEXT = Template("""
@rooms.first = internal global [$size x i8] zeroinitializer, align 64
@rooms = internal global [$places x [8 x ptr]] [[8 x ptr] [ptr @rooms.first$nulls]$others]
declare ptr @malloc(i64)
declare void @free(ptr)

; the place at which the thread with this variable looks first
define internal i64 @rooms.start(ptr %variable) nounwind {
  %address = ptrtoint ptr %variable to i64
  %stack = lshr i64 %address, $stack_bits
  %mixed = mul i64 %stack, -7046029254386353131
  %start = lshr i64 %mixed, $shift
  ret i64 %start
}

define internal ptr @rooms.take(i64 %start) nounwind {
entry:
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k.next, %nothing ], [ 0, %full ]
  %turned = add i64 %start, %k
  %number = and i64 %turned, $last
  %place = getelementptr [8 x ptr], ptr @rooms, i64 %number
  %seen = load atomic ptr, ptr %place monotonic, align 8
  %there = icmp ne ptr %seen, null
  br i1 %there, label %try, label %nothing
try:
  %found = atomicrmw xchg ptr %place, ptr null acquire
  %won = icmp ne ptr %found, null
  br i1 %won, label %out, label %nothing
nothing:
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, $places
  br i1 %more, label %look, label %full
full:
  %new = call ptr @malloc(i64 $size)
  %none = icmp eq ptr %new, null
  br i1 %none, label %look, label %out
out:
  %room = phi ptr [ %found, %try ], [ %new, %full ]
  ret ptr %room
}

define internal void @rooms.give(i64 %start, ptr %room) nounwind {
entry:
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k.next, %taken ]
  %turned = add i64 %start, %k
  %number = and i64 %turned, $last
  %place = getelementptr [8 x ptr], ptr @rooms, i64 %number
  %swap = cmpxchg ptr %place, ptr null, ptr %room release monotonic
  %left = extractvalue { ptr, i1 } %swap, 1
  br i1 %left, label %out, label %taken
taken:
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, $places
  br i1 %more, label %look, label %full
full:
  %is.first = icmp eq ptr %room, @rooms.first
  br i1 %is.first, label %keep, label %drop
keep:
  %other = atomicrmw xchg ptr @rooms, ptr %room acq_rel
  br label %drop
drop:
  %left.over = phi ptr [ %room, %full ], [ %other, %keep ]
  call void @free(ptr %left.over)
  br label %out
out:
  ret void
}

define void @$symbol($parameters) nounwind {
  %variable = alloca i64
  %start = call i64 @rooms.start(ptr %variable)
  %taken = call ptr @rooms.take(i64 %start)
  %address = ptrtoint ptr %taken to i64
  %above = add i64 %address, 63
  %multiple = and i64 %above, -64
  %room = inttoptr i64 %multiple to ptr
  call void @$symbol$inside($parameters$room)
  call void @rooms.give(i64 %start, ptr %taken)
  ret void
}
""")

PARAMETER = ", ptr noalias %room"
"""What the function that is given a room has behind the parameters of any kernel."""


def with_room(symbol: str, parameters: str, size: int) -> str:
    """The LLVM text of @symbol, which calls @symbol.in with a room of `size` bytes, aligned to 64."""
    bytes_ = size + 64
    return _TEXT.substitute(
        symbol=symbol, parameters=parameters, room=PARAMETER, inside=INSIDE, size=bytes_, places=_PLACES,
        last=_PLACES - 1,
        nulls=", ptr null" * 7, others=", [8 x ptr] zeroinitializer" * (_PLACES - 1), stack_bits=_STACK_BITS,
        shift=64 - _PLACES.bit_length() + 1)
