"""Pending: what a Tensor holds whose array is yet to be computed. It knows its shape and dtype.

    y = x * 2           under a follower: y holds a Pending, the place of its value in the segment in progress
    y.shape             known without computing
    y.array             the segment is computed, and y holds its array

1. A Tensor that holds a Pending is a Tensor like any other: who asks for its array gets that, never the Pending.
2. A Pending stands for one value for ever: what is written in place gives its Tensor another Pending.
3. Another thread may compute what is pending at any time: what looks at `held` looks at it once.
"""
from __future__ import annotations

import threading
import weakref
from math import prod
from typing import Any, Protocol

import numpy as np

from codegen.ir.types import TensorType
from tracegrad import devices
from tracegrad.dispatch import Like
from tracegrad.step_types import dummy
from tracegrad.steps import Step
from tracegrad.tensors import NoArray, Tensor

_PUTTING = threading.RLock()
"""Held from a look at what a Tensor holds to putting something else there."""


class Segment(Protocol):
    """What is deferred together."""

    tensors: list[weakref.ref[Tensor]]

    def compute(self) -> None: ...
    def copy(self, tensor: Tensor) -> Tensor: ...
    def is_written(self, tensor: Tensor) -> bool: ...


class Pending(NoArray):
    """A value of a segment, with the facts of its array; `array` is None until it is computed."""

    __slots__ = ("segment", "step", "array", "dtype")

    def __init__(self, segment: Segment, step: Step):
        self.segment, self.step = segment, step
        self.dtype: np.dtype = step.dtype           # what is asked for most
        self.array: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.step.shape,)          # each time another tuple, as NumPy has it

    @property
    def type(self) -> TensorType:
        return self.step.type

    @property
    def like(self) -> Like:
        return self.step.of.like

    @property
    def strides(self) -> tuple[int, ...]:
        return self.step.strides

    @property
    def ndim(self) -> int:
        return len(self.step.shape)

    @property
    def size(self) -> int:
        return prod(self.step.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def demand(self) -> np.ndarray:
        """The array, computed now if it is not."""
        if self.array is None:
            self.segment.compute()
            assert self.array is not None
        return self.array

    def tensor(self) -> Tensor:
        """A Tensor of this value."""
        return defer(self) if self.array is None else Tensor(self.array)

    def settle(self, holder: Tensor) -> np.ndarray:
        """The array of a Tensor that holds this, computed now, and held by it from now on."""
        array = self.demand()
        with _PUTTING:
            if holder.held is self:         # not so if it was among those that the computing gave their arrays
                holder.held = array
            given = holder.held             # memory of its own, if it was written in place
        return array if isinstance(given, NoArray) else given

    def twin_of(self, holder: Tensor) -> Tensor:
        """See Tensor.twin."""
        return Tensor(holder.array) if self.segment.is_written(holder) else self.tensor()

    def copy_of(self, holder: Tensor) -> Tensor:
        """See Tensor.copied."""
        return self.segment.copy(holder)


def defer(pending: Pending) -> Tensor:
    """A new Tensor that holds a Pending."""
    tensor = Tensor(pending)        # type: ignore[arg-type]
    pending.segment.tensors.append(weakref.ref(tensor))
    return tensor


def put_pending(tensor: Tensor, pending: Pending) -> None:
    """`tensor` stands for this value from now on."""
    with _PUTTING:
        tensor.held = pending


def put_array(tensor: Tensor, array: np.ndarray) -> None:
    """`tensor` has its array, if it holds a Pending."""
    with _PUTTING:
        if type(tensor.held) is Pending:
            tensor.held = array


def layout_of(tensor: Tensor) -> tuple[tuple[int, ...] | None, bool]:
    """The strides of its array, now or once it is there, None for those of C order; may it be written to?"""
    pending: Any = tensor.held
    if type(pending) is not Pending:
        return None if pending.flags.c_contiguous else pending.strides, devices.is_writeable(pending)
    made = dummy(pending.dtype, pending.shape, pending.strides)
    return None if made.flags.c_contiguous else made.strides, pending.step.op != "broadcast"


def may_share_memory(a: Tensor, b: Tensor) -> bool:
    """May a write to one be seen in the other? What is pending has memory that only views of it are on."""
    x, y = a.held, b.held
    if type(x) is Pending and type(y) is Pending:
        return x.segment is y.segment and x.step.base == y.step.base
    return type(x) is not Pending and type(y) is not Pending and devices.may_share_memory(x, y)
