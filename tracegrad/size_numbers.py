"""SizeNumber: a size that a run is recorded with as a symbol, and numbers computed from such sizes.

    x: f32[b,64], at b = 24
    n = x.shape[0]          24, the size b          n * 2 + 1, n // 4           of sizes: sizes again
    1 / n                   0.041.., computed       n > 8                       True, which is assumed from here on
    range(n), f"{n}"        24: b is 24 from here on, and the run is no run for all sizes any more

It is no int, so nothing reads it unseen: what Python cannot do without the number is a read, and reads are assumptions.
What needs no assumption, since it is so for every b from 2 on, makes none. Ints and floats are of two classes, since
they have not the same methods.
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
from tracegrad.recorder import ACTIVE
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

    def arrays(*numbers: int) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [np.asarray(value, dtype) for value, dtype in zip(values(*numbers), dtypes)]
    return arrays


class Assumptions:
    """What a run takes for granted of the sizes it is recorded with: each formula, and what it came to.

    `numbers`: every SizeNumber. `over`: the run is, and nothing is assumed any more. `known`: symbols that are assumed
    to be the numbers they are, with the line that asked.
    """

    def __init__(self) -> None:
        self.made: dict[Formula, bool] = {}
        self.known: dict[str, str | None] = {}
        self.over = False
        self.numbers: list[SizeNumber] = []

    def assume(self, formula: Computed, holds: bool) -> None:
        """From here on the run depends on it."""
        if not self.over:
            self.made.setdefault(formula, holds)

    def fix(self, formula: Formula, number: int | float) -> None:
        """From here on the run depends on what number it is."""
        self.assume(Computed("eq", formula, number), True)
        if isinstance(formula, Dim) and len(formula.terms) == 1 and isinstance(formula.terms[0][0], str):
            for name in symbols(formula) - self.known.keys():
                self.known[name] = user_line()


class SizeNumber:
    """The number `_number` of the run that is being recorded, which is `_formula` in any: a SizeInt or a SizeFloat.

    Beside a run of its own it is that number, and nothing else.
    """

    __slots__ = ("_number", "_formula", "_assumptions")

    def __new__(cls, number: int | float, *rest: Any) -> SizeNumber:
        return object.__new__(SizeInt if type(number) is int else SizeFloat)

    def __init__(self, number: int | float, formula: Formula, assumptions: Assumptions):
        self._number, self._formula, self._assumptions = number, formula, assumptions
        assumptions.numbers.append(self)

    @property                           # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._number)

    def __getattr__(self, name: str) -> Any:
        getattr(self._number, name)             # what no number has is no read
        return getattr(read_size(self), name)

    def conjugate(self) -> SizeNumber:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(read_size(self), dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(map(takes_over, inputs)):
            return NotImplemented
        return getattr(ufunc, method)(*map(read_size, inputs), **options)

    def __pos__(self) -> SizeNumber:
        return self

    def __neg__(self) -> Any:
        return operator.mul(self, -1)

    def __bool__(self) -> bool:
        holds: bool = operator.ne(self, 0)
        return holds


class SizeInt(SizeNumber):
    """An int."""

    __slots__ = ()


class SizeFloat(SizeNumber):
    """A float."""

    __slots__ = ()


_CLASSES = frozenset({SizeInt, SizeFloat})


def is_size(value: object) -> bool:
    """Is it a SizeNumber? isinstance would ask some objects for what they stand for."""
    return type(value) in _CLASSES


def is_live(number: Any) -> bool:
    """Is this SizeNumber one of the run that is being recorded, or of one that this is inside of?"""
    recorder = ACTIVE.get()
    symbols = None if recorder is None else recorder.symbols_met
    return symbols is not None and number._assumptions is symbols.assumptions and not symbols.assumptions.over


def is_number(other: object) -> bool:
    """Is it a number that can be part of a formula?"""
    return type(other) is int or type(other) is float and math.isfinite(other)


def formula_of(number: Any) -> Formula:
    """What a number is, whatever the sizes are."""
    return number._formula if is_size(number) and is_live(number) else number_in(number)


def read_size(value: Any) -> Any:
    """A SizeNumber's value, which the run depends on from now on; anything else as it is."""
    if is_size(value):
        value._assumptions.fix(value._formula, value._number)
        return value._number
    return value


def read_but_in_tuples(value: Any) -> Any:
    """A result with SizeNumbers that a replay can make anew, alone or in tuples, as they are; others are read."""
    if type(value) is tuple:
        return tuple(map(read_but_in_tuples, value))
    return value if is_size(value) else plain(value, replace=read_size)


def surely_equal(a: int, b: int) -> bool:
    """Are two numbers equal whatever the sizes are?"""
    return formula_of(a) == formula_of(b)


