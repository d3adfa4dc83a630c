"""sin, cos, tan and their inverses on vectors of f32 or f64; f32 is computed in f64.

Up to 2^20 the argument is reduced by multiples of pi/2 as the sum of parts with few bits: Cody and Waite, "Software
Manual for the Elementary Functions", 1980. Beyond, its bits are multiplied with those of 2/pi that matter: Payne and
Hanek, "Radian reduction for trigonometric functions", SIGNUM Newsletter 18, 1983. That is done only where some lane
needs it, one lane after the other.

But sin and cos of f32 are computed in f32 up to 4e4 where there is fma, in 0.4 of the time, to 1.5 ulp: what it takes
away has not been rounded before.
"""
from __future__ import annotations

from codegen.llvm_cpu.assembler import BOOL, F64, I64, Value, vector
from codegen.llvm_cpu.vector_arithmetic import Arithmetic, Pair

SIN = (             # (sin(r) / r - 1) / r^2 in r^2, for |r| <= pi/4: 2^-57.8
    -0.1666666666666663, 0.008333333333321822, -0.00019841269829387286, 2.755731356578734e-06, -2.505074103730132e-08,
    1.5895933106406387e-10)
SHORT_SIN = (-0.16666666640775987, 0.008333329302397576, -0.000198393114800425, 2.7181140711906343e-06)    # 2^-37.5
COS = (             # (cos(r) - 1 + r^2/2) / r^4 in r^2: 2^-58.4
    0.041666666666666595, -0.001388888888882783, 2.4801587243957758e-05, -2.755729831960669e-07, 2.0873309282886835e-09,
    -1.1227636354875991e-11)
SHORT_COS = (0.04166666661945348, -0.0013888883495072613, 2.479945853432899e-05, -2.7205602823263014e-07)  # 2^-42.9
ASIN = (            # (asin(x) / x - 1) / x^2 in x^2, for |x| <= 1/2: 2^-58.6
    0.1666666666666676, 0.07499999999970719, 0.04464285717469506, 0.030381942703536998, 0.02237221511368529,
    0.017351609646654855, 0.013980850049264679, 0.01139866226374112, 0.010781699234883856, 0.003700781270436532,
    0.021721522840622624, -0.02101950712992872, 0.03264172849276095)
SHORT_ASIN = (      # 2^-31.8
    0.16666659981916604, 0.07500504797370108, 0.04451682791045447, 0.03180885379252492, 0.014434060302979482,
    0.037523156506377144)
ATAN = (            # (atan(x) / x - 1) / x^2 in x^2, for |x| <= 7/16: 2^-58.4
    -0.33333333333333315, 0.19999999999992948, -0.1428571428483064, 0.1111111105547655, -0.09090907033245492,
    0.07692259074084212, -0.06665896797598411, 0.058739705360680766, -0.051998363477411255, 0.044320964975731056,
    -0.03189841629193236, 0.013676962322137205)
SHORT_ATAN = (      # 2^-34.3
    -0.3333333180996075, 0.19999842494287032, -0.1428025745982261, 0.11023176241326794, -0.08357323070770217,
    0.045012406699155294)
TURNS = (           # from this y / x on the angle is turned back by that of (x', y'): the angle, (y', x')
    (7 / 16, (0.4636476090008061, 2.2698777452961687e-17), (0.5, 1.0)),
    (11 / 16, (0.7853981633974483, 3.061616997868383e-17), (1.0, 1.0)),
    (19 / 16, (0.982793723247329, 1.3903311031230998e-17), (1.5, 1.0)),
    (39 / 16, (1.5707963267948966, 6.123233995736766e-17), (1.0, 0.0)))

HALF_PI_PARTS = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32)
"""pi/2 as a sum whose first three parts have 33 bits, so that they times a whole number below 2^20 are exact."""

F32_SIN = (-0.16666652262210846, 0.008332014083862305, -0.00019495606829877943)                    # as SIN, 2^-27.6
F32_COS = (-0.5, 0.04166664183139801, -0.0013887130189687014, 2.4412080165348016e-05)              # as COS, 2^-32.5
F32_HALF_PI_PARTS = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
"""pi/2 as a sum of f32."""

F32_LIMIT = 4e4
"""Up to here f32 is reduced in f32."""

