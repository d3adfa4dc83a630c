"""Images in other sizes and shapes, by PyTorch's rules: interpolation, columns of patches, channels for pixels.

    interpolate(x[b,c,4,4], scale_factor=2)      [b,c,8,8], each element four times: a reshape of a broadcast
"""
from __future__ import annotations

from math import floor, prod
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.convolution import cropped
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import float32, float64, name_of
from tracegrad.functional import clip, maximum, minimum
from tracegrad.movement import reshape, take
from tracegrad.operands import Operand, convert, floating, tensor_operand
from tracegrad.padding import padded
from tracegrad.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.windows import Sizes, one_for_each, spread, windows

_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


def interpolate(x: Operand, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None) -> Tensor:
    """x [b,c,*space] with its space in another size, or scaled by a factor.

    `mode`: "nearest", "nearest-exact", "linear", "bilinear", "trilinear" (for 1, 2 and 3 axes) or "area". With
    `align_corners`, for the linear ones, the first and last elements stay where they are, else the edges of x do.

        >>> tg.nn.functional.interpolate(tg.tensor([[[1.0, 3.0]]]), scale_factor=2)
        tensor([[[1., 1., 3., 3.]]])
        >>> tg.nn.functional.interpolate(tg.tensor([[[1.0, 3.0]]]), size=3, mode="linear", align_corners=True)
        tensor([[[1., 2., 3.]]])
    """
    x = tensor_operand("interpolate", x)
    n = x.ndim - 2
    if n < 1 or _LINEAR.get(mode, n) != n:
        raise TypeRuleError(at_user_line(f"interpolate: {type_of(x)} is not interpolated in mode {mode!r}"))
    if (size is None) == (scale_factor is None) or align_corners and mode not in _LINEAR:
        raise ValueError(at_user_line("interpolate: give size or scale_factor; align_corners is for linear modes"))
    space = x.shape[2:]
    if size is not None:
        out, scales = one_for_each("interpolate", "size", size, n), [k / m for k, m in zip(space, _sizes(size, n))]
    else:
        factors = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * n
        out = tuple(floor(k * f) for k, f in zip(space, factors, strict=True))
        scales = [k / m if recompute_scale_factor else 1 / f for k, m, f in zip(space, out, factors)]
    if mode == "area":
        if n > 2:
            raise NotImplementedError(at_user_line("interpolate: tracegrad has no mode='area' of 3 axes yet"))
        return (adaptive_avg_pool1d, adaptive_avg_pool2d)[n - 1](x, out)
    if mode not in ("nearest", "nearest-exact", *_LINEAR):
        raise ValueError(at_user_line(f"interpolate: there is no mode {mode!r}"))
    for k, (length, scale) in enumerate(zip(out, scales)):
        if mode in _LINEAR:
            x = _between(floating(x), k + 2, length, scale, bool(align_corners))
        else:
            x = _nearest(x, k + 2, length, scale, 0.5 if mode == "nearest-exact" else 0.0)
    return x


def _sizes(size: Any, n: int) -> Sizes:
    return one_for_each("interpolate", "size", size, n)


