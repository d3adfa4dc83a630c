"""Ufuncs on Arrays: NumPy says in which dtypes it would compute, ours computes in them.

    np.add(i64[3], 0.5)   loop (f64, f64) -> f64   ->   add(cast(x, f64), 0.5)
    np.add(f32[3], 2.0)   loop (f32, f32) -> f32        a Python number is weak, a NumPy scalar is not (NEP 50)
"""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tracegrad import functional, numpy_calls
from tracegrad.lifted import LiftedNumber
from tracegrad.movement import broadcast_shapes, broadcast_to
from tracegrad.numpy_front.arrays import (
    Array,
    Operand,
    Selected,
    Uncounted,
    constant,
    holds_operands,
    in_memory,
    isinstance_of,
    number_tensor,
    on_arrays,
    refuse_errors,
    same_mask,
    stacked,
    with_numbers,
    wrap,
)
from tracegrad.numpy_functions import UFUNCS
from tracegrad.operands import convert, lifted, scalar
from tracegrad.size_numbers import SizeInt, floating_number, is_size, number_in, read_size
from tracegrad.tensors import Tensor
from tracegrad.writes import copy_

BOOL, INT = np.dtype(bool), np.dtype(np.int64)
_F = functional

OF_BOOLS: dict[np.ufunc, Callable] = {
    np.add: _F.logical_or, np.maximum: _F.logical_or, np.multiply: _F.logical_and, np.minimum: _F.logical_and,
    np.equal: lambda x, y: _F.logical_not(_F.logical_xor(x, y)), np.not_equal: _F.logical_xor,
    np.less: lambda x, y: _F.logical_and(_F.logical_not(x), y),
    np.less_equal: lambda x, y: _F.logical_or(_F.logical_not(x), y),
    np.greater: lambda x, y: _F.logical_and(x, _F.logical_not(y)),
    np.greater_equal: lambda x, y: _F.logical_or(x, _F.logical_not(y)),
    np.absolute: _F.clone,
}
"""What ufuncs mean where NumPy computes in bools."""


def apply(ufunc: np.ufunc, method: str, inputs: tuple, options: dict[str, Any]) -> Any:
    """One call of a ufunc or of a method of it, on Arrays; by NumPy itself where ours cannot."""
    try:
        refuse_errors()
        if method == "__call__" and len(inputs) > ufunc.nin:            # np.add(x, y, out)
            return call(ufunc, *inputs[:ufunc.nin], **{**options, "out": inputs[ufunc.nin:]})
        return with_numbers(METHODS[method], (ufunc, *inputs), options)
    except Exception as refusal:  # noqa: BLE001 - NumPy decides whether it is an error, and in which words
        name = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        return on_arrays(getattr(ufunc, method), inputs, options, f"{name}: {_why(refusal)}")


def _why(refusal: Exception) -> str:
    return str(refusal) or type(refusal).__name__


# ---- dtypes ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def loop(ufunc: np.ufunc, kinds: tuple[Any, ...], dtype: np.dtype | None, casting: Any) -> tuple[np.dtype, ...]:
    """The dtypes of operands and results that NumPy computes in. A kind is a dtype, or the type of a Python number."""
    asked: dict[str, Any] = {} if dtype is None else {"signature": (None,) * ufunc.nin + (dtype,) * ufunc.nout}
    return ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout), casting=casting, **asked)


def kind(x: Any) -> Any:
    """What decides how x promotes: its dtype, or the type of a Python number."""
    if isinstance_of(x, Operand):
        return x.dtype
    if type(x) is LiftedNumber:
        return type(x.number)
    if is_size(x):
        return type(number_in(x))
    if type(x) in (int, float, complex):
        return type(x)
    if type(x) is bool:
        return BOOL
    if isinstance_of(x, np.generic) or type(x) is np.ndarray:
        return x.dtype
    raise Uncounted(f"an operand is a {type(x).__name__}")


def plain(x: Any) -> Any:
    """Lists as arrays."""
    if type(x) in (list, tuple):
        return Array(stacked(x)) if holds_operands(x) else np.asarray(x)
    return x


def operand(x: Any, dtype: np.dtype) -> Any:
    """x as our operations take it: a Tensor in `dtype`, or a number that `dtype` holds."""
    if isinstance_of(x, Operand):
        return convert(x._tensor, dtype)
    if type(x) is LiftedNumber:
        return lifted(x, dtype)
    if is_size(x):
        if dtype.kind in "fc" or dtype == INT and type(x) is SizeInt:
            return x if dtype == INT else floating_number(x)
        x = read_size(x)
    if type(x) is np.ndarray:
        if x.ndim or x.dtype.kind == "V":
            return convert(constant(x), dtype)
        x = x[()]
    return (dtype.type(x) if not isinstance_of(x, np.generic) else x.astype(dtype)).item()


