"""host: the work of a Host step: the reference of its op, on the arrays that its buffers are."""
from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from codegen.ir.ops import OPS
from codegen.ir.types import DTYPES, TensorType, type_of
from codegen.schedule.plan import Host


def run_host(step: Host, operands: Sequence[np.ndarray], result: np.ndarray) -> None:
    """Write what the reference makes of flat arrays into the flat array `result`; whatever it raises where it refuses.

    Operands without elements are not read. TypeError for a result that is not of the step's type.
    """
    arrays = [_shaped(array, type) for array, (_, type) in zip(operands, step.operands, strict=True)]
    with np.errstate(all="ignore"):
        found = np.asarray(OPS[step.op].reference(*arrays, **dict(step.attrs)))
    if type_of(found) != step.type:
        raise TypeError(f"{step.op} gave {type_of(found)}, not {step.type}")
    result.reshape(found.shape)[...] = found


def _shaped(array: np.ndarray, type: TensorType) -> np.ndarray:
    shape = cast(tuple[int, ...], type.shape)
    return np.empty(shape, DTYPES[type.dtype]) if 0 in shape else array.reshape(shape)
