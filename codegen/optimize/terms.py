"""Terms: what laws are written in. `sub(x, neg(y))`, with variables, numbers and ops without attrs.

1. A variable may name the kind of dtype it stands for: `x:int`. Where it occurs twice it is the same value.
2. A number matches a value filled with it, broadcast or not, whatever the dtype that can hold it; the zeros are apart.
   `true` and `false` are of bool alone, other numbers never.
3. Matching looks through nothing else: a term is exactly the ops it names.
"""
from __future__ import annotations

import re
from collections.abc import Callable

from codegen.ir.ops import OPS
from codegen.ir.references import literal, literal_text
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, FLOATS, INTEGERS, SIGNED
from codegen.optimize.rewrite import Rewriter

KINDS = {
    "int": INTEGERS,
    "float": FLOATS,
    "bool": frozenset({"bool"}),
    "signed": SIGNED | FLOATS,
}
"""The dtypes that a variable of each kind stands for."""

COSTS = {
    **{op.name: 2 for op in OPS.values()},
    **dict.fromkeys(("neg", "abs", "not", "detach"), 1), "div": 4, "sqrt": 6, "exp": 10, "log": 10, "tanh": 10,
}
"""What an op costs beside the others; laws must make things cheaper."""


@struct
class Variable:
    """Any value, of a kind of dtype if it says one."""

    name: str
    kind: str | None = None


@struct
class Number:
    """A value filled with a number. `texts`: how each dtype that can hold it writes it."""

    text: str
    texts: tuple[tuple[str, str], ...]


@struct
class Apply:
    """An op of terms."""

    op: str
    args: tuple[Term, ...]


Term = Variable | Number | Apply

Bindings = dict[str, int]
"""The value that each variable stands for."""

Matcher = Callable[[Rewriter, int, Bindings], bool]


def parse_term(text: str) -> Term:
    """The term that `text` is. ValueError if it is none, KeyError for an unknown op or kind."""
    words = re.findall(r"[(),]|[^\s(),]+", text)
    term = _take(words)
    if words:
        raise ValueError(f"{text!r} goes on after the term")
    return term


def _take(words: list[str]) -> Term:
    word = words.pop(0)
    if words and words[0] == "(":
        args = []
        while words.pop(0) != ")":
            args.append(_take(words))
        if len(args) != OPS[word].arity:
            raise ValueError(f"{word} takes {OPS[word].arity} operands")
        return Apply(word, tuple(args))
    try:
        number = literal(word)
    except ValueError:
        name, _, kind = word.partition(":")
        return Variable(name, kind if kind and KINDS[kind] else None)
    return Number(word, tuple(_texts(number)))


def _texts(number: bool | int | float) -> list[tuple[str, str]]:
    texts = []
    for dtype in sorted((INTEGERS | FLOATS) if not isinstance(number, bool) else {"bool"}):
        try:
            text = literal_text(number, dtype)
        except (OverflowError, ValueError):
            continue
        if literal(text) == number or number != number:
            texts.append((dtype, text))
    return texts


def cost(term: Term) -> int:
    """The sum of the costs of the ops of a term."""
    return COSTS[term.op] + sum(map(cost, term.args)) if isinstance(term, Apply) else 0


def variables(term: Term) -> list[str]:
    """The names of the variables of a term, as often as they occur."""
    match term:
        case Variable(name):
            return [name]
        case Number():
            return []
        case Apply(_, args):
            return [name for arg in args for name in variables(arg)]


def matcher(term: Term) -> Matcher:
    """A function that says if a value is an instance of `term`, and binds its variables."""
    match term:
        case Variable(name, kind):
            allowed = frozenset(DTYPES) if kind is None else KINDS[kind]
            return lambda rewriter, value, bound: (
                bound.setdefault(name, value) == value and rewriter.types[value].dtype in allowed)
        case Number(_, texts):
            wanted = dict(texts)
            return lambda rewriter, value, _: (
                value in rewriter.fills and wanted.get(rewriter.types[value].dtype) == rewriter.fills[value])
        case Apply(op, args):
            matchers = tuple(map(matcher, args))

            def applies(rewriter: Rewriter, value: int, bound: Bindings) -> bool:
                node = rewriter.nodes[value]
                return node is not None and node.op == op and all(
                    matches(rewriter, v, bound) for matches, v in zip(matchers, node.args))

            return applies


def build(term: Term, rewriter: Rewriter, bound: Bindings, dtype: str) -> int:
    """The value of `term` under `bound`; numbers take `dtype`, that of the result."""
    match term:
        case Variable(name):
            return bound[name]
        case Number(_, texts):
            return rewriter.emit("constant", value=dict(texts)[dtype], dtype=dtype)
        case Apply(op, args):
            return rewriter.emit(op, *[build(arg, rewriter, bound, dtype) for arg in args])
