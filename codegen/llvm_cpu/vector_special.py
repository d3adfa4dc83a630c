"""erf, erfc and hypot on vectors of f32 or f64.

Of f32, erf is 1 - exp(P(x)) from 0.875 on, with a polynomial for log(erfc(x)). Of f64 it is 1 - exp(-x^2) Q(t) with a
polynomial in t = (x - c) / (x + c), which maps the whole interval that matters to a short one: Shepherd and
Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < inf", Mathematics of Computation 36, 1981.
"""
from __future__ import annotations

from codegen.llvm_cpu.assembler import Value
from codegen.llvm_cpu.vector_arithmetic import Arithmetic
from codegen.llvm_cpu.vector_exponentials import exp

NEAR = 0.875
TWO_OVER_ROOT_PI = 1.1283791670955126
LOW_ROOT = 1.533545961316588e-17
ERF = (             # (erf(x) / x - 2 / sqrt(pi)) / x^2 in x^2, for x <= 0.875: 2^-54.8
    -0.3761263890318324, 0.11283791670922777, -0.02686617063807906, 0.005223977549103088, -0.0008548322261894757,
    0.00012055148687261337, -1.4921070423596874e-05, 1.6388703117206282e-06, -1.5626949751107558e-07,
    1.0475876924926485e-08)
SHORT_ERF = (       # erf(x) / x - 1 in x^2, in f32, for x <= 0.875: 2^-31.7
    0.12837916612625122, -0.3761262893676758, 0.11283621937036514, -0.026855282485485077, 0.0051906355656683445,
    -0.0008021723479032516, 7.842241757316515e-05)
SHORT_FAR = (4.0, (     # up to where, and log(erfc(x)), in f32: 2^-28.9 of erf
    -0.00013357028365135193, -1.1279361248016357, -0.6367372870445251, -0.10432738810777664, 0.022420117631554604,
    -0.003092252416536212, 0.00020099022367503494))
FAR = (2.25, 6.2, (     # c, up to where, and erfc(x) exp(x^2): 2^-59.0 of erf
    0.23108725873039185, -0.39818926263936966, 0.2496614424274829, -0.10505063893634776, 0.021688775754995622,
    0.003393242960655594, -0.002767949730371344, -0.00018634524480193955, 0.00038144556944502754, 4.555166748671742e-05,
    -5.862093514557143e-05, -1.8107857924968675e-05, 5.101394476749375e-06, 3.068219422537138e-06))
ERFC = (3.0, 27.0, (     # 2^-49.4 of erfc, up to 28
    0.1790011511813899, -0.326233560043038, 0.24560380171235477, -0.15011593650071492, 0.07166583719636668,
    -0.02439249931938693, 0.0042691363738164324, 0.0007077464158169322, -0.0005970624495295834, 4.52559081876794e-05,
    6.40597330171877e-05, -1.2866208925527827e-05, -7.988029056691737e-06, 2.146196189423036e-06,
    1.261506775915028e-06, -3.531011139889086e-07, -2.1201041295489448e-07, 8.144588849896262e-08))

Tail = tuple[float, float, tuple[float, ...]]


def erf(m: Arithmetic, x: Value) -> Value:
    """erf(|x|) with the sign of x."""
    size = m.size(x)
    near, tail = _short(m, size) if m.format.mantissa_bits == 23 else (_near(m, size, ERF), _tail(m, size, FAR))
    return m.with_sign(m.where("olt", size, m.number(NEAR), near, m.sub(m.number(1.0), tail)), x)


def _short(m: Arithmetic, size: Value) -> tuple[Value, Value]:
    """erf(size) for size < NEAR, and erfc(size) for others, in f32: 1.1 ulp of erf, without fma 1.4."""
    near = m.fma(size, m.polynomial(m.mul(size, size), SHORT_ERF), size)
    end, coefficients = SHORT_FAR
    return near, exp(m, m.polynomial(m.at_most(size, end), coefficients))


def _near(m: Arithmetic, x: Value, coefficients: tuple[float, ...]) -> Value:
    square = m.mul(x, x)
    inner = m.fma(square, m.polynomial(square, coefficients), m.number(LOW_ROOT))
    return m.fma(x, m.number(TWO_OVER_ROOT_PI), m.mul(x, inner))


def _tail(m: Arithmetic, size: Value, form: Tail) -> Value:
    """erfc(size) for size >= NEAR, in f64; NaN for NaN."""
    center, end, coefficients = form
    x = m.at_most(size, end)
    t = m.div(m.sub(x, m.number(center)), m.add(x, m.number(center)))
    square = m.a.negate(m.mul(x, x))
    return m.mul(exp(m, square), m.polynomial(t, coefficients))


def erfc(m: Arithmetic, x: Value) -> Value:
    """erfc(|x|), and 2 less that for x < 0; of f32, in f64."""
    w = m.wide()
    wide = m.widened(x)
    size, one = w.size(wide), w.number(1.0)
    tail = _tail(w, size, ERFC)
    far = w.where("olt", wide, w.number(0.0), w.sub(w.number(2.0), tail), tail)
    near = w.sub(one, _near(w, wide, ERF))
    return m.narrowed(w.where("olt", size, w.number(NEAR), near, far))


def hypot(m: Arithmetic, x: Value, y: Value) -> Value:
    """sqrt(x^2 + y^2): f32 in f64; f64 scaled by a power of two, with what is rounded off."""
    a, b = m.size(x), m.size(y)
    infinity = m.number(float("inf"))
    if m.format.mantissa_bits == 23:
        w = m.wide()
        wide_a, wide_b = m.widened(a), m.widened(b)
        result = m.narrowed(w.a.intrinsic("sqrt", w.add(w.mul(wide_a, wide_a), w.mul(wide_b, wide_b))))
    else:
        result = _hypot(m, m.where("ogt", a, b, a, b), m.where("ogt", a, b, b, a))
    infinite = m.a.binary("or", m.a.compare("fcmp oeq", a, infinity), m.a.compare("fcmp oeq", b, infinity))
    result = m.where("uno", x, y, m.number(float("nan")), result)
    return m.a.select(infinite, infinity, result)


def _hypot(m: Arithmetic, greater: Value, lesser: Value) -> Value:
    """sqrt(greater^2 + lesser^2)."""
    one, up, down = m.number(1.0), m.number(2.0 ** 600), m.number(2.0 ** -600)
    small, great = (m.a.compare(f"fcmp {how}", greater, m.number(bound)) for how, bound in (
        ("olt", 2.0 ** -400), ("ogt", 2.0 ** 400)))
    scale = m.a.select(small, up, m.a.select(great, down, one))
    back = m.a.select(small, down, m.a.select(great, up, one))
    a, b = m.mul(greater, scale), m.mul(lesser, scale)
    square, low = m.product(a, a)
    other, more = m.product(b, b)
    total, error = m.sum_of_ordered(square, other)
    root = m.a.intrinsic("sqrt", total)
    again, off = m.product(root, root)
    rest = m.add(m.sub(m.sub(total, again), off), m.add(error, m.add(low, more)))
    step = m.div(rest, m.add(root, root))
    exact = m.where("oeq", root, m.number(0.0), root, m.add(root, step))
    return m.mul(exact, back)
