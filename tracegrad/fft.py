"""tg.fft: discrete Fourier transforms, by the names of the Array API standard, of NumPy and of PyTorch.

    tg.fft.fft(x)      X[k] = sum over j of x[j] exp(-2 pi i j k / n)      tg.fft.ifft(X) is x

1. float32 and complex64 are computed in single precision, float64 and complex128 in double; integers and half precision
   in single, or in the default floating-point dtype if that is double.
2. `n` or `s` cuts an axis, or fills it up with zeros, before the transform.
3. `norm` says which direction is scaled: "backward" (None) the inverse by 1/n, "forward" the other, "ortho" each by
   1/sqrt(n).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.complex_numbers import conj
from tracegrad.conversions import placed
from tracegrad.devices import Device
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import COMPLEX_NUMBERS, complex64, float32, promote
from tracegrad.functional import divide, multiply, where
from tracegrad.manipulation import roll
from tracegrad.movement import one_axis
from tracegrad.operands import Axis, Operand, axes_of, convert, floating, tensor_operand
from tracegrad.refusals import check
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]

OTHER = {"backward": "forward", "forward": "backward", "ortho": "ortho"}
"""The norm that scales a transform as `norm` scales its inverse."""


# ---- operands -------------------------------------------------------------------------------------------------------


def real_operand(op: str, x: Operand) -> Tensor:
    """x as float32 or float64; TypeRuleError for complex numbers."""
    x = floating(tensor_operand(op, x))
    if x.dtype in COMPLEX_NUMBERS:
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} is not real"))
    return convert(x, float32) if x.itemsize == 2 else x


def complex_operand(op: str, x: Operand) -> Tensor:
    """x as complex64 or complex128."""
    x = floating(tensor_operand(op, x))
    return convert(x, promote(x.dtype, complex64))


def resized(op: str, x: Tensor, axis: int, n: int | None) -> Tensor:
    """x cut or filled up with zeros to n along an axis."""
    size = x.shape[axis]
    if n is None or n == size:
        return x
    if n < 1:
        raise ValueError(at_user_line(f"{op}: {n} is no number of points"))
    none = (0,) * x.ndim
    if n < size:
        stop = (*x.shape[:axis], n, *x.shape[axis + 1:])
        return dispatch("slice", x, start=none, stop=stop, step=(1,) * x.ndim)
    return dispatch("pad", x, low=none, high=(*none[:axis], n - size, *none[axis + 1:]), interior=none)


def axes_and_sizes(op: str, x: Tensor, s: Sequence[int] | None, axes: Axis) -> tuple[tuple[int, ...], list[int | None]]:
    """The axes of a transform over several, and the size that each is to have (None: its own)."""
    ndim = x.ndim
    sizes: list[int | None] = [] if s is None else [None if n == -1 else index(n) for n in s]
    if axes is None:
        chosen = tuple(range(0 if s is None else ndim - len(sizes), ndim))
    else:
        chosen = axes_of(axes, ndim)
    if s is not None and len(sizes) != len(chosen):
        raise ValueError(at_user_line(f"{op}: {len(sizes)} sizes for {len(chosen)} axes"))
    return tuple(one_axis(op, x, k, ndim) for k in chosen), sizes or [None] * len(chosen)


def scaled(op: str, x: Tensor, count: int, norm: str | None, inverse: bool) -> Tensor:
    """x times 1, 1/count or 1/sqrt(count), as `norm` has it for a transform in this direction."""
    if norm not in (None, *OTHER):
        raise ValueError(at_user_line(f"{op}: norm {norm!r} is none of 'backward', 'ortho' and 'forward'"))
    if norm == "ortho":
        return multiply(x, count ** -0.5)
    return multiply(x, 1.0 / count) if (norm == "forward") != inverse else x


def transform(op: str, x: Tensor, axes: tuple[int, ...], sizes: Sequence[int | None], norm: str | None,
              inverse: bool) -> Tensor:
    """The complex transform over distinct axes."""
    for k, n in zip(axes, sizes):
        x = resized(op, x, k, n)
    attrs = {"axes": axes, "inverse": inverse}
    check("fft", (x,), attrs)
    count = prod(x.shape[k] for k in axes)
    return scaled(op, dispatch("fft", x, **attrs), count, norm, inverse)


# ---- complex transforms ---------------------------------------------------------------------------------------------


def fft(x: Operand, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The transform along an axis.

        >>> tg.fft.fft(tg.tensor([1.0, 0.0, 0.0, 0.0]))
        tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    x = complex_operand("fft", x)
    return transform("fft", x, (one_axis("fft", x, axis, x.ndim),), (n,), norm, False)


def ifft(x: Operand, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse transform along an axis."""
    x = complex_operand("ifft", x)
    return transform("ifft", x, (one_axis("ifft", x, axis, x.ndim),), (n,), norm, True)


def fftn(x: Operand, /, s: Sequence[int] | None = None, axes: Axis = None, norm: str | None = None) -> Tensor:
    """The transform over several axes; without `axes` over all, or the last len(s)."""
    x = complex_operand("fftn", x)
    return transform("fftn", x, *axes_and_sizes("fftn", x, s, axes), norm, False)


