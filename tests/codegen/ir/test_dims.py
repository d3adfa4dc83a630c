"""Sizes: arithmetic on symbols is arithmetic on the numbers they stand for, and equal polynomials are equal."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.dims import Dim, Size, element_count, evaluate, symbol, symbol_name, symbols

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
