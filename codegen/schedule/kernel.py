"""Kernel IR: one loop nest over flat buffers, the language every target reads. Emission only formats it.

    kernel (b0: f32[4194304] in, b1: f32[4194304] out) {        softmax over the rows of [4096,1024]
      for i < 4096 parallel grain 64:
        pass j < 1024 vector:
          v0 = load b0[1024*i+j]
          v1 = accumulate max v0
        pass j < 1024 vector:
          v2 = load b0[1024*i+j]
          v3 = sub v2 v1
          v4 = exp v3
          v5 = accumulate sum v4
        pass j < 1024 vector:
          v6 = div v4 v5
          store b1[1024*i+j] v6
    }

A kernel is a nest of outer axes around a sequence of passes. A pass is a nest of further axes (possibly none)
around straight-line statements.

1. Statements that make a value are numbered densely over the whole kernel: the k-th makes v<k>.
2. A value is seen by later statements of its own pass. A value made in a pass without axes, and the result of
   an Accumulate, are also seen by every later pass: they exist once for each point of the outer axes. Any other is
   also seen by later passes over the same axes, at the same point: it is shelved (see shelves).
3. An Accumulate combines over the axes of its pass, starting anew at each point of the outer axes. A Scan does over
   the only axis of its pass, in order; its value, at each point, is the result so far.
4. Exactly one axis, or none, is the vector axis; it is the last outer axis or the last axis of each pass that has
   axes. On an outer vector axis every value is one lane per point; on a pass's, an Accumulate also combines lanes, and
   there is no Scan.
5. The points of the parallel axis (the first outer axis) are independent: they may run in any order and at once.
   A chunk is `grain` consecutive points; chunks are decided here, from shapes alone, never from the number of threads.
6. Every unguarded index lies inside its buffer; a guarded one lies inside wherever its guards hold.
7. Distinct params never overlap in memory. An `inout` param is one buffer, read and written at the same index only.
8. Extents, and whatever indices are made of, are numbers, or sizes made of the words n0, n1, ... that a launch is given
   (see sizes); an extent is at least 1 even so.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from codegen.ir.dims import Size, ceil_div
from codegen.ir.structs import struct

# ---- quasi-affine indices ------------------------------------------------------------------------------------------


@struct
class Quotient:
    """index // divisor, both non-negative."""

    index: Index
    divisor: Size


@struct
class Remainder:
    """index % divisor, both non-negative."""

    index: Index
    divisor: Size


Term = str | Quotient | Remainder
"""What an index multiplies: the name of an axis, a quotient, a remainder."""


@struct
class Index:
    """constant + sum of coefficient * term; terms in the order of their text, coefficients not 0."""

    terms: tuple[tuple[Term, Size], ...] = ()
    constant: Size = 0


@struct
class Within:
    """A guard: low <= index < high."""

    index: Index
    low: Size
    high: Size


# ---- statements; an operand `int` is the number of a value ---------------------------------------------------------


@struct
class Const:
    """A number, by its canonical text (see codegen.ir.references.literal_text)."""

    literal: str
    dtype: str


@struct
class Position:
    """The value of an index itself, as `dtype` (iota)."""

    index: Index
    dtype: str


@struct
class Load:
    """buffer[index], or 0 where a guard does not hold."""

    buffer: int
    index: Index
    guards: tuple[Within, ...] = ()


@struct
class Holds:
    """Do all guards hold here? A bool."""

    guards: tuple[Within, ...]


@struct
class Gather:
    """buffer[base + stride * k]; k < 0 counts from `size`. Where k is out of bounds the check fails: 0."""

    buffer: int
    base: Index
    k: int
    stride: Size
    size: Size
    guards: tuple[Within, ...] = ()


@struct
class Unary:
    """An elementwise op of the op table with one operand."""

    op: str
    x: int


@struct
class Binary:
    """An elementwise op of the op table with two operands of one dtype."""

    op: str
    x: int
    y: int


@struct
class Select:
    """x where the bool value `condition` holds, else y."""

    condition: int
    x: int
    y: int


@struct
class Cast:
    """x converted to dtype."""

    x: int
    dtype: str


@struct
class RandomWord:
    """Word index % 4 of the Philox4x32-10 block counter + index // 4 under key: u32."""

    key: int
    counter: int
    index: Index


@struct
class Accumulate:
    """sum, prod, max or min of x over the axes of the pass; in the dtype of x."""

    kind: str
    x: int


@struct
class Scan:
    """The result so far, along the axis of the pass, of one of SCANS on its operands: what the op of that name says."""

    op: str
    args: tuple[int, ...]


SCATTERS = ("add", "set", "same", "max")
"""The kinds of Scatter."""

SCANS = frozenset({"cumsum", "cumprod", "cummax", "cummin", "recurrence"})
"""Ops whose result at a point is found from that at the point before."""


@struct
class Store:
    """buffer[index] = x. Makes no value."""

    buffer: int
    index: Index
    x: int


