"""The operations on Tensors: arithmetic, comparison, logic, reductions, contraction, and what is composed of them.

Names and rules are the Array API standard's where it has the operation, else PyTorch's. Operands are Tensors,
NumPy arrays or Python numbers; numbers take the dtype of the tensor beside them. Everything ends in `dispatch`.
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tracegrad import dtypes
from tracegrad.devices import device_of
from tracegrad.dispatch import dispatch, owned, transfer
from tracegrad.dtypes import COMPLEX_NUMBERS, INEXACT, REAL, bool_, float32, name_of
from tracegrad.movement import broadcast_shapes, broadcast_to, expand_dims, reshape, squeeze
from tracegrad.mutation import Binary, Unary, deliver
from tracegrad.operands import (
    Axis,
    Operand,
    axes_of,
    contraction_error,
    convert,
    count,
    floating,
    pair,
    refuse_names,
    tensor_operand,
    truth,
)
from tracegrad.recorder import ACTIVE
from tracegrad.refusals import check
from tracegrad.size_numbers import floating_number
from tracegrad.tensors import Tensor

# ---- elementwise, by the type of their operands ------------------------------------------------------------------


def _binary(op: str, name: str, doc: str) -> Binary:
    def apply(x1: Any, x2: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(x1, x2), name)
        if isinstance(x1, Tensor):
            if isinstance(x2, Tensor):
                dtype = x1.dtype
                if dtype is x2.dtype and dtype in REAL:
                    return dispatch(op, x1, x2)
            elif type(x2) is float and x1.dtype in INEXACT:
                return dispatch(op, x1, x2)
        return dispatch(op, *numbers(op, *pair(op, x1, x2)))
    return _named(apply, name, doc)


def _unary(op: str, name: str, doc: str) -> Unary:
    def apply(x: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(x), name)
        return dispatch(op, *numbers(op, x if isinstance(x, Tensor) else tensor_operand(op, x)))
    return _named(apply, name, doc)


def numbers(op: str, *operands: Any) -> tuple[Any, ...]:
    """The operands; TypeRuleError for bools and complex numbers where the op is not for them, but NumPy's is."""
    if not all_real(operands):
        check(op, operands, {})
    return operands


def all_real(operands: tuple[Any, ...]) -> bool:
    return next((x.dtype for x in operands if isinstance(x, Tensor)), float32) in REAL


def _unary_floating(op: str, doc: str) -> Unary:
    def apply(x: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(x), op)
        return dispatch(op, floating(x if isinstance(x, Tensor) else tensor_operand(op, x)))
    return _named(apply, op, doc + " Integers are computed in the default floating-point dtype.")


