"""Our counterpart of each NumPy function, with NumPy's argument names and orders.

    np.sum(x, 0, keepdims=True)    ->   FUNCTIONS[np.sum](x, 0, keepdims=True)    ->   tg.sum(x, 0, keepdims=True)

1. Whatever NumPy writes with `out=` is written into a Tensor in place, into an array by leaving for Python.
2. Only names and orders are NumPy's here: promotion is that of the operations that are called.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracegrad import classification, complex_numbers, creation, cumulative, elementary, functional, movement
from tracegrad.dtype_info import result_type
from tracegrad.host import numpy
from tracegrad.operands import convert, tensor_operand, truth
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.writes import copy_

_E, _F, _M, _C = elementary, functional, movement, complex_numbers
GIVEN = object()
"""An argument that was not given."""

UFUNCS: dict[np.ufunc, Callable] = {
    np.add: _F.add, np.subtract: _F.subtract, np.multiply: _F.multiply, np.divide: _F.divide,
    np.negative: _F.negative, np.positive: _F.positive, np.absolute: _F.abs, np.sign: _F.sign, np.square: _F.square,
    np.sqrt: _F.sqrt, np.exp: _F.exp, np.log: _F.log, np.tanh: _F.tanh,
    np.maximum: _F.maximum, np.minimum: _F.minimum, np.matmul: _F.matmul,
    np.equal: _F.equal, np.not_equal: _F.not_equal, np.less: _F.less, np.less_equal: _F.less_equal,
    np.greater: _F.greater, np.greater_equal: _F.greater_equal,
    np.logical_and: _F.logical_and, np.logical_or: _F.logical_or, np.logical_xor: _F.logical_xor,
    np.logical_not: _F.logical_not, np.bitwise_and: _F.bitwise_and, np.bitwise_or: _F.bitwise_or,
    np.bitwise_xor: _F.bitwise_xor, np.invert: _F.bitwise_invert, np.right_shift: _F.bitwise_right_shift,
    np.conjugate: _C.conj,
    # elementary functions
    np.power: _E.pow, np.float_power: _E.float_power, np.reciprocal: _E.reciprocal, np.cbrt: _E.cbrt,
    np.sin: _E.sin, np.cos: _E.cos, np.tan: _E.tan, np.arcsin: _E.asin, np.arccos: _E.acos, np.arctan: _E.atan,
    np.arctan2: _E.atan2, np.sinh: _E.sinh, np.cosh: _E.cosh, np.arcsinh: _E.asinh, np.arccosh: _E.acosh,
    np.arctanh: _E.atanh, np.expm1: _E.expm1, np.exp2: _E.exp2, np.log1p: _E.log1p, np.log2: _E.log2,
    np.log10: _E.log10, np.hypot: _E.hypot, np.logaddexp: _E.logaddexp, np.logaddexp2: _E.logaddexp2,
    np.floor: _E.floor, np.ceil: _E.ceil, np.trunc: _E.trunc, np.rint: _E.round, np.modf: _E.modf,
    np.floor_divide: _E.floor_divide, np.remainder: _E.remainder, np.fmod: _E.fmod, np.divmod: _E.divmod,
    np.copysign: _E.copysign, np.nextafter: _E.nextafter, np.ldexp: _E.ldexp, np.left_shift: _E.bitwise_left_shift,
    np.signbit: classification.signbit, np.isnan: classification.isnan, np.isinf: classification.isinf,
    np.isfinite: classification.isfinite, np.fabs: _F.abs,
    np.fmax: _E.fmax, np.fmin: _E.fmin, np.heaviside: _E.heaviside, np.deg2rad: _E.deg2rad, np.radians: _E.deg2rad,
    np.rad2deg: _E.rad2deg, np.degrees: _E.rad2deg,
}
"""Our function for each ufunc that has one."""


def deliver(result: Tensor, out: Any, casting: str = "same_kind") -> Any:
    """The result, or `out` after it was written there; TypeError where `casting` forbids that."""
    if isinstance(out, tuple):
        (out,) = out
    if out is None:
        return result
    if not np.can_cast(result.dtype, out.dtype, casting):       # type: ignore[arg-type]
        raise TypeError(at_user_line(f"out: {result.dtype} cannot be cast to {out.dtype} by the rule {casting!r}"))
    if isinstance(out, Tensor):
        return copy_(out, convert(result, out.dtype))
    out[...] = numpy(result)
    return out


def array_like(name: str, x: Any) -> Tensor:
    """What NumPy would make an array of, as a Tensor: lists of numbers, of lists or of Tensors too."""
    if not isinstance(x, list | tuple):
        return tensor_operand(name, x)
    if any(isinstance(part, Tensor) for part in x):
        return _M.stack([array_like(name, part) for part in x])
    return creation.tensor(x)


# ---- reductions --------------------------------------------------------------------------------------------------


def reduction(ours: Callable[..., Tensor], combine: Callable[[Any, Any], Tensor] | None = None,
              neutral: Any = GIVEN) -> Callable[..., Any]:
    """A reduction in NumPy's words. `combine` joins it with `initial`; `neutral` stands where `where` does not hold."""
    def apply(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
              initial: Any = GIVEN, where: Any = True) -> Any:
        a = array_like(ours.__name__, a)
        if dtype is not None:
            a = convert(a, np.dtype(dtype))
        if where is not True:
            filler = neutral if initial is GIVEN or neutral is not GIVEN else initial
            if filler is GIVEN:
                raise ValueError(at_user_line(f"{ours.__name__}: where= needs initial="))
            a = _F.where(array_like("where", where), a, filler)
        result = ours(a, axis, keepdims=bool(keepdims))
        if initial is not GIVEN and initial is not None and combine is not None:
            result = combine(result, initial)
        return deliver(result, out)
    return _named(apply, ours.__name__)


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    return function


