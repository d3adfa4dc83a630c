"""References on CuPy arrays: what an op is on a GPU where CuPy does not do what its reference asks of NumPy.

    run("max", reference, cupy, [x], {"axis": (1,), "keepdims": False})

NumPy's functions call CuPy's on CuPy's arrays, so a reference serves both where CuPy has all it calls. It has no
reduce and accumulate but those of add and multiply, no ufunc.at of small integers, makes no array on the GPU where
the reference asks NumPy for one, and leaves open which of several writes to one place stays. The rows below say the
same op in what it has. Nothing here imports CuPy: it is passed in.

1. A result has the dtype and the values that the reference gives, up to rounding: the order in which a GPU adds up is
   another. Indices are checked as on the CPU, for which the GPU is waited for.
2. bfloat16 is computed in float32 and rounded once, as `ml_dtypes` does; CuPy only stores it, moves it and converts it.
3. What is `ON_CPU` would take libraries that the extra does not install: it runs there, on copies of its operands.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from math import factorial
from typing import Any

import numpy as np

from codegen.ir.references import checked_indices
from codegen.ir.types import DTYPES, FLOATS, NAMES

Array = Any
"""A CuPy array; the first argument of each row is CuPy itself."""

ON_CPU = frozenset("cholesky triangular_solve solve det slogdet qr svd svdvals eigh eigvalsh eig eigvals pinv expm fft "
                   "rfft irfft".split())
"""Ops whose reference is given copies on the CPU, and whose result is copied back."""


def run(op: str, reference: Callable[..., Any], cupy: Any, operands: Sequence[Any], attrs: dict[str, Any]) -> Array:
    """`op` of CuPy arrays and numbers."""
    if op in ON_CPU:
        return cupy.asarray(reference(*(x.get() if isinstance(x, cupy.ndarray) else x for x in operands), **attrs))
    row = ROWS.get(op)
    half = op not in _AS_BITS and any(getattr(x, "dtype", None) == _BF16 for x in operands)
    if half:
        operands = [x.astype(np.float32) if getattr(x, "dtype", None) == _BF16 else x for x in operands]
    result = reference(*operands, **attrs) if row is None else row(cupy, *operands, **attrs)
    if not isinstance(result, cupy.ndarray):
        result = cupy.asarray(result)
    return result.astype(_BF16) if half and result.dtype == np.float32 else result


_BF16 = DTYPES["bf16"]
_AS_BITS = frozenset("cast detach after where broadcast reshape transpose slice flip pad concat shear gather scatter "
                     "sort argsort searchsorted constant iota".split())
"""Ops that move elements, or say by themselves in which dtype they compute."""


def _beside(cupy: Any, x: Any, y: Any) -> tuple[Array, Array]:
    """Two operands as arrays of one dtype: a number takes that of the other."""
    if isinstance(x, cupy.ndarray):
        return x, y if isinstance(y, cupy.ndarray) else cupy.asarray(y, x.dtype)
    return cupy.asarray(x, y.dtype), y


# ---- elementwise --------------------------------------------------------------------------------------------------


def where(cupy: Any, choice: Any, x: Any, y: Any) -> Array:
    """CuPy's, which gives float32 of bfloat16: the values are the same."""
    x, y = _beside(cupy, x, y)
    choice = choice if isinstance(choice, cupy.ndarray) else cupy.asarray(choice)
    return cupy.where(choice, x, y).astype(x.dtype, copy=False)


def cast(cupy: Any, x: Array, *, dtype: str) -> Array:
    """See the reference: truncated, saturated, NaN to 0."""
    target = DTYPES[dtype]
    if x.dtype.kind == "c" and target.kind not in "cb":
        if target.kind == "c":
            return x.astype(target)
        raise TypeError(f"complex numbers do not convert to {target.name}")
    if NAMES[x.dtype] not in FLOATS or dtype not in ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"):
        return x.astype(target)
    limits = np.iinfo(target)
    wide = x if x.dtype.kind == "f" else x.astype(np.float32)
    low, high = wide.dtype.type(limits.min), wide.dtype.type(limits.max)
    above, below = wide >= high, wide <= low
    inside = ~(above | below | (wide != wide))
    whole = cupy.where(inside, wide, wide.dtype.type(0)).astype(target)
    return cupy.where(above, target.type(limits.max), cupy.where(below, target.type(limits.min), whole))


