"""target: the CPU as a Target: Tree -> ProgramPlan -> native code -> Executable.

A program is scheduled once for a machine with a disk cache: it is known by what was recorded. What has to be scheduled,
emitted and compiled is done by `build`, which brings all of that along.
"""
from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from codegen.cache import Cache, DiskCache, content_key, default_cache
from codegen.executable import Aliases, Executable, Measured
from codegen.ir.text import content_of
from codegen.llvm_cpu.blas import OWN, Blas
from codegen.llvm_cpu.blas_panels import FORMS, LLVM_TYPES, multiplier
from codegen.llvm_cpu.drafts import follow_drafts
from codegen.llvm_cpu.executables import executable, kept_function, product_key, require_memory
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.identity import machine_identity
from codegen.llvm_cpu.kept_programs import KERNEL, PRODUCT, SYMBOL, Function, find
from codegen.llvm_cpu.link import versions
from codegen.llvm_cpu.listings import LISTINGS
from codegen.llvm_cpu.loading import Loading
from codegen.llvm_cpu.objects import object_layout
from codegen.llvm_cpu.pool import SYSTEM_CALLS
from codegen.llvm_cpu.runtime import begin_runtime, runtime
from codegen.llvm_cpu.threads import THREADS
from codegen.llvm_cpu.tile_registers import are_permitted, multiplies_halves
from codegen.schedule.plan import ProgramPlan
from codegen.source import Source


def compile_source(source: Source, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    """An executable for `source` on this machine; CannotLower, with a sentence, for what this target does not do.

    A program that the disk has is taken as it is there: nothing is optimized, scheduled or compiled.
    """
    binding = source.binding
    sized = bool(binding.numbers)
    blas, halves = multiplier(host_features()), multiplies_halves(source.tree)
    key = content_key(
        "program", machine_identity(), blas.kind, blas.name, str((blas.above, blas.limits)), str(halves),
        str(THREADS.get()), content_of(source.tree),
        repr((aliases, source.fast_math, sorted(binding.numbers.items()), binding.constants, source.memory_budget)))
    made = None if cache.disk is None else _from_disk(key, cache.disk, cache, source, aliases)
    if made is None:
        with cache.lock:
            begin_runtime()
            products = _begun(source, cache) if cache.compiles else {}
        from codegen.llvm_cpu.build import build

        plan = _plan(source, aliases)
        if sized:
            require_memory(plan.arena_bytes, source.memory_budget)
        made = build(plan, cache, name=source.tree.name, key=key, begun=products)
    return replace(made, shares_kernels=sized, resized=_resizing(source, aliases, cache) if sized else None)


def _begun(source: Source, cache: Cache) -> Mapping[str, Loading]:
    """The functions of our own that products of the source call, which threads compile from now on."""
    if not any(node.op == "matmul" for block in source.tree.blocks for node in block.nodes):
        return {}
    from codegen.llvm_cpu.products import begun

    return begun(source.tree, cache)


def _resizing(source: Source, aliases: tuple[Aliases, ...], cache: Cache) -> Callable[[Mapping[str, int]], Executable]:
    """What makes the executable at other numbers, planned when it is first asked."""
    made: list[Any] = []

    def at(numbers: Mapping[str, int]) -> Executable:
        if not made:
            from codegen.llvm_cpu.resizing import Resizing

            made.append(Resizing(source, aliases, cache))
        return made[0].at(numbers)
    return at


def _plan(source: Source, aliases: tuple[Aliases, ...]) -> ProgramPlan:
    from codegen.llvm_cpu.build import plan_of

    return plan_of(source, aliases)


def _from_disk(key: str, disk: DiskCache, cache: Cache, source: Source, aliases: tuple[Aliases, ...]
               ) -> Executable | None:
    """The executable of a program that was kept, if all that it calls was; its plan is made for people who ask."""
    start = perf_counter()
    kept = find(disk, key)
    if kept is None:
        return None
    addresses: dict[Function, int] = {}
    with cache.lock:
        for kind, what in kept.functions:
            if kind == SYMBOL:
                address = runtime().symbols.get(what)
            else:
                address = kept_function(product_key(what) if kind == PRODUCT else what, cache, disk)
            if address is None:
                return None
            addresses[kind, what] = address
    measured = Measured(source.tree.name, lambda: _plan(source, aliases), LISTINGS)
    reused = [False for kind, _ in kept.functions if kind != SYMBOL]
    encoding = kept.encoding_at(addresses)
    keys = {address: what if kind == KERNEL else product_key(what)
            for (kind, what), address in addresses.items() if kind != SYMBOL}
    follow_drafts(encoding, keys, cache)
    return executable(kept.inputs, kept.slots, kept.ends, kept.arena_bytes, encoding, measured, reused, start)


_TOLD = ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512bf16", "avx512fp16",
         "amx-bf16", "neon", "fullfp16", "bf16", "sve")
"""Features of a processor that make a difference for arrays, by LLVM's names."""


def describe_host() -> dict[str, str]:
    """What this process compiles for and with, by name, for people to read."""
    host, blas, layout = host_features(), multiplier(host_features()), object_layout()
    enabled = {flag[1:] for flag in host.flags.split(",") if flag.startswith("+")}
    pool = platform.system() == "Linux" and platform.machine() in SYSTEM_CALLS
    return {
        "processor": f"{host.cpu}, vectors of {host.vector_bytes} bytes{', fused multiply-add' if host.fma else ''}",
        "features": ", ".join(feature for feature in _TOLD if feature in enabled),
        "compiler": versions(),
        "matmul": f"{_who_multiplies(blas)}{', one thread per panel' if blas.set_threads else ''}"
                  f"{'; bf16 in tile registers' if host.tiles and are_permitted() else ''}",
        "threads": f"{THREADS.get()}, {'in a pool of our own' if pool else 'but one works: there are no futexes here'}",
        "entry": "native: objects are read and made by compiled code" if layout else
        "in Python, pointers through a table: objects are not laid out as expected",
        "profiles": "each kernel by itself" if hasattr(time, "CLOCK_MONOTONIC") else "no kernel: there is no clock",
        "cache": default_cache().describe(),
    }


def _who_multiplies(blas: Blas) -> str:
    if blas.kind == "own":
        return blas.name
    begin = [blas.begins(dtype, form) for dtype in LLVM_TYPES for form in FORMS]
    if min(begin) == max(begin):
        return f"{OWN.name}; from {min(begin):.1e} multiply-adds on {blas.name}" if max(begin) else blas.name
    return f"{OWN.name}; from {min(begin):.1e} multiply-adds on, and not of each dtype and form, {blas.name}"
