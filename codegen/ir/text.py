"""The text of Graphs and Programs: a printer and a parser that round-trip, `parse(print_graph(g)) == g`.

    graph      = "graph" NAME "(" inputs ")" "{" node* "return" values "}"
    program    = "program" NAME "{" block* "}"
    block      = "block"K "(" inputs ")" ":" node* terminator
    inputs     = ["%0" ":" type ("," "%1" ":" type)*]
    node       = %K "=" OP values (ATTR "=" attr)* ":" type source
    terminator = ("return" values | "branch" %K "->" target "," target
                 | "switch" %K "{" [INT ":" target ("," INT ":" target)*] "}" "," target | "jump" target) source
    target     = "exit"K | "block"K "(" values ")"
    type       = DTYPE "[" [size ("," size)*] "]"
    size       = ["-"] factor (("+" | "-") factor)*      factor = INT | [INT "*"] symbol
    symbol     = NAME | "(" size [("*" | "//") size] ")"
    source     = ["@" the rest of the line]

Space and line ends separate words and mean nothing else. A comment goes from `#`, at the start of a line or after
space, to the end of the line. The parser knows the ops and their attrs, which it takes in any order, and refuses
numbers that are not dense; what else can be wrong is the verifier's to say.
"""
from __future__ import annotations

import marshal
import re
from collections.abc import Iterable

from codegen.ir.dims import Derived, Dim, Size, symbol
from codegen.ir.graph import Attr, Graph, Node
from codegen.ir.ops import OPS
from codegen.ir.program import Block, Branch, Exit, Goto, Jump, Program, Return, Switch, Target, Terminator
from codegen.ir.scanner import Scanner
from codegen.ir.tree import Tree
from codegen.ir.types import DTYPES, TensorType

# ---- printing --------------------------------------------------------------------------------------------------------


def print_graph(graph: Graph, lines: bool = True) -> str:
    """The text of `graph`; without the source lines on request, which makes equal graphs have equal texts."""
    head = f"graph {graph.name}({_inputs_text(graph.inputs)}) {{"
    body = _nodes_text(len(graph.inputs), graph.nodes)
    body.append((f"return {_values_text(graph.outputs)}".rstrip(), None))
    return "\n".join([head, *_with_sources(body, "  ", lines), "}"]) + "\n"


def print_program(program: Program, lines: bool = True) -> str:
    """The text of `program`."""
    text = [f"program {program.name} {{"]
    for number, block in enumerate(program.blocks):
        text.append(f"  block{number}({_inputs_text(block.inputs)}):")
        body = _nodes_text(len(block.inputs), block.nodes)
        body.append((terminator_text(block.terminator), block.terminator.line))
        text += _with_sources(body, "    ", lines)
    return "\n".join([*text, "}"]) + "\n"


def content_of(tree: Tree) -> bytes:
    """What trees share if and only if they are the same but for their name and source lines. Nothing reads it: it is
    what a tree is known by, and made quickly."""
    parts: list[object] = [[(type.dtype, type.shape) for type in tree.inputs]]
    for block in tree.blocks:
        nodes = [(node.op, node.args, node.attrs, node.type.dtype, node.type.shape) for node in block.nodes]
        parts += [block.first, nodes, terminator_text(block.terminator)]
    try:
        return b"marshal" + marshal.dumps(parts, _WITHOUT_IDENTITY)
    except ValueError:              # sizes that are symbols
        return b"repr" + repr(parts).encode()


_WITHOUT_IDENTITY = 2
"""The last version of marshal that writes equal values alike, whatever of them is one object."""


def node_text(value: int, node: Node) -> str:
    """The text of the node that makes value `value`, without its source line."""
    words = [f"%{value} = {node.op}"]
    if node.args:
        words.append(_values_text(node.args))
    words += [f"{name}={_attr_text(attr)}" for name, attr in node.attrs]
    return f"{' '.join(words)} : {node.type}"


def terminator_text(terminator: Terminator) -> str:
    """The text of a terminator, without its source line."""
    match terminator:
        case Return(values):
            return f"return {_values_text(values)}".rstrip()
        case Branch(predicate, then, else_):
            return f"branch %{predicate} -> {_target_text(then)}, {_target_text(else_)}"
        case Switch(value, cases, default):
            inside = ", ".join(f"{number}: {_target_text(target)}" for number, target in cases)
            return f"switch %{value} {{{inside}}}, {_target_text(default)}"
        case Jump(target):
            return f"jump {_target_text(target)}"


