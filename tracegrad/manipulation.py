"""Operations that rearrange, repeat and join tensors, composed of those of `movement`.

Names and arguments are the Array API's where it has the operation, else NumPy's or PyTorch's.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from tracegrad import host
from tracegrad.dispatch import dispatch
from tracegrad.indexing import get
from tracegrad.indexing_keys import known
from tracegrad.movement import (
    broadcast_shapes,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    index_operand,
    one_axis,
    reshape,
    shape_of,
    swapaxes,
    take,
)
from tracegrad.operands import Axis, Operand, axes_of, refuse_names, tensor_operand
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.splitting import part
from tracegrad.tensors import Tensor

# ---- axes -------------------------------------------------------------------------------------------------------


def moveaxis(x: Operand, source: int | Sequence[int], destination: int | Sequence[int], /) -> Tensor:
    """The axes `source` moved to the places `destination`; the others keep their order.

        >>> tg.moveaxis(tg.zeros(2, 3, 4), 0, -1).shape
        (3, 4, 2)
    """
    x = tensor_operand("moveaxis", x)
    n = x.ndim
    sources = [source] if isinstance(source, int) else list(source)
    places = [destination] if isinstance(destination, int) else list(destination)
    sources, places = ([one_axis("moveaxis", x, k, n) for k in axes] for axes in (sources, places))
    if len(sources) != len(places) or len(set(sources)) != len(sources) or len(set(places)) != len(places):
        raise TypeRuleError(at_user_line(f"moveaxis: {sources} and {places} are not as many different axes"))
    order = [k for k in range(n) if k not in sources]
    for place, k in sorted(zip(places, sources)):
        order.insert(place, k)
    return dispatch("transpose", x, axes=tuple(order))


def rollaxis(x: Operand, axis: int, start: int = 0, /) -> Tensor:
    """`axis` moved so that it stands before what was axis `start` (NumPy's; moveaxis says it better)."""
    x = tensor_operand("rollaxis", x)
    n = x.ndim
    k, place = one_axis("rollaxis", x, axis, n), one_axis("rollaxis", x, start, n + 1)
    return moveaxis(x, k, place - 1 if k < place else place)


def ravel(x: Operand, /) -> Tensor:
    """The elements of x in their order, along one axis.

        >>> tg.ravel(tg.tensor([[1, 2], [3, 4]]))
        tensor([1, 2, 3, 4])
    """
    return reshape(x, (-1,))


def unflatten(x: Operand, axis: int, sizes: Sequence[int], /) -> Tensor:
    """One axis made several, of these sizes; one size may be -1.

        >>> tg.unflatten(tg.zeros(2, 12), 1, (3, -1)).shape
        (2, 3, 4)
    """
    x = tensor_operand("unflatten", x)
    k, shape = one_axis("unflatten", x, axis, x.ndim), x.shape
    return reshape(x, (*shape[:k], *shape_of((sizes,)), *shape[k + 1:]))


def atleast_1d(*tensors: Operand) -> Tensor | tuple[Tensor, ...]:
    """Each tensor, a 0-d one with an axis."""
    return at_least("atleast_1d", tensors, lambda x: reshape(x, (1,)) if x.ndim == 0 else x)


def atleast_2d(*tensors: Operand) -> Tensor | tuple[Tensor, ...]:
    """Each tensor, one of fewer than 2 axes as a row."""
    return at_least("atleast_2d", tensors, lambda x: reshape(x, (1, -1)) if x.ndim < 2 else x)


def atleast_3d(*tensors: Operand) -> Tensor | tuple[Tensor, ...]:
    """Each tensor with 3 axes or more: [n] becomes [1,n,1], [m,n] becomes [m,n,1]."""
    def three(x: Tensor) -> Tensor:
        return expand_dims(x if x.ndim == 2 else reshape(x, (1, -1)), 2) if x.ndim < 3 else x
    return at_least("atleast_3d", tensors, three)


def at_least(op: str, tensors: tuple[Operand, ...], grow: Any) -> Tensor | tuple[Tensor, ...]:
    grown = tuple(grow(tensor_operand(op, x)) for x in tensors)
    return grown[0] if len(grown) == 1 else grown


def broadcast_arrays(*tensors: Operand) -> list[Tensor]:
    """The tensors repeated to their common shape, without copies.

        >>> [x.shape for x in tg.broadcast_arrays(tg.zeros(3, 1), tg.zeros(4))]
        [(3, 4), (3, 4)]
    """
    operands = [tensor_operand("broadcast_arrays", x) for x in tensors]
    shape = broadcast_shapes("broadcast_arrays", *(x.shape for x in operands))
    return [broadcast_to(x, shape) for x in operands]


def meshgrid(*tensors: Operand, indexing: str = "xy") -> list[Tensor]:
    """Coordinates of a grid from those along its axes: x[len(y), len(x)] for "xy", x[len(x), len(y)] for "ij".

        >>> tg.meshgrid(tg.arange(3), tg.arange(2))[0]
        tensor([[0, 1, 2],
                [0, 1, 2]])
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(at_user_line(f"meshgrid: indexing {indexing!r} is neither 'xy' nor 'ij'"))
    operands = [ravel(tensor_operand("meshgrid", x)) for x in tensors]
    n = len(operands)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    columns = [reshape(x, tuple(-1 if k == order[j] else 1 for k in range(n))) for j, x in enumerate(operands)]
    return broadcast_arrays(*columns)


# ---- joining and repeating --------------------------------------------------------------------------------------


def hstack(tensors: Sequence[Operand], /) -> Tensor:
    """Joined along axis 1; 1-d tensors along axis 0."""
    parts = [atleast_1d(x) for x in tensors]
    return concat(parts, 0 if parts and parts[0].ndim == 1 else 1)  # type: ignore[union-attr, arg-type]


def vstack(tensors: Sequence[Operand], /) -> Tensor:
    """Joined along axis 0; 1-d tensors are rows.

        >>> tg.vstack([tg.tensor([1, 2]), tg.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    return concat([atleast_2d(x) for x in tensors], 0)      # type: ignore[misc]


row_stack = vstack


def dstack(tensors: Sequence[Operand], /) -> Tensor:
    """Joined along axis 2, of tensors made 3-d by `atleast_3d`."""
    return concat([atleast_3d(x) for x in tensors], 2)      # type: ignore[misc]


def column_stack(tensors: Sequence[Operand], /) -> Tensor:
    """Joined along axis 1; 1-d tensors are columns."""
    columns = [tensor_operand("column_stack", x) for x in tensors]
    return concat([reshape(x, (-1, 1)) if x.ndim < 2 else x for x in columns], 1)


def tile(x: Operand, /, *repetitions: Any) -> Tensor:
    """x laid beside itself, so often along each axis; missing axes or repetitions are 1.

        >>> tg.tile(tg.tensor([1, 2]), (2, 2))
        tensor([[1, 2, 1, 2],
                [1, 2, 1, 2]])
    """
    x = tensor_operand("tile", x)
    times = shape_of(repetitions)
    n = max(len(times), x.ndim)
    times, shape = (1,) * (n - len(times)) + times, (1,) * (n - x.ndim) + x.shape
    laid = broadcast_to(reshape(x, tuple(size for s in shape for size in (1, s))),
                        tuple(size for t, s in zip(times, shape) for size in (t, s)))
    return dispatch("reshape", laid, shape=tuple(t * s for t, s in zip(times, shape)))


def repeat(x: Operand, repeats: int | Sequence[int] | Operand, /, *more: Any, axis: int | None = None,
           **names: Any) -> Tensor:
    """Each element so often, one after another along `axis` (None: of the flattened tensor).

    Repeats of their own for each element (a tensor) are read, so a function that is traced runs eagerly there.
    PyTorch's repeat is `tile`.

        >>> tg.repeat(tg.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
        >>> tg.repeat(tg.tensor([[1], [2]]), tg.tensor([1, 2]), axis=0)
        tensor([[1],
                [2],
                [2]])
    """
    refuse_names("repeat", names)
    if more:
        raise TypeError(at_user_line("repeat: axis= is given by name; PyTorch's repeat of sizes is tile"))
    x = tensor_operand("repeat", x)
    if axis is None:
        x, axis = ravel(x), 0
    k, shape = one_axis("repeat", x, axis, x.ndim), x.shape
    if isinstance(repeats, int):
        times = index(repeats)
        if times < 0:
            raise ValueError(at_user_line(f"repeat: {times} repeats"))
        wide = broadcast_to(expand_dims(x, k + 1), (*shape[:k + 1], times, *shape[k + 1:]))
        return dispatch("reshape", wide, shape=(*shape[:k], shape[k] * times, *shape[k + 1:]))
    given = repeats if isinstance(repeats, Tensor | np.ndarray) else np.asarray(repeats)
    counts = host.read_on_cpu(index_operand("repeat", given), "repeat")
    try:
        places = np.repeat(np.arange(shape[k]), counts)
    except ValueError as error:
        raise ValueError(at_user_line(f"repeat: {error}")) from None
    return take(x, known(places), axis=k)


def repeat_interleave(x: Operand, repeats: int | Sequence[int] | Operand, /, axis: int | None = None,
                      **names: Any) -> Tensor:
    """PyTorch's name for `repeat`."""
    refuse_names("repeat_interleave", names)
    return repeat(x, repeats, axis=axis)


# ---- order ------------------------------------------------------------------------------------------------------


def roll(x: Operand, /, shift: int | tuple[int, ...], axis: Axis = None, **names: Any) -> Tensor:
    """Elements moved on by `shift` along each axis of `axis`, round the end; None: in the flattened tensor.

        >>> tg.roll(tg.arange(5), 2)
        tensor([3, 4, 0, 1, 2])
    """
    refuse_names("roll", names)
    x = tensor_operand("roll", x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    axes = [one_axis("roll", x, k, x.ndim) for k in axes_of(axis, x.ndim)]
    shifts = [shift] * len(axes) if isinstance(shift, int) else list(shift)
    if len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) != len(axes):
        raise ValueError(at_user_line(f"roll: {len(shifts)} shifts for {len(axes)} axes"))
    for s, k in zip(shifts, axes):
        n = x.shape[k]
        by = index(s) % n if n else 0
        if by:
            x = concat([part(x, k, n - by, n), part(x, k, 0, n - by)], k)
    return x


def fliplr(x: Operand, /) -> Tensor:
    """The columns in reverse: axis 1."""
    return flip(x, 1)


def flipud(x: Operand, /) -> Tensor:
    """The rows in reverse: axis 0."""
    return flip(x, 0)


def rot90(x: Operand, k: int = 1, /, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Turned by k right angles in the plane of two axes, from the first toward the second.

        >>> tg.rot90(tg.tensor([[1, 2], [3, 4]]))
        tensor([[2, 4],
                [1, 3]])
    """
    x = tensor_operand("rot90", x)
    a, b = (one_axis("rot90", x, axis, x.ndim) for axis in axes)
    if a == b:
        raise TypeRuleError(at_user_line(f"rot90: axes {a} and {b} are one"))
    match k % 4:
        case 1:
            return swapaxes(flip(x, b), a, b)
        case 2:
            return flip(x, (a, b))
        case 3:
            return flip(swapaxes(x, a, b), b)
        case _:
            return get(x, ...)