def without_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for functions that have no dtype=, whose third argument is out."""
    return lambda a, axis=None, out=None, **options: function(a, axis, None, out, **options)


sum_of = reduction(_F.sum, _F.add, 0)
product = reduction(cumulative.prod, _F.multiply, 1)
largest = without_dtype(reduction(_F.max, _F.maximum))
smallest = without_dtype(reduction(_F.min, _F.minimum))
any_of = without_dtype(reduction(_F.any, neutral=False))
all_of = without_dtype(reduction(_F.all, neutral=True))


def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
         *, where: Any = True) -> Any:
    """np.mean; of the elements where `where` holds."""
    a = array_like("mean", a)
    a = a if dtype is None else convert(a, np.dtype(dtype))
    if where is True:
        return deliver(_F.mean(a, axis, keepdims=bool(keepdims)), out)
    held = _M.broadcast_to(truth(array_like("where", where)), a.shape)
    total = _F.sum(_F.where(held, a, 0), axis, keepdims=bool(keepdims))
    return deliver(_F.divide(total, _F.sum(held, axis, keepdims=bool(keepdims))), out)


def deviation(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """np.var and np.std: ddof is our correction."""
    def apply(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
              keepdims: bool = False, *, correction: float | None = None) -> Any:
        a = array_like(ours.__name__, a)
        a = a if dtype is None else convert(a, np.dtype(dtype))
        n = float(ddof if correction is None else correction)
        return deliver(ours(a, axis, correction=n, keepdims=bool(keepdims)), out)
    return _named(apply, ours.__name__)


def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """np.argmax."""
    return deliver(_F.argmax(a, axis, keepdims=bool(keepdims)), out)


# ---- movement and choice -----------------------------------------------------------------------------------------


def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Tensor:
    """np.reshape, in C order."""
    in_c_order("reshape", order)
    return _F.clone(_M.reshape(a, shape)) if copy else _M.reshape(a, shape)


def ravel(a: Any, order: str = "C") -> Tensor:
    """np.ravel, in C order."""
    in_c_order("ravel", order)
    return _M.reshape(a, (-1,))


def in_c_order(name: str, order: str) -> None:
    """NotImplementedError for another order than C's."""
    if order not in ("C", "K", "A"):
        raise NotImplementedError(at_user_line(f"numpy.{name}: tracegrad has no order={order!r} yet; transpose first"))


def transpose(a: Any, axes: Any = None) -> Tensor:
    """np.transpose: all axes in reverse unless given."""
    a = array_like("transpose", a)
    return _M.permute_dims(a, tuple(reversed(range(a.ndim))) if axes is None else axes)


