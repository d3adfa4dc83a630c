"""Builder: write a Graph one op at a time; every type is inferred and checked as it is written.

    b = Builder("f")
    x = b.input(TensorType("f32", (3,)))
    graph = b.graph([(x * x).emit("sum", axis=(0,), keepdims=False)])
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from codegen.ir.graph import Attr, Graph, Node
from codegen.ir.ops import OPS
from codegen.ir.references import literal_text
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import TensorType

Number = bool | int | float | complex

_NAMES = {op: tuple([name for name, _ in row.attrs]) for op, row in OPS.items()}
"""The names of the attrs of each op, in order."""


class Value:
    """A value of a graph under construction. Its operators emit nodes; Python numbers take its dtype."""

    __slots__ = ("builder", "id", "type")

    def __init__(self, builder: Builder, id: int, type: TensorType):
        self.builder, self.id, self.type = builder, id, type

    @property
    def shape(self) -> tuple:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    def emit(self, op: str, *args: Value | Number, **attrs: Attr) -> Value:
        """Apply `op` to this value and `args`."""
        return self.builder.emit(op, self, *(self._lift(a) for a in args), **attrs)

    def constant(self, number: Number) -> Value:
        """A 0-d value of this value's dtype."""
        return self._lift(number)

    def iota(self, shape: tuple, axis: int) -> Value:
        """i64: 0, 1, 2, ... along an axis of this shape."""
        return self.builder.emit("iota", shape=shape, axis=axis, dtype="i64")

    def _lift(self, operand: Value | Number) -> Value:
        return operand if isinstance(operand, Value) else self.builder.constant(operand, self.type.dtype)

    def __add__(self, other): return self.emit("add", other)
    def __radd__(self, other): return self._lift(other).emit("add", self)
    def __sub__(self, other): return self.emit("sub", other)
    def __rsub__(self, other): return self._lift(other).emit("sub", self)
    def __mul__(self, other): return self.emit("mul", other)
    def __rmul__(self, other): return self._lift(other).emit("mul", self)
    def __truediv__(self, other): return self.emit("div", other)
    def __rtruediv__(self, other): return self._lift(other).emit("div", self)
    def __neg__(self): return self.emit("neg")


class Builder:
    """Collects inputs and nodes; `line` is the source line given to the nodes that follow."""

    def __init__(self, name: str):
        self.name, self.line = name, None
        self._inputs: list[TensorType] = []
        self._nodes: list[Node] = []

    line: str | None

    def __len__(self) -> int:
        """How many nodes there are so far."""
        return len(self._nodes)

    def input(self, type: TensorType) -> Value:
        """A new input; inputs come before the first node."""
        if self._nodes:
            raise ValueError("an input must come before the first node")
        self._inputs.append(type)
        return Value(self, len(self._inputs) - 1, type)

    def constant(self, number: Number, dtype: str) -> Value:
        """A 0-d constant."""
        return self.emit("constant", value=literal_text(number, dtype), dtype=dtype)

    def type_of(self, value: int) -> TensorType:
        """The type of the value with this id."""
        k = len(self._inputs)
        return self._inputs[value] if value < k else self._nodes[value - k].type

    def emit(self, op: str, *args: Value, **attrs: Any) -> Value:
        """Add a node; TypeRuleError, naming line, op and operands, if its type rule refuses."""
        row, names = OPS[op], _NAMES[op]
        if len(args) != row.arity or (attrs or names) and attrs.keys() != {*names}:
            raise ValueError(f"{op} takes {row.arity} operands and the attrs {[*names]}")
        try:
            type = row.type_rule(*[a.type for a in args], **attrs)
        except TypeRuleError as error:
            where = f"{self.line}: " if self.line else ""
            raise error.__class__(f"{where}{op}: {error}") from None
        return Value(self, self.add(type, op, tuple([a.id for a in args]), attrs), type)

    def add(self, type: TensorType | None, op: str, args: tuple[int, ...], attrs: Mapping[str, Any]) -> int:
        """The id of a new node on values by their ids, of which the type rule is known to say `type`, if that is given.

        What has thousands of nodes is written by this: no Value is made.
        """
        if type is None:
            return self.emit(op, *[Value(self, a, self.type_of(a)) for a in args], **attrs).id
        names = _NAMES[op]
        ordered = tuple([(name, attrs[name]) for name in names]) if names else ()
        nodes = self._nodes
        nodes.append(Node(op, args, ordered, type, self.line))
        return len(self._inputs) + len(nodes) - 1

    def graph(self, outputs: Iterable[Value]) -> Graph:
        """The graph so far, with these outputs."""
        return self.ending([v.id for v in outputs])

    def ending(self, outputs: Iterable[int]) -> Graph:
        """The graph so far, with these values as outputs, by their ids."""
        return Graph(self.name, tuple(self._inputs), tuple(self._nodes), tuple(outputs))
