"""kernel_times: kernels of traced functions by themselves, as they are tiled and as they could be.

    softmax, 1024 columns      maximum_sub_exp_kernel: x 1, r 1024 whole, 4 warps      2890 GB/s, 97% of the copy

Each is run on memory of its own, in which nothing it reads is in a cache; a tiling that does not compile is a row.
"""
from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from benchmarks.gpu.timing import EventClock, failed, the_device
from benchmarks.rounds import Row
from codegen.ir.dims import number_of
from codegen.schedule.plan import Launch
from codegen.schedule.sizes import kernel_at
from codegen.triton_gpu.emit import emit_kernel
from codegen.triton_gpu.spec import KernelSpec
from codegen.triton_gpu.tile import Span
from codegen.triton_gpu.tiling import Tiling, tiling_of

LEAST_POINTS, MOST_POINTS = 64, 1 << 15
"""Of what a program computes at once."""

LEAST_OF_THREAD, MOST_OF_THREAD = 1, 64
"""How many of these points a thread has."""


def launches_of(function: Callable[..., Any], operands: Sequence[Any], kind: type = Launch) -> list[Any]:
    """The reports of the steps of a kind, by default kernels that are no products, that a function is compiled to."""
    import tracegrad as tg
    traced = tg.trace(function, strict=True)
    for _ in range(2):
        traced(*operands)
    return [report for report in traced.explain().kernels if isinstance(report.step, kind)]


class KernelClock:
    """Runs kernels on memory that it makes for them; `clock` times them, if they are to be."""

    def __init__(self, clock: EventClock | None = None):
        self._clock, self._device = clock, the_device()
        self._flag: Any = None

    @property
    def capability(self) -> tuple[int, int]:
        """What kernels are written for."""
        return self._device.capability

    def prepare(self, specs: Iterable[KernelSpec]) -> None:
        """Have them compiled, beside each other; what does not compile fails when it is bound."""
        from codegen.cache import default_cache
        with suppress(Exception):               # of one of them: the others are compiled when they are bound
            self._device.prepare(list(dict.fromkeys(specs)), default_cache())

    def memory(self, dtype: str, size: int) -> Any:
        """An array of this dtype on the GPU: floats are drawn, all else is 0, an index that there is."""
        import tracegrad as tg
        from codegen.ir.types import DTYPES
        if DTYPES[dtype].kind == "f" or dtype == "bf16":
            return tg.rand(size, device="cuda").to(DTYPES[dtype])
        return tg.zeros(size, dtype=DTYPES[dtype], device="cuda")

    def bound(self, spec: KernelSpec, arrays: Sequence[Any], words: Sequence[int] = ()) -> Callable[[], object]:
        """What launches it."""
        import tracegrad as tg
        if self._flag is None:
            self._flag = tg.zeros(1, dtype="int32", device="cuda")
        given = self._device.given
        return self._device.launch(spec, [given(t.array) for t in arrays], words, given(self._flag.array))

    def seconds(self, work: Callable[[], object], budget: float, least: int = 5) -> list[float]:
        """Of each of some launches."""
        assert self._clock is not None
        return self._clock.seconds(work, budget, least)


def told(tiling: Tiling) -> str:
    """A tiling in a line: the points of a block, by span, and warps."""
    spans = [*tiling.outer, *dict.fromkeys(span for span in tiling.inner if span is not None)]
    parts = [f"{span.name} {span.block}{' whole' * (span.name in tiling.whole)}" for span in spans]
    return ", ".join([*parts, f"{tiling.warps} warps"])


def points_of(tiling: Tiling) -> int:
    """How many points a program computes at once."""
    points = 1
    for span in tiling.outer:
        points *= span.block
    return points * max((span.block for span in tiling.inner if span is not None), default=1)


def candidates(tiling: Tiling) -> list[Tiling]:
    """The tiling, and those with blocks and warps of some powers of two as many, where that may be of use."""
    found = {tiling: None}
    scales = (1 / 4, 1 / 2, 1, 2, 4)
    if tiling.in_order is not None:
        return [tiling]

    def scaled(span: Span, scale: float) -> Span:
        return replace(span, block=max(1, int(span.block * scale)))
    names = [span.name for span in tiling.outer if span.axes][-1:]
    for outer in scales if names else (1,):
        for inner in scales if any(s is not None and s.name not in tiling.whole for s in tiling.inner) else (1,):
            for warps in scales:
                made = replace(
                    tiling, outer=tuple(scaled(s, outer) if s.name in names else s for s in tiling.outer),
                    inner=tuple(s if s is None or s.name in tiling.whole else scaled(s, inner) for s in tiling.inner),
                    warps=int(tiling.warps * warps))
                if not 1 <= made.warps <= 32 or not LEAST_POINTS <= points_of(made) <= MOST_POINTS:
                    continue
                if LEAST_OF_THREAD <= points_of(made) / (32 * made.warps) <= MOST_OF_THREAD:
                    found[made] = None
    return list(found)


def timed(case: str, report: Any, clock: KernelClock, bandwidth: float, budget: float,
          tilings: Sequence[Tiling] | None = None) -> Iterator[Row]:
    """A row for each tiling of a kernel, in the order given: by default for the one that it has."""
    kernel, moved, words = report.step.kernel, report.bytes_moved, tuple(map(number_of, report.step.words))
    tilings = [tiling_of(kernel)] if tilings is None else tilings
    specs = {tiling: emit_kernel(kernel, tiling=tiling) for tiling in tilings}
    clock.prepare(specs.values())
    arrays = [clock.memory(param.dtype, number_of(param.size)) for param in kernel_at(kernel, words).params]
    first: list[float] = []
    for tiling, spec in specs.items():
        name = f"{spec.name}: {told(tiling)}"
        try:
            seconds = clock.seconds(clock.bound(spec, arrays, words), budget)
        except Exception as error:  # noqa: BLE001 - the next may do
            yield failed(case, name, error)
            continue
        first = first or seconds
        speed = moved / statistics.median(seconds)
        ratio = None if seconds is first else statistics.median(seconds) / statistics.median(first)
        yield Row(case, name, seconds, ratio, share=f"{speed / 1e9:.0f} GB/s, {speed / bandwidth:.0%} of the copy")
