"""How a Tensor prints: its values, and what is not the default about it.

    tensor([[1.0000, 2.5000]], requires_grad=True)
    tensor([1., 2.], dtype=float64)
    tensor(3., grad_fn=<mul backward>)
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import dtypes
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

DIGITS = 4              # after the point
SUMMARIZED_FROM = 1000  # elements: with more, only the ends of each axis are shown


def representation(x: Tensor, /) -> str:
    """tensor(...) with the values, and what is not the default: shape if empty, dtype, history."""
    return f"tensor({', '.join([values(x), *notes(x)])})"


def values(x: Tensor) -> str:
    """The elements, as nested lists; a read that a recording must know of."""
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.host_read(x, "repr")
    array = x.array
    if array.dtype in dtypes.COMPLEX_NUMBERS:
        return np.array2string(array, threshold=SUMMARIZED_FROM, separator=", ", prefix="tensor(",
                               formatter={"complex_kind": complex_format(array)})
    if array.dtype not in dtypes.FLOATING:
        return np.array2string(array, threshold=SUMMARIZED_FROM, separator=", ", prefix="tensor(")
    exact = array.astype(np.float64)
    return np.array2string(exact, threshold=SUMMARIZED_FROM, separator=", ", prefix="tensor(",
                           formatter={"float_kind": number_format(exact)})


def notes(x: Tensor) -> list[str]:
    """What a reader cannot tell from the values."""
    array = x.array
    found = []
    if array.size == 0 and array.ndim != 1:
        found.append(f"shape={array.shape}")
    inferred = (dtypes.default_float(),) if array.size == 0 else (
        dtypes.default_float(), dtypes.default_complex(), dtypes.int64, dtypes.bool_)
    if array.dtype not in inferred:
        found.append(f"dtype={array.dtype.name}")
    if x.grad_fn is not None:
        found.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        found.append("requires_grad=True")
    return found


def number_format(array: np.ndarray) -> Callable[[Any], str]:
    """One format for all elements: "2." if all are whole, DIGITS digits, or an exponent where these would not do."""
    finite = array[np.isfinite(array)]
    sizes = np.abs(finite[finite != 0])
    largest, smallest = sizes.max(initial=0.0), sizes.min(initial=np.inf)
    whole = bool((finite == np.trunc(finite)).all())
    if largest >= 1e8 or not whole and (largest >= 1e5 or smallest < 10.0**-DIGITS):
        spec, tail = f".{DIGITS}e", ""
    elif whole:
        spec, tail = ".0f", "."
    else:
        spec, tail = f".{DIGITS}f", ""

    def text(number: np.float64) -> str:
        return format(number, spec) + tail if np.isfinite(number) else str(float(number))

    widest = [*array[~np.isfinite(array)][:1], *([finite.min(), finite.max()] if finite.size else [])]
    if np.isneginf(array).any():
        widest.append(np.float64("-inf"))
    width = max((len(text(v)) for v in widest), default=0)
    return lambda number: f"{text(number):>{width}}"


def complex_format(array: np.ndarray) -> Callable[[Any], str]:
    """The formats of the real and of the imaginary parts, these with a sign: "1.5000-2.0000j"."""
    real, imag = number_format(array.real.astype(np.float64)), number_format(np.abs(array.imag.astype(np.float64)))

    def text(number: np.complexfloating) -> str:
        sign = "-" if np.signbit(number.imag) and not np.isnan(number.imag) else "+"
        return f"{real(np.float64(number.real))}{sign}{imag(np.abs(np.float64(number.imag))).strip()}j"

    return text


def format_spec(x: Tensor, spec: str, /) -> str:
    """f"{loss:.3f}": a tensor with one element formats as its number. TypeError for a spec with more elements."""
    if not spec:
        return representation(x)
    if x.array.size != 1:
        raise TypeError(at_user_line(f"format: a tensor of shape {list(x.shape)} does not take {spec!r}"))
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.host_read(x, "format")
    return format(x.array.item(), spec)
