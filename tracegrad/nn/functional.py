"""What the layers and losses compute, as functions."""
from __future__ import annotations

from tracegrad.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from tracegrad.creation import zeros_like
from tracegrad.functional import relu, sigmoid, tanh, where
from tracegrad.losses import log_softmax, softmax
from tracegrad.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from tracegrad.random import rand
from tracegrad.tensors import Tensor

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "max_pool1d", "max_pool2d", "max_pool3d",
    "cross_entropy", "dropout", "linear", "log_softmax", "mse_loss", "nll_loss", "relu", "sigmoid", "softmax", "tanh",
]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias, for x [..., k], weight [n, k], bias [n]: [..., n]."""
    y = x @ weight.t()
    return y if bias is None else y + bias


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """While training, each element is 0 with probability p and x / (1 - p) otherwise; else x."""
    if not training or p == 0:
        return x
    if p == 1:
        return x * zeros_like(x)
    return where(rand(x.shape, dtype=x.dtype) >= p, x * (1 / (1 - p)), 0.0)


def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The squared difference; its mean, its sum or itself, as `reduction` is "mean", "sum" or "none"."""
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: shapes {x.shape} and {target.shape} differ")
    difference = x - target
    return _reduce(difference * difference, reduction)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(logits) at the target class.

    logits [n, c], or [c], or [n, c, ...]; target: integer labels of that shape without c, or probabilities of that
    very shape. A label equal to `ignore_index` counts for nothing, in the mean either; any other label outside of
    0..c-1 is an IndexError. `weight` [c] weighs classes; the mean over labels is then a weighted one.
    `label_smoothing` e moves the target e of the way towards equal probabilities.
    """
    axis = 1 if logits.ndim > 1 else 0
    log_p = log_softmax(logits, axis=axis)
    classes = logits.shape[axis]
    if target.dtype.kind == "f":
        return _probability_loss(log_p, target, weight, reduction, label_smoothing, axis)
    loss, weights = _label_loss(log_p, target, weight, ignore_index, axis)
    if label_smoothing:
        everywhere = -(log_p if weight is None else log_p * _along(weight, log_p.ndim, axis)).sum(axis=axis)
        smooth = where(target == ignore_index, 0.0, everywhere)
        loss = loss * (1 - label_smoothing) + smooth * (label_smoothing / classes)
    return loss.sum() / weights.sum() if reduction == "mean" else _reduce(loss, reduction)


def nll_loss(
    log_p: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean",
) -> Tensor:
    """-log_p at the target class: cross_entropy without its softmax, for integer labels."""
    loss, weights = _label_loss(log_p, target, weight, ignore_index, 1 if log_p.ndim > 1 else 0)
    return loss.sum() / weights.sum() if reduction == "mean" else _reduce(loss, reduction)


def _label_loss(
    log_p: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, axis: int,
) -> tuple[Tensor, Tensor]:
    """The loss of each label, and what it weighs in the mean."""
    if target.shape != (*log_p.shape[:axis], *log_p.shape[axis + 1:]):
        raise ValueError(f"labels of shape {target.shape} do not fit scores of shape {log_p.shape}")
    kept = target != ignore_index
    # A negative index would count from the end: send it past the end, where it is refused.
    label = where(kept, where(target < 0, log_p.shape[axis], target), 0)
    losses = -log_p.take_along_axis(label.unsqueeze(axis), axis=axis).squeeze(axis)
    weights = kept.to(log_p.dtype)
    if weight is not None:
        chosen = weight[label]
        losses, weights = losses * chosen, weights * chosen
    return where(kept, losses, 0.0), weights


def _probability_loss(
    log_p: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float, axis: int,
) -> Tensor:
    if target.shape != log_p.shape:
        raise ValueError(f"probabilities of shape {target.shape} do not fit scores of shape {log_p.shape}")
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / log_p.shape[axis]
    if weight is not None:
        log_p = log_p * _along(weight, log_p.ndim, axis)
    loss = -(log_p * target).sum(axis=axis)
    return _reduce(loss, reduction)


def _along(weight: Tensor, ndim: int, axis: int) -> Tensor:
    """weight [c] as [1, c, 1, ...], c at `axis` of `ndim`."""
    return weight.reshape(tuple(-1 if k == axis else 1 for k in range(ndim)))


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    match reduction:
        case "mean":
            return loss.mean()
        case "sum":
            return loss.sum()
        case "none":
            return loss
    raise ValueError(f'reduction is "mean", "sum" or "none", not {reduction!r}')
