"""What instructions of PTX compute, on NumPy arrays: the operands of all threads -> the results.

    COMPUTES["add"](Name(("add", "rn", "ftz", "f32")), x, y)

From NVIDIA's description of PTX. Approximations of the hardware are computed exactly and then moved by NUDGE times the
greatest error that is documented, but for results that need no rounding, which stay.
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cached_property

import ml_dtypes
import numpy as np

Array = np.ndarray

TYPES: dict[str, np.dtype] = {
    "pred": np.dtype(bool), "f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32), "f64": np.dtype(np.float64),
    **{f"{kind}{bits}": np.dtype(f"{'i' if kind == 's' else 'u'}{bits // 8}")
       for kind in "usb" for bits in (8, 16, 32, 64)}}
"""The types of operands. f16x2 and the like are pairs of these."""

FLOATS = {"f16", "bf16", "f32", "f64"}
WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}

NUDGE = 0.0
"""How much of their greatest error do approximations have? From -1 to 1."""


class Name:
    """The name of an instruction: what is computed, of what types, and how."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        self.op, self.modifiers = parts[0], frozenset(parts[1:])
        self.types = [part.removesuffix("x2") for part in parts if part.removesuffix("x2") in TYPES]
        self.pairs = any(part.endswith("x2") for part in parts[1:])

    @property
    def type(self) -> str:
        """Of the operands."""
        return self.types[-1]

    @cached_property
    def dtype(self) -> np.dtype:
        """NumPy's dtype of that."""
        return TYPES[self.type]

    @cached_property
    def mode(self) -> str:
        """How floats are rounded: rn, rz, rm or rp."""
        return next((mode for mode in ("rz", "rm", "rp") if mode in self.modifiers), "rn")

    @property
    def operands(self) -> tuple[str, ...] | None:
        """The types of the operands, if not all are of self.type."""
        wide = WIDER.get(self.type, self.type)
        match self.op:
            case "shl" | "shr":
                return (self.type, "u32")
            case "bfe":
                return (self.type, "u32", "u32")
            case "bfi":
                return (self.type, self.type, "u32", "u32")
            case "shf":
                return ("u32", "u32", "u32")
            case "selp":
                return (self.type, self.type, "pred")
            case "setp" | "set":
                return (self.type, self.type, "pred")
            case "mad" if "wide" in self.modifiers:
                return (self.type, self.type, wide)
        return None

    @property
    def result(self) -> str:
        """The type of the result."""
        match self.op:
            case "setp":
                return "pred"
            case "clz" | "popc":
                return "u32"
            case "mul" | "mad" if "wide" in self.modifiers:
                return WIDER[self.type]
        return self.types[0]


# ---- floats ----------------------------------------------------------------------------------------------------------


_libm = ctypes.CDLL("libm.so.6")
_libm.fma.restype, _libm.fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
_fused = np.frompyfunc(_libm.fma, 3, 1)


def flushed(name: Name, x: Array) -> Array:
    """With subnormal numbers as zeros, if the instruction takes and gives them so."""
    if "ftz" not in name.modifiers or x.dtype != np.float32:
        return x
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)


def canonical(x: Array) -> Array:
    """With the NaN that the hardware gives."""
    bits = {2: np.uint16(0x7FFF), 4: np.uint32(0x7FFFFFFF), 8: np.uint64(0x7FF8000000000000)}[x.dtype.itemsize]
    return np.where(np.isnan(x), bits.view(x.dtype), x)


def odd(wide: Array, rest: Array) -> Array:
    """wide + rest, rounded so that rounding it again to at least two bits less rounds the sum."""
    even = (wide.view(f"u{wide.itemsize}") & 1) == 0
    toward = np.where(rest > 0, np.inf, -np.inf).astype(wide.dtype)
    return np.where(even & (rest != 0) & np.isfinite(wide), np.nextafter(wide, toward), wide)


def narrow(x: Array, dtype: np.dtype, mode: str = "rn") -> Array:
    """f64 as a dtype."""
    if dtype == np.float64:
        return x
    if dtype == TYPES["bf16"]:
        single = x.astype(np.float32)
        x = odd(single, x - single)
    y = x.astype(dtype)
    if mode == "rn":
        return y
    back = y.astype(x.dtype)
    down, up = (np.nextafter(y, dtype.type(sign * np.inf)) for sign in (-1, 1))
    if mode == "rm" or mode == "rz":
        y = np.where((back > x) & ((mode == "rm") | (x > 0)), down, y)
    if mode == "rp" or mode == "rz":
        y = np.where((back < x) & ((mode == "rp") | (x < 0)), up, y)
    return y