def moveaxis(a: Any, source: Any, destination: Any) -> Tensor:
    """np.moveaxis."""
    a = array_like("moveaxis", a)
    taken = [_M.one_axis("moveaxis", a, k, a.ndim) for k in _each(source)]
    placed = [_M.one_axis("moveaxis", a, k, a.ndim) for k in _each(destination)]
    if len(taken) != len(placed):
        raise ValueError(at_user_line("moveaxis: source and destination have different numbers of axes"))
    order = [k for k in range(a.ndim) if k not in taken]
    for to, axis in sorted(zip(placed, taken)):
        order.insert(to, axis)
    return _M.permute_dims(a, tuple(order))


def _each(axis: Any) -> tuple[int, ...]:
    return tuple(axis) if isinstance(axis, tuple | list) else (index(axis),)


def expand_dims(a: Any, axis: Any) -> Tensor:
    """np.expand_dims, one axis or several."""
    a = array_like("expand_dims", a)
    n = a.ndim + len(_each(axis))
    at = {_M.one_axis("expand_dims", a, k, n) for k in _each(axis)}
    sizes = iter(a.shape)
    return _M.reshape(a, tuple(1 if k in at else next(sizes) for k in range(n)))


def concatenate(arrays: Sequence[Any], /, axis: int | None = 0, out: Any = None, *, dtype: Any = None,
                casting: str = "same_kind") -> Any:
    """np.concatenate."""
    parts = [array_like("concatenate", x) for x in arrays]
    return deliver(_cast(_M.concat(parts, axis), dtype), out, casting)


def stack(arrays: Sequence[Any], axis: int = 0, out: Any = None, *, dtype: Any = None,
          casting: str = "same_kind") -> Any:
    """np.stack."""
    parts = [array_like("stack", x) for x in arrays]
    return deliver(_cast(_M.stack(parts, axis), dtype), out, casting)


