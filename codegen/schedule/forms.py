"""Forms: what scheduling makes of each value of a Graph, decided by its op and shape alone.

    %2 = mul %0, %1                LIGHT       computed where it is needed, at the index at which it is needed
    %3 = transpose %2              MOVE        another index into its operand
    %4 = sum %3 axis=[1]           REDUCE      combines over an axis of extent 2 or more
    %5 = matmul %3, %1             MATMUL      a call on whole buffers
    %9 = concat %1, %2 axis=0      CONCAT      one after the other in a buffer, best computed there
    %6 = scatter_add %0, %1, %2    SCATTER     writes to a copy of a buffer, one element after the other
    %7 = cumsum %3 axis=0          SCAN        runs along an axis in order, beside the points of the others
    %9 = cholesky %1               HOST        the op's reference, run on whole buffers by the host: all that is left
    %7 = sum of nothing            ZERO        0 everywhere, or for a prod 1: what is combined is nothing
    %8 : f32[0,3]                  EMPTY       no element, so nothing to do

A size that is a symbol is any number from 1 on: what has no elements, or a single one, is known to have.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import Enum, auto

from codegen.ir.dims import Size, element_count, typical
from codegen.ir.graph import Graph, Node, attrs_of
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.structs import struct
from codegen.ir.types import COMPLEX
from codegen.schedule.costs import op_cost
from codegen.schedule.kernel import SCANS
from codegen.schedule.machine import Machine
from codegen.schedule.movement import MAPS, Shape, reduced_axes


class Form(Enum):
    """How a value comes to be."""

    INPUT = auto()
    LIGHT = auto()
    MOVE = auto()
    REDUCE = auto()
    MATMUL = auto()
    CONCAT = auto()
    SCATTER = auto()
    SCAN = auto()
    HOST = auto()
    ZERO = auto()
    EMPTY = auto()


UNSUPPORTED = COMPLEX
"""Dtypes that kernels cannot compute in: the host does."""

_KERNEL_OPS = frozenset({"constant", "iota", "random_bits", "gather"})
_SCATTERS = frozenset({"scatter_add", "scatter"})
_REDUCTIONS = frozenset({"sum", "prod", "max", "min"})


@struct
class StaticGraph:
    """A graph with the form, the shape and the number of elements of each value, none of which a run changes."""

    graph: Graph
    forms: tuple[Form, ...]
    shapes: tuple[Shape, ...]
    sizes: tuple[Size, ...]

    @property
    def first(self) -> int:
        """The first value that is no input."""
        return len(self.graph.inputs)

    def node(self, value: int) -> Node:
        """The node of a value that is no input."""
        return self.graph.nodes[value - len(self.graph.inputs)]

    def nodes(self) -> Iterator[tuple[int, Node]]:
        """Each value that is no input, and its node."""
        return enumerate(self.graph.nodes, len(self.graph.inputs))

    def dtype(self, value: int) -> str:
        """The dtype of a value."""
        return self.graph.type_of(value).dtype

    def same_storage(self, value: int) -> int:
        """The value of which `value` is the same elements in the same order: reshapes and the like are seen through."""
        while self.forms[value] is Form.MOVE and self.keeps_order(value, self.node(value)):
            value = self.node(value).args[0]
        return value

    def keeps_order(self, value: int, node: Node) -> bool:
        """Are the elements of a movement those of its operand, all of them in their order?"""
        source = node.args[0]
        if node.op in ("reshape", "detach", *_SCATTERS, *_REDUCTIONS):
            return True
        if node.op == "transpose":
            moved = [k for k in attrs_of(node)["axes"] if self.shapes[source][k] != 1]
            return moved == sorted(moved)
        return node.op in ("broadcast", "slice", "pad") and self.sizes[value] == self.sizes[source]


def static_graph(graph: Graph, machine: Machine) -> StaticGraph:
    """The graph with the forms of its values."""
    shapes = [type.shape for type in graph.inputs]
    forms = [Form.INPUT] * len(graph.inputs)
    for node in graph.nodes:
        shapes.append(node.type.shape)
        operands = [graph.type_of(a).dtype for a in node.args]
        forms.append(_form([shapes[a] for a in node.args], operands, shapes[-1], node, machine))
    found = StaticGraph(graph, tuple(forms), tuple(shapes), tuple(map(element_count, shapes)))
    found = replace(found, forms=tuple(_on_host(found)))
    found = replace(found, forms=tuple(_chosen_from(found)))
    return replace(found, forms=tuple(_with_parts(found)))


def _chosen_from(graph: StaticGraph) -> Iterator[Form]:
    """The forms, with a choice at every point for what is put together of parts of other values: nothing is computed
    that could be in its storage, as when an array is rolled.
    """
    for v, form in enumerate(graph.forms):
        taken = form is Form.CONCAT and all(_is_taken(graph, a) for a in graph.node(v).args)
        yield Form.LIGHT if taken else form


def _is_taken(graph: StaticGraph, v: int) -> bool:
    """Is it a part of another value, as it is or after an operation that costs no more than putting it elsewhere?"""
    if v < graph.first:
        return False
    node = graph.node(v)
    if graph.forms[v] is Form.MOVE:
        return node.op in ("slice", "flip") and not graph.keeps_order(v, node)
    return graph.forms[v] is Form.LIGHT and op_cost(node.op) == 1 and node.op != "concat" and all(
        graph.sizes[a] == 1 or _is_taken(graph, a) for a in node.args)


def _with_parts(graph: StaticGraph) -> list[Form]:
    """The forms, with what is put together to be part of something that is put together in memory there, too."""
    forms = list(graph.forms)
    for v, node in reversed(list(graph.nodes())):
        if forms[v] is Form.CONCAT:
            for operand in map(graph.same_storage, node.args):
                if graph.forms[operand] is Form.LIGHT and graph.node(operand).op == "concat" and _is_one_block(
                        graph.node(operand)):
                    forms[operand] = Form.CONCAT
    return forms


def _is_one_block(node: Node) -> bool:
    """Do the operands of a concat lie one after the other in memory?"""
    return all(n == 1 for n in node.type.shape[:attrs_of(node)["axis"]])


def _on_host(graph: StaticGraph) -> Iterator[Form]:
    """The forms, with the host for what no kernel can hold; what only renames a buffer needs none."""
    yield from graph.forms[:graph.first]
    for v, node in graph.nodes():
        form = graph.forms[v]
        foreign = node.type.dtype in UNSUPPORTED or any(graph.dtype(a) in UNSUPPORTED for a in node.args)
        renames = form is Form.EMPTY or form is Form.MOVE and graph.keeps_order(v, node)
        yield Form.HOST if foreign and not renames else form


def _form(operands: list[Shape], dtypes: list[str], shape: Shape, node: Node, machine: Machine) -> Form:
    op = node.op
    if op in ("gather", *_SCATTERS) and 0 in operands[0] and 0 not in operands[1]:
        return Form.HOST                                    # which refuses every index
    if 0 in shape:
        return Form.EMPTY
    if op in _REDUCTIONS:
        if 0 in operands[0]:
            return Form.ZERO
        return Form.REDUCE if reduced_axes(node, operands[0]) else Form.MOVE
    if op in SCANS:
        return Form.SCAN
    if op in _SCATTERS:
        if 0 in operands[1]:
            return Form.MOVE
        one_for_each_line = operands[1][attrs_of(node)["axis"]] == 1        # then it is a choice at every point
        return Form.LIGHT if one_for_each_line else Form.SCATTER
    if op in MAPS:
        return Form.ZERO if 0 in operands[0] else Form.MOVE
    if op == "concat" and 0 not in operands[0] and 0 not in operands[1]:
        long = typical(element_count(shape)) >= machine.least_joined
        return Form.CONCAT if long and _is_one_block(node) else Form.LIGHT
    if op == "matmul":
        if operands[0][-1] == 0:
            return Form.ZERO
        return Form.MATMUL if node.type.dtype in machine.products else Form.HOST
    if op in _KERNEL_OPS:
        return Form.LIGHT
    if ELEMENTWISE in OPS[op].traits and (not node.attrs or op == "cast"):
        return Form.LIGHT if machine.computes(op, dtypes[-1]) else Form.HOST
    return Form.HOST
