"""NumPy called on Tensors: the protocols __array_ufunc__ and __array_function__.

    np.add(x, 1, out=y)            y gets the values, in place
    np.add.reduce(x, axis=1)       sum(x, axis=1); a ufunc without a reduction of its own goes slice by slice
    np.add.outer(x, y)             x[..., None] + y
    np.add.at(x, [0, 0], 1)        twice at 0
    np.kaiser(x)                   has no counterpart: a warning, once, and the NumPy function on an array

What has no counterpart leaves the graph: its result has no history, and a recording ends with that reason. In a
function traced with strict=True it raises.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tracegrad import functional, movement, numpy_functions, numpy_linalg, numpy_samples
from tracegrad.assignment import add_at, set_item
from tracegrad.host import numpy
from tracegrad.indexing import get
from tracegrad.numpy_functions import (
    UFUNCS,
    all_of,
    any_of,
    array_like,
    deliver,
    largest,
    product,
    smallest,
    sum_of,
)
from tracegrad.operands import convert
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class LeavesTheGraph(UserWarning):
    """A NumPy function without a counterpart was given arrays in place of Tensors; said once for each function."""


FUNCTIONS = {**numpy_functions.FUNCTIONS, **numpy_samples.FUNCTIONS, **numpy_linalg.FUNCTIONS}
"""Our function for each NumPy function that has one."""

REDUCTIONS: dict[np.ufunc, Callable] = {
    np.add: sum_of, np.multiply: product, np.maximum: largest, np.minimum: smallest,
    np.logical_or: any_of, np.logical_and: all_of,
}
"""Our reductions for the ufuncs that have one."""


def array_ufunc(x: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's protocol: a ufunc was called with a Tensor among its operands."""
    ours = UFUNCS.get(ufunc)
    if ours is None:
        return without_counterpart(ufunc if method == "__call__" else getattr(ufunc, method),
                                   _full_name(ufunc, method), inputs, options)
    apply = METHODS.get(method)
    if apply is None:
        raise TypeError(at_user_line(f"tracegrad has no numpy.{ufunc.__name__}.{method} on tensors"))
    return apply(ufunc, ours, *inputs, **options)


def array_function(x: Tensor, function: Callable, types: Any, args: tuple, options: dict[str, Any]) -> Any:
    """NumPy's protocol: a function was called with a Tensor among its arguments."""
    ours = FUNCTIONS.get(function)
    if ours is None:
        return without_counterpart(function, _full_name(function), args, options)
    return ours(*args, **options)


def _full_name(function: Any, method: str = "__call__") -> str:
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module}.{function.__name__}" + ("" if method == "__call__" else f".{method}")


# ---- the methods of ufuncs ---------------------------------------------------------------------------------------


def call(ufunc: np.ufunc, ours: Callable, *inputs: Any, out: Any = None, where: Any = True, dtype: Any = None,
         casting: str = "same_kind", **more: Any) -> Any:
    """ufunc(*inputs, out=, where=, dtype=, casting=)."""
    refuse(ufunc, more)
    if dtype is not None:
        inputs = tuple(in_dtype(ufunc, x, np.dtype(dtype), casting) for x in inputs)
    result = ours(*(array_like(ufunc.__name__, x) if isinstance(x, list | tuple) else x for x in inputs))
    if ufunc.nout > 1:
        if where is not True:
            raise TypeError(at_user_line(f"tracegrad has no numpy.{ufunc.__name__} with where="))
        return tuple(map(deliver, result, (None,) * ufunc.nout if out is None else out))
    if where is not True:
        target = out[0] if isinstance(out, tuple) else out
        others = 0 if target is None else array_like("where", target)
        result = functional.where(array_like("where", where), result, others)
    return deliver(result, out, casting)


def in_dtype(ufunc: np.ufunc, x: Any, dtype: np.dtype, casting: str) -> Any:
    """An operand in the dtype that was asked for; TypeError where `casting` forbids that."""
    x = array_like(ufunc.__name__, x)
    if not np.can_cast(x.dtype, dtype, casting):        # type: ignore[arg-type]
        raise TypeError(at_user_line(
            f"{ufunc.__name__}: {x.dtype} cannot be cast to {dtype} by the rule {casting!r}"))
    return convert(x, dtype)


def refuse(ufunc: np.ufunc, options: dict[str, Any]) -> None:
    """TypeError for options that have no meaning here."""
    meaningful = [name for name in options if name not in ("order", "subok")]
    if meaningful:
        raise TypeError(at_user_line(f"tracegrad has no numpy.{ufunc.__name__} with {', '.join(meaningful)}="))