def _cast(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else convert(x, np.dtype(dtype))


def at_least(ndim: int) -> Callable[..., Any]:
    """np.atleast_1d, 2d, 3d."""
    def one(x: Tensor) -> Tensor:
        missing = ndim - x.ndim
        if missing <= 0:
            return x
        after = 1 if ndim == 3 and x.ndim else 0        # (n,) is (1, n, 1), (m, n) is (m, n, 1)
        return _M.reshape(x, (*(1,) * (missing - after), *x.shape, *(1,) * after))

    def apply(*arrays: Any) -> Any:
        made = tuple(one(array_like(f"atleast_{ndim}d", a)) for a in arrays)
        return made[0] if len(made) == 1 else made
    return apply


def joined(ndim: int, axis: int) -> Callable[..., Any]:
    """np.vstack, np.hstack, np.dstack: concatenation of arrays of at least `ndim` axes."""
    raised = at_least(ndim)

    def apply(tup: Sequence[Any], *, dtype: Any = None, casting: str = "same_kind") -> Any:
        parts = [raised(x) for x in tup]
        return concatenate(parts, 0 if axis == 1 and parts[0].ndim == 1 else axis, dtype=dtype, casting=casting)
    return apply


def column_stack(tup: Sequence[Any]) -> Any:
    """np.column_stack: 1-d arrays are columns."""
    parts = [array_like("column_stack", x) for x in tup]
    return concatenate([_M.reshape(x, (-1, 1)) if x.ndim < 2 else x for x in parts], 1)


def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """np.clip."""
    low, high = a_min if min is None else min, a_max if max is None else max
    return deliver(_F.clip(a, low, high), out)


def where(condition: Any, *choices: Any) -> Any:
    """np.where of three arguments."""
    if len(choices) != 2:
        raise NotImplementedError(at_user_line("numpy.where: tracegrad has no where of one argument yet"))
    return _F.where(*(array_like("where", x) if isinstance(x, list) else x for x in (condition, *choices)))


def rounded(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """np.round."""
    return deliver(_E.round(array_like("round", a), decimals), out)


def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """np.nan_to_num; in place where copy is False."""
    x = array_like("nan_to_num", x)
    result = classification.nan_to_num(x, nan, posinf, neginf)
    return result if copy else copy_(x, result)


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """np.dot: of the last axis of a and the last but one of b; a product where one is 0-d."""
    a, b = array_like("dot", a), array_like("dot", b)
    if a.ndim == 0 or b.ndim == 0:
        return deliver(_F.multiply(a, b), out)
    if b.ndim <= 2:
        return deliver(_F.matmul(a, b), out)
    rows = _M.permute_dims(b, (b.ndim - 2, *range(b.ndim - 2), b.ndim - 1))
    flat = _F.matmul(a, _M.reshape(rows, (b.shape[-2], -1)))
    return deliver(_M.reshape(flat, (*a.shape[:-1], *b.shape[:-2], b.shape[-1])), out)


def outer(a: Any, b: Any, out: Any = None) -> Any:
    """np.outer."""
    a, b = array_like("outer", a), array_like("outer", b)
    return deliver(_F.multiply(_M.reshape(a, (-1, 1)), _M.reshape(b, (1, -1))), out)


def inner(a: Any, b: Any, /) -> Tensor:
    """np.inner: over the last axes of both."""
    a, b = array_like("inner", a), array_like("inner", b)
    return dot(a, _M.swapaxes(b, -1, -2) if b.ndim > 1 else b)


def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Tensor:
    """np.broadcast_to."""
    return _M.broadcast_to(array, shape)


def flip(m: Any, axis: Any = None) -> Tensor:
    """np.flip."""
    return _M.flip(m, axis)


def squeeze(a: Any, axis: Any = None) -> Tensor:
    """np.squeeze."""
    return _M.squeeze(a, axis)


def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """np.take, of indices in bounds."""
    if mode != "raise":
        raise NotImplementedError(at_user_line(f"numpy.take: tracegrad has no mode={mode!r}"))
    a = array_like("take", a)
    return deliver(_M.take(_M.reshape(a, (-1,)) if axis is None else a, array_like("take", indices), axis or 0), out)


def copy(a: Any, order: str = "K", subok: bool = False) -> Tensor:
    """np.copy."""
    return _F.clone(array_like("copy", a))


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """np.astype."""
    return _F.astype(x, dtype, copy=copy)


def like(ours: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """np.zeros_like and such: shape= in place of the array's."""
    def apply(a: Any, *value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None,
              device: Any = None, fill_value: Any = GIVEN) -> Tensor:
        given = value if fill_value is GIVEN else (fill_value,)
        like = a if shape is None else _M.broadcast_to(_F.clone(_M.reshape(a, (-1,))[:1]), shape)
        return ours(like, *given, dtype=dtype)
    return apply


FUNCTIONS: dict[Callable, Callable] = {
    np.sum: sum_of, np.max: largest, np.min: smallest, np.any: any_of, np.all: all_of,
    np.mean: mean, np.var: deviation(_F.var), np.std: deviation(_F.std), np.argmax: argmax,
    np.where: where, np.clip: clip, np.dot: dot, np.outer: outer, np.inner: inner,
    np.reshape: reshape, np.ravel: ravel, np.transpose: transpose, np.matrix_transpose: _M.matrix_transpose,
    np.swapaxes: _M.swapaxes, np.moveaxis: moveaxis, np.squeeze: squeeze, np.expand_dims: expand_dims,
    np.broadcast_to: broadcast_to, np.flip: flip,
    np.fliplr: lambda m: _M.flip(m, 1), np.flipud: lambda m: _M.flip(m, 0),
    np.take: take, np.take_along_axis: lambda arr, indices, axis=-1: _M.take_along_axis(arr, indices, axis=axis),
    np.concatenate: concatenate, np.stack: stack, np.vstack: joined(2, 0), np.hstack: joined(1, 1),
    np.dstack: joined(3, 2), np.column_stack: column_stack,
    np.atleast_1d: at_least(1), np.atleast_2d: at_least(2), np.atleast_3d: at_least(3),
    np.copy: copy, np.astype: astype,
    np.zeros_like: like(creation.zeros_like), np.ones_like: like(creation.ones_like),
    np.empty_like: like(creation.empty_like), np.full_like: like(creation.full_like),
    np.round: rounded, np.fix: lambda x, out=None: deliver(_E.trunc(x), out), np.sinc: _E.sinc,
    np.nan_to_num: nan_to_num, np.isclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: classification.isclose(
        a, b, rtol, atol, equal_nan),
    np.allclose: lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: classification.allclose(
        a, b, rtol, atol, equal_nan),
    np.isposinf: classification.isposinf, np.isneginf: classification.isneginf,
    np.shape: lambda a: a.shape, np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.result_type: lambda *operands: result_type(*(np.dtype(o) if isinstance(o, type) else o for o in operands)),
    # complex numbers
    np.real: _C.real, np.imag: _C.imag, np.angle: _C.angle, np.isreal: _C.isreal, np.iscomplex: _C.iscomplex,
}
"""Our function for each NumPy function that has one."""
