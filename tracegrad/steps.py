"""Steps: what a followed run does, op by op, as a tree that all runs of a function share as far as they go alike.

    Step     one op after those before it: known operands, attrs and types give the type of its result at once,
             and where NumPy would have put it in memory

1. A step has the type that the op's type rule gives, and the strides that eager execution would have given.
2. Where eager execution would have made a view, the step knows whose memory it is on.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from codegen.ir.ops import CHECKED, CREATION, ELEMENTWISE, MOVEMENT, OPS, REDUCTION
from codegen.ir.references import literal_text
from codegen.ir.types import COMPLEX, DTYPES, TensorType, type_of
from tracegrad.dispatch import VIEWING

DEFERRABLE = frozenset(
    name for name, op in OPS.items() if op.traits & {ELEMENTWISE, REDUCTION, MOVEMENT, CREATION}
) - {"detach", "real", "imag"} | {"argmax", "argmin", "matmul", "gather", "scatter_add", "scatter", "random_bits",
                                          "concat"}
"""Ops that kernels compute. Others are calls of libraries, with nothing to gain from waiting."""

CAN_REFUSE = frozenset(name for name, op in OPS.items() if CHECKED in op.traits)
"""Ops that refuse some values; the error belongs to the line of the op."""


class Step:
    """One op, after the steps before it; or an array that enters, under the name "input".

    `args`: k for the result of step k, (text, dtype) for a number. `base`: the step whose memory the result is on,
    itself unless it is a view. `order`: the axes of the result as they lie in memory, the slowest first, None if that
    is their order. `refused`: this op is not deferred.
    """

    __slots__ = ("parent", "op", "args", "attrs", "fresh", "index", "entered", "type", "dtype", "shape", "strides",
                 "base", "order", "refused", "line", "after", "alike", "works", "computing")

    index: int
    entered: int
    computing: int
    op: str
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    fresh: bool                             # is it a copy where NumPy would give a view?
    type: TensorType
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    base: int
    order: tuple[int, ...] | None
    line: str | None

    def __init__(self, parent: Step | None = None):
        self.parent = parent
        self.index = -1 if parent is None else parent.index + 1
        self.entered = 0 if parent is None else parent.entered     # how many inputs there are so far
        self.computing = 0 if parent is None else parent.computing  # how many ops that are no views
        self.refused = False
        self.after: dict[Any, Step] = {}
        self.alike: set[Any] = set()        # what followed it, without regard to numbers
        self.works: dict[Any, Any] = {}     # what is run where a segment ends here, by what is wanted of it

    def path(self) -> list[Step]:
        """The steps up to this one."""
        found: list[Step] = []
        step: Step | None = self
        while step is not None and step.index >= 0:
            found.append(step)
            step = step.parent
        return found[::-1]


def input_step(parent: Step, array: np.ndarray) -> Step:
    """The step by which an array of this type enters."""
    step = Step(parent)
    step.op, step.args, step.attrs, step.fresh, step.line = "input", (), {}, False, None
    step.entered += 1
    step.type, step.dtype, step.shape, step.strides = type_of(array), array.dtype, array.shape, array.strides
    step.base, step.order = step.index, None
    return step


def op_step(parent: Step, op: str, args: Sequence[Any], operands: Sequence[Step | None], attrs: dict[str, Any],
            fresh: bool, line: str | None) -> Step:
    """The step for an op of steps, the `operands`, and numbers, each in a tuple; `refused` if not to be deferred."""
    step = Step(parent)
    step.op, step.attrs, step.fresh, step.line = op, dict(attrs), fresh, line
    known = [o for o in operands if o is not None]
    beside = next((o.type.dtype for o in reversed(operands[1:] if op == "where" else operands) if o), "f32")
    types = [TensorType(beside) if o is None else o.type for o in operands]
    try:
        step.type = OPS[op].type_rule(*types, **attrs)
        step.args = tuple(a if type(a) is int else (literal_text(a[0], beside), beside) for a in args)
    except (TypeError, OverflowError):      # eager execution says so, or takes it all the same
        step.refused = True
        return step
    ordered = all(o.strides == standard(o.shape, o.dtype) for o in known)
    if op not in DEFERRABLE or op == "concat" and not ordered or any(t.dtype in COMPLEX for t in (*types, step.type)):
        step.refused = True
        return step
    step.shape, step.dtype = step.type.shape, DTYPES[step.type.dtype]    # type: ignore[assignment]
    step.base, step.order, step.strides = step.index, None, standard(step.shape, step.dtype)
    views = op in VIEWING and not fresh
    if views:
        x = known[0]
        strides = view_strides(op, tuple(attrs.items()), x.dtype, x.shape, x.strides, step.shape)
        if strides is not None:
            step.strides, step.base = strides, known[0].base
    elif op not in VIEWING and not ordered:
        lay_out(step, known)
    step.computing += not views
    return step


@lru_cache(maxsize=4096)
def standard(shape: tuple, dtype: np.dtype) -> tuple[int, ...]:
    """The strides of elements that lie in their order."""
    strides, reach = [], dtype.itemsize
    for size in reversed(shape):
        strides.append(reach)
        reach *= max(size, 1)
    return tuple(reversed(strides))


def dummy(step: Step) -> np.ndarray:
    """An array like the result of a step that must not be read."""
    return as_strided(np.empty(1, step.dtype), step.shape, step.strides)


@lru_cache(maxsize=4096)
def view_strides(op: str, attrs: tuple[tuple[str, Any], ...], dtype: np.dtype, shape: tuple[int, ...],
                 strides: tuple[int, ...], new_shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides of a view, `op` of an array, in `new_shape`; None where NumPy copies, which reshape alone does."""
    x = as_strided(np.empty(1, dtype), shape, strides)
    if op != "reshape":
        return OPS[op].reference(x, **dict(attrs)).strides
    try:
        x.shape = new_shape
    except AttributeError:
        return None
    return x.strides


def reduced(x: np.ndarray, axes: Sequence[int], keepdims: bool) -> np.ndarray:
    """An array like x where one element along `axes` is left, which may have had none. It must not be read."""
    left = [k for k in range(x.ndim) if keepdims or k not in axes]
    return as_strided(x, [1 if k in axes else x.shape[k] for k in left], [x.strides[k] for k in left])


def lay_out(step: Step, operands: Sequence[Step]) -> None:
    """Where the elements of the result lie: as NumPy has it, in the order in which the operands' do."""
    if any(0 in o.shape for o in operands):
        return
    traits = OPS[step.op].traits
    arrays = [dummy(o) for o in operands]
    if REDUCTION in traits:
        axes = step.attrs["axis"]
        arrays = [reduced(x, (axes,) if isinstance(axes, int) else axes, step.attrs["keepdims"]) for x in arrays]
    elif ELEMENTWISE not in traits:
        return
    roles = [*[["readonly"]] * len(arrays), ["writeonly", "allocate"]]
    kinds = [*[None] * len(arrays), step.dtype]
    made = np.nditer([*arrays, None], ["zerosize_ok"], roles, kinds, "K", "unsafe").operands[-1]    # type: ignore[call-overload]
    if made.strides != step.strides and made.shape == step.shape:
        step.strides = made.strides
        step.order = tuple(sorted(range(made.ndim), key=lambda k: -made.strides[k]))