HALF_PI, PI = (1.5707963267948966, 6.123233995736766e-17), (3.141592653589793, 1.2246467991473532e-16)
TWO_OVER_PI = (
    0, 0, 2734261102, 1313084713, 4230436817, 4113882560, 3680671129, 1011060801, 4266746795, 3736847713, 3072618042,
    1112396512, 105459434, 164729372, 4263373596, 2972297022, 3900847605, 784024708, 3919343654, 3026157121, 965858873,
    2203269620, 2625920907, 3187222587, 536385535, 3724908559, 4012839307, 1510632735, 1832287951, 667617719,
    1330003814, 2657085997, 1965537991, 3957715323, 1023883767, 2320667370, 1811636145, 529358088, 1443049542,
    4235946923)
"""The bits of 2/pi, 32 in a word, after 64 that are 0."""

LIMIT = 1.5e6
"""Up to here multiples of pi/2 are below 2^20."""


# ---- sin, cos, tan --------------------------------------------------------------------------------------------------


def sin(m: Arithmetic, x: Value) -> Value:
    """sin(x)."""
    return _turned(m, x, 0)


def cos(m: Arithmetic, x: Value) -> Value:
    """cos(x)."""
    return _turned(m, x, 1)


def _turned(m: Arithmetic, x: Value, quarters: int) -> Value:
    """sin(x + quarters * pi/2)."""
    if m.format.mantissa_bits > 23 or not m.features.fma:
        return _turned_in_f64(m, x, quarters)
    result = _turned_in_f32(m, x, quarters)
    great = m.a.compare("fcmp ogt", m.size(x), m.number(F32_LIMIT))
    (result,) = m.a.when(_in_some_lane(m, great), [result], lambda: [
        m.a.select(great, _turned_in_f64(m, x, quarters), result)])
    return result


def _turned_in_f32(m: Arithmetic, x: Value, quarters: int) -> Value:
    """sin(x + quarters * pi/2) for |x| up to F32_LIMIT."""
    magic = m.number(m.format.round_integer)
    shifted = m.fma(x, m.number(2 / PI[0]), magic)
    n, r = m.sub(shifted, magic), x
    for part in F32_HALF_PI_PARTS:
        r = m.fma(n, m.number(-part), r)
    z = m.mul(r, r)
    sine = m.fma(m.mul(z, r), m.polynomial(z, F32_SIN), r)
    cosine = m.fma(z, m.polynomial(z, F32_COS), m.number(1.0))
    quadrant = m.a.binary("add", m.bits(shifted), m.whole(quarters))
    result = m.a.select(_odd(m, quadrant), cosine, sine)
    turned = m.a.compare("icmp ne", m.a.binary("and", quadrant, m.whole(2)), m.whole(0))
    result = m.a.select(turned, m.a.negate(result), result)
    return result if quarters else m.where("oeq", x, m.number(0.0), x, result)


def _in_some_lane(m: Arithmetic, condition: Value) -> Value:
    """Does it hold in a lane?"""
    if condition.type.lanes == 1:
        return condition
    return m.a.intrinsic("vector.reduce.or", condition, type=BOOL, suffix=condition.type.suffix)


def _turned_in_f64(m: Arithmetic, x: Value, quarters: int) -> Value:
    w, wide = _in_f64(m, x)
    quadrant, r = _reduced(w, wide, w is not m)
    quadrant = w.a.binary("add", quadrant, w.whole(quarters))
    odd = _odd(w, quadrant)
    result = w.add(*(w.a.select(odd, c, s) for s, c in zip(*_of_reduced(w, r, w is not m))))
    turned = w.a.compare("icmp ne", w.a.binary("and", quadrant, w.whole(2)), w.whole(0))
    result = w.a.select(turned, w.a.negate(result), result)
    result = result if w is m else m.narrowed(result)
    return result if quarters else m.where("oeq", x, m.number(0.0), x, result)


def tan(m: Arithmetic, x: Value) -> Value:
    """tan(x) = sin(r) / cos(r), or -cos(r) / sin(r) in the odd quadrants."""
    w, wide = _in_f64(m, x)
    quadrant, r = _reduced(w, wide, w is not m)
    odd, (sine, cosine) = _odd(w, quadrant), _of_reduced(w, r, w is not m)
    above = w.sum_of_ordered(*(w.a.select(odd, w.a.negate(c), s) for s, c in zip(sine, cosine)))
    below = w.sum_of_ordered(*(w.a.select(odd, s, c) for s, c in zip(sine, cosine)))
    result = w.div(above[0], below[0])
    if w is m:
        back, error = m.product(result, below[0])
        rest = m.sub(m.add(m.sub(m.sub(above[0], back), error), above[1]), m.mul(result, below[1]))
        result = m.add(result, m.div(rest, below[0]))
    result = result if w is m else m.narrowed(result)
    return m.where("oeq", x, m.number(0.0), x, result)


