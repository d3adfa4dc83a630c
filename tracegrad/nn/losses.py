"""Losses: the loss functions of nn.functional as modules that keep their options."""
from __future__ import annotations

from tracegrad.nn import functional as F
from tracegrad.nn.modules import Module
from tracegrad.tensors import Tensor


class MSELoss(Module):
    """The squared difference of two Tensors of one shape; see functional.mse_loss."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(x, target, self.reduction)


class CrossEntropyLoss(Module):
    """-log softmax(logits) at the target class, for labels or probabilities; see functional.cross_entropy."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        self.weight, self.ignore_index = weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            logits, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(Module):
    """-log_p at the target class; see functional.nll_loss."""

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"):
        self.weight, self.ignore_index, self.reduction = weight, ignore_index, reduction

    def forward(self, log_p: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(log_p, target, self.weight, self.ignore_index, self.reduction)
