"""Losses, with PyTorch's names, arguments and numbers: what `tg`, `nn.functional` and the modules of nn give.

1. Every loss takes reduction "mean", "sum" or "none"; a mean over labels that are weighed is a weighted mean.
2. Shapes are not broadcast against each other where both sides are data: a loss of [n] and [n, 1] is a mistake.
"""
from __future__ import annotations

from math import log as log_of
from math import pi
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import FLOATING
from tracegrad.elementary import logaddexp
from tracegrad.functional import abs, clip, divide, exp, log, maximum, mean, minimum, sqrt, sum, where
from tracegrad.movement import expand_dims, reshape, squeeze, take
from tracegrad.operands import Operand, convert, floating, pair, refuse_names, tensor_operand
from tracegrad.probabilities import log_softmax
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

REDUCTIONS = ("mean", "sum", "none")


def reduced(op: str, losses: Tensor, reduction: str) -> Tensor:
    """The losses, their mean or their sum."""
    if reduction not in REDUCTIONS:
        raise ValueError(at_user_line(f"{op}: reduction {reduction!r} is none of {', '.join(REDUCTIONS)}"))
    return losses if reduction == "none" else mean(losses) if reduction == "mean" else sum(losses)


def alike(op: str, x: Operand, y: Operand) -> tuple[Tensor, Tensor]:
    """Two floating-point Tensors of one dtype and one shape."""
    a, b = pair(op, tensor_operand(op, x), tensor_operand(op, y))
    if a.shape != b.shape:
        raise TypeRuleError(at_user_line(f"{op}: shapes of {type_of(a)} and {type_of(b)} differ"))
    return floating(a), floating(b)


# ---- distances of two tensors ------------------------------------------------------------------------------------


def mse_loss(x: Operand, target: Operand, /, *, reduction: str = "mean") -> Tensor:
    """(x - target)^2.

        >>> tg.mse_loss(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0]))
        tensor(2.)
    """
    x, target = alike("mse_loss", x, target)
    away = x - target
    return reduced("mse_loss", away * away, reduction)


def l1_loss(x: Operand, target: Operand, /, *, reduction: str = "mean") -> Tensor:
    """|x - target|."""
    x, target = alike("l1_loss", x, target)
    return reduced("l1_loss", abs(x - target), reduction)