def _in_f64(m: Arithmetic, x: Value) -> tuple[Arithmetic, Value]:
    return (m, x) if m.format.mantissa_bits > 23 else (m.wide(), m.widened(x))


def _odd(m: Arithmetic, quadrant: Value) -> Value:
    return m.a.compare("icmp ne", m.a.binary("and", quadrant, m.whole(1)), m.whole(0))


def _of_reduced(m: Arithmetic, r: Pair, short: bool) -> tuple[Pair, Pair]:
    """sin and cos of r[0] + r[1], at most pi/4, as pairs that are still to be added."""
    high, low = r
    z = m.mul(high, high)
    if short:
        sine = (high, m.mul(m.mul(m.polynomial(z, SHORT_SIN), z), high))
        return sine, (m.fma(z, m.number(-0.5), m.number(1.0)), m.mul(m.mul(z, z), m.polynomial(z, SHORT_COS)))
    cube = m.mul(z, high)
    tail = m.sub(m.mul(low, m.number(0.5)), m.mul(cube, m.polynomial(z, SIN[1:])))
    sine = (high, m.sub(m.mul(cube, m.number(SIN[0])), m.sub(m.mul(z, tail), low)))
    half, one = m.mul(z, m.number(0.5)), m.number(1.0)
    near_one = m.sub(one, half)
    rest = m.sub(m.mul(m.mul(z, z), m.polynomial(z, COS)), m.mul(high, low))
    return sine, (near_one, m.add(m.sub(m.sub(one, near_one), half), rest))


def _reduced(m: Arithmetic, x: Value, short: bool) -> tuple[Value, Pair]:
    """q, r with x = q pi/2 + r up to multiples of 2 pi, |r| at most pi/4 and a little."""
    magic = m.number(m.format.round_integer)
    shifted = m.fma(x, m.number(2 / PI[0]), magic)
    n = m.sub(shifted, magic)
    first, second, third, fourth = HALF_PI_PARTS
    high = m.sub(x, m.mul(n, m.number(first)))
    zero = m.number(0.0)
    if short:
        high, low = m.sub(high, m.mul(n, m.number(second + third))), zero
    else:
        high, error = m.sum_of_any(high, m.mul(n, m.number(-second)))
        high, more = m.sum_of_any(high, m.mul(n, m.number(-third)))
        high, low = m.sum_of_ordered(high, m.fma(n, m.number(-fourth), m.add(error, more)))
    some = _in_some_lane(m, _is_great(m, x))
    before = [m.bits(shifted), high, low]
    quadrant, high, low = m.a.when(some, before, lambda: _with_the_great(m, x, before))
    return quadrant, (high, low)


def _with_the_great(m: Arithmetic, x: Value, reduced: list[Value]) -> list[Value]:
    """`reduced`, with what belongs there in the lanes of great numbers."""
    one = Arithmetic(m.a, F64, m.features)
    if m.type.lanes == 1:
        return _reduced_great(one, m.a.inside(x), reduced)

    def at(lane: Value, carried: list[Value]) -> list[Value]:
        own = _reduced_great(one, m.a.extract_at(x, lane), [m.a.extract_at(v, lane) for v in carried])
        return [m.a.insert_at(v, element, lane) for v, element in zip(carried, own)]

    return m.a.loop(m.a.constant(I64, 0), m.a.constant(I64, m.type.lanes), 1, reduced, at)


