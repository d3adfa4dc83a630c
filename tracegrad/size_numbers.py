"""SizeNumber: a size that a run is recorded with as a symbol, and numbers computed from such sizes.

    x: f32[b,64], at b = 24
    n = x.shape[0]          24, the size b          n * 2 + 1, n // 4           of sizes: sizes again
    1 / n                   0.041.., computed       n > 8                       True, which is assumed from here on
    range(n), f"{n}"        24: b is 24 from here on, and the run is no run for all sizes any more

It is no int, so nothing reads it unseen: what Python cannot do without the number is a read, and reads are assumptions.
What needs no assumption, since it is so for every b from 2 on, makes none.
"""
from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from codegen.ir.dims import Dim, Size, least_of, surely_at_most, surely_below, symbols
from codegen.ir.evaluation import size_text
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from tracegrad.lifted import plain, takes_over
from tracegrad.source_lines import user_line

INFIX = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
         "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
"""What can be done to numbers, as the module `operator` and as Python writes it."""

MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


@struct
class Computed:
    """A number computed from two others; `op` is a key of INFIX."""

    op: str
    left: Formula
    right: Formula


Formula: TypeAlias = Size | float | Computed
"""What a number is, whatever the sizes are."""


def formula_text(formula: Formula, names: Mapping[str, str]) -> str:
    """Python that computes it; `names`: what its symbols are called there."""
    if isinstance(formula, Computed):
        return f"({formula_text(formula.left, names)} {INFIX[formula.op]} {formula_text(formula.right, names)})"
    return f"({size_text(formula, names)})" if isinstance(formula, Dim) else f"({formula!r})"


def shown(formula: Formula, is_part: bool = False) -> str:
    """The text of a formula, for people."""
    if not isinstance(formula, Computed):
        return str(formula)
    text = f"{shown(formula.left, True)} {INFIX[formula.op]} {shown(formula.right, True)}"
    return f"({text})" if is_part else text


def python_of(symbols: Sequence[str], formulas: Sequence[Formula]) -> Callable[..., tuple[int | float, ...]]:
    """What gives formulas as numbers, where the symbols are some numbers."""
    names, space = {name: name for name in symbols}, dict[str, Any]()
    texts = "".join(f"{formula_text(formula, names)}, " for formula in formulas)
    exec(f"def values({', '.join(symbols)}): return ({texts})", space)
    return space["values"]


def computing(symbols: Sequence[str], formulas: Sequence[tuple[Formula, str]]) -> Callable[..., list[np.ndarray]]:
    """What gives formulas as arrays of some dtypes, where the symbols are some numbers."""
    values = python_of(symbols, [formula for formula, _ in formulas])
    dtypes = [DTYPES[dtype] for _, dtype in formulas]
    return lambda *numbers: [np.asarray(value, dtype) for value, dtype in zip(values(*numbers), dtypes)]


class Assumptions:
    """What a run takes for granted of the sizes it is recorded with: each formula, and what it came to.

    `over`: the run is, and nothing is assumed any more. `known`: symbols that are assumed to be the numbers
    they are, with the line that asked.
    """

    def __init__(self) -> None:
        self.made: dict[Formula, bool] = {}
        self.known: dict[str, str | None] = {}
        self.over = False

    def assume(self, formula: Computed, holds: bool) -> None:
        """From here on the run depends on it."""
        if not self.over:
            self.made.setdefault(formula, holds)

    def fix(self, formula: Formula, number: int | float) -> None:
        """From here on the run depends on what number it is."""
        self.assume(Computed("eq", formula, number), True)
        if isinstance(formula, Dim) and len(symbols(formula)) == 1 and isinstance(formula.terms[0][0], str):
            for name in symbols(formula) - self.known.keys():
                self.known[name] = user_line()


class SizeNumber:
    """The number `number` of this run, which is `formula` in any."""

    __slots__ = ("number", "formula", "assumptions")

    def __init__(self, number: int | float, formula: Formula, assumptions: Assumptions):
        self.number, self.formula, self.assumptions = number, formula, assumptions

    def read(self) -> int | float:
        """The plain number, which the run depends on from now on."""
        self.assumptions.fix(self.formula, self.number)
        return self.number

    @property                           # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.number)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self.number, name):      # no number has it: nothing was read
            raise AttributeError(f"{type(self.number).__name__} has no attribute {name}")
        return getattr(self.read(), name)

    def conjugate(self) -> SizeNumber:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.read(), dtype)

    def __pos__(self) -> SizeNumber:
        return self

    def __neg__(self) -> Any:
        return operator.mul(self, -1)

    def __bool__(self) -> bool:
        holds: bool = operator.ne(self, 0)
        return holds


def is_number(other: object) -> bool:
    """Is it a number that can be part of a formula?"""
    return type(other) is int or type(other) is float and math.isfinite(other)


def formula_of(number: Any) -> Formula:
    """What a number is, whatever the sizes are; a float that is a whole number is that."""
    if type(number) is SizeNumber:
        return number.formula
    return int(number) if type(number) is float and number.is_integer() and abs(number) < 2**53 else number


