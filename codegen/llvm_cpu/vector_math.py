"""exp, log and tanh as inlined arithmetic on vectors of f32 or f64, at most 2 ulp from correctly rounded.

In: a Value of any number of lanes. Out: a Value of the same type. No branch, no call, no table. NaN, infinities, zeros
and subnormals, in and out, are right, and the sign of a zero is kept.

Reduction to a small interval, and ln 2 as the sum of a part with few bits and a rest: Cody and Waite, "Software Manual
for the Elementary Functions", 1980. Rounding to an integer by adding 1.5 * 2^(digits - 1), which leaves that integer in
the low bits of the sum: Muller, "Elementary Functions", 3rd ed. 2016. The logarithm through s = f / (2 + f): Tang,
"Table-driven implementation of the logarithm function in IEEE floating-point arithmetic", ACM TOMS 16(4), 1990.

The coefficients are minimax in the relative error of the whole function: Remez exchange on 1500 points with 60 digits,
then rounding one at a time from the lowest power up, the others fitted again after each. The error that remains, were
everything else exact, is given beside them.

Largest errors, in units in the last place of the correctly rounded result, on AVX-512, AVX2 and SSE2 without fused
multiply-add; f32 on all 2^32 inputs, f64 on 5 * 10^7 (tests/vector_math_sweep.py):

            exp     log     tanh
    f32     1.03    0.86    1.34
    f64     1.13    0.84    1.40
"""
from __future__ import annotations

from dataclasses import dataclass

from codegen.llvm_cpu.assembler import Assembler, Type, Value, vector
from codegen.llvm_cpu.features import Features


@dataclass(frozen=True, slots=True)
class _Format:
    """What the algorithms need to know of a floating-point format; polynomials from the lowest power up."""

    integer: str                          # the dtype that holds its bits
    mantissa_bits: int
    bias: int
    smallest_normal: float
    sqrt_half: int                        # the bits of sqrt(1/2)
    ln2: tuple[float, float]              # high + low; high times an exponent is exact
    exp_range: tuple[float, float]        # exp of what is below is 0, of what is above infinity
    tanh_one: float                       # tanh of what is above is 1
    exp: tuple[float, ...]                # (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2
    tanh: tuple[float, ...]               # (tanh(x) / x - 1) / x^2 in x^2, for |x| <= 0.625
    log: tuple[float, ...]                # f32: (log(1 + f) - f + f^2/2) / f^3; f64: (log(1 + f) - 2s) / s^3 in s^2

    @property
    def round_integer(self) -> float:
        return 1.5 * 2.0 ** self.mantissa_bits


_FORMATS = {
    "f32": _Format(
        integer="i32", mantissa_bits=23, bias=127, smallest_normal=2.0**-126, sqrt_half=0x3F3504F3,
        ln2=(0.693145751953125, 1.428606765330187e-06), exp_range=(-104.0, 89.0), tanh_one=9.5,
        exp=(   # 2^-27.8
            0.5, 0.16666488349437714, 0.04166555032134056, 0.00837229285389185, 0.0014035789063200355),
        tanh=(  # 2^-27.8
            -0.3333328366279602, 0.1333148330450058, -0.053742773830890656, 0.020648062229156494,
            -0.005714063532650471),
        log=(   # 2^-27.3
            0.3333333134651184, -0.250008225440979, 0.20001259446144104, -0.16623345017433167, 0.14201071858406067,
            -0.1315954625606537, 0.127656951546669, -0.07641112804412842),
    ),
    "f64": _Format(
        integer="i64", mantissa_bits=52, bias=1023, smallest_normal=2.0**-1022, sqrt_half=0x3FE6A09E667F3BCD,
        ln2=(0.6931471805601177, -1.7239444525614835e-13), exp_range=(-746.0, 710.0), tanh_one=20.0,
        exp=(   # 2^-55.2
            0.5, 0.1666666666666194, 0.041666666666619785, 0.008333333336537605, 0.0013888888920606324,
            0.00019841262658637035, 2.480151620555219e-05, 2.7563863890083565e-06, 2.7622290815695106e-07,
            2.2976442646337383e-08),
        tanh=(  # 2^-56.5
            -0.33333333333332876, 0.1333333333326456, -0.05396825393228729, 0.021869487597075618,
            -0.00886322125146277, 0.0035919910022705415, -0.0014549674764952932, 0.000586342460144517,
            -0.00022861265929062917, 7.719548934056931e-05, -1.6095845302237072e-05),
        log=(   # 2^-59.5
            0.6666666666666735, 0.3999999999940935, 0.28571428743686583, 0.22222198428974244, 0.18183572353994248,
            0.15313832237381664, 0.14798257375492324),
    ),
}
_SMALL_TANH = 0.625


