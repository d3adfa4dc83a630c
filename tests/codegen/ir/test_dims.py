"""Sizes: arithmetic on symbols is arithmetic on the numbers they stand for, and equal polynomials are equal."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.dims import (
    Dim,
    Size,
    Undecided,
    ceil_div,
    content,
    element_count,
    evaluate,
    exact_quotient,
    least_of,
    surely_at_most,
    surely_below,
    symbol,
    symbol_name,
    symbols,
    typical,
)

B, C, D = map(symbol, "bcd")


@st.composite
def expressions(draw: Callable) -> Callable[[Size, Size, Size], Size]:
    """A function of three sizes, by + - * and // with positive divisors."""
    steps = draw(st.lists(st.tuples(st.sampled_from("+-*/"), st.sampled_from([0, 1, 2, 3, 5, -2])), max_size=6))

    def f(b: Size, c: Size, d: Size) -> Size:
        total: Size = b
        for op, k in steps:
            other = (c, d, 2, b, 3, 5)[k]
            match op:
                case "+":
                    total = total + other
                case "-":
                    total = total - other
                case "*":
                    total = total * other
                case "/":
                    total = total // other
        return total

    return f


@settings(deadline=None, derandomize=True, max_examples=300)
@given(expressions(), st.tuples(*[st.integers(2, 9)] * 3))
def test_arithmetic_is_that_of_numbers(f: Callable, values: tuple[int, int, int]) -> None:
    size = f(B, C, D)
    assert evaluate(size, dict(zip("bcd", values))) == f(*values)
    assert isinstance(size, int) or symbols(size)
    assert symbols(size) <= {"b", "c", "d"}


def test_equal_polynomials_are_equal() -> None:
    assert B * C == C * B and (B * C) * D == B * (C * D) == D * C * B
    assert (B + 1) * (B - 1) == B * B - 1
    assert (B + C) * 2 - C == 2 * B + C
    assert B - B == 0 and isinstance(B * 0, int)
    assert element_count((B, 2, C)) == element_count((C, B, 2)) == 2 * B * C
    assert hash(B * C) == hash(C * B)


def test_exact_quotients() -> None:
    assert (B * C) // B == C and (6 * B * C) // (3 * C) == 2 * B
    assert (B * C * D + 2 * B * C) // (B * C) == D + 2
    assert (4 * B + 2) // 2 == 2 * B + 1 and (B + 1) // (B + 1) == 1
    assert str((B + 1) // 2) == "((b+1)//2)" and str((B * C) // D) == "((b*c)//d)" and str(7 // B) == "(7//b)"


@pytest.mark.parametrize(("size", "text"), [
    (B, "b"), (2 * B + 1, "2*b+1"), (-B + 3, "-1*b+3"), (C - B - 2, "-1*b+c-2"), (B * C * 28, "28*(b*c)"),
    (B * C * D, "((b*c)*d)"), ((B + 1) // C * D, "(((b+1)//c)*d)"), (3 // (B - 1), "(3//(b-1))"),
])
def test_text(size: Dim, text: str) -> None:
    assert str(size) == text


def test_names() -> None:
    assert symbol_name(B) == "b"
    assert [symbol_name(s) for s in (3, 2 * B, B + 1, B * C, B + C)] == [None] * 5
    with pytest.raises(KeyError):
        evaluate(B + C, {"b": 3})


@settings(deadline=None, derandomize=True, max_examples=300)
@given(expressions(), expressions(), st.tuples(*[st.integers(2, 9)] * 3))
def test_what_is_sure_of_sizes_holds_for_all_numbers(f: Callable, g: Callable, values: tuple[int, int, int]) -> None:
    a, b, binding = f(B, C, D), g(B, C, D), dict(zip("bcd", values))
    x, y = evaluate(a, binding), evaluate(b, binding)
    least = least_of(a)
    assert least is None or least <= x
    assert not surely_below(a, b) or x < y
    assert not surely_at_most(a, b) or x <= y
    try:
        assert (a < b) == (x < y)
        assert (a >= b) == (x >= y)
    except Undecided:
        assert isinstance(a, Dim) or isinstance(b, Dim)
    quotient = exact_quotient(a, b) if y else None
    assert quotient is None or evaluate(quotient, binding) * y == x
    assert content(a) == 0 or x % content(a) == 0
    assert not isinstance(a, int) or typical(a) == a


def test_sizes_that_are_compared() -> None:
    assert B > 1 and B * C - C >= 2 and 2 * B < 2 * B + 1 and not B < 2 and max(B, 1) == B
    assert surely_below(B - 1, B * C) and not surely_below(B, C)
    with pytest.raises(Undecided, match="whether b is below 5 depends on the sizes"):
        assert B < 5
    with pytest.raises(Undecided):
        assert B <= C
    assert least_of(ceil_div(B, 64)) == 1 and least_of(C - B) is None and least_of(B - 2) == 0
    assert evaluate(ceil_div(B, 64), {"b": 129}) == 3 == ceil_div(129, 64)
    assert content(64 * B + 32) == 32 and exact_quotient(4 * B * C, 2 * C) == 2 * B and exact_quotient(B, 2) is None
    assert exact_quotient(B * B + B, B + 1) == B and exact_quotient(B * B - C * C, B + C) == B - C
    assert exact_quotient(B * B + 1, B + 1) is None and exact_quotient((B - 1) * (B // 2 + C), C + B // 2) == B - 1
