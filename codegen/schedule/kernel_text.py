"""The text of Kernels, also their cache key: a printer and a parser that round-trip, `parse(print(k)) == k`.

    kernel    = "kernel" "(" [param ("," param)*] ")" ["given" INT] "{" ("for" axis ":")* pass* "}"
    param     = "b"K ":" DTYPE "[" size "]" ("in" | "out" | "inout")
    pass      = "pass" [axis ("," axis)*] ":" statement*
    axis      = NAME "<" size ["vector"] ["parallel" "grain" size] ["while" index "<" size]
    statement = "v"K "=" value | "store" place "v"K | ("scatter_add" | "scatter_set" | ..) place at "v"K
    value     = "const" LITERAL DTYPE | "position" index DTYPE | "load" place ["if" guard ("," guard)*]
              | "holds" "if" guard ("," guard)* | "gather" place at ["if" guard ("," guard)*] | "cast" "v"K DTYPE
              | "select" "v"K "v"K "v"K | "random" index "key" "v"K "counter" "v"K | "accumulate" KIND "v"K
              | "scan" OP "v"K+ | OP "v"K | OP "v"K "v"K
    place     = "b"K "[" index "]"       at = "at" "v"K "*" size "of" size     guard = size "<=" index "<" size
    index     = ["-"] product (("+" | "-") product)*       product = size | [size "*"] term
    size      = ["-"] INT | ["-"] [INT "*"] "n"K           a word that the kernel is given, a number of times
    term      = NAME | "(" operand ("//" | "%") size ")"   operand = NAME | "(" operand ... ")" | "(" index ")"

Line ends and indentation separate words and mean nothing else. The outer axes come first, a line for each; then the
passes, each with its own axes.
"""
from __future__ import annotations

import re
from typing import NoReturn, assert_never

from codegen.ir.dims import Dim, Size, symbol
from codegen.schedule.index import index_text
from codegen.schedule.kernel import (
    SCATTERS,
    Accumulate,
    Axis,
    Binary,
    Cast,
    Const,
    Gather,
    Holds,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Position,
    Quotient,
    RandomWord,
    Remainder,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Term,
    Unary,
    Within,
    makes_value,
)

# ---- printing ------------------------------------------------------------------------------------------------------


def print_kernel(kernel: Kernel) -> str:
    """The text of a kernel."""
    params = ", ".join(f"b{k}: {p.dtype}[{p.size}] {p.access}" for k, p in enumerate(kernel.params))
    lines = [f"kernel ({params}){f' given {kernel.words}' if kernel.words else ''} {{"]
    indent = "  "
    for k, axis in enumerate(kernel.axes):
        lines.append(f"{indent}for {_axis_text(axis, kernel.vector, kernel.grain if k == 0 else 0)}:")
        indent += "  "
    number = 0
    for one in kernel.passes:
        axes = ", ".join(_axis_text(axis, kernel.vector, 0) for axis in one.axes)
        lines.append(f"{indent}pass {axes}:" if axes else f"{indent}pass:")
        for s in one.body:
            name = f"v{number} = " if makes_value(s) else ""
            lines.append(f"{indent}  {name}{statement_text(s)}")
            number += makes_value(s)
    return "\n".join([*lines, "}"]) + "\n"


def _axis_text(axis: Axis, vector: str | None, grain: Size) -> str:
    words = [f"{axis.name} < {axis.extent}"]
    if axis.name == vector:
        words.append("vector")
    if grain:
        words.append(f"parallel grain {grain}")
    if axis.clip is not None:
        words.append(f"while {index_text(axis.clip[0])} < {axis.clip[1]}")
    return " ".join(words)


