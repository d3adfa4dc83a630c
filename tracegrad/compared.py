"""Numbers that Python reads only to compare them: how the comparison ends is a way of the path, not which number it is.

    for _ in range(50):
        err = abs(fx.item())        read at the end of a CALL, made positive, stored in `err`
        if err < tol:               loaded for a comparison with what the frame knows, and from here on for nothing
            break

1. Whether it is recorded so does not depend on how the comparisons end: all ways from them are looked at, or else paths
   that begin alike would not be one tree.
2. The bytecode after the read is run here, with the frame's own variables, as far as it does nothing but move values,
   compute with plain numbers, compare and jump. There the number must be out of reach: not on the stack, nor in a
   variable that may be loaded again, by a handler of exceptions neither.
3. Nothing is changed by it: Python gets the number and runs the same instructions.
4. What the number is compared with follows from what is guarded and what was read before, like all that Python knows.
"""
from __future__ import annotations

import builtins
import dis
import math
import operator
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FrameType, ModuleType
from typing import Any

from codegen.ir.structs import struct
from tracegrad.returned import GENERATES, SEES_VARIABLES

SIGNS: dict[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    "<": ("lt", operator.lt, ">"), "<=": ("le", operator.le, ">="), ">": ("gt", operator.gt, "<"),
    ">=": ("ge", operator.ge, "<="), "==": ("eq", operator.eq, "=="), "!=": ("ne", operator.ne, "!=")}
"""Of each comparison the operation, what Python does, and its sign with the sides exchanged."""

MOST_STEPS = 500


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
    code = frame.f_code
    if code.co_flags & GENERATES or not SEES_VARIABLES.isdisjoint(code.co_names):
        return ()
    program = _program(code)
    at = max(k for k, step in enumerate(program.steps) if step.offset <= frame.f_lasti)
    if program.steps[at].name != "CALL" or not _calls(program, frame, at, read):
        return ()
    run = _Run(program, frame, at + 1, [_TheNumber()], number)
    return tuple(run.found) if run.ends_without_it() else ()


@struct(eq=False)
class _Step:
    """An instruction. `change`: how much higher the stack is after it. `target`: the step it may jump to."""

    name: str
    offset: int
    value: Any
    arg: int
    change: int
    target: int | None


@struct(eq=False)
class _Program:
    """The instructions of a code object, those of 3.13 that are two in one as two. `handlers`: of each step."""

    steps: tuple[_Step, ...]
    targets: frozenset[int]
    handlers: dict[int, int]


_NOTHING = {"CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL"}


@lru_cache(maxsize=256)
def _program(code: CodeType) -> _Program:
    found = dis.Bytecode(code)
    split: list[tuple[dis.Instruction, str, Any, int]] = []     # with how they change the height of the stack
    first: dict[int, int] = {}                                  # by offset
    for one in found:
        first[one.offset] = len(split)
        parts = one.opname.split("_FAST_")
        if len(parts) == 2 and parts[0] in ("LOAD", "STORE") and parts[1] in ("LOAD_FAST", "STORE_FAST"):
            for name, variable in zip((f"{parts[0]}_FAST", parts[1]), one.argval):
                split.append((one, name, variable, 1 if name == "LOAD_FAST" else -1))
        elif one.opname not in _NOTHING:
            takes_all = one.opname == "CALL"                    # in 3.11 PRECALL has a part of it
            change = -(one.arg or 0) - 1 if takes_all else dis.stack_effect(one.opcode, one.arg, jump=False)
            split.append((one, one.opname, one.argrepr if one.opname == "BINARY_OP" else one.argval, change))
    jumps = {*dis.hasjrel, *dis.hasjabs}
    steps = tuple(_Step(name, one.offset, value, one.arg or 0, change, first[value] if one.opcode in jumps else None)
                  for one, name, value, change in split)
    entries = found.exception_entries       # type: ignore[attr-defined]
    handler = {k: first[entry.target] for entry in entries for k, step in enumerate(steps)
               if entry.start <= step.offset < entry.end}
    return _Program(steps, frozenset(s.target for s in steps if s.target is not None), handler)


def _start(program: _Program, at: int, values: int) -> int | None:
    """The step that begins to compute the upmost `values` values there are before step `at`; None where jumps do it."""
    height, k = values, at
    while height > 0:
        k -= 1
        if k < 0 or k + 1 in program.targets or program.steps[k].target is not None:
            return None
        height -= program.steps[k].change
    return k if height == 0 else None


def _calls(program: _Program, frame: FrameType, at: int, name: str) -> bool:
    """Does the CALL at `at` call the builtin, or the method `item`, of that name with what it takes?"""
    call, before = program.steps[at], program.steps[at - 1]
    if name == "item":
        return call.arg == 0 and before.name in ("LOAD_METHOD", "LOAD_ATTR") and before.value == name
    k = _start(program, at, 3)
    callee = None if k is None else program.steps[k]
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


_BELOW = object()
"""Stands for what was on the stack before the number."""

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod}
_MATH = {id(math.isnan): Comparison("<=", math.inf, True), id(math.isinf): Comparison("==", math.inf, True),
         id(math.isfinite): Comparison("<", math.inf, True)}
"""Functions of `math` that tell as much of a number as a comparison does, by id."""

_AS_BEFORE = {"LOAD_FAST", "LOAD_CONST", "BINARY_OP", "UNARY_NEGATIVE"}
"""Steps that give what they would have given before other functions ran."""


