"""Writes at places, as PyTorch and NumPy call them beside x[key] = y: index_put_, put, masked_scatter_, fill_diagonal_.

Methods with a trailing underscore write to their tensor and return it; NumPy's functions write and return None.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.assignment import add_at, set_item
from tracegrad.cumulative import cumsum
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import int64
from tracegrad.functional import clone
from tracegrad.host import read
from tracegrad.indexing import get
from tracegrad.movement import broadcast_to, index_operand, reshape, take
from tracegrad.mutation import assigned, write
from tracegrad.operands import Operand, convert, tensor_operand, truth
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def index_put_(x: Tensor, indices: Sequence[Any], values: Operand, accumulate: bool = False) -> Tensor:
    """x[indices] = values; with `accumulate` values are added, and repeated indices add up. None stands for an axis.

        >>> tg.zeros(3).index_put_((tg.tensor([0, 0, 2]),), tg.tensor([1.0, 2.0, 3.0]), accumulate=True)
        tensor([3., 0., 3.])
    """
    key = tuple(slice(None) if k is None else k for k in indices)
    (add_at if accumulate else set_item)(x, key, values)
    return x


def put_(x: Tensor, indices: Operand, source: Operand, accumulate: bool = False) -> Tensor:
    """`source`, of as many elements as there are indices, written at indices into the flattened x.

        >>> tg.zeros(2, 2).put_(tg.tensor([3, 0]), tg.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 1.]])
    """
    line = reshape(x, (-1,))
    (add_at if accumulate else set_item)(line, index_operand("put_", indices), source)
    if line.view_of is None:                # a copy, since x does not lie in order
        write(x, reshape(line, x.shape))
    return x


def put(x: Tensor, indices: Operand, values: Operand, /) -> None:
    """NumPy's: values written at indices into the flattened x itself; fewer values are repeated, more are left out.

        >>> x = tg.zeros(4)
        >>> tg.put(x, tg.tensor([0, 1, 3]), tg.tensor([5.0, 6.0]))
        >>> x
        tensor([5., 6., 0., 5.])
    """
    places, given = (reshape(tensor_operand("put", k), (-1,)) for k in (indices, values))
    n, count = given.size, places.size
    if n != count and count:
        if n == 0:
            raise TypeRuleError(at_user_line(f"put: there is no value for {count} indices"))
        repeated = broadcast_to(given, (-(-count // n), n))
        given = get(reshape(repeated, (-1,)), slice(count))
    put_(x, places, given)


def masked_scatter_(x: Tensor, mask: Operand, source: Operand, /) -> Tensor:
    """The elements of `source`, in order, written where the mask, broadcast to x, holds; what is left over is not used.

        >>> tg.zeros(4).masked_scatter_(tg.tensor([True, False, True, False]), tg.tensor([1.0, 2.0, 3.0]))
        tensor([1., 0., 2., 0.])
    """
    given = reshape(tensor_operand("masked_scatter_", source), (-1,))
    chosen = reshape(broadcast_to(truth(mask), x.shape), (-1,))
    n = given.size
    values = chosen.array if n else read(chosen, "masked_scatter_ of nothing")
    wanted = int(values.sum())              # no read: where a replay wants more than n, its gather refuses
    if wanted > n:
        raise TypeRuleError(at_user_line(
            f"masked_scatter_: the mask holds at {wanted} places, {type_of(given)} has {n} elements"))
    if n and x.size:
        place = dispatch("sub", cumsum(convert(chosen, int64), 0), 1)
        taken = take(assigned(x.dtype, given.shape, given, "masked_scatter_"),
                     dispatch("where", chosen, place, 0))
        whole = (reshape(k, x.shape) for k in (chosen, taken))
        write(x, dispatch("where", *whole, x))
    return x


def fill_diagonal_(x: Tensor, value: Operand, /) -> Tensor:
    """Write a value where all indices are equal.

        >>> tg.zeros(2, 3).fill_diagonal_(1.0)
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    shape = x.shape
    if len(shape) < 2 or len(shape) > 2 and len(set(shape)) > 1:
        raise TypeRuleError(at_user_line(f"fill_diagonal_: {type_of(x)} has no diagonal"))
    sizes = [tuple(n if j == k else 1 for j, n in enumerate(shape)) for k in range(len(shape))]
    first, *others = (dispatch("iota", shape=size, axis=k, dtype="i64") for k, size in enumerate(sizes))
    inside = dispatch("eq", first, others[0])
    for other in others[1:]:
        inside = dispatch("and", inside, dispatch("eq", first, other))
    write(x, dispatch("where", inside, assigned(x.dtype, (), value, "fill_diagonal_"), x))
    return x


def copied(in_place: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The form of a write that leaves x as it is."""
    def apply(x: Operand, *args: Any, **options: Any) -> Tensor:
        return in_place(clone(tensor_operand(in_place.__name__, x)), *args, **options)
    apply.__name__ = apply.__qualname__ = in_place.__name__[:-1]
    apply.__doc__ = f"`{in_place.__name__}` on a copy of x."
    return apply


index_put, masked_scatter = copied(index_put_), copied(masked_scatter_)
