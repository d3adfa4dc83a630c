"""Forms: what scheduling makes of each value of a Graph, decided by its op and shape alone.

    %2 = mul %0, %1                LIGHT       computed where it is needed, at the index at which it is needed
    %3 = transpose %2              MOVE        another index into its operand
    %4 = sum %3 axis=[1]           REDUCE      combines over an axis of extent 2 or more
    %5 = matmul %3, %1             MATMUL      a call on whole buffers
    %6 = sum of nothing            ZERO        0 everywhere: empty sums and products
    %7 : f32[0,3]                  EMPTY       no element, so nothing to do

CannotLower says what there is no form for.
"""
from __future__ import annotations

from enum import Enum, auto
from math import prod

from codegen.ir.graph import Graph, Node
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.types import COMPLEX, TensorType, is_static
from codegen.schedule.movement import MAPS, reduced_axes
from codegen.schedule.plan import CannotLower


class Form(Enum):
    """How a value comes to be."""

    INPUT = auto()
    LIGHT = auto()
    MOVE = auto()
    REDUCE = auto()
    MATMUL = auto()
    SCATTER = auto()
    ZERO = auto()
    EMPTY = auto()


UNSUPPORTED = COMPLEX | {"f16", "bf16"}
"""Dtypes that kernels cannot compute in."""

_KERNEL_OPS = frozenset({"constant", "iota", "random_bits", "gather"})
_REDUCTIONS = frozenset({"sum", "max", "min"})


def forms_of(graph: Graph) -> tuple[Form, ...]:
    """The form of each value; CannotLower for a type or an op that kernels cannot be made of."""
    for type in graph.inputs:
        _require(type, None)
    forms = [Form.INPUT] * len(graph.inputs)
    for node in graph.nodes:
        _require(node.type, node)
        forms.append(_form(graph, node))
    return tuple(forms)


def _require(type: TensorType, node: Node | None) -> None:
    if is_static(type) and type.dtype not in UNSUPPORTED:
        return
    where = f"{node.line}: " if node is not None and node.line else ""
    what = "an input" if node is None else f"the result of {node.op}"
    why = f"kernels do not compute in {type.dtype} yet" if is_static(type) else "kernels of symbolic sizes do not exist yet"
    raise CannotLower(f"{where}{what} is {type}: {why}")


def _form(graph: Graph, node: Node) -> Form:
    operands = [graph.type_of(v) for v in node.args]
    if node.op in ("gather", "scatter_add") and 0 in operands[0].shape and 0 not in operands[1].shape:
        raise CannotLower(f"{_where(node)}{node.op} has no kernel for an axis without elements")
    if 0 in node.type.shape:
        return Form.EMPTY
    op = node.op
    if op in _REDUCTIONS:
        source = operands[0].shape
        if 0 in source:
            return Form.ZERO
        return Form.REDUCE if reduced_axes(node, source) else Form.MOVE
    if op == "scatter_add":
        if 0 in operands[1].shape:
            return Form.MOVE
        return Form.LIGHT if one_hot(graph, node) else Form.SCATTER
    if op in MAPS:
        return Form.ZERO if 0 in operands[0].shape else Form.MOVE
    if op == "matmul":
        if operands[0].shape[-1] == 0:
            return Form.ZERO
        if node.type.dtype not in ("f32", "f64"):
            raise CannotLower(f"{_where(node)}matmul of {node.type.dtype} has no kernel, only f32 and f64 have")
        return Form.MATMUL
    if op in _KERNEL_OPS or (ELEMENTWISE in OPS[op].traits and (not node.attrs or op == "cast")):
        return Form.LIGHT
    raise CannotLower(f"{_where(node)}op {op} has no kernel")


def _where(node: Node) -> str:
    return f"{node.line}: " if node.line else ""


def one_hot(graph: Graph, node: Node) -> bool:
    """Does each line along the axis of this scatter_add get one update? Then it is a choice at every point, no scatter."""
    return graph.type_of(node.args[1]).shape[dict(node.attrs)["axis"]] == 1


def points(type: TensorType) -> int:
    """The number of elements of a static type."""
    return prod(type.shape)


def same_storage(graph: Graph, forms: tuple[Form, ...], value: int) -> int:
    """The value of which `value` is the same elements in the same order: reshapes and the like are seen through."""
    while forms[value] is Form.MOVE:
        node = graph.node_of(value)
        assert node is not None
        source = graph.type_of(node.args[0]).shape
        if not (node.op in ("reshape", "detach", "scatter_add", *_REDUCTIONS)
                or (node.op == "transpose" and _keeps_order(dict(node.attrs)["axes"], source))
                or (node.op in ("broadcast", "slice", "pad") and points(node.type) == points(graph.type_of(node.args[0])))):
            break
        value = node.args[0]
    return value


def _keeps_order(axes: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    moved = [k for k in axes if shape[k] != 1]
    return moved == sorted(moved)
