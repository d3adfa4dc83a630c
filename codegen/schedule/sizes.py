"""sizes: a kernel whose sizes have symbols -> a kernel that is given them as words, and back for one binding.

    for i < 64*b: load b0[s*i+j]          ->    for i < 64*n0: load b0[n1*i+j]          words: (b, s)

1. Kernels that differ in nothing but which sizes they have are one kernel, so it is compiled once.
2. Each word stands for one size, divided by the greatest number that divides it always: what n0 is a word of can be
   anything, and that 64*n0 is a multiple of 64 is still seen. So a word may be 1, 0 or negative, which symbols of
   graphs never are: sizes made of words are compared only where their difference is a number.
3. Code for words takes it that every index fits 30 bits; `fits` says whether it does for a binding.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from codegen.ir.dims import Dim, Size, content, evaluate, symbol
from codegen.schedule.index import Extents, bounds, canonical
from codegen.schedule.kernel import (
    Axis,
    Gather,
    Holds,
    Index,
    Kernel,
    Load,
    Pass,
    Scatter,
    Statement,
    Store,
    Term,
    Within,
    indices_of,
    with_indices,
)

LARGEST = 1 << 30
"""Indices of a kernel that is given its sizes are below this, and above its negative."""


def given_sizes(kernel: Kernel) -> tuple[Kernel, tuple[Size, ...]]:
    """The kernel with a word for each size that has symbols, and what the words are."""
    words: dict[Size, Dim] = {}
    return replace(with_sizes(kernel, partial(in_words, words=words)), words=len(words)), tuple(words)


def in_words(size: Size, words: dict[Size, Dim]) -> Size:
    """A size in terms of words; `words`: what each that there is stands for. One is added where none does."""
    if isinstance(size, int):
        return size
    factor = content(size) if size.terms[0][1] > 0 else -content(size)
    return words.setdefault(size // factor, symbol(f"n{len(words)}")) * factor


def kernel_at(kernel: Kernel, words: Sequence[int]) -> Kernel:
    """The kernel with numbers for its words."""
    binding = {f"n{k}": word for k, word in enumerate(words)}
    return replace(with_sizes(kernel, lambda size: evaluate(size, binding)), words=0) if words else kernel


def chunks_at(kernel: Kernel, words: Sequence[int]) -> int:
    """How many chunks a launch with these words is made of."""
    return evaluate(kernel.chunks, {f"n{k}": word for k, word in enumerate(words)})


def fits(kernel: Kernel, tiles: int = 0) -> bool:
    """Are all indices of a kernel without symbols in the range that code for words takes for granted? `tiles`: so many
    of its last params are no memory, so that what they are read and written at does not count."""
    first = len(kernel.params) - tiles
    if any(not 0 <= p.size < LARGEST for p in kernel.params[:first]):
        return False
    for one in kernel.passes:
        extents = {axis.name: axis.extent for axis in (*kernel.axes, *one.axes)}
        used = (s for s in one.body if not (isinstance(s, Load | Store) and s.buffer >= first))
        if not all(_fits(index, extents) for index in {index for s in used for index in indices_of(s)}):
            return False
        guards = (guard for s in one.body if isinstance(s, Load | Holds | Gather) for guard in s.guards)
        if not all(-LARGEST < guard.low and guard.high < LARGEST for guard in guards):
            return False
    return True


def reaches(kernel: Kernel, words: Sequence[Size]) -> list[Size]:
    """Sizes that no index of a kernel with these words goes beyond: where all are below LARGEST, it `fits`."""
    given = {f"n{k}": word for k, word in enumerate(words)}
    at = with_sizes(kernel, lambda size: evaluate(size, given))     # type: ignore[arg-type]
    found: dict[Size, None] = dict.fromkeys(p.size for p in at.params)

    def reach(index: Index, extents: Extents) -> Size:
        total = _absolute(index.constant)
        for term, c in index.terms:
            total = total + _absolute(c) * (_absolute(extents[term]) if isinstance(term, str)
                                            else reach(term.index, extents))
        found[total] = None
        return total

    for one in at.passes:
        extents = {axis.name: axis.extent for axis in (*at.axes, *one.axes)}
        for s in one.body:
            for index in indices_of(s):
                reach(index, extents)
            if isinstance(s, Load | Holds | Gather):
                found.update((_absolute(bound), None) for guard in s.guards for bound in (guard.low, guard.high))
    return [*(size for size in found if isinstance(size, Dim)),
            max((size for size in found if isinstance(size, int)), default=0)]


def _absolute(size: Size) -> Size:
    """A size that the other, or its negative, never goes beyond."""
    if isinstance(size, int):
        return abs(size)
    total: Size = abs(size.constant)
    for s, c in size.terms:
        factor: Size = symbol(s) if isinstance(s, str) else _absolute(s.left) * (
            _absolute(s.right) if s.op == "*" else 1) + (s.op != "*")
        total = total + abs(c) * factor
    return total


def _fits(index: Index, extents: Extents) -> bool:
    low, high = bounds(index, extents)
    return -LARGEST < low <= high < LARGEST and all(
        isinstance(term, str) or _fits(term.index, extents) for term, _ in index.terms)


def with_sizes(kernel: Kernel, new: Callable[[Size], Size]) -> Kernel:
    """The kernel with another size in the place of each, in the order in which its text has them."""
    def of_term(term: Term) -> Term:
        return term if isinstance(term, str) else type(term)(of_index(term.index), new(term.divisor))

    def of_index(index: Index) -> Index:
        terms: dict[Term, Size] = {}
        for term, c in index.terms:
            key, size = of_term(term), new(c)
            terms[key] = terms.get(key, 0) + size
        return canonical(terms, new(index.constant))

    def of_axis(axis: Axis) -> Axis:
        clip = None if axis.clip is None else (of_index(axis.clip[0]), new(axis.clip[1]))
        return Axis(axis.name, new(axis.extent), clip)

    def of_statement(s: Statement) -> Statement:
        s = with_indices(s, of_index)
        if isinstance(s, Gather | Scatter):
            s = replace(s, stride=new(s.stride), size=new(s.size))
        if isinstance(s, Load | Holds | Gather):
            s = replace(s, guards=tuple(Within(g.index, new(g.low), new(g.high)) for g in s.guards))
        return s

    params = tuple(replace(p, size=new(p.size)) for p in kernel.params)
    axes = tuple(map(of_axis, kernel.axes))
    passes = tuple(Pass(tuple(map(of_axis, p.axes)), tuple(map(of_statement, p.body))) for p in kernel.passes)
    return Kernel(params, axes, passes, kernel.vector, new(kernel.grain), kernel.words)
