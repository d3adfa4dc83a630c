"""Quasi-affine index algebra: the sums, products, quotients and remainders that views make of loop axes.

    reshape [6,4] -> [24] read at i:     4*(i//4) + i%4   becomes   i

An Index comes out of these functions canonical: terms in the order of their text, no coefficient 0, no quotient or
remainder that the bounds of the axes decide, and a*d*(x//d) + a*(x%d) folded to a*x. So equal texts mean equal
indices, and indices that are equal by these laws compare equal.

`extents` maps the name of an axis to its extent: the axis is 0 .. extent-1, and extents are at least 1. Sizes may have
symbols in them: then whatever the symbols decide is left as it is, and bounds are what holds for all of them.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from codegen.ir.dims import Dim, Size, Undecided, exact_quotient, number_of, surely_at_most, surely_below
from codegen.schedule.kernel import Index, Quotient, Remainder, Term

Extents = Mapping[str, Size]

ZERO = Index()


def constant(value: Size) -> Index:
    """The index that is always `value`."""
    return Index((), value) if value else ZERO


def axis(name: str, extent: Size) -> Index:
    """The index that is the axis `name` itself; 0 when there is nothing but 0 to count."""
    return ZERO if extent in (0, 1) else Index(((name, 1),))


def index_text(index: Index) -> str:
    """The text of an index: `1024*i+j`, `(i+3)//4`, `7`."""
    parts = [_product_text(term, coefficient) for term, coefficient in index.terms]
    if index.constant or not parts:
        parts.append(str(index.constant))
    return "+".join(parts).replace("+-", "-")


def _product_text(term: Term, coefficient: Size) -> str:
    text = term_text(term)
    if coefficient == 1:
        return text
    return f"-{text}" if coefficient == -1 else f"{size_text(coefficient)}*{text}"


def size_text(size: Size) -> str:
    """The text of a size where it is a factor: in parentheses where it is a sum."""
    sum_of_parts = isinstance(size, Dim) and (len(size.terms) > 1 or bool(size.constant))
    return f"({size})" if sum_of_parts else str(size)


def term_text(term: Term) -> str:
    """The text of what an index multiplies; a quotient or remainder stands in parentheses."""
    match term:
        case Quotient(index, divisor):
            return f"({_operand_text(index)}//{size_text(divisor)})"
        case Remainder(index, divisor):
            return f"({_operand_text(index)}%{size_text(divisor)})"
        case _:
            return term


def _operand_text(index: Index) -> str:
    single = len(index.terms) == 1 and index.terms[0][1] == 1 and not index.constant
    return index_text(index) if single else f"({index_text(index)})"


def canonical(terms: Mapping[Term, Size], constant: Size) -> Index:
    """constant + sum of coefficient * term, canonical: a quotient and a remainder that make a whole are folded."""
    kept = {term: c for term, c in terms.items() if c}
    remainders = [term for term in kept if isinstance(term, Remainder)]
    while remainders:
        rest = remainders.pop()
        whole = _take_whole(kept, rest) if rest in kept else None
        if whole is not None:
            a = kept.pop(rest)
            constant += a * whole.constant
            for term, c in whole.terms:
                kept[term] = kept.get(term, 0) + a * c
                if not kept[term]:
                    del kept[term]
            remainders = [term for term in kept if isinstance(term, Remainder)]
    if len(kept) < 2:
        return Index(tuple(kept.items()), constant) if kept or constant else ZERO
    return Index(tuple(sorted(kept.items(), key=lambda item: term_text(item[0]))), constant)


def _take_whole(terms: dict[Term, Size], rest: Remainder) -> Index | None:
    """x for a*d*(x//d) + a*(x%d), x%(d*m) for a*d*((x//d)%m) + a*(x%d); the first of the two terms is taken away."""
    x, d, a = rest.index, rest.divisor, terms[rest]
    over = _quotient_term(x, d)
    if terms.get(over) == a * d:
        del terms[over]
        return x
    for other, c in terms.items():
        if c == a * d and isinstance(other, Remainder) and _single(other.index) == over:
            del terms[other]
            return Index(((Remainder(x, d * other.divisor), 1),))
    return None


def _quotient_term(index: Index, divisor: Size) -> Quotient:
    """index // divisor as a term: (x//a)//b is x//(a*b)."""
    inner = _single(index)
    if isinstance(inner, Quotient):
        return Quotient(inner.index, inner.divisor * divisor)
    return Quotient(index, divisor)


def _single(index: Index) -> Term | None:
    """The term that an index is, if it is no more than that."""
    return index.terms[0][0] if len(index.terms) == 1 and index.terms[0][1] == 1 and not index.constant else None


def add(a: Index, b: Index) -> Index:
    """a + b."""
    if not b.terms:
        return Index(a.terms, a.constant + b.constant) if b.constant else a
    if not a.terms:
        return Index(b.terms, a.constant + b.constant) if a.constant else b
    sums = dict(a.terms)
    for term, c in b.terms:
        sums[term] = sums.get(term, 0) + c
    return canonical(sums, a.constant + b.constant)


def scale(a: Index, factor: Size) -> Index:
    """a * factor."""
    if factor == 1:
        return a
    if factor == 0:
        return ZERO
    return Index(tuple((term, c * factor) for term, c in a.terms), a.constant * factor)


def shift(a: Index, offset: Size) -> Index:
    """a + offset."""
    return Index(a.terms, a.constant + offset) if offset else a


def quotient(a: Index, divisor: Size, extents: Extents) -> Index:
    """a // divisor for an a that is never negative."""
    if divisor == 1:
        return a
    whole, rest, low, high = _divided(a, divisor, extents)
    only = _only_quotient(low, high, divisor)
    if only is not None:
        return shift(whole, only)
    inner = _single(rest)
    if isinstance(inner, Remainder) and (times := exact_quotient(inner.divisor, divisor)) is not None:
        return add(whole, remainder(quotient(inner.index, divisor, extents), times, extents))
    return add(whole, Index(((_quotient_term(rest, divisor), 1),)))


def remainder(a: Index, divisor: Size, extents: Extents) -> Index:
    """a % divisor for an a that is never negative."""
    if divisor == 1:
        return ZERO
    _, rest, low, high = _divided(a, divisor, extents)
    only = _only_quotient(low, high, divisor)
    if only is not None:
        return shift(rest, -only * divisor)
    inner = _single(rest)
    if isinstance(inner, Remainder) and exact_quotient(inner.divisor, divisor) is not None:
        return remainder(inner.index, divisor, extents)
    return Index(((Remainder(rest, divisor), 1),))


def _only_quotient(low: Size, high: Size, divisor: Size) -> Size | None:
    """What everything from low to high is divided by the divisor, if that is one number."""
    if isinstance(low, int) and isinstance(high, int) and isinstance(divisor, int):
        return low // divisor if low // divisor == high // divisor else None
    return 0 if surely_at_most(0, low) and surely_below(high, divisor) else None


def _divided(a: Index, divisor: Size, extents: Extents) -> tuple[Index, Index, Size, Size]:
    """whole and rest with a == divisor * whole + rest, rest never negative and as small as it gets, and its bounds."""
    outside: dict[Term, Size] = {}
    inside: list[tuple[Term, Size]] = []
    for term, c in a.terms:
        times = _times(c, divisor)
        if times:
            outside[term] = times
        if c != times * divisor:
            inside.append((term, c - times * divisor))
    times = _times_below(a.constant, divisor)
    rest = Index(tuple(inside), a.constant - times * divisor)
    low, high = bounds(rest, extents)
    more = _times_missing(low, divisor)
    raised = more * divisor
    return canonical(outside, times - more), shift(rest, raised), low + raised, high + raised


def _times_missing(low: Size, divisor: Size) -> Size:
    """How often the divisor has to be added for what is `low` or more not to be negative."""
    if surely_at_most(0, low):
        return 0
    if isinstance(low, int) and isinstance(divisor, int):
        return -(low // divisor)
    if surely_at_most(low, 0):
        return -low                         # enough for any divisor
    raise Undecided(f"whether {low} is negative depends on the sizes")


def _times(c: Size, divisor: Size) -> Size:
    """How often a coefficient has the divisor in it, towards 0; what is left over need not be smaller than it."""
    if isinstance(c, int) and isinstance(divisor, int):
        return c // divisor if c > 0 else -(-c // divisor)
    return exact_quotient(c, divisor) or 0


def _times_below(constant: Size, divisor: Size) -> Size:
    """How often a constant has the divisor in it, rounded down where that is known."""
    if isinstance(constant, int) and isinstance(divisor, int):
        return constant // divisor
    return exact_quotient(constant, divisor) or 0


def bounds(index: Index, extents: Extents) -> tuple[Size, Size]:
    """The least and the greatest value of an index, by interval arithmetic; exact when each axis occurs once."""
    low = high = index.constant
    for term, c in index.terms:
        least, most = _term_bounds(term, extents)
        rises = c >= 0                      # of a quotient that is known no better than that
        low += c * (least if rises else most)
        high += c * (most if rises else least)
    return low, high


def _term_bounds(term: Term, extents: Extents) -> tuple[Size, Size]:
    match term:
        case Quotient(index, divisor):
            low, high = bounds(index, extents)
            return low // divisor, high // divisor
        case Remainder(index, divisor):
            low, high = bounds(index, extents)
            only = _only_quotient(low, high, divisor)
            return (0, divisor - 1) if only is None else (low - only * divisor, high - only * divisor)
        case _:
            return 0, extents[term] - 1


def index_values(index: Index, points: Mapping[str, np.ndarray]) -> np.ndarray:
    """The index, without symbols, at many points at once, from the numbers of the axes there; arrays broadcast."""
    total = np.asarray(number_of(index.constant), np.int64)
    for term, size in index.terms:
        c = number_of(size)
        match term:
            case Quotient(inner, divisor):
                total = total + c * (index_values(inner, points) // number_of(divisor))
            case Remainder(inner, divisor):
                total = total + c * (index_values(inner, points) % number_of(divisor))
            case _:
                total = total + c * points[term]
    return total


def substitute(index: Index, replacement: Callable[[str], Index], extents: Extents) -> Index:
    """The index with each axis replaced; `extents` are those of the axes that the replacements are made of."""
    result = constant(index.constant)
    for term, c in index.terms:
        match term:
            case Quotient(inner, divisor):
                new = quotient(substitute(inner, replacement, extents), divisor, extents)
            case Remainder(inner, divisor):
                new = remainder(substitute(inner, replacement, extents), divisor, extents)
            case _:
                new = replacement(term)
        result = add(result, scale(new, c))
    return result


def without_axes(index: Index, names: Collection[str], extents: Extents) -> Index:
    """The index where these axes are 0."""
    if not any(name in axes_of(index) for name in names):
        return index
    return substitute(index, lambda a: ZERO if a in names else Index(((a, 1),)), extents)


def axes_of(index: Index) -> frozenset[str]:
    """The names of the axes an index depends on."""
    found: set[str] = set()
    for term, _ in index.terms:
        found |= {term} if isinstance(term, str) else axes_of(term.index)
    return frozenset(found)


def coefficient(index: Index, name: str) -> Size | None:
    """How far the index moves when axis `name` takes a step; None where that is not one number."""
    step: Size = 0
    for term, c in index.terms:
        if isinstance(term, str):
            step += c if term == name else 0
        elif name in axes_of(term.index):
            return None
    return step


def flatten(point: tuple[Index, ...], shape: tuple[Size, ...]) -> Index:
    """The place of a point of `shape` in row-major order."""
    result = ZERO
    stride: Size = 1
    for index, size in zip(reversed(point), reversed(shape)):
        result = add(result, scale(index, stride))
        stride *= size
    return result


def unflatten(place: Index, shape: tuple[Size, ...], extents: Extents) -> tuple[Index, ...]:
    """The point of `shape` that has a place in row-major order."""
    point: list[Index] = []
    for k, size in reversed(list(enumerate(shape))):
        if size == 1:
            point.append(ZERO)
        elif all(n == 1 for n in shape[:k]):
            point.append(place)
        else:
            point.append(remainder(place, size, extents))
            place = quotient(place, size, extents)
    return tuple(reversed(point))
