"""calls: what reads whole buffers: how a matmul reads its operands, whether they lie transposed; and the host's calls.

    %2 = transpose %1 axes=[1,0]          Matmul(a=%0, b=%1, transpose_b)        no transpose is ever computed
    %3 = matmul %0, %2              ->

    %4 = broadcast %1 shape=[32,64,10]    Matmul(a=%3, b=%1, m=32*m)             one product: the rows of all batches
    %5 = matmul %3, %4

Where a movement has to be computed, an operand that is the same matrices transposed reads the same buffer.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod

import numpy as np

from codegen.ir.dims import Size
from codegen.ir.graph import Node
from codegen.ir.ops import OPS
from codegen.ir.structs import struct
from codegen.ir.types import TensorType
from codegen.schedule.forms import Form, StaticGraph
from codegen.schedule.index import axis, coefficient, flatten, substitute
from codegen.schedule.kernel import Index
from codegen.schedule.movement import Point, source_point


@struct
class Product:
    """c[n] = a[n] @ b[n]: the values whose whole buffers are read, and the sizes, as in plan.Matmul."""

    a: int
    b: int
    batch: Size
    m: Size
    n: Size
    k: Size
    transpose_a: bool
    transpose_b: bool

    @property
    def reads(self) -> tuple[int, ...]:
        """The values whose whole buffers are read."""
        return self.a, self.b


@struct
class HostCall:
    """The reference of an op, run by the host: the node, and the value whose buffer each operand is, None if empty."""

    node: Node
    operands: tuple[int | None, ...]
    types: tuple[TensorType, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        """The values whose whole buffers are read."""
        return tuple(v for v in self.operands if v is not None)


def host_calls_of(graph: StaticGraph) -> dict[int, HostCall]:
    """What the host is asked for."""
    found: dict[int, HostCall] = {}
    for v, node in graph.nodes():
        if graph.forms[v] is Form.HOST:
            operands = tuple(graph.same_storage(a) if graph.sizes[a] else None for a in node.args)
            found[v] = HostCall(node, operands, tuple(map(graph.graph.type_of, node.args)))
    return found


@struct
class _Content:
    """Matrices of shape `shape` that are elements of `base`: where each lies there, by axes a0, a1, ..."""

    base: int
    shape: tuple[Size, ...]
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


@struct
class _View:
    """A value whose buffer is an operand: matrices, as they are or transposed; `shared`: all batches read one matrix.

    `content`: what is in the buffer, if it has to be computed by movement.
    """

    value: int
    transposed: bool
    shared: bool
    content: _Content | None = None


def products_of(graph: StaticGraph) -> dict[int, Product]:
    """How each matmul reads its operands, movement of them taken in where a whole buffer is still what is read."""
    products = [v for v, _ in graph.nodes() if graph.forms[v] is Form.MATMUL]
    views = {a: _views(graph, a) for v in products for a in graph.node(v).args}
    moved: dict[_Content, int] = {}
    for view in (found[-1] for found in views.values()):
        if view.content is not None:
            moved.setdefault(view.content, view.value)
    return {v: _product(graph, v, views, moved) for v in products}


def _product(graph: StaticGraph, v: int, views: dict[int, list[_View]], moved: dict[_Content, int]) -> Product:
    a, b = graph.node(v).args
    *batches, m, k = graph.shapes[a]
    batch, n = prod(batches), graph.shapes[v][-1]
    left = _alike([view for view in views[a] if not view.shared][-1], moved, v)
    shared = views[b][-1]
    if shared.shared and not left.transposed:
        return Product(left.value, shared.value, 1, batch * m, n, k, False, shared.transposed)
    right = _alike([view for view in views[b] if not view.shared][-1], moved, v)
    return Product(left.value, right.value, batch, m, n, k, left.transposed, right.transposed)


def _alike(view: _View, moved: dict[_Content, int], before: int) -> _View:
    """The view, or one of the same matrices moved by a value before this one, in the order in which they lie."""
    if view.content is None or view.content not in moved:
        return view
    turned = view.content.turned()
    if moved.get(turned, before) < before and turned.in_order and not view.content.in_order:
        return replace(view, value=moved[turned], transposed=not view.transposed)
    return replace(view, value=moved[view.content])


def _views(graph: StaticGraph, operand: int) -> list[_View]:
    """The operand, and the values it is a movement of as far as their buffers hold its matrices, the farthest last."""
    shape = graph.shapes[operand]
    extents = {f"a{k}": n for k, n in enumerate(shape)}
    point, layouts = _layouts(shape)
    rows, columns = shape[-2:]
    found: list[_View] = []
    value = operand
    while True:
        place = flatten(point, graph.shapes[value])
        if place in layouts:
            transposed, shared = layouts[place]
            if graph.sizes[value] == (rows * columns if shared else graph.sizes[operand]):      # and not a part of it
                found.append(_View(value, transposed, shared))
        if graph.forms[value] is not Form.MOVE:
            break
        node = graph.node(value)
        point, guards = source_point(node, graph.shapes[node.args[0]], point, extents)
        if guards or guards is None:
            return found
        value = node.args[0]
    last = found[-1]
    if last.value != value and not last.shared:
        content = _Content(value, shape, place)
        found[-1] = replace(last, content=content.turned() if last.transposed else content)
    return found


@lru_cache(maxsize=1024)
def _layouts(shape: tuple[Size, ...]) -> tuple[Point, Mapping[Index, tuple[bool, bool]]]:
    """A point of matrices of this shape, and of what places it may be at (transposed, shared)."""
    point: Point = tuple([axis(f"a{k}", n) for k, n in enumerate(shape)])
    rows, columns = shape[-2:]
    turned = (*point[:-2], point[-1], point[-2])
    return point, {
        flatten(turned[-2:], (columns, rows)): (True, True),
        flatten(point[-2:], (rows, columns)): (False, True),
        flatten(turned, (*shape[:-2], columns, rows)): (True, False),
        flatten(point, shape): (False, False),
    }


def _axis(name: str, extents: dict[str, Size]) -> Index:
    return axis(name, extents[name])


def constants_of(works: Mapping[int, Product | HostCall]) -> dict[int, bytes]:
    """The bytes of those constants that kernels cannot write as numbers: complex ones. Nothing need run for them."""
    return {v: np.asarray(OPS["constant"].reference(**dict(work.node.attrs))).tobytes()
            for v, work in works.items() if isinstance(work, HostCall) and work.node.op == "constant"}
