"""Subscripts: what einsum's text, or its lists of ints, say of its operands' axes.

    "...ij,j" for f32[2,3,4], f32[4]      labels (("...", 0), "i", "j") and ("j",), of the result (("...", 0), "i")

Labels are letters or ints, and for the axes of an ellipsis ("...", k), k counted from the last of them.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.movement import reshape
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Labels = tuple[Any, ...]


def parsed(subscripts: Any, operands: tuple[Any, ...]) -> tuple[list[Labels], Labels | None, Sequence[Any]]:
    """The labels of each operand, with Ellipsis where axes are broadcast; those of the result, None if implicit."""
    if not isinstance(subscripts, str):
        return _parsed_sublists((subscripts, *operands))
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = [_letters(term) for term in left.split(",")]
    if len(terms) != len(operands):
        raise error(f"{subscripts!r} has {len(terms)} terms, and there are {len(operands)} operands")
    return terms, _letters(right) if arrow else None, operands


def _letters(term: str) -> Labels:
    before, dots, after = term.partition("...")
    if not all(c.isalpha() and c.isascii() for c in before + after):
        raise error(f"{term!r} is not made of letters and at most one ellipsis")
    return (*before, *((...,) if dots else ()), *after)


def _parsed_sublists(given: tuple[Any, ...]) -> tuple[list[Labels], Labels | None, Sequence[Any]]:
    wanted = _sublist(given[-1]) if len(given) % 2 else None
    pairs = given[:-1] if len(given) % 2 else given
    return [_sublist(labels) for labels in pairs[1::2]], wanted, pairs[::2]


def _sublist(labels: Any) -> Labels:
    if not isinstance(labels, tuple | list):
        raise error(f"labels are text, or a list after each operand, not {type(labels).__name__}")
    return tuple(k if k is ... else index(k) for k in labels)


def labeled(terms: list[Labels], tensors: list[Tensor]) -> tuple[list[Labels], int]:
    """A label for each axis, those of an ellipsis counted from the end, and the most axes an ellipsis stands for."""
    found: list[Labels] = []
    longest = 0
    for term, x in zip(terms, tensors):
        rest = x.ndim - len(term)
        if ... in term:
            rest += 1
            if rest < 0 or term.count(...) > 1:
                raise error(f"{type_of(x)} does not have the axes {_text(term)}")
            k = term.index(...)
            term = (*term[:k], *(("...", j) for j in reversed(range(rest))), *term[k + 1:])
            longest = max(longest, rest)
        elif rest:
            raise error(f"{type_of(x)} does not have the axes {_text(term)}")
        found.append(term)
    return found, longest


def _text(labels: Labels) -> str:
    return "".join("..." if k is ... else k if isinstance(k, str) else f"[{k}]" for k in labels)


def output(wanted: Labels | None, labeled: list[Labels], ellipsis: int) -> Labels:
    """The labels of the result."""
    broadcast = tuple(("...", j) for j in reversed(range(ellipsis)))
    everywhere = [k for labels in labeled for k in labels if not isinstance(k, tuple)]
    if wanted is None:
        return (*broadcast, *sorted(k for k in set(everywhere) if everywhere.count(k) == 1))
    result: Labels = ()
    for k in wanted:
        result += broadcast if k is ... else (k,)
    missing = [k for k in result if not isinstance(k, tuple) and k not in everywhere]
    if missing or len(set(result)) < len(result):
        raise error(f"the result {_text(wanted)} has a label twice, or one that no operand has")
    return result


def diagonals(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """x with each label once."""
    while len(set(labels)) < len(labels):
        a = next(k for k, label in enumerate(labels) if label in labels[k + 1:])
        b = labels.index(labels[a], a + 1)
        if x.shape[a] != x.shape[b]:
            raise error(f"the axes {labels[a]} of {type_of(x)} differ in size")
        x = dispatch("shear", x, axes=(a,), along=(b,), step=(1,), dilation=(1,))
        x = reshape(x, (*x.shape[:a], *x.shape[a + 1:]))
        labels = (*labels[:a], *labels[a + 1:])
    return x, labels


def without_ones(parts: list[tuple[Tensor, Labels]]) -> list[tuple[Tensor, Labels]]:
    """The operands without the axes of size 1 that others have longer; ValueError where sizes differ otherwise."""
    sizes: dict[Any, int] = {}
    for x, labels in parts:
        for label, size in zip(labels, x.shape):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                raise error(f"the label {_text((label,)) if not isinstance(label, tuple) else '...'} is "
                             f"{known} in one operand and {size} in another")
    result = []
    for x, labels in parts:
        kept = [k for k, label in enumerate(labels) if x.shape[k] == sizes[label]]
        if len(kept) < len(labels):
            x = reshape(x, tuple(x.shape[k] for k in kept))
        result.append((x, tuple(labels[k] for k in kept)))
    return result


def error(message: str) -> Exception:
    """What is wrong with the subscripts."""
    return ValueError(at_user_line(f"einsum: {message}"))