def ifftn(x: Operand, /, s: Sequence[int] | None = None, axes: Axis = None, norm: str | None = None) -> Tensor:
    """The inverse transform over several axes."""
    x = complex_operand("ifftn", x)
    return transform("ifftn", x, *axes_and_sizes("ifftn", x, s, axes), norm, True)


# ---- transforms of real numbers -------------------------------------------------------------------------------------


def rfft(x: Operand, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 elements of the transform of real numbers; the others are conjugates of these.

        >>> tg.fft.rfft(tg.tensor([1.0, 2.0, 3.0, 4.0]))
        tensor([10.+0.j, -2.+2.j, -2.+0.j])
    """
    x = real_operand("rfft", x)
    k = one_axis("rfft", x, axis, x.ndim)
    x = resized("rfft", x, k, n)
    check("rfft", (x,), {"axis": k})
    return scaled("rfft", dispatch("rfft", x, axis=k), x.shape[k], norm, False)


def irfft(x: Operand, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of rfft: n (default: 2 (m - 1)) real numbers of m elements of a spectrum.

        >>> tg.fft.irfft(tg.fft.rfft(tg.tensor([1.0, 2.0, 3.0])), n=3)
        tensor([1., 2., 3.])
    """
    x = complex_operand("irfft", x)
    k = one_axis("irfft", x, axis, x.ndim)
    size = 2 * (x.shape[k] - 1) if n is None else index(n)
    if size < 1:
        raise ValueError(at_user_line(f"irfft: {size} is no number of points"))
    x = resized("irfft", x, k, size // 2 + 1)
    return scaled("irfft", dispatch("irfft", x, axis=k, size=size), size, norm, True)


def rfftn(x: Operand, /, s: Sequence[int] | None = None, axes: Axis = None, norm: str | None = None) -> Tensor:
    """rfft along the last of the axes, fft along the others."""
    x = real_operand("rfftn", x)
    (*others, last), (*sizes, size) = axes_and_sizes("rfftn", x, s, axes)
    y = rfft(x, size, last, norm)
    return transform("rfftn", y, tuple(others), sizes, norm, False) if others else y


def irfftn(x: Operand, /, s: Sequence[int] | None = None, axes: Axis = None, norm: str | None = None) -> Tensor:
    """ifft along all of the axes but the last, irfft along that."""
    x = complex_operand("irfftn", x)
    (*others, last), (*sizes, size) = axes_and_sizes("irfftn", x, s, axes)
    y = transform("irfftn", x, tuple(others), sizes, norm, True) if others else x
    return irfft(y, size, last, norm)


def hfft(x: Operand, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The transform, n real numbers, of a signal that is its own conjugate mirrored, of which x is the first half."""
    return irfft(conj(x), n, axis, OTHER.get(norm or "backward", norm))


def ihfft(x: Operand, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of hfft: the first half of a signal whose transform is real."""
    return conj(rfft(x, n, axis, OTHER.get(norm or "backward", norm)))


def of_two_axes(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    def apply(x: Operand, /, s: Sequence[int] | None = None, axes: Axis = (-2, -1), norm: str | None = None) -> Tensor:
        return function(x, s, axes, norm)
    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"{function.__name__} over two axes, the last two unless said otherwise."
    return apply


fft2, ifft2 = of_two_axes(fftn, "fft2"), of_two_axes(ifftn, "ifft2")
rfft2, irfft2 = of_two_axes(rfftn, "rfft2"), of_two_axes(irfftn, "irfft2")


# ---- frequencies ----------------------------------------------------------------------------------------------------


def fftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: str | Device | None = None) -> Tensor:
    """The frequencies of the elements of a transform of n points that lie d apart: those from 0 up, then those below.

        >>> tg.fft.fftfreq(4)
        tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    places = dispatch("iota", shape=(index(n),), axis=0, dtype="i64")
    signed = where(dispatch("lt", places, (n + 1) // 2), places, dispatch("sub", places, n))
    return placed(frequencies(signed, n, d, dtype), device)


def rfftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: str | Device | None = None) -> Tensor:
    """The frequencies of the elements of an rfft of n points that lie d apart.

        >>> tg.fft.rfftfreq(4)
        tensor([0.0000, 0.2500, 0.5000])
    """
    places = dispatch("iota", shape=(index(n) // 2 + 1,), axis=0, dtype="i64")
    return placed(frequencies(places, n, d, dtype), device)


def frequencies(places: Tensor, n: int, d: float, dtype: Any) -> Tensor:
    target = dtypes.default_float() if dtype is None else dtypes.dtype_of(dtype)
    return convert(divide(convert(places, dtypes.float64), float(n * d)), target)


def fftshift(x: Operand, /, axes: Axis = None) -> Tensor:
    """The frequency 0 in the middle of the axes (None: of all).

        >>> tg.fft.fftshift(tg.tensor([0, 1, -2, -1]))
        tensor([-2, -1,  0,  1])
    """
    x = tensor_operand("fftshift", x)
    chosen = axes_of(axes, x.ndim)
    return roll(x, tuple(x.shape[k] // 2 for k in chosen), axis=chosen)


def ifftshift(x: Operand, /, axes: Axis = None) -> Tensor:
    """The inverse of fftshift."""
    x = tensor_operand("ifftshift", x)
    chosen = axes_of(axes, x.ndim)
    return roll(x, tuple(-(x.shape[k] // 2) for k in chosen), axis=chosen)
