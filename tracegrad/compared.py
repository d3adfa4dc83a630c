"""Numbers that Python reads only to compare them: how the comparison ends is a way of the path, not which number it is.

    for _ in range(50):
        err = abs(fx.item())        read at the end of a CALL, made positive, stored in `err`
        if err < tol:               loaded for a comparison with what the frame knows, and from here on for nothing
            break

1. Whether it is recorded so does not depend on how the comparisons end: all ways from them are looked at, or else paths
   that begin alike would not be one tree.
2. The instructions after the read are run here, with the frame's own variables, as far as they do nothing but move
   values, compute with plain numbers, compare and jump. There the number must be out of reach: not on the stack, nor in
   a variable that may be loaded again, by a handler of exceptions neither.
3. Nothing is changed by it: Python gets the number and runs the same instructions.
4. What the number is compared with follows from what is guarded and what was read before, like all that Python knows.
"""
from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any

from codegen.ir.structs import struct
from tracegrad.instructions import Instruction, Listing, has_variables_alone, listing

SIGNS: dict[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    "<": ("lt", operator.lt, ">"), "<=": ("le", operator.le, ">="), ">": ("gt", operator.gt, "<"),
    ">=": ("ge", operator.ge, "<="), "==": ("eq", operator.eq, "=="), "!=": ("ne", operator.ne, "!=")}
"""Of each comparison the operation, what Python does, and its sign with the sides exchanged."""

MOST_INSTRUCTIONS = 500


@struct
class Comparison:
    """`number sign other`, or `abs(number) sign other`."""

    sign: str
    other: int | float
    absolute: bool = False

    @property
    def op(self) -> str:
        return SIGNS[self.sign][0]

    def holds(self, number: int | float) -> bool:
        """What Python makes of it."""
        return SIGNS[self.sign][1](abs(number) if self.absolute else number, self.other)

    def __str__(self) -> str:
        return f"{'abs ' if self.absolute else ''}{self.sign} {self.other!r}"


def comparisons_of(frame: FrameType, read: str, number: int | float) -> tuple[Comparison, ...]:
    """What the frame compares `number` with, which its call of `read` is about to give; () if it may do more with it.

    `read`: "item" of a method, "float" or "int" of the functions.
    """
    if not has_variables_alone(frame.f_code):
        return ()
    code = listing(frame.f_code)
    at = code.place(frame.f_lasti)
    if code.instructions[at].name != "CALL" or not _calls(code, frame, at, read):
        return ()
    run = _Run(code, frame, at + 1, [_TheNumber()], number, read_at=at)
    return tuple(run.found) if run.ends_without_it() else ()


def _calls(code: Listing, frame: FrameType, at: int, name: str) -> bool:
    """Does the CALL at `at` call the builtin, or the method `item`, of that name with what it takes?"""
    call, before = code.instructions[at], code.instructions[at - 1]
    if name == "item":
        return call.arg == 0 and before.name in ("LOAD_METHOD", "LOAD_ATTR") and before.value == name
    k = code.start(at, 3)
    callee = None if k is None else code.instructions[k]
    return (callee is not None and call.arg == 1 and callee.name == "LOAD_GLOBAL" and callee.value == name
            and _global(frame, name) is getattr(builtins, name))


def _global(frame: FrameType, name: str) -> Any:
    return frame.f_globals.get(name, frame.f_builtins.get(name))


class _Cannot(Exception):
    """The instruction may do anything."""


@struct
class _TheNumber:
    """Stands for the number that is read, or for its absolute value."""

    absolute: bool = False


_UNKNOWN = object()
"""Stands for what was on the stack before the number, and cannot be told."""

PLAIN = (int, float, bool)

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod}
_MATH = {id(math.isnan): Comparison("<=", math.inf, True), id(math.isinf): Comparison("==", math.inf, True),
         id(math.isfinite): Comparison("<", math.inf, True)}
"""Functions of `math` that tell as much of a number as a comparison does, by id."""

_AS_BEFORE = {"LOAD_FAST", "LOAD_CONST", "BINARY_OP", "UNARY_NEGATIVE"}
"""Instructions that compute from numbers what they would have computed before other functions ran."""