def _named(function: Callable, name: str, doc: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


add = _binary("add", "add", "x1 + x2.")
subtract = _binary("sub", "subtract", "x1 - x2.")
multiply = _binary("mul", "multiply", "x1 * x2.")
maximum = _binary("maximum", "maximum", "The larger of each two elements; NaN where one is.")
minimum = _binary("minimum", "minimum", "The smaller of each two elements; NaN where one is.")
equal = _binary("eq", "equal", "x1 == x2, elementwise.")
not_equal = _binary("ne", "not_equal", "x1 != x2, elementwise.")
less = _binary("lt", "less", "x1 < x2, elementwise.")
less_equal = _binary("le", "less_equal", "x1 <= x2, elementwise.")
greater = _binary("gt", "greater", "x1 > x2, elementwise.")
greater_equal = _binary("ge", "greater_equal", "x1 >= x2, elementwise.")
bitwise_and = _binary("and", "bitwise_and", "x1 & x2 of integers or bools.")
bitwise_or = _binary("or", "bitwise_or", "x1 | x2 of integers or bools.")
bitwise_xor = _binary("xor", "bitwise_xor", "x1 ^ x2 of integers or bools.")
bitwise_right_shift = _binary("shift_right", "bitwise_right_shift",
                              "x1 >> x2; a count outside the width shifts everything out.")
negative = _unary("neg", "negative", "-x.")
abs = _unary("abs", "abs", "|x|.")
sign = _unary("sign", "sign", "-1, 0 or 1; NaN for NaN.")
bitwise_invert = _unary("not", "bitwise_invert", "~x of integers or bools.")
sqrt = _unary_floating("sqrt", "The square root; NaN below 0.")
exp = _unary_floating("exp", "e to the power of x.")
log = _unary_floating("log", "The natural logarithm; -inf at 0, NaN below.")
tanh = _unary_floating("tanh", "The hyperbolic tangent.")


def divide(x1: Operand, x2: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """x1 / x2; of integers in the default floating-point dtype.

        >>> tg.divide(tg.tensor([1, 4]), 2)
        tensor([0.5000, 2.0000])
    """
    if out is not None:
        return deliver(out, divide(x1, x2), "divide")
    if isinstance(x1, Tensor) and isinstance(x2, Tensor) and x1.dtype is x2.dtype:
        return dispatch("div", floating(x1), floating(x2))
    a, b = pair("divide", x1, x2)
    return dispatch("div", floating(a) if isinstance(a, Tensor) else a, floating(b) if isinstance(b, Tensor) else b)


def positive(x: Operand, /) -> Tensor:
    """+x: a Tensor of the same values."""
    return tensor_operand("positive", x)


def _logical(op: str, name: str, doc: str) -> Binary:
    def apply(x1: Any, x2: Any, /, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return deliver(out, apply(x1, x2), name)
        return dispatch(op, truth(x1), truth(x2))
    return _named(apply, name, doc)


logical_and = _logical("and", "logical_and", "x1 and x2, elementwise; what is not 0 is true.")
logical_or = _logical("or", "logical_or", "x1 or x2, elementwise; what is not 0 is true.")
logical_xor = _logical("xor", "logical_xor", "Exactly one of x1 and x2, elementwise; what is not 0 is true.")


def logical_not(x: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """not x, elementwise; what is not 0 is true."""
    if out is not None:
        return deliver(out, logical_not(x), "logical_not")
    return dispatch("not", truth(x))


def where(condition: Operand, x1: Operand, x2: Operand, /) -> Tensor:
    """x1 where the condition holds, else x2; all three broadcast.

        >>> tg.where(tg.tensor([True, False]), tg.tensor([1.0, 2.0]), 0.0)
        tensor([1., 0.])
    """
    a, b = pair("where", x1, x2)
    return dispatch("where", truth(condition), a, b)


def astype(x: Tensor, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x in `dtype`. Float to integer truncates, NaN gives 0, what is out of range the nearest end.

    With copy=False a tensor that has the dtype is returned itself.

        >>> tg.astype(tg.tensor([1.9, -1.9, float("nan")]), tg.int32)
        tensor([ 1, -1,  0], dtype=int32)
    """
    if device is not None and device_of(device) != x.device:
        x, copy = transfer(x, device_of(device)), False
    target = dtypes.dtype_of(dtype)
    if x.dtype == target:
        return clone(x) if copy else x
    return dispatch("cast", x, dtype=name_of(target))


def clone(x: Tensor, /) -> Tensor:
    """A copy with memory of its own; its gradient goes to x."""
    return owned("reshape", (x,), {"shape": x.shape}, lambda: x.copied().memory)


def contiguous(x: Tensor, /) -> Tensor:
    """x itself if its elements lie in memory in their order, else a copy where they do."""
    return x if x.array.flags.c_contiguous else clone(x)


def detach(x: Tensor, /) -> Tensor:
    """x without its history: a leaf, on the same memory.

        >>> w = tg.tensor([1.0], requires_grad=True)
        >>> (w * 2).detach()
        tensor([2.])
    """
    result = x.twin()
    x.share(result, "detach", {}, False)
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.record_detach(x, result)
    return result


# ---- reductions -------------------------------------------------------------------------------------------------


def sum(x: Operand, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False,
        out: Tensor | None = None, **names: Any) -> Tensor:
    """The sum over `axis` (None: all). Integers and bools narrower than 64 bits are summed in 64.

        >>> tg.sum(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
        tensor([4., 6.])
        >>> tg.sum(tg.tensor([True, True]))
        tensor(2)
    """
    if out is not None:
        return deliver(out, sum(x, axis, dtype=dtype, keepdims=keepdims, **names), "sum")
    refuse_names("sum", names)
    x = tensor_operand("sum", x)
    if dtype is not None:
        x = convert(x, dtypes.dtype_of(dtype))
    elif x.dtype not in INEXACT:
        x = convert(x, dtypes.uint64 if x.dtype.kind == "u" else dtypes.int64)
    return dispatch("sum", x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


def max(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, out: Tensor | None = None, **names: Any) -> Tensor:
    """The largest element over `axis` (None: all); NaN where one is. Elements that tie share the gradient equally.

        >>> tg.max(tg.tensor([[1, 7], [3, 4]]), axis=1, keepdims=True)
        tensor([[7],
                [4]])
    """
    if out is not None:
        return deliver(out, max(x, axis, keepdims=keepdims, **names), "max")
    refuse_names("max", names)
    x = ordered("max", x)
    if x.dtype is bool_:
        return any(x, axis, keepdims=keepdims)
    return dispatch("max", x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


def min(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, out: Tensor | None = None, **names: Any) -> Tensor:
    """The smallest element over `axis` (None: all); NaN where one is. Elements that tie share the gradient equally."""
    if out is not None:
        return deliver(out, min(x, axis, keepdims=keepdims, **names), "min")
    refuse_names("min", names)
    x = ordered("min", x)
    if x.dtype is bool_:
        return all(x, axis, keepdims=keepdims)
    return dispatch("min", x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


def ordered(op: str, x: Operand) -> Tensor:
    """x as a Tensor; TypeRuleError for complex numbers, of which NumPy would compare the real parts."""
    x = tensor_operand(op, x)
    if x.dtype in COMPLEX_NUMBERS:
        check(op, (x,), {"axis": () if op != "argmax" else 0, "keepdims": False})
    return x


def in_single(function: Callable[..., Tensor], x: Tensor, axis: Axis, **options: Any) -> Tensor:
    """A reduction of half precision, whose sums may be beyond what that holds: in float32, rounded once."""
    return convert(function(convert(x, dtypes.float32), axis, **options), x.dtype)


def mean(x: Operand, /, axis: Axis = None, *, keepdims: bool = False,
         out: Tensor | None = None, **names: Any) -> Tensor:
    """The mean over `axis` (None: all); of integers in the default floating-point dtype. NaN of no elements.

        >>> tg.mean(tg.tensor([[1, 2], [3, 5]]), axis=1)
        tensor([1.5000, 4.0000])
    """
    if out is not None:
        return deliver(out, mean(x, axis, keepdims=keepdims, **names), "mean")
    refuse_names("mean", names)
    x = floating(tensor_operand("mean", x))
    if x.itemsize == 2:
        return in_single(mean, x, axis, keepdims=keepdims)
    return dispatch("div", sum(x, axis, keepdims=keepdims), floating_number(count(x, axis)))


def var(x: Operand, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False,
        out: Tensor | None = None, **names: Any) -> Tensor:
    """The mean square deviation over `axis`, divided by n - correction (Array API: correction is 0 unless given).

        >>> tg.var(tg.tensor([1.0, 2.0, 3.0]))
        tensor(0.6667)
        >>> tg.var(tg.tensor([1.0, 2.0, 3.0]), correction=1)
        tensor(1.)
    """
    if out is not None:
        return deliver(out, var(x, axis, correction=correction, keepdims=keepdims, **names), "var")
    refuse_names("var", names)
    x = floating(tensor_operand("var", x))
    if x.itemsize == 2:
        return in_single(var, x, axis, correction=correction, keepdims=keepdims)
    away = x - mean(x, axis, keepdims=True)
    if x.dtype in COMPLEX_NUMBERS:
        away = abs(away)
    n = count(x, axis) - correction
    return sum(away * away, axis, keepdims=keepdims) / floating_number(n if n > 0 else 0)


def std(x: Operand, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False,
        out: Tensor | None = None, **names: Any) -> Tensor:
    """The square root of `var`. Where that is 0, it counts as a constant."""
    if out is not None:
        return deliver(out, std(x, axis, correction=correction, keepdims=keepdims, **names), "std")
    refuse_names("std", names)
    x = floating(tensor_operand("std", x))
    if x.itemsize == 2:
        return in_single(std, x, axis, correction=correction, keepdims=keepdims)
    return root_of(var(x, axis, correction=correction, keepdims=keepdims))


def root_of(variance: Tensor) -> Tensor:
    """The square root of what is not below 0; 0 counts as a constant."""
    nothing = dispatch("eq", variance, 0)
    return where(nothing, 0.0, sqrt(where(nothing, 1.0, variance)))


def argmax(x: Operand, /, axis: int | None = None, *, keepdims: bool = False,
           out: Tensor | None = None, **names: Any) -> Tensor:
    """The position of the first largest element along `axis` (None: in the flattened tensor).

        >>> tg.argmax(tg.tensor([[1, 7], [9, 4]]), axis=1)
        tensor([1, 0])
    """
    if out is not None:
        return deliver(out, argmax(x, axis, keepdims=keepdims, **names), "argmax")
    refuse_names("argmax", names)
    x = ordered("argmax", x)
    if x.dtype is bool_:
        x = convert(x, dtypes.uint8)
    if axis is not None:
        return dispatch("argmax", x, axis=axes_of(axis, x.ndim)[0], keepdims=keepdims)
    position = dispatch("argmax", reshape(x, (-1,)), axis=0, keepdims=False)
    return reshape(position, (1,) * x.ndim) if keepdims else position


def any(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, out: Tensor | None = None, **names: Any) -> Tensor:
    """Is an element along `axis` (None: at all) not 0?"""
    if out is not None:
        return deliver(out, any(x, axis, keepdims=keepdims, **names), "any")
    refuse_names("any", names)
    return sum(truth(x), axis, keepdims=keepdims) > 0


def all(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, out: Tensor | None = None, **names: Any) -> Tensor:
    """Is no element along `axis` (None: at all) 0?"""
    if out is not None:
        return deliver(out, all(x, axis, keepdims=keepdims, **names), "all")
    refuse_names("all", names)
    return dispatch("eq", sum(logical_not(x), axis, keepdims=keepdims), 0)


# ---- contraction ------------------------------------------------------------------------------------------------


def matmul(x1: Operand, x2: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """The matrix product over the last axis of x1 and the last but one of x2; batch axes broadcast.

    A 1-d operand is a row on the left, a column on the right, and its axis is dropped from the result.

        >>> tg.matmul(tg.ones(2, 3), tg.ones(3))
        tensor([3., 3.])
        >>> tg.matmul(tg.ones(5, 2, 3), tg.ones(3, 4)).shape
        (5, 2, 4)
    """
    if out is not None:
        return deliver(out, matmul(x1, x2), "matmul")
    a, b = tensor_operand("matmul", x1), tensor_operand("matmul", x2)
    if a.dtype is not b.dtype:
        a, b = pair("matmul", a, b)
    if a.dtype is bool_:
        check("matmul", (a, b), {})
    m, n = a.ndim, b.ndim
    if m == 2 and n == 2:
        return dispatch("matmul", a, b)
    if m == 0 or n == 0 or a.shape[-1] != b.shape[-2 if n > 1 else 0]:
        raise contraction_error(a, b)
    if m == 1 or n == 1:
        product = matmul(expand_dims(a, 0) if m == 1 else a, expand_dims(b, 1) if n == 1 else b)
        return squeeze(product, (-2,) * (m == 1) + (-1,) * (n == 1))
    if n == 2:                                      # one matrix for the whole batch: one large product
        rows = reshape(a, (prod(a.shape[:-1]), a.shape[-1]))
        return reshape(dispatch("matmul", rows, b), (*a.shape[:-1], b.shape[-1]))
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    a, b = (broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    return dispatch("matmul", a, b)


# ---- composed ---------------------------------------------------------------------------------------------------


def square(x: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """x * x."""
    if out is not None:
        return deliver(out, square(x), "square")
    x = tensor_operand("square", x)
    return multiply(x, x)


def power(x: Tensor, n: int) -> Tensor:
    """x ** n for n >= 0, by squaring: x**13 == x * x**4 * x**8; always a tensor of its own. x**0 is 1, even of NaN."""
    if n == 0:
        everywhere = dispatch("broadcast", dispatch("constant", value="true", dtype="bool"), shape=x.shape)
        return dispatch("where", everywhere, 1, x)
    if n == 1:
        return clone(x)
    result = x if n & 1 else None
    while n := n >> 1:
        x = dispatch("mul", x, x)
        if n & 1:
            result = x if result is None else dispatch("mul", result, x)
    assert result is not None
    return result


def relu(x: Operand, /) -> Tensor:
    """max(x, 0). NaN stays; the derivative at 0 is 0, PyTorch's choice, where that of maximum is a half."""
    x = tensor_operand("relu", x)
    return dispatch("where", dispatch("le", x, 0), 0, x)


def sigmoid(x: Operand, /) -> Tensor:
    """1 / (1 + exp(-x)), computed as (1 + tanh(x/2)) / 2, which cannot overflow."""
    return tanh(floating(tensor_operand("sigmoid", x)) * 0.5) * 0.5 + 0.5


def clip(x: Operand, /, min: Operand | None = None, max: Operand | None = None, *, out: Tensor | None = None) -> Tensor:
    """x with elements below `min` and above `max` moved there. At a bound the derivative is x's, as in PyTorch.

        >>> tg.clip(tg.tensor([-1.0, 0.5, 2.0]), 0.0, 1.0)
        tensor([0.0000, 0.5000, 1.0000])
    """
    if out is not None:
        return deliver(out, clip(x, min, max), "clip")
    x = tensor_operand("clip", x)
    if min is None and max is None:
        return clone(x)
    if x.dtype not in INEXACT:
        x = x if min is None else maximum(x, min)
        return x if max is None else minimum(x, max)
    x = x if min is None else where(less(x, min), min, x)
    return x if max is None else where(greater(x, max), max, x)
