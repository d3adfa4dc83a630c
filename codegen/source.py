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
    cheaper to run: a target that knows the program from before need not ask for it.
    """

    tree: Tree
    optimized: Callable[[], Tree]
    fast_math: bool = False
    binding: Binding = UNBOUND
