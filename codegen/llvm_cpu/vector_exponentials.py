"""exp, expm1, exp2, tanh, sinh, cosh on vectors of f32 or f64.

Reduction to a small interval, and ln 2 as the sum of a part with few bits and a rest: Cody and Waite, "Software Manual
for the Elementary Functions", 1980. To an eighth of it, and the powers of 2 between from a table: Tang, "Table-driven
implementation of the exponential function in IEEE floating-point arithmetic", ACM TOMS 15(2), 1989.
"""
from __future__ import annotations

from math import tanh as tanh_of
from struct import pack, unpack

from codegen.llvm_cpu.assembler import Value, vector
from codegen.llvm_cpu.vector_arithmetic import Arithmetic, Pair

SHORT_EXP = (       # (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2: 2^-31.3
    0.5, 0.16666647965703002, 0.04166648183966242, 0.0083378241308059, 0.0013933346412112952, 0.00017366025660278512)
SINH = (            # (sinh(x) / x - 1) / x^2 in x^2, for |x| <= 1: 2^-56.6
    0.16666666666666669, 0.008333333333333146, 0.00019841269841432672, 2.7557319156806956e-06, 2.505212318060382e-08,
    1.6057256223311254e-10, 7.758860016249167e-13)
EXPM1 = (           # (exp(r) - 1 - r) / r^2 in f64 for |r| <= ln(2) / 2: 2^-58.9 of expm1(r)
    0.5, 0.16666666666666677, 0.04166666666666671, 0.008333333333320288, 0.0013888888888842156, 0.00019841269889908544,
    2.480158744095057e-05, 2.755724007948038e-06, 2.7557149174909787e-07, 2.5110570993845473e-08,
    2.0960457653844393e-09)
SHORT_TANH = (      # the same for tanh of f32, where 2^n (1 + p) counts for n < 1 only: 2^-27.1 of tanh(x)
    0.4999998211860657, 0.16666516661643982, 0.04167068749666214, 0.008369103074073792, 0.0013702254509553313)
EIGHTH_EXP = (0.5000645518302917, 0.1666685938835144)       # as f32's own for |r| <= ln(2) / 16: 2^-25.2 of exp(r)
EIGHTHS = tuple(unpack("<I", pack("<f", 2.0 ** (j / 8)))[0] - unpack("<I", pack("<f", 1.0))[0] - (j << 20)
                for j in range(8))
"""The bits of 2^(j/8) beyond those of 1, less those that (j << 20) adds when 2^(k/8) is made of k << 20, j = k % 8."""
LN2 = (0.6931471805599453, 2.3190468138462996e-17)
THIRTY_SECOND_EXP = (1.0000146627426147, 0.5000010132789612)    # (exp(r) - 1) / r for |r| <= ln(2) / 64: 2^-24.2 of exp
_MAGIC_32NDS = 1.5 * 2.0 ** 18
POWERS = tuple(2.0 ** (j / 32) for j in range(32))
NODES = (
    0.0, 0.2743621, 0.5652592, 0.84785783, 1.130512, 1.4130474, 1.6957097, 1.9783721, 2.2609284, 2.5436487, 2.82597,
    3.1088028, 3.391494, 3.6742172, 3.9567122, 4.239448, 4.5219927, 4.804646, 5.0870132, 5.369963, 5.6531277,
    5.9360633, 6.2164893, 6.502738, 6.7921014, 7.075289, 7.355079, 7.701611, 8.048101, 8.250751, 8.5970745, 8.75)
"""Near multiples of NODE_STEP numbers of f32 of whose tanh 7/8 are one, too, but for a thousandth of its last digit.
The first after 0 is to the left of it, so that tanh b is below 1/8 where the quotient has the fewest digits. Past 8.6,
where the last one is, tanh is 1."""
SEVEN_EIGHTHS = 0.875
TANH_OF_NODES = (*(SEVEN_EIGHTHS * tanh_of(unpack("<f", pack("<f", x))[0]) for x in NODES[:-1]), SEVEN_EIGHTHS)
NEAR_TANH = (-0.333324134349823, 0.13184386491775513)           # (tanh(b) / b - 1) / b^2 for |b| <= 0.1414: 2^-25.9
FAR_NODE, NODE_STEP = 8.875, 8.62 / 30.5


