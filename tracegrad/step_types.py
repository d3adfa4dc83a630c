"""Step types: what the result of a step is, whatever its values: its type, and where NumPy would have put it in memory.

    result_of("transpose", False, (f32[2,3] in order,), (("axes", (1, 0)),))   ->   f32[3,2], strides (4, 12), a view

A result has the type that the op's type rule gives, and the strides that eager execution would have given.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from codegen.ir.ops import CREATION, ELEMENTWISE, MOVEMENT, OPS, REDUCTION
from codegen.ir.types import COMPLEX, DTYPES, TensorType, type_of
from tracegrad.dispatch import VIEWING, Like

DEFERRABLE = frozenset(
    name for name, op in OPS.items() if op.traits & {ELEMENTWISE, REDUCTION, MOVEMENT, CREATION}
) - {"detach", "real", "imag"} | {"argmax", "argmin", "matmul", "gather", "scatter_add", "scatter", "random_bits",
                                          "concat"}
"""Ops that kernels compute. Others are calls of libraries, with nothing to gain from waiting."""


class StepType:
    """What a result is. `ordered`: do its elements lie in their order? `order`: the axes as they lie in memory, the
    slowest first; None if that is their order, or if it is a view. `like`: what backward needs of it where it reads no
    values.

    Those that are alike are mostly one object, equal to itself alone: so results are found by those of operands.
    """

    __slots__ = ("type", "dtype", "shape", "strides", "ordered", "order", "bytes", "like")

    def __init__(self, type: TensorType, strides: tuple[int, ...], order: tuple[int, ...] | None):
        self.type = type
        self.dtype: np.dtype = DTYPES[type.dtype]
        self.shape: tuple[int, ...] = type.shape            # type: ignore[assignment]
        self.strides, self.order = strides, order
        self.ordered = order is None and strides == standard(self.shape, self.dtype)
        self.bytes = prod(self.shape) * self.dtype.itemsize
        self.like = Like(self.shape, self.dtype,
                         len(strides) > 1 and strides[-2] == self.dtype.itemsize < strides[-1])


@lru_cache(maxsize=4096)
def _step_type(dtype: str, shape: tuple[Any, ...], strides: tuple[int, ...], order: tuple[int, ...] | None) -> StepType:
    return StepType(TensorType(dtype, shape), strides, order)


Operands = tuple[StepType | None, ...]
"""Of each operand what it is; None for a number."""


def input_of(array: np.ndarray) -> StepType:
    """What enters as this array."""
    return _step_type(type_of(array).dtype, array.shape, array.strides, None)


@lru_cache(maxsize=4096)
def result_of(op: str, fresh: bool, operands: Operands, attrs: tuple[tuple[str, Any], ...]
              ) -> tuple[StepType, bool] | None:
    """What the result of an op is, `fresh` if in memory of its own all the same, and whether it is a view of the first
    operand; None if it is not to be deferred.
    """
    known = [o for o in operands if o is not None]
    try:
        dtype, shape = _type_of(op, known, operands, attrs)
    except TypeError:                       # eager execution says so
        return None
    ordered = all(o.ordered for o in known)
    if (op not in DEFERRABLE or op == "concat" and not ordered or dtype in COMPLEX
            or any(o.type.dtype in COMPLEX for o in known)):
        return None
    strides, order, seen = standard(shape, DTYPES[dtype]), None, None
    if op in VIEWING:
        seen = None if fresh else _view_strides(op, dict(attrs), known[0], shape)
    elif not ordered:
        made = _laid_out(op, known, shape, DTYPES[dtype], dict(attrs))
        if made is not None and made != strides:
            strides, order = made, tuple(sorted(range(len(made)), key=lambda k: -made[k]))
    return _step_type(dtype, shape, strides if seen is None else seen, order), seen is not None


def beside_numbers(op: str, operands: Operands) -> str:
    """The dtype that numbers take: that of the last operand that is none; the condition of `where` has no say."""
    return next((o.type.dtype for o in reversed(operands[1:] if op == "where" else operands) if o is not None), "f32")


def _type_of(op: str, known: Sequence[StepType], operands: Operands, attrs: tuple[tuple[str, Any], ...]
             ) -> tuple[str, tuple[Any, ...]]:
    """The dtype and the shape that the type rule says; TypeRuleError if that refuses."""
    beside = "" if len(known) == len(operands) else beside_numbers(op, operands)
    row = OPS[op]
    if ELEMENTWISE in row.traits and all(o.shape == known[0].shape for o in known):     # then dtypes are all it asks
        return _elementwise(op, tuple([beside if o is None else o.type.dtype for o in operands]), attrs), known[0].shape
    type = row.type_rule(*[TensorType(beside) if o is None else o.type for o in operands], **dict(attrs))
    return type.dtype, type.shape


@lru_cache(maxsize=4096)
def _elementwise(op: str, dtypes: tuple[str, ...], attrs: tuple[tuple[str, Any], ...]) -> str:
    """The dtype of an elementwise op's result."""
    return OPS[op].type_rule(*map(TensorType, dtypes), **dict(attrs)).dtype


