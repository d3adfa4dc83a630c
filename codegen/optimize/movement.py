"""Rules of the ops that move elements, and of elementwise ops over them. All are exact, none makes a node more.

    %1 = broadcast %0 shape=[8,1]          %1 = exp %0
    %2 = broadcast %1 shape=[8,9]    ->    %2 = broadcast %1 shape=[8,9]
    %3 = exp %2
"""
from __future__ import annotations

from codegen.ir.dims import Size
from codegen.ir.graph import Node, attrs_of
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.type_rules import broadcast_shapes
from codegen.ir.types import FLOATS, INTEGERS, TensorType
from codegen.optimize.rewrite import Rewriter, Rules
from codegen.optimize.zeros import plus_zero


def _operand(rewriter: Rewriter, node: Node, op: str) -> Node | None:
    """The node of the only operand, if it is an `op`."""
    operand = rewriter.nodes[node.args[0]]
    return operand if operand is not None and operand.op == op else None


def _identity(rewriter: Rewriter, node: Node) -> int | None:
    """op(x) -> x, for an op that changes neither the type nor, therefore, anything else"""
    v = node.args[0]
    return v if rewriter.types[v] == node.type else None


def _nothing_reduced(rewriter: Rewriter, node: Node) -> int | None:
    """sum, max or min over axes of size 1 -> reshape; a sum begins with 0.0, so -0.0 becomes that"""
    v = node.args[0]
    shape, axis = rewriter.types[v].shape, attrs_of(node)["axis"]
    if any(shape[k] != 1 for k in axis):
        return None
    found = rewriter.emit("reshape", v, shape=node.type.shape)
    return plus_zero(rewriter, found) if node.op == "sum" else found


def _broadcast_of_broadcast(rewriter: Rewriter, node: Node) -> int | None:
    inner = _operand(rewriter, node, "broadcast")
    return None if inner is None else rewriter.emit("broadcast", *inner.args, shape=node.type.shape)


def _broadcast_of_front_axes(rewriter: Rewriter, node: Node) -> int | None:
    """broadcast(reshape(x)) -> broadcast(x), where the reshape adds or drops axes of size 1 in front only"""
    inner = _operand(rewriter, node, "reshape")
    if inner is None:
        return None
    x, = inner.args
    before, after = rewriter.types[x].shape, inner.type.shape
    if _without_front(before) != _without_front(after) or len(before) > node.type.ndim:
        return None
    return rewriter.emit("broadcast", x, shape=node.type.shape)


