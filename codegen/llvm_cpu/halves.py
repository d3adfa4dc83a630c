"""f16 and bf16 in registers and in memory.

A value of either is held in a register as the f32 that equals it, and in memory as its 16 bits, a "u16". So what is
exact on numbers (comparing, choosing, negating, moving) is the f32 instruction, and every other operation is the f32
instruction and `rounded`. Of + - * / and sqrt that gives the correctly rounded result: f32 has more than twice the
digits of either and two to spare (Figueroa, "When is double rounding innocuous?", SIGNUM 30(3), 1995).

Rounding is to nearest, ties to even, subnormals kept, as NumPy and ml_dtypes round. bf16 is rounded in integers even
where there is an instruction for it: AVX512-BF16's takes subnormals for 0. f16 is rounded by F16C or NEON conversions,
in integers without them.
"""
from __future__ import annotations

from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.features import Features

HALVES = frozenset({"f16", "bf16"})
"""The dtypes of 16 bits that compute in f32."""

MEMORY = "u16"
"""The dtype that holds their bits."""

_INFINITY, _NAN = 0x7C00, 0x7E00
"""The bits of f16."""

_SMALLEST_NORMAL = 2.0**-14
_OVERFLOW = 65520.0
"""From here on an f32 rounds to an infinite f16: half a step above the largest, 65504."""


def rounded(a: Assembler, features: Features, x: Value, dtype: str, of_halves: bool = False) -> Value:
    """An f32 rounded to `dtype`. `of_halves`: one instruction has made it of numbers of `dtype`, so that the last 16
    bits of a NaN are 0.
    """
    single = a.relabel(x, vector("f32", x.type.lanes))
    target = vector(dtype, x.type.lanes)
    if dtype == "bf16":
        bits = _round_bits(a, single, 16)
        return a.relabel(bits if of_halves else _nan_kept(a, single, bits), target)
    if features.half:
        half = a.convert("fptrunc", single, vector("half", x.type.lanes))
        return a.convert("fpext", half, target)
    size = a.intrinsic("fabs", single)
    tiny = a.constant(size.type, 0.5)       # the step of numbers from 1/2 to 1 is that of the subnormals of f16
    fixed = a.binary("fsub", a.binary("fadd", size, tiny), tiny)
    small = a.compare("fcmp olt", size, a.constant(size.type, _SMALLEST_NORMAL))
    result = a.select(small, fixed, _round_bits(a, size, 13))
    large = a.compare("fcmp oge", size, a.constant(size.type, _OVERFLOW))
    result = a.select(large, a.constant(size.type, float("inf")), result)
    return a.relabel(_nan_kept(a, single, a.intrinsic("copysign", result, single)), target)


def _round_bits(a: Assembler, x: Value, dropped: int) -> Value:
    """An f32 without its last bits, to nearest, ties to even; a carry goes up into the exponent. Not for NaN."""
    integer = vector("u32", x.type.lanes)
    bits = a.convert("bitcast", x, integer)
    even = a.compare("icmp eq", a.binary("and", bits, a.constant(integer, 1 << dropped)), a.constant(integer, 0))
    up = a.select(even, a.constant(integer, (1 << dropped - 1) - 1), a.constant(integer, 1 << dropped - 1))
    kept = a.binary("and", a.binary("add", bits, up), a.constant(integer, (1 << 32) - (1 << dropped)))
    return a.convert("bitcast", kept, x.type)


def _nan_kept(a: Assembler, x: Value, otherwise: Value) -> Value:
    """A quiet NaN where x is one: its payload may be in the bits that go."""
    return a.select(a.compare("fcmp uno", x, x), a.constant(x.type, float("nan")), otherwise)


def from_double(a: Assembler, features: Features, x: Value, dtype: str) -> Value:
    """An f64 rounded to `dtype`: to f16 once, to bf16 by way of f32, as ml_dtypes does.

    To round once by way of f32, that has to keep, in its last bit, that there was more: it is rounded to odd.
    """
    single, integer = vector("f32", x.type.lanes), vector("u32", x.type.lanes)
    near = a.convert("fptrunc", x, single)
    if dtype == "bf16":
        return rounded(a, features, near, dtype)
    back = a.convert("fpext", near, x.type)
    bits = a.convert("bitcast", near, integer)
    size, back_size = a.intrinsic("fabs", x), a.intrinsic("fabs", back)
    one = a.constant(integer, 1)
    odd = a.compare("icmp ne", a.binary("and", bits, one), a.constant(integer, 0))
    beyond = a.compare("fcmp ogt", back_size, size)
    other = a.select(beyond, a.binary("sub", bits, one), a.binary("add", bits, one))
    keep = a.binary("or", odd, a.compare("fcmp ueq", back, x))
    return rounded(a, features, a.convert("bitcast", a.select(keep, bits, other), single), dtype)


def load_bits(a: Assembler, features: Features, x: Value, dtype: str) -> Value:
    """The number whose bits in memory are the u16 x."""
    lanes = x.type.lanes
    target, integer = vector(dtype, lanes), vector("u32", lanes)
    if dtype == "f16" and features.half:
        return a.convert("fpext", a.convert("bitcast", x, vector("half", lanes)), target)
    wide = a.convert("zext", x, integer)
    if dtype == "bf16":
        return a.convert("bitcast", a.binary("shl", wide, a.constant(integer, 16)), target)
    digits = a.binary("shl", a.binary("and", wide, a.constant(integer, 0x7FFF)), a.constant(integer, 13))
    scaled = a.binary("fmul", a.convert("bitcast", digits, target), a.constant(target, 2.0**112))
    special = a.compare("icmp uge", digits, a.constant(integer, _INFINITY << 13))
    infinite = a.convert("bitcast", a.binary("or", digits, a.constant(integer, 0xFF << 23)), target)
    sign = a.convert("bitcast", a.binary("shl", wide, a.constant(integer, 16)), target)
    return a.intrinsic("copysign", a.select(special, infinite, scaled), sign)


def store_bits(a: Assembler, features: Features, x: Value) -> Value:
    """The bits in memory, a u16, of a number of a dtype of HALVES."""
    lanes, dtype = x.type.lanes, x.type.dtype
    integer, target = vector("u32", lanes), vector(MEMORY, lanes)
    if dtype == "f16" and features.half:
        return a.convert("bitcast", a.convert("fptrunc", x, vector("half", lanes)), target)
    if dtype == "bf16":
        return a.convert("trunc", a.binary("lshr", a.convert("bitcast", x, integer), a.constant(integer, 16)), target)
    size = a.intrinsic("fabs", x)
    scaled = a.convert("bitcast", a.binary("fmul", size, a.constant(x.type, 2.0**-112)), integer)
    digits = a.binary("lshr", scaled, a.constant(integer, 13))
    finite = a.compare("fcmp olt", size, a.constant(x.type, float("inf")))
    digits = a.select(finite, digits, a.constant(integer, _INFINITY))
    digits = a.select(a.compare("fcmp uno", x, x), a.constant(integer, _NAN), digits)
    sign = a.binary("and", a.binary("lshr", a.convert("bitcast", x, integer), a.constant(integer, 16)),
                    a.constant(integer, 0x8000))
    return a.convert("trunc", a.binary("or", digits, sign), target)
