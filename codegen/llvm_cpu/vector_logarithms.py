"""log, log1p, log2, log10, pow, logaddexp, cbrt and the inverse hyperbolic functions on vectors of f32 or f64.

The logarithm through s = f / (2 + f): Tang, "Table-driven implementation of the logarithm function in IEEE
floating-point arithmetic", ACM TOMS 16(4), 1990. log1p's correction for what 1 + x rounds off: Kahan's. A power needs
its logarithm with more digits than it has itself: as a pair.
"""
from __future__ import annotations

from codegen.llvm_cpu.assembler import Value
from codegen.llvm_cpu.vector_arithmetic import Arithmetic, Pair
from codegen.llvm_cpu.vector_exponentials import LN2, exp, exp_of_pair, short_exp

SHORT_ATANH = (     # (atanh(s) / s - 1) / s^2 in s^2, for s <= (sqrt(2) - 1) / (sqrt(2) + 1): 2^-44.9
    0.33333333337911675, 0.19999997804474787, 0.1428605560101301, 0.11088041494016473, 0.09792927541913711)
LONG_ATANH = (      # ((atanh(s) / s - 1) / s^2 - 1/3) / s^2: 2^-71.2
    0.2, 0.14285714285713347, 0.11111111111411152, 0.09090909043608769, 0.07692311727075278, 0.06666472794699954,
    0.05887615641122334, 0.05183436702429745, 0.05481258353676459)
THIRD = (0.3333333333333333, 1.850371707708594e-17)
LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
LOG10_E = (0.4342944819032518, 1.098319650216765e-17)
UP = 2.0 ** 70
"""An exponent beyond which every power of a number but 1 overflows or vanishes."""


def split(m: Arithmetic, x: Value) -> Pair:
    """k (a float) and f with x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for x > 0 finite; f is exact."""
    form = m.format
    subnormal = m.a.compare("fcmp olt", x, m.number(form.smallest_normal))
    normal = m.a.select(subnormal, m.mul(x, m.number(2.0 ** form.mantissa_bits)), x)
    bits, digits = m.bits(normal), m.whole(form.mantissa_bits)
    exponent = m.a.binary("ashr", m.a.binary("sub", bits, m.whole(form.sqrt_half)), digits)
    f = m.sub(m.from_bits(m.a.binary("sub", bits, m.a.binary("shl", exponent, digits))), m.number(1.0))
    magic = m.number(form.round_integer)
    shift = m.a.select(subnormal, m.number(form.round_integer + form.mantissa_bits), magic)
    return m.sub(m.from_bits(m.a.binary("add", exponent, m.bits(magic))), shift), f


def _with_limits(m: Arithmetic, x: Value, result: Value) -> Value:
    """What a logarithm gives: NaN below 0, -inf at 0, inf at inf, elsewhere `result`."""
    result = m.where("ult", x, m.number(0.0), m.number(float("nan")), result)
    result = m.where("oeq", x, m.number(0.0), m.number(float("-inf")), result)
    return m.where("oeq", x, m.number(float("inf")), x, result)


def log(m: Arithmetic, x: Value) -> Value:
    """log(x) = k ln 2 + log(1 + f)."""
    k, f = split(m, x)
    return _with_limits(m, x, _log_of_parts(m, k, f, None))


def log1p(m: Arithmetic, x: Value) -> Value:
    """log(u) + ((1 + x) - u) / u for u = 1 + x as rounded; where k is 0 simply log(1 + f) with f = x."""
    one = m.number(1.0)
    u = m.add(x, one)
    k, f = split(m, u)
    rest = m.where("ogt", x, one, m.sub(one, m.sub(u, x)), m.sub(x, m.sub(u, one)))
    near = m.a.compare("fcmp oeq", k, m.number(0.0))
    f = m.a.select(near, x, f)
    rest = m.a.select(near, m.number(0.0), m.div(rest, u))
    result = _with_limits(m, u, _log_of_parts(m, k, f, rest))
    return m.where("oeq", x, m.number(0.0), x, result)