def _with_sources(body: list[tuple[str, str | None]], indent: str, lines: bool) -> Iterable[str]:
    width = min(max(len(text) for text, _ in body), 72)
    for text, line in body:
        yield f"{indent}{text:<{width}}  @ {line}" if line and lines else indent + text


def _nodes_text(first: int, nodes: tuple[Node, ...]) -> list[tuple[str, str | None]]:
    return [(node_text(value, node), node.line) for value, node in enumerate(nodes, first)]


def _inputs_text(inputs: tuple[TensorType, ...]) -> str:
    return ", ".join(f"%{value}: {type}" for value, type in enumerate(inputs))


def _values_text(values: Iterable[int]) -> str:
    return ", ".join(f"%{value}" for value in values)


def _target_text(target: Target) -> str:
    match target:
        case Exit(number):
            return f"exit{number}"
        case Goto(block, args):
            return f"block{block}({_values_text(args)})"


def _attr_text(attr: Attr) -> str:
    match attr:
        case bool():
            return "true" if attr else "false"
        case tuple():
            return f"[{','.join(map(str, attr))}]"
        case _:
            return str(attr)


# ---- parsing ---------------------------------------------------------------------------------------------------------


def parse(text: str) -> Graph | Program:
    """The Graph or Program that `text` is; ParseError if it is none."""
    parser = _Parser(text)
    kind = parser.take(_WORD, "'graph' or 'program'")
    if kind not in ("graph", "program"):
        parser.fail("expected 'graph' or 'program'", parser.start)
    result = parser.graph() if kind == "graph" else parser.program()
    if parser.at < len(text):
        parser.fail("expected the end of the text")
    return result