def compute(ufunc: np.ufunc, inputs: tuple, dtype: Any = None, casting: str = "same_kind") -> Tensor:
    """The one result of a ufunc, a Tensor."""
    (result,) = results(ufunc, inputs, dtype, casting)
    return result


def results(ufunc: np.ufunc, inputs: tuple, dtype: Any = None, casting: str = "same_kind") -> tuple[Tensor, ...]:
    """The results of a ufunc, Tensors."""
    inputs = tuple(map(plain, inputs))
    wanted = loop(ufunc, tuple(map(kind, inputs)), None if dtype is None else np.dtype(dtype), casting)
    ours = UFUNCS.get(ufunc)
    if wanted[0] == BOOL and ufunc in OF_BOOLS:
        ours = OF_BOOLS[ufunc]
    if ours is None:
        raise Uncounted("it has no counterpart")
    operands = [operand(x, d) for x, d in zip(inputs, wanted)]
    if ufunc in (np.power, np.left_shift, np.right_shift) and wanted[0].kind in "iu":
        _refuse_negative(operands[1])
    if not any(isinstance_of(x, Tensor) for x in operands):
        if not any(map(is_size, operands)):
            raise Uncounted("no operand is an array")
        operands = [number_tensor(x, dtype) if is_size(x) else x for x, dtype in zip(operands, wanted)]
    if wanted[0] == BOOL:
        operands = [x if isinstance_of(x, Tensor) else scalar(x, BOOL) for x in operands]
    found = ours(*operands) if ufunc.nout > 1 else (ours(*operands),)
    if any(x.dtype.kind in "fc" and dtype.kind in "iub" for x, dtype in zip(found, wanted[ufunc.nin:])):
        raise Uncounted("of integers it is another function")
    found = tuple(functional.clone(x) if any(x is given for given in operands) else x for x in found)   # conj of reals
    return tuple(map(convert, found, wanted[ufunc.nin:]))


def _refuse_negative(exponent: Any) -> None:
    """NumPy raises for an integer to a negative power, which takes the values to be known."""
    if isinstance_of(exponent, Tensor) and exponent.dtype.kind == "i" or exponent < 0:
        raise Uncounted("of integers it depends on values")


# ---- the methods of ufuncs -----------------------------------------------------------------------------------------


def call(ufunc: np.ufunc, *inputs: Any, out: Any = None, where: Any = True, dtype: Any = None,
         casting: str = "same_kind", order: str = "K", subok: bool = True) -> Any:
    """ufunc(*inputs, out=, where=, dtype=, casting=)."""
    if ufunc.nout > 1:
        if out is not None or where is not True:
            raise Uncounted("of several results, with out= or where=")
        return tuple(map(wrap, results(ufunc, inputs, dtype, casting)))
    out = _single(out)
    if (selected := selected_among(inputs)) is not None and out is None and where is True:
        inputs = tuple(Array(x.whole) if type(x) is Selected else x for x in inputs)
        return selected.replaced(compute(ufunc, inputs, dtype, casting))
    if type(out) is Selected and inputs[0] is out and (selected := selected_among(inputs)) is not None:
        result = compute(ufunc, tuple(Array(x.whole) if type(x) is Selected else x for x in inputs))
        if not np.can_cast(result.dtype, out.dtype, casting):     # type: ignore[arg-type]
            raise TypeError(f"{result.dtype} does not cast to {out.dtype}")
        return out.overwrite(convert(result, out.dtype))
    result = compute(ufunc, inputs, dtype, casting)
    if where is not True:
        held = operand(plain(where), BOOL)
        held = held if isinstance_of(held, Tensor) else scalar(held, BOOL)
        others = 0 if out is None else convert(target(out), result.dtype)
        result = _F.where(held, result, others)
    return wrap(result) if out is None else write(out, result, casting)


def selected_among(inputs: tuple) -> Selected | None:
    """One of the selections, if all are by the same mask and nothing else lies along it."""
    selections = [x for x in inputs if type(x) is Selected and x.is_whole]
    if not selections:
        return None
    first = selections[0]
    for x in inputs:
        if type(x) is Selected:
            if not x.is_whole or x.lead != first.lead or not same_mask(x.mask_key, first.mask_key):
                return None
        elif np.ndim(in_memory(x)) > first.rank:
            return None
    return first


