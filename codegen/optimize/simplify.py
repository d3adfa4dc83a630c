"""simplify: apply laws, and the rules of movement and folding that they need, until none applies.

    %1 = constant value=1.0 dtype=f32 : f32[]
    %2 = broadcast %1 shape=[8] : f32[8]              %1 = neg %0 : f32[8]
    %3 = mul %0, %2 : f32[8]                   ->     return %1
    %4 = neg %3 : f32[8]
"""
from __future__ import annotations

from codegen.ir.graph import Graph, Node
from codegen.optimize.fold import FOLDING
from codegen.optimize.laws import EXACT, Law
from codegen.optimize.movement import MOVEMENT
from codegen.optimize.rewrite import Rewriter, Rule, Rules, merged, rewrite
from codegen.optimize.terms import Bindings, build, matcher


def simplify(graph: Graph, laws: tuple[Law, ...] = EXACT) -> Graph:
    """`graph` with every law applied wherever it can be."""
    return rewrite(graph, merged(FOLDING, MOVEMENT, rules_of(laws)))


def rules_of(laws: tuple[Law, ...]) -> Rules:
    """The laws as rules, by the op of their left sides."""
    ops = dict.fromkeys(law.left.op for law in laws)
    return {op: tuple(_rule(law) for law in laws if law.left.op == op) for op in ops}


def _rule(law: Law) -> Rule:
    matchers = tuple(map(matcher, law.left.args))

    def rule(rewriter: Rewriter, node: Node) -> int | None:
        bound: Bindings = {}
        for matches, v in zip(matchers, node.args):
            if not matches(rewriter, v, bound):
                return None
        value = build(law.right, rewriter, bound, node.type.dtype)
        if rewriter.types[value].shape == node.type.shape:
            return value
        return rewriter.emit("broadcast", value, shape=node.type.shape)

    return rule