_NAME = re.compile(r"[^\s(){}#]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INT = re.compile(r"-?\d+")
_NATURAL = re.compile(r"\d+")
_VALUE = re.compile(r"%(\d+)")
_BLOCK = re.compile(r"block(\d+)")
_EXIT = re.compile(r"exit(\d+)")
_NUMBER = r"(?:nan|inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_LITERAL = re.compile(rf"true|false|-?{_NUMBER}(?:[+-]{_NUMBER}j)?")
_SOURCE = re.compile(r"@[ \t]*([^\n]*?)(?=\s+#|\s*$)", re.MULTILINE)


class _Parser(Scanner):
    """One method for each rule of the grammar."""

    def graph(self) -> Graph:
        name = self.take(_NAME, "the name of the graph")
        inputs = self.inputs()
        self.mark("{")
        nodes, word = self.nodes(len(inputs))
        if word != "return":
            self.fail("expected 'return'", self.start)
        outputs = self.values()
        self.mark("}")
        return Graph(name, inputs, nodes, outputs)

    def program(self) -> Program:
        name = self.take(_NAME, "the name of the program")
        self.mark("{")
        blocks: list[Block] = []
        while (number := self.accept(_BLOCK)) is not None:
            if int(number) != len(blocks):
                self.fail(f"expected block{len(blocks)}", self.start)
            inputs = self.inputs()
            self.mark(":")
            nodes, word = self.nodes(len(inputs))
            blocks.append(Block(inputs, nodes, self.terminator(word)))
        self.mark("}")
        return Program(name, tuple(blocks))

    def inputs(self) -> tuple[TensorType, ...]:
        """Types in parentheses, each after its number."""
        self.mark("(")
        found: list[TensorType] = []

        def item() -> None:
            self.dense(len(found))
            self.mark(":")
            found.append(self.type())

        self.listed(item, ")")
        return tuple(found)

    def nodes(self, first: int) -> tuple[tuple[Node, ...], str]:
        """Nodes, and the word that comes after them."""
        nodes: list[Node] = []
        while self.text.startswith("%", self.at):
            self.dense(first + len(nodes))
            self.mark("=")
            nodes.append(self.node())
        return tuple(nodes), self.take(_WORD, "a node or the end of the block")

    def dense(self, expected: int) -> None:
        if self.take(_VALUE, f"%{expected}") != str(expected):
            self.fail(f"expected %{expected}", self.start)

    def node(self) -> Node:
        op = self.take(_WORD, "an op")
        if op not in OPS:
            self.fail(f"there is no op {op}", self.start)
        args = self.values()
        kinds = dict(OPS[op].attrs)
        attrs: dict[str, Attr] = {}
        while (name := self.accept(_WORD)) is not None:
            if name not in kinds or name in attrs:
                self.fail(f"{op} has no attr {name}" if name not in kinds else f"attr {name} twice", self.start)
            self.mark("=")
            attrs[name] = self.attr(kinds[name])
        missing = [name for name in kinds if name not in attrs]
        if missing:
            self.fail(f"{op} needs the attr {missing[0]}")
        self.mark(":")
        type = self.type()
        return Node(op, args, tuple((name, attrs[name]) for name in kinds), type, self.source())

    def attr(self, kind: str) -> Attr:
        match kind:
            case "int":
                return self.integer()
            case "ints":
                self.mark("[")
                return self.listed(self.integer, "]")
            case "dims":
                self.mark("[")
                return self.listed(self.size, "]")
            case "flag":
                flag = self.take(_WORD, "true or false")
                if flag not in ("true", "false"):
                    self.fail("expected true or false", self.start)
                return flag == "true"
            case "dtype":
                return self.dtype()
            case "literal":
                return self.take(_LITERAL, "a number, true or false")
            case _:
                raise KeyError(kind)

    def terminator(self, word: str) -> Terminator:
        match word:
            case "return":
                values = self.values()
                return Return(values, self.source())
            case "branch":
                predicate = self.value()
                self.mark("->")
                then = self.target()
                self.mark(",")
                else_ = self.target()
                return Branch(predicate, then, else_, self.source())
            case "switch":
                value = self.value()
                self.mark("{")
                cases = self.listed(self.case, "}")
                self.mark(",")
                default = self.target()
                return Switch(value, cases, default, self.source())
            case "jump":
                target = self.target()
                return Jump(target, self.source())
            case _:
                self.fail("expected return, branch, switch or jump", self.start)

    def case(self) -> tuple[int, Target]:
        number = self.integer()
        self.mark(":")
        return number, self.target()

    def target(self) -> Target:
        number = self.accept(_EXIT)
        if number is not None:
            return Exit(int(number))
        block = int(self.take(_BLOCK, "a block or an exit"))
        self.mark("(")
        return Goto(block, self.listed(self.value, ")"))

    def source(self) -> str | None:
        return self.accept(_SOURCE) or None

    def values(self) -> tuple[int, ...]:
        if not self.text.startswith("%", self.at):
            return ()
        values = [self.value()]
        while self.accept_mark(","):
            values.append(self.value())
        return tuple(values)

    def value(self) -> int:
        return int(self.take(_VALUE, "a value such as %0"))

    def integer(self) -> int:
        return int(self.take(_INT, "an integer"))

    def dtype(self) -> str:
        dtype = self.take(_WORD, "a dtype")
        if dtype not in DTYPES:
            self.fail(f"there is no dtype {dtype}", self.start)
        return dtype

    def type(self) -> TensorType:
        dtype = self.dtype()
        self.mark("[")
        return TensorType(dtype, self.listed(self.size, "]"))

    def size(self) -> Size:
        sign = -1 if self.accept_mark("-") else 1
        total = self.factor() * sign
        while (plus := self.accept_mark("+")) or self.accept_mark("-"):
            total += self.factor() if plus else -self.factor()
        return total

    def factor(self) -> Size:
        number = self.accept(_NATURAL)
        if number is None:
            return self.symbol()
        return int(number) * self.symbol() if self.accept_mark("*") else int(number)

    def symbol(self) -> Size:
        """A name, a derived symbol in its parentheses, or a size in parentheses."""
        if not self.accept_mark("("):
            return symbol(self.take(_WORD, "a size"))
        left = self.size()
        if self.accept_mark(")"):
            return left
        op = "*" if self.accept_mark("*") else "//"
        if op == "//":
            self.mark("//")
        right = self.size()
        self.mark(")")
        return Dim(((Derived(op, left, right), 1),))
