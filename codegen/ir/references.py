"""References that NumPy has no single function for, and the edge semantics they fix.

Each takes arrays by position and the op's attrs by name. What a row of the op table says must hold for them:
the result has the type that the type rule gives.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.types import DTYPES, FLOATS, INTEGERS, NAMES, PARTS


def cast(x: np.ndarray, *, dtype: str) -> np.ndarray:
    """Convert elements. Float to integer truncates; NaN gives 0, what is out of range saturates at the nearest end."""
    target = DTYPES[dtype]
    if x.dtype.kind == "c" and target.kind not in "cb":
        raise TypeError(f"complex numbers do not convert to {target.name}")
    with np.errstate(over="ignore", invalid="ignore"):
        if NAMES[x.dtype] not in FLOATS or dtype not in INTEGERS:
            return x.astype(target)
        limits = np.iinfo(target)
        wide = x if x.dtype.kind == "f" else x.astype(np.float32)           # NumPy's limits below know no bfloat16
        low, high = wide.dtype.type(limits.min), wide.dtype.type(limits.max)   # high may round up, out of range
        saturated = np.where(wide >= high, target.type(limits.max), np.where(wide <= low, target.type(limits.min), 0))
        inside = (wide > low) & (wide < high)
        return np.where(inside, np.where(inside, wide, 0).astype(target), saturated)


def real(x: np.ndarray) -> np.ndarray:
    return x.real


def imag(x: np.ndarray) -> np.ndarray:
    return x.imag


def complex_(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    """real + i imag; unlike that sum, also where a part is infinite, NaN or -0.0."""
    result = np.empty(np.broadcast_shapes(real.shape, imag.shape), f"c{2 * real.dtype.itemsize}")
    result.real, result.imag = real, imag
    return result


def _is_half(x: np.ndarray) -> bool:
    return x.dtype.itemsize == 2 and x.dtype.kind not in "iu"


def detach(x: np.ndarray) -> np.ndarray:
    """x itself: a place where derivatives stop, and nothing to a compiler (the law `detach(x) -> x`)."""
    return x


def after(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """x, computed when t is there: what computes with it is not what computes with x, and does not come before t."""
    return np.where(True, x, t)


def summed(x: np.ndarray, *, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The sum in the operand's own dtype: small integers wrap; half precision is added up in f32 and rounded once."""
    if _is_half(x):
        return _add_up(x, axis, np.float32, keepdims=keepdims).astype(x.dtype)
    return _total(x, axis=axis, keepdims=keepdims)


