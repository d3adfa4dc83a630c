"""Numbers that Python reads only to return them: an output of the path, not a way of it.

    def step(x, y):
        loss = ...
        value = loss.item()         read at the end of a CALL, stored in `value`
        opt.step()
        return value, len(x)        loaded once, put in a tuple that is returned: nothing can depend on it

1. Only a read in the traced function's own frame counts, and only if its bytecode shows where the number can go: into
   variables of the function that are loaded for nothing but to be returned, as such or in a tuple, a list or a dict.
2. What `item` gives then is a ReturnedNumber while the run is recorded; whoever gets the result gets the number.
"""
from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from codegen.ir.structs import struct
from tracegrad.lifted import plain
from tracegrad.tensors import Tensor


class ReturnedNumber:
    """Stands for the one element of `tensor`, `number`."""

    __slots__ = ("number", "tensor")

    def __init__(self, tensor: Tensor, number: bool | int | float | complex):
        self.tensor, self.number = tensor, number


def numbers_of(result: Any) -> Any:
    """The result of a run with numbers where they were stood for."""
    return plain(result, replace=lambda value: value.number if type(value) is ReturnedNumber else value)


def is_called_from(frame: FrameType, code: CodeType | None) -> bool:
    """Is it a frame of `code` that made `frame`?"""
    return code is not None and frame.f_back is not None and frame.f_back.f_code is code


def is_only_returned(frame: FrameType) -> bool:
    """Is the result of the call that `frame` is making used for nothing but as (a part of) what the frame returns?"""
    return _only_returned(frame.f_code, frame.f_lasti)


@struct
class _Step:
    """An instruction. `takes` and `puts`: how many values it takes from the stack, and puts there, where that is known;
    of a variable, its name; of what builds a container, `builds`.
    """

    name: str
    offset: int
    takes: int | None = None
    puts: int = 0
    variable: str | None = None
    builds: bool = False


_BUILDS = {"BUILD_TUPLE": lambda n: n, "BUILD_LIST": lambda n: n, "BUILD_MAP": lambda n: 2 * n,
           "BUILD_CONST_KEY_MAP": lambda n: n + 1}
"""Instructions whose result holds what they take, and how many values those are."""

_TAKES = {"BINARY_OP": 2, "BINARY_SUBSCR": 2, "COMPARE_OP": 2, "CONTAINS_OP": 2, "IS_OP": 2, "UNARY_NEGATIVE": 1,
          "UNARY_NOT": 1, "UNARY_INVERT": 1, "LOAD_ATTR": 1, "LOAD_METHOD": 1, "LIST_EXTEND": 2, "POP_TOP": 1,
          "LOAD_CONST": 0, "LOAD_GLOBAL": 0, "LOAD_DEREF": 0, "PUSH_NULL": 0}
"""Instructions of which dis tells how the stack grows, and what they take."""

_NOTHING = {"CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL", "KW_NAMES"}
SEES_VARIABLES = {"locals", "vars", "dir", "eval", "exec", "_getframe", "currentframe", "breakpoint"}
GENERATES = 0x20 | 0x80 | 0x200        # generators, coroutines, asynchronous generators
_RETURN = "return"                      # no name of a variable


@lru_cache(maxsize=1024)
def _only_returned(code: CodeType, offset: int) -> bool:
    if code.co_flags & GENERATES or not SEES_VARIABLES.isdisjoint(code.co_names):
        return False
    steps = _steps(code)
    at = max(k for k, step in enumerate(steps) if step.offset <= offset)    # it may be in the caches of the call
    ends = {_end(steps, at + 1)}
    known: set[str] = set()
    while ends:
        end = ends.pop()
        if end is None:
            return False
        if end == _RETURN or end in known:
            continue
        known.add(end)
        for k, step in enumerate(steps):
            if step.variable == end and step.name != "store":
                ends.add(_end(steps, k + 1) if step.name == "load" else None)
    return True


def _end(steps: list[_Step], k: int) -> str | None:
    """Where the value on top of the stack before step k goes: the name of a variable, or _RETURN; None if that cannot
    be told, or it is used for anything else.
    """
    above = 0                           # how many values are above it, or above what holds it
    for step in steps[k:]:
        if step.name == "RETURN_VALUE":
            return _RETURN if above == 0 else None
        if step.name == "store" and above == 0:
            return step.variable
        if step.takes is None or step.takes > above and not step.builds:
            return None
        above = max(above - step.takes, -1) + step.puts
    return None


def _steps(code: CodeType) -> list[_Step]:
    """The instructions of `code`; those of 3.13 that are two in one are two."""
    steps: list[_Step] = []
    for one in dis.get_instructions(code):
        name, arg = one.opname, one.arg or 0
        parts = name.split("_FAST")
        if len(parts) > 1 and parts[-1] in ("", "_CHECK") and {p.strip("_") for p in parts[:-1]} <= {"LOAD", "STORE"}:
            variables = one.argval if isinstance(one.argval, tuple) else (one.argval,)
            for part, variable in zip(parts, variables):
                loads = part.strip("_") == "LOAD"
                steps.append(_Step("load" if loads else "store", one.offset, 1 - loads, int(loads), variable))
        elif name in _BUILDS:
            steps.append(_Step(name, one.offset, _BUILDS[name](arg), 1, builds=True))
        elif name == "CALL":
            steps.append(_Step(name, one.offset, arg + 2, 1))
        elif name in _TAKES:
            takes = _TAKES[name]
            steps.append(_Step(name, one.offset, takes, takes + dis.stack_effect(one.opcode, one.arg)))
        elif name not in _NOTHING:
            variable = str(one.argval) if "FAST" in name and name != "DELETE_FAST" else None
            steps.append(_Step(name, one.offset, variable=variable))
    return steps
