"""NumPy's functions on Arrays.

    np.roll(x, 1)           written in Python: NumPy's own code runs, as a copy that sees this namespace (substitution)
    np.concatenate([x, y])  written in C: a row of COUNTERPARTS
    np.zeros(3)             makes an array: a row of COUNTERPARTS too
    np.packbits(x)          neither: NumPy on the memory, and the recording ends
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from tracegrad import contraction, functional, movement, statistics
from tracegrad.dtypes import dtype_of
from tracegrad.indexing import get
from tracegrad.numpy_front import array_items as items
from tracegrad.numpy_front import array_methods as methods
from tracegrad.numpy_front import created, linalg, sampling
from tracegrad.numpy_front.array_methods import done, dtype_given
from tracegrad.numpy_front.arrays import (
    Array,
    Operand,
    Scalar,
    Uncounted,
    holds_operands,
    is_fixed,
    isinstance_of,
    made,
    number_tensor,
    on_arrays,
    real,
    refuse_errors,
    tensor_of,
    with_numbers,
    wrap,
)
from tracegrad.numpy_front.layouts import is_contiguous, laid_as, laid_out, order_of
from tracegrad.numpy_front.ufuncs import BOOL, kind, operand, plain, target, write
from tracegrad.operands import convert
from tracegrad.size_numbers import is_size, number_in
from tracegrad.tensors import Tensor
from tracegrad.writes import copy_

_F, _M = functional, movement
CONVERTER = _multiarray_umath._array_converter


def in_common(values: Sequence[Any], dtype: Any = None) -> list[Tensor]:
    """Tensors of the dtype that NumPy finds for all of them; Python numbers are weak."""
    found = [plain(v) for v in values]
    common = dtype_given(dtype) if dtype is not None else np.result_type(*(
        k if isinstance(k := kind(v), np.dtype) else k(0) for v in found))
    given = (operand(v, dtype_of(common)) for v in found)
    return [x if isinstance_of(x, Tensor) else number_tensor(x, dtype_of(common)) for x in given]


# ---- creation ------------------------------------------------------------------------------------------------------


def array(object: Any, dtype: Any = None, *, copy: bool | None = True, order: str = "K", subok: bool = False,
          ndmin: int = 0, like: Any = None) -> Any:
    """np.array."""
    x = Array(tensor_of(object)) if is_size(object) else plain(object)
    if not isinstance_of(x, Operand):
        raise Uncounted("of data that NumPy converts")
    tensor = x._tensor if dtype is None else convert(x._tensor, dtype_given(dtype))
    in_order = order == "C" and not is_contiguous(tensor) or (
        order == "F" and not is_contiguous(tensor, by_columns=True))
    if in_order or tensor is x._tensor and (type(x) is Scalar or copy and x is object):
        tensor = laid_out(_F.clone(tensor), order_of(tensor, order))
    if tensor.ndim < ndmin:
        tensor = _M.reshape(tensor, (*(1,) * (ndmin - tensor.ndim), *tensor.shape))
    return x if tensor is x._tensor and type(x) is Array else Array(tensor)


def asarray(a: Any, dtype: Any = None, order: str | None = None, *, device: Any = None, copy: bool | None = None,
            like: Any = None) -> Any:
    """np.asarray, np.asanyarray: the array itself where it need not be converted."""
    return array(a, dtype, copy=copy, order=order or "K")


def contiguous(order: str) -> Callable[..., Any]:
    """np.ascontiguousarray, np.asfortranarray: of one axis at least."""
    def apply(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
        return array(a, dtype, copy=None, order=order, ndmin=1)
    return apply


# ---- what is written in C ------------------------------------------------------------------------------------------


def concatenate(arrays: Sequence[Any], /, axis: int | None = 0, out: Any = None, *, dtype: Any = None,
                casting: str = "same_kind") -> Any:
    """np.concatenate."""
    parts = in_common(tuple(arrays), dtype)
    result = _M.concat(parts, axis)
    if axis is not None and not all(map(is_contiguous, parts)):
        result = laid_as(result, np.concatenate([x.memory for x in parts], axis))
    return Array(result) if out is None else write(out, result, casting)


def stack(arrays: Sequence[Any], axis: int = 0, out: Any = None, *, dtype: Any = None,
          casting: str = "same_kind") -> Any:
    """np.stack."""
    given: list[Any] = [Array(tensor_of(plain(a))) for a in arrays]
    if any(a.shape != given[0].shape for a in given):
        raise ValueError("all input arrays must have the same shape")
    at = _M.one_axis("stack", given[0]._tensor, axis, given[0].ndim + 1)
    return concatenate([a[(*(slice(None),) * at, None)] for a in given], at, out, dtype=dtype, casting=casting)


def where(condition: Any, *choices: Any) -> Any:
    """np.where of three arguments."""
    if len(choices) != 2:
        raise Uncounted("of one argument: the shape of the result depends on values")
    held = convert(tensor_of(plain(condition)), BOOL)
    return Array(_F.where(held, *in_common(choices)))


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """np.dot."""
    first = plain(a)
    return methods.dot(first if isinstance_of(first, Operand) else made(np.asarray(first)), b, out)


def inner(a: Any, b: Any, /) -> Any:
    """np.inner."""
    x, y = in_common((a, b))
    return dot(wrap(x), wrap(_M.swapaxes(y, -1, -2) if y.ndim > 1 else y))


def vdot(a: Any, b: Any, /) -> Any:
    """np.vdot."""
    x, y = (_M.reshape(v, (-1,)) for v in in_common((a, b)))
    if x.dtype.kind == "c":
        raise Uncounted("of complex numbers")
    return dot(wrap(x), wrap(y))


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """np.copyto."""
    into, source = target(dst), plain(src)
    k = kind(source)
    if not np.can_cast(k if isinstance(k, np.dtype) else np.result_type(into.dtype, k(0)),
                       into.dtype, casting):
        raise TypeError("the rule of casting= forbids it")
    value = items.value_for(source, into.dtype)
    if where is not True:
        value = _F.where(convert(tensor_of(plain(where)), BOOL), value, into)
    copy_(into, _M.broadcast_to(value, into.shape))


def putmask(a: Any, /, mask: Any, values: Any) -> None:
    """np.putmask with one value."""
    if np.size(plain(values)) != 1:
        raise Uncounted("with many values")
    items.set_item(a, plain(mask), values)


def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    """np.broadcast_arrays."""
    tensors = [tensor_of(plain(a)) for a in args]
    shape = _M.broadcast_shapes("broadcast_arrays", *(t.shape for t in tensors))
    return tuple(Array(get(t, Ellipsis) if t.shape == shape else _M.broadcast_to(t, shape)) for t in tensors)


def broadcast(*args: Any) -> SimpleNamespace:
    """np.broadcast of Arrays, of which people read the shape."""
    if not holds_operands(args):
        raise Uncounted("of plain values it is NumPy's own")
    shape = _M.broadcast_shapes("broadcast", *(tensor_of(plain(a)).shape for a in args))
    return SimpleNamespace(shape=shape, ndim=len(shape), nd=len(shape), size=prod(shape))


def einsum(*operands: Any, out: Any = None, optimize: Any = False, **options: Any) -> Any:
    """np.einsum, of a text and arrays."""
    if options or not isinstance(operands[0], str):
        raise Uncounted("with axes as lists, or with dtype=, order= or casting=")
    given = in_common(operands[1:])
    result = contraction.einsum(operands[0], *given)
    if result.ndim > 1 and out is None:
        few = [x.memory[(slice(2),) * x.ndim] for x in given]         # as many as tell the axes' order
        result = laid_as(result, np.einsum(operands[0], *few, optimize=optimize))
    return done(result, out)


class Converter:
    """What NumPy's own code makes of the arguments that it is given, and how it gives the result back."""

    def __init__(self, *given: Any):
        self.scalar_input = tuple(type(v) is Scalar or np.isscalar(v) for v in given)
        self._given = given

    def _array(self, value: Any) -> Any:
        value = plain(value)
        if is_size(value):
            return Array(tensor_of(value))
        return value if isinstance_of(value, Operand) else np.asarray(value)

    def __len__(self) -> int:
        return len(self._given)

    def __getitem__(self, k: int) -> Any:
        return self._array(self._given[k])

    def as_arrays(self, subok: bool = True, pyscalars: str = "convert_if_no_array") -> tuple[Any, ...]:
        """Arrays of all; Python numbers may stay as they are beside arrays."""
        python = [type(number_in(v)) in (int, float, complex) for v in self._given]
        keep = pyscalars == "preserve" or pyscalars == "convert_if_no_array" and not all(python)
        return tuple(v if keep and plain_number else self._array(v) for v, plain_number in zip(self._given, python))

    def result_type(self, extra_dtype: Any = None, ensure_inexact: bool = False) -> np.dtype:
        """The dtype that all promote to."""
        found = [k if isinstance(k := kind(plain(v)), np.dtype) else k(0) for v in self._given]
        found += [] if extra_dtype is None else [np.dtype(extra_dtype)]
        common = np.result_type(*found)
        return np.result_type(common, 0.0) if ensure_inexact and common.kind in "iub" else common

    def wrap(self, arr: Any, /, to_scalar: bool | None = None) -> Any:
        """The result: a scalar of scalars."""
        scalar = all(self.scalar_input) if to_scalar is None else to_scalar
        return wrap(arr._tensor) if scalar and isinstance_of(arr, Operand) and arr.ndim == 0 else arr


