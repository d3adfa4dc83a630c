"""Integer ops that have no instruction of their own, or one that LLVM leaves undefined for some operands.

A divisor that would trap is replaced by 1, and the result by what the table of edge semantics says: 0 for a quotient
or remainder by 0; the least number, divided by -1, is itself and leaves 0. Quotients of up to 32 bits are computed
in f64, which has vector instructions and is exact there: q and the next whole number differ by more than q * 2^-53.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.types import SIGNED
from codegen.llvm_cpu.assembler import Assembler, Value, vector

_BITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}


def floor_div(a: Assembler, x: Value, y: Value) -> Value:
    """x / y rounded down, 0 for y = 0."""
    quotient, rest = _divided(a, x, y)
    if x.type.dtype in SIGNED:
        down = a.binary("and", a.compare("icmp ne", rest, _zero(a, x)), _different_signs(a, x, y))
        quotient = a.select(down, a.binary("sub", quotient, a.constant(x.type, 1)), quotient)
    return a.select(a.compare("icmp eq", y, _zero(a, y)), _zero(a, x), quotient)


def rem(a: Assembler, x: Value, y: Value) -> Value:
    """x - floor_div(x, y) * y, 0 for y = 0."""
    rest = _divided(a, x, y)[1]
    if x.type.dtype in SIGNED:
        up = a.binary("and", a.compare("icmp ne", rest, _zero(a, x)), _different_signs(a, x, y))
        rest = a.select(up, a.binary("add", rest, y), rest)
    return a.select(a.compare("icmp eq", y, _zero(a, y)), _zero(a, x), rest)


def fmod(a: Assembler, x: Value, y: Value) -> Value:
    """What is left of x after truncated division by y, 0 for y = 0."""
    return a.select(a.compare("icmp eq", y, _zero(a, y)), _zero(a, x), _divided(a, x, y)[1])


def _divided(a: Assembler, x: Value, y: Value) -> tuple[Value, Value]:
    """The truncated quotient and its remainder; by 1 where the division would trap."""
    signed, bits = x.type.dtype in SIGNED, _BITS[x.type.element]
    trap = a.compare("icmp eq", y, _zero(a, y))
    if signed:
        least = a.compare("icmp eq", x, a.constant(x.type, -(1 << bits - 1)))
        trap = a.binary("or", trap, a.binary("and", least, a.compare("icmp eq", y, a.constant(y.type, -1))))
    divisor = a.select(trap, a.constant(y.type, 1), y)
    if bits == 64:
        quotient = a.binary("sdiv" if signed else "udiv", x, divisor)
    else:
        wide = vector("f64", x.type.lanes)
        n, d = (a.convert("sitofp" if signed else "uitofp", v, wide) for v in (x, divisor))
        quotient = a.convert("fptosi" if signed else "fptoui", a.binary("fdiv", n, d), x.type)
    return quotient, a.binary("sub", x, a.binary("mul", quotient, divisor))


def _different_signs(a: Assembler, x: Value, y: Value) -> Value:
    return a.compare("icmp slt", a.binary("xor", x, y), _zero(a, x))


def _zero(a: Assembler, x: Value) -> Value:
    return a.constant(x.type, 0)


def shift_left(a: Assembler, x: Value, count: Value) -> Value:
    """x << count; 0 for a count outside 0..bits-1."""
    inside = a.compare("icmp ult", count, a.constant(count.type, _BITS[x.type.element]))    # a negative one is large
    return a.select(inside, a.binary("shl", x, a.select(inside, count, _zero(a, count))), _zero(a, x))


def power(a: Assembler, x: Value, y: Value) -> Value:
    """x ** y by squaring; of y < 0, 1 / x ** -y truncated."""
    bits = _BITS[x.type.element]
    one, zero = a.constant(x.type, 1), _zero(a, x)

    def step(k: Value, carried: list[Value]) -> list[Value]:
        result, square, rest = carried
        odd = a.compare("icmp ne", a.binary("and", rest, one), zero)
        return [a.select(odd, a.binary("mul", result, square), result), a.binary("mul", square, square),
                a.binary("lshr", rest, one)]

    counter = vector("i64")
    result = a.loop(a.constant(counter, 0), a.constant(counter, bits), 1, [one, x, y], step)[0]
    if x.type.dtype not in SIGNED:
        return result
    minus = a.constant(x.type, -1)
    odd = a.compare("icmp ne", a.binary("and", y, one), zero)
    of_minus = a.select(a.compare("icmp eq", x, minus), a.select(odd, minus, one), zero)
    of_unit = a.select(a.compare("icmp eq", x, one), one, of_minus)
    return a.select(a.compare("icmp slt", y, zero), of_unit, result)


INTEGER_OPS: dict[str, Callable[[Assembler, Value, Value], Value]] = {
    "floor_div": floor_div, "rem": rem, "fmod": fmod, "shift_left": shift_left, "pow": power,
}
"""The ops of two integers by name."""