def reduce(ufunc: np.ufunc, ours: Callable, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
           keepdims: bool = False, **options: Any) -> Any:
    """ufunc.reduce: our reduction, or the elements along one axis joined one after another."""
    own = REDUCTIONS.get(ufunc)
    array = array_like(ufunc.__name__, array)
    array = array if dtype is None else convert(array, np.dtype(dtype))
    if own is not None:
        return own(array, axis, out=out, keepdims=keepdims, **options)
    refuse(ufunc, options)
    parts = slices(ufunc, array, axis)
    result = parts[0]
    for part in parts[1:]:
        result = ours(result, part)
    return deliver(movement.expand_dims(result, axis) if keepdims else result, out)


def accumulate(ufunc: np.ufunc, ours: Callable, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """ufunc.accumulate: the elements along an axis joined one after another, all the results on the way kept."""
    array = array_like(ufunc.__name__, array)
    array = array if dtype is None else convert(array, np.dtype(dtype))
    if array.shape[axis] == 0:
        return deliver(functional.clone(array), out)
    results = slices(ufunc, array, axis)
    for k in range(1, len(results)):
        results[k] = ours(results[k - 1], results[k])
    return deliver(movement.stack(results, axis), out)


def slices(ufunc: np.ufunc, array: Tensor, axis: Any) -> list[Tensor]:
    """The parts along one axis; ValueError if there are none."""
    if not isinstance(axis, int) or ufunc.nin != 2 or ufunc.nout != 1:
        raise TypeError(at_user_line(f"tracegrad has no numpy.{ufunc.__name__}.reduce over axis {axis}"))
    k = movement.one_axis(ufunc.__name__, array, axis, array.ndim)
    if array.shape[k] == 0:
        raise ValueError(at_user_line(f"{ufunc.__name__}: a reduction of no elements has no value"))
    return [get(array, (slice(None),) * k + (n,)) for n in range(array.shape[k])]


def outer(ufunc: np.ufunc, ours: Callable, a: Any, b: Any, /, **options: Any) -> Any:
    """ufunc.outer: every element of a with every element of b."""
    a, b = array_like(ufunc.__name__, a), array_like(ufunc.__name__, b)
    return call(ufunc, ours, movement.reshape(a, (*a.shape, *(1,) * b.ndim)), b, **options)


def at(ufunc: np.ufunc, ours: Callable, a: Any, indices: Any, *b: Any) -> None:
    """ufunc.at: in place, an index that occurs twice counts twice. For add and subtract; others at a basic index."""
    if not isinstance(a, Tensor):
        raise TypeError(at_user_line(f"numpy.{ufunc.__name__}.at: tensors cannot be added into an array; "
                                     "write to a tensor"))
    if isinstance(indices, int | slice) or indices is Ellipsis:
        set_item(a, indices, ours(get(a, indices), *b))
        return
    if ufunc not in (np.add, np.subtract):
        raise TypeError(at_user_line(f"tracegrad has no numpy.{ufunc.__name__}.at with {type(indices).__name__} "
                                     "as an index; add and subtract take every index"))
    values = array_like(ufunc.__name__, b[0])
    add_at(a, indices, values if ufunc is np.add else functional.negative(values))


METHODS: dict[str, Callable] = {
    "__call__": call, "reduce": reduce, "accumulate": accumulate, "outer": outer, "at": at}


# ---- what has no counterpart -------------------------------------------------------------------------------------

@cache
def say_once(name: str) -> None:
    """Warn that a function leaves the graph."""
    warnings.warn(at_user_line(
        f"tracegrad has no {name} on tensors: it is called on arrays, and its result is an array without a history",
    ), LeavesTheGraph, stacklevel=5)


def without_counterpart(function: Callable, name: str, args: tuple, options: dict[str, Any]) -> Any:
    """The NumPy function on arrays: its result is no Tensor and has no history, and that is said once."""
    recorder = ACTIVE.get()
    if recorder is not None and recorder.strict:
        raise TypeError(at_user_line(
            f"tracegrad has no {name} on tensors: call it on np.asarray(x.detach()), outside the traced function"))
    say_once(name)
    return function(*(as_array(a) for a in args), **{k: as_array(v) for k, v in options.items()})


def as_array(x: Any) -> Any:
    """x with arrays, on the same memory, in place of Tensors."""
    if isinstance(x, Tensor):
        return numpy(functional.detach(x))
    return type(x)(map(as_array, x)) if type(x) in (list, tuple) else x