class _Run:
    """A run of the steps from `at` on, as far as they are understood: what it has on the stack and in variables."""

    def __init__(self, program: _Program, frame: FrameType, at: int, stack: list[Any], number: int | float,
                 end: int | None = None, beside: _Run | None = None):
        self.program, self.frame, self.at, self.stack, self.number = program, frame, at, stack, number
        self.variables: dict[str, Any] = {} if beside is None else beside.variables.copy()
        self.found: list[Comparison] = [] if beside is None else beside.found.copy()
        self.steps: Iterator[int] = iter(range(MOST_STEPS)) if beside is None else beside.steps
        self.leaks = False                  # could the number be used, had a comparison ended otherwise?
        if beside is not None and self.ends_without_it():
            return
        for _ in self.steps:
            if self.at == end:
                break
            before, self.at = self.stack.copy(), self.at + 1
            try:
                self._do(program.steps[self.at - 1])
            except (_Cannot, ArithmeticError, LookupError, TypeError):
                self.stack, self.at = before, self.at - 1
                break

    def ends_without_it(self) -> bool:
        """Is the number out of reach where the run stopped, and where it had if comparisons had ended otherwise?"""
        return not self.leaks and not any(type(value) is _TheNumber for value in self.stack) and not any(
            type(value) is _TheNumber and self._may_load(name) for name, value in self.variables.items())

    def _may_load(self, name: str) -> bool:
        """May a step that can come now load this variable, before one stores another value there?"""
        steps, ahead, seen = self.program.steps, [self.at], set[int]()
        while ahead:
            k = ahead.pop()
            if k in seen or k == len(steps):
                continue
            seen.add(k)
            step = steps[k]
            if "FAST" in step.name and step.value == name:
                if step.name not in ("STORE_FAST", "DELETE_FAST"):
                    return True
                continue
            ahead += [next for next in (step.target, self.program.handlers.get(k)) if next is not None]
            if not step.name.startswith(("RETURN", "RAISE", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD")):
                ahead.append(k + 1)
        return False

    def _pop(self) -> Any:
        return self.stack.pop() if self.stack else _BELOW

    def _plain(self) -> Any:
        """The plain number on top."""
        value = self._pop()
        if type(value) not in (int, float, bool):
            raise _Cannot
        return value

    def _do(self, step: _Step) -> None:
        name, value = step.name, step.value
        if name in ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_DEREF"):
            self.stack.append(self.variables[value] if value in self.variables else self.frame.f_locals[value])
        elif name == "LOAD_CONST":
            self.stack.append(value)
        elif name == "LOAD_GLOBAL":
            self.stack += [None, _global(self.frame, value)][-step.change:]
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            self._load_attribute(value, step.change)
        elif name == "PUSH_NULL":
            self.stack.append(None)
        elif name == "STORE_FAST":
            self.variables[value] = self._pop()
        elif name == "POP_TOP":
            self._pop()
        elif name == "COPY":
            self.stack.append(self.stack[-step.arg])
        elif name == "SWAP":
            self.stack[-1], self.stack[-step.arg] = self.stack[-step.arg], self.stack[-1]
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
        elif name == "CALL" and step.arg == 1:
            self._call()
        elif step.target is not None:
            self._jump(name, step.target)
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
        right = self._pop()
        left = self._pop() if self.stack else self._before(self.at - 1)
        if type(left) is _TheNumber:
            self._find(left, sign, right)
        elif type(right) is _TheNumber:
            self._find(right, SIGNS[sign][2], left)
        elif {type(left), type(right)} <= {int, float, bool}:
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

    def _before(self, at: int) -> Any:
        """The left side of the comparison at `at`, which was computed before the number was read."""
        program, steps = self.program, self.program.steps
        right = _start(program, at, 1)
        left = None if right is None else _start(program, right, 1)
        if (right is None or left is None or any(step.name.startswith("STORE") for step in steps[left:at])
                or not {step.name for step in steps[left:right]} <= _AS_BEFORE):
            raise _Cannot
        run = _Run(program, self.frame, left, [], 0, right)
        if run.at != right:
            raise _Cannot
        return run._plain()

    def _call(self) -> None:
        """A function of one argument, which is the number."""
        argument, *callee = self._pop(), self._pop(), self._pop()
        if type(argument) is not _TheNumber:
            raise _Cannot
        function: Any = next((one for one in callee if one is not None), None)
        if function is _BELOW:
            function = self._callee()
        if function is abs:
            self.stack.append(_TheNumber(True))
        elif id(function) in _MATH and type(self.number) is float:
            self.found.append(_MATH[id(function)])
            self.stack.append(function(self.number))
        else:
            raise _Cannot

    def _callee(self) -> Any:
        """The function that the call takes, where it was loaded before the number was read."""
        argument = _start(self.program, self.at - 1, 1)
        start = None if argument is None else _start(self.program, argument, 2)
        if start is None:
            raise _Cannot
        run = _Run(self.program, self.frame, start, [], 0, argument)
        if run.at != argument:
            raise _Cannot
        return next((value for value in run.stack if value is not None), None)

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
            self.leaks |= not _Run(self.program, self.frame, at, stack.copy(), self.number,
                                   beside=self).ends_without_it()
        self.at, self.stack = ahead[taken]
