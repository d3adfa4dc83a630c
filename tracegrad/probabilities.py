"""Softmax and what goes with it, composed of the operations of `functional`."""
from __future__ import annotations

from typing import Any

from tracegrad import dtypes
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import name_of
from tracegrad.functional import abs, detach, equal, exp, in_single, log, max, negative, sum, where
from tracegrad.movement import expand_dims, one_axis, squeeze
from tracegrad.operands import Axis, Operand, axes_of, convert, floating, refuse_names, tensor_operand
from tracegrad.tensors import Tensor


def softmax(x: Operand, /, axis: int = -1, **names: Any) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`, computed around the largest element so that nothing overflows.

    There is one division for each sum: products take less, and the sum in the derivative need not wait for quotients.

        >>> tg.softmax(tg.tensor([[0.0, 0.0], [1000.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [1.0000, 0.0000]])
    """
    refuse_names("softmax", names)
    x = floating(tensor_operand("softmax", x))
    axis = one_axis("softmax", x, axis, x.ndim)
    if x.itemsize == 2:
        return in_single(softmax, x, axis)
    e = exp(x - detach(max(x, axis, keepdims=True)))
    return e * (1 / sum(e, axis, keepdims=True))


def softmin(x: Operand, /, axis: int = -1, **names: Any) -> Tensor:
    """softmax of -x along `axis`."""
    return softmax(negative(x), axis, **names)


def log_softmax(x: Operand, /, axis: int = -1, **names: Any) -> Tensor:
    """log(softmax(x)) along `axis`, accurate where softmax underflows."""
    refuse_names("log_softmax", names)
    x = floating(tensor_operand("log_softmax", x))
    axis = one_axis("log_softmax", x, axis, x.ndim)
    if x.itemsize == 2:
        return in_single(log_softmax, x, axis)
    away = x - detach(max(x, axis, keepdims=True))
    return away - log(sum(exp(away), axis, keepdims=True))


def logsumexp(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """log(sum(exp(x))) over `axis` (None: all), computed around the largest element so that nothing overflows.

        >>> tg.logsumexp(tg.tensor([1000.0, 1000.0]))
        tensor(1000.6932)
    """
    refuse_names("logsumexp", names)
    x = floating(tensor_operand("logsumexp", x))
    if x.itemsize == 2:
        return in_single(logsumexp, x, axis, keepdims=keepdims)
    largest = detach(max(x, axis, keepdims=True))
    center = where(abs(largest) < float("inf"), largest, 0.0)
    result = log(sum(exp(x - center), axis, keepdims=True)) + center
    return result if keepdims else squeeze(result, axes_of(axis, x.ndim))


def one_hot(labels: Operand, num_classes: int, /) -> Tensor:
    """i64[..., num_classes]: 1 where the class is the label, else 0.

        >>> tg.one_hot(tg.tensor([0, 2]), 3)
        tensor([[1, 0, 0],
                [0, 0, 1]])
    """
    labels = tensor_operand("one_hot", labels)
    classes = dispatch("iota", shape=(num_classes,), axis=0, dtype=name_of(labels.dtype))
    return convert(equal(expand_dims(labels, -1), classes), dtypes.int64)