def _log_of_parts(m: Arithmetic, k: Value, f: Value, rest: Value | None) -> Value:
    """k ln 2 + log(1 + f) + rest."""
    high, low = m.format.ln2
    small = m.mul(k, m.number(low)) if rest is None else m.fma(k, m.number(low), rest)
    if m.format.mantissa_bits == 23:        # f - f^2/2 + f^3 * polynomial(f), the smallest parts added first
        square = m.mul(f, f)
        tail = m.fma(square, m.number(-0.5), small)
        tail = m.fma(m.mul(m.polynomial(f, m.format.log), f), square, tail)
        return m.fma(k, m.number(high), m.add(f, tail))
    s = m.div(f, m.add(f, m.number(2.0)))   # f - (f^2/2 - s * (f^2/2 + z * polynomial(z))) with z = s^2
    z = m.mul(s, s)
    half_square = m.mul(m.mul(f, m.number(0.5)), f)
    inner = m.fma(s, m.add(half_square, m.mul(z, m.polynomial(z, m.format.log))), small)
    return m.fma(k, m.number(high), m.sub(f, m.sub(half_square, inner)))


# ---- with more digits -----------------------------------------------------------------------------------------------


def log_pair(m: Arithmetic, x: Value) -> Pair:
    """log(x) in f64 with twice the digits of f64, less a few, for x > 0 finite."""
    k, f = split(m, x)
    d, d_low = m.sum_of_ordered(m.number(2.0), f)
    s = m.div(f, d)
    back, error = m.product(s, d)
    s_low = m.div(m.sub(m.sub(m.sub(f, back), error), m.mul(s, d_low)), d)
    z, z_low = m.product(s, s)
    z_low = m.fma(m.add(s, s), s_low, z_low)
    q = m.polynomial(z, LONG_ATANH)
    t, t_low = m.product(z, q)
    t_low = m.fma(z_low, q, t_low)
    t, error = m.sum_of_ordered(m.number(THIRD[0]), t)
    t_low = m.add(error, m.add(t_low, m.number(THIRD[1])))
    u, u_low = _product(m, (z, z_low), (t, t_low))
    w, w_low = _product(m, (s, s_low), (u, u_low))
    high, low = m.sum_of_ordered(s, w)
    low = m.add(low, m.add(s_low, w_low))
    ln2, ln2_low = m.format.ln2
    total, error = m.sum_of_any(m.mul(k, m.number(ln2)), m.add(high, high))
    return m.sum_of_ordered(total, m.add(error, m.fma(k, m.number(ln2_low), m.add(low, low))))


def _product(m: Arithmetic, x: Pair, y: Pair) -> Pair:
    high, low = m.product(x[0], y[0])
    return high, m.add(low, m.fma(x[0], y[1], m.mul(x[1], y[0])))


def _short_log(m: Arithmetic, x: Value) -> Value:
    """log(x) in f64 with more digits than f32 has, for x > 0 finite."""
    k, f = split(m, x)
    s = m.div(f, m.add(f, m.number(2.0)))
    z = m.mul(s, s)
    log1p = m.fma(m.mul(m.polynomial(z, SHORT_ATANH), z), s, s)
    return m.fma(k, m.number(LN2[0]), m.add(log1p, log1p))


def _log_to_base(m: Arithmetic, x: Value, factor: tuple[float, float]) -> Value:
    """log(x) * factor."""
    if m.format.mantissa_bits == 23:
        w = m.wide()
        return _with_limits(m, x, m.narrowed(w.mul(_short_log(w, m.widened(x)), w.number(factor[0]))))
    high, low = _product(m, log_pair(m, x), (m.number(factor[0]), m.number(factor[1])))
    return _with_limits(m, x, m.add(high, low))


def log2(m: Arithmetic, x: Value) -> Value:
    """The logarithm to base 2."""
    return _log_to_base(m, x, LOG2_E)


def log10(m: Arithmetic, x: Value) -> Value:
    """The logarithm to base 10."""
    return _log_to_base(m, x, LOG10_E)


def pow(m: Arithmetic, x: Value, y: Value) -> Value:
    """|x|^y = exp(y log |x|), with the sign and the special cases of C's pow."""
    size, zero, one, infinity = m.size(x), m.number(0.0), m.number(1.0), m.number(float("inf"))
    exponent = m.at_least(m.at_most(y, UP), -UP)
    if m.format.mantissa_bits == 23:
        w = m.wide()
        e = w.mul(m.widened(exponent), _short_log(w, m.widened(size)))
        power = m.narrowed(short_exp(w, w.at_least(w.at_most(e, 100.0), -110.0)))
    else:
        high, low = log_pair(m, size)
        e, e_low = m.product(exponent, high)
        power = exp_of_pair(m, (e, m.fma(exponent, low, e_low)))
    grows = m.where("ogt", y, zero, m.where("oeq", size, infinity, infinity, zero),
                    m.where("oeq", size, infinity, zero, infinity))
    limit = m.a.binary("or", m.a.compare("fcmp oeq", size, zero), m.a.compare("fcmp oeq", size, infinity))
    power = m.a.select(limit, grows, power)
    power = m.where("uno", x, y, m.number(float("nan")), power)
    power = _of_negative(m, x, y, power)
    power = m.where("oeq", y, zero, one, power)
    return m.where("oeq", x, one, one, power)


