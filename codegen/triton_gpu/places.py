"""places: the axes of a kernel in terms of the variables of a program, and the text of indices.

    axes i < 64, j < 48 counted by x:       i is x // 48, j is x % 48, so that 48*i + j is x
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from codegen.ir.dims import Dim, Size
from codegen.schedule import index as algebra
from codegen.schedule.index import canonical
from codegen.schedule.kernel import Axis, Index, Quotient, Remainder, Term
from codegen.schedule.sizes import LARGEST

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


Named = Mapping[Term, str]
"""The variables that hold terms."""


def place_text(index: Index, named: Named = MappingProxyType({})) -> str:
    """The text of an index: `1024*x + r`, `x // 48 + 3`, `7`. What moves it farthest comes first."""
    below_0 = {term for term, c in index.terms if isinstance(c, int) and c < 0}
    parts = [f" - {_product(term, -c, named)}" if term in below_0 else f" + {_product(term, c, named)}"
             for term, c in sorted(index.terms, key=lambda item: (item[0] in below_0, _reach(item[1])))]
    constant = index.constant
    if constant or not parts:
        parts.append(f" - {-constant}" if isinstance(constant, int) and constant < 0 else f" + {factor_text(constant)}")
    text = "".join(parts)
    return text[3:] if text.startswith(" + ") else f"0{text}"


def _reach(c: Size) -> int:
    return -abs(c) if isinstance(c, int) else -LARGEST


def _product(term: Term, c: Size, named: Named) -> str:
    text = term_text(term, named)
    return text if c == 1 else f"{factor_text(c)}*{text if text.isidentifier() else f'({text})'}"


def term_text(term: Term, named: Named = MappingProxyType({})) -> str:
    """The text of a term: `x`, `x // 48`."""
    if term in named:
        return named[term]
    match term:
        case Quotient(index, divisor):
            return f"{_operand(index, named)} // {factor_text(divisor)}"
        case Remainder(index, divisor):
            return f"{_operand(index, named)} % {factor_text(divisor)}"
        case _:
            return term


def _operand(index: Index, named: Named) -> str:
    text = place_text(index, named)
    return text if text.isidentifier() else f"({text})"


def parts_of(index: Index) -> list[Term]:
    """The terms of an index that are worth a name, the innermost first: the places along axes that spans are cut into,
    `(x // 256) % 8`, and what is made of several of them."""
    found: list[Term] = []
    for term, _ in sorted(index.terms, key=lambda item: _reach(item[1])):
        if isinstance(term, Quotient | Remainder):
            found += [] if _is_alone(term.index) else parts_of(term.index)
            found.append(term)
    return found


def _is_alone(index: Index) -> bool:
    """Is it one term and nothing else?"""
    return len(index.terms) == 1 and index.terms[0][1] == 1 and index.constant == 0


def factor_text(size: Size) -> str:
    """The text of a size where it is a factor or a divisor."""
    text = str(size)
    return text if text.isalnum() or text.startswith("(") and isinstance(size, Dim) and len(size.terms) == 1 and (
        size.constant == 0 and size.terms[0][1] == 1) else f"({text})"
