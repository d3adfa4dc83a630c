"""Results of tensors as arrays, and their comparison: from whichever device they have to be on."""
from __future__ import annotations

from typing import Any

import numpy as np

import tracegrad as tg


def leaves(result: Any) -> list[Any]:
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, tuple | list) else [result]


def on(device: str, values: Any) -> list[np.ndarray]:
    """The values of results; each Tensor has to be there."""
    found = []
    for value in leaves(values):
        if isinstance(value, tg.Tensor):
            assert value.device.type == device, f"a result is on {value.device}"
            value = value.detach().cpu().numpy()
        found.append(np.asarray(value))
    return found


def close(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-6) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(np.asarray(a, complex), np.asarray(b, complex), rtol=tolerance, atol=tolerance)
