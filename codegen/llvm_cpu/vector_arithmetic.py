"""Arithmetic on vectors of one floating-point type: the words in which vector math is written.

In: Values of any number of lanes. Out: Values of the same type. No branch, no call, no table but in a register.

Rounding to an integer by adding 1.5 * 2^(digits - 1), which leaves that integer in the low bits of the sum: Muller,
"Elementary Functions", 3rd ed. 2016. Sums and products with what was rounded off them: Dekker, "A floating-point
technique for extending the available precision", Numerische Mathematik 18, 1971; of sums in any order, Knuth's.
A pair (high, low) of such stands for high + low.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import pack, unpack

from codegen.ir.structs import struct
from codegen.llvm_cpu.assembler import I32, Assembler, Type, Value, vector
from codegen.llvm_cpu.features import Features

Pair = tuple[Value, Value]

_AS_EVER = 4
"""The rounding that is set, for instructions that could name another."""


@struct
class Format:
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
    log: tuple[float, ...]                # f32: (log(1 + f) - f + f^2/2) / f^3; f64: (log(1 + f) - 2s) / s^3 in s^2

    @property
    def round_integer(self) -> float:
        return 1.5 * 2.0 ** self.mantissa_bits

    @property
    def round_integer_bits(self) -> int:
        return (self.bias + self.mantissa_bits << self.mantissa_bits) + (1 << self.mantissa_bits - 1)


FORMATS = {
    "f32": Format(
        integer="i32", mantissa_bits=23, bias=127, smallest_normal=2.0**-126, sqrt_half=0x3F3504F3,
        ln2=(0.693145751953125, 1.428606765330187e-06), exp_range=(-104.0, 89.0), tanh_one=9.5,
        exp=(   # 2^-27.8
            0.5, 0.16666488349437714, 0.04166555032134056, 0.00837229285389185, 0.0014035789063200355),
        log=(   # 2^-27.3
            0.3333333134651184, -0.250008225440979, 0.20001259446144104, -0.16623345017433167, 0.14201071858406067,
            -0.1315954625606537, 0.127656951546669, -0.07641112804412842),
    ),
    "f64": Format(
        integer="i64", mantissa_bits=52, bias=1023, smallest_normal=2.0**-1022, sqrt_half=0x3FE6A09E667F3BCD,
        ln2=(0.6931471805601177, -1.7239444525614835e-13), exp_range=(-746.0, 710.0), tanh_one=20.0,
        exp=(   # 2^-55.2
            0.5, 0.1666666666666194, 0.041666666666619785, 0.008333333336537605, 0.0013888888920606324,
            0.00019841262658637035, 2.480151620555219e-05, 2.7563863890083565e-06, 2.7622290815695106e-07,
            2.2976442646337383e-08),
        log=(   # 2^-59.5
            0.6666666666666735, 0.3999999999940935, 0.28571428743686583, 0.22222198428974244, 0.18183572353994248,
            0.15313832237381664, 0.14798257375492324),
    ),
}


class Arithmetic:
    """Arithmetic on Values of one floating-point type: the words in which the functions below are written."""

    __slots__ = ("a", "type", "integer", "format", "features")

    def __init__(self, assembler: Assembler, type: Type, features: Features):
        self.a, self.type, self.features = assembler, type, features
        self.format = FORMATS[type.dtype]
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
        """The sum of coefficients[k] x^k: from pairs of terms, as a polynomial in x^2; half as many steps in a row."""
        numbers = [self.number(c) for c in coefficients]
        if len(numbers) < 4:
            pairs, factor = numbers, x
        else:
            ends = range(0, len(numbers) - 1, 2)
            pairs, factor = [self.fma(numbers[k + 1], x, numbers[k]) for k in ends], self.mul(x, x)
            pairs += numbers[2 * len(pairs):]
        result = pairs.pop()
        while pairs:
            result = self.fma(result, factor, pairs.pop())
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
        return self.power_of_biased(self.a.binary("add", n, self.whole(self.format.bias)))

    def power_of_biased(self, k: Value) -> Value:
        """2^n, a normal number, where the low bits of the integer k are those of n + bias."""
        return self.from_bits(self.a.binary("shl", k, self.whole(self.format.mantissa_bits)))

    # ---- tables ----------------------------------------------------------------------------------------------------

    @property
    def has_table(self) -> bool:
        """Is `of_eight` there?"""
        return self.format.mantissa_bits == 23 and self.features.chooses_of_eight

    def of_eight(self, table: Sequence[int], k: Value) -> Value:
        """The integer in a table that the low three bits of k say."""
        numbers = self.a.numbers(vector(self.format.integer, 8), table)
        return self._by_registers(8, lambda one: self.a.intrinsic("x86.avx2", numbers, one, suffix="permd"), k)

    @property
    def has_long_table(self) -> bool:
        """Are `of_32` and `scaled` there?"""
        return self.format.mantissa_bits == 23 and self.features.chooses_of_32

    def of_32(self, table: Sequence[float], k: Value) -> Value:
        """The number in a table that the low five bits of k say."""
        type = vector(self.format.integer, 16)
        first, second = (self.a.numbers(type, [_bits(x) for x in half]) for half in (table[:16], table[16:]))
        return self.from_bits(self._by_registers(16, lambda one: self.a.intrinsic(
            "x86.avx512", first, one, second, suffix="vpermi2var.d.512"), k))

    def scaled(self, x: Value, power: Value, least: float) -> Value:
        """x 2^floor(power), rounded where that is subnormal; 0 where the power is below `least`. Of a NaN a NaN."""
        def one(x: Value, power: Value) -> Value:
            kept = self.a.compare("fcmp uge", power, self.a.constant(power.type, least))
            zero, mask = self.a.constant(x.type, 0.0), self.a.convert("bitcast", kept, vector("i16"))
            rounding = self.a.constant(I32, _AS_EVER)
            return self.a.intrinsic("x86.avx512.mask", x, power, zero, mask, rounding, suffix="scalef.ps.512")

        return self._by_registers(16, one, x, power)

    def _by_registers(self, count: int, write: Callable[..., Value], *operands: Value) -> Value:
        """What `write` gives for every `count` lanes of the operands; lanes that there are not are any."""
        a, lanes = self.a, self.type.lanes

        def parts(x: Value) -> list[Value]:
            if lanes == 1:
                return [a.splat(x, count)]
            return [a.shuffle(x, x, [(at + lane) % lanes for lane in range(count)]) for at in range(0, lanes, count)]

        found = [write(*one) for one in zip(*map(parts, operands))]
        while len(found) > 1:
            found = [a.shuffle(x, y, range(2 * x.type.lanes)) for x, y in zip(found[::2], found[1::2])]
        if lanes == 1:
            return a.extract(found[0], 0)
        return a.shuffle(found[0], found[0], range(lanes)) if lanes < count else found[0]

    # ---- with what is rounded off ----------------------------------------------------------------------------------

    def sum_of_ordered(self, x: Value, y: Value) -> Pair:
        """x + y and its rounding error, for |x| >= |y| or x = 0."""
        total = self.add(x, y)
        return total, self.sub(y, self.sub(total, x))

    def sum_of_any(self, x: Value, y: Value) -> Pair:
        """x + y and its rounding error."""
        total = self.add(x, y)
        part = self.sub(total, x)
        return total, self.add(self.sub(x, self.sub(total, part)), self.sub(y, part))

    def product(self, x: Value, y: Value) -> Pair:
        """x * y and its rounding error; without fused multiply-add for |x|, |y| below 2^996 (f64)."""
        whole = self.mul(x, y)
        if self.features.fma:
            return whole, self.fma(x, y, self.a.negate(whole))
        (a, b), (c, d) = self._halves(x), self._halves(y)
        error = self.add(self.sub(self.mul(a, c), whole), self.add(self.mul(a, d), self.mul(b, c)))
        return whole, self.add(error, self.mul(b, d))

    def _halves(self, x: Value) -> Pair:
        """Two numbers of half the digits whose sum is x (Veltkamp)."""
        wide = self.mul(x, self.number(2.0 ** ((self.format.mantissa_bits + 2) // 2) + 1))
        high = self.sub(wide, self.sub(wide, x))
        return high, self.sub(x, high)

    # ---- to whole numbers ------------------------------------------------------------------------------------------

    def size(self, x: Value) -> Value:
        return self.a.intrinsic("fabs", x)

    def with_sign(self, x: Value, sign: Value) -> Value:
        """|x| with the sign of `sign`."""
        return self.a.intrinsic("copysign", x, sign)

    def round(self, x: Value) -> Value:
        """The nearest whole number, of two the even one."""
        if self.features.fma:                       # every such processor has an instruction for it
            return self.a.intrinsic("roundeven", x)
        size, least = self.size(x), self.number(2.0 ** self.format.mantissa_bits)
        rounded = self.sub(self.add(size, least), least)
        return self.with_sign(self.where("olt", size, least, rounded, size), x)

    def trunc(self, x: Value) -> Value:
        """x without its fraction."""
        if self.features.fma:
            return self.a.intrinsic("trunc", x)
        size = self.size(x)
        rounded = self.round(size)
        return self.with_sign(self.where("ogt", rounded, size, self.sub(rounded, self.number(1.0)), rounded), x)

    def floor(self, x: Value) -> Value:
        """The greatest whole number not above x."""
        if self.features.fma:
            return self.a.intrinsic("floor", x)
        rounded = self.round(x)
        return self.with_sign(self.where("ogt", rounded, x, self.sub(rounded, self.number(1.0)), rounded), x)

    def ceil(self, x: Value) -> Value:
        """The least whole number not below x."""
        if self.features.fma:
            return self.a.intrinsic("ceil", x)
        return self.a.negate(self.floor(self.a.negate(x)))

    # ---- f32 in f64 ------------------------------------------------------------------------------------------------

    def wide(self) -> Arithmetic:
        """The arithmetic of as many f64."""
        return Arithmetic(self.a, vector("f64", self.type.lanes), self.features)

    def widened(self, x: Value) -> Value:
        return self.a.convert("fpext", x, vector("f64", self.type.lanes))

    def narrowed(self, x: Value) -> Value:
        return self.a.convert("fptrunc", x, self.type)


def _bits(x: float) -> int:
    """Those of the f32 nearest to x."""
    return unpack("<I", pack("<f", x))[0]
