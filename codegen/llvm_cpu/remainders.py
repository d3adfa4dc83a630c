"""fmod, rem and floor_div of floats, exactly as NumPy has them.

A remainder is exact. Where the quotient is below 2^52, x - q y is computed with what the product rounds off, q being
x / y truncated, which is off by one at most. In the other lanes, one after the other, the mantissa of x is shifted up
by a few bits at a time and divided as an integer: that takes long, and is rare. f32 is computed in f64.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.assembler import BOOL, F64, I64, Value
from codegen.llvm_cpu.vector_arithmetic import Arithmetic

MOST = 2.0 ** 52
PRODUCTS = (2.0 ** -900, 2.0 ** 990)
"""Between these the rounding error of a product is exact without fused multiply-add."""

SHIFT = 11
"""By how many bits a remainder of 53 bits can be shifted in 64."""


def fmod(m: Arithmetic, x: Value, y: Value) -> Value:
    """What is left of x after truncated division by y, with the sign of x."""
    if m.format.mantissa_bits == 23:
        w = m.wide()
        rest = m.narrowed(_rest(w, w.size(m.widened(x)), w.size(m.widened(y)), 278))
    else:
        rest = _rest(m, m.size(x), m.size(y), 2098)
    infinity, nothing = m.number(float("inf")), m.number(float("nan"))
    rest = m.where("oeq", m.size(y), infinity, m.size(x), rest)
    rest = m.where("oeq", y, m.number(0.0), nothing, rest)
    rest = m.where("ueq", m.size(x), infinity, nothing, rest)
    return m.where("uno", x, y, nothing, m.with_sign(rest, x))


def rem(m: Arithmetic, x: Value, y: Value) -> Value:
    """fmod moved to the side of y: a zero has its sign."""
    rest = fmod(m, x, y)
    zero = m.number(0.0)
    moved = m.a.select(_across(m, rest, y), m.add(rest, y), rest)
    zeros = m.with_sign(zero, y)
    return m.where("oeq", rest, zero, zeros, moved)


def floor_div(m: Arithmetic, x: Value, y: Value) -> Value:
    """(x - fmod) / y, one less where fmod is on the other side, rounded; x / y for y = 0."""
    rest, zero, one = fmod(m, x, y), m.number(0.0), m.number(1.0)
    quotient = m.div(m.sub(x, rest), y)
    quotient = m.a.select(_across(m, rest, y), m.sub(quotient, one), quotient)
    down = m.floor(quotient)
    whole = m.where("ogt", m.sub(quotient, down), m.number(0.5), m.add(down, one), down)
    plain = m.div(x, y)
    whole = m.where("oeq", quotient, zero, m.with_sign(zero, plain), whole)
    return m.where("oeq", y, zero, plain, whole)


def _across(m: Arithmetic, rest: Value, y: Value) -> Value:
    """Is the remainder not 0, and of another sign than y?"""
    zero = m.number(0.0)
    above = m.a.binary("xor", m.a.compare("fcmp olt", rest, zero), m.a.compare("fcmp olt", y, zero))
    return m.a.binary("and", m.a.compare("fcmp une", rest, zero), above)


def _rest(m: Arithmetic, x: Value, y: Value, exponents: int) -> Value:
    """fmod of x >= 0 and y > 0, finite, in f64; their exponents differ by fewer than `exponents`."""
    ratio = m.div(x, y)
    q = m.trunc(m.at_most(ratio, MOST))
    whole, error = m.product(q, y)
    rest = m.sub(m.sub(x, whole), error)
    zero = m.number(0.0)
    rest = m.where("olt", rest, zero, m.add(rest, y), rest)
    rest = m.where("oge", rest, y, m.sub(rest, y), rest)
    slow = m.a.compare("fcmp oge", ratio, m.number(MOST))
    if not m.features.fma:
        least, most = (m.number(bound) for bound in PRODUCTS)
        for v, how, bound in ((x, "olt", least), (x, "ogt", most), (y, "ogt", most)):
            slow = m.a.binary("or", slow, m.a.compare(f"fcmp {how}", v, bound))
    some = slow if slow.type.lanes == 1 else m.a.intrinsic(
        "vector.reduce.or", slow, type=BOOL, suffix=slow.type.suffix)
    one = Arithmetic(m.a, F64, m.features)

    def divide_the_slow() -> list[Value]:
        if m.type.lanes == 1:
            return [m.a.select(slow, _divided(one, m.a.inside(x), y, exponents), rest)]
        bits = m.a.convert("zext", slow, m.integer)

        def at(lane: Value, carried: list[Value]) -> list[Value]:
            own = m.a.compare("icmp ne", m.a.extract_at(bits, lane), one.whole(0))
            found = _divided(one, m.a.extract_at(x, lane), m.a.extract_at(y, lane), exponents)
            chosen = m.a.select(own, found, m.a.extract_at(carried[0], lane))
            return [m.a.insert_at(carried[0], chosen, lane)]

        return m.a.loop(m.a.constant(I64, 0), m.a.constant(I64, m.type.lanes), 1, [rest], at)

    return m.a.when(some, [rest], divide_the_slow)[0]


def _divided(m: Arithmetic, x: Value, y: Value, exponents: int) -> Value:
    """fmod of one x >= 0 and one y > 0: (mantissa of x) * 2^(difference of exponents) modulo the mantissa of y."""
    a = m.a
    binary: Callable[[str, Value, Value], Value] = a.binary
    zero, one = m.whole(0), m.whole(1)

    def parts(v: Value) -> tuple[Value, Value]:
        bits = m.bits(v)
        exponent = binary("lshr", bits, m.whole(52))
        fraction = binary("and", bits, m.whole((1 << 52) - 1))
        subnormal = a.compare("icmp eq", exponent, zero)
        return (a.select(subnormal, fraction, binary("or", fraction, m.whole(1 << 52))),
                a.select(subnormal, one, exponent))

    (mantissa, high), (divisor, low) = parts(x), parts(y)
    divisor = a.select(a.compare("icmp eq", divisor, zero), one, divisor)
    missing = binary("sub", high, low)

    def step(k: Value, carried: list[Value]) -> list[Value]:
        rest, left = carried
        shift = a.intrinsic("smax", a.intrinsic("smin", left, m.whole(SHIFT)), zero)
        return [binary("urem", binary("shl", rest, shift), divisor), binary("sub", left, shift)]

    steps = m.whole(exponents // SHIFT + 1)
    rest, _ = a.loop(zero, steps, 1, [binary("urem", mantissa, divisor), missing], step)
    least = m.mul(a.convert("uitofp", rest, m.type), m.number(2.0 ** -1074))
    power = binary("sub", low, one)
    half = binary("lshr", power, one)
    scaled = m.mul(m.mul(least, m.power_of_two(half)), m.power_of_two(binary("sub", power, half)))
    return a.select(a.compare("icmp slt", missing, zero), x, scaled)


REMAINDERS: dict[str, Callable[[Arithmetic, Value, Value], Value]] = {
    "fmod": fmod, "rem": rem, "floor_div": floor_div,
}
"""The ops of two floats by name."""
