"""The operators, methods and attributes of Array and Scalar: each is a function of another module, bound by a row."""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import cumulative, functional, movement, sorting
from tracegrad.lifted import LiftedNumber
from tracegrad.numpy_front import array_items as items
from tracegrad.numpy_front import array_methods as methods
from tracegrad.numpy_front import functions, ufuncs
from tracegrad.numpy_front.arrays import (
    Array,
    Operand,
    Scalar,
    Selected,
    isinstance_of,
    on_arrays,
    refuse_errors,
    with_numbers,
    wrap,
)
from tracegrad.numpy_front.substitution import CURRENT, Substitution
from tracegrad.size_numbers import SizeNumber
from tracegrad.tensors import Tensor

_F = functional
KNOWN = (Operand, np.ndarray, np.generic, int, float, complex, list, tuple, LiftedNumber, SizeNumber)


def binary(ufunc: np.ufunc, name: str, *, swapped: bool = False) -> Callable[[Any, Any], Any]:
    """x + y, and y + x where y could not. `name`: the method of ndarrays that decides what an unknown y means."""
    def by_the_array(array: Any, other: Any) -> Any:
        return getattr(array, name)(other)

    forward = getattr(complex, f"__{name[3:]}", None) if swapped else None

    def apply(x: Any, other: Any) -> Any:
        if forward is not None and type(other) is complex and type(x) is Scalar and x._tensor.dtype == np.float64:
            return items.reading("complex", lambda number: forward(other, number))(x)       # np.float64 is a float
        repeats = ufunc is np.multiply and type(x) is Scalar and type(other) in (list, tuple)       # [0] * n
        if not repeats and (other is None or any(isinstance_of(other, known) for known in KNOWN)):
            return ufuncs.apply(ufunc, "__call__", (other, x) if swapped else (x, other), {})
        if isinstance_of(other, Tensor):
            return NotImplemented
        why = f"numpy.{ufunc.__name__}: an operand is a {type(other).__name__}"
        return on_arrays(by_the_array, (x, other), {}, why)
    return apply


def unary(ufunc: np.ufunc) -> Callable[[Any], Any]:
    return lambda x: ufuncs.apply(ufunc, "__call__", (x,), {})


def in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """x += y."""
    return lambda x, other: ufuncs.apply(ufunc, "__call__", (x, other), {"out": (x,)})


def power(x: Any, exponent: Any, modulus: Any = None) -> Any:
    """x ** y. Of bools, x ** 2 is NumPy's square, i8, and other powers are i64."""
    if type(exponent) is int and exponent == 2 and isinstance_of(x, Operand) and x.dtype == bool:
        return ufuncs.apply(np.square, "__call__", (x,), {})
    return NotImplemented if modulus is not None else _power(x, exponent)


_power = binary(np.power, "__pow__")


