"""share: equal nodes become one (common subexpression elimination). Rewriting does that by itself, without any rule.

    %1 = exp %0             %1 = exp %0
    %2 = exp %0      ->     %2 = add %1, %1
    %3 = add %1, %2
"""
from __future__ import annotations

from codegen.ir.graph import Graph
from codegen.optimize.rewrite import rewrite


def share(graph: Graph) -> Graph:
    """`graph` with each distinct node once."""
    return rewrite(graph, {})
