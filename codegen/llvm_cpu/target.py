"""target: the CPU as a Target: Tree -> ProgramPlan -> native code -> Executable.

A kernel is compiled once for a process and, with a disk cache, once for a machine: it is known by its printed text.
"""
from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from codegen.cache import Cache, content_key, default_cache
from codegen.executable import Aliases, Executable, Measured, storage_of_ends
from codegen.ir.generalize import Binding
from codegen.ir.tree import Tree
from codegen.llvm_cpu import encoding
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.entry import Frames, make_run
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.link import HOT, PLAIN, VERSIONS
from codegen.llvm_cpu.listings import LISTINGS
from codegen.llvm_cpu.matmul import FUNCTIONS, multiplier, own_function
from codegen.llvm_cpu.objects import object_layout
from codegen.llvm_cpu.observer import observer
from codegen.llvm_cpu.operations import computes
from codegen.llvm_cpu.runtime import load, machine_identity, runtime
from codegen.llvm_cpu.threads import FUTEX_NUMBERS, THREADS
from codegen.schedule.blocks import BoundTree, schedule_tree
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.plan import CannotLower, Launch, Matmul, ProgramPlan

Emit = Callable[[Kernel, str, Features], str]
"""(kernel, symbol, features) -> LLVM text of a module that defines the symbol."""


def compile_tree(tree: Tree, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    """An executable for `tree` on this machine; CannotLower, with a sentence, for what this target does not do."""
    return compile_bound(tree, aliases, cache, Binding({}, ()))


def compile_bound(tree: Tree, aliases: tuple[Aliases, ...], cache: Cache, binding: Binding) -> Executable:
    """An executable for a tree with symbols, at what they stand for."""
    bound = BoundTree(tree, binding)
    slots, ends = storage_of_ends(bound.known_inputs, bound.outputs(), aliases)
    executable = build(schedule_tree(bound, slots, ends, host_machine()), cache, name=tree.name)
    return replace(executable, shares_kernels=bool(binding.numbers))


def host_machine() -> Machine:
    """What the scheduler plans for."""
    return Machine(vector_bytes=host_features().vector_bytes, computes=computes)


def build(plan: ProgramPlan, cache: Cache, emit: Emit = emit_kernel, name: str = "") -> Executable:
    """An executable that runs `plan`, whose kernels are written by `emit`; `name` is for people."""
    start = perf_counter()
    steps = plan.steps
    for step in steps:
        if reason := encoding.unsupported(step):
            raise CannotLower(reason)
    kernels = tuple(dict.fromkeys(step.kernel for step in steps if isinstance(step, Launch)))
    with cache.lock:
        base = runtime()
        loaded = {kernel: _load_kernel(kernel, cache, emit) for kernel in kernels}
        products = dict.fromkeys(own_function(step, base.blas) for step in steps if isinstance(step, Matmul))
        gemms = {symbol: _load_gemm(symbol, cache) for symbol in products if symbol is not None}
    addresses = {kernel: address for kernel, (address, _) in loaded.items()}
    symbols = {**base.symbols, **{symbol: address for symbol, (address, _) in gemms.items()}}
    words = encoding.encode(plan, addresses, symbols, base.blas)
    measured = Measured(name, plan, LISTINGS)
    observer().add(measured, words)
    frames = Frames(words, plan.arena_bytes)
    run = make_run(words, plan.arena_bytes, base.symbols, frames)
    compiled = sum(new for _, new in (*loaded.values(), *gemms.values()))
    return Executable(
        plan.inputs, plan.slots, plan.ends, run, plan,
        compile_seconds=perf_counter() - start, kernels_compiled=compiled,
        kernels_reused=len(loaded) + len(gemms) - compiled, measured=measured,
        entry=frames.entry_run() if object_layout() else None)


def _load_kernel(kernel: Kernel, cache: Cache, emit: Emit) -> tuple[int, bool]:
    """(address, was it compiled now) of a kernel."""
    key = content_key("kernel", *machine_identity(), print_kernel(kernel))
    return _load_function(key, cache, lambda symbol: emit(kernel, symbol, host_features()))


def _load_gemm(name: str, cache: Cache) -> tuple[int, bool]:
    """(address, was it compiled now) of one of the functions that multiply matrices."""
    emit, dtype = FUNCTIONS[name]
    key = content_key("gemm", *machine_identity(), name)
    return _load_function(key, cache, lambda symbol: emit(dtype, symbol, host_features()), PLAIN)


def _load_function(key: str, cache: Cache, write: Callable[[str], str], level: int = HOT) -> tuple[int, bool]:
    if key in cache.addresses:
        return cache.addresses[key], False
    symbol = f"kernel_{key[:16]}"
    addresses, compiled = load(key, cache.disk, lambda: write(symbol), (symbol,), {}, level)
    cache.addresses[key] = addresses[symbol]
    return addresses[symbol], compiled


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
        "matmul": f"{blas.name}{', one thread per panel' if blas.set_threads else ''}",
        "threads": f"{THREADS.get()}, {'in a pool of our own' if pool else 'but one works: there are no futexes here'}",
        "entry": "native: objects are read and made by compiled code" if layout else
        "in Python, pointers through a table: objects are not laid out as expected",
        "profiles": "each kernel by itself" if hasattr(time, "CLOCK_MONOTONIC") else "no kernel: there is no clock",
        "cache": default_cache().describe(),
    }
