"""PTX as data: the text of a module that Triton emits -> its functions, as lists of instructions.

    @%p1 ld.global.v2.b32 { %r1, %r2 }, [ %rd1 + 8 ];
    ->  Instruction(("ld", "global", "v2", "b32"), (("%r1", "%r2"), Address("%rd1", 8)), guard="%p1")

An operand is the name of a register, a variable or a label (str), an integer (the bits of a float, too), a tuple of
these, or an Address. What is for debuggers is dropped.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

Operand = "str | int | Address | tuple[Operand, ...]"


@dataclass(frozen=True)
class Address:
    """What stands in brackets: a register or a variable, or nothing, and what is added to it."""

    base: str | None
    offset: int


@dataclass(frozen=True)
class Instruction:
    """`parts`: of its name, between the dots. It runs where the predicate `guard` is true, or, `negated`, false."""

    parts: tuple[str, ...]
    operands: tuple[Operand, ...]
    text: str
    guard: str | None = None
    negated: bool = False


@dataclass(frozen=True)
class Function:
    """`labels`: the instructions that they stand before. `widths`: the bits of each register, of names that end in a
    number without that. `local`: the bytes that each thread has for itself. `threads`: of a block, of an entry."""

    name: str
    params: tuple[str, ...]
    code: tuple[Instruction, ...]
    labels: dict[str, int]
    widths: dict[str, int]
    local: int
    threads: int

    def width(self, x: str) -> int:
        """The bits of a register; 0 of what is none."""
        return self.widths.get(x) or self.widths.get(x.rstrip("0123456789"), 0)


@dataclass(frozen=True)
class Module:
    """The functions, the entry among them, and the bytes of constants."""

    functions: dict[str, Function]
    entry: Function
    constants: dict[str, bytes]


_FUNCTION = re.compile(r"^(?:\.visible )?\.(entry|func)([^{};]*)\{\n", re.MULTILINE)
_CONSTANT = re.compile(r"^\.global \.align \d+ \.b8 (\S+)\[(\d+)\](?: = \{(.*?)\})?;", re.MULTILINE)
_LABEL = re.compile(r"^([$\w]+):\s*")
_OPERANDS = re.compile(r"\{[^}]*\}|\[[^]]*\]|\([^)]*\)|[^,\s][^,]*")


def parse_module(text: str) -> Module:
    """The module of a text."""
    text = re.sub(r"//.*", "", text)
    text = re.sub(r"^\s*\.(?:loc|file|section|pragma)\b.*\n", "", text, flags=re.MULTILINE)
    functions, entry = {}, None
    for found in _FUNCTION.finditer(text):
        function = _function(found[2], text[found.end():_end(text, found.end())])
        functions[function.name] = function
        entry = function if found[1] == "entry" else entry
    assert entry
    constants = {name: bytes(map(int, values.split(",") if values else ())).ljust(int(size), b"\0")
                 for name, size, values in _CONSTANT.findall(text)}
    return Module(functions, entry, constants)


def _end(text: str, start: int) -> int:
    """Where the brace is closed that was opened before `start`."""
    depth = 1
    for brace in re.finditer("[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return start + brace.start()
    raise ValueError("a brace is not closed")


def _function(head: str, body: str) -> Function:
    found = re.match(r"\s*(?:\([^)]*\))?\s*([$\w]+)", head)
    threads = re.search(r"\.reqntid\s+(\d+)", head)
    assert found
    params = re.findall(r"\s([$\w]+)\s*(?:,|\))", head[found.end():])
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    widths: dict[str, int] = {}
    local = 0
    for statement in body.split(";"):
        statement = statement.strip()
        while statement:
            if label := _LABEL.match(statement):
                labels[label[1]] = len(code)
                statement = statement[label.end():].strip()
            elif statement[0] in "{}":
                statement = statement[1:].strip()
            else:
                break
        if statement.startswith(".reg"):
            _, type, names = statement.split(None, 2)
            width = 1 if type == ".pred" else int(re.sub(r"\D", "", type))
            widths |= {re.sub(r"<\d+>", "", name.strip()): width for name in names.split(",")}
        elif statement.startswith(".local"):
            local = int(statement.split("[")[1].rstrip("]"))
        elif statement and not statement.startswith("."):
            code.append(_instruction(statement))
    return Function(found[1], tuple(params), tuple(code), labels, widths, local, int(threads[1]) if threads else 0)


def _instruction(text: str) -> Instruction:
    text = " ".join(text.split())
    guard = re.match(r"@(!?)(\S+)\s+", text)
    name, _, rest = text[guard.end() if guard else 0:].partition(" ")
    operands = tuple(_operand(part.strip()) for part in _OPERANDS.findall(rest))
    return Instruction(tuple(name.split(".")), operands, text, guard[2] if guard else None, bool(guard and guard[1]))


def _operand(text: str) -> Operand:
    if text[0] in "{(":
        return tuple(_operand(part.strip()) for part in text[1:-1].split(",") if part.strip())
    if text[0] == "[":
        base, _, offset = text[1:-1].replace(" ", "").partition("+")
        return Address(None, int(base, 0)) if base[0].isdigit() else Address(base, int(offset or "0", 0))
    if "|" in text:
        return tuple(map(_operand, text.split("|")))
    if re.match(r"0[fFdD][0-9A-Fa-f]", text):
        return int(text[2:], 16)
    if re.match(r"-?\d", text):
        return int(text.rstrip("U"), 0)
    return text
