"""scattering: scatter_add and scatter -> kernels that write to a buffer which holds their first operand already.

    %3 = scatter %0, %1, %2 axis=0           for i < 9, j < 64: scatter_set b2[j] at v0*64 of 20 v1

What is set is to be what the last update of a place says. On a machine that computes all points at once, updates find
out first which of those to one place is the last, and then all of them write what that one says:

    kernel 1: for k < 20: store b0[k] -1                                    the last update of each row
    kernel 2: for i < 9: scatter_max b0[0] at v0*1 of 20 v1                 v0 = %1[i], v1 = i
    kernel 3: for i < 9, j < 64: scatter_same b2[j] at v0*64 of 20 v2       v2 = %2[b0[%1[i]], j]

1. What is found for a place holds along all axes along which the index is the same: there is one number for a row.
2. Updates of one place that are the same anyway, and indices no two of which are, need no last one.
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod

from codegen.ir.dims import Size, typical
from codegen.ir.graph import attrs_of
from codegen.schedule.expressions import Expressions, Partial
from codegen.schedule.forms import StaticGraph
from codegen.schedule.index import ZERO, axes_of, axis, coefficient, flatten
from codegen.schedule.kernel import Gather, Index, Position, Scatter, Store, indices_of, operands
from codegen.schedule.machine import Machine
from codegen.schedule.movement import Shape
from codegen.schedule.nest import Nest, nest_of
from codegen.schedule.passes import Lowered, emitted
from codegen.schedule.sizes import LARGEST
from codegen.schedule.tile import Layout

FEW = 4
"""So few updates of a line are written one after the other: that takes less than two more launches."""


def lower_scatter(graph: StaticGraph, value: int, loaded: Callable[[int], bool], machine: Machine) -> list[Lowered]:
    """The kernels that write the updates of scatter `value` to a buffer that already holds its first operand."""
    node = graph.node(value)
    found = _Scattering(graph, value, loaded)
    if node.op == "scatter_add":
        nests = [found.writes("add")]
    elif not machine.at_once or typical(found.shape[found.along]) <= FEW:
        nests = [found.writes("set")]
    elif found.needs_no_last():
        nests = [found.writes("same")]
    else:
        nests = [found.no_last(), found.last(), found.writes("same", of_last=True)]
    return [emitted(nest, Layout(nest.outer, (), None, 0), machine) for nest in nests]


class _Scattering:
    """The scatter that makes `value`, along an axis of its indices' `shape`.

    `lasts`: the shape of what there is a last update for: places along that axis, and points along those other ones
    along which the index changes.
    """

    def __init__(self, graph: StaticGraph, value: int, loaded: Callable[[int], bool]):
        node = graph.node(value)
        _, self.indices, self.updates = node.args
        self.graph, self.value, self.loaded = graph, value, loaded
        self.along = attrs_of(node)["axis"]
        self.shape, self.result = graph.shapes[self.indices], graph.shapes[value]
        self.axes = {f"a{k}": n for k, n in enumerate(self.shape)}
        self.point = tuple(map(axis, self.axes, self.shape))
        e = self._expressions()
        moves = _axes_of(e, e.value(self.indices, self.point))
        self.lasts = tuple(self.result[k] if k == self.along else n if name in moves else 1
                           for k, (name, n) in enumerate(self.axes.items()))

    def needs_no_last(self) -> bool:
        """Are all updates of one place the same, or is there never more than one?"""
        e, name = self._expressions(), f"a{self.along}"
        if name not in _axes_of(e, e.value(self.updates, self.point)):
            return True
        n, size = self.shape[self.along], self.result[self.along]
        match e.statements[e.value(self.indices, self.point)]:
            case Position(index) if isinstance(n, int) and isinstance(size, int):
                step = coefficient(index, name)
                return isinstance(step, int) and 0 < abs(step) * (n - 1) < size     # nor is one of -1 that of size - 1
            case _:
                return False

    def writes(self, kind: str, of_last: bool = False) -> Nest:
        """What writes each update or, in its stead, the last one of its place."""
        e = self._expressions()
        k = e.value(self.indices, self.point)
        if of_last:
            base, stride = self._place(self.lasts)
            last = e.add(Gather(self._last(e), base, k, stride, self.result[self.along]), k)
            x = e.picked(self.updates, self.point, self.along, last)
        else:
            x = e.value(self.updates, self.point)
        return self._scattered(e, kind, e.buffer(self.value), k, x, self.result)

    def no_last(self) -> Nest:
        """What says that nothing was written yet."""
        size = prod(self.lasts)
        e = Expressions(self.graph, self.loaded, {"a0": size}, {}, {})
        root = Store(self._last(e), axis("a0", size), e.number(-1, self._number))
        return nest_of(e, (root,), ("a0",) if size != 1 else (), ())

    def last(self) -> Nest:
        """What finds the number of the last update of each place."""
        e = self._expressions()
        number = e.add(Position(axis(f"a{self.along}", self.shape[self.along]), self._number))
        return self._scattered(e, "max", self._last(e), e.value(self.indices, self.point), number, self.lasts)

    def _scattered(self, e: Expressions, kind: str, buffer: int, k: int, x: int, shape: Shape) -> Nest:
        base, stride = self._place(shape)
        root = Scatter(kind, buffer, base, k, stride, self.result[self.along], x)
        outer = [name for k, (name, n) in enumerate(self.axes.items())
                 if n not in (0, 1) and (k == self.along or shape[k] != 1)]
        return nest_of(e, (root,), outer, ())

    def _place(self, shape: Shape) -> tuple[Index, Size]:
        """Where the line of a point begins in storage of a shape, and how far apart its elements are."""
        point = tuple(ZERO if k == self.along or n == 1 else i for k, (i, n) in enumerate(zip(self.point, shape)))
        return flatten(point, shape), prod(shape[self.along + 1:])

    def _last(self, e: Expressions) -> int:
        return e.storage(Partial(self.value), self._number, prod(self.lasts))

    @property
    def _number(self) -> str:
        """The dtype of the number of an update."""
        n = self.shape[self.along]
        return "i32" if isinstance(n, int) and n < LARGEST else "i64"

    def _expressions(self) -> Expressions:
        return Expressions(self.graph, self.loaded, dict(self.axes), {}, {})


def _axes_of(e: Expressions, x: int) -> set[str]:
    """The axes along which an expression may change."""
    found: set[str] = set()
    pending = [x]
    while pending:
        s = e.statements[pending.pop()]
        found |= {name for index in indices_of(s) for name in axes_of(index)}
        pending += operands(s)
    return found