def statement_text(s: Statement) -> str:
    """The text of a statement, without the value it makes."""
    match s:
        case Const(literal, dtype):
            return f"const {literal} {dtype}"
        case Position(index, dtype):
            return f"position {index_text(index)} {dtype}"
        case Load(buffer, index, guards):
            return f"load b{buffer}[{index_text(index)}]{_guards_text(guards)}"
        case Holds(guards):
            return f"holds{_guards_text(guards)}"
        case Gather(buffer, base, k, stride, size, guards):
            return f"gather b{buffer}[{index_text(base)}] at v{k}*{stride} of {size}{_guards_text(guards)}"
        case Unary(op, x):
            return f"{op} v{x}"
        case Binary(op, x, y):
            return f"{op} v{x} v{y}"
        case Select(condition, x, y):
            return f"select v{condition} v{x} v{y}"
        case Cast(x, dtype):
            return f"cast v{x} {dtype}"
        case RandomWord(key, counter, index):
            return f"random {index_text(index)} key v{key} counter v{counter}"
        case Accumulate(kind, x):
            return f"accumulate {kind} v{x}"
        case Scan(op, args):
            return f"scan {op} {' '.join(f'v{x}' for x in args)}"
        case Store(buffer, index, x):
            return f"store b{buffer}[{index_text(index)}] v{x}"
        case Scatter(kind, buffer, base, k, stride, size, x):
            return f"scatter_{kind} b{buffer}[{index_text(base)}] at v{k}*{stride} of {size} v{x}"
        case _:
            assert_never(s)


def _guards_text(guards: tuple[Within, ...]) -> str:
    if not guards:
        return ""
    return " if " + ", ".join(f"{g.low} <= {index_text(g.index)} < {g.high}" for g in guards)


# ---- parsing -------------------------------------------------------------------------------------------------------


class KernelParseError(ValueError):
    """The text is no Kernel; the message says in which line."""


_WORD = re.compile(r"\s*(//|<=|[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\S)")


def parse_kernel(text: str) -> Kernel:
    """The Kernel that `text` is; KernelParseError if it is none. Indices are taken as they are written."""
    return _Parser(text).kernel()


