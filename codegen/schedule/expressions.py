"""Expressions: the values a group computes, as a DAG of kernel statements at symbolic points.

    %4 = exp(%0 - broadcast(%3)) at (i, j)      e0 = Load %0[1024*i+j]   e1 = Load %3[i]   e2 = sub e0 e1   e3 = exp e2

1. Movement ops leave no trace but in the indices and guards of loads.
2. Equal expressions are one: an expression is its statement, whose operands are numbers of earlier expressions.
3. A gathered value is computed at a point one index of which is known only at run time: an axis named `@k`, for
   expression k. What is loaded there is a Gather.
4. An expression's stage is how many reductions of the group must be finished before it, one after the other.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.dims import Size, surely_at_most, surely_below
from codegen.ir.graph import Node, attrs_of
from codegen.ir.references import literal_text
from codegen.ir.structs import struct
from codegen.schedule.forms import Form, StaticGraph
from codegen.schedule.index import ZERO, axes_of, axis, bounds, coefficient, constant, flatten, shift, substitute
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Const,
    Gather,
    Holds,
    Index,
    Load,
    Param,
    Position,
    RandomWord,
    Select,
    Statement,
    Store,
    Unary,
    Within,
    operands,
)
from codegen.schedule.movement import Guards, Point, Shape, broadcast_point, reduced_axes, source_point


@struct
class Partial:
    """The storage of partial results of `value`: what a reduction of parts comes to, say; the k-th of them."""

    value: int
    k: int = 0


Storage = int | Partial
"""What a kernel's buffer holds: a value of the graph, or partial results of one."""


class Misplaced(Exception):
    """`value` is needed at points at which the group that computes it cannot: it has to be stored, by another."""

    def __init__(self, value: int):
        super().__init__(value)
        self.value = value


class _DynamicPoint(Exception):
    """Something needs to know its index before it runs, or two gathers meet in one index."""


