"""blocks: the blocks of a tree, each optimized by itself as the Graph of what is needed from it.

Last blocks come first, so that no block makes what the later ones turn out not to read. A value that turns out to be
one that came into its block is that one from there on.
"""
from __future__ import annotations

from functools import lru_cache

from codegen.ir.graph import Graph
from codegen.ir.program import values_read
from codegen.ir.tree import Tree, TreeBuilder, graph_of, with_args, with_values
from codegen.optimize.localize import localize
from codegen.optimize.pipeline import optimize


def optimize_tree(tree: Tree, fast_math: bool = False, in_parts: int = 1) -> Tree:
    """An equal tree of core ops, cheaper to run as `optimize` says."""
    tree = tree if len(tree.blocks) == 1 else localize(tree)
    types, order = tree.types(), tuple(tree.preorder())
    needed: dict[int, list[int]] = {}               # by a block and those after it, of what they do not make
    found: dict[int, tuple[Graph, tuple[int, ...], list[int]]] = {}
    same: dict[int, int] = {}                       # values that turned out to be earlier ones
    for number in reversed(order):
        block = tree.blocks[number]
        made = range(block.first, block.first + len(block.nodes))
        reads = (*values_read(block.terminator), *(v for k in block.successors for v in needed[k]))
        outputs = sorted({v for v in reads if v in made})
        graph, inputs = graph_of(tree, types, number, outputs)
        best = _optimized(graph, tuple([node.line for node in graph.nodes]), fast_math, in_parts)
        found[number] = best, inputs, outputs
        same.update({v: inputs[o] for v, o in zip(outputs, best.outputs) if o < len(inputs)})
        used = (inputs[v] for node in best.nodes for v in node.args if v < len(inputs))
        needed[number] = [v for v in dict.fromkeys((*used, *(same.get(v, v) for v in reads))) if v not in made]
    builder = TreeBuilder(tree)
    new = {v: v for v in range(len(tree.inputs))}
    for number in order:
        best, inputs, outputs = found[number]
        values = [new.get(v, -1) for v in inputs]   # what turned out not to be read may not be there any more
        for node in best.nodes:
            values.append(builder.add(with_args(node, [values[v] for v in node.args])))
        new.update({v: values[o] for v, o in zip(outputs, best.outputs)})
        builder.end(number, with_values(tree.blocks[number].terminator, new))
    return builder.tree()


@lru_cache(maxsize=512)
def _optimized(graph: Graph, lines: tuple[str | None, ...], fast_math: bool, in_parts: int) -> Graph:
    """The graph, optimized, which graphs that do the same at the same lines share."""
    return optimize(graph, fast_math, in_parts)
