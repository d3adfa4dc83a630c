"""Where an op runs: on the device that its operands are on.

    add on cuda:0 of f32[3] and f32[]        the number goes there
    add on cuda:0 of f32[3] and f32[3]       RuntimeError that names both, and the user's line, if one is on the CPU

What goes from one device to another by itself is said in `devices`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.gpu_references import run
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.types import type_of
from tracegrad.devices import CUPY, holding, is_gpu_array, is_placeless, make_placeless, transferred
from tracegrad.dtypes import bfloat16
from tracegrad.source_lines import at_user_line


def anywhere(op: str, reference: Callable[..., Any]) -> Callable[..., Any]:
    """The reference of an op for arrays on any one device."""
    def apply(*operands: Any, **attrs: Any) -> Any:
        arrays = [x for x in operands if isinstance(x, np.ndarray) or is_gpu_array(x)]
        first = next(filter(is_gpu_array, arrays), None)
        if first is None:
            result = reference(*operands, **attrs)
            if all(map(is_placeless, arrays)):
                result = np.asarray(result)
                make_placeless(result)
            return result
        there = together(op, [x if any(x is a for a in arrays) else None for x in operands])
        here = [x if moved is None else moved for x, moved in zip(operands, there)]
        with CUPY[0].cuda.Device(first.device.id):
            return run(op, reference, CUPY[0], here, attrs)
    return apply


def together(op: str, arrays: list[Any]) -> list[Any]:
    """The arrays on the GPU that one of them is on, None for None; RuntimeError where they do not go there themselves.

    To an elementwise op a 0-d array on the CPU is a number with a dtype.
    """
    first = next(filter(is_gpu_array, arrays), None)
    if first is None:
        return arrays
    device = holding(first)
    found: list[Any] = []
    for x in arrays:
        if x is None or holding(x) == device:
            found.append(x)
        elif is_gpu_array(x) or x.ndim and not is_placeless(x):
            other = holding(x)
            raise RuntimeError(at_user_line(
                f"{op}: operands on different devices: {type_of(first)} on {device} and {type_of(x)} on {other}; move "
                f"one of them, with x.to({str(device)!r}) or x.to({str(other)!r})"))
        elif x.ndim == 0 and op in OPS and ELEMENTWISE in OPS[op].traits:
            found.append(np.float32(x) if x.dtype == bfloat16 else x[()])
        else:
            found.append(transferred(x, device))
    return found
