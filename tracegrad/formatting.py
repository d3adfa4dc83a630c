"""How a Tensor prints: its values, and what is not the default about it.

    tensor([[1.0000, 2.5000]], requires_grad=True)
    tensor([1., 2.], dtype=float64)
    tensor(3., grad_fn=<mul backward>)
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, replace
from html import escape
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.aborts import Abort
from tracegrad.devices import CPU, transferred
from tracegrad.recorder import ACTIVE, not_replayed
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

LARGEST_TABLE = 20      # rows and columns that a notebook shows as a table


@struct
class PrintOptions:
    """`precision`: digits after the point. With more than `threshold` elements, `edgeitems` at either end are shown.

    `linewidth`: where lines are broken. `sci_mode`: always, never, or (None) where it is needed an exponent.
    """

    precision: int = 4
    threshold: int = 1000
    edgeitems: int = 3
    linewidth: int = 75
    sci_mode: bool | None = None


USUAL = PrintOptions()
OPTIONS: ContextVar[PrintOptions] = ContextVar("tracegrad_print_options", default=USUAL)


def set_printoptions(**options: Any) -> None:
    """Change how Tensors print: precision, threshold, edgeitems, linewidth, sci_mode; others stay as they are.

        >>> with tg.printoptions(precision=2):
        ...     print(tg.tensor([1 / 3]))
        tensor([0.33])
    """
    not_replayed(Abort.EFFECT, "how Tensors print")
    OPTIONS.set(replace(OPTIONS.get(), **options))


def get_printoptions() -> dict[str, Any]:
    """How Tensors print."""
    not_replayed(Abort.HIDDEN_STATE, "how Tensors print")
    return asdict(OPTIONS.get())


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """set_printoptions, for a while."""
    token = OPTIONS.set(replace(OPTIONS.get(), **options))
    try:
        yield
    finally:
        OPTIONS.reset(token)


def representation(x: Tensor, /) -> str:
    """tensor(...) with the values, and what is not the default: shape if empty, dtype, history."""
    return f"tensor({', '.join([values(x), *notes(x)])})"


def values(x: Tensor) -> str:
    """The elements, as nested lists; a read that a recording must know of."""
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.host_read(x, "repr")
    array, options = x.array, OPTIONS.get()
    if x.device != CPU:
        array = transferred(array if array.size <= options.threshold else ends(array, options.edgeitems), CPU)
    if array.dtype is dtypes.bfloat16:
        array = array.astype(np.float32)
    shown = array if array.size <= options.threshold else ends(array, options.edgeitems)
    formatter: dict[str, Callable[[Any], str]] = {}
    if array.dtype in dtypes.COMPLEX_NUMBERS:
        formatter["complex_kind"] = complex_format(shown)
    elif array.dtype in dtypes.FLOATING:
        formatter["float_kind"] = number_format(shown.astype(np.float64))
    return np.array2string(array, threshold=options.threshold, edgeitems=options.edgeitems, separator=", ",
                           max_line_width=options.linewidth, prefix="tensor(", formatter=formatter or None)   # type: ignore[arg-type]


def ends(array: np.ndarray, count: int) -> np.ndarray:
    """`count` elements at either end of each axis."""
    for axis, size in enumerate(array.shape):
        if size > 2 * count:
            array = np.take(array, [*range(count), *range(size - count, size)], axis)
    return array


def table(x: Tensor, /) -> str | None:
    """HTML for notebooks: a small matrix or vector as a table; None for others, which are shown as text."""
    if x.ndim not in (1, 2) or max(x.shape, default=0) > LARGEST_TABLE or x.size == 0:
        return None
    with printoptions(threshold=LARGEST_TABLE**2, linewidth=2**30):
        lines = values(x).splitlines()
    rows = ["".join(f"<td>{escape(cell.strip())}</td>" for cell in line.strip(" [],").split(",")) for line in lines]
    kind = escape(", ".join([str(type_of(x)), *(n for n in notes(x) if not n.startswith("dtype"))]))
    return f"<table><caption>{kind}</caption>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


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
    if x.device != CPU:
        found.append(f"device={str(x.device)!r}")
    if x.grad_fn is not None:
        found.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        found.append("requires_grad=True")
    return found


def number_format(array: np.ndarray) -> Callable[[Any], str]:
    """One format for all elements: "2." if all are whole, else digits, or an exponent where these would not do."""
    options = OPTIONS.get()
    digits, finite = options.precision, array[np.isfinite(array)]
    sizes = np.abs(finite[finite != 0])
    largest, smallest = sizes.max(initial=0.0), sizes.min(initial=np.inf)
    whole = bool((finite == np.trunc(finite)).all())
    needed = largest >= 1e8 or not whole and (largest >= 1e5 or smallest < 10.0**-digits)
    if needed if options.sci_mode is None else options.sci_mode:
        spec, tail = f".{digits}e", ""
    elif whole:
        spec, tail = ".0f", "."
    else:
        spec, tail = f".{digits}f", ""

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
    if x.size != 1:
        raise TypeError(at_user_line(f"format: a tensor of shape {list(x.shape)} does not take {spec!r}"))
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.host_read(x, "format")
    return format(x.array.item(), spec)