def exp(m: Arithmetic, x: Value) -> Value:
    """exp(x)."""
    if m.has_long_table:
        return _exp_by_32nds(m, m.at_most(x, m.format.exp_range[1]))
    inside = bounded(m, x)
    if not m.has_table:
        return _one_plus(m, *reduced_exp(m, inside), x)
    p, k = _exp_by_eighths(m, inside, 2 * m.format.bias)
    first = m.a.binary("shl", m.a.binary("lshr", k, m.whole(4)), m.whole(23))
    rest = m.from_bits(m.a.binary("sub", _eighths(m, k), first))
    return m.mul(m.fma(p, rest, rest), m.from_bits(first))


def exp_below_0(m: Arithmetic, x: Value) -> Value:
    """exp(x), the same bits, for x that is not above 0: nothing overflows, so 2^n needs no halves.

    2^(n + 65) is a normal number for every n that is needed, and the product with 2^-65 is rounded where that is not. A
    bias that is even, as that of `exp`, leaves the same n where x / ln 2 is halfway between two.
    """
    if m.has_long_table:
        return _exp_by_32nds(m, x)
    inside = m.at_least(x, m.format.exp_range[0])
    if m.features.ldexp and m.type.lanes > 1:
        return _one_plus(m, *reduced_exp(m, inside), x)
    if m.has_table:
        p, k = _exp_by_eighths(m, inside, 65 + m.format.bias)
        scale = m.from_bits(_eighths(m, k))
    else:
        p, k = reduced_exp(m, inside, 65 - m.format.bias)
        scale = m.power_of_biased(k)
    return m.mul(m.fma(p, scale, scale), m.number(2.0 ** -65))


def _exp_by_32nds(m: Arithmetic, x: Value) -> Value:
    """exp(x) = 2^n 2^(j/32) (1 + p), for x that is not above exp_range.

    n + j/32 is what adding 1.5 * 2^18 leaves of x / ln 2; scaling takes its whole part, and gives 0 below 2^-150, where
    the square of r may overflow.
    """
    shifted = m.fma(x, m.number(1.4426950408889634), m.number(_MAGIC_32NDS))
    n = m.sub(shifted, m.number(_MAGIC_32NDS))
    return _of_32nds(m, n, shifted, _rest(m, x, n, *m.format.ln2), THIRTY_SECOND_EXP)


def _of_32nds(m: Arithmetic, n: Value, shifted: Value, r: Value, coefficients: tuple[float, ...]) -> Value:
    """2^n, a number of 32nds that are in the low bits of `shifted`, by 1 + r times the polynomial of r."""
    power = m.of_32(POWERS, m.bits(shifted))
    return m.scaled(m.fma(m.mul(power, r), m.polynomial(r, coefficients), power), n, -150.0)


def _exp_by_eighths(m: Arithmetic, x: Value, power: int) -> tuple[Value, Value]:
    """p, k with exp(x) = 2^(n/8) (1 + p), k = n + 8 power in its low bits; f32 in exp_range. NaN gives NaN.

    Three operations fewer than `reduced_exp`, all of them multiplications, whose two ports are what it waits for.
    """
    magic = m.number(m.format.round_integer + 8 * power)
    shifted = m.fma(x, m.number(8 * 1.4426950408889634), magic)
    r = _rest(m, x, m.sub(shifted, magic), *(part / 8 for part in m.format.ln2))
    return m.fma(m.mul(r, r), m.polynomial(r, EIGHTH_EXP), r), m.bits(shifted)


def _eighths(m: Arithmetic, k: Value) -> Value:
    """The bits of 2^(k/8 - bias), less what of k is beyond the bits that there are."""
    return m.a.binary("add", m.of_eight(EIGHTHS, k), m.a.binary("shl", k, m.whole(20)))


def bounded(m: Arithmetic, x: Value) -> Value:
    """x in exp_range, beyond which exp is 0 or infinity."""
    low, high = m.format.exp_range
    return m.at_least(m.at_most(x, high), low)


def reduced_exp(m: Arithmetic, x: Value, power: int = 0) -> tuple[Value, Value]:
    """p, k with exp(x) 2^power = 2^n (1 + p), k = n + 2 bias; p = expm1 of a rest. x in exp_range; NaN gives NaN."""
    n, k = _nearest(m, x, 2 * m.format.bias + power)
    r = _rest(m, x, n, *m.format.ln2)
    return m.fma(m.mul(r, r), m.polynomial(r, m.format.exp), r), k


