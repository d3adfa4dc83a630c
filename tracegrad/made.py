"""What a replay makes: Tensors around the outputs of its program, views of them, and storage for the outputs."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import gt
from sys import getrefcount
from typing import Any

import numpy as np

from codegen import DONE, Executable, ExitTaken
from codegen.ir.dims import Size, number_of
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, TensorType
from tracegrad.devices import CPU, Device, contiguous, empty
from tracegrad.dispatch import GRAD, dispatch
from tracegrad.functional import detach
from tracegrad.tensors import Tensor


@struct
class Made:
    """A Tensor that every call makes anew. `has_history`: is its grad_fn a node of the route?

    `order`: the axes as they lie in memory, the slowest first, where that is not their order: the program gives the
    values so. `strides` and `writeable` are those of its array, None and True where that is nothing special besides.
    Of a path for all sizes there is one with symbols, too.
    """

    type: TensorType
    requires_grad: bool
    has_history: bool
    strides: tuple[Size, ...] | None = None
    writeable: bool = True
    order: tuple[int, ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Is its array the one that the program gives?"""
        return self.strides is None and self.order is None and self.writeable

    def tensor(self, values: np.ndarray) -> Tensor:
        """The Tensor, of these values."""
        array = values if self.strides is None else laid_out(values, tuple(map(number_of, self.strides)))
        if self.order is not None:
            array = array.transpose(np.argsort(self.order))
        if not self.writeable:
            array = array.view()
            array.flags.writeable = False
        return Tensor(array, self.requires_grad)


@struct
class MadeView:
    """A Tensor that every call makes anew on the memory of tensor `parent` (see Trace.replay): `op` of it.

    The op "grad" is the grad that it has on entry, the same Tensor.
    """

    parent: int
    op: str
    attrs: Mapping[str, Any]
    tracked: bool                           # does differentiation see it as a view?
    writeable: bool = True                  # may it be written to, if the parent may?

    def tensor(self, parent: Tensor) -> Tensor:
        """The view."""
        if self.op == "grad":
            assert parent._grad is not None
            return parent._grad
        if self.op == "detach":
            return detach(parent)
        before, GRAD.enabled = GRAD.enabled, self.tracked
        try:
            view = dispatch(self.op, parent, **self.attrs)
        finally:
            GRAD.enabled = before
        if not self.writeable and view.device == CPU:
            view.array.flags.writeable = False
        return view