def target(out: Any) -> Tensor:
    """The Tensor of an Array that is to be written to."""
    if type(out) is not Array:
        raise Uncounted(f"out= is a {type(out).__name__}")
    return out._tensor


def write(out: Any, result: Tensor, casting: str = "same_kind") -> Any:
    """Write a result where out= wants it; gives `out`."""
    into = target(out)
    if not np.can_cast(result.dtype, into.dtype, casting):      # type: ignore[arg-type]
        raise TypeError(f"{result.dtype} does not cast to {into.dtype} by the rule {casting!r}")
    if broadcast_shapes("out", result.shape, into.shape) != into.shape:
        raise ValueError("out= is too small")
    copy_(into, broadcast_to(convert(result, into.dtype), into.shape))
    return out


def reduce(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False,
           initial: Any = np._NoValue, where: Any = True) -> Any:
    """ufunc.reduce."""
    if type(array) is Selected and array.is_whole and axis in (None, 0) and where is True and not keepdims:
        if ufunc not in (np.add, np.logical_or, np.logical_and):
            raise Uncounted("of a selection, which may be empty")
        axis = None if axis is None else tuple(range(array.lead))
        array, where = Array(array.whole), array.everywhere()
    x = _summand(ufunc, array, dtype)
    if x.size == 0 and ufunc.identity is None:
        raise Uncounted("of no elements")
    options: dict[str, Any] = {} if initial is np._NoValue or initial is None else {"initial": operand(
        initial, x.dtype)}
    if where is not True:
        held = operand(plain(where), BOOL)
        options["where"] = held if isinstance_of(held, Tensor) else bool(held)
    result = numpy_calls.reduce(ufunc, _ours(ufunc, x), x, axis, keepdims=bool(keepdims), **options)
    if ufunc in (np.add, np.multiply):
        result = convert(result, x.dtype)         # dtype= may be narrower than what ours joins integers in
    return wrap(result) if _single(out) is None else write(_single(out), result, "unsafe")


def accumulate(ufunc: np.ufunc, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """ufunc.accumulate."""
    x = _summand(ufunc, array, dtype)
    result = numpy_calls.accumulate(ufunc, _ours(ufunc, x), x, axis)
    if ufunc in (np.add, np.multiply):
        result = convert(result, x.dtype)
    return wrap(result) if _single(out) is None else write(_single(out), result, "unsafe")


def _single(out: Any) -> Any:
    return out[0] if isinstance_of(out, tuple) else out


def _ours(ufunc: np.ufunc, x: Tensor) -> Callable[..., Tensor]:
    return OF_BOOLS.get(ufunc, UFUNCS[ufunc]) if x.dtype == BOOL else UFUNCS[ufunc]


def _summand(ufunc: np.ufunc, array: Any, dtype: Any) -> Tensor:
    """The array in the dtype in which NumPy joins its elements: sums and products of narrow integers are wide."""
    x = plain(array)
    asked: dict[str, Any] = {} if dtype is None else {"signature": (np.dtype(dtype), None, None)}
    wanted = ufunc.resolve_dtypes((None, kind(x), None), reduction=True, **asked)
    if wanted[0] != wanted[2]:
        raise Uncounted("its results have another dtype")
    x = operand(x, wanted[1])
    if not isinstance_of(x, Tensor):
        raise Uncounted("the operand is a number")
    return x


def outer(ufunc: np.ufunc, a: Any, b: Any, /, **options: Any) -> Any:
    """ufunc.outer."""
    a, b = plain(a), plain(b)
    rank = 0 if np.ndim(b) == 0 else b.ndim
    return call(ufunc, a[(..., *[None] * rank)] if rank else a, b, **options)


def at(ufunc: np.ufunc, a: Any, indices: Any, *b: Any) -> None:
    """ufunc.at."""
    x, given, places = target(a), tuple(map(plain, b)), plain(indices)
    if len(given) != 1 or loop(ufunc, (kind(a), kind(given[0])), None, "same_kind")[-1] != x.dtype:
        raise Uncounted("it casts")
    if kind(places) == BOOL:
        raise Uncounted("with a mask as an index")
    numpy_calls.at(ufunc, UFUNCS[ufunc], x, places if type(places) is int else operand(places, INT),
                   operand(given[0], x.dtype))


METHODS: dict[str, Callable] = {
    "__call__": call, "reduce": reduce, "accumulate": accumulate, "outer": outer, "at": at}
