"""Differentiated: what a transform of `func` is given and gives, trees, taken apart into the tensors that count.

    Differentiated(level, "grad", (params,))    .trees: params with aliases in them     .like(gs): gs in their place
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codegen.ir.types import type_of
from tracegrad.creation import asarray
from tracegrad.dtypes import COMPLEX_NUMBERS, INEXACT
from tracegrad.levels import Level
from tracegrad.pytrees import LEAF, Structure, tree_flatten, tree_map, tree_unflatten
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Argnums = int | Sequence[int]
Results = tuple[list[Tensor], Structure]


class Differentiated:
    """Trees that are differentiated by, with aliases of a level in the place of what counts.

    `trees`: these; `aliases`: the tensors that count, in order. TypeError for a tree that has none.
    """

    __slots__ = ("trees", "aliases", "_counts", "_structure")

    def __init__(self, level: Level, name: str, trees: Sequence[Any]):
        leaves, self._structure = tree_flatten(tuple(trees))
        given = [asarray(x) if isinstance(x, float | complex | np.ndarray | np.inexact) else x for x in leaves]
        self._counts = [isinstance(x, Tensor) and x.dtype in INEXACT for x in given]
        start = 0
        for k, structure in enumerate(self._structure.children):
            stop = start + structure.num_leaves
            if not any(self._counts[start:stop]):
                what = described(given[start]) if structure is LEAF else "a tree without one"
                raise TypeError(at_user_line(
                    f"{name}: what is differentiated by is floating-point or complex tensors, and number {k} of it is "
                    f"{what}; convert it, or name others in argnums"))
            start = stop
        replaced = [level.alias(x) if counts else x for x, counts in zip(given, self._counts)]
        self.aliases = [x for x, counts in zip(replaced, self._counts) if counts]
        self.trees: tuple[Any, ...] = tree_unflatten(self._structure, replaced)

    def like(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The trees with these in the place of what counts, and None in that of the rest."""
        rest = iter(tensors)
        return tree_unflatten(self._structure, [next(rest) if counts else None for counts in self._counts])

    def tangents(self, name: str, trees: Sequence[Any]) -> list[Tensor]:
        """A tangent for each alias, from trees of the structure of these."""
        return tangents_of(name, self.trees, tuple(trees))


def described(x: Any) -> str:
    """What x is, for an error."""
    return str(type_of(x)) if isinstance(x, Tensor) else f"a {type(x).__name__}"


def tangents_of(name: str, tree: Any, tangents: Any) -> list[Tensor]:
    """For each tensor of a tree that counts, what is in its place in another; ValueError or TypeError if it is no
    tangent of it.
    """
    found: list[Tensor] = []
    what = "cotangents" if name == "vjp" else "tangents"

    def place(x: Any, v: Any) -> None:
        if not isinstance(x, Tensor) or x.dtype not in INEXACT:
            return
        v = asarray(v, dtype=x.dtype) if isinstance(v, bool | int | float | complex | np.ndarray) else v
        if not isinstance(v, Tensor) or v.shape != x.shape or v.dtype != x.dtype:
            raise TypeError(at_user_line(f"{name}: {type_of(x)} has {what} of its shape and dtype, and not "
                                         f"{described(v)}"))
        found.append(v)

    try:
        tree_map(place, tree, tangents)
    except ValueError as error:
        raise ValueError(at_user_line(f"{name}: the {what} are not a tree like what they are of: {error}")) from None
    return found


def positions_of(name: str, argnums: Argnums, count: int) -> tuple[int, ...]:
    """argnums as numbers of arguments from 0 on; ValueError where there is none."""
    several = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for k in several:
        if not -count <= k < count:
            raise ValueError(at_user_line(f"{name}: argnums={argnums!r}, and there are {count} positional arguments"))
    found = tuple(k % count for k in several)
    if not found or len(set(found)) < len(found):
        raise ValueError(at_user_line(f"{name}: argnums={argnums!r} names {'none' if not found else 'one twice'}"))
    return found


def split(name: str, result: Any, has_aux: bool) -> tuple[Any, Any]:
    """(value, aux) of what a function returned; aux is None where it has none."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(at_user_line(
            f"{name}: with has_aux the function returns (value, aux), and it returned {described(result)}"))
    return result


def flat_results(name: str, result: Any) -> Results:
    """The tensors that a function returned, in a tree; TypeError for anything else."""
    leaves, structure = tree_flatten(result)
    for x in leaves:
        if not isinstance(x, Tensor):
            raise TypeError(at_user_line(f"{name}: the function returns tensors, and it returned {described(x)}: "
                                         "has_aux=True is for what else there is"))
    return leaves, structure


def settled(level: Level, tree: Any) -> Any:
    """A tree as who is outside of the level sees it."""
    leaves, structure = tree_flatten(tree)
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    seen = level.left(tensors)
    if all(a is b for a, b in zip(tensors, seen)):
        return tree
    rest = iter(seen)
    return tree_unflatten(structure, [next(rest) if isinstance(x, Tensor) else x for x in leaves])


def real_scalar(name: str, value: Any) -> Tensor:
    """The value that is differentiated: one real number."""
    if not isinstance(value, Tensor):
        raise TypeError(at_user_line(f"{name}: the function returns a tensor, and it returned {described(value)}: "
                                     "has_aux=True is for what else there is"))
    if value.ndim or value.dtype not in INEXACT or value.dtype in COMPLEX_NUMBERS:
        raise TypeError(at_user_line(f"{name}: the function returns a real number, a 0-d tensor, and it returned "
                                     f"{type_of(value)}: sum it, or use vjp or jacrev"))
    return value


def all_real(name: str, tensors: Sequence[Tensor]) -> None:
    """TypeError for a complex tensor."""
    for x in tensors:
        if x.dtype in COMPLEX_NUMBERS:
            raise TypeError(at_user_line(f"{name}: Jacobians are of real numbers, and here is {type_of(x)}: use vjp or "
                                         "jvp, or take it apart with tg.view_as_real"))
