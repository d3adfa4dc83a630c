"""target: the CPU as a Target: Tree -> ProgramPlan -> native code -> Executable.

A kernel is compiled once for a process and, with a disk cache, once for a machine: it is known by its printed text. A
program is scheduled once for a machine with a disk cache: it is known by what was recorded.
"""
from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from codegen.cache import Cache, DiskCache, content_key, default_cache
from codegen.executable import Aliases, Executable, Measured, storage_of_ends
from codegen.ir.text import content_text
from codegen.ir.types import TensorType
from codegen.llvm_cpu import encoding
from codegen.llvm_cpu.blas import OWN, Blas
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.entry import Frames, make_run
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.kept_programs import KERNEL, PRODUCT, SYMBOL, Function, find, keep
from codegen.llvm_cpu.link import HOT, PLAIN, VERSIONS
from codegen.llvm_cpu.listings import LISTINGS
from codegen.llvm_cpu.matmul import FUNCTIONS, multiplier, own_function
from codegen.llvm_cpu.objects import object_layout
from codegen.llvm_cpu.observer import observer
from codegen.llvm_cpu.operations import computes
from codegen.llvm_cpu.runtime import load, load_kept, machine_identity, runtime
from codegen.llvm_cpu.threads import FUTEX_NUMBERS, THREADS
from codegen.schedule.blocks import BoundTree, schedule_tree
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.plan import CannotLower, Launch, Matmul, ProgramPlan
from codegen.source import Source

Emit = Callable[[Kernel, str, Features], str]
"""(kernel, symbol, features) -> LLVM text of a module that defines the symbol."""


