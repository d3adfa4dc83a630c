"""SeenSizes: the programs a function has been, so that one which differs in sizes alone is served by the same kernels.

    first    f32[8,64]      compiled for these sizes
    second   f32[16,64]     compiled for f32[b,64], and bound to b = 16
    third    f32[24,64]     bound to b = 24: nothing is compiled

1. A size is a symbol once a second one has been seen in its place, and a number until then.
2. A program is served by a generic one only if that, with numbers for its symbols, is the program, node for node.
3. Nothing about a program is kept but itself, so this may be forgotten at any time.
"""
from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from codegen.ir.generalize import Binding, Generic, generalized, likeness
from codegen.ir.tree import Tree

MOST_FAMILIES = 64
"""So many programs that are not alike are kept; the one longest unused is forgotten first."""

MOST_WITNESSES = 5
"""So often is a family made more general."""


@dataclass(slots=True)
class _Family:
    """Trees that are alike: those from which the generic one was made, and whether it could be compiled."""

    witnesses: list[Tree]
    generic: Generic | None = None
    refused: set[Generic] = field(default_factory=set)


class SeenSizes:
    """What one function's programs have been. Several threads may ask at once."""

    def __init__(self) -> None:
        self._families: OrderedDict[Hashable, _Family] = OrderedDict()
        self._lock = threading.Lock()

    def generic_of(self, tree: Tree, aliases: Hashable) -> tuple[Generic, Binding] | None:
        """A generic tree, and what makes it `tree`; None where that is the first of its kind, or there is none.

        Programs are alike only with equal `aliases`.
        """
        key = likeness(tree), aliases
        with self._lock:
            family = self._families.setdefault(key, _Family([tree]))
            self._families.move_to_end(key)
            while len(self._families) > MOST_FAMILIES:
                self._families.popitem(last=False)
            if family.generic is not None and (binding := family.generic.binding_of(tree)) is not None:
                return None if family.generic in family.refused else (family.generic, binding)
            if tree in family.witnesses or len(family.witnesses) >= MOST_WITNESSES:
                return None
            family.witnesses.append(tree)
            generic = generalized(family.witnesses)     # a witness more may tell what two left open
            if generic is None:
                return None
            family.generic = generic
            binding = generic.binding_of(tree)
            return None if binding is None else (generic, binding)

    def refuse(self, tree: Tree, aliases: Hashable, generic: Generic) -> None:
        """No code can be made of this generic tree."""
        with self._lock:
            family = self._families.get((likeness(tree), aliases))
            if family is not None:
                family.refused.add(generic)
