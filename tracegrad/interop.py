"""NumPy, DLPack, copy and pickle.

NumPy functions called on Tensors run ours of the same meaning: np.tanh(x), np.sum(x, axis=0). One that tracegrad
does not have raises TypeError and names it; nothing is converted behind the user's back.
"""
from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from tracegrad import functional, movement
from tracegrad.dispatch import GRAD
from tracegrad.dtypes import canonical
from tracegrad.host import numpy, read
from tracegrad.operands import adopt
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

_F, _M = functional, movement

UFUNCS: dict[np.ufunc, Callable] = {
    np.add: _F.add, np.subtract: _F.subtract, np.multiply: _F.multiply, np.divide: _F.divide, np.power: _F.pow,
    np.negative: _F.negative, np.positive: _F.positive, np.absolute: _F.abs, np.sign: _F.sign, np.square: _F.square,
    np.sqrt: _F.sqrt, np.exp: _F.exp, np.log: _F.log, np.tanh: _F.tanh,
    np.maximum: _F.maximum, np.minimum: _F.minimum, np.matmul: _F.matmul,
    np.equal: _F.equal, np.not_equal: _F.not_equal, np.less: _F.less, np.less_equal: _F.less_equal,
    np.greater: _F.greater, np.greater_equal: _F.greater_equal,
    np.logical_and: _F.logical_and, np.logical_or: _F.logical_or, np.logical_xor: _F.logical_xor,
    np.logical_not: _F.logical_not, np.bitwise_and: _F.bitwise_and, np.bitwise_or: _F.bitwise_or,
    np.bitwise_xor: _F.bitwise_xor, np.invert: _F.bitwise_invert, np.right_shift: _F.bitwise_right_shift,
}
"""Our function for each ufunc that has one."""


def numpy_transpose(x: Tensor, axes: Any = None) -> Tensor:
    return movement.permute_dims(x, tuple(reversed(range(x.ndim))) if axes is None else axes)


FUNCTIONS: dict[Callable, Callable] = {
    np.sum: _F.sum, np.max: _F.max, np.min: _F.min, np.mean: _F.mean, np.var: _F.var, np.std: _F.std,
    np.argmax: _F.argmax, np.any: _F.any, np.all: _F.all, np.where: _F.where, np.clip: _F.clip,
    np.reshape: _M.reshape, np.transpose: numpy_transpose, np.swapaxes: _M.swapaxes, np.squeeze: _M.squeeze,
    np.expand_dims: _M.expand_dims, np.broadcast_to: _M.broadcast_to, np.flip: _M.flip,
    np.take_along_axis: _M.take_along_axis, np.concatenate: _M.concat, np.stack: _M.stack,
    np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.size: lambda x: x.size,
}
"""Our function for each NumPy function that has one."""


def array_ufunc(x: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Tensor:
    """NumPy's protocol: a ufunc was called with a Tensor among its operands."""
    ours = UFUNCS.get(ufunc)
    if ours is None or method != "__call__" or options:
        called = "" if method == "__call__" else f".{method}"
        how = f"numpy.{ufunc.__name__}{called}" + (f" with {', '.join(options)}=" if options else "")
        raise TypeError(at_user_line(f"tracegrad has no {how} on tensors yet; np.asarray(x.detach()) gives the array"))
    return ours(*inputs)


def array_function(x: Tensor, function: Callable, types: Any, args: tuple, options: dict[str, Any]) -> Any:
    """NumPy's protocol: a function was called with a Tensor among its arguments."""
    ours = FUNCTIONS.get(function)
    if ours is None:
        raise TypeError(at_user_line(
            f"tracegrad has no numpy.{function.__name__} on tensors yet; np.asarray(x.detach()) gives the array"))
    return ours(*args, **options)


def array_namespace(x: Tensor, /, *, api_version: str | None = None) -> ModuleType:
    """The Array API's protocol: the namespace of functions that take Tensors."""
    return sys.modules["tracegrad"]


def dlpack(x: Tensor, /, **options: Any) -> Any:
    """A DLPack capsule of the storage: writes to either side are seen by both."""
    return numpy(x).__dlpack__(**options)


def dlpack_device(x: Tensor, /) -> tuple[int, int]:
    """DLPack's (device type, number): the CPU."""
    return x.array.__dlpack_device__()


def from_dlpack(x: Any, /) -> Tensor:
    """A Tensor on the memory of anything that speaks DLPack on the CPU; no copy."""
    return adopt(np.from_dlpack(x))


def shallow_copy(x: Tensor, /) -> Tensor:
    """copy.copy(x): another Tensor on the same memory, with the same history; of a leaf, another leaf."""
    if x.grad_fn is not None:
        return movement.reshape(x, x.shape)
    made = functional.detach(x)
    made.__class__, made.requires_grad = type(x), x.requires_grad
    return made


def deep_copy(x: Tensor, memo: dict[int, Any], /) -> Tensor:
    """copy.deepcopy(x): a leaf with memory and a grad of its own. RuntimeError for a tensor with a history."""
    found = memo.get(id(x))
    if found is not None:
        return found
    if x.grad_fn is not None:
        raise RuntimeError(at_user_line(
            "deepcopy: the tensor has a history, and only leaves can be copied; use clone() or detach()"))
    before, GRAD.enabled = GRAD.enabled, False
    try:
        made = functional.clone(x)
        made.__class__ = type(x)
        made.requires_grad = x.requires_grad
        memo[id(x)] = made
        if x.grad is not None:
            made.grad = functional.clone(x.grad)
    finally:
        GRAD.enabled = before
    return made


def reduce(x: Tensor, /) -> tuple:
    """pickle: the values and requires_grad; a history is not kept."""
    return restore, (type(x), read(x, "pickle"), x.requires_grad)


def restore(kind: type[Tensor], array: np.ndarray, requires_grad: bool) -> Tensor:
    """The Tensor that `reduce` took apart."""
    made = Tensor(canonical(array), requires_grad)
    made.__class__ = kind
    return made
