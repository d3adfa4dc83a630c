"""Normalization: values with mean 0 and variance 1 over some axes, then a scale and a shift, as PyTorch has them.

    layer_norm       the last axes                       group_norm     groups of channels of one sample
    rms_norm         the last axes, mean not subtracted  instance_norm  one channel of one sample
    batch_norm       one channel over all samples        normalize      norm 1 instead

1. Statistics of half precision are computed in float32 and rounded once, with the result.
2. Running statistics are Tensors, written in place outside of differentiation.
"""
from __future__ import annotations

from math import prod
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.functional import abs, maximum, mean, sqrt, sum
from tracegrad.grad_modes import no_grad
from tracegrad.movement import reshape, shape_of
from tracegrad.operands import Operand, convert, floating, refuse_names, tensor_operand
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def working(op: str, x: Operand) -> Tensor:
    """x as floating-point numbers, those of 16 bits as float32."""
    x = floating(tensor_operand(op, x))
    return convert(x, dtypes.float32) if x.itemsize == 2 else x


def like_operand(op: str, x: Operand, y: Tensor) -> Tensor:
    """y in the dtype that the result for x has."""
    return convert(y, floating(tensor_operand(op, x)).dtype)


def standardized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over `axes`."""
    away = x - mean(x, axes, keepdims=True)
    return away * (1 / sqrt(mean(away * away, axes, keepdims=True) + eps))


def affine(y: Tensor, weight: Operand | None, bias: Operand | None, shape: tuple[int, ...]) -> Tensor:
    """y * weight + bias, both brought to `shape` and to the dtype of y."""
    if weight is not None:
        y = y * convert(reshape(weight, shape), y.dtype)
    if bias is not None:
        y = y + convert(reshape(bias, shape), y.dtype)
    return y


def last_axes(op: str, x: Tensor, normalized_shape: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(sizes, axes) that `normalized_shape` says; TypeRuleError if x does not end in them."""
    sizes = shape_of((normalized_shape,))
    n = x.ndim
    if not sizes or len(sizes) > n or x.shape[n - len(sizes):] != sizes:
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} does not end in {list(sizes)}"))
    return sizes, tuple(range(n - len(sizes), n))


def layer_norm(x: Operand, normalized_shape: Any, weight: Operand | None = None, bias: Operand | None = None,
               eps: float = 1e-5) -> Tensor:
    """Each sample normalized over its last axes `normalized_shape`, then scaled and shifted elementwise.

    J. L. Ba, J. R. Kiros, G. E. Hinton (2016), arXiv:1607.06450.

        >>> tg.nn.functional.layer_norm(tg.tensor([[1.0, 3.0], [5.0, 5.0]]), 2)
        tensor([[-1.0000,  1.0000],
                [ 0.0000,  0.0000]])
    """
    z = working("layer_norm", x)
    sizes, axes = last_axes("layer_norm", z, normalized_shape)
    return like_operand("layer_norm", x, affine(standardized(z, axes, eps), weight, bias, sizes))


