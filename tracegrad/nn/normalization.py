"""Normalization layers: see tracegrad.normalization for what they compute.

Running statistics are buffers, Tensors that training writes in place; `num_batches_tracked` counts the batches.
"""
from __future__ import annotations

from typing import Any

from tracegrad.creation import ones, tensor, zeros
from tracegrad.movement import shape_of
from tracegrad.nn import functional as F
from tracegrad.nn import init
from tracegrad.nn.modules import Module, Parameter
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class LayerNorm(Module):
    """Each sample normalized over its last axes, then scaled by `weight` and shifted by `bias` of their shape."""

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
                 dtype: Any = None):
        self.normalized_shape, self.eps = shape_of((normalized_shape,)), eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(zeros(self.normalized_shape, dtype=dtype)) if elementwise_affine and bias else None

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        reset_affine(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """Each sample divided by the root of its mean square over its last axes, then scaled by `weight`."""

    def __init__(self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True,
                 dtype: Any = None):
        self.normalized_shape, self.eps = shape_of((normalized_shape,)), eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None

    def reset_parameters(self) -> None:
        """Scale 1."""
        reset_affine(self.weight, None)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Each sample normalized over groups of its channels, [n, c, ...], then scaled and shifted by channel."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = None):
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels do not make {num_groups} equal groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight = Parameter(ones(num_channels, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(num_channels, dtype=dtype)) if affine else None

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        reset_affine(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class RunningNorm(Module):
    """What batch and instance normalization have in common: affine parameters and running statistics by channel."""

    ranks: tuple[int, ...] = ()             # how many axes x may have
    running_mean: Any                       # Tensors, or all None
    running_var: Any
    num_batches_tracked: Any

    def __init__(self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
                 dtype: Any):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(ones(num_features, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(num_features, dtype=dtype)) if affine else None
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", tensor(0) if tracked else None)

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, and no running statistics."""
        self.reset_running_stats()
        reset_affine(self.weight, self.bias)

    def check_axes(self, x: Tensor) -> None:
        """ValueError unless x has as many axes as this layer is for."""
        if x.ndim not in self.ranks:
            kinds = " or ".join(map(str, self.ranks))
            raise ValueError(at_user_line(f"{type(self).__name__}: x of shape {x.shape} does not have {kinds} axes"))

    def update_momentum(self) -> Any:
        """How far this batch moves the running statistics; counts it. With momentum None: all batches count alike."""
        self.num_batches_tracked += 1
        return 1.0 / self.num_batches_tracked.float() if self.momentum is None else self.momentum

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


class BatchNorm(RunningNorm):
    """Each channel normalized over the batch while training, by running statistics afterwards."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, dtype: Any = None):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)

    def forward(self, x: Tensor) -> Tensor:
        self.check_axes(x)
        if x.shape[1] != self.num_features and (self.affine or self.track_running_stats):
            raise ValueError(at_user_line(
                f"{type(self).__name__}: x of shape {x.shape} has {x.shape[1]} channels, not {self.num_features}"))
        by_batch = self.training or self.running_mean is None
        momentum = self.update_momentum() if self.training and self.track_running_stats else 0.0
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum,
                            self.eps)


class BatchNorm1d(BatchNorm):
    """BatchNorm of [n, c] or [n, c, l]."""

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """BatchNorm of [n, c, h, w]."""

    ranks = (4,)


class BatchNorm3d(BatchNorm):
    """BatchNorm of [n, c, d, h, w]."""

    ranks = (5,)


class InstanceNorm(RunningNorm):
    """Each channel of each sample normalized by itself, or by running statistics where these are tracked."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
                 track_running_stats: bool = False, dtype: Any = None):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)

    def forward(self, x: Tensor) -> Tensor:
        self.check_axes(x)
        if x.ndim < self.ranks[-1]:                     # a sample alone
            return self.forward(x.unsqueeze(0)).squeeze(0)
        by_sample = self.training or self.running_mean is None
        momentum = 0.0 if self.momentum is None else self.momentum          # PyTorch counts no batches here
        return F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_sample, momentum,
                               self.eps)


class InstanceNorm1d(InstanceNorm):
    """InstanceNorm of [n, c, l] or [c, l]."""

    ranks = (2, 3)


class InstanceNorm2d(InstanceNorm):
    """InstanceNorm of [n, c, h, w] or [c, h, w]."""

    ranks = (3, 4)


class InstanceNorm3d(InstanceNorm):
    """InstanceNorm of [n, c, d, h, w] or [c, d, h, w]."""

    ranks = (4, 5)


def reset_affine(weight: Parameter | None, bias: Parameter | None) -> None:
    """Scale 1, shift 0, where there are any."""
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)
