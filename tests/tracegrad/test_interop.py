"""Arrays, DLPack, the array namespace."""
from __future__ import annotations

import numpy as np

import tracegrad as tg


def test_arrays_and_dlpack_share_memory() -> None:
    x = tg.tensor([1.0, 2.0])
    for array in (np.asarray(x), x.numpy(), np.from_dlpack(x)):
        assert np.shares_memory(array, x.array)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.array)
    source = np.array([1, 2, 3])
    y = tg.from_dlpack(source)
    source[0] = 9
    assert y.tolist() == [9, 2, 3] and tg.from_dlpack(x).tolist() == [1, 2]


def test_array_namespace() -> None:
    x = tg.ones(2)
    xp = x.__array_namespace__()
    assert xp is tg and xp.sum(xp.astype(x, xp.int32)).item() == 2 and xp.newaxis is None and xp.pi == np.pi


def test_pinned_memory_of_others_is_memory_of_the_cpu() -> None:
    class Pinned:
        """As PyTorch's pinned tensors: on a device of its own by DLPack's count, and not copied to another."""

        def __init__(self, array: np.ndarray):
            self.array = array

        def __dlpack_device__(self) -> tuple[int, int]:
            return 3, 0

        def __dlpack__(self, *, max_version: tuple[int, int] | None = None, copy: bool | None = None) -> object:
            return self.array.__dlpack__(max_version=max_version, copy=copy)

    theirs = np.arange(3.0)
    x = tg.from_dlpack(Pinned(theirs))
    x[0] = 7
    assert theirs.tolist() == [7.0, 1.0, 2.0]