_LOADS = {"LOAD_FAST", "LOAD_CONST", "LOAD_GLOBAL", "LOAD_DEREF", "PUSH_NULL"}
"""Instructions that run no function."""


class _Run:
    """A run of the instructions from `at` on, as far as they are understood: what it has on the stack and in variables.

    `read_at`: where the number was read. What was on the stack before that is computed when it is taken.
    """

    def __init__(self, code: Listing, frame: FrameType, at: int, stack: list[Any], number: int | float,
                 read_at: int | None = None, end: int | None = None, beside: _Run | None = None):
        self.code, self.frame, self.at, self.stack, self.number = code, frame, at, stack, number
        self.read_at = read_at
        self.below: int = 0 if beside is None else beside.below
        self.variables: dict[str, Any] = {} if beside is None else beside.variables.copy()
        self.found: list[Comparison] = [] if beside is None else beside.found.copy()
        self.turns: Iterator[int] = iter(range(MOST_INSTRUCTIONS)) if beside is None else beside.turns
        self.leaks = False                  # could the number be used, had a comparison ended otherwise?
        if beside is not None and self.ends_without_it():
            return
        for _ in self.turns:
            if self.at == end:
                break
            one = code.instructions[self.at]
            if one.takes is not None and one.takes > len(self.stack):
                self._take_from_below(one.takes - len(self.stack))
            before, self.at = self.stack.copy(), self.at + 1
            try:
                self._do(one)
            except (_Cannot, ArithmeticError, LookupError, TypeError):
                self.stack, self.at = before, self.at - 1
                break

    def ends_without_it(self) -> bool:
        """Is the number out of reach where the run stopped, and where it had if comparisons had ended otherwise?"""
        return not self.leaks and not any(type(value) is _TheNumber for value in self.stack) and not any(
            type(value) is _TheNumber and self._may_load(name) for name, value in self.variables.items())

    def _may_load(self, name: str) -> bool:
        """May an instruction that can come now load this variable, before one stores another value there?"""
        instructions, ahead, seen = self.code.instructions, [self.at], set[int]()
        while ahead:
            k = ahead.pop()
            if k in seen or k == len(instructions):
                continue
            seen.add(k)
            one = instructions[k]
            if "FAST" in one.name and one.value == name:
                if one.name not in ("STORE_FAST", "DELETE_FAST"):
                    return True
                continue
            ahead += [next for next in (one.target, self.code.handlers.get(k)) if next is not None]
            if not one.name.startswith(("RETURN", "RAISE", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD")):
                ahead.append(k + 1)
        return False

    def _take_from_below(self, count: int) -> None:
        """Puts under the stack what was there before the number was read, as far as that can be told."""
        known = None if self.read_at is None else self._computed_before(self.read_at, self.below + count)
        self.stack[:0] = [_UNKNOWN] * count if known is None else known[:count]
        self.below += count

    def _computed_before(self, read_at: int, count: int) -> list[Any] | None:
        """The upmost `count` values that were on the stack when what is read began to be computed."""
        end = self.code.start(read_at + 1, 1)
        start = None if end is None else self.code.start(end, count)
        if start is None or any(one.name.startswith("STORE") for one in self.code.instructions[start:read_at]):
            return None
        run = _Run(self.code, self.frame, start, [], 0, end=end)
        if run.at != end:
            return None
        names = [one.name for one in self.code.instructions[start:read_at]]
        callee = 1 if names[-1] in ("LOAD_ATTR", "LOAD_METHOD") else 0              # `item`, of a tensor
        still = _AS_BEFORE.issuperset(names[:end - start]) or _LOADS.issuperset(names[end - start:len(names) - callee])
        return run.stack if still else [_UNKNOWN if type(value) in PLAIN else value for value in run.stack]

    def _pop(self) -> Any:
        return self.stack.pop() if self.stack else _UNKNOWN

    def _plain(self) -> Any:
        """The plain number on top."""
        value = self._pop()
        if type(value) not in PLAIN:
            raise _Cannot
        return value

    def _do(self, one: Instruction) -> None:
        name, value = one.name, one.value
        if name in ("LOAD_FAST", "LOAD_DEREF"):
            self.stack.append(self.variables[value] if value in self.variables else self.frame.f_locals[value])
        elif name == "LOAD_CONST":
            self.stack.append(value)
        elif name == "LOAD_GLOBAL":
            self.stack += [None, _global(self.frame, value)][-one.change:]
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            self._load_attribute(value, one.change)
        elif name == "PUSH_NULL":
            self.stack.append(None)
        elif name == "STORE_FAST":
            self.variables[value] = self._pop()
        elif name == "POP_TOP":
            self._pop()
        elif name == "COPY":
            self.stack.append(self.stack[-one.arg])
        elif name == "SWAP":
            self.stack[-1], self.stack[-one.arg] = self.stack[-one.arg], self.stack[-1]
        elif name == "BINARY_OP":
            right, left = self._plain(), self._plain()
            self.stack.append(_ARITHMETIC[value.removesuffix("=")](left, right))
        elif name == "UNARY_NEGATIVE":
            self.stack.append(-self._plain())
        elif name == "UNARY_NOT":
            self.stack.append(not self._plain())
        elif name == "TO_BOOL":
            self.stack.append(bool(self._plain()))
        elif name == "COMPARE_OP":
            self._compare(value)
        elif name == "CALL" and one.arg == 1:
            self._call()
        elif one.target is not None:
            self._jump(name, one.target)
        else:
            raise _Cannot

    def _load_attribute(self, name: str, change: int) -> None:
        """One in the namespace of a module or of a plain instance, where no code runs to find it."""
        owner = self._pop()
        kind: Any = type(owner)
        plain = kind is ModuleType or kind.__getattribute__ is object.__getattribute__ and not any(
            name in vars(base) for base in kind.__mro__)
        if not plain or kind is _TheNumber:
            raise _Cannot
        self.stack += [None, vars(owner)[name]][-change - 1:]

    def _compare(self, sign: str) -> None:
        right, left = self._pop(), self._pop()
        if type(left) is _TheNumber:
            self._find(left, sign, right)
        elif type(right) is _TheNumber:
            self._find(right, SIGNS[sign][2], left)
        elif type(left) in PLAIN and type(right) in PLAIN:
            self.stack.append(SIGNS[sign][1](left, right))
        else:
            raise _Cannot

    def _find(self, one: _TheNumber, sign: str, other: Any) -> None:
        exact = type(other) is type(self.number) or type(other) is int and abs(other) <= 2**53
        if not exact or type(other) is int and abs(other) >= 2**63:
            raise _Cannot
        comparison = Comparison(sign, other, one.absolute)
        self.found.append(comparison)
        self.stack.append(comparison.holds(self.number))

    def _call(self) -> None:
        """A function of one argument, which is the number."""
        argument, *callee = self._pop(), self._pop(), self._pop()
        if type(argument) is not _TheNumber:
            raise _Cannot
        function: Any = next((one for one in callee if one is not None), None)
        if function is abs:
            self.stack.append(_TheNumber(True))
        elif id(function) in _MATH and type(self.number) is float:
            self.found.append(_MATH[id(function)])
            self.stack.append(function(self.number))
        else:
            raise _Cannot

    def _jump(self, name: str, target: int) -> None:
        if name in ("JUMP_FORWARD", "JUMP_BACKWARD"):
            self.at = target
            return
        if not name.startswith(("POP_JUMP", "JUMP_IF")) or name.endswith("NONE"):
            raise _Cannot
        value = self._plain()
        ahead = [(self.at, self.stack.copy()), (target, self.stack if name.startswith("POP") else [*self.stack, value])]
        taken = bool(value) is name.endswith(("IF_TRUE", "IF_TRUE_OR_POP"))
        if self.found:
            at, stack = ahead[not taken]
            self.leaks |= not _Run(self.code, self.frame, at, stack.copy(), self.number, self.read_at,
                                   beside=self).ends_without_it()
        self.at, self.stack = ahead[taken]
