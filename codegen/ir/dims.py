"""Sizes of dimensions: an int, or a Dim, an affine expression of symbols.

    b + 1      2*b      28*b + c      (b*c)      (b//2)

1. A Dim always has a symbol in it; an expression that comes to a number is an int.
2. A symbol is never 0 or 1 (the frontend guards that), so broadcasting is decided without knowing it.
3. A product or a floor-division of symbols is a Derived symbol, computed from the others at entry.
4. Equal polynomials are equal Dims: products are multiplied out, their factors sorted and nested to the left.
5. Two sizes are compared if one is the larger whatever the symbols stand for, 2 or more each; else it is Undecided.
"""
from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import gcd, prod

from codegen.ir.structs import struct


class Undecided(Exception):
    """Which of two sizes is the larger depends on what the symbols stand for."""


@struct
class Derived:
    """A symbol computed from other sizes: `(left*right)` or `(left//right)`; a factor of a product is one symbol."""

    op: str
    left: Dim | int
    right: Dim | int

    def __str__(self) -> str:
        return f"({_operand_text(self.left)}{self.op}{_operand_text(self.right)})"


Symbol = str | Derived


@struct
class Dim:
    """`constant + sum of coefficient * symbol`, terms in the order of their text."""

    terms: tuple[tuple[Symbol, int], ...]
    constant: int = 0

    def __str__(self) -> str:
        parts = [str(s) if c == 1 else f"{c}*{s}" for s, c in self.terms]
        if self.constant:
            parts.append(str(self.constant))
        return "+".join(parts).replace("+-", "-")

    __repr__ = __str__

    def __add__(self, other: Size) -> Size:
        if not isinstance(other, Dim):
            return Dim(self.terms, self.constant + other)
        sums = dict(self.terms)
        for s, c in other.terms:
            sums[s] = sums.get(s, 0) + c
        return affine(sums, self.constant + other.constant)

    __radd__ = __add__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + -other

    def __rsub__(self, other: int) -> Size:
        return -self + other

    def __mul__(self, other: Size) -> Size:
        if not isinstance(other, Dim):
            return affine({s: c * other for s, c in self.terms}, self.constant * other)
        result = self * other.constant
        for s, c in other.terms:
            result += affine({_product(_factors(s) + _factors(t)): c * d for t, d in self.terms}, 0)
            result += affine({s: c * self.constant}, 0)
        return result

    __rmul__ = __mul__

    def __floordiv__(self, other: Size) -> Size:
        quotient = exact_quotient(self, other)
        return Dim(((Derived("//", self, other), 1),)) if quotient is None else quotient

    def __rfloordiv__(self, other: int) -> Size:
        return 0 if other == 0 else Dim(((Derived("//", other, self), 1),))

    def __lt__(self, other: Size) -> bool:
        return _decided(self, other, 1)

    def __le__(self, other: Size) -> bool:
        return _decided(self, other, 0)

    def __gt__(self, other: Size) -> bool:
        return _decided(other, self, 1)

    def __ge__(self, other: Size) -> bool:
        return _decided(other, self, 0)


Size = int | Dim

TYPICAL = 256
"""What a symbol is taken for where something has to be chosen that is right for every size, and best for some."""


def symbol(name: str) -> Dim:
    """The size that is the symbol `name` itself."""
    return Dim(((name, 1),))


def symbol_name(size: Size) -> str | None:
    """The name of the symbol that `size` is by itself, None if it is anything else."""
    if isinstance(size, int) or size.constant or len(size.terms) != 1:
        return None
    (s, c), = size.terms
    return s if isinstance(s, str) and c == 1 else None


def affine(coefficients: Mapping[Symbol, int], constant: int) -> Size:
    """The size `constant + sum of coefficient * symbol`; an int when every coefficient is 0."""
    terms = tuple(sorted(((s, c) for s, c in coefficients.items() if c), key=lambda term: str(term[0])))
    return Dim(terms, constant) if terms else constant


def _operand_text(size: Size) -> str:
    """The text of a size as an operand: in parentheses unless it is a number or one symbol."""
    single = isinstance(size, int) or (len(size.terms) == 1 and size.terms[0][1] == 1 and not size.constant)
    return str(size) if single else f"({size})"


def _factors(s: Symbol) -> list[Symbol]:
    """The symbols that are no product, whose product `s` is."""
    if isinstance(s, str) or s.op != "*":
        return [s]
    return [f for side in (s.left, s.right) if isinstance(side, Dim) for f in _factors(side.terms[0][0])]


def _product(factors: list[Symbol]) -> Symbol:
    first, *rest = sorted(factors, key=str)
    for f in rest:
        first = Derived("*", Dim(((first, 1),)), Dim(((f, 1),)))
    return first