@struct
class Scatter:
    """buffer[base + stride * k] becomes, by its kind, that + x (add), x (set, same), or the greater of both (max).

    Makes no value. In order; but max is in any, and same may be: what is written to one place is the same. Out of
    bounds the check fails and nothing is written. Only in a kernel without vector and parallel axis.
    """

    kind: str
    buffer: int
    base: Index
    k: int
    stride: Size
    size: Size
    x: int


Statement = (
    Const | Position | Load | Holds | Gather | Unary | Binary | Select | Cast | RandomWord | Accumulate | Scan | Store
    | Scatter
)


def operands(statement: Statement) -> tuple[int, ...]:
    """The numbers of the values that a statement uses."""
    match statement:
        case Const() | Position() | Load() | Holds():
            return ()
        case Gather(k=k):
            return (k,)
        case Unary(x=x) | Cast(x=x) | Accumulate(x=x) | Store(x=x):
            return (x,)
        case Binary(x=x, y=y):
            return (x, y)
        case Select(condition, x, y):
            return (condition, x, y)
        case RandomWord(key, counter):
            return (key, counter)
        case Scan(args=args):
            return args
        case Scatter(k=k, x=x):
            return (k, x)
        case _:
            assert_never(statement)


def with_operands(statement: Statement, new: Sequence[int]) -> Statement:
    """The statement with other operands, in the order of `operands`."""
    match statement:
        case Const() | Position() | Load() | Holds():
            return statement
        case Gather():
            return replace(statement, k=new[0])
        case Unary() | Cast() | Accumulate():
            return replace(statement, x=new[0])
        case Store(buffer, index):
            return Store(buffer, index, new[0])
        case Binary(op):
            return Binary(op, *new)
        case Select():
            return Select(*new)
        case RandomWord():
            return replace(statement, key=new[0], counter=new[1])
        case Scan():
            return replace(statement, args=tuple(new))
        case Scatter():
            return replace(statement, k=new[0], x=new[1])
        case _:
            assert_never(statement)


def indices_of(statement: Statement) -> tuple[Index, ...]:
    """The indices of a statement, those of its guards included."""
    match statement:
        case Load(index=index, guards=guards) | Gather(base=index, guards=guards):
            return (index, *(guard.index for guard in guards)) if guards else (index,)
        case Holds(guards):
            return tuple(guard.index for guard in guards)
        case Position(index=index) | RandomWord(index=index) | Store(index=index) | Scatter(base=index):
            return (index,)
        case _:
            return ()


def with_indices(statement: Statement, new: Callable[[Index], Index]) -> Statement:
    """The statement with other indices."""
    match statement:
        case Load(buffer, index, guards):
            return Load(buffer, new(index), tuple(Within(new(g.index), g.low, g.high) for g in guards))
        case Holds(guards):
            return Holds(tuple(Within(new(g.index), g.low, g.high) for g in guards))
        case Gather():
            guards = tuple(Within(new(g.index), g.low, g.high) for g in statement.guards)
            return replace(statement, base=new(statement.base), guards=guards)
        case Store(buffer, index, x):
            return Store(buffer, new(index), x)
        case Position() | RandomWord():
            return replace(statement, index=new(statement.index))
        case Scatter():
            return replace(statement, base=new(statement.base))
        case _:
            return statement


def buffer_of(statement: Statement) -> int | None:
    """The number of the buffer that a statement reads or writes, if it does."""
    return statement.buffer if isinstance(statement, Load | Gather | Store | Scatter) else None


def makes_value(statement: Statement) -> bool:
    """Does a statement make a value?"""
    return not isinstance(statement, Store | Scatter)


# ---- the kernel ----------------------------------------------------------------------------------------------------


@struct
class Param:
    """A flat buffer of `size` elements; access is in, out or inout."""

    dtype: str
    size: Size
    access: str


@struct
class Axis:
    """A loop: name = 0 .. extent-1. With `clip` = (index, bound) only while index < bound (the ragged last tile)."""

    name: str
    extent: Size
    clip: tuple[Index, Size] | None = None


@struct
class Pass:
    """axes, outermost first, around body."""

    axes: tuple[Axis, ...]
    body: tuple[Statement, ...]


@struct
class Kernel:
    """`vector`: the name of the vector axis or None. `grain`: points of axes[0] in a chunk, 0: all are one chunk.

    `words`: how many sizes a launch gives it.
    """

    params: tuple[Param, ...]
    axes: tuple[Axis, ...]
    passes: tuple[Pass, ...]
    vector: str | None
    grain: Size
    words: int = 0

    @property
    def chunks(self) -> Size:
        """How many chunks the launch is made of."""
        return ceil_div(self.axes[0].extent, self.grain) if self.grain else 1

    @property
    def checked(self) -> bool:
        """Can a launch fail its check?"""
        return any(isinstance(s, Gather | Scatter) for p in self.passes for s in p.body)
