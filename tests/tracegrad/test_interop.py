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