def _reduced_great(m: Arithmetic, x: Value, otherwise: list[Value]) -> list[Value]:
    """Of one number q, r[0], r[1] as `_reduced` gives them if |x| is finite and at least LIMIT, else `otherwise`.

    |x| = mantissa * 2^e, and bits of 2/pi before the (e - 1)-th only add multiples of 4 to the product. Of it the last
    two whole bits and 190 of the fraction are computed.
    """
    a, bits = m.a, m.bits(x)

    def shift(v: Value, how: str, count: Value | int) -> Value:
        return a.binary(how, v, count if isinstance(count, Value) else m.whole(count))

    def mask(v: Value, count: int) -> Value:
        return a.binary("and", v, m.whole((1 << count) - 1))

    exponent = mask(shift(bits, "lshr", 52), 11)
    mantissa = a.binary("or", mask(bits, 52), m.whole(1 << 52))
    place = a.binary("sub", exponent, m.whole(1075 + 2 - 64))
    offset = a.binary("sub", m.whole(32), mask(place, 5))
    table = a.numbers(vector("i64", len(TWO_OVER_PI)), TWO_OVER_PI)
    first = a.intrinsic("smin", a.intrinsic("smax", shift(place, "ashr", 5), m.whole(0)), m.whole(len(TWO_OVER_PI) - 7))
    words = [a.extract_at(table, a.binary("add", first, m.whole(k))) for k in range(7)]
    limbs = [mask(shift(a.binary("or", shift(high, "shl", 32), low), "lshr", offset), 32)
             for high, low in zip(words, words[1:])]
    top, bottom = shift(mantissa, "lshr", 32), mask(mantissa, 32)
    from_bottom = [a.binary("mul", bottom, limb) for limb in limbs]
    from_top = [a.binary("mul", top, limb) for limb in limbs]
    product: list[Value] = []                           # the 192 bits of the fraction, the lowest limb first
    carry = m.whole(0)
    for k in reversed(range(6)):
        total = a.binary("add", carry, mask(from_bottom[k], 32))
        if k < 5:
            total = a.binary("add", total, a.binary("add", shift(from_bottom[k + 1], "lshr", 32),
                                                    mask(from_top[k + 1], 32)))
        if k < 4:
            total = a.binary("add", total, shift(from_top[k + 2], "lshr", 32))
        product.append(mask(total, 32))
        carry = shift(total, "lshr", 32)
    product.reverse()
    quadrant = shift(a.binary("add", shift(product[0], "lshr", 29), m.whole(1)), "lshr", 1)
    pieces = [mask(a.binary("or", shift(high, "shl", 2), shift(low, "lshr", 30)), 32)
              for high, low in zip(product, product[1:])]
    signed = shift(shift(pieces[0], "shl", 32), "ashr", 32)
    high, low = m.mul(a.convert("sitofp", signed, m.type), m.number(2.0 ** -32)), m.number(0.0)
    for k, piece in enumerate(pieces[1:], 2):
        part = m.mul(a.convert("sitofp", piece, m.type), m.number(2.0 ** (-32 * k)))
        high, error = m.sum_of_any(high, part)
        low = m.add(low, error)
    high, low = m.sum_of_ordered(high, low)
    r, error = m.product(high, m.number(HALF_PI[0]))
    rest = m.fma(high, m.number(HALF_PI[1]), m.fma(low, m.number(HALF_PI[0]), error))
    r, rest = m.sum_of_ordered(r, rest)
    negative = a.compare("icmp slt", bits, m.whole(0))
    found = [a.select(negative, a.binary("sub", m.whole(0), quadrant), quadrant),
             a.select(negative, a.negate(r), r), a.select(negative, a.negate(rest), rest)]
    great = _is_great(m, x)
    return [a.select(great, new, old) for new, old in zip(found, otherwise)]


def _is_great(m: Arithmetic, x: Value) -> Value:
    size = m.size(x)
    return m.a.binary("and", m.a.compare("fcmp oge", size, m.number(LIMIT)),
                      m.a.compare("fcmp olt", size, m.number(float("inf"))))


# ---- the inverse functions ------------------------------------------------------------------------------------------


def _asin_part(m: Arithmetic, x: Value, square: Value, short: bool) -> Value:
    """asin(x) for |x| <= 1/2."""
    return m.fma(m.mul(m.polynomial(square, SHORT_ASIN if short else ASIN), square), x, x)


def asin(m: Arithmetic, x: Value) -> Value:
    """asin(|x|), beyond 1/2 pi/2 - 2 asin(sqrt((1 - |x|) / 2)), with the sign of x."""
    w, wide = _in_f64(m, x)
    size, half = w.size(wide), w.number(0.5)
    far = w.a.compare("fcmp ogt", size, half)
    square = w.a.select(far, w.mul(w.sub(w.number(1.0), size), half), w.mul(size, size))
    x0 = w.a.select(far, w.a.intrinsic("sqrt", square), size)
    part = w.mul(w.mul(w.polynomial(square, SHORT_ASIN if w is not m else ASIN), square), x0)
    back, error = w.product(x0, x0)                     # what the root leaves, less what it rounded off
    rest = w.div(w.sub(w.sub(square, back), error), w.where("oeq", x0, w.number(0.0), w.number(1.0), w.add(x0, x0)))
    turned, error = w.sum_of_ordered(w.number(HALF_PI[0]), w.mul(x0, w.number(-2.0)))
    both = w.add(part, rest)
    turned = w.add(turned, w.sub(w.add(error, w.number(HALF_PI[1])), w.add(both, both)))
    result = w.a.select(far, turned, w.add(x0, part))
    return m.with_sign(result if w is m else m.narrowed(result), x)


