"""sweep: what tilings and tiles take on this card: the numbers that tiling.py and product_tiles.py are to be set by.

Of each kernel the first row is what is chosen now, and ratios are to that: below 1 is faster. `python -m benchmarks.gpu
--sweep`. Sizes go around, so that what there was time for tells of all kernels.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from benchmarks.gpu import bandwidth
from benchmarks.gpu.kernel_times import KernelClock, candidates, launches_of, timed
from benchmarks.gpu.timing import EventClock, failed
from benchmarks.rounds import Row
from codegen.schedule.plan import Attention, Matmul
from codegen.triton_gpu.attention import attention_launch
from codegen.triton_gpu.attention_tiles import attention_tile
from codegen.triton_gpu.product_tiles import SHARED_BYTES, ProductTile, tile_of
from codegen.triton_gpu.product_tiles import tiles as known_tiles
from codegen.triton_gpu.products import product_launch
from codegen.triton_gpu.tiling import tiling_of


class Case(NamedTuple):
    """A function of tensors of these shapes, of this dtype."""

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"


def column_sums(x: Any) -> Any:
    return x.sum(0)


def transposed(x: Any) -> Any:
    return x + x.T


def cross_entropy(x: Any) -> Any:
    import tracegrad as tg
    y = tg.log_softmax(x, axis=-1)
    return y[:, 0].sum(), y


def adam(w: Any, g: Any, m: Any, v: Any) -> Any:
    m, v = m * 0.9 + g * 0.1, v * 0.999 + g * g * 0.001
    return w - 1e-3 * m / (v.sqrt() + 1e-8), m, v


def softmax_again(x: Any, g: Any) -> Any:
    import tracegrad as tg
    y = tg.softmax(x, axis=-1)
    return y * (g - (g * y).sum(-1, keepdims=True))


def cases() -> list[Case]:
    """The kernels that most of a training step's memory moves through, small and large."""
    rows = ((1 << 16, 256), (1 << 14, 1024), (1 << 12, 4096), (1 << 10, 16384), (1 << 9, 50304))
    found = []
    for dtype in ("float32", "bfloat16"):
        for n in (1 << 16, 1 << 20, 1 << 25):
            found.append(Case(f"elementwise chain, {n}", bandwidth.chain, ((n,),), dtype))
        for shape in rows:
            found.append(Case(f"softmax, {shape}", bandwidth.softmax, (shape,), dtype))
            found.append(Case(f"softmax backward, {shape}", softmax_again, (shape, shape), dtype))
        for shape in rows[:3]:
            found.append(Case(f"column sums, {shape}", column_sums, (shape,), dtype))
        found.append(Case("x + x.T, 4096", transposed, ((4096, 4096),), dtype))
        found.append(Case("cross entropy, (2048, 50304)", cross_entropy, ((2048, 50304),), dtype))
    found.append(Case("Adam, 2**24", adam, ((1 << 24,),) * 4))
    return found


def tilings(seconds: float = 200.0, chosen: list[Case] | None = None, budget: float = 0.02,
            clock: EventClock | None = None, most: int | None = None) -> Iterator[Row]:
    """Candidate tilings of each kernel of each case."""
    import tracegrad as tg
    end = time.monotonic() + seconds
    events = clock or EventClock()
    own = KernelClock(events)
    for case in cases() if chosen is None else chosen:
        if time.monotonic() > end:
            return
        try:
            operands = [tg.rand(shape, device="cuda").to(case.dtype) for shape in case.shapes]
            reports = launches_of(case.function, operands)
            copied = events.seconds(lambda x=operands[0]: x.clone(), budget, 5)     # type: ignore[misc]
            speed = 2 * operands[0].nbytes / statistics.median(copied)
            for number, report in enumerate(reports):
                found = candidates(tiling_of(report.step.kernel))[:most]
                yield from timed(f"{case.name} {case.dtype}, kernel {number}", report, own, speed, budget, found)
        except Exception as error:  # noqa: BLE001 - the next case may do
            yield failed(f"{case.name} {case.dtype}", "tracegrad", error)


class Product(NamedTuple):
    m: int
    n: int
    k: int
    dtype: str
    precision: str = "ieee"
    transpose_a: bool = False
    transpose_b: bool = False


def products() -> list[Product]:
    """Those of MLPs and transformers, and square ones; the form of a layer's forward is a @ b.T."""
    shapes = ((1024, 4096, 1024), (4096, 4096, 4096), (4096, 768, 768), (4096, 2304, 768), (4096, 3072, 768),
              (4096, 768, 3072), (2048, 50304, 768), (512, 512, 512), (64, 4096, 4096))
    kinds = (("bf16", "ieee"), ("f32", "tf32"), ("f32", "ieee"), ("f16", "ieee"))
    return [Product(*shape, *kind, transpose_b=True) for kind in kinds for shape in shapes]


def tile_candidates(product: Product, capability: tuple[int, int]) -> list[ProductTile]:
    """The tile that is chosen, those of the table, and each with other warps, stages and depths that fit."""
    sizes = 1, product.m, product.n, product.k
    chosen = tile_of(product.dtype, sizes, product.precision, capability)
    found = {chosen: None}
    width = {"f64": 8, "f32": 4}.get(product.dtype, 2)
    shared = max(size for least, size in SHARED_BYTES.items() if capability >= least)
    for tile in known_tiles(product.dtype, product.precision, capability):
        if tile.m > 2 * product.m or tile.n > 2 * product.n or tile.m * tile.n < 32 * 32:
            continue
        for warps in {tile.warps, 4, 8}:
            for stages in {tile.stages, 2, 3, 4, 5}:
                for k in {tile.k, 32, 64, 128} if width == 2 else {tile.k, 16, 32}:
                    fits = stages * k * (tile.m + tile.n) * width <= shared
                    if fits and 8 <= tile.m * tile.n / (32 * warps) <= 256:
                        found[ProductTile(tile.m, tile.n, k, warps, stages)] = None
    near = sorted(found, key=lambda t: (t != chosen, (t.m, t.n) != (chosen.m, chosen.n), -t.m * t.n))
    return near