def _reduction(of_two: np.ufunc, at_most: int) -> Callable[..., np.ndarray]:
    """of_two over `axis`, in the dtype of the operand.

    A few elements, `at_most` so many, at many places are combined array by array: NumPy takes up to half a microsecond
    to begin a row.
    """
    def reference(x: np.ndarray, *, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
        sizes = tuple([x.shape[k] for k in axis])
        few = 1
        for size in sizes:
            few *= size
        if not 1 < few <= at_most or x.size < _MANY * few:
            return of_two.reduce(x, axis=axis, dtype=x.dtype, keepdims=keepdims)
        rest = [slice(None)] * x.ndim

        def part(place: tuple[int, ...]) -> np.ndarray:
            for k, one in zip(axis, place):
                rest[k] = slice(one, one + 1)
            return x[tuple(rest)]

        first, second, *others = map(part, np.ndindex(sizes))
        result = of_two(first, second)
        for other in others:
            of_two(result, other, out=result)
        return result if keepdims else result.squeeze(axis)
    return reference


_MANY = 256
greatest, least, _total = _reduction(np.maximum, 16), _reduction(np.minimum, 16), _reduction(np.add, 8)

_add_up: Callable[..., np.ndarray] = np.add.reduce


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of matrices; small integers wrap; half precision is multiplied in f32 and rounded once."""
    if _is_half(a):
        return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    return np.matmul(a, b)


def broadcast(x: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(x, shape)


def reshape(x: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    return x.reshape(shape)


def transpose(x: np.ndarray, *, axes: tuple[int, ...]) -> np.ndarray:
    return x.transpose(axes)


def slice_(x: np.ndarray, *, start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...]) -> np.ndarray:
    cut: Any = (*map(slice, start, stop, step), ...)        # with ... the result is an array, even of no axes
    return x[cut]


def flip(x: np.ndarray, *, axes: tuple[int, ...]) -> np.ndarray:
    if not all(0 <= k < x.ndim for k in axes):
        raise IndexError(f"axes {list(axes)} are out of range for {x.ndim} axes")
    return x[tuple([_REVERSED if k in axes else _WHOLE for k in range(x.ndim)])]


_WHOLE, _REVERSED = slice(None), slice(None, None, -1)


def pad(x: np.ndarray, *, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...]) -> np.ndarray:
    """Zeros around x, and `interior` zeros between neighbours of each axis."""
    shape = [a + b + (n + (n - 1) * gap if n else 0) for n, a, b, gap in zip(x.shape, low, high, interior)]
    result = np.zeros(shape, x.dtype)
    result[tuple(slice(a, size - b, gap + 1) for size, a, b, gap in zip(shape, low, high, interior))] = x
    return result


def concat(x: np.ndarray, y: np.ndarray, *, axis: int) -> np.ndarray:
    return np.concatenate((x, y), axis)


def shear(x: np.ndarray, *, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
          dilation: tuple[int, ...]) -> np.ndarray:
    """result[.., i, .., j, ..] = x[.., step*i + dilation*j, .., j, ..], i along each of `axes`, j along its `along`.

    So windows are a shear of x repeated along new axes, and a diagonal is the shear of a square.
    """
    return _sheared(x, axes, along, step, dilation, False)


def unshear(x: np.ndarray, *, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
            dilation: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """The array, `size` along `axes`, that shears to x and is 0 in all places that a shear does not read."""
    shape = list(x.shape)
    for a, n in zip(axes, size):
        shape[a] = n
    order = (*along, *(k for k in range(x.ndim) if k not in along))         # a sum over `along` then adds up rows
    result = np.zeros([shape[k] for k in order], x.dtype).transpose(np.argsort(order))
    _sheared(result, axes, along, step, dilation, True)[...] = x
    return result


def _sheared(x: np.ndarray, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
             dilation: tuple[int, ...], writeable: bool) -> np.ndarray:
    """A view of x; ValueError where it has no room."""
    shape, strides = list(x.shape), list(x.strides)
    for a, o, s, d in zip(axes, along, step, dilation):
        last = x.shape[a] - (x.shape[o] - 1) * d - 1
        if last < 0:
            raise ValueError(f"windows that span {(x.shape[o] - 1) * d + 1} do not fit into {x.shape[a]}")
        shape[a] = last // s + 1
        strides[o] += d * x.strides[a]
        strides[a] *= s
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=writeable)


def checked_indices(indices: np.ndarray, size: int) -> np.ndarray:
    """The indices, those below 0 counted from the end; IndexError for one that is out of bounds."""
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        worst = indices.min() if indices.min() < -size else indices.max()
        raise IndexError(f"index {worst} is out of bounds for an axis of size {size}")
    return np.where(indices < 0, indices + size, indices)


def gather(x: np.ndarray, indices: np.ndarray, *, axis: int) -> np.ndarray:
    """result[.., i, ..] = x[.., indices[.., i, ..], ..] along `axis`; the other axes correspond."""
    if indices.size and all(k == axis or n == 1 or step == 0
                            for k, (n, step) in enumerate(zip(indices.shape, indices.strides))):
        line = indices[tuple([slice(None) if k == axis else 0 for k in range(indices.ndim)])]
        return x.take(checked_indices(line, x.shape[axis]), axis)      # the same indices everywhere: whole slices
    return np.take_along_axis(x, checked_indices(indices, x.shape[axis]), axis)


def scatter_add(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axis: int) -> np.ndarray:
    """x with updates[.., i, ..] added at [.., indices[.., i, ..], ..], in index order; repeated indices add up."""
    result = x.copy("C")
    where = list(np.ogrid[tuple(map(slice, indices.shape))])
    where[axis] = checked_indices(indices, x.shape[axis])
    places = sum(k * (step // x.itemsize) for k, step in zip(where, result.strides))
    np.add.at(result.reshape(-1), np.asarray(places).reshape(-1), updates.reshape(-1))      # fast in one dimension
    return result


def literal(value: str) -> Any:
    """The number that a literal's text stands for: a bool, int, float or complex."""
    if value in ("true", "false"):
        return value == "true"
    if value.endswith("j") and value != "j":
        return complex(value)
    try:
        return int(value)
    except ValueError:
        return float(value)


def literal_text(value: bool | int | float | complex, dtype: str) -> str:
    """The canonical text of a number of `dtype`: equal texts if and only if equal bits (all NaNs are one).

    A complex number is its two parts: 1.0-0.0j.
    """
    scalar = DTYPES[dtype].type(value)
    if dtype == "bool":
        return "true" if scalar else "false"
    if dtype in PARTS:
        imag = repr(float(scalar.imag))
        return f"{float(scalar.real)!r}{'' if imag[0] == '-' else '+'}{imag}j"
    return str(int(scalar)) if DTYPES[dtype].kind in "iu" else repr(float(scalar))


def constant(*, value: str, dtype: str) -> np.ndarray:
    return np.asarray(literal(value), DTYPES[dtype])


def iota(*, shape: tuple[int, ...], axis: int, dtype: str) -> np.ndarray:
    """0, 1, 2, ... along `axis`."""
    ramp = np.arange(shape[axis], dtype=DTYPES[dtype])
    return np.broadcast_to(ramp.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape).copy()


def random_bits(key: np.ndarray, counter: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    """Element i is word i % 4 of Philox4x32-10 at block counter + i // 4 under `key`.

    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The 128-bit counter is
    (block's low word, block's high word, 0, 0); the 64-bit key is (low word, high word).
    """
    count = int(np.prod(shape, dtype=np.int64))
    words = np.empty(((count + 3) // 4, 4), np.uint32)
    for start in range(0, len(words), 1 << 12):             # so many are computed in a cache
        part = words[start:start + (1 << 12)]
        blocks = np.uint64(counter) + np.arange(start, start + len(part), dtype=np.uint64)
        for word, values in enumerate(philox(blocks, int(key))):
            part[:, word] = values
    return words.reshape(-1)[:count].reshape(shape)


def philox(blocks: np.ndarray, key: int) -> tuple[np.ndarray, ...]:
    """The four words of each of these blocks of Philox4x32-10, in u64."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1 = blocks & low, blocks >> shift
    c2 = c3 = np.zeros_like(blocks)
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & low, (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3
