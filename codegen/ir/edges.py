"""Edge semantics: what every op gives where machines and libraries differ. It holds eager, interpreted and compiled.

    div       float      1 0 -> inf            op, dtypes of the operands (float: all of that kind), operands, result
    cast:i32  float      nan -> 0              op with its dtype attr
    max       f32 f64    [1 nan 2] -> nan      a list is a vector; reductions and indexing go along its axis
    gather    f32        [5 6] [2] -> exit0    leaves by the exit of failed checks

`min` and `max` are the ends of an integer dtype's range, of the operands' or, in a result, of the result's; true and
false are bools, whatever the dtype; indices are i64. Where NumPy gives a zero whose sign depends on the machine, the
result is `zero`: a zero of either sign. NaNs are one: neither sign nor payload is kept.
"""
from __future__ import annotations

import numpy as np

from codegen.ir import elementary_edges, half_edges
from codegen.ir.builder import Builder
from codegen.ir.graph import Attr, Graph
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.program import CHECK_FAILED, Exit
from codegen.ir.references import literal
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, type_of

_TEXT = """
# floating point is IEEE 754's: rounding to nearest, subnormals kept, no exception raised
add          float     -0.0 -0.0 -> -0.0
add          float     -0.0 0.0 -> 0.0
add          float     1.0 -1.0 -> 0.0
add          float     inf -inf -> nan
add          float     nan 1.0 -> nan
add          f32       3.4028235e38 3.4028235e38 -> inf
add          f32       1e-45 1e-45 -> 3e-45
sub          float     -0.0 0.0 -> -0.0
sub          float     0.0 0.0 -> 0.0
sub          float     inf inf -> nan
mul          float     0.0 -1.0 -> -0.0
mul          float     0.0 inf -> nan
mul          f32       1e-45 0.5 -> 0.0
mul          f32       1e-30 1e-30 -> 0.0
mul          f32       1e-20 1e-20 -> 1e-40
div          float     1.0 0.0 -> inf
div          float     1.0 -0.0 -> -inf
div          float     -1.0 0.0 -> -inf
div          float     0.0 0.0 -> nan
div          float     inf inf -> nan
div          float     1.0 -inf -> -0.0
neg          float     0.0 -> -0.0
neg          float     -inf -> inf
neg          float     nan -> nan
abs          float     -0.0 -> 0.0
abs          float     -inf -> inf
abs          float     nan -> nan
sign         float     -0.0 -> zero
sign         float     -inf -> -1.0
sign         bf16 f32 f64 1e-40 -> 1.0
sign         float     nan -> nan
detach       float     -0.0 -> -0.0
detach       float     nan -> nan

# the elementary functions: exact where the mathematics is
sqrt         float     -0.0 -> -0.0
sqrt         float     -1.0 -> nan
sqrt         float     inf -> inf
sqrt         float     nan -> nan
exp          float     0.0 -> 1.0
exp          float     -0.0 -> 1.0
exp          float     inf -> inf
exp          float     -inf -> 0.0
exp          float     nan -> nan
exp          f32       88.8 -> inf
exp          f32       -105.0 -> 0.0
exp          f64       709.9 -> inf
exp          f64       -746.0 -> 0.0
log          float     1.0 -> 0.0
log          float     0.0 -> -inf
log          float     -0.0 -> -inf
log          float     -1.0 -> nan
log          float     -inf -> nan
log          float     inf -> inf
log          float     nan -> nan
tanh         float     0.0 -> 0.0
tanh         float     -0.0 -> -0.0
tanh         float     inf -> 1.0
tanh         float     -inf -> -1.0
tanh         float     100.0 -> 1.0
tanh         float     1e-40 -> 1e-40
tanh         float     nan -> nan

# the greater and the lesser of two: a NaN wins, and of two zeros either may
maximum      float     nan 1.0 -> nan
maximum      float     1.0 nan -> nan
maximum      float     inf nan -> nan
maximum      float     -inf -1.0 -> -1.0
maximum      float     0.0 -0.0 -> zero
maximum      float     -0.0 -0.0 -> -0.0
maximum      signed    min max -> max
minimum      float     nan 1.0 -> nan
minimum      float     1.0 nan -> nan
minimum      float     -inf nan -> nan
minimum      float     inf 1.0 -> 1.0
minimum      float     -0.0 0.0 -> zero
minimum      signed    min max -> min
max          float     [1.0 nan 2.0] -> nan
max          float     [-inf -inf] -> -inf
max          signed    [min max] -> max
min          float     [1.0 nan 2.0] -> nan
min          float     [inf inf] -> inf
min          signed    [min max] -> min
argmax       float     [1.0 nan inf nan] -> 1
argmax       float     [2.0 5.0 5.0] -> 1
argmax       float     [-0.0 0.0] -> 0
argmax       float     [-inf -inf] -> 0
argmax       signed    [min min max] -> 2

# comparisons: a NaN equals nothing and is unordered, the zeros are equal
eq           float     nan nan -> false
eq           float     0.0 -0.0 -> true
ne           float     nan nan -> true
ne           float     0.0 -0.0 -> false
lt           float     nan 1.0 -> false
lt           float     -0.0 0.0 -> false
le           float     nan nan -> false
le           float     -0.0 0.0 -> true
gt           float     1.0 nan -> false
ge           float     nan nan -> false
lt           signed    min max -> true
lt           unsigned  0 max -> true
gt           signed    min max -> false
where        float     true nan 1.0 -> nan
where        float     false nan 1.0 -> 1.0
where        float     true -0.0 0.0 -> -0.0

# integers wrap around
add          signed    max 1 -> min
add          unsigned  max 1 -> 0
sub          signed    min 1 -> max
sub          unsigned  0 1 -> max
mul          signed    min -1 -> min
mul          signed    max 2 -> -2
neg          signed    min -> min
neg          unsigned  1 -> max
abs          signed    min -> min
abs          unsigned  max -> max
sign         unsigned  max -> 1
sign         signed    min -> -1
sum          signed    [max 1] -> min
sum          unsigned  [max 1] -> 0

# bits; a count outside 0..bits-1 shifts everything out
not          bool      true -> false
not          signed    0 -> -1
not          unsigned  0 -> max
shift_right  signed    -8 1 -> -4
shift_right  signed    min 100 -> -1
shift_right  i32       -8 32 -> -1
shift_right  i32       8 32 -> 0
shift_right  signed    -8 -1 -> -1
shift_right  signed    8 -1 -> 0
shift_right  u32       max 31 -> 1
shift_right  u32       max 32 -> 0
shift_right  u64       max 63 -> 1
shift_right  u64       max 64 -> 0
shift_right  unsigned  max max -> 0

# sums start from nothing; the sign of a zero sum may be either
sum          float     [] -> zero
sum          float     [-0.0 -0.0] -> zero
sum          float     [inf -inf] -> nan
sum          float     [1.0 nan] -> nan
sum          signed    [] -> 0

# conversions: truncate, saturate, NaN to 0; integers keep the low bits; to bool by comparison with 0
cast:i32     float     nan -> 0
cast:i32     float     inf -> max
cast:i32     float     -inf -> min
cast:i32     float     -1.9 -> -1
cast:i32     float     -0.5 -> 0
cast:i32     bf16 f32 f64 2147483648.0 -> max
cast:i32     bf16 f32 f64 -2147483648.0 -> min
cast:i32     bf16 f32 f64 -3e9 -> min
cast:i32     f64       2147483647.5 -> max
cast:i64     float     nan -> 0
cast:i64     bf16 f32 f64 1e19 -> max
cast:i64     bf16 f32 f64 -1e19 -> min
cast:u32     float     nan -> 0
cast:u32     float     -1.0 -> 0
cast:u32     f32 f64   3e9 -> 3000000000
cast:u32     bf16 f32 f64 4294967296.0 -> max
cast:u64     float     -1.0 -> 0
cast:u64     bf16 f32 f64 9223372036854775808.0 -> 9223372036854775808
cast:u64     bf16 f32 f64 2e19 -> max
cast:bool    float     nan -> true
cast:bool    bf16 f32 f64 1e-40 -> true
cast:bool    float     -0.0 -> false
cast:bool    signed    min -> true
cast:f32     bool      true -> 1.0
cast:i64     bool      true -> 1
cast:i32     i64       2147483648 -> min
cast:i32     i64       4294967296 -> 0
cast:i32     u32       max -> -1
cast:u32     signed    -1 -> max
cast:u64     signed    -1 -> max
cast:i64     u32       max -> 4294967295
cast:i64     u64       max -> -1
cast:f32     i32 i64   16777217 -> 16777216.0
cast:f32     i32 i64   16777219 -> 16777220.0
cast:f32     u32       max -> 4294967296.0
cast:f32     u64       max -> 18446744073709551616.0
cast:f64     i64       9007199254740993 -> 9007199254740992.0
cast:f32     f64       1e39 -> inf
cast:f32     f64       1e-46 -> 0.0
cast:f32     f64       -1e-46 -> -0.0
cast:f32     f64       1e-40 -> 1e-40
cast:f32     f64       nan -> nan
cast:f64     f32       -0.0 -> -0.0
cast:f64     f32       inf -> inf

# complex numbers: the parts stay apart, whatever they are; a size is infinite where a part is
real         c64 c128  nan-0.0j -> nan
real         c64 c128  -0.0+infj -> -0.0
imag         c64 c128  1.0-0.0j -> -0.0
imag         c64 c128  nan+infj -> inf
conj         c64 c128  1.0+2.0j -> 1.0-2.0j
conj         c64 c128  inf+0.0j -> inf-0.0j
complex      f32 f64   -0.0 inf -> -0.0+infj
complex      f32 f64   inf nan -> inf+nanj
abs          c64 c128  3.0-4.0j -> 5.0
abs          c64 c128  -inf+nanj -> inf
abs          c64 c128  nan+1.0j -> nan
abs          c64       3e30+4e30j -> 5e30
sqrt         c64 c128  -4.0+0.0j -> 0.0+2.0j
sqrt         c64 c128  -4.0-0.0j -> 0.0-2.0j
exp          c64 c128  0.0+0.0j -> 1.0+0.0j
log          c64 c128  0.0+0.0j -> -inf+0.0j
neg          c64 c128  0.0-1.0j -> -0.0+1.0j
eq           c64 c128  1.0+nanj 1.0+nanj -> false
eq           c64 c128  0.0-0.0j -0.0+0.0j -> true
ne           c64 c128  1.0+2.0j 1.0+3.0j -> true
cast:bool    c64 c128  0.0+nanj -> true
cast:bool    c64 c128  0.0-0.0j -> false
cast:c64     f32 f64   -0.0 -> -0.0+0.0j
cast:c64     c128      1e39+1e-46j -> inf+0.0j
cast:c128    i64       9007199254740993 -> 9007199254740992.0+0.0j

# indices below 0 count from the end; one out of bounds refuses the whole run
gather       f32 i64   [5 6 7] [0 2] -> [5 7]
gather       f32 i64   [5 6 7] [-1 -3] -> [7 5]
gather       f32 i64   [5 6 7] [3] -> exit0
gather       f32 i64   [5 6 7] [0 -4] -> exit0
gather       f32       [5] [9223372036854775807] -> exit0
gather       f32       [5] [-9223372036854775808] -> exit0
gather       f32       [] [0] -> exit0
gather       f32       [5] [] -> []
scatter_add  f32 i64   [1 2 3] [1 1 -1] [10 20 30] -> [1 32 33]
scatter_add  f32 i64   [1 2 3] [3] [10] -> exit0
scatter_add  f32 i64   [1 2 3] [-4] [10] -> exit0

# products and running results start from their first element; extrema are NaN from the first NaN on
prod         f32 f64   [] -> 1.0
prod         f32 f64   [-0.0 2.0] -> -0.0
prod         f32 f64   [0.0 inf] -> nan
prod         i32 i64   [] -> 1
prod         i32 i64   [max 2] -> -2
cumsum       f32 f64   [] -> []
cumsum       f32 f64   [-0.0] -> -0.0
cumsum       f32 f64   [inf 1.0 -inf 1.0] -> [inf inf nan nan]
cumsum       f32       [1.0 1e-8 1e-8 1e8] -> [1.0 1.0 1.0 100000001.0]
cumsum       i32 i64   [max 1] -> [max min]
cumprod      f32 f64   [-0.0 2.0] -> [-0.0 -0.0]
cumprod      f32 f64   [0.0 inf 1.0] -> [0.0 nan nan]
cumprod      f32       [1e30 1e30 1e-30] -> [1e30 inf 1e30]
cumprod      i32 i64   [max 2 0] -> [max -2 0]
cummax       f32 f64   [1.0 3.0 2.0 nan 5.0] -> [1.0 3.0 3.0 nan nan]
cummax       i32 i64   [min 0 -1 max] -> [min 0 0 max]
cummin       f32 f64   [3.0 nan 1.0] -> [3.0 nan nan]
cummin       i32 i64   [max 0 1 min] -> [max 0 0 min]
recurrence   f32 f64   [nan 2.0 0.0] [1.0 1.0 inf] -> [1.0 3.0 inf]
recurrence   f32 f64   [inf inf] [0.0 1.0] -> [0.0 nan]
recurrence   i32 i64   [0 2] [max 0] -> [max -2]

# order: NaNs after all numbers, equal to each other; zeros are equal; equal elements keep theirs
argmin       f32 f64   [1.0 nan -inf nan] -> 1
argmin       f32 f64   [5.0 2.0 2.0] -> 1
argmin       f32 f64   [0.0 -0.0] -> 0
argmin       i32 i64   [max max min] -> 2
sort         f32 f64   [nan inf 1.0 -inf nan] -> [-inf 1.0 inf nan nan]
sort         i32 i64   [0 max min] -> [min 0 max]
argsort      f32 f64   [nan 2.0 nan -inf 2.0] -> [3 1 4 0 2]
argsort      f32 f64   [0.0 -0.0 0.0] -> [0 1 2]
argsort      i32 i64   [1 0 1 0] -> [1 3 0 2]
searchsorted f32 f64   [1.0 2.0 2.0 nan] [2.0 nan inf -inf] -> [1 3 3 0]
searchsorted f32 f64   [-0.0 0.0] [0.0 -0.0] -> [0 0]
searchsorted i32 i64   [] [1] -> [0]

# writes: of several to one element the last stays
scatter      f32 i64   [1 2 3] [1 1 -1] [10 20 30] -> [1 20 30]
scatter      f32 i64   [1 2 3] [] [] -> [1 2 3]
scatter      f32 i64   [1 2 3] [3] [10] -> exit0
scatter      f32 i64   [1 2 3] [-4] [10] -> exit0
"""


