"""The few instructions that matter here, in one vocabulary for every version of CPython from 3.11 to 3.13.

    LOAD_GLOBAL 3 (NULL + model)          Step("global", "model", called=True)
    LOAD_FAST 0 (x)                  ->   Step("local", "x")
    PRECALL 1 / CALL 1                    Step("call")

Instructions that neither name anything nor end a straight line are left out.
"""
from __future__ import annotations

import dis
import sys
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


PLAIN = {kind: Step(kind) for kind in (*OPCODES, "other")}
"""The steps of which there is nothing to say but what they are."""


def steps(code: CodeType) -> list[Step]:
    """The instructions of `code` that matter, in order.

    Of an attribute of an imported module that is called, the mark of the call is on the module (3.11, 3.12) or comes
    after the attribute (3.13); here it is on the attribute.
    """
    names, constants, raw = code.co_names, code.co_consts, code.co_code
    found: list[Step] = []
    add = found.append
    extended = 0
    for opcode, low in zip(raw[::2], raw[1::2]):
        kind, arg = KINDS[opcode], low | extended
        extended = 0
        if kind in ("other", "call"):
            add(PLAIN[kind])
        elif kind == "nothing":
            extended = arg << 8 if opcode == EXTENDED_ARG else 0
        elif kind == "local":
            add(_of_local(code, arg))
        elif kind == "attribute":
            _add_attribute(found, opcode, arg, names)
        elif kind == "constant":
            add(Step(kind, constants[arg]))
            if opcode == RETURN_CONST:
                add(PLAIN["leave"])
        elif kind == "global":
            named = opcode == LOAD_GLOBAL
            add(Step(kind, names[arg >> 1 if named else arg], named and bool(arg & 1)))
        elif kind == "cell" or kind == "set cell":
            add(Step(kind, _local(code, arg)))
        elif kind == "set attribute" or kind == "import" or kind == "import from":
            add(Step(kind, names[arg]))
        elif kind == "compare":
            add(Step(kind, dis.cmp_op[arg >> COMPARE_SHIFT]))
        elif kind == "two locals":
            found += _of_local(code, arg >> 4), _of_local(code, arg & 15)
        elif kind == "store and local":
            found += PLAIN["other"], _of_local(code, arg & 15)
        elif kind == "format":
            add(PLAIN["format with spec" if arg & 4 and sys.version_info < (3, 13) else "format"])
        elif kind != "null":
            add(PLAIN[kind])
        elif sys.version_info >= (3, 13) and found and found[-1].kind == "attribute":
            found[-1] = found[-1]._replace(called=True)     # before 3.13 it stands in front of what is called
    return found


def _add_attribute(found: list[Step], opcode: int, arg: int, names: tuple[str, ...]) -> None:
    if opcode == LOAD_ATTR:
        step = Step("attribute", names[arg >> ATTR_SHIFT], bool(ATTR_SHIFT and arg & 1))
    elif opcode == LOAD_SUPER_ATTR:
        step = Step("attribute", names[arg >> 2], bool(arg & 1))
    else:
        step = Step("attribute", names[arg], True)
    last = found[-1] if found else None
    if last is not None and last.kind == "global" and last.called and not step.called:
        found[-1], step = last._replace(called=False), step._replace(called=True)
    found.append(step)


def _local(code: CodeType, number: int) -> str:
    name: str = code._varname_from_oparg(number)    # type: ignore[attr-defined]
    return name


def _of_local(code: CodeType, number: int) -> Step:
    """A local variable; from 3.13 on this loads the cell of a shared one too, to pass it on to a function."""
    name = _local(code, number)
    return PLAIN["other"] if name in code.co_cellvars or name in code.co_freevars else Step("local", name)