def compile_source(source: Source, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    """An executable for `source` on this machine; CannotLower, with a sentence, for what this target does not do.

    A program that the disk has is taken as it is there: nothing is optimized, scheduled or compiled.
    """
    binding = source.binding

    def plan() -> ProgramPlan:
        bound = BoundTree(source.optimized(), binding)
        slots, ends = storage_of_ends(bound.known_inputs, bound.outputs(), aliases)
        return schedule_tree(bound, slots, ends, host_machine())

    with cache.lock:
        blas = runtime().blas
    key = content_key("program", *machine_identity(), blas.kind, blas.name, str(blas.above), content_text(source.tree),
                      repr((aliases, source.fast_math, sorted(binding.numbers.items()), binding.constants)))
    name = source.tree.name
    executable = None if cache.disk is None else _from_disk(key, cache.disk, cache, plan, name)
    return replace(executable or build(plan(), cache, name=name, key=key), shares_kernels=bool(binding.numbers))


def host_machine() -> Machine:
    """What the scheduler plans for."""
    return Machine(vector_bytes=host_features().vector_bytes, computes=computes)


def build(plan: ProgramPlan, cache: Cache, emit: Emit = emit_kernel, name: str = "", key: str = "") -> Executable:
    """An executable that runs `plan`, whose kernels are written by `emit`; `name` is for people. With a `key` the
    program is kept on disk."""
    start = perf_counter()
    steps = plan.steps
    for step in steps:
        if reason := encoding.unsupported(step):
            raise CannotLower(reason)
    kernels = tuple(dict.fromkeys(step.kernel for step in steps if isinstance(step, Launch)))
    with cache.lock:
        base = runtime()
        keys = {kernel: _kernel_key(kernel) for kernel in kernels}
        loaded = {kernel: _load_kernel(kernel, keys[kernel], cache, emit) for kernel in kernels}
        products = dict.fromkeys(own_function(step, base.blas) for step in steps if isinstance(step, Matmul))
        gemms = {symbol: _load_gemm(symbol, cache) for symbol in products if symbol is not None}
    addresses = {kernel: address for kernel, (address, _) in loaded.items()}
    symbols = {**base.symbols, **{symbol: address for symbol, (address, _) in gemms.items()}}
    encoded = encoding.encode(plan, addresses, symbols, base.blas)
    if key and cache.disk:
        functions = {address: (SYMBOL, symbol) for symbol, address in base.symbols.items()}
        functions |= {address: (PRODUCT, symbol) for symbol, (address, _) in gemms.items()}
        functions |= {address: (KERNEL, keys[kernel]) for kernel, address in addresses.items()}
        keep(cache.disk, key, plan.inputs, plan.slots, plan.ends, plan.arena_bytes, encoded, functions)
    new = [compiled for _, compiled in (*loaded.values(), *gemms.values())]
    return _executable(plan.inputs, plan.slots, plan.ends, plan.arena_bytes, encoded,
                       Measured(name, lambda: plan, LISTINGS), new, start)


def _from_disk(key: str, disk: DiskCache, cache: Cache, plan: Callable[[], ProgramPlan], name: str
               ) -> Executable | None:
    """The executable of a program that was kept; `plan` makes its plan, for people."""
    start = perf_counter()
    kept = find(disk, key)
    if kept is None:
        return None
    addresses: dict[Function, int] = {}
    new: list[bool] = []
    with cache.lock:
        symbols = runtime().symbols
        for kind, what in kept.functions:
            if kind == SYMBOL:
                address = symbols.get(what)
            elif kind == PRODUCT:
                address, compiled = _load_gemm(what, cache)
                new.append(compiled)
            else:
                address = _load_kept_kernel(what, cache, disk)
                new.append(False)
            if address is None:
                return None
            addresses[kind, what] = address
    return _executable(kept.inputs, kept.slots, kept.ends, kept.arena_bytes, kept.encoding_at(addresses),
                       Measured(name, plan, LISTINGS), new, start)


def _executable(inputs: tuple[TensorType, ...], slots: tuple[TensorType, ...], ends: tuple[tuple[int, ...], ...],
                arena_bytes: int, encoded: encoding.Encoding, measured: Measured, new: list[bool], start: float
                ) -> Executable:
    """`new`: for each function that was needed, was it compiled now?"""
    observer().add(measured, encoded)
    frames = Frames(encoded, arena_bytes)
    return Executable(
        inputs, slots, ends, make_run(encoded, arena_bytes, runtime().symbols, frames), arena_bytes,
        compile_seconds=perf_counter() - start, kernels_compiled=sum(new), kernels_reused=len(new) - sum(new),
        measured=measured, entry=frames.entry_run() if object_layout() else None)


def _kernel_key(kernel: Kernel) -> str:
    return content_key("kernel", *machine_identity(), print_kernel(kernel))


def _load_kernel(kernel: Kernel, key: str, cache: Cache, emit: Emit) -> tuple[int, bool]:
    """(address, was it compiled now) of a kernel."""
    return _load_function(key, cache, lambda symbol: emit(kernel, symbol, host_features()))


def _load_kept_kernel(key: str, cache: Cache, disk: DiskCache) -> int | None:
    """The address of a kernel that was compiled before, unless it is gone."""
    if key not in cache.addresses:
        symbol = _symbol(key)
        found = load_kept(key, disk, (symbol,), {})
        if found is None:
            return None
        cache.addresses[key] = found[symbol]
    return cache.addresses[key]


def _load_gemm(name: str, cache: Cache) -> tuple[int, bool]:
    """(address, was it compiled now) of one of the functions that multiply matrices."""
    emit, dtype = FUNCTIONS[name]
    key = content_key("gemm", *machine_identity(), name)
    return _load_function(key, cache, lambda symbol: emit(dtype, symbol, host_features()), PLAIN)


def _load_function(key: str, cache: Cache, write: Callable[[str], str], level: int = HOT) -> tuple[int, bool]:
    if key in cache.addresses:
        return cache.addresses[key], False
    symbol = _symbol(key)
    addresses, compiled = load(key, cache.disk, lambda: write(symbol), (symbol,), {}, level)
    cache.addresses[key] = addresses[symbol]
    return addresses[symbol], compiled


def _symbol(key: str) -> str:
    return f"kernel_{key[:16]}"


_TOLD = ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512bf16", "avx512fp16",
         "amx-bf16", "neon", "fullfp16", "bf16", "sve")
"""Features of a processor that make a difference for arrays, by LLVM's names."""


def describe_host() -> dict[str, str]:
    """What this process compiles for and with, by name, for people to read."""
    host, blas, layout = host_features(), multiplier(host_features()), object_layout()
    enabled = {flag[1:] for flag in host.flags.split(",") if flag.startswith("+")}
    pool = platform.system() == "Linux" and platform.machine() in FUTEX_NUMBERS
    return {
        "processor": f"{host.cpu}, vectors of {host.vector_bytes} bytes{', fused multiply-add' if host.fma else ''}",
        "features": ", ".join(feature for feature in _TOLD if feature in enabled),
        "compiler": VERSIONS,
        "matmul": f"{_who_multiplies(blas)}{', one thread per panel' if blas.set_threads else ''}",
        "threads": f"{THREADS.get()}, {'in a pool of our own' if pool else 'but one works: there are no futexes here'}",
        "entry": "native: objects are read and made by compiled code" if layout else
        "in Python, pointers through a table: objects are not laid out as expected",
        "profiles": "each kernel by itself" if hasattr(time, "CLOCK_MONOTONIC") else "no kernel: there is no clock",
        "cache": default_cache().describe(),
    }


def _who_multiplies(blas: Blas) -> str:
    return f"{OWN.name}; from {blas.above:.1e} multiply-adds on {blas.name}" if blas.above else blas.name
