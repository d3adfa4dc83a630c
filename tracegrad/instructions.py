"""The instructions of a function, in one vocabulary for every version of CPython from 3.11 to 3.13.

    PRECALL 1 / CALL 1                  CALL                    takes 3, puts 1
    STORE_FAST_LOAD_FAST (a, b)    ->   STORE_FAST a            takes 1
                                        LOAD_FAST b             puts 1
    POP_JUMP_IF_FALSE (to 44)           POP_JUMP_IF_FALSE       its target: the place of what stands at 44

1. What neither moves a value nor ends a straight line is left out.
2. `change` is known of every instruction, `takes` only where the tables have it.
3. tracegrad.purity.bytecode is another reader: it goes through all functions that a call may reach, for their names
   alone, and does without dis, which takes long.
"""
from __future__ import annotations

import dis
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

from codegen.ir.structs import struct


@struct(eq=False)
class Instruction:
    """`takes`: how many values it takes from the stack; `change`: how much higher that is then. `target`: the place in
    the listing of the one that it may jump to.
    """

    name: str
    offset: int
    value: Any
    arg: int
    change: int
    takes: int | None = None
    target: int | None = None

    @property
    def puts(self) -> int:
        """How many values are on the stack for those it takes."""
        return self.change + (self.takes or 0)


@struct(eq=False)
class Listing:
    """The instructions of a code object. `targets`: the places jumps go to; `handlers`: that of the handler of each."""

    instructions: tuple[Instruction, ...]
    targets: frozenset[int]
    handlers: dict[int, int]

    def place(self, offset: int) -> int:
        """That of the instruction which is running where a frame says `offset`, or is in its caches."""
        return max(k for k, one in enumerate(self.instructions) if one.offset <= offset)

    def start(self, at: int, values: int) -> int | None:
        """Where the upmost `values` values that there are before place `at` begin to be computed; None where jumps
        have a part in it.
        """
        height, k = values, at
        while height > 0:
            k -= 1
            if k < 0 or k + 1 in self.targets or self.instructions[k].target is not None:
                return None
            height -= self.instructions[k].change
        return k if height == 0 else None


BUILDS = ("BUILD_TUPLE", "BUILD_LIST", "BUILD_MAP", "BUILD_CONST_KEY_MAP")
"""Instructions whose result holds what they take."""

_TAKES = {"BINARY_OP": 2, "BINARY_SUBSCR": 2, "COMPARE_OP": 2, "CONTAINS_OP": 2, "IS_OP": 2, "UNARY_NEGATIVE": 1,
          "UNARY_NOT": 1, "UNARY_INVERT": 1, "TO_BOOL": 1, "LOAD_ATTR": 1, "LOAD_METHOD": 1, "LIST_EXTEND": 2,
          "POP_TOP": 1, "LOAD_FAST": 0, "STORE_FAST": 1, "LOAD_CONST": 0, "LOAD_GLOBAL": 0, "LOAD_DEREF": 0,
          "PUSH_NULL": 0}
_TAKES_BY_ARGUMENT: dict[str, Callable[[int], int]] = {
    "CALL": lambda n: n + 2, "COPY": lambda n: n, "SWAP": lambda n: n, "BUILD_TUPLE": lambda n: n,
    "BUILD_LIST": lambda n: n, "BUILD_MAP": lambda n: 2 * n, "BUILD_CONST_KEY_MAP": lambda n: n + 1}

_NOTHING = {"CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL", "KW_NAMES"}
_SEE_VARIABLES = {"locals", "vars", "dir", "eval", "exec", "_getframe", "currentframe", "breakpoint"}
_GENERATES = 0x20 | 0x80 | 0x200        # generators, coroutines, asynchronous generators
_JUMPS = {*dis.hasjrel, *dis.hasjabs}


def has_variables_alone(code: CodeType) -> bool:
    """Do nothing but its own instructions read its variables, in one go from the call to the return?"""
    return not code.co_flags & _GENERATES and _SEE_VARIABLES.isdisjoint(code.co_names)


@lru_cache(maxsize=256)
def listing(code: CodeType) -> Listing:
    """The instructions of `code`."""
    read = dis.Bytecode(code)
    found: list[tuple[dis.Instruction, str, Any]] = []
    first: dict[int, int] = {}              # places by offset
    names_keywords = False                  # does KW_NAMES, before 3.13, say so of the call to come?
    for one in read:
        first[one.offset] = len(found)
        names_keywords |= one.opname == "KW_NAMES"
        if one.opname == "CALL" and names_keywords:
            found.append((one, "CALL_KW", None))
            names_keywords = False
        elif one.opname not in _NOTHING:
            found += [(one, name, value) for name, value in _parts(one)]
    instructions = tuple(
        Instruction(name, one.offset, value, one.arg or 0, _change(one, name), _takes(one, name),
                    first[one.argval] if one.opcode in _JUMPS else None)
        for one, name, value in found)
    handlers = {k: first[entry.target]
                for entry in read.exception_entries         # type: ignore[attr-defined]
                for k in range(first[entry.start], first.get(entry.end, len(instructions)))}
    return Listing(instructions, frozenset(i.target for i in instructions if i.target is not None), handlers)


def _parts(one: dis.Instruction) -> list[tuple[str, Any]]:
    """Names and values of what the instruction does one after the other."""
    if isinstance(one.argval, tuple) and "_FAST_" in one.opname:
        return list(zip(one.opname.replace("_FAST_", "_FAST ").split(), one.argval))
    name = "LOAD_FAST" if one.opname == "LOAD_FAST_CHECK" else one.opname
    return [(name, one.argrepr if name == "BINARY_OP" else one.argval)]


def _takes(one: dis.Instruction, name: str) -> int | None:
    arg = one.arg or 0
    if name == "CALL_KW":
        return arg + 2 + (one.opname == name)           # from 3.13 on the names are on the stack
    return _TAKES_BY_ARGUMENT[name](arg) if name in _TAKES_BY_ARGUMENT else _TAKES.get(name)


def _change(one: dis.Instruction, name: str) -> int:
    if one.opname == "CALL":                            # in 3.11 PRECALL has a part of it
        return -(one.arg or 0) - 1
    if name in ("LOAD_FAST", "STORE_FAST"):             # it may be one of two
        return 1 if name == "LOAD_FAST" else -1
    return dis.stack_effect(one.opcode, one.arg, jump=False)