def acos(m: Arithmetic, x: Value) -> Value:
    """pi/2 - asin(x), beyond 1/2 2 asin(sqrt((1 - x) / 2)), below -1/2 pi less that of |x|."""
    w, wide = _in_f64(m, x)
    size, half, zero = w.size(wide), w.number(0.5), w.number(0.0)
    far = w.a.compare("fcmp ogt", size, half)
    square = w.a.select(far, w.mul(w.sub(w.number(1.0), size), half), w.mul(size, size))
    part = _asin_part(w, w.a.select(far, w.a.intrinsic("sqrt", square), wide), square, w is not m)
    double = w.add(part, part)
    beyond = w.where("olt", wide, zero, w.sub(w.number(PI[0]), w.sub(double, w.number(PI[1]))), double)
    result = w.a.select(far, beyond, w.sub(w.number(HALF_PI[0]), w.sub(part, w.number(HALF_PI[1]))))
    return result if w is m else m.narrowed(result)


def _angle(m: Arithmetic, y: Value, x: Value, short: bool) -> tuple[Pair, Value]:
    """base, part with atan(y / x) = base + part, for y >= 0 and x >= 0 that are not both 0 or infinite.

    Turned back by the angle of (x', y') the point (x, y) is (x x' + y y', y x' - x y'), and |part| <= atan(7/16).
    """
    above, below, base, rest = y, x, m.number(0.0), m.number(0.0)
    for start, angle, (up, along) in TURNS:
        beyond = m.a.compare("fcmp ogt", y, m.mul(x, m.number(start)))
        across, ahead = m.mul(x, m.number(up)), m.mul(y, m.number(up))
        above = m.a.select(beyond, m.sub(y, across) if along else m.a.negate(x), above)
        below = m.a.select(beyond, m.add(x, ahead) if along else y, below)
        base = m.a.select(beyond, m.number(angle[0]), base)
        rest = m.a.select(beyond, m.number(angle[1]), rest)
    t = m.div(above, below)
    z = m.mul(t, t)
    part = m.fma(m.mul(m.polynomial(z, SHORT_ATAN if short else ATAN), z), t, t)
    return (base, rest), part


def atan(m: Arithmetic, x: Value) -> Value:
    """atan(|x|) with the sign of x."""
    w, wide = _in_f64(m, x)
    (base, rest), part = _angle(w, w.size(wide), w.number(1.0), w is not m)
    result = w.add(base, w.add(part, rest))
    return m.with_sign(result if w is m else m.narrowed(result), x)


def atan2(m: Arithmetic, y: Value, x: Value) -> Value:
    """The angle of (x, y): that of (|x|, |y|), turned into the quadrant."""
    w, wide_y = _in_f64(m, y)
    wide_x = _in_f64(m, x)[1]
    one, zero = w.number(1.0), w.number(0.0)
    n, d = w.size(wide_y), w.size(wide_x)
    great, tiny = w.number(2.0 ** 1020), w.number(2.0 ** -960)
    down = w.a.binary("or", w.a.compare("fcmp oge", n, great), w.a.compare("fcmp oge", d, great))   # they overflow
    up = w.a.binary("and", w.a.compare("fcmp olt", n, tiny), w.a.compare("fcmp olt", d, tiny))      # they have few bits
    scale = w.a.select(down, w.number(2.0 ** -4), w.a.select(up, w.number(2.0 ** 120), one))
    infinite = w.a.binary("and", *(w.a.compare("fcmp oeq", v, w.number(float("inf"))) for v in (n, d)))
    n, d = (w.a.select(infinite, one, w.mul(v, scale)) for v in (n, d))
    (base, rest), part = _angle(w, n, d, w is not m)
    part = w.where("oeq", n, zero, zero, part)
    behind = w.a.compare("icmp slt", w.bits(wide_x), w.whole(0))
    base = w.a.select(behind, w.sub(w.number(PI[0]), base), base)
    rest = w.a.select(behind, w.sub(w.number(PI[1]), rest), rest)
    result = w.add(base, w.add(w.a.select(behind, w.a.negate(part), part), rest))
    result = w.where("uno", wide_x, wide_y, w.number(float("nan")), result)
    return m.with_sign(result if w is m else m.narrowed(result), y)