def fused(name: Name, a: Array, b: Array, c: Array) -> Array:
    """a * b + c, rounded once."""
    a, b, c = (flushed(name, x) for x in (a, b, c))
    if name.type == "f64":
        assert name.mode == "rn"
        return canonical(np.asarray(_fused(a, b, c), np.float64))
    product, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)      # the product is exact
    total = product + c
    part = total - product
    rest = (product - (total - part)) + (c - part)
    return finished(name, narrow(odd(total, rest), name.dtype, name.mode))


def finished(name: Name, x: Array) -> Array:
    """A result as the modifiers of the instruction want it."""
    x = canonical(flushed(name, x))
    if "sat" in name.modifiers:
        x = np.where(np.isnan(x), x.dtype.type(0), np.clip(x, x.dtype.type(0), x.dtype.type(1)))
    return np.maximum(x, x.dtype.type(0)) if "relu" in name.modifiers else x


def arithmetic(name: Name, a: Array, b: Array, function: Callable[[Array, Array], Array]) -> Array:
    """Of two floats, rounded to nearest; halves through f32, which has digits enough."""
    a, b = flushed(name, a), flushed(name, b)
    wide = np.float64 if name.type == "f64" else np.float32
    return finished(name, function(a.astype(wide), b.astype(wide)).astype(name.dtype))


def add(name: Name, a: Array, b: Array) -> Array:
    if name.type not in FLOATS:
        return a + b
    if name.mode != "rn":
        return fused(name, a, np.ones_like(a), b)
    return arithmetic(name, a, b, np.add)


def subtract(name: Name, a: Array, b: Array) -> Array:
    return add(name, a, -b) if name.type in FLOATS else a - b


def multiply(name: Name, a: Array, b: Array) -> Array:
    if name.type in FLOATS:
        if name.mode == "rn":
            return arithmetic(name, a, b, np.multiply)
        return fused(name, a, b, np.copysign(name.dtype.type(0), a * b))
    if "wide" in name.modifiers:
        wide = TYPES[WIDER[name.type]]
        return a.astype(wide) * b.astype(wide)
    return high(a, b) if "hi" in name.modifiers else a * b


def multiply_add(name: Name, a: Array, b: Array, c: Array) -> Array:
    return fused(name, a, b, c) if name.type in FLOATS else multiply(name, a, b) + c


def high(a: Array, b: Array) -> Array:
    """The upper half of the product of integers."""
    if a.dtype.itemsize == 8:
        return ((a.astype(object) * b.astype(object)) >> 64).astype(a.dtype)
    wide = a.dtype.kind + str(2 * a.dtype.itemsize)
    return (a.astype(wide) * b.astype(wide) >> (8 * a.dtype.itemsize)).astype(a.dtype)


def divide(name: Name, a: Array, b: Array) -> Array:
    if name.type not in FLOATS:
        return integer_quotient(a, b)
    if "rn" in name.modifiers:
        return arithmetic(name, a, b, np.divide)
    return approximate(name, np.divide, 2.0**-22, a, b)


def integer_quotient(a: Array, b: Array) -> Array:
    """Rounded toward zero; of a division by 0 nothing is known, so it may not be used: a pattern."""
    safe = np.where(b == 0, b.dtype.type(1), b)
    quotient, rest = a // safe, a % safe
    quotient = np.where((rest != 0) & ((a < 0) != (safe < 0)), quotient + a.dtype.type(1), quotient)
    return np.where(b == 0, a.dtype.type(0x5A), quotient).astype(a.dtype)


def remainder(name: Name, a: Array, b: Array) -> Array:
    return np.where(b == 0, a.dtype.type(0x5A), a - integer_quotient(a, b) * b).astype(a.dtype)


def square_root(name: Name, a: Array) -> Array:
    if "rn" in name.modifiers:
        return finished(name, np.sqrt(flushed(name, a)))
    return approximate(name, np.sqrt, 2.0**-23, a)


def reciprocal(name: Name, a: Array) -> Array:
    if "rn" in name.modifiers:
        return arithmetic(name, np.ones_like(a), a, np.divide)
    return approximate(name, lambda x: 1 / x, 2.0**-23, a)


def approximate(name: Name, function: Callable[..., Array], error: float, *operands: Array) -> Array:
    """What the hardware approximates, with this relative error. Of f64 it takes and gives the upper 32 bits."""
    operands = tuple(flushed(name, x) for x in operands)
    if name.type == "f64":
        upper = np.uint64(0xFFFFFFFF00000000)
        operands = tuple((x.view(np.uint64) & upper).view(np.float64) for x in operands)
        tiny = np.finfo(np.float64).tiny
        operands = tuple(np.where(np.abs(x) < tiny, np.copysign(0.0, x), x) for x in operands)
        result = (function(*operands) * (1 + NUDGE * 2.0**-20)).view(np.uint64) & upper
        return canonical(result.view(np.float64))
    exact = function(*(x.astype(np.float64) for x in operands))
    rounded = narrow(exact, name.dtype)
    moved = narrow(exact * (1 + NUDGE * error), name.dtype)
    return finished(name, np.where(rounded == exact, rounded, moved))