def read_but_in_tuples(value: Any) -> Any:
    """A result with SizeNumbers that a replay can make anew, alone or in tuples, as they are; others are read."""
    if type(value) is tuple:
        return tuple(map(read_but_in_tuples, value))
    return value if type(value) is SizeNumber else plain(value, replace=read_size)


def surely_equal(a: int, b: int) -> bool:
    """Are two numbers equal whatever the sizes are?"""
    return formula_of(a) == formula_of(b)


def number_in(value: Any) -> Any:
    """What a SizeNumber is in this run, for code that depends on it in no other way than that; else the value."""
    return value.number if type(value) is SizeNumber else value


def numbers_in(values: Sequence[Any]) -> tuple[Any, ...]:
    """`number_in` of each."""
    return tuple([value.number if type(value) is SizeNumber else value for value in values])


def attrs_in_numbers(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attrs of an op, with numbers for SizeNumbers."""
    return {name: numbers_in(value) if type(value) is tuple else number_in(value) for name, value in attrs.items()}


def read_size(value: Any) -> Any:
    """A SizeNumber's value, a read of it; anything else as it is."""
    return value.read() if type(value) is SizeNumber else value


def index(size: Any) -> int:
    """operator.index, of which a SizeNumber comes as it is."""
    is_size = type(size) is SizeNumber and type(size.number) is int
    return size if is_size else operator.index(size)


def floating_number(number: Any) -> float:
    """float(number), of which a SizeNumber is one again."""
    if type(number) is not SizeNumber:
        return float(number)
    return SizeNumber(float(number.number), number.formula, number.assumptions)         # type: ignore[return-value]


def _computing(name: str, reflected: bool) -> Callable[[SizeNumber, Any], Any]:
    function = getattr(operator, name)

    def method(self: SizeNumber, other: Any) -> Any:
        if takes_over(other):
            return NotImplemented
        if type(other) is not SizeNumber and not is_number(other):
            return function(other, self.read()) if reflected else function(self.read(), other)
        a, b = (other, self) if reflected else (self, other)
        number = function(number_in(a), number_in(b))
        formula = computed(name, formula_of(a), formula_of(b))
        if formula is None or not is_number(number):
            return function(*(x.read() if type(x) is SizeNumber else x for x in (a, b)))
        return number if isinstance(formula, int) else SizeNumber(number, formula, self.assumptions)
    return method


def computed(name: str, a: Formula, b: Formula) -> Formula | None:
    """The formula of what is computed from two others; None for what sizes have none for."""
    if not (isinstance(a, int | Dim) and isinstance(b, int | Dim)):
        return Computed(name, a, b)
    match name:
        case "add" | "sub" | "mul":
            result: Size = getattr(operator, name)(a, b)
            return result
        case "floordiv" | "mod":
            if (least_of(b) or 0) < 1:
                return None
            if surely_at_most(0, a) and surely_below(a, b):
                return 0 if name == "floordiv" else a
            quotient = a // b
            return quotient if name == "floordiv" else a - quotient * b
        case "pow" if isinstance(b, int) and 0 <= b <= 4:
            return math.prod([a] * b)
    return Computed(name, a, b)


def _comparing(name: str) -> Callable[[SizeNumber, Any], Any]:
    function = getattr(operator, name)

    def method(self: SizeNumber, other: Any) -> Any:
        if takes_over(other):
            return NotImplemented
        if type(other) is not SizeNumber and not is_number(other):
            is_none = other is None or isinstance(other, str | bytes | tuple | list | dict | set)
            return NotImplemented if is_none else function(self.read(), other)
        holds = function(self.number, number_in(other))
        a, b = self.formula, formula_of(other)
        if not (isinstance(a, int | Dim) and isinstance(b, int | Dim) and is_sure(a - b, name)):
            self.assumptions.assume(Computed(name, a, b), holds)
        return holds
    return method


def is_sure(difference: Size, name: str) -> bool:
    """Does a comparison with this difference of its sides end the same way whatever the sizes are?"""
    if isinstance(difference, int):
        return True
    least, most = least_of(difference), least_of(-difference)
    above, below = least is not None and least >= 1, most is not None and most >= 1
    if name in ("lt", "ge"):
        return below or least is not None and least >= 0
    if name in ("gt", "le"):
        return above or most is not None and most >= 0
    return above or below


def _reading(name: str) -> Callable[..., Any]:
    """The special method of the plain number, a read of it."""
    function: Any = getattr(operator, name, None)

    def method(self: SizeNumber, *others: Any) -> Any:
        if others and takes_over(others[0]):
            return NotImplemented
        numbers = [other.read() if type(other) is SizeNumber else other for other in others]
        number = self.read()
        return getattr(number, f"__{name}__")(*numbers) if function is None else function(number, *numbers)

    return method


for _name in "add sub mul truediv floordiv mod pow".split():
    setattr(SizeNumber, f"__{_name}__", _computing(_name, False))
    setattr(SizeNumber, f"__r{_name}__", _computing(_name, True))
for _name in MIRRORED:
    setattr(SizeNumber, f"__{_name}__", _comparing(_name))
for _name in ("divmod rdivmod lshift rshift and or xor rlshift rrshift rand ror rxor "
              "abs index invert int float hash str repr format round trunc floor ceil").split():
    setattr(SizeNumber, f"__{_name}__", _reading(_name))
