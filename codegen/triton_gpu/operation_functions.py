"""The functions that operations call where an expression is not enough, as Triton's text, by name.

    def shift_left(x, count, BITS: tl.constexpr):          a kernel's module holds those that it calls
        ...

Nothing undefined is reached: Triton's integer division by 0, or of the least integer by -1, is undefined even where its
result is not used, so the divisor is replaced before; a shift by too much and a float beyond an integer type give
nothing that may be used, so the operand is.
"""
from __future__ import annotations

import re

_TEXTS = """
def shift_left(x, count, BITS: tl.constexpr):
    inside = (count >= 0) & (count < BITS)
    return tl.where(inside, x << tl.where(inside, count, 0), 0)

def shift_right(x, count, BITS: tl.constexpr):
    inside = (count >= 0) & (count < BITS)
    return x >> tl.where(inside, count, BITS - 1)

def shift_right_unsigned(x, count, BITS: tl.constexpr):
    inside = count < BITS
    return tl.where(inside, x >> tl.where(inside, count, 0), 0)

def floor_div(x, y):
    special = (y == 0) | (y == -1)
    divisor = tl.where(special, 1, y)
    quotient, rest = x // divisor, x % divisor
    quotient = tl.where((rest != 0) & ((rest < 0) != (divisor < 0)), quotient - 1, quotient)
    return tl.where(special, tl.where(y == 0, 0, 0 - x), quotient)

def rem(x, y):
    special = (y == 0) | (y == -1)
    divisor = tl.where(special, 1, y)
    rest = x % divisor
    rest = tl.where((rest != 0) & ((rest < 0) != (divisor < 0)), rest + divisor, rest)
    return tl.where(special, 0, rest)

def fmod(x, y):
    special = (y == 0) | (y == -1)
    return tl.where(special, 0, x % tl.where(special, 1, y))

def floor_div_unsigned(x, y):
    return tl.where(y == 0, 0, x // tl.where(y == 0, 1, y))

def rem_unsigned(x, y):
    return tl.where(y == 0, 0, x % tl.where(y == 0, 1, y))

def power(x, y, BITS: tl.constexpr):
    result, factor, left = tl.where(x == x, 1, x), x, tl.where(y < 0, 0, y)
    for _ in range(BITS - 1):
        result = tl.where((left & 1) != 0, result * factor, result)
        factor, left = factor * factor, left >> 1
    of_unit = tl.where(x == -1, 1 - 2 * (y & 1), tl.where(x == 1, result, 0))
    return tl.where(y < 0, of_unit, result)

def power_unsigned(x, y, BITS: tl.constexpr):
    result, factor, left = tl.where(x == x, 1, x), x, y
    for _ in range(BITS):
        result = tl.where((left & 1) != 0, result * factor, result)
        factor, left = factor * factor, left >> 1
    return result

def truncated(x):
    return tl.where(x < 0.0, tl.ceil(x), tl.floor(x))

def divided(x, y):
    if x.dtype == tl.float64:
        return x / y
    else:
        return tl.div_rn(x, y)

def float_rem(x, y):
    rest = libdevice.fmod(x, y)
    moved = tl.where((rest != 0.0) & ((rest < 0.0) != (y < 0.0)), rest + y, rest)
    return tl.where(rest == 0.0, libdevice.copysign(rest, y), moved)

def float_floor_div(x, y):
    rest, plain = libdevice.fmod(x, y), divided(x, y)
    quotient = divided(x - rest, y)
    quotient = tl.where((rest != 0.0) & ((rest < 0.0) != (y < 0.0)), quotient - 1.0, quotient)
    down = tl.floor(quotient)
    whole = tl.where(quotient - down > 0.5, down + 1.0, down)
    whole = tl.where(quotient == 0.0, libdevice.copysign(quotient, plain), whole)
    return tl.where(y == 0.0, plain, whole)

def logaddexp(x, y):
    larger = tl.where(x > y, x, y)
    result = larger + libdevice.log1p(libdevice.exp(tl.abs(x - y) * -1.0))
    return tl.where(x == y, x + 0.6931471805599453, tl.where((x != x) | (y != y), x + y, result))

def log2(x):
    result = libdevice.log2(x)
    power_of_two = (x.to(tl.int64, bitcast=True) & 0xFFFFFFFFFFFFF) == 0
    return tl.where(power_of_two, libdevice.rint(result), result)

def to_integer(x, LOW: tl.constexpr, HIGH: tl.constexpr, T: tl.constexpr):
    inside = (x > LOW) & (x < HIGH + 1.0)
    whole = tl.where(inside, x, 0.0).to(T)
    return tl.where(inside, whole, tl.where(x > 0.0, tl.full([], HIGH, T), tl.where(x < 0.0, tl.full([], LOW, T), 0)))

def random_word(key, counter, index):
    block = counter + (index // 4).to(tl.uint64)
    a, b = block.to(tl.uint32), (block >> 32).to(tl.uint32)
    c, d = a * 0, a * 0
    k, l = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    for _ in tl.static_range(10):
        p, q = tl.umulhi(a, 0xD2511F53), tl.umulhi(c, 0xCD9E8D57)
        a, b, c, d = q ^ b ^ k, c * 0xCD9E8D57, p ^ d ^ l, a * 0xD2511F53
        k, l = k + 0x9E3779B9, l + 0xBB67AE85
    word = index % 4
    return tl.where(word < 2, tl.where(word == 0, a, b), tl.where(word == 2, c, d))
"""

FUNCTIONS: dict[str, str] = {
    text.split("(")[0].removeprefix("def "): f"@triton.jit\n{text}\n" for text in _TEXTS.strip().split("\n\n")}
"""The text of each function, by its name; one calls only those before it."""

_CALL = re.compile(r"(?<![\w.])(\w+)\(")


def called(text: str) -> list[str]:
    """The names of the functions that a text calls, those that they call included, in the order of FUNCTIONS."""
    found: set[str] = set()
    new = set(_CALL.findall(text)) & FUNCTIONS.keys()
    while new:
        found |= new
        new = {name for one in new for name in _CALL.findall(FUNCTIONS[one])} & FUNCTIONS.keys() - found
    return [name for name in FUNCTIONS if name in found]
