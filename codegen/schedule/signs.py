"""signs: which values of a kernel are known to be no less, or no more, than 0, whatever the kernel reads.

    v1 = accumulate max v0      v2 = load b0[..]         what v0 is, in a later pass
    v3 = sub v2 v1              never positive: it is one of those that v1 is the greatest of
    v5 = mul v4 v4              never negative

1. A NaN may be either. So may a zero, whatever its sign.
2. Floats alone: integers wrap around.
"""
from __future__ import annotations

from typing import NamedTuple

from codegen.ir.references import literal
from codegen.ir.types import FLOATS
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Const,
    Gather,
    Kernel,
    Load,
    Pass,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Unary,
    operands,
    with_operands,
)
from codegen.schedule.value_types import value_dtypes


class Sign(NamedTuple):
    """Is a value never negative, is it never positive?"""

    above: bool = False
    below: bool = False


_ABOVE = frozenset({"abs", "exp", "exp2", "sqrt", "cosh", "hypot", "erfc"})
_KEPT = frozenset({"tanh", "sinh", "asinh", "atan", "erf", "expm1", "cbrt", "floor", "ceil", "trunc", "round", "sign"})


def never_positive(kernel: Kernel) -> frozenset[int]:
    """The numbers of the values that are 0, less, or NaN."""
    return frozenset(k for k, sign in enumerate(signs(kernel)) if sign.below)


def signs(kernel: Kernel) -> list[Sign]:
    """What is known of each value, by its number."""
    return _Signs(kernel).found


class _Signs:
    def __init__(self, kernel: Kernel):
        self.kernel, self.dtypes = kernel, value_dtypes(kernel)
        self.found: list[Sign] = []
        self.same: list[int] = []                   # of each value the first that is equal to it at the same points
        self.known: dict[tuple[object, ...], int] = {}
        self.greatest: dict[int, tuple[int, str]] = {}       # of an extremum, what it is one of, and which
        for p in kernel.passes:
            for s in p.body:
                if not isinstance(s, Store | Scatter):
                    self.add(p, s)

    def add(self, p: Pass, s: Statement) -> None:
        """The next value."""
        number = len(self.found)
        self.found.append(self.sign(s) if self.dtypes[number] in FLOATS else Sign())
        self.same.append(self.known.setdefault(self.key(p, s, number), number))
        if isinstance(s, Accumulate):
            self.greatest[number] = self.same[s.x], s.kind

    def key(self, p: Pass, s: Statement, number: int) -> tuple[object, ...]:
        """Statements with the same key, over the same axes, have the same value."""
        pure = not isinstance(s, Accumulate | Scan) and not (
            isinstance(s, Load | Gather) and self.kernel.params[s.buffer].access != "in")
        return (p.axes, with_operands(s, [self.same[x] for x in operands(s)])) if pure else (number,)

    def sign(self, s: Statement) -> Sign:
        match s:
            case Const(text):
                value = literal(text)
                return Sign(value >= 0, value <= 0)
            case Unary("neg", x):
                return Sign(self.found[x].below, self.found[x].above)
            case Unary(op, x):
                return self.found[x] if op in _KEPT else Sign(op in _ABOVE)
            case Cast(x) | Accumulate("sum" | "max" | "min", x):
                return self.found[x]
            case Accumulate(_, x):
                return Sign(self.found[x].above)
            case Select(_, x, y):
                return Sign(*(a and b for a, b in zip(self.found[x], self.found[y])))
            case Binary(op, x, y):
                return self.of_two(op, x, y)
            case _:
                return Sign()

    def of_two(self, op: str, x: int, y: int) -> Sign:
        a, b = self.found[x], self.found[y]
        match op:
            case "mul" | "div" if self.same[x] == self.same[y]:
                return Sign(True)
            case "mul" | "div":
                return Sign(a.above and b.above or a.below and b.below, a.above and b.below or a.below and b.above)
            case "add":
                return Sign(a.above and b.above, a.below and b.below)
            case "sub":
                beyond = self.greatest.get(y)
                among = beyond[1] if beyond is not None and beyond[0] == self.same[x] else ""
                return Sign(a.above and b.below or among == "min", a.below and b.above or among == "max")
            case "maximum":
                return Sign(a.above or b.above, a.below and b.below)
            case "minimum":
                return Sign(a.above and b.above, a.below or b.below)
            case _:
                return Sign(op in _ABOVE)
