"""Noise for training: dropout in its forms, Gumbel noise; from the default generator, alike eager and compiled."""
from __future__ import annotations

from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.elementary import log1p
from tracegrad.functional import equal, log, max, where
from tracegrad.operands import Operand, convert, floating, refuse_names, tensor_operand
from tracegrad.probabilities import softmax
from tracegrad.random import rand
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def dropped(op: str, x: Tensor, p: float, mask: tuple[int, ...]) -> Tensor:
    """x / (1 - p), or 0 where a mask of this shape, which broadcasts, says so with probability p."""
    if not 0 <= p <= 1:
        raise ValueError(at_user_line(f"{op}: p = {p} is not a probability"))
    if p == 1:
        return x * 0.0
    return where(rand(mask, dtype=x.dtype, device=x.device) >= p, x * (1 / (1 - p)), 0.0)


def dropout(x: Operand, p: float = 0.5, training: bool = True) -> Tensor:
    """While training, each element is 0 with probability p and x / (1 - p) otherwise; else x."""
    x = floating(tensor_operand("dropout", x))
    return dropped("dropout", x, p, x.shape) if training and p != 0 else x


def channel_dropout(op: str, x: Operand, p: float, training: bool, spatial: int) -> Tensor:
    """Dropout of whole channels: x [n, c, *spatial], or without n."""
    x = floating(tensor_operand(op, x))
    if x.ndim not in (spatial + 1, spatial + 2):
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} does not have {spatial + 1} or {spatial + 2} axes"))
    mask = (*x.shape[:x.ndim - spatial], *(1,) * spatial)
    return dropped(op, x, p, mask) if training and p != 0 else x


def dropout1d(x: Operand, p: float = 0.5, training: bool = True) -> Tensor:
    """dropout of whole channels of x [n, c, l]."""
    return channel_dropout("dropout1d", x, p, training, 1)


def dropout2d(x: Operand, p: float = 0.5, training: bool = True) -> Tensor:
    """dropout of whole channels of x [n, c, h, w]."""
    return channel_dropout("dropout2d", x, p, training, 2)


def dropout3d(x: Operand, p: float = 0.5, training: bool = True) -> Tensor:
    """dropout of whole channels of x [n, c, d, h, w]."""
    return channel_dropout("dropout3d", x, p, training, 3)


ALPHA = -1.7580993408473766         # the limit of selu towards minus infinity


def alpha_dropout(x: Operand, p: float = 0.5, training: bool = False) -> Tensor:
    """dropout to the limit of selu, scaled and shifted so that mean and variance stay. G. Klambauer et al. (2017)."""
    x = floating(tensor_operand("alpha_dropout", x))
    if not training or p == 0:
        return x
    if not 0 <= p < 1:
        raise ValueError(at_user_line(f"alpha_dropout: p = {p} is not a probability below 1"))
    scale = ((1 - p) * (1 + p * ALPHA**2)) ** -0.5
    return where(rand(x.shape, dtype=x.dtype, device=x.device) >= p, x, ALPHA) * scale - scale * p * ALPHA


def gumbel_softmax(logits: Operand, tau: float = 1.0, hard: bool = False, axis: int = -1, **names: Any) -> Tensor:
    """softmax((logits + noise) / tau) along `axis`, with noise such that its largest element is drawn by the logits.

    `hard`: 1 at the largest and 0 elsewhere, with the soft one's derivative. E. Jang, S. Gu, B. Poole (2017), ICLR.
    """
    refuse_names("gumbel_softmax", names)
    x = floating(tensor_operand("gumbel_softmax", logits))
    noise = -log(-log1p(-rand(x.shape, dtype=x.dtype, device=x.device)))
    soft = softmax((x + noise) / tau, axis)
    if not hard:
        return soft
    return convert(equal(soft, max(soft, axis, keepdims=True)), soft.dtype) - soft.detach() + soft