def number_in(value: Any) -> Any:
    """What a SizeNumber is in this run, for code that depends on it in no other way than that; else the value."""
    return value._number if is_size(value) else value


def numbers_in(values: Sequence[Any]) -> tuple[Any, ...]:
    """`number_in` of each."""
    return tuple([value._number if is_size(value) else value for value in values])


def attrs_in_numbers(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attrs of an op, with numbers for SizeNumbers."""
    return {name: numbers_in(value) if type(value) is tuple else number_in(value) for name, value in attrs.items()}


def index(size: Any) -> int:
    """operator.index, of which a SizeNumber comes as it is."""
    return size if type(size) is SizeInt else operator.index(size)      # type: ignore[return-value]


def floating_number(number: Any) -> float:
    """float(number), of which a SizeNumber is one again."""
    if not is_size(number):
        return float(number)
    return SizeNumber(float(number._number), number._formula, number._assumptions)      # type: ignore[return-value]


def _computing(name: str, reflected: bool) -> Callable[..., Any]:
    function = pow if name == "pow" else getattr(operator, name)

    def method(self: SizeNumber, other: Any, *modulus: Any) -> Any:
        if takes_over(other):
            return NotImplemented
        a, b = (other, self) if reflected else (self, other)
        if is_live(self) and not modulus and (is_size(other) or is_number(other)):
            formula = computed(name, a, b)
            if formula is not None:
                number = function(number_in(a), number_in(b))
                if isinstance(formula, int | float):
                    return number
                if is_number(number):
                    return SizeNumber(number, formula, self._assumptions)
        return function(*map(read_size, (a, b, *modulus)))
    return method


def computed(name: str, x: Any, y: Any) -> Formula | None:
    """The formula of what is computed from two numbers; None where it is none for all sizes: what it raises, and
    whether it is an int, must not depend on them.
    """
    a, b = formula_of(x), formula_of(y)
    are_sizes = isinstance(a, int | Dim) and isinstance(b, int | Dim)
    match name:
        case "add" | "sub" | "mul" if are_sizes:
            result: Size = getattr(operator, name)(a, b)
            return result
        case "add" | "sub" if b == 0:
            return a
        case "add" | "sub" | "mul":
            return Computed(name, a, b)
        case "truediv":
            return Computed(name, a, b) if number_in(y) != 0 and y != 0 else None       # which is assumed from here on
        case "floordiv" | "mod" if isinstance(a, int | Dim) and isinstance(b, int | Dim) and (least_of(b) or 0) >= 1:
            if surely_at_most(0, a) and surely_below(a, b):
                return 0 if name == "floordiv" else a
            return a // b if name == "floordiv" else a - a // b * b
        case "floordiv" | "mod" if isinstance(b, int | float) and b > 0:
            return Computed(name, a, b)
        case "pow" if isinstance(a, Dim) and (least_of(a) or 0) >= 1 and isinstance(b, int | float):
            if abs(b) > MOST_POWER:
                return None
            return math.prod([a] * b) if isinstance(b, int) and b >= 0 else Computed(name, a, b)
    return None


MOST_POWER = 4
"""No size to such a power is too large for a float."""


def _comparing(name: str) -> Callable[[SizeNumber, Any], Any]:
    function = getattr(operator, name)

    def method(self: SizeNumber, other: Any) -> Any:
        if takes_over(other):
            return NotImplemented
        if not is_size(other) and not is_number(other):
            is_none = other is None or isinstance(other, str | bytes | tuple | list | dict | set)
            return NotImplemented if is_none else function(read_size(self), other)
        holds = function(self._number, number_in(other))
        a, b = formula_of(self), formula_of(other)
        if isinstance(a, int | float) and isinstance(b, int | float):
            return holds
        if not (isinstance(a, int | Dim) and isinstance(b, int | Dim) and is_sure(a - b, name)):
            self._assumptions.assume(Computed(name, a, b), holds)
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
        number, *numbers = map(read_size, (self, *others))
        return getattr(number, f"__{name}__")(*numbers) if function is None else function(number, *numbers)

    return method


for _name in "add sub mul truediv floordiv mod pow".split():
    setattr(SizeNumber, f"__{_name}__", _computing(_name, False))
    setattr(SizeNumber, f"__r{_name}__", _computing(_name, True))
for _name in MIRRORED:
    setattr(SizeNumber, f"__{_name}__", _comparing(_name))
for _name in "divmod rdivmod abs int float hash str repr format round trunc floor ceil dir".split():
    setattr(SizeNumber, f"__{_name}__", _reading(_name))
for _name in "lshift rshift and or xor rlshift rrshift rand ror rxor index invert".split():
    setattr(SizeInt, f"__{_name}__", _reading(_name))

NO_NUMBER_HAS = frozenset(dir(SizeInt)) - frozenset(dir(int))
"""Names by which code could tell it from a number; that code is not given any."""
