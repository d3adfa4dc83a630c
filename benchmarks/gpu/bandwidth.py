"""bandwidth: kernels that do little but move memory, as a share of what a copy on the same card moves.

    a copy of x                    reads x, writes as much          2 x bytes
    a chain of elementwise ops     as much                          2
    softmax of rows                as much, in one pass             2
    layer norm and its backward    reads x and g, writes y and dx   4
"""
from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.gpu.timing import EventClock, relative_error
from benchmarks.rounds import Row

SHAPES = ((1 << 25,), (1 << 15, 1024), (1 << 13, 4096))
"""Of the chain, then of rows: 128 MiB of float32 each."""

LEAST_SHARE = 0.85


def chain(x: Any) -> Any:
    import tracegrad as tg
    return tg.tanh(x * 1.5 + 0.25) * tg.exp(-x * x)


def softmax(x: Any) -> Any:
    import tracegrad as tg
    return tg.softmax(x, axis=-1)


def layer_norm(x: Any, g: Any, scale: Any, shift: Any) -> Any:
    import tracegrad as tg
    y = tg.nn.functional.layer_norm(x, scale.shape, scale, shift)
    return y.detach(), *tg.autograd.grad(y, (x, scale, shift), g)


def measure(shapes: tuple[tuple[int, ...], ...] = SHAPES, budget: float = 1.5, flushed: int | None = None
            ) -> Iterator[Row]:
    """The copy, and the kernels as a share of it."""
    import tracegrad as tg
    clock = EventClock() if flushed is None else EventClock(flushed)
    line, *rows = shapes
    x = tg.randn(line, device="cuda")
    target = tg.zeros(line, device="cuda")

    def copy() -> None:
        with tg.no_grad():
            target.copy_(x)
    copied = clock.seconds(tg.trace(copy), budget)
    bandwidth = 2 * x.nbytes / statistics.median(copied)
    yield Row("copy", "tracegrad", copied, share=f"{bandwidth / 1e9:.0f} GB/s")
    yield _row("elementwise chain", chain, (x,), 2 * x.nbytes, bandwidth, clock, budget)
    for shape in rows:
        x, g = (tg.randn(shape, device="cuda") for _ in range(2))
        columns = shape[-1]
        yield _row(f"softmax, {columns} columns", softmax, (x,), 2 * x.nbytes, bandwidth, clock, budget)
        scale, shift = tg.rand(columns, device="cuda") + 0.5, tg.randn(columns, device="cuda")
        operands = (x.requires_grad_(), g, scale.requires_grad_(), shift.requires_grad_())
        yield _row(f"layer norm and its backward, {columns} columns", layer_norm, operands, 4 * x.nbytes, bandwidth,
                   clock, budget)


def _row(case: str, function: Callable[..., Any], operands: tuple[Any, ...], moved: int, bandwidth: float,
         clock: EventClock, budget: float) -> Row:
    import tracegrad as tg
    traced = tg.trace(function, strict=True)
    found, expected = _values(traced(*operands)), _values(function(*operands))
    error = max(relative_error(a, e) for a, e in zip(found, expected))
    seconds = clock.seconds(lambda: traced(*operands), budget)
    share = moved / statistics.median(seconds) / bandwidth
    return Row(case, "tracegrad", seconds, difference=error, agrees=error <= 1e-5,
               share=f"{share:.0%} of the copy" + ("" if share >= LEAST_SHARE else f", below {LEAST_SHARE:.0%}"))


def _values(result: Any) -> list[Any]:
    return [t.detach().cpu().numpy() for t in (result if isinstance(result, tuple) else (result,))]
