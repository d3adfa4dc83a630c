"""exp, expm1, exp2, tanh, sinh, cosh on vectors of f32 or f64.

Reduction to a small interval, and ln 2 as the sum of a part with few bits and a rest: Cody and Waite, "Software Manual
for the Elementary Functions", 1980.
"""
from __future__ import annotations

from codegen.llvm_cpu.assembler import Value
from codegen.llvm_cpu.vector_arithmetic import Arithmetic, Pair

SMALL_TANH = 0.625
SHORT_EXP = (       # (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2: 2^-31.3
    0.5, 0.16666647965703002, 0.04166648183966242, 0.0083378241308059, 0.0013933346412112952, 0.00017366025660278512)
SINH = (            # (sinh(x) / x - 1) / x^2 in x^2, for |x| <= 1: 2^-56.6
    0.16666666666666669, 0.008333333333333146, 0.00019841269841432672, 2.7557319156806956e-06, 2.505212318060382e-08,
    1.6057256223311254e-10, 7.758860016249167e-13)
EXPM1 = (           # (exp(r) - 1 - r) / r^2 in f64 for |r| <= ln(2) / 2: 2^-58.9 of expm1(r)
    0.5, 0.16666666666666677, 0.04166666666666671, 0.008333333333320288, 0.0013888888888842156, 0.00019841269889908544,
    2.480158744095057e-05, 2.755724007948038e-06, 2.7557149174909787e-07, 2.5110570993845473e-08,
    2.0960457653844393e-09)
LN2 = (0.6931471805599453, 2.3190468138462996e-17)


def exp(m: Arithmetic, x: Value) -> Value:
    """exp(x) = 2^n (1 + p).

    Where ldexp is no instruction, 2^n is a product of two powers that are normal numbers: n is counted from twice the
    bias on, and half of that is the exponent of one, the rest of the other.
    """
    x = bounded(m, x)
    if m.scales:
        n, p = reduced_exp(m, x)
        return m.times_power_of_two(m.add(p, m.number(1.0)), n)
    magic = m.number(m.format.round_integer + 2 * m.format.bias)
    shifted, r, _ = _shifted_and_rest(m, x, magic)
    square, counted = m.mul(r, r), m.bits(shifted)
    p = m.fma(square, m.polynomial_in_pairs(r, square, m.format.exp), r)
    half = m.a.binary("lshr", counted, m.whole(1))
    first, second = (m.from_bits(m.a.binary("shl", part, m.whole(m.format.mantissa_bits)))
                     for part in (half, m.a.binary("sub", counted, half)))
    return m.mul(m.fma(p, first, first), second)


def bounded(m: Arithmetic, x: Value) -> Value:
    """x in exp_range, beyond which exp is 0 or infinity."""
    low, high = m.format.exp_range
    return m.at_least(m.at_most(x, high), low)


def reduced_exp(m: Arithmetic, x: Value) -> Pair:
    """n, p with exp(x) = 2^n * (1 + p), p = expm1(x - n ln 2), for x in exp_range; for NaN p is NaN, n anything."""
    n, r, _ = _reduced(m, x)
    return n, m.fma(m.mul(r, r), m.polynomial(r, m.format.exp), r)


def _reduced(m: Arithmetic, x: Value) -> tuple[Value, Value, Value]:
    """n, r, rest with x = n ln 2 + r + rest; rest is what r is rounded by."""
    magic = m.number(m.format.round_integer)
    shifted, r, rest = _shifted_and_rest(m, x, magic)
    return m.a.binary("sub", m.bits(shifted), m.bits(magic)), r, rest


def _shifted_and_rest(m: Arithmetic, x: Value, magic: Value) -> tuple[Value, Value, Value]:
    """n + magic, r and rest, as _reduced has them."""
    shifted = m.fma(x, m.number(1.4426950408889634), magic)
    n = m.sub(shifted, magic)
    high, low = m.format.ln2
    most = m.fma(n, m.number(-high), x)
    r = m.fma(n, m.number(-low), most)
    return shifted, r, m.fma(n, m.number(-low), m.sub(most, r))


def exp_of_pair(m: Arithmetic, x: Pair) -> Value:
    """exp(x[0] + x[1]) in f64, for any x[0] and an x[1] that is small."""
    low, high = m.format.exp_range
    inside = m.where("olt", m.size(x[0]), m.number(-low), x[1], m.number(0.0))
    n, p = reduced_exp(m, bounded(m, x[0]))
    one = m.number(1.0)
    return m.times_power_of_two(m.add(m.add(p, m.mul(inside, m.add(p, one))), one), n)


def short_exp(m: Arithmetic, x: Value) -> Value:
    """exp(x) in f64 with the digits of f32, for |x| below 700."""
    n, r, _ = _reduced(m, x)
    p = m.fma(m.mul(r, r), m.polynomial(r, SHORT_EXP), r)
    scale = m.power_of_two(n)
    return m.fma(p, scale, scale)