class _Parser:
    def __init__(self, text: str):
        self.words: list[tuple[str, int]] = []
        for number, line in enumerate(text.splitlines(), 1):
            self.words += [(word, number) for word in _WORD.findall(line)]
        self.words.append(("end of the text", len(text.splitlines())))
        self.at = 0
        self.vector: str | None = None
        self.grain: Size = 0
        self.number = 0

    # words

    def fail(self, expected: str) -> NoReturn:
        word, line = self.words[self.at]
        raise KernelParseError(f"line {line}: expected {expected}, not {word!r}")

    def peek(self) -> str:
        return self.words[self.at][0]

    def accept(self, word: str) -> bool:
        if self.peek() != word:
            return False
        self.at += 1
        return True

    def mark(self, *words: str) -> None:
        for word in words:
            if not self.accept(word):
                self.fail(repr(word))

    def matched(self, pattern: str, what: str) -> str:
        word = self.peek()
        if not re.fullmatch(pattern, word):
            self.fail(what)
        self.at += 1
        return word

    def name(self) -> str:
        return self.matched("[A-Za-z_][A-Za-z0-9_]*", "a name")

    def integer(self) -> int:
        sign = -1 if self.accept("-") else 1
        return sign * int(self.matched(r"\d+", "an integer"))

    def size(self) -> Size:
        sign = -1 if self.accept("-") else 1
        if not self.peek().isdigit():
            return sign * self.word()
        factor = sign * self.integer()
        return factor * self.word() if self.accept("*") else factor

    def word(self) -> Dim:
        return symbol(self.matched(r"n\d+", "an integer"))

    def numbered(self, letter: str) -> int:
        return int(self.matched(letter + r"\d+", f"{letter} with a number")[1:])

    def value(self) -> int:
        return self.numbered("v")

    # a method for each rule of the grammar

    def kernel(self) -> Kernel:
        self.mark("kernel", "(")
        params: list[Param] = []
        while not self.accept(")"):
            if params:
                self.mark(",")
            self.mark(f"b{len(params)}", ":")
            dtype = self.name()
            self.mark("[")
            size = self.size()
            self.mark("]")
            params.append(Param(dtype, size, self.matched("in|out|inout", "in, out or inout")))
        words = self.integer() if self.accept("given") else 0
        self.mark("{")
        axes: list[Axis] = []
        while self.accept("for"):
            axes.append(self.axis())
            self.mark(":")
        passes: list[Pass] = []
        while self.accept("pass"):
            passes.append(self.one_pass())
        self.mark("}", "end of the text")
        return Kernel(tuple(params), tuple(axes), tuple(passes), self.vector, self.grain, words)

    def axis(self) -> Axis:
        name, clip = self.name(), None
        self.mark("<")
        extent = self.size()
        if self.vector in (None, name) and self.accept("vector"):
            self.vector = name
        if self.grain == 0 and self.accept("parallel"):
            self.mark("grain")
            self.grain = self.size()
        if self.accept("while"):
            index = self.index()
            self.mark("<")
            clip = (index, self.size())
        return Axis(name, extent, clip)

    def one_pass(self) -> Pass:
        axes: list[Axis] = []
        while not self.accept(":"):
            if axes:
                self.mark(",")
            axes.append(self.axis())
        body: list[Statement] = []
        while self.peek() not in ("pass", "}"):
            body.append(self.statement())
        return Pass(tuple(axes), tuple(body))

    def statement(self) -> Statement:
        if self.accept("store"):
            return Store(*self.place(), self.value())
        for kind in SCATTERS:
            if self.accept(f"scatter_{kind}"):
                (buffer, index), (k, stride, size) = self.place(), self.indexed()
                return Scatter(kind, buffer, index, k, stride, size, self.value())
        self.mark(f"v{self.number}", "=")
        self.number += 1
        op = self.name()
        match op:
            case "const":
                return Const(self.literal(), self.name())
            case "position":
                return Position(self.index(), self.name())
            case "load":
                return Load(*self.place(), self.guards())
            case "holds":
                return Holds(self.guards())
            case "gather":
                (buffer, index), (k, stride, size) = self.place(), self.indexed()
                return Gather(buffer, index, k, stride, size, self.guards())
            case "cast":
                return Cast(self.value(), self.name())
            case "select":
                return Select(self.value(), self.value(), self.value())
            case "accumulate":
                return Accumulate(self.name(), self.value())
            case "scan":
                return Scan(self.name(), self.values())
            case "random":
                index = self.index()
                self.mark("key")
                key = self.value()
                self.mark("counter")
                return RandomWord(key, self.value(), index)
        match self.values():
            case (x,):
                return Unary(op, x)
            case (x, y):
                return Binary(op, x, y)
        self.fail("one value or two")

    def values(self) -> tuple[int, ...]:
        """Values, one or more, up to what is none or begins another statement."""
        found = [self.value()]
        while re.fullmatch(r"v\d+", self.peek()) and self.words[self.at + 1][0] != "=":
            found.append(self.value())
        return tuple(found)

    def literal(self) -> str:
        sign = "-" if self.accept("-") else ""
        return sign + self.matched(r"true|false|nan|inf|\d+(\.\d+)?(e[+-]?\d+)?", "a number, true or false")

    def place(self) -> tuple[int, Index]:
        buffer = self.numbered("b")
        self.mark("[")
        index = self.index()
        self.mark("]")
        return buffer, index

    def indexed(self) -> tuple[int, Size, Size]:
        self.mark("at")
        k = self.value()
        self.mark("*")
        stride = self.size()
        self.mark("of")
        return k, stride, self.size()

    def guards(self) -> tuple[Within, ...]:
        guards: list[Within] = []
        while self.accept("," if guards else "if"):
            low = self.size()
            self.mark("<=")
            index = self.index()
            self.mark("<")
            guards.append(Within(index, low, self.size()))
        return tuple(guards)

    def index(self) -> Index:
        terms: list[tuple[Term, Size]] = []
        constant: Size = 0
        sign = -1 if self.accept("-") else 1
        while True:
            factor: Size = sign
            ends = False
            while not ends and (self.peek().isdigit() or re.fullmatch(r"n\d+", self.peek())):
                factor = factor * (self.integer() if self.peek().isdigit() else self.word())
                ends = not self.accept("*")
            if ends:
                constant = constant + factor
            else:
                terms.append((self.term(), factor))
            if self.accept("+"):
                sign = 1
            elif self.accept("-"):
                sign = -1
            else:
                return Index(tuple(terms), constant)

    def term(self) -> Term:
        if not self.accept("("):
            return self.name()
        if self.accept("("):
            self.at -= 1
            inner = self.parenthesized()
        else:
            inner = Index(((self.name(), 1),))
        divides = self.accept("//")
        if not divides:
            self.mark("%")
        divisor = self.size()
        self.mark(")")
        return Quotient(inner, divisor) if divides else Remainder(inner, divisor)

    def parenthesized(self) -> Index:
        """An operand in parentheses: a term that is a quotient or remainder, or a sum."""
        start = self.at
        self.mark("(")
        inner = self.index()
        if self.accept(")"):
            return inner
        self.at = start
        return Index(((self.term(), 1),))