def rms_norm(x: Operand, normalized_shape: Any, weight: Operand | None = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last axes, scaled; eps is that of the dtype unless given.

    B. Zhang, R. Sennrich (2019), NeurIPS.
    """
    z = working("rms_norm", x)
    sizes, axes = last_axes("rms_norm", z, normalized_shape)
    if eps is None:
        eps = 2.0**-52 if z.itemsize == 8 else 2.0**-23
    y = z * (1 / sqrt(mean(z * z, axes, keepdims=True) + eps))
    return like_operand("rms_norm", x, affine(y, weight, None, sizes))


def per_channel(x: Tensor) -> tuple[int, ...]:
    """The shape of one number for each channel, [1, c, 1, ...]."""
    return (1, x.shape[1], *(1,) * (x.ndim - 2))


def group_norm(x: Operand, num_groups: int, weight: Operand | None = None, bias: Operand | None = None,
               eps: float = 1e-5) -> Tensor:
    """Each sample normalized over groups of its channels: x [n, c, ...], num_groups divides c.

    Y. Wu, K. He (2018), ECCV.
    """
    z = working("group_norm", x)
    shape = z.shape
    if len(shape) < 2 or num_groups < 1 or shape[1] % num_groups:
        raise TypeRuleError(at_user_line(f"group_norm: {type_of(z)} does not have {num_groups} equal groups"
                                         " of channels"))
    grouped = reshape(z, (shape[0], num_groups, prod(shape[1:]) // num_groups))
    y = reshape(standardized(grouped, (2,), eps), shape)
    return like_operand("group_norm", x, affine(y, weight, bias, per_channel(z)))


def blend(running: Tensor, new: Tensor, momentum: Operand) -> None:
    """running = (1 - momentum) * running + momentum * new, in place."""
    with no_grad():
        old = convert(running, new.dtype)
        running.copy_(old * (1 - momentum) + new * momentum)


def batch_norm(x: Operand, running_mean: Tensor | None, running_var: Tensor | None, weight: Operand | None = None,
               bias: Operand | None = None, training: bool = False, momentum: Operand = 0.1,
               eps: float = 1e-5) -> Tensor:
    """Each channel of x [n, c, ...] normalized over everything else, or by running statistics unless `training`.

    While training, the running statistics, where given, move towards those of x by `momentum`, the variance as
    estimated for the population (n - 1). S. Ioffe, C. Szegedy (2015), ICML.
    """
    z = working("batch_norm", x)
    if z.ndim < 2:
        raise TypeRuleError(at_user_line(f"batch_norm: {type_of(z)} has no channels: it needs [n, c, ...]"))
    shape = per_channel(z)
    if training:
        axes = (0, *range(2, z.ndim))
        n = z.size // max(shape[1], 1)
        if n == 1:
            raise ValueError(at_user_line(
                f"batch_norm: {type_of(z)} has one value for each channel, which has no variance"))
        center = mean(z, axes, keepdims=True)
        away = z - center
        var = mean(away * away, axes, keepdims=True)
        if running_mean is not None and running_var is not None:
            blend(running_mean, reshape(center.detach(), running_mean.shape), momentum)
            blend(running_var, reshape(var.detach(), running_var.shape) * (n / max(n - 1, 1)), momentum)
    elif running_mean is None or running_var is None:
        raise ValueError(at_user_line("batch_norm: without running statistics there is only training=True"))
    else:
        away = z - convert(reshape(running_mean, shape), z.dtype)
        var = convert(reshape(running_var, shape), z.dtype)
    return like_operand("batch_norm", x, affine(away * (1 / sqrt(var + eps)), weight, bias, shape))


def instance_norm(x: Operand, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Operand | None = None, bias: Operand | None = None, use_input_stats: bool = True,
                  momentum: Operand = 0.1, eps: float = 1e-5) -> Tensor:
    """Each channel of each sample of x [n, c, ...] normalized by itself, or by running statistics.

    D. Ulyanov, A. Vedaldi, V. Lempitsky (2016), arXiv:1607.08022.
    """
    z = working("instance_norm", x)
    if z.ndim < 3:
        raise TypeRuleError(at_user_line(f"instance_norm: {type_of(z)} is not [n, c, ...]"))
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    axes, shape = tuple(range(2, z.ndim)), per_channel(z)
    center = mean(z, axes, keepdims=True)
    away = z - center
    var = mean(away * away, axes, keepdims=True)
    if running_mean is not None and running_var is not None:
        n = prod(z.shape[2:])
        blend(running_mean, reshape(mean(center.detach(), 0), running_mean.shape), momentum)
        blend(running_var, reshape(mean(var.detach(), 0), running_var.shape) * (n / max(n - 1, 1)), momentum)
    return like_operand("instance_norm", x, affine(away * (1 / sqrt(var + eps)), weight, bias, shape))


def normalize(x: Operand, p: float = 2.0, axis: int = 1, eps: float = 1e-12, **names: Any) -> Tensor:
    """x / max(its p-norm along `axis`, eps), p 1 or 2.

        >>> tg.nn.functional.normalize(tg.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    refuse_names("normalize", names)
    if p not in (1, 2):
        raise NotImplementedError(at_user_line(f"normalize: p = {p} is neither 1 nor 2"))
    x = floating(tensor_operand("normalize", x))
    if p == 1:
        return x / maximum(sum(abs(x), axis, keepdims=True), eps)
    return x / sqrt(maximum(sum(x * x, axis, keepdims=True), eps * eps))