def order_of(strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes as they lie in memory, the slowest first, and then those along which nothing is gone on."""
    return (*sorted(range(len(strides)), key=lambda k: -strides[k]), *(k for k, s in enumerate(strides) if not s))


@lru_cache(maxsize=4096)
def standard(shape: tuple, dtype: np.dtype) -> tuple[int, ...]:
    """The strides of elements that lie in their order."""
    strides, reach = [], dtype.itemsize
    for size in reversed(shape):
        strides.append(reach)
        reach *= max(size, 1)
    return tuple(reversed(strides))


def dummy(dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """An array like this that must not be read."""
    return as_strided(np.empty(1, dtype), shape, strides)


def _view_strides(op: str, attrs: dict[str, Any], x: StepType, shape: tuple[Any, ...]) -> tuple[int, ...] | None:
    """The strides of a view, `op` of x, in `shape`; None where NumPy copies, which reshape alone does."""
    if op == "transpose":
        return tuple([x.strides[k] for k in attrs["axes"]])
    if op == "slice":
        return tuple([stride * step if size else stride for stride, step, size in zip(x.strides, attrs["step"], shape)])
    if op != "reshape":
        return OPS[op].reference(dummy(x.dtype, x.shape, x.strides), **attrs).strides
    if x.ordered:
        return standard(shape, x.dtype)
    array = dummy(x.dtype, x.shape, x.strides)
    try:
        array.shape = shape
    except AttributeError:
        return None
    return array.strides


def _reduced(x: np.ndarray, axes: Sequence[int], keepdims: bool) -> np.ndarray:
    """An array like x where one element along `axes` is left, which may have had none. It must not be read."""
    left = [k for k in range(x.ndim) if keepdims or k not in axes]
    return as_strided(x, [1 if k in axes else x.shape[k] for k in left], [x.strides[k] for k in left])


def _laid_out(op: str, operands: Sequence[StepType], shape: tuple[Any, ...], dtype: np.dtype, attrs: dict[str, Any]
              ) -> tuple[int, ...] | None:
    """Where the elements of the result lie: as NumPy has it, in the order in which the operands' do; None if in theirs.
    """
    traits = OPS[op].traits
    if any(0 in o.shape for o in operands) or not traits & {REDUCTION, ELEMENTWISE}:
        return None
    arrays = [dummy(o.dtype, o.shape, o.strides) for o in operands]
    if REDUCTION in traits:
        axes = attrs["axis"]
        axes = (axes,) if isinstance(axes, int) else axes
        arrays = [_reduced(x, axes, attrs["keepdims"]) for x in arrays]
    roles = [*[["readonly"]] * len(arrays), ["writeonly", "allocate"]]
    kinds = [*[None] * len(arrays), dtype]
    made = np.nditer([*arrays, None], ["zerosize_ok"], roles, kinds, "K", "unsafe").operands[-1]    # type: ignore[call-overload]
    return made.strides if made.shape == shape else None
