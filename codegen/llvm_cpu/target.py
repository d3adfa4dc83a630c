"""target: the CPU as a Target: Graph -> Plan -> native code -> Executable.

A kernel is compiled once for a process and, with a disk cache, once for a machine: it is known by its printed text.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from time import perf_counter

import numpy as np

from codegen.cache import Cache, content_key, default_cache
from codegen.executable import Aliases, Executable, storage_of_outputs
from codegen.ir.generalize import Binding
from codegen.ir.graph import Graph
from codegen.ir.program import Program, Return
from codegen.ir.references import literal
from codegen.ir.types import DTYPES
from codegen.llvm_cpu import driver, gemm
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.entry import make_run, object_layout
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.link import HOT, VERSIONS
from codegen.llvm_cpu.matmul import multiplier
from codegen.llvm_cpu.operations import computes
from codegen.llvm_cpu.runtime import load, machine_identity, runtime
from codegen.llvm_cpu.threads import THREADS
from codegen.schedule.binding import plan_at
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import CannotLower, Launch, Matmul, Plan

Emit = Callable[[Kernel, str, Features], str]
"""(kernel, symbol, features) -> LLVM text of a module that defines the symbol."""


def compile_tree(program: Program, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    """An executable for `program` on this machine; CannotLower, with a sentence, for what this target does not do."""
    first = program.blocks[0]
    if not isinstance(first.terminator, Return):
        raise CannotLower(f"{program.name} has branches; only straight-line programs are compiled")
    graph = Graph(program.name, first.inputs, first.nodes, first.terminator.values)
    return build(schedule(graph, aliases[0], host_machine()), cache)


def compile_bound(program: Program, aliases: tuple[Aliases, ...], cache: Cache, binding: Binding) -> Executable:
    """An executable for a program with symbols, at what they stand for."""
    first = program.blocks[0]
    assert isinstance(first.terminator, Return)
    graph = Graph(program.name, first.inputs, first.nodes, first.terminator.values)
    constants = [np.asarray(literal(text), DTYPES[dtype]) for text, dtype in binding.constants]
    plan = plan_at(_planned(graph, aliases[0], host_machine()), binding.numbers, constants)
    return replace(build(plan, cache), shares_kernels=bool(binding.numbers))


@lru_cache(maxsize=256)
def _planned(graph: Graph, aliases: Aliases, machine: Machine) -> Plan:
    return schedule(graph, aliases, machine)


def host_machine() -> Machine:
    """What the scheduler plans for."""
    return Machine(vector_bytes=host_features().vector_bytes, computes=computes)


def build(plan: Plan, cache: Cache, emit: Emit = emit_kernel) -> Executable:
    """An executable that runs `plan`, whose kernels are written by `emit`."""
    start = perf_counter()
    if plan.symbolic:
        raise CannotLower(f"the size {plan.symbolic[0]} has to be bound to a number first")
    for step in plan.steps:
        if reason := driver.unsupported(step):
            raise CannotLower(reason)
    kernels = tuple(dict.fromkeys(step.kernel for step in plan.steps if isinstance(step, Launch)))
    products = sorted({step.dtype for step in plan.steps if isinstance(step, Matmul)})
    with cache.lock:
        base = runtime()
        loaded = {kernel: _load_kernel(kernel, cache, emit) for kernel in kernels}
        gemms = {f"gemm_{dtype}": _load_gemm(dtype, cache) for dtype in products if base.blas.kind == "own"}
    addresses = {kernel: address for kernel, (address, _) in loaded.items()}
    symbols = {**base.symbols, **{symbol: address for symbol, (address, _) in gemms.items()}}
    encoding = driver.encode(plan, addresses, symbols, base.blas)
    compiled = sum(new for _, new in (*loaded.values(), *gemms.values()))
    slots, ends = storage_of_outputs(len(plan.inputs), (plan.outputs,), (plan.aliases,))
    return Executable(
        plan.inputs, slots, ends, make_run(encoding, plan.arena_bytes, base.symbols), plan,
        compile_seconds=perf_counter() - start, kernels_compiled=compiled,
        kernels_reused=len(loaded) + len(gemms) - compiled)


def _load_kernel(kernel: Kernel, cache: Cache, emit: Emit) -> tuple[int, bool]:
    """(address, was it compiled now) of a kernel."""
    key = content_key("kernel", *machine_identity(), print_kernel(kernel))
    return _load_function(key, cache, lambda symbol: emit(kernel, symbol, host_features()))


def _load_gemm(dtype: str, cache: Cache) -> tuple[int, bool]:
    """(address, was it compiled now) of the function that multiplies matrices of `dtype`."""
    key = content_key("gemm", *machine_identity(), dtype)
    return _load_function(key, cache, lambda symbol: gemm.emit_gemm(dtype, symbol, host_features()))


def _load_function(key: str, cache: Cache, write: Callable[[str], str]) -> tuple[int, bool]:
    if key in cache.addresses:
        return cache.addresses[key], False
    symbol = f"kernel_{key[:16]}"
    addresses, compiled = load(key, cache.disk, lambda: write(symbol), (symbol,), {}, HOT)
    cache.addresses[key] = addresses[symbol]
    return addresses[symbol], compiled


def describe_host() -> dict[str, str]:
    """What this process compiles for and with, by name, for people to read."""
    host, blas, layout = host_features(), multiplier(host_features()), object_layout()
    return {
        "processor": f"{host.cpu}, vectors of {host.vector_bytes} bytes{', fused multiply-add' if host.fma else ''}",
        "compiler": VERSIONS,
        "matmul": f"{blas.name}{', one thread per panel' if blas.set_threads else ''}",
        "threads": str(THREADS.get()),
        "entry": "native: pointers are read from the array objects" if layout else "through a table of pointers",
        "cache": default_cache().describe(),
    }