def by_numpy(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
    """A method; where ours refuses, NumPy's own on the memory."""
    def apply(x: Operand, *args: Any, **options: Any) -> Any:
        try:
            refuse_errors()
            return with_numbers(ours, (x, *args), options)
        except Exception as refusal:  # noqa: BLE001 - NumPy decides whether it is an error, and in which words
            def called(array: Any, *args: Any, **options: Any) -> Any:
                return getattr(array, name)(*args, **options)
            why = str(refusal) or type(refusal).__name__
            return on_arrays(called, (x, *args), options, f"{name} of an array: {why}")
    apply.__name__ = name
    return apply


def attribute(name: str) -> Callable[[Operand], Any]:
    """What the guards of the arguments decide."""
    return lambda x: getattr(x._tensor, name)


def array_ufunc(x: Operand, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's protocol: a ufunc was called with an Array among its operands."""
    return ufuncs.apply(ufunc, method, inputs, options)


def array_wrap(x: Operand, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
    """NumPy's protocol: what a function made of an Array is what it is."""
    return wrap(array._tensor) if return_scalar and isinstance_of(array, Operand) else array


def array_function(x: Operand, function: Callable, types: Any, args: tuple, options: dict[str, Any]) -> Any:
    """NumPy's protocol: a function was called with an Array among its arguments."""
    return functions.apply(function, args, options, (CURRENT.get() or Substitution()).own_code)


_ARITHMETIC = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift, "divmod": np.divmod}
_COMPARISONS = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
                "eq": np.equal, "ne": np.not_equal}

_OPERATORS: dict[str, Callable] = {
    **{f"__{name}__": binary(ufunc, f"__{name}__") for name, ufunc in (_ARITHMETIC | _COMPARISONS).items()},
    **{f"__r{name}__": binary(ufunc, f"__r{name}__", swapped=True) for name, ufunc in _ARITHMETIC.items()},
    "__pow__": power, "__rpow__": binary(np.power, "__rpow__", swapped=True),
    "__neg__": unary(np.negative), "__pos__": unary(np.positive), "__abs__": unary(np.absolute),
    "__invert__": unary(np.invert),
    "__array_ufunc__": array_ufunc, "__array_function__": array_function, "__array__": items.as_array,
    "__array_wrap__": array_wrap,
    **{f"__{name}__": items.reading(name, function) for name, function in (
        ("bool", bool), ("int", int), ("float", float), ("complex", complex), ("index", operator.index),
        ("repr", repr), ("str", str), ("format", format), ("round", round), ("contains", operator.contains))},
    "__reduce_ex__": items.reading("a copy for others", lambda x, protocol: x.__reduce_ex__(protocol)),
}

_METHODS: dict[str, Callable] = {
    "sum": methods.reduction(np.add), "prod": methods.reduction(np.multiply),
    "max": methods.reduction(np.maximum), "min": methods.reduction(np.minimum),
    "any": methods.reduction(np.logical_or), "all": methods.reduction(np.logical_and),
    "mean": methods.mean, "var": methods.deviation(_F.var), "std": methods.deviation(_F.std),
    "argmax": methods.position(_F.argmax), "argmin": methods.position(sorting.argmin),
    "cumsum": methods.running(cumulative.cumsum), "cumprod": methods.running(cumulative.cumprod),
    "sort": methods.sort, "argsort": methods.argsort, "searchsorted": methods.searchsorted,
    "reshape": methods.reshape, "ravel": methods.ravel, "flatten": methods.flatten, "transpose": methods.transpose,
    "swapaxes": methods.swapaxes, "squeeze": methods.squeeze, "diagonal": methods.diagonal_of, "trace": methods.trace,
    "repeat": methods.repeat, "astype": methods.astype, "copy": methods.copied, "view": methods.view,
    "fill": items.fill, "clip": methods.clip, "dot": methods.dot, "round": methods.round_to, "take": methods.take,
    "__copy__": methods.copied, "__deepcopy__": lambda x, memo: methods.copied(x),
    "conj": methods.conjugate, "conjugate": methods.conjugate, "__getitem__": items.get_item,
}

_READS: dict[str, Callable] = {
    "item": lambda x, *at: x.item(*at), "tolist": lambda x: x.tolist(), "tobytes": lambda x, *o: x.tobytes(*o)}

_ATTRIBUTES: dict[str, Callable] = {
    **{name: attribute(name) for name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes")},
    "real": methods.real_part, "imag": methods.imaginary_part, "flags": methods.Flags,
    "T": methods.transpose, "mT": lambda x: Array(movement.swapaxes(x._tensor, -1, -2)),
}


_OF_ARRAYS: dict[str, Any] = {
    **{f"__i{name}__": in_place(ufunc) for name, ufunc in _ARITHMETIC.items() if name != "divmod"},
    "__ipow__": in_place(np.power), "__setitem__": by_numpy("__setitem__", items.set_item),
    "__len__": items.length, "__iter__": items.rows, "flat": property(items.Flat),
}
"""What NumPy's scalars do not have."""


_OF_SELECTIONS: dict[str, Callable] = {"dtype": lambda x: x.whole.dtype, "ndim": lambda x: 1 + x.rank}
"""What does not ask for the elements."""


def bind() -> None:
    """Give Array and Scalar their operators, methods and attributes."""
    methods_of_both = {**{name: by_numpy(name, function) for name, function in _METHODS.items()},
                       **{name: items.reading(name, function) for name, function in _READS.items()}}
    for name, function in {**_OPERATORS, **methods_of_both}.items():
        setattr(Operand, name, function)
    for name, function in _ATTRIBUTES.items():
        setattr(Operand, name, property(function))
    for name, function in _OF_ARRAYS.items():
        setattr(Array, name, function)
    for name, function in _OF_SELECTIONS.items():
        setattr(Selected, name, property(function))


bind()
__all__ = ["Array", "Scalar", "Selected", "bind"]
