"""How much memory the history of tensors holds: what was saved for backward and nothing else keeps."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tracegrad.autodiff import edge_of, history
from tracegrad.checkpointing import Slot
from tracegrad.tensors import Saved, Tensor


def saved_bytes(*outputs: Tensor) -> int:
    """The bytes that the histories of these tensors keep for backward, and that no other Tensor holds.

    Memory that several operations saved counts once; parameters and other tensors that are in use do not.

        >>> x = tg.ones(1000, requires_grad=True)
        >>> tg.autograd.saved_bytes(tg.exp(tg.sin(x)).sum())        # x is in use, sin(x) is not read
        4000
    """
    found: dict[int, int] = {}
    for node in history([edge_of(y) for y in outputs if y.requires_grad]):
        for array in _arrays(node.kept()):
            found[array.__array_interface__["data"][0]] = array.nbytes
    return sum(found.values())


def _arrays(kept: Iterator[Any]) -> Iterator[np.ndarray]:
    for value in kept:
        if isinstance(value, Saved):
            if value.tensor() is None:
                yield value.array
        elif isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, Slot):
            yield from _arrays(value.kept())