def tiles(seconds: float = 220.0, chosen: list[Product] | None = None, budget: float = 0.02,
          clock: EventClock | None = None, most: int = 40) -> Iterator[Row]:
    """Candidate tiles of each product, beside cuBLAS as CuPy calls it."""
    end = time.monotonic() + seconds
    own = KernelClock(clock or EventClock())
    for product in products() if chosen is None else chosen:
        case = (f"{product.m}x{product.k} @ {product.k}x{product.n} {product.dtype} {product.precision}"
                f"{' a.T' * product.transpose_a}{' b.T' * product.transpose_b}")
        if time.monotonic() > end:
            return
        try:
            yield from _tiles_of(case, product, own, budget, most)
        except Exception as error:  # noqa: BLE001 - the next product may do
            yield failed(case, "tracegrad", error)


def _tiles_of(case: str, product: Product, own: KernelClock, budget: float, most: int) -> Iterator[Row]:
    m, n, k = product.m, product.n, product.k
    step = Matmul(0, 1, 2, product.dtype, 1, m, n, k, product.transpose_a, product.transpose_b)
    made = {tile: product_launch(step, own.capability, product.precision, tile=tile)
            for tile in tile_candidates(product, own.capability)[:most]}
    own.prepare(launch.spec for launch in made.values())
    arrays = [own.memory(product.dtype, size) for size in (m * k, k * n, m * n)]
    a, b = arrays[0].reshape((k, m) if product.transpose_a else (m, k)), arrays[1].reshape(
        (n, k) if product.transpose_b else (k, n))
    left, right = a.T if product.transpose_a else a, b.T if product.transpose_b else b
    first: list[float] = []
    for tile, launch in made.items():
        name = f"{tile.m} x {tile.n}, k {tile.k}, {tile.warps} warps, {tile.stages} stages"
        try:
            seconds = own.seconds(own.bound(launch.spec, [arrays[x] for x in launch.buffers]), budget)
        except Exception as error:  # noqa: BLE001 - too large for this card, say
            yield failed(case, name, error)
            continue
        first = first or seconds
        yield _row(case, name, seconds, first, 2 * m * n * k)
    library = own.seconds(lambda: left @ right, budget)
    yield _row(case, "an eager product, by CuPy", library, first or library, 2 * m * n * k)


def _row(case: str, name: str, seconds: list[float], first: list[float], flops: int) -> Row:
    median = statistics.median(seconds)
    return Row(case, name, seconds, None if seconds is first else median / statistics.median(first),
               share=f"{flops / median / 1e12:.1f} TFLOP/s")


ATTENTIONS = (4, 12, 1024, 64), (2, 16, 2048, 128)


def attentions(seconds: float = 60.0, shapes: tuple[tuple[int, int, int, int], ...] = ATTENTIONS,
               budget: float = 0.02, clock: EventClock | None = None, most: int | None = None) -> Iterator[Row]:
    """Candidate tiles of causal attention: batch, heads, length and width."""
    import tracegrad as tg
    end = time.monotonic() + seconds
    own = KernelClock(clock or EventClock())
    for dtype in ("bfloat16", "float32"):
        for shape in shapes:
            case = f"attention, {shape} {dtype}"
            if time.monotonic() > end:
                return
            try:
                q, k, v = (tg.randn(shape, device="cuda").to(dtype) for _ in range(3))
                attention = partial(tg.nn.functional.scaled_dot_product_attention, is_causal=True)
                (report,) = launches_of(lambda q, k, v: attention(q, k, v), (q, k, v), Attention)   # noqa: B023
                yield from _attentions_of(case, report.step, q.size, own, budget, most)
            except Exception as error:  # noqa: BLE001 - the next may do
                yield failed(case, "tracegrad", error)


def _attentions_of(case: str, step: Attention, size: int, own: KernelClock, budget: float, most: int | None
                   ) -> Iterator[Row]:
    product = step.scores.product
    batch, m, n, k = product.sizes
    sizes = batch, m, n, k, step.result.product.sizes[2]
    chosen = attention_tile(product.dtype, sizes, "ieee", own.capability)
    found = {chosen: None} | {
        replace(chosen, m=rows, n=scores, warps=warps, stages=stages): None for rows in (64, 128, 32)
        for scores in (64, 128, 32) for warps in (4, 8) for stages in (2, 3, 4, 1)}
    made = {tile: attention_launch(step, own.capability, tile=tile) for tile in [*found][:most]}
    own.prepare(launch.spec for launch in made.values())
    arrays = [own.memory(product.dtype, size) for _ in next(iter(made.values())).buffers]
    first: list[float] = []
    for tile, launch in made.items():
        name = f"{tile.m} rows, {tile.n} scores, k {tile.k}, {tile.warps} warps, {tile.stages} stages"
        try:
            seconds = own.seconds(own.bound(launch.spec, arrays), budget)
        except Exception as error:  # noqa: BLE001 - too large for this card, say
            yield failed(case, name, error)
            continue
        first = first or seconds
        yield _row(case, name, seconds, first, 2 * batch * m * n * k)
