"""Operations that move elements and compute nothing: reshape, transpose, broadcast, flip, gather.

All but gather and concat give views where NumPy does.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, cast

import numpy as np

from codegen.ir import type_rules
from codegen.ir.type_rules import AxisError, TypeRuleError
from codegen.ir.types import type_of
from tracegrad.algebra import are_equal
from tracegrad.devices import CUPY, may_share_memory, there
from tracegrad.dispatch import GRAD, complete, dispatch, owned
from tracegrad.dtype_info import result_type
from tracegrad.dtypes import int32, int64
from tracegrad.mutation import deliver
from tracegrad.operands import Axis, Operand, axes_of, convert, refuse_names, tensor_operand
from tracegrad.placement import together
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def shape_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes written one by one or as one sequence, as a tuple of ints; TypeError for anything else."""
    if len(sizes) == 1 and isinstance(sizes[0], Sequence):
        sizes = tuple(sizes[0])
    try:
        return tuple(index(size) for size in sizes)
    except TypeError:
        shown = ", ".join(map(repr, sizes))
    raise TypeError(at_user_line(f"({shown}) is not a shape: a size is an int"))


def sizes_of(op: str, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of what is to be made; ValueError, naming `op`, if a size is negative."""
    shape = shape_of(sizes)
    if any(size < 0 for size in shape):
        raise ValueError(at_user_line(f"{op}: the shape {list(shape)} has a negative size"))
    return shape


def broadcast_shapes(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape; TypeRuleError, naming `op`, if there is none."""
    try:
        return cast(tuple[int, ...], type_rules.broadcast_shapes(*shapes))
    except TypeRuleError as refusal:
        raise TypeRuleError(at_user_line(f"{op}: {refusal}")) from None


def one_axis(op: str, x: Tensor, axis: int, ndim: int) -> int:
    """The axis, counted from the end if below 0; AxisError if it is none of `ndim`."""
    k = axis if type(axis) is int else axes_of(axis, 0)[0]
    if not -ndim <= k < ndim:
        raise AxisError(at_user_line(f"{op}: axis {k} is out of range for {type_of(x)}"))
    return k % ndim


def reshape(x: Operand, /, shape: Any, *more: Any, copy: bool | None = None) -> Tensor:
    """The elements of x in their order, in another shape; one size may be -1, which is what remains.

    A view where the memory of x allows it; copy=True is never one, copy=False raises ValueError where there is none.

        >>> tg.reshape(tg.arange(6), (2, -1))
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """
    x = tensor_operand("reshape", x)
    sizes = shape_of((shape, *more))
    if -1 in sizes:
        known = prod(size for size in sizes if size != -1)
        if sizes.count(-1) > 1 or known == 0 or x.size % known:
            raise TypeRuleError(at_user_line(f"reshape: {type_of(x)} does not reshape to {list(sizes)}"))
        sizes = tuple(x.size // known if size == -1 else size for size in sizes)
    result = dispatch("reshape", x, shape=sizes)
    if copy is None:
        return result
    shared = may_share_memory(result.memory, x.memory)
    if copy is False and not shared and x.size:
        raise ValueError(at_user_line(f"reshape: a copy is needed to reshape {type_of(x)} to {list(sizes)}"))
    return complete("reshape", (result,), {"shape": sizes}, result.copied()) if copy and shared else result


def flatten(x: Operand, /, start: int = 0, end: int = -1) -> Tensor:
    """Axes start to end (that one included) made one.

        >>> tg.flatten(tg.zeros(2, 3, 4), 1).shape
        (2, 12)
    """
    x = tensor_operand("flatten", x)
    if x.ndim == 0:
        return reshape(x, (1,))
    a, b = one_axis("flatten", x, start, x.ndim), one_axis("flatten", x, end, x.ndim)
    shape = x.shape
    return dispatch("reshape", x, shape=(*shape[:a], prod(shape[a:b + 1]), *shape[b + 1:]))


def permute_dims(x: Operand, /, axes: Any, *more: Any) -> Tensor:
    """Axis k of the result is axis axes[k] of x.

        >>> tg.permute_dims(tg.zeros(2, 3, 4), (2, 0, 1)).shape
        (4, 2, 3)
    """
    x = tensor_operand("permute_dims", x)
    return dispatch("transpose", x, axes=axes_of(shape_of((axes, *more)), x.ndim))


def swapaxes(x: Operand, axis1: int, axis2: int, /) -> Tensor:
    """Two axes exchanged."""
    x = tensor_operand("swapaxes", x)
    n = x.ndim
    a, b = one_axis("swapaxes", x, axis1, n), one_axis("swapaxes", x, axis2, n)
    axes = list(range(n))
    axes[a], axes[b] = b, a
    return dispatch("transpose", x, axes=tuple(axes))


def matrix_transpose(x: Operand, /) -> Tensor:
    """The last two axes exchanged."""
    return swapaxes(x, -2, -1)


def t(x: Operand, /) -> Tensor:
    """The transpose of a matrix; what has fewer axes is itself."""
    x = tensor_operand("t", x)
    if x.ndim > 2:
        raise TypeRuleError(at_user_line(f"t: {type_of(x)} has more than 2 axes; use mT or permute_dims"))
    return dispatch("transpose", x, axes=tuple(reversed(range(x.ndim))))


def squeeze(x: Operand, /, axis: Axis = None, **names: Any) -> Tensor:
    """x without the axes `axis` (None: all those) of size 1.

        >>> tg.squeeze(tg.zeros(1, 3, 1), axis=0).shape
        (3, 1)
    """
    refuse_names("squeeze", names)
    x = tensor_operand("squeeze", x)
    shape = x.shape
    if axis is None:
        drop = {k for k, size in enumerate(shape) if size == 1}
    else:
        drop = {one_axis("squeeze", x, k, len(shape)) for k in axes_of(axis, len(shape))}
    for k in drop:
        if shape[k] != 1:
            raise TypeRuleError(at_user_line(f"squeeze: axis {k} of {type_of(x)} does not have size 1"))
    return dispatch("reshape", x, shape=tuple(size for k, size in enumerate(shape) if k not in drop))


def expand_dims(x: Operand, /, axis: int | tuple[int, ...] = 0, **names: Any) -> Tensor:
    """x with an axis of size 1 at place `axis` of the result, or at each of several.

        >>> tg.expand_dims(tg.zeros(3), -1).shape
        (3, 1)
    """
    refuse_names("expand_dims", names)
    x = tensor_operand("expand_dims", x)
    places = axis if isinstance(axis, tuple | list) else (axis,)
    n = x.ndim + len(places)
    new = {one_axis("expand_dims", x, k, n) for k in places}
    if len(new) < len(places):
        raise TypeRuleError(at_user_line(f"expand_dims: axis {list(places)} names an axis twice"))
    sizes = iter(x.shape)
    return dispatch("reshape", x, shape=tuple(1 if k in new else next(sizes) for k in range(n)))


def broadcast_to(x: Operand, /, shape: Any, *more: Any) -> Tensor:
    """x repeated to `shape` without a copy; the result cannot be written to.

        >>> tg.broadcast_to(tg.tensor([1, 2]), (2, 2))
        tensor([[1, 2],
                [1, 2]])
    """
    x = tensor_operand("broadcast_to", x)
    sizes = shape_of((shape, *more))
    return x if are_equal(x.shape, sizes) else dispatch("broadcast", x, shape=sizes)


def expand(x: Operand, /, *shape: Any) -> Tensor:
    """broadcast_to, where -1 keeps a size."""
    x = tensor_operand("expand", x)
    sizes = shape_of(shape)
    known = (1,) * (len(sizes) - x.ndim) + x.shape
    return broadcast_to(x, tuple(known[k] if size == -1 else size for k, size in enumerate(sizes)))


def flip(x: Operand, /, axis: Axis = None, **names: Any) -> Tensor:
    """The elements along `axis` (None: every axis) in reverse."""
    refuse_names("flip", names)
    x = tensor_operand("flip", x)
    return dispatch("flip", x, axes=axes_of(axis, x.ndim))


def index_operand(op: str, indices: Operand) -> Tensor:
    """Indices in a dtype that gather takes."""
    indices = tensor_operand(op, indices)
    if indices.dtype.kind not in "iu":
        raise TypeRuleError(at_user_line(f"{op}: indices {type_of(indices)} are not integers"))
    return indices if indices.dtype in (int32, int64) else convert(indices, int64)


def take_along_axis(x: Operand, indices: Operand, /, axis: int = -1, **names: Any) -> Tensor:
    """result[.., i, ..] = x[.., indices[.., i, ..], ..] along `axis`; other axes broadcast. IndexError if outside.

        >>> tg.take_along_axis(tg.tensor([[1, 2], [3, 4]]), tg.tensor([[1], [0]]), axis=1)
        tensor([[2],
                [3]])
    """
    refuse_names("take_along_axis", names)
    x, indices = tensor_operand("take_along_axis", x), index_operand("take_along_axis", indices)
    k = one_axis("take_along_axis", x, axis, x.ndim)
    a, b = list(x.shape), list(indices.shape)
    if len(a) != len(b):
        raise TypeRuleError(at_user_line(
            f"take_along_axis: {type_of(x)} and its indices {type_of(indices)} differ in rank"))
    common = list(broadcast_shapes("take_along_axis", (*a[:k], 1, *a[k + 1:]), (*b[:k], 1, *b[k + 1:])))
    x = broadcast_to(x, (*common[:k], a[k], *common[k + 1:]))
    indices = broadcast_to(indices, (*common[:k], b[k], *common[k + 1:]))
    return dispatch("gather", x, indices, axis=k)


def gather(x: Operand, axis: int, indices: Operand, /) -> Tensor:
    """PyTorch's take_along_axis: along the other axes `indices` may be shorter than x, which is cut to fit."""
    x, indices = tensor_operand("gather", x), index_operand("gather", indices)
    k = one_axis("gather", x, axis, x.ndim)
    shape, wanted = x.shape, indices.shape
    if len(shape) == len(wanted) and all(j == k or n <= m for j, (m, n) in enumerate(zip(shape, wanted))):
        stop = (*wanted[:k], shape[k], *wanted[k + 1:])
        if stop != shape:
            x = dispatch("slice", x, start=(0,) * len(shape), stop=stop, step=(1,) * len(shape))
    return dispatch("gather", x, indices, axis=k)


def take(x: Operand, indices: Operand, /, axis: int = 0, *, out: Tensor | None = None, **names: Any) -> Tensor:
    """x at `indices` (of any rank, their axes take the place of `axis`). IndexError out of bounds.

        >>> tg.take(tg.tensor([[1, 2], [3, 4]]), tg.tensor([1, 1, 0]), axis=1)
        tensor([[2, 2, 1],
                [4, 4, 3]])
    """
    if out is not None:
        return deliver(out, take(x, indices, axis, **names), "take")
    refuse_names("take", names)
    x, indices = tensor_operand("take", x), index_operand("take", indices)
    k = one_axis("take", x, axis, x.ndim)
    shape, places = x.shape, indices.shape
    column = reshape(indices, tuple(indices.size if j == k else 1 for j in range(len(shape))))
    taken = dispatch("gather", x, broadcast_to(column, (*shape[:k], indices.size, *shape[k + 1:])), axis=k)
    return taken if len(places) == 1 else dispatch("reshape", taken, shape=(*shape[:k], *places, *shape[k + 1:]))


def concat(tensors: Sequence[Operand], /, axis: int | None = 0, *, out: Tensor | None = None, **names: Any) -> Tensor:
    """The tensors one after another along `axis` (None: flattened, one after another), in memory of their own.

        >>> tg.concat([tg.ones(1, 2), tg.zeros(2, 2)])
        tensor([[1., 1.],
                [0., 0.],
                [0., 0.]])
    """
    if out is not None:
        return deliver(out, concat(tensors, axis, **names), "concat")
    refuse_names("concat", names)
    parts = [tensor_operand("concat", x) for x in tensors]
    if not parts:
        raise ValueError(at_user_line("concat: there is nothing to concatenate"))
    if axis is None:
        parts, axis = [flatten(x) for x in parts], 0
    common = result_type(*parts)
    parts = [convert(x, common) for x in parts]
    k = one_axis("concat", parts[0], axis, parts[0].ndim)
    outer = [x.shape[:k] + x.shape[k + 1:] for x in parts]
    for x, shape in zip(parts, outer):
        if shape != outer[0] or x.ndim != parts[0].ndim:
            raise TypeRuleError(at_user_line(
                f"concat: {type_of(parts[0])} and {type_of(x)} differ in an axis other than {k}"))
    if len(parts) == 1:
        return owned("reshape", (parts[0],), {"shape": parts[0].shape}, lambda: parts[0].copied().memory)
    if ACTIVE.get() is None and not (GRAD.enabled and any(x.requires_grad for x in parts)):
        arrays = [x.array for x in parts]
        if not CUPY:
            return Tensor(np.concatenate(arrays, k))
        arrays = together("concat", arrays)
        with there(arrays[0]):
            return Tensor(np.concatenate(arrays, k))
    return joined(parts, k)


def joined(parts: list[Tensor], k: int) -> Tensor:
    """concat by ops: neighbors first, so that no element is copied more often than the pairs are deep."""
    while len(parts) > 1:
        pairs = [dispatch("concat", x, y, axis=k) for x, y in zip(parts[::2], parts[1::2])]
        parts = pairs + parts[len(parts) - len(parts) % 2:]
    return parts[0]


def stack(tensors: Sequence[Operand], /, axis: int = 0, *, out: Tensor | None = None, **names: Any) -> Tensor:
    """The tensors, all of one shape, along a new axis at place `axis`.

        >>> tg.stack([tg.tensor([1, 2]), tg.tensor([3, 4])], axis=1)
        tensor([[1, 3],
                [2, 4]])
    """
    if out is not None:
        return deliver(out, stack(tensors, axis, **names), "stack")
    refuse_names("stack", names)
    return concat([expand_dims(x, axis) for x in tensors], axis)