def complex_(cupy: Any, real: Any, imag: Any) -> Array:
    real, imag = _beside(cupy, real, imag)
    result = cupy.empty(np.broadcast_shapes(real.shape, imag.shape), f"c{2 * real.dtype.itemsize}")
    result.real, result.imag = real, imag
    return result


def after(cupy: Any, x: Array, t: Array) -> Array:
    return cupy.broadcast_to(x, np.broadcast_shapes(x.shape, np.shape(t))).copy()


def power(cupy: Any, x: Any, y: Any) -> Array:
    """See the reference: of integers with y < 0 it is 1 / x ** -y truncated."""
    x, y = _beside(cupy, x, y)
    if x.dtype.kind not in "iu":
        powers = cupy.power(x, y)
        if x.dtype.kind == "c":
            return powers
        return cupy.where((y == 0.5) & ((x == 0) | (x == -np.inf)), cupy.abs(x), powers)
    below = y < 0
    powers = cupy.power(x, cupy.where(below, y.dtype.type(0), y))
    of_minus_one = (1 - 2 * (y & 1).astype(np.int64)).astype(x.dtype)
    of_unit = cupy.where(x == 1, x.dtype.type(1), cupy.where(x == -1, of_minus_one, x.dtype.type(0)))
    return cupy.where(below, of_unit, powers)


def shift(left: bool) -> Callable[..., Array]:
    """x << count or x >> count; a count outside 0..bits-1 shifts everything out."""
    def row(cupy: Any, x: Any, count: Any) -> Array:
        x, count = _beside(cupy, x, count)
        inside = (count >= 0) & (count < x.dtype.itemsize * 8)
        by = cupy.where(inside, count, count.dtype.type(0))
        zero = x.dtype.type(0)
        if left:
            return cupy.where(inside, cupy.left_shift(x, by), zero)
        rest = cupy.where(x < 0, x.dtype.type(-1), zero) if x.dtype.kind == "i" else zero
        return cupy.where(inside, cupy.right_shift(x, by), rest)
    return row


def remainder(cupy: Any, x: Any, y: Any) -> Array:
    """NumPy's, with the sign of y; 0 of integers by 0."""
    x, y = _beside(cupy, x, y)
    if x.dtype.kind in "iu":
        return cupy.remainder(x, y)
    rest = cupy.fmod(x, y)
    return cupy.where(rest != 0, cupy.where((rest < 0) != (y < 0), rest + y, rest), cupy.copysign(rest, y))


def floor_divide(cupy: Any, x: Any, y: Any) -> Array:
    """NumPy's: the whole number below the quotient, of what the remainder leaves; 0 of integers by 0."""
    x, y = _beside(cupy, x, y)
    if x.dtype.kind in "iu":
        return cupy.floor_divide(x, y)
    rest = cupy.fmod(x, y)
    quotient = (x - rest) / y
    quotient = cupy.where((rest != 0) & ((rest < 0) != (y < 0)), quotient - x.dtype.type(1), quotient)
    below = cupy.floor(quotient)
    below = cupy.where(quotient - below > x.dtype.type(0.5), below + x.dtype.type(1), below)
    whole = cupy.where(quotient != 0, below, cupy.copysign(x.dtype.type(0), x / y))
    return cupy.where(y == 0, x / y, whole)


def fmod(cupy: Any, x: Any, y: Any) -> Array:
    """The remainder with the sign of x; 0 of integers by 0."""
    x, y = _beside(cupy, x, y)
    if x.dtype.kind not in "iu":
        return cupy.fmod(x, y)
    rest = cupy.remainder(x, y)
    if x.dtype.kind == "u":
        return rest
    return cupy.where((rest != 0) & ((x < 0) != (y < 0)), rest - y, rest)


