"""Steps: what a followed run does, op by op, as a tree that all runs of a function share as far as they go alike.

    Step     one op after those before it: known operands, attrs and types give the type of its result at once,
             and where NumPy would have put it in memory

1. A step has the type that the op's type rule gives, and the strides that eager execution would have given.
2. Where eager execution would have made a view, the step knows whose memory it is on.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from codegen.ir.generalize import SIZED
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


NO_ATTRS = dict[str, Any]()


class Family:
    """Steps that do the same after the same steps, at any sizes; but 0 and 1 are apart from others.

    `numbers`: those that were the first operands of what followed. `works`: what is run where a segment ends here, by
    what is wanted of it. `line`: where it was first met. `is_known`: was it counted?
    """

    __slots__ = ("after", "numbers", "works", "line", "is_known")

    def __init__(self, line: str | None = None):
        self.after: dict[Any, Family] = {}
        self.numbers: dict[Any, tuple[Any, ...]] = {}
        self.works: dict[Any, Any] = {}
        self.line = line
        self.is_known = False


class Step:
    """One op, after the steps before it; or an array that enters, under the name "input".

    `args`: k for the result of step k, (text, dtype) for a number. `base`: the step whose memory the result is on,
    itself unless it is a view. `order`: the axes of the result as they lie in memory, the slowest first, None if that
    is their order. `refused`: this op is not deferred.
    """

    __slots__ = ("parent", "op", "args", "attrs", "fresh", "index", "entered", "type", "dtype", "shape", "strides",
                 "base", "order", "refused", "line", "after", "works", "computing", "bytes", "ordered",
                 "family")

    index: int
    family: Family
    entered: int
    computing: int
    bytes: int
    ordered: bool
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

    def __init__(self, parent: Step | None = None, family: Family | None = None):
        self.parent = parent
        if parent is None:
            self.family = family or Family()
        self.index = -1 if parent is None else parent.index + 1
        self.entered = 0 if parent is None else parent.entered     # how many inputs there are so far
        self.computing = 0 if parent is None else parent.computing  # how many ops that are no views
        self.bytes = 0 if parent is None else parent.bytes          # of what enters and of all results
        self.ordered = True                                         # do the elements lie in their order?
        self.refused = False
        self.after: dict[Any, Step] = {}
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
    step.op, step.args, step.attrs, step.fresh = "input", (), NO_ATTRS, False
    step.entered += 1
    step.type, step.dtype, step.shape, step.strides = type_of(array), array.dtype, array.shape, array.strides
    step.base, step.order, step.ordered = step.index, None, array.strides == standard(array.shape, array.dtype)
    step.bytes += array.nbytes
    layout = None if step.ordered else order_of(step)
    return _with_family(step, parent, ("input", step.type.dtype, kinds(step.shape), layout), nowhere)


def op_step(parent: Step, op: str, args: Sequence[Any], operands: Sequence[Step | None], attrs: dict[str, Any],
            fresh: bool, line: Callable[[], str | None]) -> Step:
    """The step for an op of steps, the `operands`, and numbers, each in a tuple; `refused` if not to be deferred.

    `line` gives the user's line, which is asked for if no step like it was met.
    """
    step = Step(parent)
    step.op, step.attrs, step.fresh = op, attrs, fresh
    known, beside = [o for o in operands if o is not None], ""
    if len(known) < len(operands):
        beside = next((o.type.dtype for o in reversed(operands[1:] if op == "where" else operands) if o), "f32")
    try:
        type_ = step.type = _type_of(op, known, operands, beside, attrs)
        step.args = tuple([a if type(a) is int else (literal_text(a[0], beside), beside) for a in args])
    except (TypeError, OverflowError):      # eager execution says so, or takes it all the same
        step.refused = True
        return step
    ordered, dtype, shape = True, DTYPES[type_.dtype], type_.shape
    strides: Any = None
    for o in known:
        if not o.ordered:
            ordered = False
        elif o.shape == shape and o.dtype is dtype:
            strides = o.strides
    if (op not in DEFERRABLE or op == "concat" and not ordered or type_.dtype in COMPLEX
            or any(o.type.dtype in COMPLEX for o in known)):
        step.refused = True
        return step
    step.shape, step.dtype = shape, dtype               # type: ignore[assignment]
    step.base, step.order, step.strides = step.index, None, strides or standard(shape, dtype)
    if op in VIEWING:
        if not fresh:
            x = known[0]
            if op != "reshape" or not x.ordered:
                strides = view_strides(op, tuple(attrs.items()), x.dtype, x.shape, x.strides, step.shape)
            else:
                strides = step.strides
            if strides is not None:
                step.ordered = strides == step.strides
                step.strides, step.base = strides, x.base
    elif not ordered:
        lay_out(step, known)
    if fresh or op not in VIEWING:
        step.computing += 1
    step.bytes += prod(step.shape) * dtype.itemsize
    sizes: tuple[Any, ...] = ()
    if attrs:
        sizes = tuple([(name, len(value) if name in SIZED and type(value) is tuple else value)
                       for name, value in attrs.items()])
    return _with_family(step, parent, (op, fresh, step.args, sizes, kinds(step.shape), step.base, step.order), line)


def _type_of(op: str, known: Sequence[Step], operands: Sequence[Step | None], beside: str, attrs: dict[str, Any]
             ) -> TensorType:
    """The type of an op's result: what its type rule says; TypeRuleError if that refuses."""
    row = OPS[op]
    if ELEMENTWISE in row.traits:           # of operands of one shape, what the rule says depends on their dtypes
        first = known[0]
        if len(known) == 1 or all(o.shape == first.shape for o in known):
            dtype = _elementwise(op, tuple([beside if o is None else o.type.dtype for o in operands]),
                                 tuple(attrs.items()) if attrs else ())
            return first.type if first.type.dtype == dtype else TensorType(dtype, first.type.shape)
    return row.type_rule(*[TensorType(beside) if o is None else o.type for o in operands], **attrs)


