"""calls: how a matmul reads its operands: whose whole buffers, and whether they lie transposed.

    %2 = transpose %1 axes=[1,0]          Matmul(a=%0, b=%1, transpose_b)        no transpose is ever computed
    %3 = matmul %0, %2              ->

    %4 = broadcast %1 shape=[32,64,10]    Matmul(a=%3, b=%1, m=32*m)             one product: the rows of all batches
    %5 = matmul %3, %4
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod

from codegen.ir.graph import Graph, Node
from codegen.schedule.forms import Form
from codegen.schedule.index import axis, flatten
from codegen.schedule.movement import Point, source_point


@dataclass(frozen=True, slots=True)
class Product:
    """c[n] = a[n] @ b[n]: the values whose whole buffers are read, and the sizes, as in plan.Matmul."""

    a: int
    b: int
    batch: int
    m: int
    n: int
    k: int
    transpose_a: bool
    transpose_b: bool


@dataclass(frozen=True, slots=True)
class _View:
    """A value whose buffer is an operand: matrices as they are or transposed; `shared` when all batches read one matrix."""

    value: int
    transposed: bool
    shared: bool


def product_of(graph: Graph, forms: tuple[Form, ...], node: Node) -> Product:
    """How a matmul reads its operands, movement of them taken in where a whole buffer is still what is read."""
    a, b = node.args
    *batches, m, k = graph.type_of(a).shape
    batch, n = prod(batches), node.type.shape[-1]
    left = [view for view in _views(graph, forms, a) if not view.shared]
    right = _views(graph, forms, b)
    if not left[-1].transposed and right[-1].shared:
        first, second = left[-1], right[-1]
        batch, m = 1, batch * m
    else:
        first, second = left[-1], [view for view in right if not view.shared][-1]
    return Product(first.value, second.value, batch, m, n, k, first.transposed, second.transposed)


def _views(graph: Graph, forms: tuple[Form, ...], operand: int) -> list[_View]:
    """The operand, and the values it is a movement of, as far as their buffers hold its matrices."""
    shape = graph.type_of(operand).shape
    extents = {f"a{k}": n for k, n in enumerate(shape)}
    point: Point = tuple(axis(f"a{k}", n) for k, n in enumerate(shape))
    rows, columns = shape[-2:]
    turned = (*point[:-2], point[-1], point[-2])
    layouts = {
        flatten(turned[-2:], (columns, rows)): (True, True),
        flatten(point[-2:], (rows, columns)): (False, True),
        flatten(turned, (*shape[:-2], columns, rows)): (True, False),
        flatten(point, shape): (False, False),
    }
    found: list[_View] = []
    value = operand
    while True:
        place = flatten(point, graph.type_of(value).shape)
        if place in layouts:
            found.append(_View(value, *layouts[place]))
        node = graph.node_of(value)
        if node is None or forms[value] is not Form.MOVE:
            return found
        moved, guards = source_point(node, graph.type_of(node.args[0]).shape, point, extents)
        if guards or guards is None:
            return found
        value, point = node.args[0], moved