def lgamma(cupy: Any, x: Array) -> Array:
    """inf at both infinities, where SciPy and CuPy after it give -inf at -inf."""
    return cupy.where(cupy.isinf(x), cupy.abs(x), special("gammaln")(cupy, x))


def polygamma(cupy: Any, x: Array, *, order: int) -> Array:
    """See the reference."""
    if order == 0:
        return special("digamma")(cupy, x)
    wide = x.astype(np.float64)
    above = cupy.where(wide > 0, wide, 1 - wide)
    positive = (-1) ** (order + 1) * factorial(order) * _special(cupy, "zeta")(
        cupy.full_like(above, order + 1.0), above)
    p = np.polynomial.Polynomial([0.0, np.pi])
    for _ in range(order):
        p = p.deriv() * np.polynomial.Polynomial([-np.pi, 0.0, -np.pi])
    c = 1 / cupy.tan(np.pi * (wide - cupy.rint(wide)))
    cotangent = cupy.zeros_like(wide)
    for coefficient in p.coef[::-1]:
        cotangent = cotangent * c + float(coefficient)
    reflected = (-1) ** order * positive - cotangent
    below = cupy.where(wide == cupy.floor(wide), np.float64(np.nan), reflected)
    return cupy.where(wide > 0, positive, below).astype(x.dtype)


def special(name: str) -> Callable[..., Array]:
    """CuPy's function with the name that SciPy has for it; half precision, which it lacks, in f32."""
    def row(cupy: Any, x: Array) -> Array:
        function = _special(cupy, name)
        return function(x.astype(np.float32)).astype(x.dtype) if x.dtype.itemsize == 2 else function(x)
    return row


def _special(cupy: Any, name: str) -> Callable[..., Array]:
    return getattr(import_module(f"{cupy.__name__}x.scipy.special"), name)      # of this CuPy


# ---- reductions and running results -------------------------------------------------------------------------------


def reduction(name: str) -> Callable[..., Array]:
    """CuPy's function of this name over axes, in the dtype of the operand."""
    def row(cupy: Any, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
        if not axis:
            return x.copy()
        if name in ("max", "min"):
            return getattr(cupy, name)(x, axis=axis, keepdims=keepdims)
        wide = np.dtype(np.float32) if x.dtype == np.float16 else x.dtype
        return getattr(cupy, name)(x, axis=axis, dtype=wide, keepdims=keepdims).astype(x.dtype, copy=False)
    return row


def running(name: str) -> Callable[..., Array]:
    """CuPy's running sum or product, in the wider dtype."""
    def row(cupy: Any, x: Array, *, axis: int) -> Array:
        wide = {"f": np.float64, "e": np.float32, "F": np.complex128}.get(x.dtype.char, x.dtype)
        return getattr(cupy, name)(x, axis=axis, dtype=wide).astype(x.dtype, copy=False)
    return row


def running_extremum(name: str) -> Callable[..., Array]:
    """By doubling: after k rounds each element has seen 2^k of those before it."""
    def row(cupy: Any, x: Array, *, axis: int) -> Array:
        of_two, line = getattr(cupy, name), cupy.moveaxis(x, axis, 0)
        reach = 1
        while reach < len(line):
            line = cupy.concatenate((line[:reach], of_two(line[reach:], line[:-reach])), axis=0)
            reach *= 2
        return cupy.ascontiguousarray(cupy.moveaxis(line, 0, axis))
    return row


def recurrence(cupy: Any, a: Array, b: Array, *, axis: int) -> Array:
    """y[i] = a[i] * y[i-1] + b[i]: by doubling, since two steps are one with a * a' and a * b' + b."""
    wide = {"f": np.float64, "e": np.float32, "F": np.complex128}.get(b.dtype.char, b.dtype)
    factors, terms = (cupy.moveaxis(x, axis, 0).astype(wide) for x in (a, b))
    reach = 1
    while reach < len(terms):
        terms = cupy.concatenate((terms[:reach], factors[reach:] * terms[:-reach] + terms[reach:]), axis=0)
        factors = cupy.concatenate((factors[:reach], factors[reach:] * factors[:-reach]), axis=0)
        reach *= 2
    return cupy.ascontiguousarray(cupy.moveaxis(terms, 0, axis)).astype(b.dtype, copy=False)


# ---- movement -----------------------------------------------------------------------------------------------------


def pad(cupy: Any, x: Array, *, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...]) -> Array:
    shape = [a + b + (n + (n - 1) * gap if n else 0) for n, a, b, gap in zip(x.shape, low, high, interior)]
    result = cupy.zeros(tuple(shape), x.dtype)
    result[tuple(slice(a, size - b, gap + 1) for size, a, b, gap in zip(shape, low, high, interior))] = x
    return result