@lru_cache(maxsize=4096)
def _elementwise(op: str, dtypes: tuple[str, ...], attrs: tuple[tuple[str, Any], ...]) -> str:
    """The dtype of an elementwise op's result."""
    return OPS[op].type_rule(*map(TensorType, dtypes), **dict(attrs)).dtype


def _with_family(step: Step, parent: Step, key: Any, line: Callable[[], str | None]) -> Step:
    """Find the family of a new step, or found it."""
    family = parent.family.after.get(key)
    if family is None:
        family = parent.family.after.setdefault(key, Family(line()))
    step.family, step.line = family, family.line
    return step


def nowhere() -> None:
    """The line of what no line stands for."""


def kinds(shape: tuple[int, ...]) -> Any:
    """What is no number in a shape: how many sizes it has, and which are 0 or 1."""
    if 0 in shape or 1 in shape:
        return tuple([size if size < 2 else 2 for size in shape])
    return len(shape)


def order_of(step: Step) -> tuple[int, ...]:
    """The axes as they lie in memory, the slowest first, and then those along which nothing is gone on."""
    strides = step.strides
    return (*sorted(range(len(strides)), key=lambda k: -strides[k]), *(k for k, s in enumerate(strides) if not s))


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
    if op == "transpose":
        return tuple([strides[k] for k in dict(attrs)["axes"]])
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
    traits, axes, keepdims = OPS[step.op].traits, None, False
    if REDUCTION in traits:
        axes, keepdims = step.attrs["axis"], step.attrs["keepdims"]
        axes = (axes,) if isinstance(axes, int) else axes
    elif ELEMENTWISE not in traits:
        return
    made = _laid_out(tuple([(o.dtype, o.shape, o.strides) for o in operands]), step.shape, step.dtype, axes, keepdims)
    if made is not None and made != step.strides:
        step.strides, step.ordered = made, False
        step.order = tuple(sorted(range(len(made)), key=lambda k: -made[k]))


@lru_cache(maxsize=4096)
def _laid_out(operands: tuple[tuple[np.dtype, tuple[int, ...], tuple[int, ...]], ...], shape: tuple[int, ...],
              dtype: np.dtype, axes: tuple[int, ...] | None, keepdims: bool) -> tuple[int, ...] | None:
    """The strides of what is computed from these operands, of which elements along `axes` are combined, if any."""
    arrays = [as_strided(np.empty(1, dtype), shape, strides) for dtype, shape, strides in operands]
    if axes is not None:
        arrays = [reduced(x, axes, keepdims) for x in arrays]
    roles = [*[["readonly"]] * len(arrays), ["writeonly", "allocate"]]
    kinds = [*[None] * len(arrays), dtype]
    made = np.nditer([*arrays, None], ["zerosize_ok"], roles, kinds, "K", "unsafe").operands[-1]    # type: ignore[call-overload]
    return made.strides if made.shape == shape else None
