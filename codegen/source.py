"""Source: what a target is given to compile."""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.generalize import Binding
from codegen.ir.structs import struct
from codegen.ir.tree import Tree

UNBOUND = Binding({}, ())
"""What a tree without symbols is bound to."""


@struct(eq=False)
class Source:
    """A tree as it was recorded, and what its symbols stand for. `optimized()` is an equal tree of core ops that is
    cheaper to run: a target that knows the program from before need not ask for it. `whole(in_parts)`: the same as one
    block for each of the tree; what is large is computed in parts as `optimize` says.
    `memory_budget`: the bytes that it is to work in at most, if it can.
    """

    tree: Tree
    optimized: Callable[[], Tree]
    fast_math: bool = False
    binding: Binding = UNBOUND
    memory_budget: int | None = None
    whole: Callable[[int], Tree] | None = None
