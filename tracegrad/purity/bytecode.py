"""The few instructions that matter here, in one vocabulary for every version of CPython from 3.11 to 3.13.

    LOAD_GLOBAL 3 (NULL + model)          Step("global", "model", called=True)
    LOAD_FAST 0 (x)                  ->   Step("local", "x")
    PRECALL 1 / CALL 1                    Step("call")

Instructions that neither name anything nor end a straight line are left out.
"""
from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One instruction. `called`: a name that is loaded to be called at once."""

    kind: str
    value: Any = None
    called: bool = False


OPCODES = {
    "global": ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"),
    "attribute": ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"),
    "set attribute": ("STORE_ATTR", "DELETE_ATTR"),
    "import": ("IMPORT_NAME",),
    "import from": ("IMPORT_FROM",),
    "local": ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR"),
    "two locals": ("LOAD_FAST_LOAD_FAST",),
    "store and local": ("STORE_FAST_LOAD_FAST",),
    "cell": ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"),
    "set cell": ("STORE_DEREF", "DELETE_DEREF"),
    "constant": ("LOAD_CONST", "RETURN_CONST"),
    "format": ("FORMAT_VALUE", "FORMAT_SIMPLE", "CONVERT_VALUE"),
    "format with spec": ("FORMAT_WITH_SPEC",),
    "compare": ("COMPARE_OP",),
    "contains": ("CONTAINS_OP",),
    "is": ("IS_OP",),
    "match class": ("MATCH_CLASS",),
    "set": ("BUILD_SET", "SET_ADD", "SET_UPDATE"),
    "subscript": ("BINARY_SUBSCR",),
    "call": ("CALL", "CALL_KW", "CALL_FUNCTION_EX"),
    "raise": ("RAISE_VARARGS",),
    "caught": ("PUSH_EXC_INFO",),
    "leave with": ("WITH_EXCEPT_START",),
    "leave": ("RETURN_VALUE", "RETURN_CONST", "RETURN_GENERATOR", "YIELD_VALUE", "FOR_ITER", "SEND"),
    "null": ("PUSH_NULL",),
    "nothing": ("CACHE", "NOP", "RESUME", "PRECALL", "KW_NAMES", "EXTENDED_ARG", "MAKE_CELL",
                "COPY_FREE_VARS"),
}
KINDS = ["other"] * 256
for _kind, _names in OPCODES.items():
    for _name in _names:
        if dis.opmap.get(_name, 256) < 256:     # 3.12 lists instructions that only the compiler knows, beyond a byte
            KINDS[dis.opmap[_name]] = _kind
for _opcode in (*dis.hasjrel, *dis.hasjabs):
    if _opcode < 256 and KINDS[_opcode] == "other":
        KINDS[_opcode] = "leave"

EXTENDED_ARG, LOAD_GLOBAL = dis.opmap["EXTENDED_ARG"], dis.opmap["LOAD_GLOBAL"]
LOAD_ATTR, LOAD_METHOD = dis.opmap["LOAD_ATTR"], dis.opmap.get("LOAD_METHOD")
LOAD_SUPER_ATTR, RETURN_CONST = dis.opmap.get("LOAD_SUPER_ATTR"), dis.opmap.get("RETURN_CONST")
ATTR_SHIFT = 0 if sys.version_info < (3, 12) else 1             # how many low bits of LOAD_ATTR are flags
COMPARE_SHIFT = {11: 0, 12: 4}.get(sys.version_info[1], 5)      # the same of COMPARE_OP

LEAVING = frozenset(dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST", "RETURN_GENERATOR", "YIELD_VALUE")
                    if name in dis.opmap)
"""Opcodes at which a frame is left other than by an exception."""


def steps(code: CodeType) -> list[Step]:
    """The instructions of `code` that matter, in order.

    Of an attribute of an imported module that is called, the mark of the call is on the module (3.11, 3.12) or comes
    after the attribute (3.13); here it is on the attribute.
    """
    found: list[Step] = []
    for step in _steps(code):
        last = found[-1] if found else None
        if step.kind == "null":
            if last is not None and last.kind == "attribute":
                found[-1] = last._replace(called=True)
            continue
        if last is not None and last.kind == "global" and last.called and step.kind == "attribute" and not step.called:
            found[-1], step = last._replace(called=False), step._replace(called=True)
        found.append(step)
    return found


def _local(code: CodeType, number: int) -> str:
    name: str = code._varname_from_oparg(number)    # type: ignore[attr-defined]
    return name


def _of_local(code: CodeType, number: int) -> Step:
    """A local variable; from 3.13 on this loads the cell of a shared one too, to pass it on to a function."""
    name = _local(code, number)
    return Step("other") if name in code.co_cellvars or name in code.co_freevars else Step("local", name)


def _steps(code: CodeType) -> Iterator[Step]:
    names, constants, raw, extended = code.co_names, code.co_consts, code.co_code, 0
    for k in range(0, len(raw), 2):
        opcode, arg = raw[k], raw[k + 1] | extended
        extended = arg << 8 if opcode == EXTENDED_ARG else 0
        kind = KINDS[opcode]
        match kind:
            case "nothing":
                continue
            case "null":
                if sys.version_info >= (3, 13):         # before, it stands in front of what is called
                    yield Step(kind)
            case "global" if opcode == LOAD_GLOBAL:
                yield Step(kind, names[arg >> 1], bool(arg & 1))
            case "attribute" if opcode == LOAD_ATTR:
                yield Step(kind, names[arg >> ATTR_SHIFT], bool(ATTR_SHIFT and arg & 1))
            case "attribute" if opcode == LOAD_SUPER_ATTR:
                yield Step(kind, names[arg >> 2], bool(arg & 1))
            case "attribute":
                yield Step(kind, names[arg], True)
            case "global" | "set attribute" | "import" | "import from":
                yield Step(kind, names[arg])
            case "cell" | "set cell":
                yield Step(kind, _local(code, arg))
            case "local":
                yield _of_local(code, arg)
            case "two locals":
                yield _of_local(code, arg >> 4)
                yield _of_local(code, arg & 15)
            case "store and local":
                yield Step("other")
                yield _of_local(code, arg & 15)
            case "constant":
                yield Step(kind, constants[arg])
                if opcode == RETURN_CONST:
                    yield Step("leave")
            case "format":
                yield Step("format with spec" if arg & 4 and sys.version_info < (3, 13) else "format")
            case "compare":
                yield Step(kind, dis.cmp_op[arg >> COMPARE_SHIFT])
            case _:
                yield Step(kind)
