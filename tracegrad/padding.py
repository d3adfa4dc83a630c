"""Padding in every mode of NumPy's and PyTorch's: along one axis after the other, out of pieces of x itself.

    pad(x[a b c], 2, mode="reflect")        concat of flip(x[1:3]), x, flip(x[0:2]):  c b a b c b a

Pieces are slices, flips and broadcasts, so that compiled code reads them from x by another index.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import functional
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import FLOATING, name_of
from tracegrad.movement import broadcast_to, concat, flip, one_axis, reshape
from tracegrad.operands import Operand, convert, refuse_names, tensor_operand
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.windows import Sizes

_KEYWORDS = {"constant": ("constant_values",), "linear_ramp": ("end_values",),
             "maximum": ("stat_length",), "minimum": ("stat_length",), "mean": ("stat_length",),
             "reflect": ("reflect_type",), "symmetric": ("reflect_type",), "edge": (), "wrap": (), "empty": ()}
"""The modes, and what else each is told."""


def pad(x: Operand, pad_width: Any, mode: str = "constant", **options: Any) -> Tensor:
    """x with more elements before and after those of each axis. NumPy's function.

    `pad_width`: (before, after) for each axis, one pair or number for all, or a dict of axes. `mode`: "constant"
    (`constant_values`, 0 unless given), "edge", "reflect", "symmetric", "wrap", "linear_ramp" (to `end_values`),
    "maximum", "minimum", "mean" (of the `stat_length` elements at that end) or "empty". Values may be given in pairs
    and for each axis, as widths are. ValueError for another mode, and for one that needs elements where there are none.

        >>> tg.pad(tg.tensor([1, 2]), (1, 2))
        tensor([0, 1, 2, 0, 0])
        >>> tg.pad(tg.tensor([1, 2, 3]), 2, mode="reflect")
        tensor([3, 2, 1, 2, 3, 2, 1])
    """
    if mode not in _KEYWORDS:
        raise ValueError(at_user_line(f"pad: there is no mode {mode!r}; there are {', '.join(_KEYWORDS)}"))
    refuse_names("pad", {name: value for name, value in options.items() if name not in _KEYWORDS[mode]})
    x = tensor_operand("pad", x)
    n = x.ndim
    widths = [(index(a), index(b)) for a, b in _pairs("pad_width", pad_width, x)]
    if any(a < 0 or b < 0 for a, b in widths):
        raise ValueError(at_user_line(f"pad: widths {widths} must not be negative"))
    if mode == "empty" or mode == "constant" and options.get("constant_values", 0) == 0:
        return padded(x, tuple(a for a, _ in widths), tuple(b for _, b in widths))
    given = options.get("constant_values", options.get("end_values", options.get("stat_length", 0)))
    values = [(given, given)] * n if given is None else _pairs("values", given, x)
    for k, (width, value) in enumerate(zip(widths, values)):
        if any(width):
            x = _along(x, k, width, mode, value, options.get("reflect_type", "even"))
    return x


_pad = pad


def _pairs(what: str, given: Any, x: Tensor) -> list[tuple[Any, Any]]:
    """A pair for each axis of x."""
    n = x.ndim
    if isinstance(given, dict):
        places = {one_axis("pad", x, k, n): pair for k, pair in given.items()}
        return [_pair(places.get(k, 0)) for k in range(n)]
    if not isinstance(given, Sequence) or not any(isinstance(entry, Sequence) for entry in given):
        return [_pair(given)] * n
    if len(given) not in (1, n):
        raise TypeRuleError(at_user_line(f"pad: {len(given)} {what} for the {n} axes of {type_of(x)}"))
    return [_pair(entry) for entry in given] * (n if len(given) == 1 else 1)


def _pair(given: Any) -> tuple[Any, Any]:
    entries = tuple(given) if isinstance(given, Sequence) else (given,)
    if len(entries) not in (1, 2):
        raise ValueError(at_user_line(f"pad: {given} is neither one number nor a pair"))
    return entries[0], entries[-1]


def padded(x: Tensor, low: Sizes, high: Sizes) -> Tensor:
    """Zeros around the last axes of x."""
    if not any(low) and not any(high):
        return x
    rest = (0,) * (x.ndim - len(low))
    return dispatch("pad", x, low=(*rest, *low), high=(*rest, *high), interior=(0,) * x.ndim)


def filled(x: Tensor, low: Sizes, high: Sizes, fill: Any) -> Tensor:
    """x with `fill` around its last axes."""
    y = padded(x, low, high)
    if y is x or fill == 0:
        return y
    inside = dispatch("broadcast", dispatch("constant", value="true", dtype="bool"), shape=x.shape[-len(low):])
    return functional.where(padded(inside, low, high), y, fill)


# ---- along one axis -----------------------------------------------------------------------------------------------


def _along(x: Tensor, k: int, width: tuple[int, int], mode: str, value: tuple[Any, Any], kind: str) -> Tensor:
    size = x.shape[k]
    if mode == "constant":
        parts = [_filled(x, k, n, v) for n, v in zip(width, value)]
    elif size == 0:
        raise ValueError(at_user_line(f'pad: axis {k} of {type_of(x)} has nothing to be padded with: '
                                      'only mode="constant" and "empty" need nothing'))
    elif mode == "edge":
        parts = [_repeated(piece, k, n) for piece, n in zip(_ends(x, k, 1, 1), width)]
    elif mode == "linear_ramp":
        parts = [_ramp(x, k, n, v, at_end) for n, v, at_end in zip(width, value, (False, True))]
    elif mode in ("maximum", "minimum", "mean"):
        lengths = [size if v is None else min(index(v) or size, size) for v in value]
        parts = [_repeated(_statistic(piece, k, mode), k, n) for piece, n in zip(_ends(x, k, *lengths), width)]
    elif mode == "wrap":
        parts = [_wrapped(x, k, width[0], False), _wrapped(x, k, width[1], True)]
    else:
        parts = [_mirrored(x, k, n, mode, kind, at_end) for n, at_end in zip(width, (False, True))]
    return concat([parts[0], x, parts[1]], axis=k)


def part(x: Tensor, k: int, start: int, stop: int) -> Tensor:
    """x[start:stop] along axis k."""
    n, shape = x.ndim, x.shape
    return dispatch("slice", x, start=tuple(start if j == k else 0 for j in range(n)),
                    stop=tuple(stop if j == k else size for j, size in enumerate(shape)), step=(1,) * n)


def _ends(x: Tensor, k: int, first: int, last: int) -> tuple[Tensor, Tensor]:
    size = x.shape[k]
    return part(x, k, 0, first), part(x, k, size - last, size)


def _repeated(x: Tensor, k: int, n: int) -> Tensor:
    """x, of size 1 along axis k, n times."""
    return broadcast_to(x, (*x.shape[:k], n, *x.shape[k + 1:]))


def _filled(x: Tensor, k: int, n: int, value: Any) -> Tensor:
    """`value` n times along axis k."""
    number = convert(tensor_operand("pad", value), x.dtype)
    return broadcast_to(number, (*x.shape[:k], n, *x.shape[k + 1:]))


def _statistic(x: Tensor, k: int, mode: str) -> Tensor:
    if mode == "mean" and x.dtype not in FLOATING:
        raise NotImplementedError(at_user_line(
            f'pad: tracegrad has no mode="mean" for {type_of(x)} yet; cast it'))
    of = {"maximum": functional.max, "minimum": functional.min, "mean": functional.mean}[mode]
    return of(x, axis=k, keepdims=True)


def _ramp(x: Tensor, k: int, n: int, end: Any, at_end: bool) -> Tensor:
    """From `end`, at the edge of the result, towards the last element of x."""
    if x.dtype not in FLOATING:
        raise NotImplementedError(at_user_line(
            f'pad: tracegrad has no mode="linear_ramp" for {type_of(x)} yet; cast it'))
    places = dispatch("iota", shape=(n,), axis=0, dtype=name_of(x.dtype))
    share = reshape(places, (n, *(1,) * (x.ndim - k - 1))) * (1 / n if n else 0.0)
    edge = _ends(x, k, 1, 1)[at_end]
    ramp = (edge - end) * share + end
    return flip(ramp, axis=k) if at_end else ramp


def _wrapped(x: Tensor, k: int, n: int, at_end: bool) -> Tensor:
    """n elements that follow x, or go before it, where it is repeated."""
    size = x.shape[k]
    times, rest = divmod(n, size)
    piece = part(x, k, 0, rest) if at_end else part(x, k, size - rest, size)
    return concat([x] * times + [piece] if at_end else [piece] + [x] * times, axis=k)


def _mirrored(x: Tensor, k: int, n: int, mode: str, kind: str, at_end: bool) -> Tensor:
    """n elements that follow x, or go before it, where it is reflected again and again."""
    pieces = list(_reflections(x, k, n, 1 if mode == "reflect" else 0, kind, at_end))
    return concat(pieces if at_end else pieces[::-1], axis=k)


def _reflections(x: Tensor, k: int, n: int, skipped: int, kind: str, at_end: bool) -> Iterator[Tensor]:
    """Stretches of the reflections, the nearest to x first; the edge itself, if skipped, does not come again."""
    size = x.shape[k]
    if kind not in ("even", "odd"):
        raise ValueError(at_user_line(f'pad: reflect_type is "even" or "odd", not {kind!r}'))
    if size == 1 and skipped:                               # nothing but the edge
        yield _repeated(x, k, n)
        return
    last = x                                                # in the order in which it stands there
    while True:
        edge = _ends(last, k, 1, 1)[at_end]
        length = min(n, size - skipped)
        there = size - skipped - length if at_end else skipped
        turned = flip(part(last, k, there, there + length), axis=k)
        yield edge * 2 - turned if kind == "odd" else turned
        n -= length
        if n == 0:
            return
        whole = flip(last, axis=k)
        last = edge * 2 - whole if kind == "odd" else whole


# ---- PyTorch's ----------------------------------------------------------------------------------------------------


def pad_last(x: Operand, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """PyTorch's nn.functional.pad: `pad` is (before, after) of the last axis, then of the last but one, and so on.

    `mode`: "constant" (`value`, 0 unless given; widths below 0 cut off), "reflect" (without the edge, by less than the
    size), "replicate" or "circular" (by no more than the size).

        >>> tg.nn.functional.pad(tg.tensor([[1.0, 2.0, 3.0]]), (1, -1))
        tensor([[0., 1., 2.]])
    """
    x, ends = tensor_operand("pad", x), [index(n) for n in pad]
    count = len(ends) // 2
    if len(ends) % 2 or count > x.ndim:
        raise ValueError(at_user_line(f"pad: {ends} are not pairs for the last axes of {type_of(x)}"))
    if mode == "constant":
        return _cut_and_filled(x, ends, 0.0 if value is None else value)
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode not in names or value is not None:
        raise ValueError(at_user_line(
            f'pad: mode {mode!r} with value {value}: there are "constant" with a value and {", ".join(names)} without'))
    widths = [(0, 0)] * (x.ndim - count) + [(a, b) for a, b in zip(ends[::2], ends[1::2])][::-1]
    for size, two in zip(x.shape, widths):
        most = {"reflect": size - 1, "circular": size}.get(mode, max(two))
        if min(two) < 0 or max(two) > most and any(two):
            raise ValueError(at_user_line(f"pad: an axis of {size} is not padded by {two} in mode {mode!r}"))
    return _pad(x, widths, names[mode])


def _cut_and_filled(x: Tensor, ends: list[int], value: float) -> Tensor:
    n = x.ndim
    low, high = [0] * n, [0] * n
    for k, (a, b) in enumerate(zip(ends[::2], ends[1::2])):
        low[n - 1 - k], high[n - 1 - k] = a, b
    start = tuple(max(0, -a) for a in low)
    stop = tuple(size - max(0, -b) for size, b in zip(x.shape, high))
    if any(b < a for a, b in zip(start, stop)):
        raise ValueError(at_user_line(f"pad: {ends} cut more off than {type_of(x)} has"))
    if any(start) or stop != x.shape:
        x = dispatch("slice", x, start=start, stop=stop, step=(1,) * n)
    return filled(x, tuple(max(0, a) for a in low), tuple(max(0, b) for b in high), value)