def exact_quotient(size: Size, divisor: Size) -> Size | None:
    """size / divisor where it is a size that is seen at once; None where there is a rest, or may be one."""
    if isinstance(divisor, Dim):
        return _quotient_of_polynomials(size, divisor) if isinstance(size, Dim) else None if size else 0
    if isinstance(size, int):
        return size // divisor if size % divisor == 0 else None
    if size.constant % divisor or any(c % divisor for _, c in size.terms):
        return None
    return affine({s: c // divisor for s, c in size.terms}, size.constant // divisor)


@lru_cache(maxsize=1 << 12)
def _quotient_of_polynomials(size: Dim, divisor: Dim) -> Size | None:
    """By long division of polynomials, which ends where a leading product of symbols is no multiple of the divisor's.
    """
    if size == divisor:
        return 1
    rest, by = _monomials(size), _monomials(divisor)
    lead = max(by, key=_order)
    quotient: Size = 0
    while rest:
        first = max(rest, key=_order)
        more, left = list(first), rest[first] % by[lead]
        for factor in lead:
            if factor not in more:
                return None
            more.remove(factor)
        if left:
            return None
        times = rest[first] // by[lead]
        for monomial, c in by.items():
            product = tuple(sorted((*more, *monomial), key=str))
            rest[product] = rest.get(product, 0) - times * c
            if not rest[product]:
                del rest[product]
        quotient += affine({_product(more): times}, 0) if more else times
    return quotient


def _monomials(size: Dim) -> dict[tuple[Symbol, ...], int]:
    """The coefficient of each product of symbols, by its sorted factors."""
    constant = {(): size.constant} if size.constant else {}
    return {tuple(sorted(_factors(s), key=str)): c for s, c in size.terms} | constant


def _order(monomial: tuple[Symbol, ...]) -> tuple[int, tuple[str, ...]]:
    """Products by their degree, then by their factors: what is larger stays so when both are multiplied."""
    return len(monomial), tuple(map(str, monomial))


def evaluate(size: Size, binding: Mapping[str, int]) -> int:
    """The number that `size` stands for when each symbol has the value in `binding`; KeyError if one is missing."""
    if isinstance(size, int):
        return size
    return size.constant + sum(c * _symbol_value(s, binding) for s, c in size.terms)


def _symbol_value(s: Symbol, binding: Mapping[str, int]) -> int:
    if isinstance(s, str):
        return binding[s]
    left, right = evaluate(s.left, binding), evaluate(s.right, binding)
    return left * right if s.op == "*" else left // right


def replaced(size: Size, sizes: Mapping[str, Size]) -> Size:
    """`size` with other sizes in the place of its symbols."""
    if isinstance(size, int):
        return size
    total: Size = size.constant
    for s, c in size.terms:
        total = total + c * (sizes[s] if isinstance(s, str) else _replaced(s, sizes))
    return total


def _replaced(s: Derived, sizes: Mapping[str, Size]) -> Size:
    left, right = replaced(s.left, sizes), replaced(s.right, sizes)
    return left * right if s.op == "*" else left // right


def symbols(size: Size) -> frozenset[str]:
    """The names a size is made of, those inside derived symbols included."""
    if isinstance(size, int):
        return frozenset()
    found: set[str] = set()
    for s, _ in size.terms:
        found |= {s} if isinstance(s, str) else symbols(s.left) | symbols(s.right)
    return frozenset(found)


def element_count(shape: tuple[Size, ...]) -> Size:
    """The product of the sizes of a shape."""
    return prod(shape, start=1)


def number_of(size: Size) -> int:
    """The number that a size without symbols is."""
    assert isinstance(size, int), f"{size} is no number"
    return size


# ---- sizes compared ------------------------------------------------------------------------------------------------


def surely_below(a: Size, b: Size) -> bool:
    """Is a < b whatever the symbols stand for?"""
    return a < b if isinstance(a, int) and isinstance(b, int) else _is_least(b - a, 1)


def surely_at_most(a: Size, b: Size) -> bool:
    """Is a <= b whatever the symbols stand for?"""
    return a <= b if isinstance(a, int) and isinstance(b, int) else _is_least(b - a, 0)


def may_be_equal(a: Size, b: Size) -> bool:
    """Are they equal for some numbers that the symbols could stand for, as far as is seen?"""
    return a == b or not (surely_below(a, b) or surely_below(b, a))


def _is_least(size: Size, number: int) -> bool:
    least = least_of(size)
    return least is not None and least >= number


def _decided(a: Size, b: Size, distance: int) -> bool:
    """Is a + distance <= b? Undecided where the symbols decide."""
    if _is_least(b - a, distance):
        return True
    if _is_least(a - b, 1 - distance):
        return False
    raise Undecided(f"whether {a} is {'below' if distance else 'at most'} {b} depends on the sizes")


@lru_cache(maxsize=1 << 14)
def least_of(size: Size) -> int | None:
    """A number that a size is never below, with symbols of 2 or more; None where none is seen.

    Each symbol is written as its own least number and what it is beyond that: if nothing is taken away from the sum
    then, its constant is the least.
    """
    if isinstance(size, int):
        return size
    total: Size = size.constant
    for s, c in size.terms:
        product: Size = c
        for factor in _factors(s):
            least = 2 if isinstance(factor, str) else _least_quotient(factor)
            if least is None:
                return None
            product = product * (Dim(((factor, 1),)) + least)
        total = total + product
    if isinstance(total, int):
        return total
    return total.constant if all(c > 0 for _, c in total.terms) else None


def _least_quotient(s: Derived) -> int | None:
    left, right = least_of(s.left), least_of(s.right)
    if left is None or right is None or left < 0 or right < 1:
        return None
    return left // s.right if isinstance(s.right, int) else 0


def typical(size: Size) -> int:
    """The size when every symbol is TYPICAL, at least 1: for choices that are right in any case."""
    if isinstance(size, int):
        return size
    try:
        return max(1, evaluate(size, dict.fromkeys(symbols(size), TYPICAL)))
    except ZeroDivisionError:               # of something by a difference of two symbols
        return TYPICAL


def ceil_div(size: Size, by: Size) -> Size:
    """size / by, rounded up."""
    return -(-size // by) if isinstance(size, int) and isinstance(by, int) else (size + by - 1) // by


def content(size: Size) -> int:
    """The greatest number that divides a size whatever its symbols stand for; 0 for 0."""
    return abs(size) if isinstance(size, int) else gcd(size.constant, *(c for _, c in size.terms))
