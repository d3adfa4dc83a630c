"""Parts of a tensor, as views of it: split in several ways, narrow, select, unstack.

Where PyTorch and NumPy give one name two meanings it has PyTorch's: `split` takes sizes, `array_split` a number of
parts.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.indexing import get
from tracegrad.movement import one_axis
from tracegrad.operands import Operand, refuse_names, tensor_operand
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """x from start to stop along `axis`: a view."""
    return get(x, (*[slice(None)] * axis, slice(start, stop)))


def unstack(x: Operand, /, axis: int = 0, **names: Any) -> tuple[Tensor, ...]:
    """The tensors along `axis`, which goes; stack puts them together again.

        >>> tg.unstack(tg.tensor([[1, 2], [3, 4]]), axis=1)
        (tensor([1, 3]), tensor([2, 4]))
    """
    refuse_names("unstack", names)
    x = tensor_operand("unstack", x)
    k = one_axis("unstack", x, axis, x.ndim)
    return tuple(get(x, (*[slice(None)] * k, i)) for i in range(x.shape[k]))


def narrow(x: Operand, axis: int, start: int, length: int, /) -> Tensor:
    """`length` elements along `axis`, the first of them at `start`: a view.

        >>> tg.narrow(tg.arange(5), 0, 1, 3)
        tensor([1, 2, 3])
    """
    x = tensor_operand("narrow", x)
    k = one_axis("narrow", x, axis, x.ndim)
    size = x.shape[k]
    start, length = index(start), index(length)
    first = start + size if start < 0 else start
    if length < 0 or not 0 <= first <= first + length <= size:
        raise IndexError(at_user_line(
            f"narrow: {length} elements from {start} are out of bounds for axis {k} of size {size}"))
    return part(x, k, first, first + length)


def select(x: Operand, axis: int, place: int, /) -> Tensor:
    """x at `place` along `axis`, which goes: a view.

        >>> tg.select(tg.tensor([[1, 2], [3, 4]]), 1, 0)
        tensor([1, 3])
    """
    x = tensor_operand("select", x)
    return get(x, (*[slice(None)] * one_axis("select", x, axis, x.ndim), index(place)))


def split(x: Operand, sizes: int | Sequence[int], /, axis: int = 0, **names: Any) -> tuple[Tensor, ...]:
    """PyTorch's split: parts of one size (the last may be smaller), or of these sizes. NumPy's is `array_split`.

        >>> tg.split(tg.arange(5), 2)
        (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    refuse_names("split", names)
    x = tensor_operand("split", x)
    k = one_axis("split", x, axis, x.ndim)
    n = x.shape[k]
    if isinstance(sizes, int):
        sizes = index(sizes)
        if sizes < 1:
            raise ValueError(at_user_line(f"split: parts of size {sizes}"))
        return cut_at(x, k, list(range(sizes, n, sizes)))
    lengths = [index(size) for size in sizes]
    if sum(lengths) != n or any(length < 0 for length in lengths):
        raise ValueError(at_user_line(f"split: sizes {lengths} do not add up to {n}, the size of axis {k}"))
    return cut_at(x, k, np.cumsum(lengths[:-1], dtype=np.int64).tolist())


def cut_at(x: Tensor, axis: int, places: list[int]) -> tuple[Tensor, ...]:
    """The parts between places, which go from 0 to the size of the axis."""
    ends = [0, *places, x.shape[axis]]
    return tuple(part(x, axis, a, max(a, b)) for a, b in zip(ends, ends[1:]))


def array_split(x: Operand, parts: int | Sequence[int], /, axis: int = 0, **names: Any) -> tuple[Tensor, ...]:
    """So many parts, the first ones larger by 1 if need be; or the parts between these places, as slices mean them.

        >>> tg.array_split(tg.arange(5), 3)
        (tensor([0, 1]), tensor([2, 3]), tensor([4]))
        >>> tg.array_split(tg.arange(5), (1, 3))
        (tensor([0]), tensor([1, 2]), tensor([3, 4]))
    """
    refuse_names("array_split", names)
    x = tensor_operand("array_split", x)
    k = one_axis("array_split", x, axis, x.ndim)
    n = x.shape[k]
    if not isinstance(parts, int):
        ends = [0, *(index(p) for p in parts), n]
        spans = [slice(a, b).indices(n) for a, b in zip(ends, ends[1:])]
        return tuple(part(x, k, a, max(a, b)) for a, b, _ in spans)
    parts = index(parts)
    if parts < 1:
        raise ValueError(at_user_line(f"array_split: {parts} parts"))
    size, larger = divmod(n, parts)
    return cut_at(x, k, [size * i + min(i, larger) for i in range(1, parts)])


tensor_split = array_split


def chunk(x: Operand, chunks: int, /, axis: int = 0, **names: Any) -> tuple[Tensor, ...]:
    """At most so many parts of one size, of which the last may be smaller (PyTorch's).

        >>> [part.shape for part in tg.chunk(tg.zeros(5), 4)]
        [(2,), (2,), (1,)]
    """
    refuse_names("chunk", names)
    x = tensor_operand("chunk", x)
    if chunks < 1:
        raise ValueError(at_user_line(f"chunk: {chunks} chunks"))
    k = one_axis("chunk", x, axis, x.ndim)
    return split(x, max(1, -(-x.shape[k] // index(chunks))), k)


def hsplit(x: Operand, parts: int | Sequence[int], /) -> tuple[Tensor, ...]:
    """Parts along axis 1; of a 1-d tensor, along axis 0. A number of parts must divide the axis."""
    x = tensor_operand("hsplit", x)
    return even_split("hsplit", x, parts, 0 if x.ndim == 1 else 1)


def vsplit(x: Operand, parts: int | Sequence[int], /) -> tuple[Tensor, ...]:
    """Parts along axis 0 of a tensor of at least 2 axes. A number of parts must divide the axis."""
    return even_split("vsplit", tensor_operand("vsplit", x), parts, 0, 2)


def dsplit(x: Operand, parts: int | Sequence[int], /) -> tuple[Tensor, ...]:
    """Parts along axis 2. A number of parts must divide the axis."""
    return even_split("dsplit", tensor_operand("dsplit", x), parts, 2)


def even_split(op: str, x: Tensor, parts: int | Sequence[int], axis: int, axes: int = 1) -> tuple[Tensor, ...]:
    """NumPy's split."""
    if x.ndim < max(axis + 1, axes):
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} has fewer than {max(axis + 1, axes)} axes"))
    if isinstance(parts, int) and (parts < 1 or x.shape[axis] % parts):
        raise ValueError(at_user_line(f"{op}: axis {axis} of {type_of(x)} is not {parts} equal parts"))
    return array_split(x, parts, axis)