class Arithmetic:
    """Arithmetic on Values of one floating-point type: the words in which the functions below are written."""

    __slots__ = ("a", "type", "integer", "format", "features")

    def __init__(self, assembler: Assembler, type: Type, features: Features):
        self.a, self.type, self.features = assembler, type, features
        self.format = _FORMATS[type.dtype]
        self.integer = vector(self.format.integer, type.lanes)

    def number(self, x: float) -> Value:
        return self.a.constant(self.type, x)

    def whole(self, k: int) -> Value:
        return self.a.constant(self.integer, k)

    def add(self, x: Value, y: Value) -> Value:
        return self.a.binary("fadd", x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return self.a.binary("fsub", x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return self.a.binary("fmul", x, y)

    def div(self, x: Value, y: Value) -> Value:
        return self.a.binary("fdiv", x, y)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x * y + z, in one rounding where the processor can."""
        return self.a.intrinsic("fma", x, y, z) if self.features.fma else self.add(self.mul(x, y), z)

    def polynomial(self, x: Value, coefficients: tuple[float, ...]) -> Value:
        result = self.number(coefficients[-1])
        for c in coefficients[-2::-1]:
            result = self.fma(result, x, self.number(c))
        return result

    def where(self, condition: str, x: Value, y: Value, then: Value, otherwise: Value) -> Value:
        """then where `x condition y` (a condition of fcmp), else otherwise."""
        return self.a.select(self.a.compare(f"fcmp {condition}", x, y), then, otherwise)

    def at_most(self, x: Value, bound: float) -> Value:
        """min(x, bound), NaN for NaN."""
        return self.where("olt", self.number(bound), x, self.number(bound), x)

    def at_least(self, x: Value, bound: float) -> Value:
        return self.where("ogt", self.number(bound), x, self.number(bound), x)

    def bits(self, x: Value) -> Value:
        return self.a.convert("bitcast", x, self.integer)

    def from_bits(self, x: Value) -> Value:
        return self.a.convert("bitcast", x, self.type)

    def power_of_two(self, n: Value) -> Value:
        """2^n for an integer n whose power is a normal number."""
        biased = self.a.binary("add", n, self.whole(self.format.bias))
        return self.from_bits(self.a.binary("shl", biased, self.whole(self.format.mantissa_bits)))

    def times_power_of_two(self, x: Value, n: Value) -> Value:
        """x * 2^n, rounded once, for x near 1 and any n that exp needs."""
        if self.features.ldexp and self.type.lanes > 1:
            exponent = n if n.type.dtype == "i32" else self.a.convert("trunc", n, vector("i32", n.type.lanes))
            return self.a.intrinsic("ldexp", x, exponent, suffix=f"{x.type.suffix}.{exponent.type.suffix}")
        half = self.a.binary("ashr", n, self.whole(1))
        rest = self.a.binary("sub", n, half)
        return self.mul(self.mul(x, self.power_of_two(half)), self.power_of_two(rest))


def exp(m: Arithmetic, x: Value) -> Value:
    """exp(x)."""
    low, high = m.format.exp_range
    n, p = _reduced_exp(m, m.at_least(m.at_most(x, high), low))
    return m.times_power_of_two(m.add(p, m.number(1.0)), n)


def _reduced_exp(m: Arithmetic, x: Value) -> tuple[Value, Value]:
    """n, p with exp(x) = 2^n * (1 + p), p = expm1(x - n ln 2), for x in exp_range; for NaN p is NaN, n anything."""
    magic = m.number(m.format.round_integer)
    shifted = m.fma(x, m.number(1.4426950408889634), magic)
    n = m.sub(shifted, magic)
    high, low = m.format.ln2
    r = m.fma(n, m.number(-low), m.fma(n, m.number(-high), x))
    p = m.fma(m.mul(r, r), m.polynomial(r, m.format.exp), r)
    return m.a.binary("sub", m.bits(shifted), m.bits(magic)), p


def tanh(m: Arithmetic, x: Value) -> Value:
    """tanh(x): an odd polynomial near 0, elsewhere 1 - 2 / (exp(2|x|) + 1) with the sign of x."""
    size = m.a.intrinsic("fabs", x)
    square = m.mul(x, x)
    near = m.fma(m.mul(m.polynomial(square, m.format.tanh), square), size, size)
    bounded = m.at_most(size, m.format.tanh_one)
    n, p = _reduced_exp(m, m.add(bounded, bounded))
    scale = m.power_of_two(n)
    far = m.sub(m.number(1.0), m.div(m.number(2.0), m.add(m.fma(p, scale, scale), m.number(1.0))))
    return m.a.intrinsic("copysign", m.where("olt", size, m.number(_SMALL_TANH), near, far), x)


def log(m: Arithmetic, x: Value) -> Value:
    """log(x) = k ln 2 + log(1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)."""
    form = m.format
    subnormal = m.a.compare("fcmp olt", x, m.number(form.smallest_normal))
    normal = m.a.select(subnormal, m.mul(x, m.number(2.0 ** form.mantissa_bits)), x)
    bits, digits = m.bits(normal), m.whole(form.mantissa_bits)
    exponent = m.a.binary("ashr", m.a.binary("sub", bits, m.whole(form.sqrt_half)), digits)
    f = m.sub(m.from_bits(m.a.binary("sub", bits, m.a.binary("shl", exponent, digits))), m.number(1.0))
    magic = m.number(form.round_integer)
    shift = m.a.select(subnormal, m.number(form.round_integer + form.mantissa_bits), magic)
    k = m.sub(m.from_bits(m.a.binary("add", exponent, m.bits(magic))), shift)
    result = (_log1p_polynomial if form.integer == "i32" else _log1p_quotient)(m, f, k)
    result = m.where("ult", x, m.number(0.0), m.number(float("nan")), result)
    result = m.where("oeq", x, m.number(0.0), m.number(float("-inf")), result)
    return m.where("oeq", x, m.number(float("inf")), x, result)


def _log1p_polynomial(m: Arithmetic, f: Value, k: Value) -> Value:
    """k ln 2 + f - f^2/2 + f^3 * polynomial(f), the smallest parts added first."""
    high, low = m.format.ln2
    square = m.mul(f, f)
    rest = m.mul(m.mul(m.polynomial(f, m.format.log), f), square)
    rest = m.fma(square, m.number(-0.5), m.fma(k, m.number(low), rest))
    return m.fma(k, m.number(high), m.add(f, rest))


def _log1p_quotient(m: Arithmetic, f: Value, k: Value) -> Value:
    """k ln 2 + f - (f^2/2 - s * (f^2/2 + z * polynomial(z))) with s = f / (2 + f), z = s^2."""
    high, low = m.format.ln2
    s = m.div(f, m.add(f, m.number(2.0)))
    z = m.mul(s, s)
    half_square = m.mul(m.mul(f, m.number(0.5)), f)
    rest = m.mul(z, m.polynomial(z, m.format.log))
    inner = m.fma(s, m.add(half_square, rest), m.mul(k, m.number(low)))
    return m.fma(k, m.number(high), m.sub(f, m.sub(half_square, inner)))


FUNCTIONS = {"exp": exp, "tanh": tanh, "log": log}
"""The functions by the name of their op: (Arithmetic, Value) -> Value."""
