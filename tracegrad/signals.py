"""Signals: sums of products of one line with another that slides along it, NumPy's convolve and correlate."""
from __future__ import annotations

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.complex_numbers import conj
from tracegrad.contraction import mv
from tracegrad.movement import flip
from tracegrad.operands import Operand, pair
from tracegrad.padding import padded
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.windows import sliding_window_view


def convolve(a: Operand, v: Operand, /, mode: str = "full") -> Tensor:
    """The sums of a[k] v[n - k]: at every n where the lines meet (full), at as many as the longer has (same), where
    the shorter lies inside the longer (valid). TypeRuleError for what is no line with elements.

        >>> tg.convolve(tg.tensor([1.0, 2.0, 3.0]), tg.tensor([0.0, 1.0, 0.5]))
        tensor([0.0000, 1.0000, 2.5000, 4.0000, 1.5000])
    """
    a, v = _lines("convolve", a, v)
    return _slid(*((v, a) if v.size > a.size else (a, v)), mode, "convolve")


def correlate(a: Operand, v: Operand, /, mode: str = "valid") -> Tensor:
    """The sums of a[n + k] conj(v[k]), at the places that `convolve` has by the same names.

        >>> tg.correlate(tg.tensor([1.0, 2.0, 3.0]), tg.tensor([0.0, 1.0, 0.5]))
        tensor([3.5000])
    """
    a, v = _lines("correlate", a, v)
    if v.size > a.size:                         # with the roles exchanged the result runs backwards
        return flip(_slid(conj(v), flip(a), mode, "correlate"))
    return _slid(a, conj(flip(v)), mode, "correlate")


def _lines(op: str, a: Operand, v: Operand) -> tuple[Tensor, Tensor]:
    x, y = pair(op, a, v)
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim == y.ndim == 1
            and x.size and y.size):
        raise TypeRuleError(at_user_line(f"{op}: {_described(x)} and {_described(y)} must be lines with elements"))
    return x, y


def _described(x: object) -> str:
    return str(type_of(x)) if isinstance(x, Tensor) else f"the number {x}"


def _slid(a: Tensor, v: Tensor, mode: str, op: str) -> Tensor:
    """convolve, for a v that is no longer than a."""
    n = v.size - 1
    around = {"full": (n, n), "same": (n - n // 2, n // 2), "valid": (0, 0)}.get(mode)
    if around is None:
        raise ValueError(at_user_line(f"{op}: mode is {mode!r}, not full, same or valid"))
    before, after = around
    return mv(sliding_window_view(padded(a, (before,), (after,)), n + 1), flip(v))