def shear(cupy: Any, x: Array, *, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
          dilation: tuple[int, ...]) -> Array:
    """See the reference: a view."""
    shape, strides = list(x.shape), list(x.strides)
    for a, o, s, d in zip(axes, along, step, dilation):
        last = x.shape[a] - (x.shape[o] - 1) * d - 1
        if last < 0:
            raise ValueError(f"windows that span {(x.shape[o] - 1) * d + 1} do not fit into {x.shape[a]}")
        shape[a] = last // s + 1
        strides[o] += d * x.strides[a]
        strides[a] *= s
    return cupy.lib.stride_tricks.as_strided(x, tuple(shape), tuple(strides))


def unshear(cupy: Any, x: Array, *, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
            dilation: tuple[int, ...], size: tuple[int, ...]) -> Array:
    shape = list(x.shape)
    for a, n in zip(axes, size):
        shape[a] = n
    result = cupy.zeros(tuple(shape), x.dtype)
    shear(cupy, result, axes=axes, along=along, step=step, dilation=dilation)[...] = x
    return result


def matmul(cupy: Any, a: Array, b: Array) -> Array:
    if a.dtype == np.float16:
        return cupy.matmul(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)
    return cupy.matmul(a, b)


# ---- indices ------------------------------------------------------------------------------------------------------


def _places(cupy: Any, shape: tuple[int, ...], indices: Array, axis: int, into: tuple[int, ...]) -> Array:
    """Where in the flattened `into` the elements of `indices`, along `axis`, point."""
    place = cupy.zeros(shape, np.int64)
    step = 1
    for k in reversed(range(len(into))):
        if k == axis:
            place = place + indices.astype(np.int64) * step
        else:
            sizes = [1] * len(shape)
            sizes[k] = shape[k]
            place = place + cupy.arange(shape[k], dtype=np.int64).reshape(sizes) * step
        step *= into[k]
    return place.reshape(-1)


def scatter_add(cupy: Any, x: Array, indices: Array, updates: Array, *, axis: int) -> Array:
    """See the reference; in any order, half precision and small integers in a wider dtype."""
    wide = {"e": np.float32, "b": np.int32, "h": np.int32, "B": np.uint32, "H": np.uint32}.get(x.dtype.char, x.dtype)
    if x.dtype == np.int64:
        wide = np.dtype(np.uint64)          # the same bits: CuPy adds up no signed ones of 64
    places = _places(cupy, indices.shape, checked_indices(indices, x.shape[axis]), axis, x.shape)
    result = x.astype(wide).reshape(-1)
    if places.size:
        cupy.add.at(result, places, updates.astype(wide).reshape(-1))
    return result.astype(x.dtype, copy=False).reshape(x.shape)


def scatter(cupy: Any, x: Array, indices: Array, updates: Array, *, axis: int) -> Array:
    """See the reference: all writes to one place write what the last of them does."""
    places = _places(cupy, indices.shape, checked_indices(indices, x.shape[axis]), axis, x.shape)
    result = x.copy(order="C").reshape(-1)
    if places.size:
        last = cupy.zeros(result.shape, np.uint64)
        cupy.maximum.at(last, places, cupy.arange(places.size, dtype=np.uint64))
        result[places] = updates.reshape(-1)[last[places].astype(np.int64)]
    return result.reshape(x.shape)


