"""places: the axes of a kernel in terms of the variables of a program, and the text of indices.

    axes i < 64, j < 48 counted by x:       i is x // 48, j is x % 48, so that 48*i + j is x
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.ir.dims import Dim, Size, number_of
from codegen.schedule import index as algebra
from codegen.schedule.index import canonical, size_text
from codegen.schedule.kernel import Axis, Index, Quotient, Remainder, Term

# ---- axes ----------------------------------------------------------------------------------------------------------


def places_of(name: str, axes: Sequence[Axis], given: bool) -> dict[str, Index]:
    """Axes, in row-major order, in terms of the variable that counts them. `given`: are there sizes that are words?"""
    found: dict[str, Index] = {}
    extent: Size = 1
    for axis in axes:
        extent = extent * axis.extent
    whole = Index() if extent == 1 else _term(name)
    below: Size = 1
    for k, axis in reversed(list(enumerate(axes))):
        outermost = all(other.extent == 1 for other in axes[:k])
        if axis.extent == 1:
            found[axis.name] = Index()
        elif given:
            place = whole if below == 1 else _term(Quotient(whole, below))
            found[axis.name] = place if outermost else _term(Remainder(place, axis.extent))
        else:
            place = algebra.quotient(whole, below, {name: extent})
            found[axis.name] = place if outermost else algebra.remainder(place, axis.extent, {name: extent})
        below = below * axis.extent
    return found


def placed(index: Index, places: Mapping[str, Index]) -> Index:
    """The index with its axes replaced, by laws that hold whatever the words are: these may be 0 or negative."""
    terms: dict[Term, Size] = {}
    constant = index.constant
    for term, c in index.terms:
        match term:
            case Quotient(inner, divisor):
                part = _term(Quotient(placed(inner, places), divisor))
            case Remainder(inner, divisor):
                part = _term(Remainder(placed(inner, places), divisor))
            case _:
                part = places[term]
        constant = constant + c * part.constant
        for inner_term, factor in part.terms:
            terms[inner_term] = terms.get(inner_term, 0) + c * factor
    return canonical(terms, constant)


def _term(term: Term) -> Index:
    return Index(((term, 1),))


def never_negative(index: Index) -> bool:
    """Is it seen that an index is not negative, whatever the words are?"""
    return all(isinstance(c, int) and c >= 0 for c in (index.constant, *(c for _, c in index.terms)))


# ---- text ----------------------------------------------------------------------------------------------------------


def place_text(index: Index) -> str:
    """The text of an index: `1024*x + r`, `x // 48 + 3`, `7`. What moves it farthest comes first."""
    terms = sorted(index.terms, key=lambda term: isinstance(term[1], int) and -abs(term[1]) or -_FAR)
    text = ""
    for term, c in terms:
        negative = isinstance(c, int) and c < 0
        product = _product(term, -number_of(c) if negative else c)
        text += (" - " if text else "-") + product if negative else (" + " if text else "") + product
    if not text:
        return str(index.constant)
    if isinstance(index.constant, Dim):
        return f"{text} + {size_text(index.constant)}"
    return f"{text} - {-index.constant}" if index.constant < 0 else f"{text} + {index.constant}" if index.constant else text


_FAR = 1 << 62


def _product(term: Term, c: Size) -> str:
    text = _term_text(term)
    return text if c == 1 else f"{factor_text(c)}*{text if isinstance(term, str) else f'({text})'}"


def _term_text(term: Term) -> str:
    match term:
        case Quotient(index, divisor):
            return f"{_operand(index)} // {factor_text(divisor)}"
        case Remainder(index, divisor):
            return f"{_operand(index)} % {factor_text(divisor)}"
        case _:
            return term


def _operand(index: Index) -> str:
    text = place_text(index)
    return text if text.isidentifier() else f"({text})"


def factor_text(size: Size) -> str:
    """The text of a size where it is a factor or a divisor."""
    text = str(size)
    return text if text.isalnum() or text.startswith("(") and isinstance(size, Dim) and len(size.terms) == 1 and (
        size.constant == 0 and size.terms[0][1] == 1) else f"({text})"
