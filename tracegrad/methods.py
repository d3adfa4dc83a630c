"""The operators and methods of Tensor: each is a function of another module, bound by a row here."""
from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from codegen.ir.types import type_of
from tracegrad import (
    assignment,
    autodiff,
    classification,
    complex_numbers,
    contraction,
    conversions,
    cumulative,
    diagonals,
    differences,
    elementary,
    exchange,
    formatting,
    functional,
    histograms,
    host,
    indexing,
    interop,
    manipulation,
    movement,
    numpy_calls,
    placing,
    probabilities,
    random,
    scattering,
    selections,
    sets,
    slicing,
    sorting,
    splitting,
    statistics,
    updates,
    windows,
    writes,
)
from tracegrad.conversions import moved
from tracegrad.devices import CUPY
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import (
    INEXACT,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from tracegrad.hooks import Handle
from tracegrad.mixed_precision import casting
from tracegrad.operands import scalar
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def emit(x: Tensor, op: str, *args: Any, **attrs: Any) -> Tensor:
    """Apply the primitive `op` to x and args: the Tensor side of the algebra that derivatives are written in."""
    return dispatch(op, x, *args, **attrs)


def constant(x: Tensor, number: int | float | complex, /) -> Tensor:
    """A 0-d Tensor of the dtype of x."""
    made = scalar(number, x.dtype)
    return moved(made, x.device) if CUPY else made


def iota(x: Tensor, shape: tuple[int, ...], axis: int, /) -> Tensor:
    """i64: 0, 1, 2, ... along an axis of this shape."""
    made = dispatch("iota", shape=shape, axis=axis, dtype="i64")
    return moved(made, x.device) if CUPY else made


def requires_grad_(x: Tensor, requires_grad: bool = True, /) -> Tensor:
    """Set requires_grad of a leaf."""
    if requires_grad and x.dtype not in INEXACT:
        raise RuntimeError(at_user_line(
            f"requires_grad_: {type_of(x)} is neither floating-point nor complex: it has no derivative; cast it"))
    if not requires_grad and x.grad_fn is not None:
        raise RuntimeError(at_user_line("requires_grad_: the tensor is not a leaf; use detach()"))
    x.requires_grad = requires_grad
    return x


def register_hook(x: Tensor, hook: Callable[[Tensor], Tensor | None], /) -> Handle:
    """Call `hook` with the gradient of x in every backward; what it returns, if not None, takes its place.

    The hook belongs to the present value of x: after a write in place it is called for what was computed before.
    """
    if not x.requires_grad:
        raise RuntimeError(at_user_line("register_hook: the tensor does not require grad: no gradient arrives at it"))
    owner = x if x.grad_fn is None else x.grad_fn
    if owner.hooks is None:
        owner.hooks = []
    owner.hooks.append(hook)
    if x.grad_fn is not None:
        x.grad_fn.watch()
    return Handle(owner.hooks, hook)


def retain_grad(x: Tensor, /) -> None:
    """Keep the gradient of a tensor that is not a leaf in its .grad too: that of the value it has at the end."""
    if not x.requires_grad:
        raise RuntimeError(at_user_line("retain_grad: the tensor does not require grad: no gradient arrives at it"))
    if x.grad_fn is not None:
        x.grad_fn.retained = weakref.ref(x)
        x.grad_fn.watch()


def element_size(x: Tensor, /) -> int:
    """Bytes of one element."""
    return x.itemsize


def numel(x: Tensor, /) -> int:
    """The number of elements."""
    return x.size


def reversed_operands(op: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    cast = casting(op)
    return lambda x, other: cast(other, x)


def operator(op: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Any]:
    """op for `==` and `!=`: what is no operand is not equal, as Python has it."""
    def apply(x: Tensor, other: Any) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else op(x, other)
    return apply


def in_dtype(dtype: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.astype(x, dtype, copy=False)


_E, _F, _M, _W, _H, _C = elementary, functional, movement, writes, host, complex_numbers

_OPERATORS: dict[str, Callable] = {
    "__add__": _F.add, "__sub__": _F.subtract, "__mul__": _F.multiply, "__truediv__": _F.divide,
    "__matmul__": _F.matmul, "__and__": _F.bitwise_and, "__or__": _F.bitwise_or, "__xor__": _F.bitwise_xor,
    "__rshift__": _F.bitwise_right_shift,
    "__pow__": _E.pow, "__floordiv__": _E.floor_divide, "__mod__": _E.remainder, "__divmod__": _E.divmod,
    "__lshift__": _E.bitwise_left_shift, "__round__": _E.round,
    **{f"__r{name}__": reversed_operands(op) for name, op in (
        ("pow", _E.pow), ("floordiv", _E.floor_divide), ("mod", _E.remainder), ("divmod", _E.divmod),
        ("lshift", _E.bitwise_left_shift))},
    **updates.OPERATORS,
    "__lt__": _F.less, "__le__": _F.less_equal, "__gt__": _F.greater, "__ge__": _F.greater_equal,
    "__eq__": operator(_F.equal), "__ne__": operator(_F.not_equal),
    "__neg__": _F.negative, "__pos__": _F.positive, "__abs__": _F.abs, "__invert__": _F.bitwise_invert,
    **{f"__r{name}__": reversed_operands(op) for name, op in (
        ("add", _F.add), ("sub", _F.subtract), ("mul", _F.multiply), ("truediv", _F.divide),
        ("matmul", _F.matmul), ("and", _F.bitwise_and), ("or", _F.bitwise_or), ("xor", _F.bitwise_xor),
        ("rshift", _F.bitwise_right_shift))},
    "__getitem__": indexing.get, "__setitem__": assignment.set_item,
    "__bool__": _H.truth_value, "__float__": _H.to_float, "__int__": _H.to_int, "__index__": _H.to_index,
    "__len__": _H.length, "__iter__": slicing.rows, "__contains__": _H.contains, "__array__": _H.as_array,
    "__complex__": _H.to_complex,
    "__repr__": formatting.representation, "__format__": formatting.format_spec,
    "_repr_html_": formatting.table,
    "__array_ufunc__": numpy_calls.array_ufunc, "__array_function__": numpy_calls.array_function,
    "__array_namespace__": interop.array_namespace,
    "__dlpack__": exchange.dlpack, "__dlpack_device__": exchange.dlpack_device,
    "__copy__": interop.shallow_copy, "__deepcopy__": interop.deep_copy, "__reduce__": interop.reduce,
}

_METHODS: dict[str, Callable] = {
    "emit": emit, "constant": constant, "iota": iota,
    **{name: getattr(_F, name) for name in (
        "exp", "log", "tanh", "sqrt", "abs", "sign", "relu", "sigmoid", "square", "maximum", "minimum",
        "sum", "max", "min", "mean", "var", "std", "argmax", "any", "all", "matmul", "clip",
        "logical_and", "logical_or", "logical_xor", "logical_not",
        "astype", "clone", "contiguous", "detach")},
    # complex numbers
    "conj": _C.conj, "angle": _C.angle, "cfloat": in_dtype(complex64), "cdouble": in_dtype(complex128),
    "is_complex": _C.is_complex,
    **{name: getattr(_E, name) for name in (
        "pow", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh",
        "arcsin", "arccos", "arctan", "arctan2", "arcsinh", "arccosh", "arctanh",
        "expm1", "exp2", "log1p", "log2", "log10", "hypot", "logaddexp", "copysign", "nextafter",
        "erf", "erfc", "erfinv", "lgamma", "digamma", "xlogy", "logit", "sinc", "heaviside",
        "floor", "ceil", "trunc", "fix", "round", "frac", "floor_divide", "remainder", "fmod", "divmod",
        "reciprocal", "rsqrt", "float_power", "lerp", "addcmul", "addcdiv", "fmax", "fmin", "deg2rad", "rad2deg",
        "bitwise_left_shift", "absolute")},
    **{name: getattr(classification, name) for name in (
        "signbit", "isnan", "isinf", "isfinite", "isposinf", "isneginf", "isclose", "allclose", "nan_to_num")},
    **{name: getattr(_F, name) for name in (
        "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_right_shift")},
    "bitwise_not": _F.bitwise_invert,
    **updates.IN_PLACE,
    "softmax": probabilities.softmax, "log_softmax": probabilities.log_softmax, "logsumexp": probabilities.logsumexp,
    "add": _F.add, "sub": _F.subtract, "mul": _F.multiply, "div": _F.divide, "neg": _F.negative, "clamp": _F.clip,
    "eq": _F.equal, "ne": _F.not_equal, "lt": _F.less, "le": _F.less_equal, "gt": _F.greater, "ge": _F.greater_equal,
    **{name: getattr(_M, name) for name in (
        "reshape", "flatten", "swapaxes", "squeeze", "broadcast_to", "expand", "flip", "t",
        "take_along_axis", "take", "gather")},
    "view": _M.reshape, "permute": _M.permute_dims, "permute_dims": _M.permute_dims, "unsqueeze": _M.expand_dims,
    "transpose": _M.swapaxes,
    "float": in_dtype(float32), "double": in_dtype(float64),
    "int": in_dtype(int32), "long": in_dtype(int64), "bool": in_dtype(bool_),
    # dtypes and devices
    "half": in_dtype(float16), "bfloat16": in_dtype(bfloat16), "short": in_dtype(int16), "char": in_dtype(int8),
    "byte": in_dtype(uint8), "to": conversions.to, "type": conversions.type_, "type_as": conversions.type_as,
    "to_device": conversions.to_device,
    "unfold": windows.unfold,
    **{name: getattr(contraction, name) for name in (
        "addmm", "addmv", "baddbmm", "bmm", "dot", "inner", "kron", "mm", "mv", "outer", "vecdot")},
    "copy_": _W.copy_, "zero_": _W.zero_, "fill_": _W.fill_,
    "item": _H.item, "tolist": _H.tolist, "numpy": _H.numpy,
    "numel": numel, "element_size": element_size, "dim": lambda x: x.ndim, "cpu": conversions.cpu,
    "cuda": conversions.cuda, "pin_memory": conversions.pin_memory, "is_pinned": conversions.is_in_pinned_memory,
    "record_stream": conversions.record_stream,
    "is_contiguous": lambda x: x.array.flags.c_contiguous,
    # manipulation
    **{name: getattr(manipulation, name) for name in (
        "moveaxis", "ravel", "unflatten", "tile", "repeat", "repeat_interleave", "roll", "rot90", "fliplr", "flipud")},
    **{name: getattr(splitting, name) for name in (
        "split", "chunk", "tensor_split", "hsplit", "vsplit", "dsplit", "narrow", "select")},
    **{name: getattr(diagonals, name) for name in ("tril", "triu", "diagonal", "diag", "diag_embed", "diagflat")},
    "unbind": splitting.unstack, "movedim": manipulation.moveaxis,
    # random numbers
    **{name: getattr(random, name) for name in (
        "bernoulli", "multinomial", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_",
        "random_", "uniform_")},
    # ordering
    **{name: getattr(sorting, name) for name in (
        "sort", "argsort", "topk", "kthvalue", "argmin", "nonzero", "argwhere", "count_nonzero", "masked_select")},
    **{name: getattr(cumulative, name) for name in (
        "prod", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")},
    **{name: getattr(scattering, name) for name in (
        "scatter", "scatter_add", "scatter_reduce", "index_select", "index_add", "index_copy", "index_fill",
        "masked_fill")},
    **{f"{name}_": scattering.in_place(getattr(scattering, name)) for name in (
        "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill", "masked_fill")},
    "unique": sets.unique, "diff": differences.diff, "amax": _F.max, "amin": _F.min,
    **{name: getattr(statistics, name) for name in (
        "ptp", "nansum", "nanmean", "quantile", "nanquantile", "median", "nanmedian", "mode", "norm")},
    "histc": histograms.histc, "bincount": histograms.bincount,
    **{name: getattr(placing, name) for name in (
        "index_put", "index_put_", "put_", "masked_scatter", "masked_scatter_", "fill_diagonal_")},
    "backward": autodiff.backward,
    "register_hook": register_hook, "retain_grad": retain_grad, "requires_grad_": requires_grad_,
}

_PROPERTIES: dict[str, Callable] = {
    "T": _M.t, "mT": _M.matrix_transpose, "data": _F.detach,
    "is_cuda": lambda x: x.device.type == "cuda",
    "real": _C.real, "imag": _C.imag, "mH": _C.adjoint, "H": _C.hermitian,
}


_SETTERS: dict[str, Callable] = {"data": _W.set_data, "real": _W.set_real, "imag": _W.set_imag}


def bind() -> None:
    """Give Tensor its operators, methods and properties."""
    for name, function in {**_OPERATORS, **_METHODS}.items():
        setattr(Tensor, name, casting(function))
    for name, function in _PROPERTIES.items():
        setattr(Tensor, name, property(function, _SETTERS.get(name)))
    selections.bind()


bind()