def laid_out(values: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """The values in memory of their own with these strides, so that what is a view of them, or a copy, stays so."""
    reach = [(n - 1) * stride for n, stride in zip(values.shape, strides)]
    before = -sum(r for r in reach if r < 0)
    memory = np.empty(before + sum(r for r in reach if r > 0) + values.itemsize, np.uint8)
    array: np.ndarray = np.ndarray(values.shape, values.dtype, memory, before, strides)
    array[...] = values
    return array


def outputs_of(executable: Executable, arrays: Sequence[np.ndarray], device: Device) -> tuple[np.ndarray, ...]:
    """What a program gives for these arrays, on a device. ExitTaken for an exit."""
    if device == CPU:
        return executable(*arrays)
    given = [*map(contiguous, arrays), *(empty(tuple(map(number_of, type.shape)), DTYPES[type.dtype], device)
                                          for type in executable.slots)]
    for k in {place for end in executable.ends for place in end if place < len(arrays)}:
        given[k] = given[k].copy()
    left_at = executable.run(tuple(given))
    if left_at > DONE:
        raise ExitTaken(left_at)
    return tuple(given[place] for place in executable.ends[DONE - left_at])


POOLED_BYTES = 1 << 15
"""From here on it is cheaper to use an array again than to ask for memory and touch it for the first time."""


def storage(type: TensorType) -> Callable[[], np.ndarray]:
    """What gives uninitialized C-contiguous arrays of this type that nobody else holds."""
    dtype = DTYPES[type.dtype]
    if math.prod(type.shape) * dtype.itemsize < POOLED_BYTES:
        return partial(np.empty, type.shape, dtype)
    return OutputPool(type).take


class OutputPool:
    """Arrays for one output. An array is free again when only the pool holds it.

    One that left as a result of NumPy code may come back with another shape or dtype: it is not used again.
    """

    __slots__ = ("shape", "dtype", "flags", "_arrays")
    SPARE = 2       # a training step's gradient lives until the next call has made its successor

    def __init__(self, type: TensorType):
        self.shape: tuple = type.shape
        self.dtype = DTYPES[type.dtype]
        self.flags = -1
        self._arrays: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """An uninitialized C-contiguous array that nobody else holds."""
        for array in self._arrays:
            if getrefcount(array) == 3:          # the list, this loop's variable, the argument of getrefcount
                if array.flags.num == self.flags and array.shape == self.shape and array.dtype is self.dtype:
                    return array
        array = np.empty(self.shape, self.dtype)
        self.flags = array.flags.num
        if len(self._arrays) == self.SPARE:
            del self._arrays[0]
        self._arrays.append(array)
        return array


_Row = tuple[tuple[Any, ...], tuple[Any, ...], tuple[int, ...]]
"""Arrays for all outputs, the pointers to their memory, and how often these and those are held when they are free."""


class GpuPools:
    """The same on a GPU for all outputs of a root, on the stream that is current: work that others have been given may
    not be done.

    CuPy's pool gives memory away again, too, but who knows where: what was captured in a graph is where it was then.
    An array is free when only the pool holds it, and nothing the pointer to its memory but those two. There are two
    rows of arrays, since gradients live until their successors have been made; of what does not they have the same.
    """

    __slots__ = ("_types", "_device", "_rows")
    MOST_ORDERS = 8
    ALONE = 3               # what getrefcount says in a row: the row, what is taken or the array, map

    def __init__(self, types: Sequence[TensorType], device: Device):
        self._types = [(tuple(map(number_of, type.shape)), DTYPES[type.dtype]) for type in types]
        self._device = device
        self._rows: dict[int, tuple[_Row, ...]] = {}                # by stream

    def take(self, order: int) -> list[Any]:
        """For each output an uninitialized C-contiguous array that nobody else holds, nor its memory; `order`: the
        current stream."""
        return self._taken_together(order) or self._taken_apart(order)

    def _taken_together(self, order: int) -> list[Any] | None:
        """The arrays of a row, if all are free."""
        for arrays, pointers, most in self._rows.get(order, ()):
            taken = [*arrays]                               # before they are counted: another thread may look, too
            if not any(map(gt, map(getrefcount, taken), most)) and not any(map(gt, map(getrefcount, pointers), most)):
                return taken
        return None

    def _taken_apart(self, order: int) -> list[Any]:
        """The same, where of some outputs this array is free and of others that, or none."""
        if len(self._rows) >= self.MOST_ORDERS and order not in self._rows:
            self._rows = {}                                 # of streams that are gone, mostly
        rows, taken, columns = self._rows.get(order, ()), [], []
        for k, (shape, dtype) in enumerate(self._types):
            column = list({id(row[0][k]): row[0][k] for row in rows}.values())
            most = self.ALONE + len(rows) - len(column)
            for array in column:                            # as in a row, and a variable
                if getrefcount(array) <= most + 1 and getrefcount(array.data) <= most:
                    break
            else:
                array = empty(shape, dtype, self._device)
                column = [*column[1 - OutputPool.SPARE:], array]
            taken.append(array)
            columns.append(column)
        self._rows[order] = tuple([self._row(columns, k) for k in range(max(map(len, columns), default=0))])
        return taken

    def _row(self, columns: list[list[Any]], number: int) -> _Row:
        arrays = tuple([column[min(number, len(column) - 1)] for column in columns])
        rows = max(map(len, columns))
        return arrays, tuple([array.data for array in arrays]), tuple([self.ALONE + rows - len(c) for c in columns])