@struct
class Edge:
    """One row for one dtype. Operands and result are texts of numbers, or tuples of them for a vector."""

    op: str
    attrs: tuple[tuple[str, Attr], ...]
    dtype: str
    operands: tuple[str | tuple[str, ...], ...]
    result: str | tuple[str, ...]

    def __str__(self) -> str:
        cast = f":{dict(self.attrs)['dtype']}" if self.op == "cast" else ""
        operands = " ".join(map(_operand_text, self.operands))
        return f"{self.op}{cast} {self.dtype} {operands} -> {_operand_text(self.result)}"

    @property
    def exits(self) -> bool:
        """Does it leave by the exit of failed checks?"""
        return self.result == "exit0"

    def inputs(self, shape: tuple[int, ...] = ()) -> list[np.ndarray]:
        """The operands; those of an elementwise op fill `shape`."""
        shape = shape if ELEMENTWISE in OPS[self.op].traits else ()
        arrays = [_array(o, self._operand_dtype(k)) for k, o in enumerate(self.operands)]
        return [np.broadcast_to(x, shape).copy() if x.ndim == 0 else x for x in arrays]

    def graph(self, shape: tuple[int, ...] = ()) -> Graph:
        """The graph of this op alone, on inputs of the types of `inputs(shape)`."""
        b = Builder("edge")
        operands = [b.input(type_of(x)) for x in self.inputs(shape)]
        return b.graph([b.emit(self.op, *operands, **dict(self.attrs))])

    def holds(self, outcome: list[np.ndarray] | Exit) -> bool:
        """Is `outcome`, of a run of `graph` on `inputs`, what this row says, bit for bit?"""
        if isinstance(outcome, Exit):
            return self.exits and outcome == CHECK_FAILED
        if self.exits:
            return False
        actual, = outcome
        if self.result == "zero":
            return bool(np.all(actual == 0))
        expected = _array(self.result, type_of(actual).dtype)
        return expected.shape == actual.shape[actual.ndim - expected.ndim:] and same_bits(
            np.broadcast_to(expected, actual.shape), actual)

    def _operand_dtype(self, k: int) -> str:
        if self.op in ("gather", "scatter_add", "scatter") and k == 1:
            return "i64"
        return "bool" if self.operands[k] in ("true", "false") else self.dtype


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Are two arrays of one type equal, the zeros apart and all NaNs one?"""
    if type_of(a) != type_of(b):
        return False
    if a.dtype.kind == "c":
        return same_bits(a.real, b.real) and same_bits(a.imag, b.imag)
    if a.dtype.kind != "f" and type_of(a).dtype != "bf16":
        return bool(np.array_equal(a, b))
    with np.errstate(invalid="ignore"):             # ml_dtypes warns of NaNs
        equal = (a == b) & (np.signbit(a) == np.signbit(b))
        return bool(np.all(equal | (np.isnan(a) & np.isnan(b))))


def _array(text: str | tuple[str, ...], dtype: str) -> np.ndarray:
    if isinstance(text, tuple):
        return np.array([_number(t, dtype) for t in text], DTYPES[dtype])
    return np.asarray(_number(text, dtype), DTYPES[dtype])


def _number(text: str, dtype: str) -> bool | int | float:
    if text in ("min", "max"):
        return int(getattr(np.iinfo(DTYPES[dtype]), text))
    return literal(text)


def _operand_text(operand: str | tuple[str, ...]) -> str:
    return operand if isinstance(operand, str) else f"[{' '.join(operand)}]"


def _operands(text: str) -> tuple[str | tuple[str, ...], ...]:
    """Words, and words in brackets as tuples."""
    found: list[str | tuple[str, ...]] = []
    vector: list[str] | None = None
    for word in text.replace("[", " [ ").replace("]", " ] ").split():
        if word == "[":
            vector = []
        elif word == "]":
            found.append(tuple(vector or ()))
            vector = None
        elif vector is not None:
            vector.append(word)
        else:
            found.append(word)
    return tuple(found)


def _attrs(op: str, dtype: str) -> tuple[tuple[str, Attr], ...]:
    """The attrs of a row's op: its dtype, the only axis, and dimensions that go."""
    given: dict[str, Attr] = {"dtype": dtype, "int": 0, "ints": (0,), "flag": False}
    return tuple((name, given[kind]) for name, kind in OPS[op].attrs)


def _rows(text: str) -> tuple[Edge, ...]:
    rows: list[Edge] = []
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        left, _, right = line.partition("->")
        name, *words = left.split()
        op, _, attr = name.partition(":")
        named = [w for w in words if w in DTYPES or w in _KINDS]
        dtypes = [dtype for w in named for dtype in _KINDS.get(w, (w,))]
        operands = _operands(" ".join(words[len(named):]))
        result, = _operands(right)
        rows += [Edge(op, _attrs(op, attr), dtype, operands, result) for dtype in dtypes]
    return tuple(rows)


_KINDS = {"float": ("f16", "bf16", "f32", "f64"), "signed": ("i8", "i16", "i32", "i64"),
          "unsigned": ("u8", "u16", "u32", "u64")}

EDGES: tuple[Edge, ...] = _rows(_TEXT + elementary_edges.TEXT + half_edges.TEXT)
"""Every row, one for each of its dtypes."""