def _without_front(shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """A shape without the axes of size 1 in front."""
    k = 0
    while k < len(shape) and shape[k] == 1:
        k += 1
    return shape[k:]


def _broadcast_is_reshape(rewriter: Rewriter, node: Node) -> int | None:
    """broadcast(x) -> reshape(x), where it adds axes of size 1 in front and repeats nothing"""
    x, = node.args
    shape, front = rewriter.types[x].shape, node.type.ndim - rewriter.types[x].ndim
    if not shape or node.type.shape != (1,) * front + shape:
        return None
    return rewriter.emit("reshape", x, shape=node.type.shape)


def _reshape_of_reshape(rewriter: Rewriter, node: Node) -> int | None:
    inner = _operand(rewriter, node, "reshape")
    return None if inner is None else rewriter.emit("reshape", *inner.args, shape=node.type.shape)


def _transpose_of_transpose(rewriter: Rewriter, node: Node) -> int | None:
    inner = _operand(rewriter, node, "transpose")
    if inner is None:
        return None
    outer_axes, inner_axes = attrs_of(node)["axes"], attrs_of(inner)["axes"]
    return rewriter.emit("transpose", *inner.args, axes=tuple(inner_axes[k] for k in outer_axes))


def _transpose_of_broadcast(rewriter: Rewriter, node: Node) -> int | None:
    """transpose(broadcast(x)) -> broadcast(transpose(x)), where the axes that the broadcast adds stay in front"""
    inner = _operand(rewriter, node, "broadcast")
    if inner is None:
        return None
    x, = inner.args
    axes, front = attrs_of(node)["axes"], inner.type.ndim - rewriter.types[x].ndim
    if axes[:front] != tuple(range(front)):
        return None
    moved = rewriter.emit("transpose", x, axes=tuple(k - front for k in axes[front:]))
    return rewriter.emit("broadcast", moved, shape=node.type.shape)


def _transpose_in_order(rewriter: Rewriter, node: Node) -> int | None:
    """transpose(x) -> reshape(x), where the axes that are not of size 1 stay in order; x itself, where all do"""
    x, = node.args
    shape, axes = rewriter.types[x].shape, attrs_of(node)["axes"]
    order = [k for k in axes if shape[k] != 1]
    if order != sorted(order):
        return None
    return x if rewriter.types[x] == node.type else rewriter.emit("reshape", x, shape=node.type.shape)


def _slice_of_slice(rewriter: Rewriter, node: Node) -> int | None:
    inner = _operand(rewriter, node, "slice")
    if inner is None:
        return None
    outer, within = attrs_of(node), attrs_of(inner)
    start, stop, step = [], [], []
    for k, size in enumerate(node.type.shape):
        stride = within["step"][k] * outer["step"][k]
        first = 0 if size == 0 else within["start"][k] + outer["start"][k] * within["step"][k]
        start.append(first)
        stop.append(0 if size == 0 else first + (size - 1) * stride + 1)
        step.append(stride)
    return rewriter.emit("slice", *inner.args, start=tuple(start), stop=tuple(stop), step=tuple(step))


def _slice_of_reduction(rewriter: Rewriter, node: Node) -> int | None:
    """slice(sum(x)) -> sum(slice(x)), where nothing else reads the sum: what is cut off is not added up"""
    v, = node.args
    reduction = rewriter.nodes[v]
    if reduction is None or reduction.op not in ("sum", "max", "min") or rewriter.readers.get(v) != 1:
        return None
    x, = reduction.args
    attrs, cut, shape = attrs_of(reduction), attrs_of(node), rewriter.types[x].shape
    places = [k for k in range(len(shape)) if attrs["keepdims"] or k not in attrs["axis"]]
    if 0 in node.type.shape:
        return None
    whole = {k: (0, size, 1) for k, size in enumerate(shape)}
    part = {k: ends for k, ends in zip(places, zip(cut["start"], cut["stop"], cut["step"])) if k not in attrs["axis"]}
    start, stop, step = zip(*{**whole, **part}.values())
    return rewriter.emit(reduction.op, rewriter.emit("slice", x, start=start, stop=stop, step=step),
                         axis=attrs["axis"], keepdims=attrs["keepdims"])


def _flip_of_flip(rewriter: Rewriter, node: Node) -> int | None:
    """flip(flip(x)) -> flip(x), over the axes that only one of them has"""
    inner = _operand(rewriter, node, "flip")
    if inner is None:
        return None
    axes = set(attrs_of(node)["axes"]) ^ set(attrs_of(inner)["axes"])
    return rewriter.emit("flip", *inner.args, axes=tuple(sorted(axes))) if axes else inner.args[0]


def _flip_of_one(rewriter: Rewriter, node: Node) -> int | None:
    """flip(x) -> x, where the axes have size 1"""
    v = node.args[0]
    return v if all(node.type.shape[k] in (0, 1) for k in attrs_of(node)["axes"]) else None


def _cast_of_cast(rewriter: Rewriter, node: Node) -> int | None:
    """cast(cast(x)) -> cast(x), where the first loses nothing, and no integer saturates that would wrap around"""
    inner = _operand(rewriter, node, "cast")
    if inner is None:
        return None
    x, = inner.args
    first, second, third = rewriter.types[x].dtype, inner.type.dtype, node.type.dtype
    holders = _HOLDERS.get(first, frozenset())
    if second not in holders or (first in INTEGERS and second in FLOATS and third in INTEGERS - holders - {first}):
        return None
    return rewriter.emit("cast", x, dtype=third)


_HOLDERS = {
    "bool": INTEGERS | FLOATS,
    "i8": frozenset({"i16", "i32", "i64", "f16", "bf16", "f32", "f64"}),
    "u8": frozenset({"i16", "i32", "i64", "u16", "u32", "u64", "f16", "bf16", "f32", "f64"}),
    "i16": frozenset({"i32", "i64", "f32", "f64"}),
    "u16": frozenset({"i32", "i64", "u32", "u64", "f32", "f64"}),
    "i32": frozenset({"i64", "f64"}),
    "u32": frozenset({"i64", "u64", "f64"}),
    "f16": frozenset({"f32", "f64"}),
    "bf16": frozenset({"f32", "f64"}),
    "f32": frozenset({"f64"}),
}
"""The dtypes that hold every number of a dtype."""


def _elementwise_of_broadcast(rewriter: Rewriter, node: Node) -> int | None:
    """op(broadcast(x), y) -> op(x, y), broadcast afterwards if that is still needed"""
    args = []
    for v in node.args:
        operand = rewriter.nodes[v]
        args.append(operand.args[0] if operand is not None and operand.op == "broadcast" else v)
    stripped = tuple(args)
    if stripped == node.args:
        return None
    shape = broadcast_shapes(*[rewriter.types[v].shape for v in stripped])
    value = rewriter.add(Node(node.op, stripped, node.attrs, TensorType(node.type.dtype, shape), node.line))
    return value if shape == node.type.shape else rewriter.emit("broadcast", value, shape=node.type.shape)


_REDUCED = (_nothing_reduced,)

MOVEMENT: Rules = {
    **{op.name: (_elementwise_of_broadcast,) for op in OPS.values() if ELEMENTWISE in op.traits},
    "cast": (_identity, _elementwise_of_broadcast, _cast_of_cast),
    "broadcast": (_identity, _broadcast_of_broadcast, _broadcast_of_front_axes, _broadcast_is_reshape),
    "reshape": (_identity, _reshape_of_reshape),
    "transpose": (_transpose_of_transpose, _transpose_in_order, _transpose_of_broadcast),
    "slice": (_identity, _slice_of_slice, _slice_of_reduction),
    "pad": (_identity,),
    "flip": (_flip_of_one, _flip_of_flip),
    "sum": _REDUCED, "prod": _REDUCED, "max": _REDUCED, "min": _REDUCED,
}
"""What each of these ops can be replaced with."""
