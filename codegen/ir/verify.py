"""verify: re-run every type rule and check every invariant of a Graph or Program. Tests call it after each pass.

    graph f(%0: f64[2,3]) {
      %1 = exp %0 : f64[9]  @ model.py:42     ->  VerifyError: model.py:42: %1 = exp: says f64[9], rule gives f64[2,3]
      return %1
    }

1. A message begins with the user's line, where there is one, and the guilty line's own text up to its first operand.
2. What verifies prints, and its text parses to an equal Graph or Program.
"""
from __future__ import annotations

import re
from collections.abc import Hashable
from typing import NoReturn

from codegen.ir.dims import Dim, Size, symbol_name, symbols
from codegen.ir.graph import Attr, Graph, Node
from codegen.ir.ops import OPS
from codegen.ir.program import (
    SWITCHED,
    Block,
    Branch,
    Exit,
    Goto,
    Program,
    Return,
    Switch,
    Target,
    Terminator,
    targets_of,
)
from codegen.ir.references import literal, literal_text
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import DTYPES, TensorType


class VerifyError(Exception):
    """A Graph or Program breaks an invariant of the IR."""


def verify(program: Graph | Program) -> None:
    """Return if every invariant of the IR holds of `program`; VerifyError naming the first line that breaks one."""
    if not _NAME.fullmatch(program.name):
        _blame(f"graph {program.name!r}", "the name cannot be written", None)
    match program:
        case Graph(_, inputs, nodes, outputs):
            known = _verify_inputs(inputs, "graph")
            _verify_nodes(inputs, nodes, known)
            _verify_operands("return", outputs, len(inputs) + len(nodes), None)
        case Program(_, blocks):
            if not blocks:
                _blame(f"program {program.name}", "has no block", None)
            known = _verify_inputs(blocks[0].inputs, "block0")
            for number, block in enumerate(blocks):
                _verify_known(f"block{number}", block.inputs, known, None)
                _verify_nodes(block.inputs, block.nodes, known)
                _verify_terminator(block, blocks)


_NAME = re.compile(r"[^\s(){}#]+")
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _blame(what: str, message: str, line: str | None) -> NoReturn:
    raise VerifyError(f"{line}: {what}: {message}" if line else f"{what}: {message}")


def _verify_inputs(inputs: tuple[TensorType, ...], what: str) -> frozenset[str]:
    """The symbols that the inputs bind: those that are by themselves the size of some axis."""
    for value, type in enumerate(inputs):
        _verify_type(f"{what}: %{value}", type, None)
    return frozenset(name for type in inputs for size in type.shape if (name := symbol_name(size)) is not None)


def _verify_type(what: str, type: TensorType, line: str | None) -> None:
    if type.dtype not in DTYPES:
        _blame(what, f"there is no dtype {type.dtype}", line)
    for size in type.shape:
        if not isinstance(size, int | Dim) or isinstance(size, bool):
            _blame(what, f"a size is an int or a Dim, not {size!r}", line)
        if isinstance(size, int) and size < 0:
            _blame(what, f"the size {size} is negative", line)
        if isinstance(size, Dim) and not size.terms:
            _blame(what, f"the Dim {size.constant} has no symbol in it", line)
        for name in symbols(size):
            if not _SYMBOL.fullmatch(name):
                _blame(what, f"the symbol {name!r} cannot be written", line)


def _verify_known(what: str, types: tuple[TensorType, ...], known: frozenset[str], line: str | None) -> None:
    for type in types:
        _verify_type(what, type, line)
        unknown = sorted(type.symbols - known)
        if unknown:
            _blame(what, f"no input has the size {unknown[0]} of {type}", line)