def expm1(m: Arithmetic, x: Value) -> Value:
    """exp(x) - 1 = 2^n p + (2^n - 1); from 2^64 on there is nothing that 1 could change."""
    n, r, rest = _reduced(m, m.at_least(m.at_most(x, m.format.exp_range[1]), -44.0))
    coefficients = m.format.exp if m.format.mantissa_bits == 23 else EXPM1
    p = m.add(m.fma(m.mul(r, r), m.polynomial(r, coefficients), rest), r)
    great = m.a.compare("icmp sgt", n, m.whole(64))
    scale = m.power_of_two(m.a.select(great, m.whole(64), n))
    near = m.fma(p, scale, m.sub(scale, m.number(1.0)))
    far = m.times_power_of_two(m.add(p, m.number(1.0)), n)
    return m.with_sign(m.a.select(great, far, near), x)


def exp2(m: Arithmetic, x: Value) -> Value:
    """2^x = 2^n exp(r ln 2), n the whole number nearest to x."""
    top = m.format.bias + 1.0
    least = -float(m.format.bias + m.format.mantissa_bits + 2)
    inside = m.at_least(m.at_most(x, top), least)
    magic = m.number(m.format.round_integer)
    shifted = m.add(inside, magic)
    r = m.sub(inside, m.sub(shifted, magic))
    n = m.a.binary("sub", m.bits(shifted), m.bits(magic))
    if m.format.mantissa_bits == 23:
        w = m.wide()
        t = w.mul(m.widened(r), w.number(LN2[0]))
        p = m.narrowed(w.fma(w.mul(t, t), w.polynomial(t, SHORT_EXP), t))
        return m.times_power_of_two(m.add(p, m.number(1.0)), n)
    t, rest = m.product(r, m.number(LN2[0]))
    rest = m.fma(r, m.number(LN2[1]), rest)
    p = m.add(m.fma(m.mul(t, t), m.polynomial(t, m.format.exp), rest), t)
    return m.times_power_of_two(m.add(p, m.number(1.0)), n)


def tanh(m: Arithmetic, x: Value) -> Value:
    """tanh(x): an odd polynomial near 0, elsewhere 1 - 2 / (exp(2|x|) + 1) with the sign of x."""
    size = m.size(x)
    square = m.mul(x, x)
    near = m.fma(m.mul(m.polynomial(square, m.format.tanh), square), size, size)
    inside = m.at_most(size, m.format.tanh_one)
    n, p = reduced_exp(m, m.add(inside, inside))
    scale = m.power_of_two(n)
    far = m.sub(m.number(1.0), m.div(m.number(2.0), m.add(m.fma(p, scale, scale), m.number(1.0))))
    return m.with_sign(m.where("olt", size, m.number(SMALL_TANH), near, far), x)


def _halved_exp(m: Arithmetic, size: Value) -> Value:
    """exp(size) / 2, also where exp(size) overflows and that does not; in exp_range as widened by one power of 2."""
    n, p = reduced_exp(m, m.at_most(size, m.format.exp_range[1] + 1.0))
    return m.times_power_of_two(m.add(p, m.number(1.0)), m.a.binary("sub", n, m.whole(1)))


def cosh(m: Arithmetic, x: Value) -> Value:
    """cosh(x) = e + 1 / (4 e) with e = exp(|x|) / 2."""
    if m.format.mantissa_bits == 23:
        w = m.wide()
        e = short_exp(w, w.at_most(w.size(m.widened(x)), 100.0))
        return m.narrowed(w.mul(w.add(e, w.div(w.number(1.0), e)), w.number(0.5)))
    e = _halved_exp(m, m.size(x))
    return m.add(e, m.div(m.number(0.25), e))


def sinh(m: Arithmetic, x: Value) -> Value:
    """sinh(x): an odd polynomial near 0, elsewhere e - 1 / (4 e) with e = exp(|x|) / 2 and the sign of x."""
    if m.format.mantissa_bits == 23:
        w = m.wide()
        size = w.size(m.widened(x))
        e = short_exp(w, w.at_most(size, 100.0))
        far = w.mul(w.sub(e, w.div(w.number(1.0), e)), w.number(0.5))
        return m.with_sign(m.narrowed(w.where("olt", size, w.number(1.0), _odd(w, size, SINH[:5]), far)), x)
    size = m.size(x)
    e = _halved_exp(m, size)
    far = m.sub(e, m.div(m.number(0.25), e))
    return m.with_sign(m.where("olt", size, m.number(1.0), _odd(m, size, SINH), far), x)


def _odd(m: Arithmetic, x: Value, coefficients: tuple[float, ...]) -> Value:
    """x + x^3 * polynomial(x^2)."""
    square = m.mul(x, x)
    return m.fma(m.mul(m.polynomial(square, coefficients), square), x, x)
