"""Deferred: a Tensor whose array is yet to be computed. It knows its shape and dtype; asked for its array, it gets it.

    y = x * 2           under a follower: y holds a Pending, the place of its value in the segment in progress
    y.shape             known without computing
    y.array             the segment is computed, and y is a Tensor like any other

1. In the slot where a Tensor has its array a Deferred has a Pending. The class says which of the two it is: it is
   changed when the slot is, so that code that asks a Tensor for its array never meets a Pending.
2. A Pending stands for one value for ever: what is written in place gives its Tensor another Pending.
3. Another thread may compute what is pending at any time: what looks at a Deferred looks at what it holds once.
"""
from __future__ import annotations

import weakref
from typing import Any, Protocol

import numpy as np

from tracegrad.stand_ins import SWAPPING, StandIns, become, plain_class, put_class
from tracegrad.steps import Step, dummy
from tracegrad.tensors import Saved, Tensor

held = Tensor.__dict__["array"].__get__
"""What is in a Tensor's slot for its array: an ndarray or a Pending."""
_hold = Tensor.__dict__["array"].__set__


class Segment(Protocol):
    """What is deferred together."""

    tensors: list[weakref.ref[Tensor]]

    def compute(self) -> None: ...
    def copy(self, tensor: Tensor) -> Tensor: ...
    def is_written(self, tensor: Tensor) -> bool: ...


class Pending:
    """A value of a segment; `array` is None until it is computed."""

    __slots__ = ("segment", "step", "array")

    def __init__(self, segment: Segment, step: Step):
        self.segment, self.step = segment, step
        self.array: np.ndarray | None = None

    def demand(self) -> np.ndarray:
        """The array, computed now if it is not."""
        if self.array is None:
            self.segment.compute()
            assert self.array is not None
        return self.array

    def tensor(self) -> Tensor:
        """A Tensor of this value."""
        return defer(self) if self.array is None else Tensor(self.array)


class Deferred(Tensor):
    """A Tensor that holds a Pending."""

    __slots__ = ()

    __class__ = property(plain_class, put_class)

    @property
    def array(self) -> np.ndarray:
        return settle(self)

    @array.setter
    def array(self, array: np.ndarray) -> None:
        settle(self)
        _hold(self, array)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*described(self).shape,)        # each time another tuple, as NumPy has it

    @property
    def dtype(self) -> np.dtype:
        return described(self).dtype

    @property
    def ndim(self) -> int:
        return len(described(self).shape)

    @property
    def size(self) -> int:
        return int(np.prod(described(self).shape))

    @property
    def itemsize(self) -> int:
        return described(self).dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def by_columns(self) -> bool:
        strides = described(self).strides
        return len(strides) > 1 and strides[-2] == self.itemsize < strides[-1]

    def save(self) -> Saved:
        reference = self.saved
        saved = None if reference is None else reference()
        if saved is None:
            saved = Saved(held(self), weakref.ref(self))
            self.saved = weakref.ref(saved)
            if self.storage is not None:
                self.storage.add_saved(self.saved)
        return saved

    def prepare_write(self) -> None:
        settle(self)
        self.prepare_write()

    def twin(self) -> Tensor:
        pending = held(self)
        if type(pending) is not Pending or pending.segment.is_written(self):    # memory that the twin is to share
            return Tensor(self.array)
        return pending.tensor()

    def copied(self) -> Tensor:
        pending = held(self)
        return pending.segment.copy(self) if type(pending) is Pending else Tensor(pending.copy("C"))


DEFERRED = StandIns(Deferred)


def defer(pending: Pending) -> Tensor:
    """A new Tensor that holds a Pending."""
    tensor = Tensor(pending)        # type: ignore[arg-type]
    tensor.__class__ = Deferred         # no other thread has it yet
    pending.segment.tensors.append(weakref.ref(tensor))
    return tensor


def put_pending(tensor: Tensor, pending: Pending) -> bool:
    """`tensor` stands for this value from now on; False, and it does not, if nothing can stand in for it now: another
    thread may have begun to record with it.
    """
    with SWAPPING:
        kind = type(tensor) if isinstance(tensor, Deferred) else DEFERRED.of(type(tensor))
        if kind is not None:
            become(tensor, kind, _hold, pending)
        return kind is not None


def put_array(tensor: Tensor, array: np.ndarray) -> None:
    """`tensor` has its array, if it holds a Pending."""
    with SWAPPING:
        if isinstance(tensor, Deferred):
            become(tensor, DEFERRED.plain(type(tensor)), _hold, array)


def described(tensor: Tensor) -> Any:
    """What knows the shape, the dtype and the strides of `tensor`: a step, or its array."""
    pending = held(tensor)
    return pending.step if type(pending) is Pending else pending


def settle(tensor: Tensor) -> np.ndarray:
    """The array of `tensor`, computed now if it is pending."""
    pending: Any = held(tensor)
    if type(pending) is not Pending:
        return pending
    array = pending.demand()
    with SWAPPING:
        if held(tensor) is pending:         # not so if it was among those that the computing gave their arrays
            put_array(tensor, array)
        given = held(tensor)                # memory of its own, if it was written in place
    return array if type(given) is Pending else given


def layout_of(tensor: Tensor) -> tuple[tuple[int, ...] | None, bool]:
    """The strides of its array, now or once it is there, None for those of C order; may it be written to?"""
    pending: Any = held(tensor)
    if type(pending) is not Pending:
        return None if pending.flags.c_contiguous else pending.strides, pending.flags.writeable
    made = dummy(pending.step)
    return None if made.flags.c_contiguous else made.strides, pending.step.op != "broadcast"


def may_share_memory(a: Tensor, b: Tensor) -> bool:
    """May a write to one be seen in the other? What is pending has memory that only views of it are on."""
    x, y = held(a), held(b)
    if type(x) is Pending and type(y) is Pending:
        return x.segment is y.segment and x.step.base == y.step.base
    return type(x) is not Pending and type(y) is not Pending and np.may_share_memory(x, y)
