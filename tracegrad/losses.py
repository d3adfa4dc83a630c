"""Softmax and the losses made of it, composed of the operations of `functional`."""
from __future__ import annotations

from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import FLOATING, name_of
from tracegrad.functional import (
    abs,
    detach,
    equal,
    exp,
    log,
    max,
    mean,
    negative,
    positive,
    square,
    subtract,
    sum,
    where,
)
from tracegrad.movement import expand_dims, one_axis, squeeze
from tracegrad.operands import Axis, Operand, axes_of, convert, floating, refuse_names, tensor_operand
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def softmax(x: Operand, /, axis: int = -1, **names: Any) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`, computed around the largest element so that nothing overflows.

        >>> tg.softmax(tg.tensor([[0.0, 0.0], [1000.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [1.0000, 0.0000]])
    """
    refuse_names("softmax", names)
    x = floating(tensor_operand("softmax", x))
    axis = one_axis("softmax", x, axis, x.array.ndim)
    e = exp(x - detach(max(x, axis, keepdims=True)))
    return e / sum(e, axis, keepdims=True)


def log_softmax(x: Operand, /, axis: int = -1, **names: Any) -> Tensor:
    """log(softmax(x)) along `axis`, accurate where softmax underflows."""
    refuse_names("log_softmax", names)
    x = floating(tensor_operand("log_softmax", x))
    axis = one_axis("log_softmax", x, axis, x.array.ndim)
    away = x - detach(max(x, axis, keepdims=True))
    return away - log(sum(exp(away), axis, keepdims=True))


def logsumexp(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """log(sum(exp(x))) over `axis` (None: all), computed around the largest element so that nothing overflows.

        >>> tg.logsumexp(tg.tensor([1000.0, 1000.0]))
        tensor(1000.6932)
    """
    refuse_names("logsumexp", names)
    x = floating(tensor_operand("logsumexp", x))
    largest = detach(max(x, axis, keepdims=True))
    center = where(abs(largest) < float("inf"), largest, 0.0)
    result = log(sum(exp(x - center), axis, keepdims=True)) + center
    return result if keepdims else squeeze(result, axes_of(axis, x.array.ndim))


def one_hot(labels: Operand, num_classes: int, /) -> Tensor:
    """i64[..., num_classes]: 1 where the class is the label, else 0.

        >>> tg.one_hot(tg.tensor([0, 2]), 3)
        tensor([[1, 0, 0],
                [0, 0, 1]])
    """
    labels = tensor_operand("one_hot", labels)
    classes = dispatch("iota", shape=(num_classes,), axis=0, dtype=name_of(labels.array.dtype))
    return convert(equal(expand_dims(labels, -1), classes), dtypes.int64)


REDUCTIONS = {"mean": mean, "sum": sum, "none": positive}


def reduced(op: str, losses: Tensor, reduction: str) -> Tensor:
    if reduction not in REDUCTIONS:
        raise ValueError(at_user_line(f"{op}: reduction {reduction!r} is none of {', '.join(REDUCTIONS)}"))
    return REDUCTIONS[reduction](losses)


def cross_entropy(logits: Operand, labels: Operand, /, *, reduction: str = "mean") -> Tensor:
    """The cross entropy of softmax(logits) and the labels.

    logits: f[n, c] or f[c]. labels: class numbers i[n] or i[], or probabilities of the shape of logits.
    reduction "mean", "sum" or "none" (f[n]). IndexError for a class number that is none.

        >>> tg.cross_entropy(tg.tensor([[2.0, 0.0], [0.0, 0.0]]), tg.tensor([0, 1]), reduction="none")
        tensor([0.1269, 0.6931])
    """
    logits, labels = floating(tensor_operand("cross_entropy", logits)), tensor_operand("cross_entropy", labels)
    if logits.array.ndim not in (1, 2):
        raise TypeRuleError(at_user_line(
            f"cross_entropy: logits {type_of(logits.array)} are neither [n,classes] nor [classes]"))
    logs = log_softmax(logits, -1)
    if labels.array.dtype in FLOATING:
        return reduced("cross_entropy", negative(sum(labels * logs, -1)), reduction)
    if labels.array.shape != logits.array.shape[:-1]:
        raise TypeRuleError(at_user_line(
            f"cross_entropy: labels {type_of(labels.array)} are not one class for each row of {type_of(logits.array)}"))
    classes = logs.array.shape[-1]
    if labels.array.dtype not in (dtypes.int32, dtypes.int64):
        labels = convert(labels, dtypes.int64)
    places = where(labels < 0, classes, labels)     # gather would count them from the end
    try:
        chosen = dispatch("gather", logs, expand_dims(places, -1), axis=logs.array.ndim - 1)
    except IndexError:
        raise IndexError(at_user_line(f"cross_entropy: a label is none of the classes 0 to {classes - 1}")) from None
    return reduced("cross_entropy", negative(squeeze(chosen, -1)), reduction)


def mse_loss(x: Operand, target: Operand, /, *, reduction: str = "mean") -> Tensor:
    """(x - target)^2, reduced: "mean", "sum" or "none".

        >>> tg.mse_loss(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0]))
        tensor(2.)
    """
    return reduced("mse_loss", square(subtract(x, target)), reduction)
