"""Whose memory an array uses: may a write to one array be seen through another?"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tracegrad.devices import CUPY, is_gpu_array, may_share_memory


class NotOwned(ValueError):
    """The memory of an array belongs to something that is not an array."""


def owner(array: Any) -> Any:
    """The array that owns the memory of `array`, on a GPU the memory itself; NotOwned if none does."""
    if CUPY and is_gpu_array(array):
        return array.data.mem           # one object for all arrays in it
    base: Any = array
    while type(base) is np.ndarray:
        array, base = base, base.base
    if base is not None:
        raise NotOwned(type(base).__name__)
    return array


def apart(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Does neither array of any pair reach into memory that the other reaches into?"""
    return not any(may_share_memory(a, b) for a, b in pairs)
