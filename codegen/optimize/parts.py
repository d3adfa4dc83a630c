"""parts: which part of its operands a part of a value is made of.

    %3 = matmul %0, %1 : f32[8,64,32]    the part [2:3] along axis 0: the same of %0 and %1
                                         the part [0:9] along axis 1: the same of %0, and all of %1
    %4 = sum %3 axis=[1] : f32[8,32]     the part [0:9] along axis 1: that of %3 along axis 2
                                         and %4 is the sum of what it would be of each of the parts of %3 along axis 1
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.dims import element_count
from codegen.ir.graph import Node, attrs_of
from codegen.ir.ops import ELEMENTWISE, OPS, REDUCTION
from codegen.ir.types import TensorType, is_static
from codegen.optimize.rewrite import Rewriter

TypeOf = Callable[[int], TensorType]

COMBINED = {"matmul": "add", "sum": "add", "max": "maximum", "min": "minimum"}
"""How what an op makes of parts becomes what it makes of the whole, where it combines along the axis that is cut."""


def operand_axes(type_of: TypeOf, node: Node, axis: int) -> dict[int, int] | None:
    """The operands of which a part along an axis needs the same part, along which axis each; of others it needs all.

    None if it needs other parts.
    """
    if not is_static(node.type) or not all(is_static(type_of(v)) for v in node.args):
        return None
    if node.op == "matmul":
        a, b = node.args
        last = node.type.ndim - 1
        if axis < last - 1:
            return {a: axis, b: axis}
        return None if a == b else {a: axis} if axis == last - 1 else {b: axis}
    found: dict[int, int] = {}
    for v in node.args:
        own = _operand_axis(node, type_of(v), axis)
        if own is None or own >= 0 and found.setdefault(v, own) != own:
            return None
    return found


def _operand_axis(node: Node, operand: TensorType, axis: int) -> int | None:
    """Along which axis an operand is cut for a part along `axis`: -1 where it is all the same, None if it cannot be."""
    attrs = attrs_of(node)
    if node.op == "transpose":
        return attrs["axes"][axis]
    if node.op == "reshape":
        before = element_count(node.type.shape[:axis])
        return next((k for k, n in enumerate(operand.shape)
                     if n == node.type.shape[axis] and element_count(operand.shape[:k]) == before), None)
    if REDUCTION in OPS[node.op].traits and "keepdims" in attrs:
        reduced = sorted(attrs["axis"])
        if not attrs["keepdims"]:
            for k in reduced:
                axis += k <= axis
        return None if axis in reduced else axis
    if ELEMENTWISE not in OPS[node.op].traits and node.op != "broadcast":
        return None
    own = axis - (node.type.ndim - operand.ndim)
    return own if own >= 0 and operand.shape[own] != 1 else -1


def combined_axes(type_of: TypeOf, node: Node, axis_of: dict[int, int]) -> dict[int, int] | None:
    """Along which axes operands are cut for a node that is made of what it would be of each part; None if it is not.

    `axis_of`: along which they have to be, if they are in it.
    """
    if node.op not in COMBINED or not all(is_static(type_of(v)) for v in node.args):
        return None
    if node.op == "matmul":
        a, b = node.args
        axes = {a: type_of(a).ndim - 1, b: type_of(b).ndim - 2}
        return axes if a != b and all(axis_of.get(v, axis) == axis for v, axis in axes.items()) else None
    operand, = node.args
    axis = axis_of.get(operand)
    return {operand: axis} if axis is not None and axis in attrs_of(node)["axis"] else None


def emit_part(rewriter: Rewriter, node: Node, args: list[int], axis: int | None, size: int) -> int:
    """The node of these operands, the result so long along an axis."""
    attrs = attrs_of(node)
    if axis is not None and node.op in ("broadcast", "reshape"):
        attrs["shape"] = (*attrs["shape"][:axis], size, *attrs["shape"][axis + 1:])
    return rewriter.emit(node.op, *args, **attrs)


def emit_slice(rewriter: Rewriter, value: int, axis: int, start: int, stop: int) -> int:
    """Elements start .. stop - 1 of a value along an axis."""
    shape = rewriter.types[value].shape
    low, high = [0] * len(shape), list(shape)
    low[axis], high[axis] = start, stop
    return rewriter.emit("slice", value, start=tuple(low), stop=tuple(high), step=(1,) * len(shape))