def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """np.count_nonzero."""
    return methods.reduce(np.add, wrap(convert(tensor_of(plain(a)), BOOL)), axis, keepdims=keepdims)


COUNTERPARTS: dict[Any, Callable[..., Any]] = {
    **linalg.COUNTERPARTS, **created.COUNTERPARTS,
    np.array: array, np.asarray: asarray, np.asanyarray: asarray,
    np.ascontiguousarray: contiguous("C"), np.asfortranarray: contiguous("F"),
    np.copy: lambda a, order="K", subok=False: array(a, order=order),
    np.concatenate: concatenate, np.stack: stack, np.where: where, np.dot: dot, np.inner: inner, np.vdot: vdot,
    np.broadcast: broadcast, CONVERTER: Converter, np.broadcast_arrays: broadcast_arrays, np.einsum: einsum,
    np.median: sampling.median, np.quantile: sampling.quantile, np.percentile: sampling.percentile,
    np.nanmean: sampling.nanmean, np.nanmax: sampling.nan_extremum(statistics.nanmax),
    np.nanmin: sampling.nan_extremum(statistics.nanmin), np.histogram: sampling.histogram,
    np.interp: sampling.interp, np.correlate: sampling.correlate,
    _multiarray_umath.correlate: sampling.correlate, np.count_nonzero: count_nonzero,
    np.copyto: copyto, np.putmask: putmask,
    np.can_cast: lambda from_, to, casting="safe": np.can_cast(
        from_.dtype if isinstance_of(from_, Operand) else from_, to, casting),
    np.result_type: lambda *given: np.result_type(*(v.dtype if isinstance_of(v, Operand) else v for v in given)),
    np.broadcast_to: lambda array, shape, subok=False: Array(_M.broadcast_to(tensor_of(array), shape)),
    np.isscalar: lambda element: type(element) is Scalar or np.isscalar(element),
    np.iscomplexobj: lambda x: np.asarray(plain(x).dtype.type(0)).dtype.kind == "c",
    np.isrealobj: lambda x: np.asarray(plain(x).dtype.type(0)).dtype.kind != "c",
    np.shape: lambda a: np.shape(plain(a)) if not isinstance_of(plain(a), Operand) else plain(a)._tensor.shape,
    np.ndim: lambda a: len(plain(a)._tensor.shape) if isinstance_of(plain(a), Operand) else np.ndim(a),
}
"""What stands in for NumPy's functions that are not written in Python, or that make arrays."""

