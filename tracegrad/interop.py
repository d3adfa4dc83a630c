"""The array namespace, copy and pickle."""
from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from tracegrad import functional, movement
from tracegrad.devices import device_of, transferred
from tracegrad.dispatch import GRAD
from tracegrad.dtypes import canonical
from tracegrad.host import read_on_cpu
from tracegrad.source_lines import at_user_line
from tracegrad.stand_ins import plain_class, put_class
from tracegrad.tensors import Tensor

VERSIONS = ("2022.12", "2023.12", "2024.12")
"""The versions of the Array API standard that the namespace keeps to."""


def array_namespace(x: Tensor, /, *, api_version: str | None = None) -> ModuleType:
    """The Array API's protocol: the namespace of functions that take Tensors; ValueError for a version unknown here."""
    if api_version is not None and api_version not in VERSIONS:
        raise ValueError(at_user_line(
            f"__array_namespace__: there is no version {api_version!r}; the versions are {', '.join(VERSIONS)}"))
    return sys.modules["tracegrad"]


def shallow_copy(x: Tensor, /) -> Tensor:
    """copy.copy(x): another Tensor on the same memory, with the same history; of a leaf, another leaf."""
    if x.grad_fn is not None:
        return movement.reshape(x, x.shape)
    made = functional.detach(x)
    put_class(made, plain_class(x))
    made.requires_grad = x.requires_grad
    return made


def deep_copy(x: Tensor, memo: dict[int, Any], /) -> Tensor:
    """copy.deepcopy(x): a leaf with memory and a grad of its own. RuntimeError for a tensor with a history."""
    found = memo.get(id(x))
    if found is not None:
        return found
    if x.grad_fn is not None:
        raise RuntimeError(at_user_line(
            "deepcopy: the tensor has a history, and only leaves can be copied; use clone() or detach()"))
    before, GRAD.enabled = GRAD.enabled, False
    try:
        made = functional.clone(x)
        put_class(made, plain_class(x))
        made.requires_grad = x.requires_grad
        memo[id(x)] = made
        if x.grad is not None:
            made.grad = functional.clone(x.grad)
    finally:
        GRAD.enabled = before
    return made


def reduce(x: Tensor, /) -> tuple:
    """pickle: the values and requires_grad; a history is not kept."""
    return restore, (plain_class(x), read_on_cpu(x, "pickle"), x.requires_grad, str(x.device))


def restore(kind: type[Tensor], array: np.ndarray, requires_grad: bool, device: str = "cpu") -> Tensor:
    """The Tensor that `reduce` took apart, on the device where it was."""
    found = canonical(array)
    made = Tensor(found if device == "cpu" else transferred(found, device_of(device)), requires_grad)
    made.__class__ = kind
    return made
