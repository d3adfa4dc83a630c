"""host: the work of a Host step: the reference of its op, on the arrays that its buffers are."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from codegen.ir.dims import number_of
from codegen.ir.ops import OPS
from codegen.ir.types import DTYPES
from codegen.schedule.plan import Host

HostWork = Callable[[Sequence[np.ndarray], np.ndarray], None]
"""(operands, result), of the right types: writes the result, or raises whatever the reference raises that refuses."""


def host_work(step: Host) -> HostWork:
    """What a step of known sizes does. The work raises TypeError for a result that is not of the step's type."""
    reference, attrs = OPS[step.op].reference, dict(step.attrs)
    dtype, shape = DTYPES[step.type.dtype], tuple(map(number_of, step.type.shape))

    def work(operands: Sequence[np.ndarray], result: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            if writes:
                reference(*operands, out=result)
                return
            found = np.asarray(reference(*operands, **attrs))
        if found.dtype != dtype or found.shape != shape:
            raise TypeError(f"{step.op} gave {found.dtype}{list(found.shape)}, not {step.type}")
        np.copyto(result, found)

    writes = isinstance(reference, np.ufunc) and not attrs
    return work


def run_host(step: Host, operands: Sequence[np.ndarray], result: np.ndarray) -> None:
    """The same on flat arrays. Operands without elements are not read."""
    arrays = []
    for array, (_, type) in zip(operands, step.operands, strict=True):
        shape = tuple(map(number_of, type.shape))
        arrays.append(np.empty(shape, DTYPES[type.dtype]) if 0 in shape else array.reshape(shape))
    host_work(step)(arrays, result.reshape(tuple(map(number_of, step.type.shape))))
