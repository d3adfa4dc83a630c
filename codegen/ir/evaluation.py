"""evaluation: sizes with symbols -> one function that gives the numbers of them all, as fast as Python counts.

    evaluator((2*b, (b*c), 7), ("b", "c"))      ->      def numbers(b, c): return (2*b, (b*c), 7,)
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codegen.ir.dims import Size, Symbol

Evaluator = Callable[..., tuple[int, ...]]


def evaluator(sizes: Sequence[Size], names: Sequence[str]) -> Evaluator:
    """A function of the numbers that these symbols, which are all there are, stand for."""
    space: dict[str, Any] = {}
    given = ", ".join(f"s{k}" for k in range(len(names)))
    texts = {name: f"s{k}" for k, name in enumerate(names)}
    exec(f"def numbers({given}): return ({''.join(f'{size_text(size, texts)},' for size in sizes)})", space)
    return space["numbers"]


def size_text(size: Size, texts: Mapping[str, str]) -> str:
    """Python that counts a size; `texts`: what its symbols are called there."""
    if isinstance(size, int):
        return str(size)
    terms = [f"{c}*{_symbol(s, texts)}" if c != 1 else _symbol(s, texts) for s, c in size.terms]
    return "+".join([*terms, *([str(size.constant)] if size.constant else [])])


def _symbol(s: Symbol, texts: Mapping[str, str]) -> str:
    return texts[s] if isinstance(s, str) else f"(({size_text(s.left, texts)}){s.op}({size_text(s.right, texts)}))"