COUNTERPARTS |= {function._implementation: ours for function, ours in COUNTERPARTS.items()     # NumPy's code calls it
                 if hasattr(function, "_implementation")}

OF_CONSTANTS = frozenset({np.lexsort, np.bincount, np.packbits, np.unpackbits, np.unravel_index, np.ravel_multi_index,
                          _multiarray_umath._monotonicity})
"""Functions that change nothing: of arrays that follow from guards alone, NumPy's results do so too."""


def apply(function: Any, args: tuple, options: dict[str, Any], own_code: Callable[[Any], Callable | None]) -> Any:
    """One call of a NumPy function on Arrays. `own_code` gives NumPy's Python code of it, made to run on Arrays."""
    ours = COUNTERPARTS.get(function) or own_code(function)
    if ours is None:
        if function in OF_CONSTANTS and all(map(is_fixed, operands_in((*args, *options.values())))):
            return entered(function(*map(real, args), **{name: real(value) for name, value in options.items()}), ())
        return on_arrays(function, args, options, f"numpy.{_name(function)} has no counterpart")
    try:
        refuse_errors()
        return with_numbers(ours, args, options)
    except Exception as refusal:  # noqa: BLE001 - NumPy decides whether it is an error, and in which words
        why = str(refusal) or type(refusal).__name__
        return on_arrays(function, args, options, f"numpy.{_name(function)}: {why}")


def operands_in(values: Any) -> Iterator[Operand]:
    """The Arrays and Scalars among these, and in lists and tuples of them."""
    for value in values:
        if isinstance_of(value, Operand):
            yield value
        elif type(value) in (list, tuple):
            yield from operands_in(value)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def entered(result: Any, args: tuple) -> Any:
    """What a NumPy function made of plain values: new arrays become Arrays, those on memory of its arguments stay."""
    if type(result) is np.ndarray:
        if any(type(a) is np.ndarray and np.may_share_memory(a, result) for a in args):
            return result
        try:
            return made(result)
        except Uncounted:
            return result
    if type(result) in (list, tuple):
        return type(result)(entered(part, args) for part in result)
    return result