def _nearest(m: Arithmetic, x: Value, offset: int) -> tuple[Value, Value]:
    """n, the whole number nearest to x / ln 2, and an integer in whose low bits is n + offset."""
    magic = m.number(m.format.round_integer + offset)
    shifted = m.fma(x, m.number(1.4426950408889634), magic)
    return m.sub(shifted, magic), m.bits(shifted)


def _rest(m: Arithmetic, x: Value, n: Value, *ln2: float) -> Value:
    """x - n ln 2, for ln 2 in parts."""
    for part in ln2:
        x = m.fma(n, m.number(-part), x)
    return x


def _one_plus(m: Arithmetic, p: Value, k: Value, x: Value | None = None) -> Value:
    """(1 + p) 2^n, rounded once more where that is subnormal, for the k of any n that exp needs.

    `x`: of what is below exp_range 0 is scaled. Rounding to 0 what is not takes processors of Intel 20 times as long.
    """
    if m.features.ldexp and m.type.lanes > 1:
        n = m.a.binary("sub", k, m.whole(m.format.round_integer_bits + 2 * m.format.bias))
        exponent = n if n.type.dtype == "i32" else m.a.convert("trunc", n, vector("i32", n.type.lanes))
        value = m.add(p, m.number(1.0))
        if x is not None:
            value = m.where("olt", x, m.number(m.format.exp_range[0]), m.number(0.0), value)
        return m.a.intrinsic("ldexp", value, exponent, suffix=f"{value.type.suffix}.{exponent.type.suffix}")
    half = m.a.binary("lshr", k, m.whole(1))
    first = m.power_of_biased(half)
    return m.mul(m.fma(p, first, first), m.power_of_biased(m.a.binary("sub", k, half)))


def exp_of_pair(m: Arithmetic, x: Pair) -> Value:
    """exp(x[0] + x[1]) in f64, for any x[0] and an x[1] that is small."""
    low, high = m.format.exp_range
    inside = m.where("olt", m.size(x[0]), m.number(-low), x[1], m.number(0.0))
    p, k = reduced_exp(m, bounded(m, x[0]))
    return _one_plus(m, m.add(p, m.mul(inside, m.add(p, m.number(1.0)))), k)


def short_exp(m: Arithmetic, x: Value) -> Value:
    """exp(x) in f64 with the digits of f32, for |x| below 700."""
    n, k = _nearest(m, x, m.format.bias)
    r = _rest(m, x, n, *m.format.ln2)
    p = m.fma(m.mul(r, r), m.polynomial(r, SHORT_EXP), r)
    scale = m.power_of_biased(k)
    return m.fma(p, scale, scale)


def expm1(m: Arithmetic, x: Value) -> Value:
    """exp(x) - 1 = 2^n p + (2^n - 1); from 2^64 on there is nothing that 1 could change."""
    bias = m.format.bias
    inside = m.at_least(m.at_most(x, m.format.exp_range[1]), -44.0)
    n, k = _nearest(m, inside, 2 * bias)
    high, low = m.format.ln2
    most = _rest(m, inside, n, high)
    r = _rest(m, most, n, low)
    rest = _rest(m, m.sub(most, r), n, low)             # what r is rounded by
    coefficients = m.format.exp if m.format.mantissa_bits == 23 else EXPM1
    p = m.add(m.fma(m.mul(r, r), m.polynomial(r, coefficients), rest), r)
    limit = m.whole(m.format.round_integer_bits + 2 * bias + 64)
    great = m.a.compare("icmp sgt", k, limit)
    scale = m.power_of_biased(m.a.binary("sub", m.a.select(great, limit, k), m.whole(bias)))
    near = m.fma(p, scale, m.sub(scale, m.number(1.0)))
    return m.with_sign(m.a.select(great, _one_plus(m, p, k), near), x)