def _of_negative(m: Arithmetic, x: Value, y: Value, power: Value) -> Value:
    """The power of x from that of |x|: NaN for x < 0 and a fraction, negative for x with a sign and an odd y."""
    half = m.mul(y, m.number(0.5))
    whole, even = (m.a.compare("fcmp oeq", v, m.trunc(v)) for v in (y, half))
    below = m.a.compare("icmp slt", m.bits(x), m.whole(0))
    flipped = m.a.select(even, power, m.a.negate(power))
    signed = m.a.select(whole, flipped, power)
    signed = m.a.select(below, signed, power)
    fraction = m.a.select(whole, signed, m.number(float("nan")))
    finite = m.where("ogt", x, m.number(float("-inf")), fraction, signed)
    return m.where("olt", x, m.number(0.0), finite, signed)


# ---- composed -------------------------------------------------------------------------------------------------------


def logaddexp(m: Arithmetic, x: Value, y: Value) -> Value:
    """max + log1p(exp(-|x - y|)), and the sum where one is infinite."""
    greater = m.where("ogt", x, y, x, y)
    distance = m.size(m.sub(x, y))
    result = m.add(greater, log1p(m, exp(m, m.a.negate(distance))))
    infinite = m.a.compare("fcmp oeq", m.size(greater), m.number(float("inf")))
    result = m.a.select(infinite, greater, result)
    return m.where("uno", x, y, m.number(float("nan")), result)


def cbrt(m: Arithmetic, x: Value) -> Value:
    """exp(log|x| / 3), with more digits on the way, and the sign of x."""
    size = m.size(x)
    if m.format.mantissa_bits == 23:
        w = m.wide()
        root = m.narrowed(short_exp(w, w.mul(_short_log(w, m.widened(size)), w.number(1 / 3))))
    else:
        high, low = log_pair(m, size)
        third, error = m.product(high, m.number(THIRD[0]))
        rest = m.fma(high, m.number(THIRD[1]), m.fma(low, m.number(THIRD[0]), error))
        root = exp_of_pair(m, (third, rest))
    limit = m.a.binary("or", m.a.compare("fcmp oeq", size, m.number(0.0)),
                       m.a.compare("fcmp ueq", size, m.number(float("inf"))))
    return m.with_sign(m.a.select(limit, size, root), x)


def asinh(m: Arithmetic, x: Value) -> Value:
    """log1p(|x| + x^2 / (1 + sqrt(x^2 + 1))) with the sign of x; of f32, in f64."""
    w = m.wide()
    size, one = w.size(m.widened(x)), w.number(1.0)
    square = w.mul(size, size)
    root = w.a.intrinsic("sqrt", w.add(square, one))
    result = log1p(w, w.add(size, w.div(square, w.add(root, one))))
    return m.with_sign(m.narrowed(w.where("oeq", size, w.number(float("inf")), size, result)), x)


def acosh(m: Arithmetic, x: Value) -> Value:
    """log1p(t + sqrt(2 t + t^2)) with t = x - 1; of f32, in f64."""
    w = m.wide()
    t = w.sub(m.widened(x), w.number(1.0))
    result = m.narrowed(log1p(w, w.add(t, w.a.intrinsic("sqrt", w.fma(t, t, w.add(t, t))))))
    return m.where("olt", x, m.number(1.0), m.number(float("nan")), result)


def atanh(m: Arithmetic, x: Value) -> Value:
    """log1p(2|x| / (1 - |x|)) / 2 with the sign of x; of f32, in f64."""
    w = m.wide()
    size = w.size(m.widened(x))
    t = w.div(w.add(size, size), w.sub(w.number(1.0), size))
    return m.with_sign(m.narrowed(w.mul(log1p(w, t), w.number(0.5))), x)
