"""Hypothesis strategies: keys of every kind for an array of a shape, mostly ones that fit.

    @given(keys((3, 4)))        1    (..., None, slice(2, None, -1))    ([0, 2], True)    mask of the whole    ([5], 0)
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tracegrad as tg

SIZES = ((), (1,), (2,), (3,), (1, 2), (3, 1), (2, 2))
"""Shapes of index arrays."""


@st.composite
def keys(draw: Callable[[st.SearchStrategy], Any], shape: tuple[int, ...], wrong: bool = False) -> Any:
    """A key for an array of `shape`; with `wrong`, now and then one that is out of bounds."""
    entries: list[Any] = []
    axis, ellipsis = 0, False
    common = draw(st.sampled_from(SIZES))
    while axis < len(shape) and draw(st.integers(0, 9)):
        size = shape[axis]
        match draw(st.sampled_from(("none", "bool", "ellipsis", "int", "int", "slice", "slice", "indices", "indices",
                                    "indices", "mask", "wide mask"))):
            case "none":
                entries.append(None)
                continue
            case "bool" if not draw(st.integers(0, 2)):
                entries.append(draw(st.booleans()))
                continue
            case "ellipsis" if not ellipsis:
                entries.append(Ellipsis)
                ellipsis = True
                continue
            case "int" if size:
                entries.append(draw(st.integers(-size - wrong, size - 1)))
            case "indices" if size:
                entries.append(draw(indices(common, size, wrong)))
            case "mask":
                entries.append(draw(masks((size,))))
            case "wide mask" if axis + 1 < len(shape):
                entries.append(draw(masks(shape[axis:axis + 2])))
                axis += 1
            case _:
                steps = st.one_of(st.none(), st.integers(-3, 3).filter(bool))
                ends = st.one_of(st.none(), st.integers(-size - 1, size + 1))
                entries.append(draw(st.builds(slice, ends, ends, steps)))
        axis += 1
    return entries[0] if len(entries) == 1 and draw(st.booleans()) else tuple(entries)


@st.composite
def indices(draw: Callable[[st.SearchStrategy], Any], common: tuple[int, ...], size: int, wrong: bool) -> Any:
    """Indices into an axis, in an array or a list, of a shape that mostly broadcasts with `common`."""
    shape = tuple(n if draw(st.integers(0, 3)) else 1 for n in common[draw(st.integers(0, len(common))):])
    count = int(np.prod(shape))
    numbers = draw(st.lists(st.integers(-size, size - 1 + wrong), min_size=count, max_size=count))
    array = np.array(numbers, draw(st.sampled_from((np.int64, np.int32, np.int8)))).reshape(shape)
    return array if draw(st.booleans()) or not shape else array.tolist()


@st.composite
def masks(draw: Callable[[st.SearchStrategy], Any], shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape))
    array = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool).reshape(shape)
    return array if 0 in shape or draw(st.booleans()) else array.tolist()      # [] is a list of no ints


def with_tensors(key: Any) -> Any:
    """The key with a Tensor for each array."""
    if isinstance(key, tuple):
        return tuple(map(with_tensors, key))
    return tg.tensor(key) if isinstance(key, np.ndarray) else key
