"""calls: how a matmul reads its operands: whose whole buffers, and whether they lie transposed.

    %2 = transpose %1 axes=[1,0]          Matmul(a=%0, b=%1, transpose_b)        no transpose is ever computed
    %3 = matmul %0, %2              ->

    %4 = broadcast %1 shape=[32,64,10]    Matmul(a=%3, b=%1, m=32*m)             one product: the rows of all batches
    %5 = matmul %3, %4

Where a movement has to be computed, an operand that is the same matrices transposed reads the same buffer.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from codegen.ir.graph import Graph, Node
from codegen.schedule.forms import Form
from codegen.schedule.index import axis, coefficient, flatten, substitute
from codegen.schedule.kernel import Index
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
class _Content:
    """Matrices of shape `shape` that are elements of `base`: where each lies there, by axes a0, a1, ... of the shape."""

    base: int
    shape: tuple[int, ...]
    place: Index

    def turned(self) -> _Content:
        """The matrices transposed."""
        rows, columns = (f"a{len(self.shape) - k}" for k in (2, 1))
        other = {rows: columns, columns: rows}
        shape = (*self.shape[:-2], self.shape[-1], self.shape[-2])
        extents = {f"a{k}": n for k, n in enumerate(shape)}
        return _Content(self.base, shape, substitute(self.place, lambda a: _axis(other.get(a, a), extents), extents))

    @property
    def in_order(self) -> bool:
        """Are neighbors in a row neighbors in `base` too?"""
        return coefficient(self.place, f"a{len(self.shape) - 1}") == 1


@dataclass(frozen=True, slots=True)
class _View:
    """A value whose buffer is an operand: matrices as they are or transposed; `shared` when all batches read one matrix.

    `content`: what is in the buffer, if it has to be computed by movement.
    """

    value: int
    transposed: bool
    shared: bool
    content: _Content | None = None


def products_of(graph: Graph, forms: tuple[Form, ...]) -> dict[int, Product]:
    """How each matmul reads its operands, movement of them taken in where a whole buffer is still what is read."""
    nodes = {v: node for v, node in enumerate(graph.nodes, len(graph.inputs)) if forms[v] is Form.MATMUL}
    views = {a: _views(graph, forms, a) for node in nodes.values() for a in node.args}
    moved: dict[_Content, int] = {}
    for view in (found[-1] for found in views.values()):
        if view.content is not None:
            moved.setdefault(view.content, view.value)
    return {v: _product(graph, v, node, views, moved) for v, node in nodes.items()}


def _product(graph: Graph, v: int, node: Node, views: dict[int, list[_View]], moved: dict[_Content, int]) -> Product:
    a, b = node.args
    *batches, m, k = graph.type_of(a).shape
    batch, n = prod(batches), node.type.shape[-1]
    left = _alike([view for view in views[a] if not view.shared][-1], moved, v)
    shared = views[b][-1]
    if shared.shared and not left.transposed:
        return Product(left.value, shared.value, 1, batch * m, n, k, False, shared.transposed)
    right = _alike([view for view in views[b] if not view.shared][-1], moved, v)
    return Product(left.value, right.value, batch, m, n, k, left.transposed, right.transposed)


def _alike(view: _View, moved: dict[_Content, int], before: int) -> _View:
    """The view, or one of the same matrices that are moved, by a value `before` this one, to the order in which they are read."""
    if view.content not in moved:
        return view
    turned = view.content.turned()
    if moved.get(turned, before) < before and turned.in_order and not view.content.in_order:
        return replace(view, value=moved[turned], transposed=not view.transposed)
    return replace(view, value=moved[view.content])


def _views(graph: Graph, forms: tuple[Form, ...], operand: int) -> list[_View]:
    """The operand, and the values it is a movement of as far as their buffers hold its matrices, the farthest last."""
    shape = graph.type_of(operand).shape
    extents = {f"a{k}": n for k, n in enumerate(shape)}
    point: Point = tuple(axis(a, n) for a, n in extents.items())
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
            break
        point, guards = source_point(node, graph.type_of(node.args[0]).shape, point, extents)
        if guards or guards is None:
            return found
        value = node.args[0]
    last = found[-1]
    if last.value != value and not last.shared:
        content = _Content(value, shape, place)
        found[-1] = replace(last, content=content.turned() if last.transposed else content)
    return found


def _axis(name: str, extents: dict[str, int]) -> Index:
    return axis(name, extents[name])