def _nearest(x: Tensor, axis: int, out: int, scale: float, offset: float) -> Tensor:
    shape = x.shape
    own = shape[axis]
    if out % own == 0 and scale == own / out:
        apart = reshape(x, (*shape[:axis + 1], 1, *shape[axis + 1:]))
        apart = dispatch("broadcast", apart, shape=(*shape[:axis + 1], out // own, *shape[axis + 1:]))
        return reshape(apart, (*shape[:axis], out, *shape[axis + 1:]))
    places = dispatch("cast", (_places(out, "f32") + offset) * scale, dtype="i64")      # in float32, as PyTorch does
    return take(x, minimum(places, own - 1), axis=axis)


def _between(x: Tensor, axis: int, out: int, scale: float, align_corners: bool) -> Tensor:
    """A weighted mean of the two elements beside each place."""
    own, dtype = x.shape[axis], float64 if x.dtype == float64 else float32
    places = _places(out, name_of(dtype))
    if align_corners:
        places = places * ((own - 1) / (out - 1) if out > 1 else 0.0)
    else:
        places = maximum((places + 0.5) * scale - 0.5, 0.0)
    before = minimum(dispatch("cast", places, dtype="i64"), own - 1)
    share = clip(places - convert(before, dtype), 0.0, 1.0)
    share = reshape(convert(share, x.dtype), (out, *(1,) * (x.ndim - axis - 1)))
    return take(x, before, axis=axis) * (1.0 - share) + take(x, minimum(before + 1, own - 1), axis=axis) * share


def _places(n: int, dtype: str) -> Tensor:
    return dispatch("iota", shape=(n,), axis=0, dtype=dtype)


# ---- channels for pixels ------------------------------------------------------------------------------------------


def pixel_shuffle(x: Operand, upscale_factor: int) -> Tensor:
    """x [.., c*r*r, h, w] with r*r channels made one of r times the height and width: [.., c, h*r, w*r].

        >>> tg.nn.functional.pixel_shuffle(tg.ones(1, 8, 2, 3), 2).shape
        (1, 2, 4, 6)
    """
    x, r = tensor_operand("pixel_shuffle", x), upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise TypeRuleError(at_user_line(f"pixel_shuffle: {type_of(x)} has no channels for a factor of {r}"))
    *batch, c, h, w = x.shape
    n = len(batch)
    apart = reshape(x, (*batch, c // (r * r), r, r, h, w))
    mixed = dispatch("transpose", apart, axes=(*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return reshape(mixed, (*batch, c // (r * r), h * r, w * r))


def pixel_unshuffle(x: Operand, downscale_factor: int) -> Tensor:
    """The inverse of pixel_shuffle: x [.., c, h*r, w*r] as [.., c*r*r, h, w].

        >>> tg.nn.functional.pixel_unshuffle(tg.ones(1, 2, 4, 6), 2).shape
        (1, 8, 2, 3)
    """
    x, r = tensor_operand("pixel_unshuffle", x), downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-1] % r or x.shape[-2] % r:
        raise TypeRuleError(at_user_line(f"pixel_unshuffle: {type_of(x)} has no height and width for {r}"))
    *batch, c, h, w = x.shape
    n = len(batch)
    apart = reshape(x, (*batch, c, h // r, r, w // r, r))
    return reshape(dispatch("transpose", apart, axes=(*range(n + 1), n + 2, n + 4, n + 1, n + 3)),
                   (*batch, c * r * r, h // r, w // r))


# ---- columns of patches -------------------------------------------------------------------------------------------


def unfold(x: Operand, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The patches of x [b,c,h,w] as columns: [b, c*size, places].

        >>> tg.nn.functional.unfold(tg.ones(1, 2, 5, 5), 3).shape
        (1, 18, 9)
    """
    x = tensor_operand("unfold", x)
    if x.ndim != 4:
        raise TypeRuleError(at_user_line(f"unfold: {type_of(x)} must have 4 axes"))
    size, apart, edge, step = _patches("unfold", kernel_size, dilation, padding, stride)
    w = windows("unfold", padded(x, edge, edge), (2, 3), size, step, apart)
    batch, channels, *places = w.shape[2:]
    ordered = dispatch("transpose", w, axes=(2, 3, 0, 1, 4, 5))
    return reshape(ordered, (batch, channels * prod(size), prod(places)))


def fold(x: Operand, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """The adjoint of unfold: columns x [b, c*size, places] added up where they lie in [b, c, *output_size].

        >>> tg.nn.functional.fold(tg.ones(1, 4, 4), 3, 2)
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
    """
    x = tensor_operand("fold", x)
    size, apart, edge, step = _patches("fold", kernel_size, dilation, padding, stride)
    whole = tuple(n + 2 * p for n, p in zip(one_for_each("fold", "output_size", output_size, 2), edge))
    places = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(whole, size, step, apart))
    if x.ndim != 3 or x.shape[1] % prod(size) or x.shape[2] != prod(places):
        raise TypeRuleError(at_user_line(
            f"fold: {type_of(x)} are not columns of patches {size} at {places} places"))
    batch, rows, _ = x.shape
    w = reshape(x, (batch, rows // prod(size), *size, *places))
    return cropped(spread(dispatch("transpose", w, axes=(2, 3, 0, 1, 4, 5)), (2, 3), whole, step, apart), edge)


def _patches(op: str, size: Any, dilation: Any, padding: Any, stride: Any) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    return (one_for_each(op, "kernel_size", size, 2), one_for_each(op, "dilation", dilation, 2),
            one_for_each(op, "padding", padding, 2, 0), one_for_each(op, "stride", stride, 2))
