"""How NumPy lays out what it makes: in C order, or, with order="K", in the order of what it is made from.

    np.copy(x.T)    ->   transpose(clone(transpose(...)))      its ravel() is a copy, that of x.T.copy() is a view
"""
from __future__ import annotations

import numpy as np

from tracegrad.functional import clone
from tracegrad.movement import permute_dims
from tracegrad.tensors import Tensor


def laid_out(x: Tensor, like: np.ndarray) -> Tensor:
    """A tensor that was just made, with its axes in memory in the order in which those of `like` are."""
    if x.array.strides == like.strides or x.array.flags.c_contiguous and like.flags.c_contiguous:
        return x
    axes = axes_of(like)
    return permute_dims(clone(permute_dims(x, axes)), tuple(map(axes.index, range(like.ndim))))


def in_order(x: Tensor, order: str) -> Tensor:
    """The tensor with its axes in that order in which order= has its elements read: "C", "F", "A" or "K"."""
    if is_by_columns(x.array, order):
        return permute_dims(x, tuple(reversed(range(x.array.ndim))))
    return permute_dims(x, axes_of(x.array)) if order == "K" and not x.array.flags.c_contiguous else x


def is_by_columns(array: np.ndarray, order: str) -> bool:
    """Does order= mean that the first axis varies fastest?"""
    return order == "F" or order == "A" and array.flags.f_contiguous and not array.flags.c_contiguous


def axes_of(array: np.ndarray) -> tuple[int, ...]:
    """The axes, from the one with the greatest steps in memory to that with the least."""
    return tuple(sorted(range(array.ndim), key=lambda k: -abs(array.strides[k])))
