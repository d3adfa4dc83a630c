"""Where the elements of matrices are in the registers of a warp, as NVIDIA describes it for mma.sync and ldmatrix.

    multiplied("m16n8k16", "bf16", a, b, c)        registers of 32 lanes, [warp, lane, element], as the sums are

tf32 is f32 whose last 13 bits are not looked at; products of halves and of tf32 are added up in f32, here exactly and
rounded once for each instruction.
"""
from __future__ import annotations

import numpy as np

_LANE = np.arange(32)
_ROW, _QUAD = _LANE // 4, _LANE % 4


def _places(rows: list[int], columns: list[int], row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each element of a lane: what is added to those of the lane."""
    return row[:, None] + np.array(rows), column[:, None] + np.array(columns)


LAYOUTS = {
    "m16n8k16": ((16, 8, 16),
                 _places([0, 0, 8, 8, 0, 0, 8, 8], [0, 1, 0, 1, 8, 9, 8, 9], _ROW, 2 * _QUAD),
                 _places([0, 1, 8, 9], [0, 0, 0, 0], 2 * _QUAD, _ROW),
                 _places([0, 0, 8, 8], [0, 1, 0, 1], _ROW, 2 * _QUAD)),
    "m16n8k8": ((16, 8, 8),
                _places([0, 8, 0, 8], [0, 0, 4, 4], _ROW, _QUAD),
                _places([0, 4], [0, 0], _QUAD, _ROW),
                _places([0, 0, 8, 8], [0, 1, 0, 1], _ROW, 2 * _QUAD)),
    "m8n8k4": ((8, 8, 4),
               _places([0], [0], _ROW, _QUAD),
               _places([0], [0], _QUAD, _ROW),
               _places([0, 0], [0, 1], _ROW, 2 * _QUAD)),
}
"""The sizes m, n and k, and the places of the elements of a, b and c: of halves (k16), of tf32 (k8) and of f64 (k4)."""


def multiplied(form: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The registers of a b + c, rounded to the dtype of c."""
    (m, n, k), at_a, at_b, at_c = LAYOUTS[form]
    x, y, z = (np.zeros((len(a), *size)) for size in ((m, k), (k, n), (m, n)))
    for matrix, (rows, columns), registers in ((x, at_a, a), (y, at_b, b), (z, at_c, c)):
        matrix[:, rows, columns] = registers
    return (x @ y + z)[:, at_c[0], at_c[1]].astype(c.dtype)


def as_tf32(x: np.ndarray) -> np.ndarray:
    """What a tensor core sees of f32."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
