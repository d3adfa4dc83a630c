"""ceilings: how fast this machine moves bytes and does floating-point operations, as far as our own code gets.

    machine_ceilings().share(bytes_moved, bytes_written, flops, dtype, seconds)   ->   (0.87, "of 21.4 GB/s")

Measured when it is first asked for, in some tenths of a second, and kept in the cache. Nothing else in the process
should run meanwhile, nor much on the machine.

1. Bandwidth counts bytes read and bytes written once each, as reports of steps do. It is that of a working set of about
   the size in question: of a cache, where it fits.
2. The peak is that of multiply-adds in registers: no memory, no dependence.
3. What this machine can do is the best that was seen, so a share tells how far work is from it, not how busy it was.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from math import log
from time import perf_counter, sleep

import numpy as np

from codegen.cache import content_key, default_cache
from codegen.compiler import compile_program
from codegen.executable import Executable
from codegen.ir.dims import number_of
from codegen.ir.structs import struct
from codegen.ir.text import parse
from codegen.ir.types import DTYPES
from codegen.llvm_cpu.threads import THREADS

WORKING_SETS, OUTSIDE = (1 << 18, 1 << 22, 64 << 20, 128 << 20), 64 << 20
"""Bytes that fit a core's own cache, one that cores share, and from `OUTSIDE` on none of a few megabytes. Of 64 MB in
three arrays a cache of 32 MB keeps so much that they were combined at 78 to 90 GB/s, of 128 MB at 47, of 256 at 50; one
of 480 MB, shared with other machines, reads 64 MB at 57 GB/s and 128 MB at 31. So there are both."""

READ_ONLY = 0.1
"""What writes less than this part of its bytes is compared with what only reads."""

PASSES, PAUSE, SECONDS, LEAST = 4, 0.02, 0.003, 6
"""How often each kernel has its turn, seconds between and in these, runs in one at least; the fastest run counts. The
first finds in the caches what other kernels left there: of two runs 41 GB/s were the best, of six or more 57."""

READS = "graph read(%0: f32[{n}]) {{\n %1 = sum %0 axis=[0] keepdims=false : f32[]\n return %1\n}}"
COPIES = "graph copy(%0: f32[{n}]) {{\n %1 = neg %0 : f32[{n}]\n return %1\n}}"
COMBINES = ("graph triad(%0: f32[{n}], %1: f32[{n}]) {{\n %2 = constant value=3.0 dtype=f32 : f32[]\n"
            " %3 = mul %1, %2 : f32[{n}]\n %4 = add %0, %3 : f32[{n}]\n return %4\n}}")
"""Each with the arrays that it reads or writes below."""

ARRAYS = {READS: 1, COPIES: 2, COMBINES: 3}


@struct
class Ceilings:
    """For so many `threads`. Bytes a second, by the bytes of a working set, that are read and that are copied or
    combined; floating-point operations a second, by dtype."""

    threads: int
    read: Mapping[int, float]
    moved: Mapping[int, float]
    peak: Mapping[str, float]

    def bandwidth(self, bytes_moved: int, bytes_written: int) -> float:
        """Bytes a second for work that moves so many, so many of them by writing."""
        measured = self.read if bytes_written < READ_ONLY * bytes_moved else self.moved
        return measured[min(measured, key=lambda size: abs(log(size / max(1, bytes_moved))))]

    def share(self, bytes_moved: int, bytes_written: int, flops: int, dtype: str, seconds: float) -> tuple[float, str]:
        """How near work that took so long comes to the ceiling that is the nearer, and to which."""
        bandwidth = self.bandwidth(bytes_moved, bytes_written)
        peak = self.peak.get(dtype, self.peak["f32"])
        of_bandwidth, of_peak = bytes_moved / seconds / bandwidth, flops / seconds / peak
        if of_peak > of_bandwidth:
            return of_peak, f"of {peak / 1e9:.3g} Gflop/s"
        return of_bandwidth, f"of {bandwidth / 1e9:.3g} GB/s"

    def __str__(self) -> str:
        sizes = ", ".join(f"{speed / 1e9:.0f} GB/s in {_size(size)}" for size, speed in self.moved.items())
        peaks = ", ".join(f"{speed / 1e9:.0f} Gflop/s of {dtype}" for dtype, speed in self.peak.items())
        return f"{sizes}; {peaks}"


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count >> 10} kB"


def machine_ceilings(threads: int | None = None, again: bool = False) -> Ceilings:
    """Those for so many threads, or as many as compiled code uses now. `again`: measured anew, whatever is known."""
    count = threads or THREADS.get()
    if again:
        _known.cache_clear()
        if disk := default_cache().disk:
            disk.discard(_key(count))
    return _known(count)


@cache
def _known(threads: int) -> Ceilings:
    disk = default_cache().disk
    data = disk.get(_key(threads)) if disk else None
    if data is None:
        measured = _measured(threads)
        if disk:
            import json  # which importing tracegrad need not wait for

            disk.put(_key(threads), json.dumps(asdict(measured)).encode())
        return measured
    import json

    kept = json.loads(data)
    read, moved = ({int(size): speed for size, speed in kept[name].items()} for name in ("read", "moved"))
    return Ceilings(threads, read, moved, kept["peak"])


def _key(threads: int) -> str:
    from codegen.llvm_cpu.identity import machine_identity

    return content_key("ceilings", machine_identity(), str(threads))


def _measured(threads: int) -> Ceilings:
    before = THREADS.get()
    THREADS.set(threads)
    try:
        return _measured_now(threads)
    finally:
        THREADS.set(before)


def _measured_now(threads: int) -> Ceilings:
    """The best of some passes: other programs disturb one or the other, and threads that the system has put on one
    processor part again when they have slept."""
    from codegen.llvm_cpu.features import host_features
    from codegen.llvm_cpu.peak import OF_TILES, peak_run, tiles_run
    from codegen.llvm_cpu.tile_registers import are_permitted

    works = {(text, size): _on_arrays(text, size) for text in ARRAYS for size in WORKING_SETS}
    peaks = {dtype: peak_run(dtype) for dtype in ("f32", "f64")}
    if host_features().tiles and are_permitted():
        peaks[OF_TILES] = tiles_run()
    seconds: dict[tuple[str, int], float] = dict.fromkeys(works, float("inf"))
    speeds = dict.fromkeys(peaks, 0.0)
    for _ in range(PASSES):
        sleep(PAUSE)
        for key, work in works.items():
            seconds[key] = min(seconds[key], _seconds(*work))
        for dtype, (run, flops) in peaks.items():
            speeds[dtype] = max(speeds[dtype], flops / _seconds(run, _arrays(run)))
    moved = {size: size / min(seconds[COPIES, size], seconds[COMBINES, size]) for size in WORKING_SETS}
    sums = {size: size / seconds[READS, size] for size in WORKING_SETS}
    read = {size: sums[size] if size >= OUTSIDE else max(moved[size], sums[size])       # in a cache a sum is slower
            for size in WORKING_SETS}
    return Ceilings(threads, read, moved, speeds)


def _on_arrays(text: str, working_set: int) -> tuple[Executable, tuple[np.ndarray, ...]]:
    executable = compile_program(parse(text.format(n=working_set // 4 // ARRAYS[text])))
    return executable, _arrays(executable)


def _arrays(executable: Executable) -> tuple[np.ndarray, ...]:
    """Inputs and storage for outputs, touched."""
    return tuple(np.ones(tuple(map(number_of, type.shape)), DTYPES[type.dtype])
                 for type in (*executable.inputs, *executable.slots))


def _seconds(executable: Executable, arrays: tuple[np.ndarray, ...]) -> float:
    """The shortest run."""
    best, until, times = float("inf"), perf_counter() + SECONDS, 0
    while times < LEAST or perf_counter() < until:
        start = perf_counter()
        executable.run(arrays)
        best, times = min(best, perf_counter() - start), times + 1
    return best
