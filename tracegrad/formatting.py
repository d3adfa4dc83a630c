"""How a Tensor prints.

    tensor([[1.0000, 2.5000]], requires_grad=True)        tensor([1., 2.], dtype=float64)        tensor(3., grad_fn=<mul backward>)
"""
from __future__ import annotations

import numpy as np

from tracegrad import dtypes
from tracegrad.recorder import ACTIVE
from tracegrad.tensors import Tensor

DIGITS = 4              # after the point
SUMMARIZED_FROM = 1000  # elements


def representation(x: Tensor, /) -> str:
    """tensor(...) with the values, and what is not the default: dtype, history."""
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.host_read(x, "repr")
    values = np.array2string(x.array, precision=DIGITS, threshold=SUMMARIZED_FROM, separator=", ", prefix="tensor(",
                             formatter=_formatter(x.array))
    notes = []
    if x.array.size == 0 and x.array.ndim != 1:
        notes.append(f"shape={x.array.shape}")
    if x.array.dtype not in (dtypes.default_float(), dtypes.int64, dtypes.bool_) or x.array.size == 0 and x.array.dtype != dtypes.default_float():
        notes.append(f"dtype={x.array.dtype.name}")
    if x.grad_fn is not None:
        notes.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        notes.append("requires_grad=True")
    return f"tensor({', '.join([values, *notes])})"


def _formatter(array: np.ndarray) -> dict | None:
    """Fixed-point numbers of DIGITS digits, "2." for whole ones; None where NumPy's own choice reads better."""
    if array.dtype not in dtypes.FLOATING:
        return None
    finite = array[np.isfinite(array)].astype(np.float64)
    if finite.size == 0:
        width = 0
        return {"all": lambda v: f"{float(v):{width}}"}
    largest = np.abs(finite).max()
    smallest = np.abs(finite[finite != 0]).min(initial=largest)
    whole = bool((finite == np.trunc(finite)).all())
    if largest >= 1e8 or not whole and (largest >= 1e5 or smallest < 1e-4 and largest < 1e-2 or largest / max(smallest, 1e-300) > 1e6 and smallest < 1e-3):
        text = lambda v: f"{float(v):.{DIGITS}e}"       # noqa: E731
    elif whole:
        text = lambda v: f"{float(v):.0f}." if np.isfinite(float(v)) else f"{float(v)}"     # noqa: E731
    else:
        text = lambda v: f"{float(v):.{DIGITS}f}"       # noqa: E731
    shown = array if array.size <= SUMMARIZED_FROM else finite
    width = max((len(text(v)) for v in shown.ravel()[:SUMMARIZED_FROM]), default=0)
    return {"all": lambda v: f"{text(v):>{width}}"}


def format_spec(x: Tensor, spec: str, /) -> str:
    """f"{loss:.3f}": a Tensor with one element formats as its number, others only without a spec."""
    if spec and x.array.size == 1:
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.host_read(x, "format")
        return format(x.array.item(), spec)
    if spec:
        raise TypeError(f"a tensor of shape {list(x.shape)} has no format {spec!r}; it takes one with one element")
    return representation(x) if x.array.ndim else str(item_text(x))


def item_text(x: Tensor) -> str:
    return representation(x)
