"""Values that leave for Python: bool(x), float(x), x.item(), x.tolist(), x.numpy(). Each reports to the recorder."""
from __future__ import annotations

import sys
from typing import Any

import numpy as np

from codegen.ir.types import FLOATS, INTEGERS, type_of
from tracegrad.compared import comparisons_of
from tracegrad.devices import CPU, transferred
from tracegrad.dispatch import GRAD
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.returned import ReturnedNumber, is_called_from, is_only_returned
from tracegrad.source_lines import at_user_line, user_line
from tracegrad.tensors import Tensor


def read(x: Tensor, what: str) -> np.ndarray:
    """The storage, for a read of values that the recorder must know of."""
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.host_read(x, what)
    return x.array


def read_on_cpu(x: Tensor, what: str) -> np.ndarray:
    """The values in an array of the CPU: the storage, or a copy of one on a GPU."""
    array = read(x, what)
    return array if x.device == CPU else transferred(array, CPU)


def only(x: Tensor, what: str) -> Any:
    """The one element of x as a Python number; ValueError if it has more or none."""
    array = x.array
    if array.size != 1:
        raise ValueError(at_user_line(f"{what}: {type_of(array)} has {array.size} elements, not 1"))
    recorder = ACTIVE.get()
    if recorder is not None and not is_compared(x, what, recorder):
        recorder.read_number(x, what)
    return array.item()


def truth_value(x: Tensor, /) -> bool:
    """Is the one element not 0?"""
    if x.size != 1:
        raise ValueError(at_user_line(
            f"bool: {type_of(x)} has {x.size} elements, its truth is ambiguous; use tg.any or tg.all"))
    return bool(only(x, "bool"))


def to_float(x: Tensor, /) -> float:
    """The one element as a float."""
    recorder = ACTIVE.get()
    if recorder is not None and is_returned(x, recorder):
        number = float(x.array.item())
        recorder.floats_given[id(number)] = number, copy_of(x, recorder), user_line()
        return number
    return float(only(x, "float"))


def to_complex(x: Tensor, /) -> complex:
    """The one element as a complex number."""
    return complex(only(x, "complex"))


def to_int(x: Tensor, /) -> int:
    """The one element as an int, truncated."""
    return int(only(x, "int"))


def to_index(x: Tensor, /) -> int:
    """The one element of a 0-d integer tensor, where Python needs an int."""
    if x.ndim or x.dtype.kind not in "iu":
        raise TypeError(at_user_line(f"index: {type_of(x)} is not a 0-d integer tensor"))
    return int(only(x, "index"))


def item(x: Tensor, /) -> bool | int | float | complex:
    """The one element as a Python number."""
    recorder = ACTIVE.get()
    if recorder is not None and is_returned(x, recorder):
        return ReturnedNumber(copy_of(x, recorder), x.array.item())     # type: ignore[return-value]
    return only(x, "item")


def is_returned(x: Tensor, recorder: Recorder) -> bool:
    """Does the user's call that is being made, which reads the one element of x, only give it to be returned?"""
    if x.array.size != 1 or recorder.is_fixed(recorder.key(x)):
        return False
    frame = sys._getframe(2)        # who called item; a function of ours may do more with the number than return it
    return is_called_from(frame, recorder.called_from) and is_only_returned(frame)


def is_compared(x: Tensor, what: str, recorder: Recorder) -> bool:
    """Does the user's call, which reads the one element of x, only give it to be compared? That is recorded then."""
    dtype = type_of(x.array).dtype
    if not (what in ("item", "float") and dtype in FLOATS or what in ("item", "int") and dtype in INTEGERS):
        return False
    number = x.array.item()         # who called item, float or int is two frames away
    comparisons = comparisons_of(sys._getframe(3), what, number)
    return bool(comparisons) and recorder.compare_number(x, number, comparisons)


def copy_of(x: Tensor, recorder: Recorder) -> Tensor:
    """The element as it is now."""
    value = Tensor(x.array.reshape(()).copy())
    recorder.record_op("reshape", (x,), {"shape": ()}, value)
    return value


def tolist(x: Tensor, /) -> Any:
    """The elements as nested lists of Python numbers; of a 0-d tensor, the number."""
    return read(x, "tolist").tolist()


def numpy(x: Tensor, /) -> np.ndarray:
    """The storage as a NumPy array: writes to either are seen by both.

    RuntimeError if x requires grad, unless nothing is differentiated: under no_grad, or in a Function's forward.
    """
    if x.requires_grad and GRAD.enabled:
        raise RuntimeError(at_user_line(
            "numpy: the tensor requires grad, and NumPy does not differentiate; use x.detach().numpy()"))
    if x.device != CPU:
        raise TypeError(at_user_line(
            f"numpy: the tensor is on {x.device}, and NumPy's arrays are on the CPU: use x.cpu()"))
    read(x, "numpy")
    return x.hand_out()


def as_array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """np.asarray(x)."""
    array = numpy(x)
    return array if dtype is None and copy is not True else np.array(array, dtype, copy=copy)


def length(x: Tensor, /) -> int:
    """The size of the first axis."""
    if x.ndim == 0:
        raise TypeError(at_user_line("len: a 0-d tensor has no length"))
    return x.shape[0]


def contains(x: Tensor, value: Any, /) -> bool:
    """Is an element equal to value?"""
    return truth_value((x == value).any())