class Expressions:
    """The expressions of one group.

    `loaded` says which values are read from memory. `extents` are those of the group's axes. `rows[r]` is the point of
    reduction r, in kept axes, and `wholes[r]` that of its operand.
    """

    def __init__(self, graph: StaticGraph, loaded: Callable[[int], bool], extents: dict[str, Size],
                 rows: dict[int, Point], wholes: dict[int, Point]):
        self.graph, self.loaded, self.extents = graph, loaded, extents
        self.rows, self.wholes = rows, wholes
        self.statements: list[Statement] = []
        self.stages: list[int] = []
        self.storages: list[Storage] = []
        self.params: list[Param] = []
        self.reductions: dict[int, tuple[int, str]] = {}        # Accumulate to the value that it is, and its dtype
        self.checks: list[int] = []                             # gathers that are there for their check alone
        self._numbers: dict[Statement, int] = {}
        self._computed: dict[tuple[int, Point, Guards], int] = {}
        self._gathered: set[int] = set()

    # ---- building --------------------------------------------------------------------------------------------------

    def add(self, statement: Statement, *operands: int) -> int:
        """The number of an expression, which has these operands."""
        number = self._numbers.setdefault(statement, len(self.statements))
        if number == len(self.statements):
            stage = max((self.stages[x] for x in operands), default=0)
            self.statements.append(statement)
            self.stages.append(stage + 1 if isinstance(statement, Accumulate) else stage)
        return number

    def buffer(self, value: int) -> int:
        """The number by which Load, Gather and Store name the storage of a value."""
        return self.storage(value, self.graph.dtype(value), self.graph.sizes[value])

    def storage(self, storage: Storage, dtype: str, size: Size) -> int:
        """The number by which Load, Gather and Store name a storage."""
        if storage not in self.storages:
            self.storages.append(storage)
            self.params.append(Param(dtype, size, "in"))
        return self.storages.index(storage)

    def number(self, value: bool | int | float, dtype: str) -> int:
        """A constant."""
        return self.add(Const(literal_text(value, dtype), dtype))

    def size(self, size: Size, dtype: str) -> int:
        """A size as a value."""
        return self.number(size, dtype) if isinstance(size, int) else self.add(Position(constant(size), dtype))

    def binary(self, op: str, x: int, y: int) -> int:
        return self.add(Binary(op, x, y), x, y)

    def select(self, condition: int, x: int, y: int) -> int:
        return self.add(Select(condition, x, y), condition, x, y)

    # ---- values at points ------------------------------------------------------------------------------------------

    def value(self, v: int, point: Point, guards: Guards = ()) -> int:
        """The expression of value `v` at `point`; anything where the guards do not hold."""
        key = (v, point, guards)
        found = self._computed.get(key)
        if found is None:
            found = self._computed[key] = self._value(v, point, guards)
        return found

    def _value(self, v: int, point: Point, guards: Guards) -> int:
        if self.loaded(v):
            return self._load(v, point, guards)
        node = self.graph.node(v)
        match self.graph.forms[v]:
            case Form.ZERO:
                return self.number(int(node.op == "prod"), node.type.dtype)
            case Form.MOVE:
                return self._moved(node, point, guards)
            case Form.REDUCE:
                return self._reduced(v, node, point, guards)
            case _:
                return self._light(v, node, point, guards)

    def _load(self, v: int, point: Point, guards: Guards) -> int:
        index = flatten(point, self.graph.shapes[v])
        places = [name for name in axes_of(index) if name.startswith("@")]
        if not places:
            return self.add(Load(self.buffer(v), index, guards))
        name = places[0]
        stride = coefficient(index, name)
        if len(places) > 1 or stride is None:
            raise _DynamicPoint
        k = int(name[1:])
        base = substitute(index, lambda a: ZERO if a == name else axis(a, self.extents[a]), self.extents)
        self._gathered.add(k)
        return self.add(Gather(self.buffer(v), base, k, stride, self.extents[name], guards), k)

    def _moved(self, node: Node, point: Point, guards: Guards) -> int:
        operand = node.args[0]
        source, more = source_point(node, self.graph.shapes[operand], point, self.extents)
        if more is None:
            return self.number(0, node.type.dtype)
        if not more:
            return self.value(operand, source, guards)
        if any(name.startswith("@") for guard in more for name in axes_of(guard.index)):
            raise _DynamicPoint
        inside = self.value(operand, source, guards + tuple(guard for guard in more if guard not in guards))
        if isinstance(self.statements[inside], Load | Gather):
            return inside                                       # is 0 where a guard does not hold
        condition = self.add(Holds(more))
        if self.statements[inside] == Const("true", "bool"):
            return condition
        return self.select(condition, inside, self.number(0, node.type.dtype))

    def _reduced(self, v: int, node: Node, point: Point, guards: Guards) -> int:
        if self.rows.get(v) != point or guards:
            raise Misplaced(v)
        x = self.value(node.args[0], self.wholes[v])
        number = self.add(Accumulate(node.op, x), x)
        self.reductions.setdefault(number, (v, node.type.dtype))
        return number

    def _light(self, v: int, node: Node, point: Point, guards: Guards) -> int:
        attrs = attrs_of(node)
        match node.op:
            case "constant":
                return self.add(Const(attrs["value"], attrs["dtype"]))
            case "iota":
                return self._position(point[attrs["axis"]], attrs["dtype"])
            case "random_bits":
                key, counter = (self.value(a, (), guards) for a in node.args)
                index = flatten(point, self.graph.shapes[v])
                self._require_static(index)
                return self.add(RandomWord(key, counter, index), key, counter)
            case "gather":
                return self._gather(node, point, guards, attrs["axis"])
            case "concat":
                return self._chosen(node, point, guards, attrs["axis"])
            case "scatter_add" | "scatter":
                return self._one_hot(v, node, point, guards, attrs["axis"])
        shape = self.graph.shapes[v]
        args = [self._operand(a, shape, point, guards) for a in node.args]
        match args:
            case [x]:
                return self.add(Cast(x, attrs["dtype"]) if node.op == "cast" else Unary(node.op, x), x)
            case [x, y]:
                return self.binary(node.op, x, y)
            case [condition, x, y]:
                return self.select(condition, x, y)
            case _:
                raise AssertionError(f"{node.op} has {len(args)} operands")

    def _operand(self, a: int, shape: Shape, point: Point, guards: Guards) -> int:
        own = self.graph.shapes[a]
        return self.value(a, point if own == shape else broadcast_point(own, point), guards)

    def _position(self, index: Index, dtype: str) -> int:
        self._require_static(index)
        return self.add(Position(index, dtype))

    def _require_static(self, index: Index) -> None:
        """An index that is itself a number has to be made of axes."""
        if any(name.startswith("@") for name in axes_of(index)):
            raise _DynamicPoint

    def _gather(self, node: Node, point: Point, guards: Guards, along: int) -> int:
        operand, indices = node.args
        k = self.value(indices, point, guards)
        inside = self.picked(operand, point, along, k, guards)
        if k not in self._gathered:                             # even of one element: the check has to be made
            raise Misplaced(operand)
        return inside

    def picked(self, v: int, point: Point, along: int, k: int, guards: Guards = ()) -> int:
        """The expression of value `v` at a point whose index along an axis is the value of expression k."""
        place = f"@{k}"
        self.extents[place] = self.graph.shapes[v][along]
        try:
            return self.value(v, (*point[:along], Index(((place, 1),)), *point[along + 1:]), guards)
        except _DynamicPoint:
            if self.loaded(v):
                raise
            raise Misplaced(v) from None

    def _chosen(self, node: Node, point: Point, guards: Guards, along: int) -> int:
        """The operand of a concat that the point is in."""
        x, y = node.args
        index, size = point[along], self.graph.shapes[x][along]
        if any(name.startswith("@") for name in axes_of(index)):
            raise _DynamicPoint
        least, greatest = bounds(index, self.extents)
        total = self.graph.shapes[x][along] + self.graph.shapes[y][along]
        first = (*point[:along], ZERO if size == 1 else index, *point[along + 1:])
        rest = shift(index, -size)
        second = (*point[:along], ZERO if total - size == 1 else rest, *point[along + 1:])
        if surely_below(greatest, size):
            return self.value(x, first, guards)
        if surely_at_most(size, least):
            return self.value(y, second, guards)
        inside, beyond = Within(index, 0, size), Within(index, size, total)
        return self.select(self.add(Holds((inside,))), self.value(x, first, (*guards, inside)),
                           self.value(y, second, (*guards, beyond)))

    def _one_hot(self, v: int, node: Node, point: Point, guards: Guards, along: int) -> int:
        """x, and the update where the index along the axis is the one to be updated."""
        x, indices, updates = node.args
        size, dtype = self.graph.shapes[v][along], self.graph.dtype(indices)
        line = (*point[:along], ZERO, *point[along + 1:])
        k = self.value(indices, line, guards)
        self._check(k, size, guards, indices)
        negative = self.binary("lt", k, self.number(0, dtype))
        counted = self.select(negative, self.binary("add", k, self.size(size, dtype)), k)
        here = self.binary("eq", self._position(point[along], dtype), counted)
        before = self.value(x, point, guards)
        update = self.value(updates, line, guards)
        after = self.binary("add", before, update) if node.op == "scatter_add" else update
        return self.select(here, after, before)

    def _check(self, k: int, size: Size, guards: Guards, indices: int) -> None:
        """A Gather that reads nothing of interest: it refuses k out of bounds."""
        below = [k]
        while below:
            statement = self.statements[below.pop()]
            if isinstance(statement, Load | Gather):
                break
            below += operands(statement)
        else:
            raise Misplaced(indices)
        check = self.add(Gather(statement.buffer, ZERO, k, 0, size, guards), k)
        if check not in self.checks:
            self.checks.append(check)

    # ---- what is made of expressions -------------------------------------------------------------------------------

    def store(self, v: int, point: Point) -> Store:
        """The store of value `v` at `point`."""
        x = self.value(v, point)
        return Store(self.buffer(v), flatten(point, self.graph.shapes[v]), x)


def reduction_point(graph: StaticGraph, value: int, whole: Point) -> Point:
    """The point of a reduction's result that the point `whole` of its operand goes into."""
    node = graph.node(value)
    attrs = attrs_of(node)
    reduced = set(reduced_axes(node, graph.shapes[node.args[0]]))
    dropped = () if attrs["keepdims"] else attrs["axis"]
    return tuple(ZERO if k in reduced else index for k, index in enumerate(whole) if k not in dropped)
