"""optimize: what happens between a recorded graph and the scheduler.

Expansions, folds, laws and the rules of movement and matmul are rules of one rewrite, so that each sees what the others
have made and one walk reaches their common fixed point. Equal nodes are shared as they are added.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

from codegen.ir.graph import Graph
from codegen.optimize.blockwise import blockwise
from codegen.optimize.concatenation import CONCATENATION, join_products
from codegen.optimize.contraction import CONTRACTION
from codegen.optimize.expand import EXPANSIONS
from codegen.optimize.fold import FOLDING
from codegen.optimize.laws import EXACT, FAST
from codegen.optimize.movement import MOVEMENT
from codegen.optimize.overwritten import OVERWRITTEN
from codegen.optimize.positions import POSITIONS
from codegen.optimize.prune import prune
from codegen.optimize.rewrite import merged, rewrite
from codegen.optimize.simplify import rules_of

RULES = merged(FOLDING, EXPANSIONS, OVERWRITTEN, MOVEMENT, CONTRACTION, CONCATENATION, POSITIONS,
               rules_of(EXACT))
FAST_RULES = merged(RULES, rules_of(FAST))

_AFTER = (prune, join_products)

PASSES: tuple[Callable[[Graph], Graph], ...] = (prune, partial(rewrite, rules=RULES), *_AFTER)
FAST_PASSES: tuple[Callable[[Graph], Graph], ...] = (prune, partial(rewrite, rules=FAST_RULES), *_AFTER)


def optimize(graph: Graph, fast_math: bool = False, in_parts: int = 1) -> Graph:
    """An equal graph of core ops that is cheaper to run: equal bit for bit, or under `fast_math` as real numbers are.

    But the order in which sums and matmuls add is open, as is the sign of a zero that they or a maximum give.
    `in_parts`: what is large is computed so (see blockwise), where a cache is so many times as large; 0: nothing is.
    """
    parts = (partial(blockwise, times=in_parts), prune) if in_parts else ()
    passes = (*(FAST_PASSES if fast_math else PASSES), *parts)
    return reduce(lambda g, run: run(g), passes, graph)