def gather(cupy: Any, x: Array, indices: Array, *, axis: int) -> Array:
    return cupy.take_along_axis(x, checked_indices(indices, x.shape[axis]), axis)


def searchsorted(cupy: Any, x: Array, values: Array, *, right: bool) -> Array:
    """How many elements of the sorted rows come before each value: by halving, all values at once; NaNs come last."""
    x, values = (a.astype(np.float32) if a.dtype == _BF16 else a for a in (x, values))

    def less(a: Array, b: Array) -> Array:
        return (a < b) | ((b != b) & (a == a))

    low = cupy.zeros(values.shape, np.int64)
    high = cupy.full(values.shape, x.shape[-1], np.int64)
    for _ in range(x.shape[-1].bit_length()):
        middle = (low + high) // 2
        at = cupy.take_along_axis(x, cupy.minimum(middle, x.shape[-1] - 1), -1)
        goes_on = (low < high) & (~less(values, at) if right else less(at, values))
        low, high = cupy.where(goes_on, middle + 1, low), cupy.where(goes_on, high, middle)
    return low


def sort(cupy: Any, x: Array, *, axis: int) -> Array:
    return cupy.sort(x.astype(np.float32), axis=axis).astype(x.dtype) if x.dtype == _BF16 else cupy.sort(x, axis=axis)


def argsort(cupy: Any, x: Array, *, axis: int) -> Array:
    wide = x.astype(np.float32) if x.dtype == _BF16 else x
    return cupy.argsort(wide, axis=axis).astype(np.int64, copy=False)       # CuPy's is stable


def position(name: str) -> Callable[..., Array]:
    """The first of equals, or of NaNs, of which CuPy finds any."""
    def row(cupy: Any, x: Array, *, axis: int, keepdims: bool) -> Array:
        found = getattr(cupy, name)(x, axis=axis, keepdims=keepdims).astype(np.int64, copy=False)
        if x.dtype.kind not in "fc":
            return found
        nan = (x != x).astype(np.int8)
        first = cupy.argmax(nan, axis=axis, keepdims=keepdims)
        return cupy.where(cupy.max(nan, axis=axis, keepdims=keepdims) != 0, first, found)
    return row


def random_bits(cupy: Any, key: Array, counter: Array, *, shape: tuple[int, ...]) -> Array:
    """See the reference: the same words, computed where they are used."""
    count = int(np.prod(shape, dtype=np.int64))
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    blocks = cupy.asarray(counter) + cupy.arange((count + 3) // 4, dtype=np.uint64)
    c0, c1 = blocks & low, blocks >> shift
    c2 = c3 = cupy.zeros_like(blocks)
    k0, k1 = cupy.asarray(key) & low, cupy.asarray(key) >> shift
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ k0, p1 & low, (p0 >> shift) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    words = cupy.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)
    return words.reshape(-1)[:count].reshape(shape)


ROWS: dict[str, Callable[..., Array]] = {
    "where": where, "cast": cast, "complex": complex_, "after": after, "pow": power,
    "shift_left": shift(True), "shift_right": shift(False),
    "rem": remainder, "floor_div": floor_divide, "fmod": fmod, "polygamma": polygamma,
    "erf": special("erf"), "erfc": special("erfc"), "erfinv": special("erfinv"), "lgamma": lgamma,
    "sum": reduction("sum"), "prod": reduction("prod"), "max": reduction("max"), "min": reduction("min"),
    "cumsum": running("cumsum"), "cumprod": running("cumprod"),
    "cummax": running_extremum("maximum"), "cummin": running_extremum("minimum"), "recurrence": recurrence,
    "pad": pad, "shear": shear, "unshear": unshear, "matmul": matmul,
    "gather": gather, "scatter": scatter, "scatter_add": scatter_add, "searchsorted": searchsorted,
    "sort": sort, "argsort": argsort, "argmax": position("argmax"), "argmin": position("argmin"),
    "random_bits": random_bits,
}
"""What stands in the place of an op's reference."""
