"""nest: expressions and the axes they run over: merged where indices allow, cut where chunks are wanted.

    outer a0 < 3, a1 < 64; indices 64*a0+a1          outer a1 < 192; indices a1
    outer a0 < 3, a1 < 262144; indices a0, a1        outer blocks < 16, a0 < 3, inner a1 < 16384
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import cast

from codegen.ir.dims import Size, ceil_div
from codegen.ir.structs import struct
from codegen.schedule.expressions import Expressions, Storage
from codegen.schedule.index import add, axes_of, scale, substitute, without_axes
from codegen.schedule.kernel import (
    Accumulate,
    Index,
    Param,
    Scan,
    Scatter,
    Statement,
    Store,
    indices_of,
    operands,
    with_indices,
)


@struct
class Nest:
    """Expressions by number; roots, the statements they are there for; outer (kept) and inner (reduced) axes.

    `stages`: of each expression. `checks`: gathers that are roots too. `reductions`: the value that each Accumulate is,
    and its dtype. `clips`: inner axes that run only while an index is below a bound.
    """

    statements: tuple[Statement, ...]
    stages: tuple[int, ...]
    roots: tuple[Store | Scatter, ...]
    checks: tuple[int, ...]
    reductions: Mapping[int, tuple[int, str]]
    storages: tuple[Storage, ...]
    params: tuple[Param, ...]
    outer: tuple[str, ...]
    inner: tuple[str, ...]
    extents: Mapping[str, Size]
    clips: Mapping[str, tuple[Index, Size]] = field(default_factory=dict)

    @property
    def deep(self) -> list[bool]:
        """For each expression whether it changes along inner axes."""
        return depends_on(self, self.inner)

    @property
    def inner_roots(self) -> tuple[Store | Scatter, ...]:
        """The roots that run over the inner axes: for what they store, or for where."""
        deep, inner = self.deep, set(self.inner)
        return tuple(s for s in self.roots
                     if deep[s.x] or any(not inner.isdisjoint(axes_of(index)) for index in indices_of(s)))

    @property
    def can_be_two(self) -> bool:
        """Does nothing that changes along inner axes wait for a reduction?"""
        early = [s.x for s in (*self.statements, *self.inner_roots) if isinstance(s, Accumulate | Store | Scatter)]
        return all(self.stages[x] == 0 for x in early)


def depends_on(nest: Nest, names: Iterable[str]) -> list[bool]:
    """For each expression whether it changes along one of these inner axes; a reduction's result does not."""
    wanted = set(names)
    result: list[bool] = []
    for s in nest.statements:
        moves = any(not wanted.isdisjoint(axes_of(index)) for index in indices_of(s))
        result.append(not isinstance(s, Accumulate) and (
            moves or isinstance(s, Scan) or any(result[x] for x in operands(s))))
    return result


def nest_of(expressions: Expressions, roots: tuple[Store | Scatter, ...], outer: Sequence[str],
            inner: Sequence[str]) -> Nest:
    """The nest of what roots are made of, with as few axes as its indices allow."""
    return coalesced(Nest(tuple(expressions.statements), tuple(expressions.stages), roots, tuple(expressions.checks),
                          expressions.reductions, tuple(expressions.storages), tuple(expressions.params),
                          tuple(outer), tuple(inner), {a: expressions.extents[a] for a in (*outer, *inner)}))


# ---- axes ----------------------------------------------------------------------------------------------------------


def coalesced(nest: Nest) -> Nest:
    """The nest with one axis in the place of neighbors that every index walks through as through one."""
    indices = {index for s in (*nest.statements, *nest.roots) for index in indices_of(s)}
    gone: set[str] = set()
    extents = dict(nest.extents)
    levels: list[tuple[str, ...]] = []
    for names in (nest.outer, nest.inner):
        level: list[str] = []
        for name in reversed(names):
            if level and all(walks_as_one(index, name, level[-1], extents[level[-1]]) for index in indices):
                extents[level[-1]] *= extents.pop(name)
                gone.add(name)
                indices = {without_axes(index, gone, extents) for index in indices}
            else:
                level.append(name)
        levels.append(tuple(reversed(level)))
    outer, inner = levels
    if not gone:
        return nest
    merged = with_new_indices(nest, lambda index: without_axes(index, gone, extents))
    return replace(merged, outer=outer, inner=inner, extents=extents)


def plain_axis(name: str) -> Index:
    """The index that is an axis itself."""
    return Index(((name, 1),))


def walks_as_one(index: Index, a: str, b: str, extent: Size) -> bool:
    """Does one step of axis `a` do to the index what `extent` steps of `b` do, also inside its quotients?"""
    steps = {term: c for term, c in index.terms if isinstance(term, str)}
    return steps.get(a, 0) == extent * steps.get(b, 0) and all(
        isinstance(term, str) or walks_as_one(term.index, a, b, extent) for term, _ in index.terms)


def with_new_indices(nest: Nest, new: Callable[[Index], Index]) -> Nest:
    """The nest with another index in the place of each."""
    table: dict[Index, Index] = {}

    def cached(index: Index) -> Index:
        found = table.get(index)
        if found is None:
            found = table[index] = new(index)
        return found

    return replace(nest, statements=tuple(with_indices(s, cached) for s in nest.statements),
                   roots=tuple(cast(Store | Scatter, with_indices(s, cached)) for s in nest.roots))


def cut_in_blocks(nest: Nest, name: str, length: Size) -> Nest:
    """The nest with an inner axis in blocks of a length, the last maybe shorter; its first axis counts them."""
    extent = nest.extents[name]
    blocks = ceil_div(extent, length)
    counter = blocks_of(name)
    whole = add(scale(plain_axis(counter), length), plain_axis(name))
    extents = {counter: blocks, **nest.extents, name: length}

    def of_block(axis: str) -> Index:
        return whole if axis == name else plain_axis(axis)

    cut = with_new_indices(nest, lambda index: substitute(index, of_block, extents))
    clips = nest.clips if blocks * length == extent else {**nest.clips, name: (whole, extent)}
    return replace(cut, outer=(counter, *nest.outer), extents=extents, clips=clips)


def blocks_of(name: str) -> str:
    """The axis that counts the blocks of another."""
    return f"{name}_blocks"
