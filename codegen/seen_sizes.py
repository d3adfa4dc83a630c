"""SeenSizes: the programs a function has been, so that one which differs in sizes alone is served by the same kernels.

    first    f32[8,64]      compiled for these sizes
    second   f32[16,64]     compiled for f32[b,64], and bound to b = 16
    third    f32[24,64]     bound to b = 24: nothing is compiled

1. A size is a symbol once a second one has been seen in its place, and a number until then.
2. A program is served by a generic one only if that, with numbers for its symbols, is the program, node for node.
3. Nothing about a program is kept but itself, so this may be forgotten at any time. The first is looked at when there
   is a second: most functions have one.
"""
from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import field

from codegen.ir.generalize import Binding, Generic, Witness, generalized, witness_of
from codegen.ir.structs import struct
from codegen.ir.tree import Tree

MOST_FAMILIES = 64
"""So many programs that begin differently are kept; the one longest unused is forgotten first."""

MOST_WITNESSES = 6
"""At so many sizes a family is looked at."""

MOST_TRIES = 5
"""So often a generic tree is made for the same ways of a family, each time for more sizes."""


@struct(frozen=False)
class _Family:
    """Trees that begin alike, at some sizes; generic ones, and how many were made, by the ways that are in them."""

    witnesses: list[Witness] = field(default_factory=list)
    generics: dict[Hashable, Generic] = field(default_factory=dict)
    tries: Counter[Hashable] = field(default_factory=Counter)


class SeenSizes:
    """What one function's programs have been. Several threads may ask at once."""

    def __init__(self) -> None:
        self._first: tuple[Tree, Sequence[Hashable], Hashable] | None = None    # not looked at yet
        self._families: OrderedDict[Hashable, _Family] = OrderedDict()
        self._refused: set[Generic] = set()
        self._lock = threading.Lock()

    def generic_of(self, tree: Tree, aliases: Sequence[Hashable], kind: Hashable = None
                   ) -> tuple[Generic, Binding] | None:
        """A generic tree, and what makes it `tree`; None where that is the first of its kind, or there is none.

        Ends are alike only with equal `aliases`, trees only if they are of one `kind`.
        """
        with self._lock:
            first = self._first
            if first is None and not self._families:
                self._first = tree, aliases, kind
                return None
            self._first = None
        if first is not None:
            self._generic_of(*first)
        return self._generic_of(tree, aliases, kind)

    def _generic_of(self, tree: Tree, aliases: Sequence[Hashable], kind: Hashable) -> tuple[Generic, Binding] | None:
        own = witness_of(tree, aliases)
        inputs = tuple((type.dtype, type.ndim) for type in tree.inputs)
        with self._lock:
            family = self._families.setdefault((inputs, own.blocks[()][0], kind), _Family())
            self._families.move_to_end((inputs, own.blocks[()][0], kind))
            while len(self._families) > MOST_FAMILIES:
                self._families.popitem(last=False)
            others = self._met(family, own)
            generic = family.generics.get(own.structure)
            binding = None if generic is None else generic.binding_of(tree)
            if binding is None and others and family.tries[own.structure] < MOST_TRIES:
                family.tries[own.structure] += 1
                generic = generalized(tree, aliases, others)
                binding = None if generic is None else generic.binding_of(tree)
                if generic is not None:
                    family.generics[own.structure] = generic
            return None if generic is None or binding is None or generic in self._refused else (generic, binding)

    def _met(self, family: _Family, own: Witness) -> list[Witness]:
        """The other witnesses; this one is kept with them, in one with what was seen at the same sizes."""
        joined = [(old, both) for old in family.witnesses if (both := old.joined(own)) is not None]
        others = [old for old in family.witnesses if all(old is not one for one, _ in joined)]
        family.witnesses = [*others, joined[0][1] if joined else own][-MOST_WITNESSES:]
        return others

    def refuse(self, generic: Generic) -> None:
        """No code can be made of this generic tree."""
        with self._lock:
            self._refused.add(generic)