def extreme(name: Name, a: Array, b: Array, *more: Array) -> Array:
    """The greater, or the lesser: of a NaN and a number the number, if the NaN is not to stay; 0.0 is above -0.0."""
    greater = name.op == "max"
    if name.type not in FLOATS:
        return np.maximum(a, b) if greater else np.minimum(a, b)
    assert not more and not {"abs", "xorsign"} & name.modifiers
    a, b = flushed(name, a), flushed(name, b)
    above = (a > b) | (a == b) & (np.signbit(b) | ~np.signbit(a))
    found = np.where(above == greater, a, b)
    if "NaN" in name.modifiers:
        return canonical(np.where(np.isnan(a), a, np.where(np.isnan(b), b, found)))
    return canonical(np.where(np.isnan(a), b, np.where(np.isnan(b), a, found)))


def convert(name: Name, a: Array, *more: Array) -> Array:
    target, source = name.types[0], name.types[-1]
    dtype = TYPES[target]
    if more:                                            # cvt.rn.bf16x2.f32 d, a, b: a is the upper one
        return np.stack([convert(name, x) for x in (more[0], a)], 1)
    if target in FLOATS and source in FLOATS:
        a = flushed(name, a)
        for modifier, function in (("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)):
            if modifier in name.modifiers:
                a = function(a)
        return finished(name, narrow(a.astype(np.float64), dtype, name.mode))
    if target in FLOATS:
        wide = a.astype(np.float64)
        if a.itemsize == 8 and target != "f64":
            wide = odd(wide, (a.astype(object) - np.frompyfunc(int, 1, 1)(wide)).astype(np.float64))
        return narrow(wide, dtype, name.mode)
    if source in FLOATS:
        a = flushed(name, a)
        return to_integer(name, a.astype(np.float64), source, target)
    if "sat" in name.modifiers:
        limits = np.iinfo(dtype)
        return np.clip(a.astype(object), limits.min, limits.max).astype(dtype)
    return a.astype(dtype)


def to_integer(name: Name, a: Array, source: str, target: str) -> Array:
    """Rounded, and to the nearest number that there is; of NaN 0 or, where 64 bits have a part in it, the sign bit."""
    function = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[
        next(m for m in ("rni", "rzi", "rmi", "rpi") if m in name.modifiers)]
    dtype = TYPES[target]
    limits = np.iinfo(dtype)
    whole = function(a)
    inside = (whole >= limits.min) & (whole < 2.0**(limits.bits - (limits.min < 0)))
    result = np.where(inside, whole, 0.0).astype(dtype)
    result = np.where(inside, result, np.where(whole > 0, dtype.type(limits.max), dtype.type(limits.min)))
    nan = 1 << (limits.bits - 1) if "64" in source + target else 0
    return np.where(np.isnan(a), np.array(nan, f"u{dtype.itemsize}").view(dtype), result)


def compare(name: Name, a: Array, b: Array, other: Array | None = None) -> Array:
    """setp: of floats lt and the like are false, ltu and the like true where there is a NaN."""
    a, b = flushed(name, a), flushed(name, b)
    test = next(m for m in name.modifiers if m in _TESTS or m.removesuffix("u") in _TESTS or m in ("num", "nan"))
    if name.type in FLOATS:
        nan = np.isnan(a) | np.isnan(b)
        if test in ("num", "nan"):
            result = nan if test == "nan" else ~nan
        else:
            result = np.where(nan, test.endswith("u"), _TESTS[test.removesuffix("u")](a, b))
    else:
        result = _TESTS[test](a, b)
    if other is not None:
        how, = name.modifiers & {"and", "or", "xor"}
        result = {"and": result & other, "or": result | other, "xor": result ^ other}[how]
    return result


_TESTS = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
          "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal}


def negated(name: Name, a: Array) -> Array:
    return flushed(name, -a)


def absolute(name: Name, a: Array) -> Array:
    return flushed(name, np.abs(a))


# ---- bits ------------------------------------------------------------------------------------------------------------


def shift(name: Name, a: Array, count: Array) -> Array:
    """By more than there are bits: all are shifted out."""
    bits = 8 * name.dtype.itemsize
    amount = np.minimum(count, bits - 1).astype(a.dtype)
    if name.op == "shr":
        return np.where((count >= bits) & (a >= 0), a.dtype.type(0), a >> amount)
    return np.where(count >= bits, a.dtype.type(0), a << amount)


def funnel_shift(name: Name, a: Array, b: Array, c: Array) -> Array:
    count = (np.minimum(c, 32) if "clamp" in name.modifiers else c & 31).astype(np.uint64)
    both = (b.astype(np.uint64) << np.uint64(32)) | a
    if "l" in name.modifiers:
        return ((both << count) >> np.uint64(32)).astype(np.uint32)
    return (both >> count).astype(np.uint32)


def extract(name: Name, a: Array, start: Array, count: Array) -> Array:
    bits = 8 * name.dtype.itemsize
    unsigned, start, count = a.view(f"u{a.itemsize}").astype(object), start & 255, count & 255
    result = []
    for x, s, n in zip(*(np.broadcast_to(v, a.shape).tolist() for v in (unsigned, start, count))):
        field = x >> s & (1 << n) - 1 if s < bits else 0
        top = min(s + n - 1, bits - 1)
        if name.type[0] == "s" and n and x >> top & 1:
            field |= -1 << min(n, max(bits - s, 0))
        result.append(field % (1 << bits))
    return np.array(result, f"u{a.itemsize}").view(a.dtype)


def insert(name: Name, a: Array, b: Array, start: Array, count: Array) -> Array:
    bits = 8 * name.dtype.itemsize
    s, n = (start & 255).astype(object), (count & 255).astype(object)
    mask = np.array([((1 << k) - 1) << j & (1 << bits) - 1 for j, k in np.broadcast(s, n)], a.dtype)
    moved = np.array([x << j & (1 << bits) - 1 for x, j in np.broadcast(a.astype(object), s)], a.dtype)
    return b & ~mask | moved & mask


def permute(name: Name, a: Array, b: Array, selector: Array) -> Array:
    """prmt: each byte is one of the eight of a and b, or its sign."""
    assert not name.modifiers & {"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"}
    both = (b.astype(np.uint64) << np.uint64(32)) | a
    result = np.zeros_like(a)
    for k in range(4):
        choice = (selector >> np.uint32(4 * k)).astype(np.uint64)
        byte = both >> ((choice & np.uint64(7)) * np.uint64(8)) & np.uint64(255)
        byte = np.where(choice & np.uint64(8), (byte >> np.uint64(7)) * np.uint64(255), byte)
        result |= (byte << np.uint64(8 * k)).astype(np.uint32)
    return result


def leading_zeros(name: Name, a: Array) -> Array:
    return np.array([8 * a.itemsize - int(x).bit_length() for x in a.ravel()], np.uint32)


def ones(name: Name, a: Array) -> Array:
    return np.bitwise_count(a).astype(np.uint32)


def reversed_bits(name: Name, a: Array) -> Array:
    width = 8 * a.itemsize
    return np.array([int(f"{int(x):0{width}b}"[::-1], 2) for x in a.ravel()], a.dtype)


def sign_copied(name: Name, a: Array, b: Array) -> Array:
    return np.copysign(b, a)


COMPUTES: dict[str, Callable[..., Array]] = {
    "add": add, "sub": subtract, "mul": multiply, "mad": multiply_add, "fma": fused, "div": divide, "rem": remainder,
    "sqrt": square_root, "rcp": reciprocal, "min": extreme, "max": extreme, "neg": negated, "abs": absolute,
    "copysign": sign_copied, "cvt": convert, "setp": compare, "selp": lambda name, a, b, p: np.where(p, a, b),
    "rsqrt": lambda name, a: approximate(name, lambda x: 1 / np.sqrt(x), 2.0**-22.9, a),
    "ex2": lambda name, a: approximate(name, np.exp2, 2.0**-22, a),
    "lg2": lambda name, a: approximate(name, np.log2, 2.0**-22, a),
    "sin": lambda name, a: approximate(name, np.sin, 2.0**-20.5, a),
    "cos": lambda name, a: approximate(name, np.cos, 2.0**-20.5, a),
    "tanh": lambda name, a: approximate(name, np.tanh, 2.0**-11, a),
    "and": lambda name, a, b: a & b, "or": lambda name, a, b: a | b, "xor": lambda name, a, b: a ^ b,
    "not": lambda name, a: ~a, "shl": shift, "shr": shift, "shf": funnel_shift, "bfe": extract, "bfi": insert,
    "prmt": permute, "clz": leading_zeros, "popc": ones, "brev": reversed_bits,
}
"""By the first part of the name."""