def huber_loss(x: Operand, target: Operand, /, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where the distance d is below delta, else delta * (d - delta / 2). P. J. Huber (1964)."""
    if not delta > 0:
        raise ValueError(at_user_line(f"huber_loss: delta = {delta} is not positive"))
    x, target = alike("huber_loss", x, target)
    d = abs(x - target)
    return reduced("huber_loss", where(d < delta, d * d * 0.5, (d - 0.5 * delta) * delta), reduction)


def smooth_l1_loss(x: Operand, target: Operand, /, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """huber_loss divided by delta = beta; |x - target| for beta 0."""
    if beta < 0:
        raise ValueError(at_user_line(f"smooth_l1_loss: beta = {beta} is negative"))
    if beta == 0:
        return l1_loss(x, target, reduction=reduction)
    x, target = alike("smooth_l1_loss", x, target)
    d = abs(x - target)
    return reduced("smooth_l1_loss", where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


# ---- classes -----------------------------------------------------------------------------------------------------


def class_axis(scores: Tensor) -> int:
    """Where the classes are: [n, c, ...], or [c] alone."""
    return 1 if scores.ndim > 1 else 0


def along(weight: Tensor, scores: Tensor) -> Tensor:
    """weight [c] as it broadcasts against scores."""
    axis = class_axis(scores)
    return reshape(weight, tuple(-1 if k == axis else 1 for k in range(scores.ndim)))


def weight_operand(op: str, weight: Operand | None, scores: Tensor) -> Tensor | None:
    """A weight for each class, or None."""
    if weight is None:
        return None
    weight = convert(tensor_operand(op, weight), scores.dtype)
    if weight.shape != (classes := scores.shape[class_axis(scores)],):
        raise TypeRuleError(at_user_line(
            f"{op}: {type_of(weight)} is not a weight for each of {classes} classes"))
    return weight


def label_losses(op: str, logs: Tensor, labels: Tensor, weight: Tensor | None,
                 ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of each label, what it weighs in the mean, and whether it counts."""
    axis = class_axis(logs)
    shape = logs.shape
    if labels.shape != (*shape[:axis], *shape[axis + 1:]) or labels.dtype.kind not in "iu":
        raise TypeRuleError(at_user_line(
            f"{op}: labels {type_of(labels)} are not one class for each row of {type_of(logs)}"))
    if labels.dtype not in (dtypes.int32, dtypes.int64):
        labels = convert(labels, dtypes.int64)
    kept = labels != ignore_index
    # gather would count a label below 0 from the end: it goes past the end, where it is refused.
    places = where(kept, where(labels < 0, shape[axis], labels), 0)
    try:
        chosen = squeeze(dispatch("gather", logs, expand_dims(places, axis), axis=axis), axis)
    except IndexError:
        raise IndexError(at_user_line(
            f"{op}: a label is none of the classes 0 to {shape[axis] - 1}, nor {ignore_index}")) from None
    weights = convert(kept, logs.dtype)
    if weight is not None:
        of_label = take(weight, places)
        chosen, weights = chosen * of_label, weights * of_label
    return where(kept, -chosen, 0.0), weights, kept


def weighted(op: str, losses: Tensor, weights: Tensor, reduction: str) -> Tensor:
    """The losses reduced; the mean is the sum over what all of them weigh."""
    return sum(losses) / sum(weights) if reduction == "mean" else reduced(op, losses, reduction)


def cross_entropy(logits: Operand, target: Operand, weight: Operand | None = None, *, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """-log(softmax(logits)) at the target class.

    logits: f[n, c], f[c] or f[n, c, ...]. target: class numbers, integers of that shape without c, or probabilities of
    that very shape. A label equal to `ignore_index` counts for nothing, in the mean either; any other that is none of
    0 .. c-1 is an IndexError. `weight` [c] weighs classes; the mean over labels is then a weighted one.
    `label_smoothing` e moves the target e of the way towards equal probabilities.

        >>> tg.cross_entropy(tg.tensor([[2.0, 0.0], [0.0, 0.0]]), tg.tensor([0, 1]), reduction="none")
        tensor([0.1269, 0.6931])
    """
    op = "cross_entropy"
    logits, target = floating(tensor_operand(op, logits)), tensor_operand(op, target)
    if logits.ndim == 0:
        raise TypeRuleError(at_user_line(f"{op}: logits {type_of(logits)} have no axis of classes"))
    if not 0 <= label_smoothing <= 1:
        raise ValueError(at_user_line(f"{op}: label_smoothing = {label_smoothing} is not between 0 and 1"))
    axis = class_axis(logits)
    logs, classes = log_softmax(logits, axis), logits.shape[axis]
    weight = weight_operand(op, weight, logits)
    if target.dtype in FLOATING:
        logs, chances = alike(op, logs, target)
        if label_smoothing:
            chances = chances * (1 - label_smoothing) + label_smoothing / classes
        if weight is not None:
            logs = logs * along(weight, logs)
        return reduced(op, -sum(logs * chances, axis), reduction)
    losses, weights, kept = label_losses(op, logs, target, weight, ignore_index)
    if label_smoothing:
        everywhere = -sum(logs if weight is None else logs * along(weight, logs), axis)
        losses = losses * (1 - label_smoothing) + where(kept, everywhere, 0.0) * (label_smoothing / classes)
    return weighted(op, losses, weights, reduction)


def nll_loss(log_p: Operand, target: Operand, weight: Operand | None = None, *, ignore_index: int = -100,
             reduction: str = "mean") -> Tensor:
    """-log_p at the target class: cross_entropy without its softmax, for class numbers."""
    log_p, target = floating(tensor_operand("nll_loss", log_p)), tensor_operand("nll_loss", target)
    losses, weights, _ = label_losses(
        "nll_loss", log_p, target, weight_operand("nll_loss", weight, log_p), ignore_index)
    return weighted("nll_loss", losses, weights, reduction)


def multi_margin_loss(x: Operand, target: Operand, p: int = 1, margin: float = 1.0, weight: Operand | None = None, *,
                      reduction: str = "mean") -> Tensor:
    """sum(max(0, margin - x[y] + x[k])^p over classes k != y) / classes, times weight[y]; p is 1 or 2."""
    op = "multi_margin_loss"
    x, target = floating(tensor_operand(op, x)), tensor_operand(op, target)
    if p not in (1, 2):
        raise ValueError(at_user_line(f"{op}: p = {p} is neither 1 nor 2"))
    axis, classes = x.ndim - 1, x.shape[-1]
    own, _, _ = label_losses(op, x, target, None, classes)
    over = maximum(x + expand_dims(own, axis) + margin, 0.0)
    over = over if p == 1 else over * over
    places = dispatch("iota", shape=(classes,), axis=0, dtype="i64")
    weight = weight_operand(op, weight, x)
    if weight is not None:
        over = over * expand_dims(take(weight, target), axis)
    losses = sum(where(places == expand_dims(target, axis), 0.0, over), axis) / float(classes)
    return reduced(op, losses, reduction)


# ---- probabilities ------------------------------------------------------------------------------------------------


def clamped_log(p: Tensor) -> Tensor:
    """log(p), at least -100, with the derivative 0 where p is 0."""
    positive = p > 0
    return where(positive, maximum(log(where(positive, p, 1.0)), -100.0), -100.0)


def binary_cross_entropy(p: Operand, target: Operand, weight: Operand | None = None, *,
                         reduction: str = "mean") -> Tensor:
    """-(y log p + (1 - y) log(1 - p)) for probabilities p and targets y; logarithms are at least -100."""
    op = "binary_cross_entropy"
    p, y = alike(op, p, target)
    losses = -(y * clamped_log(p) + (1 - y) * clamped_log(1 - p))
    return reduced(op, losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(logits: Operand, target: Operand, weight: Operand | None = None, *,
                                     reduction: str = "mean", pos_weight: Operand | None = None) -> Tensor:
    """binary_cross_entropy of sigmoid(logits), accurate where sigmoid is 0 or 1; pos_weight weighs the targets.

        >>> tg.nn.functional.binary_cross_entropy_with_logits(tg.tensor([0.0, 200.0]), tg.tensor([1.0, 0.0]))
        tensor(100.3466)
    """
    op = "binary_cross_entropy_with_logits"
    x, y = alike(op, logits, target)
    below = logaddexp(-x, 0.0)                               # -log(sigmoid(x))
    losses = (1 - y) * x + (below if pos_weight is None else ((pos_weight - 1) * y + 1) * below)
    return reduced(op, losses if weight is None else losses * weight, reduction)


def multilabel_soft_margin_loss(x: Operand, target: Operand, weight: Operand | None = None, *,
                                reduction: str = "mean") -> Tensor:
    """binary_cross_entropy_with_logits of [n, c], the mean over the classes: several of them may be right."""
    losses = binary_cross_entropy_with_logits(x, target, weight, reduction="none")
    return reduced("multilabel_soft_margin_loss", mean(losses, -1), reduction)


def kl_div(log_p: Operand, target: Operand, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """q (log q - log_p) for the target q, or log q with `log_target`; 0 where q is 0.

    reduction "batchmean" is the sum over the length of the first axis, which is the mathematical divergence.
    """
    log_p, q = alike("kl_div", log_p, target)
    if log_target:
        losses = exp(q) * (q - log_p)
    else:
        positive = q > 0
        losses = where(positive, q * log(where(positive, q, 1.0)), 0.0) - q * log_p
    if reduction == "batchmean":
        return sum(losses) / float(losses.shape[0] if losses.ndim else 1)
    return reduced("kl_div", losses, reduction)


def poisson_nll_loss(x: Operand, target: Operand, *, log_input: bool = True, full: bool = False, eps: float = 1e-8,
                     reduction: str = "mean") -> Tensor:
    """exp(x) - y x, or x - y log(x + eps) without `log_input`; `full` adds Stirling's log(y!) where y > 1."""
    x, y = alike("poisson_nll_loss", x, target)
    losses = exp(x) - y * x if log_input else x - y * log(x + eps)
    if full:
        above = maximum(y, 1.0)
        losses = losses + where(y > 1, above * log(above) - above + 0.5 * log(2 * pi * above), 0.0)
    return reduced("poisson_nll_loss", losses, reduction)


def gaussian_nll_loss(x: Operand, target: Operand, var: Operand, *, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Tensor:
    """(log v + (x - y)^2 / v) / 2 for a variance v = max(var, eps); `full` adds log(2 pi) / 2."""
    x, y = alike("gaussian_nll_loss", x, target)
    v = clip(tensor_operand("gaussian_nll_loss", var), eps)
    losses = (log(v) + (x - y) * (x - y) / v) * 0.5 + (0.5 * log_of(2 * pi) if full else 0.0)
    return reduced("gaussian_nll_loss", losses, reduction)


# ---- margins --------------------------------------------------------------------------------------------------------


def hinge_embedding_loss(x: Operand, target: Operand, *, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    x, y = alike("hinge_embedding_loss", x, target)
    losses = where(y == 1, 0.0, clip(margin - x, 0.0)) + where(y == -1, 0.0, x)
    return reduced("hinge_embedding_loss", losses, reduction)


def soft_margin_loss(x: Operand, target: Operand, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-y x))."""
    x, y = alike("soft_margin_loss", x, target)
    return reduced("soft_margin_loss", logaddexp(-(y * x), 0.0), reduction)


def margin_ranking_loss(x1: Operand, x2: Operand, target: Operand, *, margin: float = 0.0,
                        reduction: str = "mean") -> Tensor:
    """max(0, margin - y (x1 - x2)): y = 1 says that x1 should be the larger one, -1 that x2 should."""
    x1, x2 = alike("margin_ranking_loss", x1, x2)
    return reduced("margin_ranking_loss", clip(margin - target * (x1 - x2), 0.0), reduction)


def cosine_similarity(x1: Operand, x2: Operand, axis: int = 1, *, eps: float = 1e-8, **names: Any) -> Tensor:
    """The cosine of the angle between vectors along `axis`; norms are at least eps."""
    refuse_names("cosine_similarity", names)
    x1, x2 = (floating(x) for x in pair("cosine_similarity", tensor_operand("cosine_similarity", x1),
                                        tensor_operand("cosine_similarity", x2)))
    lengths = [sqrt(maximum(sum(x * x, axis), eps * eps)) for x in (x1, x2)]
    return sum(x1 * x2, axis) / (lengths[0] * lengths[1])


def cosine_embedding_loss(x1: Operand, x2: Operand, target: Operand, *, margin: float = 0.0,
                          reduction: str = "mean") -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos - margin) where it is -1; vectors along the last axis."""
    x1, x2 = alike("cosine_embedding_loss", x1, x2)
    y = tensor_operand("cosine_embedding_loss", target)
    eps = 1e-12
    squares = (sum(x1 * x1, -1) + eps) * (sum(x2 * x2, -1) + eps)
    cosine = divide(sum(x1 * x2, -1), sqrt(squares))
    losses = where(y == 1, 1 - cosine, 0.0) + where(y == -1, clip(cosine - margin, 0.0), 0.0)
    return reduced("cosine_embedding_loss", losses, reduction)


def pairwise_distance(x1: Operand, x2: Operand, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Tensor:
    """The p-norm, p 1 or 2, of x1 - x2 + eps along the last axis."""
    if p not in (1, 2):
        raise NotImplementedError(at_user_line(f"pairwise_distance: p = {p} is neither 1 nor 2"))
    x1, x2 = pair("pairwise_distance", tensor_operand("pairwise_distance", x1), x2)
    away = x1 - x2 + eps
    return sum(abs(away), -1, keepdims=keepdims) if p == 1 else sqrt(sum(away * away, -1, keepdims=keepdims))


def triplet_margin_loss(anchor: Operand, positive: Operand, negative: Operand, *, margin: float = 1.0, p: float = 2.0,
                        eps: float = 1e-6, swap: bool = False, reduction: str = "mean") -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d = pairwise_distance.

    With `swap` the negative's distance is that to the nearer of anchor and positive.
    """
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", clip(near - far + margin, 0.0), reduction)
