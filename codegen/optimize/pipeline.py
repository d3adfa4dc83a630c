"""optimize: the passes between a recorded graph and the scheduler, in the order in which they run."""
from __future__ import annotations

from codegen.ir.graph import Graph, Node
from codegen.optimize.prune import prune
from codegen.optimize.rewrite import Rewriter, rewrite


def _operand(rewriter: Rewriter, node: Node) -> int:
    return node.args[0]


def optimize(graph: Graph, fast_math: bool = False) -> Graph:
    """An equal graph that is cheaper to run, of core ops only."""
    return prune(rewrite(prune(graph), {"detach": (_operand,)}))
