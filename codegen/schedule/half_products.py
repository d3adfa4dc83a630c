"""half_products: products of bf16 and f16 as such, where the machine has them; else they are those of f32, rounded.

    %2 = cast %0 dtype=f32                     %2 = reshape %0 shape=[64,784] : bf16[64,784]
    %3 = cast %1 dtype=f32                     %3 = reshape %1 shape=[784,512] : bf16[784,512]
    %4 = matmul %2, %3                  ->     %4 = matmul %2, %3 : bf16[64,512]
    %5 = cast %4 dtype=bf16                    %5 = reshape %4 shape=[64,512] : bf16[64,512]

1. Only what is rounded and read in no other way: the products of two halves are exact in f32, and so summed in either.
2. Values keep their numbers. A cast that others read, too, stays, and the product reads what it is a cast of.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain

from codegen.ir.graph import Graph, Node
from codegen.ir.types import TensorType

HALVES, WIDE = frozenset({"bf16", "f16"}), "f32"


def half_products(graph: Graph, halves: frozenset[str]) -> Graph:
    """The graph with the products of these dtypes that it has, written as products of WIDE."""
    first, nodes = len(graph.inputs), list(graph.nodes)
    reads = Counter(chain(graph.outputs, *[node.args for node in nodes]))
    found = {v: k for k, node in enumerate(nodes) if (v := _product(graph, node, reads, halves)) is not None}
    if not found:
        return graph
    of_products = Counter(a for v in found for a in graph.nodes[v - first].args)
    for v, rounded in found.items():
        product, half = graph.nodes[v - first], graph.nodes[rounded].type.dtype
        for a in product.args:
            if of_products[a] == reads[a]:
                nodes[a - first] = _renamed(nodes[a - first], half)
        args = tuple(a if of_products[a] == reads[a] else graph.nodes[a - first].args[0] for a in product.args)
        nodes[v - first] = replace(product, args=args, type=TensorType(half, product.type.shape))
        nodes[rounded] = _renamed(nodes[rounded], half)
    return replace(graph, nodes=tuple(nodes))


def _product(graph: Graph, node: Node, reads: Counter[int], halves: frozenset[str]) -> int | None:
    """The product that a node rounds, if it is one of these dtypes."""
    half = node.type.dtype
    if node.op != "cast" or half not in halves or node.args[0] < len(graph.inputs):
        return None
    v, = node.args
    product = graph.nodes[v - len(graph.inputs)]
    alone = product.op == "matmul" and product.type.dtype == WIDE and reads[v] == 1
    return v if alone and all(_is_widened(graph, a, half) for a in product.args) else None


def _is_widened(graph: Graph, v: int, half: str) -> bool:
    node = graph.nodes[v - len(graph.inputs)] if v >= len(graph.inputs) else None
    return node is not None and node.op == "cast" and graph.type_of(node.args[0]).dtype == half


def _renamed(node: Node, dtype: str) -> Node:
    """Its operand, under its number."""
    return Node("reshape", node.args, (("shape", node.type.shape),), TensorType(dtype, node.type.shape), node.line)
