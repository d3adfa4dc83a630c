"""Whose memory an array uses: may a write to one array be seen through another?"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


class NotOwned(ValueError):
    """The memory of an array belongs to something that is not an array."""


def owner(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of `array`; NotOwned if none does."""
    base: Any = array
    while type(base) is np.ndarray:
        array, base = base, base.base
    if base is not None:
        raise NotOwned(type(base).__name__)
    return array


def apart(some: Iterable[np.ndarray], others: Iterable[np.ndarray]) -> bool:
    """Does no array of `some` reach into memory that another one of `others` reaches into?"""
    others = tuple(others)
    return not any(np.may_share_memory(a, b) for a in some for b in others if a is not b)
