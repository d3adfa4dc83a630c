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

from benchmarks.gpu.kernel_times import KernelClock, launches_of, timed
from benchmarks.gpu.timing import EventClock, failed, relative_error
from benchmarks.rounds import Row

SHAPES = ((1 << 25,), (1 << 15, 1024), (1 << 13, 4096))
"""Of the chain, then of rows: 128 MiB of float32 each."""

LEAST_SHARE = 0.85

MOST_COMPARED = 1 << 20


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
    bandwidth = 0.0
    for contender, work in {"CUDA": lambda: x.clone(), "tracegrad": tg.trace(copy)}.items():
        try:
            copied = clock.seconds(work, budget)
        except Exception as failure:  # noqa: BLE001 - the other is a measure, too
            yield failed("copy", contender, failure)
            continue
        found = 2 * x.nbytes / statistics.median(copied)
        bandwidth = max(bandwidth, found)
        yield Row("copy", contender, copied, share=f"{found / 1e9:.0f} GB/s")
    yield from _rows("elementwise chain", chain, (x,), 2 * x.nbytes, bandwidth, clock, budget)
    for shape in rows:
        x, g = (tg.randn(shape, device="cuda") for _ in range(2))
        columns = shape[-1]
        yield from _rows(f"softmax, {columns} columns", softmax, (x,), 2 * x.nbytes, bandwidth, clock, budget)
        scale, shift = tg.rand(columns, device="cuda") + 0.5, tg.randn(columns, device="cuda")
        operands = (x.requires_grad_(), g, scale.requires_grad_(), shift.requires_grad_())
        yield from _rows(f"layer norm and its backward, {columns} columns", layer_norm, operands, 4 * x.nbytes,
                         bandwidth, clock, budget)


def _rows(case: str, function: Callable[..., Any], operands: tuple[Any, ...], moved: int, bandwidth: float,
          clock: EventClock, budget: float) -> Iterator[Row]:
    """The function; where it falls short each of its kernels, too."""
    import tracegrad as tg
    try:
        traced = tg.trace(function, strict=True)
        found, expected = _values(traced(*operands)), _values(function(*operands))
        error = max(relative_error(a, e) for a, e in zip(found, expected))
        for _ in range(2):
            traced(*operands)
        error = max(error, *(relative_error(a, e) for a, e in zip(_values(traced(*operands)), expected)))
        seconds = clock.seconds(lambda: traced(*operands), budget)
    except Exception as failure:  # noqa: BLE001 - the next may do
        yield failed(case, "tracegrad", failure)
        return
    share = moved / statistics.median(seconds) / bandwidth
    yield Row(case, "tracegrad", seconds, difference=error, agrees=error <= 1e-5,
              share=f"{share:.0%} of the copy" + ("" if share >= LEAST_SHARE else f", below {LEAST_SHARE:.0%}"))
    if share < LEAST_SHARE:
        try:
            own = KernelClock(clock)
            for report in launches_of(function, operands):
                yield from timed(case, report, own, bandwidth, budget / 10)
        except Exception as failure:  # noqa: BLE001 - the next may do
            yield failed(f"{case}, by kernels", "tracegrad", failure)


def _values(result: Any) -> list[Any]:
    """Some of the elements of each result."""
    found = []
    for t in result if isinstance(result, tuple) else (result,):
        line = t.detach().reshape(-1)
        found.append(line[::max(1, line.size // MOST_COMPARED)].cpu().numpy())
    return found