def exp2(m: Arithmetic, x: Value) -> Value:
    """2^x = 2^n exp(r ln 2), n the whole number nearest to x."""
    top = m.format.bias + 1.0
    if m.has_long_table:
        inside, magic = m.at_most(x, top), m.number(_MAGIC_32NDS)
        shifted = m.add(inside, magic)
        n = m.sub(shifted, magic)
        return _of_32nds(m, n, shifted, m.sub(inside, n), tuple(
            c * LN2[0] ** k for k, c in enumerate(THIRTY_SECOND_EXP, 1)))
    least = -float(m.format.bias + m.format.mantissa_bits + 2)
    inside = m.at_least(m.at_most(x, top), least)
    magic = m.number(m.format.round_integer + 2 * m.format.bias)
    shifted = m.add(inside, magic)
    r = m.sub(inside, m.sub(shifted, magic))
    if m.format.mantissa_bits == 23:
        w = m.wide()
        t = w.mul(m.widened(r), w.number(LN2[0]))
        p = m.narrowed(w.fma(w.mul(t, t), w.polynomial(t, SHORT_EXP), t))
    else:
        t, rest = m.product(r, m.number(LN2[0]))
        rest = m.fma(r, m.number(LN2[1]), rest)
        p = m.add(m.fma(m.mul(t, t), m.polynomial(t, m.format.exp), rest), t)
    return _one_plus(m, p, m.bits(shifted))


def tanh(m: Arithmetic, x: Value) -> Value:
    """tanh(x) = (1 - e) / (1 + e), e = exp(-2|x|) = 2^n + 2^n p, with the sign of x.

    1 - 2^n and 1 + 2^n are exact, so each side is rounded once. Where that is not enough for 2 ulp, in f64 and without
    fma, what is lost is made up for in the quotient; its divisor is between 1 and 2, and 4/3 is near enough to it.
    """
    if m.has_long_table:
        return _tanh_by_nodes(m, x)
    size = m.a.negate(m.size(x))
    inside = m.at_least(m.add(size, size), -2.0 * m.format.tanh_one)
    n, k = _nearest(m, inside, m.format.bias)
    scale, one = m.power_of_biased(k), m.number(1.0)
    most, beyond = m.sub(one, scale), m.add(one, scale)
    coefficients = SHORT_TANH if m.format.mantissa_bits == 23 else EXPM1
    if m.format.mantissa_bits == 23 and m.features.fma:
        r = _rest(m, inside, n, LN2[0])                 # what is off by n times what this is, e makes little of
        p = m.fma(m.mul(r, r), m.polynomial(r, coefficients), r)
        return m.with_sign(m.div(m.fma(m.a.negate(p), scale, most), m.fma(p, scale, beyond)), x)
    r = _rest(m, inside, n, *m.format.ln2)
    p, rest = m.sum_of_ordered(r, m.mul(m.mul(r, r), m.polynomial(r, coefficients)))
    part = m.mul(p, scale)
    above, lost_above = m.sum_of_ordered(most, m.a.negate(part))
    below, lost_below = m.sum_of_ordered(beyond, part)
    quotient = m.div(above, below)
    lost = m.fma(m.a.negate(quotient), lost_below, m.fma(m.a.negate(rest), scale, lost_above))
    return m.with_sign(m.fma(lost, m.number(0.75), quotient), x)


def _tanh_by_nodes(m: Arithmetic, x: Value) -> Value:
    """tanh(a + b) = (tanh a + tanh b) / (1 + tanh a tanh b), a the node nearest to |x|, with the sign of x.

    Of both sides of the quotient 7/8 are taken, which stay below 1: beyond it they would be rounded to a digit less.
    """
    size = m.at_most(m.size(x), FAR_NODE)
    k = m.bits(m.fma(size, m.number(1 / NODE_STEP), m.number(m.format.round_integer)))
    a, b, part = m.of_32(TANH_OF_NODES, k), m.sub(size, m.of_32(NODES, k)), m.number(SEVEN_EIGHTHS)
    square = m.mul(b, b)
    b = m.fma(m.mul(square, b), m.polynomial(square, NEAR_TANH), b)
    return m.with_sign(m.div(m.fma(b, part, a), m.fma(b, a, part)), x)


def _halved_exp(m: Arithmetic, size: Value) -> Value:
    """exp(size) / 2, also where exp(size) overflows and that does not; in exp_range as widened by one power of 2."""
    return _one_plus(m, *reduced_exp(m, m.at_most(size, m.format.exp_range[1] + 1.0), -1))


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