def _verify_nodes(inputs: tuple[TensorType, ...], nodes: tuple[Node, ...], known: frozenset[str]) -> None:
    one: dict[TensorType, TensorType] = {}      # of those that are equal, the one that stands for all
    types = [one.setdefault(type, type) for type in inputs]
    met: dict[int, TensorType] = {}     # by the id of a type the one that stands for it
    written: set[int] = set()           # the ids of types of which it is known that they can be written
    right: set[Hashable] = set()        # what nodes that are right are, but for where their operands come from
    for value, node in enumerate(nodes, len(inputs)):
        for v in node.args:
            if type(v) is not int or not 0 <= v < value:
                _verify_operands(f"%{value} = {node.op}", node.args, value, node.line)
        kinds = tuple([type(attr) for _, attr in node.attrs]) if node.attrs else ()
        ruled = met.get(id(node.type))
        if ruled is None:
            ruled = met[id(node.type)] = one.setdefault(node.type, node.type)
        described = node.op, node.attrs, kinds, *[id(types[v]) for v in node.args], id(ruled)
        types.append(ruled)
        if described in right:
            continue
        what = f"%{value} = {node.op}"
        row = OPS.get(node.op)
        if row is None:
            _blame(what, "there is no such op", node.line)
        if len(node.args) != row.arity:
            _blame(what, f"takes {row.arity} operands, not {len(node.args)}", node.line)
        attrs = dict(node.attrs)
        if len(node.attrs) != len(row.attrs) or [*attrs] != [name for name, _ in row.attrs]:
            wanted, given = ([name for name, _ in attrs] for attrs in (row.attrs, node.attrs))
            _blame(what, f"has the attrs {wanted}, not {given}", node.line)
        for name, kind in row.attrs:
            if not _is_kind(attrs[name], kind):
                _blame(what, f"{name}={attrs[name]!r} is not of the kind {kind}", node.line)
        if node.op == "constant" and not _is_canonical(str(attrs["value"]), str(attrs["dtype"])):
            _blame(what, f"{attrs['value']} is not how a number of {attrs['dtype']} is written", node.line)
        try:
            ruled = row.type_rule(*(types[v] for v in node.args), **attrs)
        except TypeRuleError as error:
            _blame(what, str(error), node.line)
        if ruled != node.type:
            _blame(what, f"says {node.type}, rule gives {ruled}", node.line)
        if id(node.type) not in written:
            _verify_known(what, (node.type,), known, node.line)
            written.add(id(node.type))
        right.add(described)


def _verify_operands(what: str, args: tuple[int, ...], count: int, line: str | None) -> None:
    """Operands are values that exist: below `count`."""
    for v in args:
        if isinstance(v, bool) or not isinstance(v, int) or not 0 <= v < count:
            _blame(what, f"%{v} is not made before it is used", line)


def _is_kind(attr: Attr, kind: str) -> bool:
    match kind:
        case "int":
            return type(attr) is int
        case "flag":
            return type(attr) is bool
        case "ints":
            return isinstance(attr, tuple) and {*map(type, attr)} <= _INT
        case "dims":
            return isinstance(attr, tuple) and ({*map(type, attr)} <= _INT or all(map(_is_size, attr)))
        case "dtype":
            return isinstance(attr, str) and attr in DTYPES
        case "literal":
            return isinstance(attr, str)
        case _:
            raise KeyError(kind)


_INT = {int}


def _is_size(size: Size) -> bool:
    return type(size) is int or isinstance(size, Dim)


def _is_canonical(text: str, dtype: str) -> bool:
    try:
        return literal_text(literal(text), dtype) == text
    except (ValueError, OverflowError):
        return False


def _verify_terminator(block: Block, blocks: tuple[Block, ...]) -> None:
    terminator = block.terminator
    what = _WORD[type(terminator)]
    count = len(block.inputs) + len(block.nodes)
    match terminator:
        case Return(values):
            _verify_operands(what, values, count, terminator.line)
        case Branch(predicate):
            _verify_operands(what, (predicate,), count, terminator.line)
            if block.type_of(predicate) != TensorType("bool"):
                _blame(what, f"the predicate %{predicate} is {block.type_of(predicate)}, not bool[]", terminator.line)
        case Switch(value, cases):
            _verify_operands(what, (value,), count, terminator.line)
            type_ = block.type_of(value)
            if type_.shape or type_.dtype not in SWITCHED:
                _blame(what, f"the value %{value} is {type_}, not a 0-d integer or float", terminator.line)
            numbers = [number for number, _ in cases]
            if len(set(numbers)) != len(numbers):
                _blame(what, f"the cases {numbers} name one twice", terminator.line)
    for target in targets_of(terminator):
        _verify_target(what, target, block, blocks, terminator)


_WORD = {cls: cls.__name__.lower() for cls in Terminator.__args__}


def _verify_target(what: str, target: Target, block: Block, blocks: tuple[Block, ...], terminator: Terminator) -> None:
    match target:
        case Exit(number):
            if number < 1:
                _blame(what, f"exit{number} is not numbered from 1", terminator.line)
        case Goto(number, args):
            if not 0 <= number < len(blocks):
                _blame(what, f"there is no block{number}", terminator.line)
            _verify_operands(what, args, len(block.inputs) + len(block.nodes), terminator.line)
            given, wanted = tuple(block.type_of(v) for v in args), blocks[number].inputs
            if given != wanted:
                texts = f"passes {_types_text(given)} to block{number}, which takes {_types_text(wanted)}"
                _blame(what, texts, terminator.line)


def _types_text(types: tuple[TensorType, ...]) -> str:
    return f"({', '.join(map(str, types))})"
