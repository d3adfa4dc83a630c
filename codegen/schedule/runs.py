"""runs: the points of a fusion group as runs of adjacent axes, kept or reduced, and which shapes have such points.

    [32,128,1,64] reduced by axis 3       ((4096, kept), (64, reduced))        also the points of a [4096,64]
"""
from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import accumulate
from math import prod
from operator import mul

from codegen.ir.dims import Size, exact_quotient, typical
from codegen.schedule.movement import Shape

Runs = tuple[tuple[Size, bool], ...]
"""(extent, kept) of adjacent axes taken together, outermost first; no extent is 1 and neighbors differ in kept."""


def runs_of(shape: Shape, reduced: Iterable[int] = ()) -> Runs:
    """The runs of a shape of which some axes are reduced."""
    runs: list[tuple[Size, bool]] = []
    for k, size in enumerate(shape):
        kept = k not in reduced
        if size == 1:
            continue
        if runs and runs[-1][1] == kept:
            runs[-1] = (runs[-1][0] * size, kept)
        else:
            runs.append((size, kept))
    return tuple(runs)


def reduces(runs: Runs) -> bool:
    """Is a run reduced?"""
    return not all(kept for _, kept in runs)


def prefix_products(shape: Iterable[Size]) -> tuple[Size, ...]:
    """1, and the products of the first sizes of a shape, each once."""
    return tuple(dict.fromkeys(accumulate(shape, mul, initial=1)))


def splits(shape: Shape, runs: Runs) -> bool:
    """Are the axes of a shape, taken together, these runs?"""
    sizes = [n for n, _ in runs]
    return prod(sizes) == prod(shape) and set(prefix_products(sizes)) <= set(prefix_products(shape))


def splits_rows(shape: Shape, runs: Runs) -> bool:
    """Are the axes of a shape, taken together, those of these runs that are kept?"""
    return splits(shape, tuple(run for run in runs if run[1]))


def aligns(a: Shape, b: Shape) -> bool:
    """Is there a set of axes finer than both shapes, so that each axis of either is some of these together?"""
    if prod(a) != prod(b):
        return False
    marks = by_division({*prefix_products(a), *prefix_products(b)})
    return all(divides(small, large) for small, large in zip(marks, marks[1:]))


def by_division(marks: Collection[Size]) -> tuple[Size, ...]:
    """Products of sizes, each once, in an order in which each divides the next one, if there is one.

    With symbols that need not be the order of what is typical, where 14 - 2*b is less than 1.
    """
    if all(isinstance(mark, int) for mark in marks):
        return tuple(sorted(marks, key=typical))
    return tuple(sorted(marks, key=lambda mark: (sum(divides(other, mark) for other in marks), typical(mark))))


def divides(small: Size, large: Size) -> bool:
    """Is `large` a multiple of `small`, as far as that is seen?"""
    return exact_quotient(large, small) is not None


def runs_text(runs: Runs) -> str:
    """`4096x(64)`: the extents in order, those that are reduced in parentheses."""
    return "x".join(f"{n}" if kept else f"({n})" for n, kept in runs) or "one point"
