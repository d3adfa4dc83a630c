"""executables: from an encoded program to an Executable; and the keys under which what it calls is found.

Nothing here schedules, emits or compiles: a process that finds a program in the cache needs no more than this.
"""
from __future__ import annotations

from time import perf_counter

from codegen.cache import Cache, DiskCache, content_key
from codegen.executable import Executable, Measured
from codegen.ir.types import TensorType
from codegen.llvm_cpu.encoding import Encoding
from codegen.llvm_cpu.entry import Frames, make_run
from codegen.llvm_cpu.identity import machine_identity
from codegen.llvm_cpu.loading import load_kept
from codegen.llvm_cpu.objects import object_layout
from codegen.llvm_cpu.observer import observer
from codegen.llvm_cpu.runtime import runtime
from codegen.schedule.plan import TooMuchMemory


def executable(inputs: tuple[TensorType, ...], slots: tuple[TensorType, ...], ends: tuple[tuple[int, ...], ...],
               arena_bytes: int, encoded: Encoding, measured: Measured, new: list[bool], start: float,
               shares_kernels: bool = False) -> Executable:
    """`new`: for each function that was needed, was it compiled now? `start`: when making it began."""
    observer().add(measured, encoded)
    frames = Frames(encoded, arena_bytes)
    return Executable(
        inputs, slots, ends, make_run(encoded, arena_bytes, runtime().symbols, frames), arena_bytes,
        compile_seconds=perf_counter() - start, kernels_compiled=sum(new), kernels_reused=len(new) - sum(new),
        shares_kernels=shares_kernels, measured=measured, entry=frames.entry_run() if object_layout() else None)


def require_memory(bytes: int, budget: int | None) -> None:
    """TooMuchMemory if an arena of so many bytes is more than the budget."""
    if budget is not None and bytes > budget:
        raise TooMuchMemory(f"for all sizes it would work in {bytes} bytes, and its budget is {budget}")


def kernel_key(text: str) -> str:
    """The key of a kernel, by its printed text."""
    return content_key("kernel", machine_identity(), text)


def product_key(name: str) -> str:
    """The key of a function that multiplies matrices, by its name (see products.FUNCTIONS)."""
    return content_key("gemm", machine_identity(), name)


def symbol_of(key: str) -> str:
    """What the function under a key is called in its object."""
    return f"kernel_{key[:16]}"


def kept_function(key: str, cache: Cache, disk: DiskCache | None) -> int | None:
    """The address of a function that was compiled before, unless it is gone. With the cache's lock."""
    if key not in cache.addresses:
        symbol = symbol_of(key)
        found = None if disk is None else load_kept(key, disk, (symbol,))
        if found is None:
            return None
        cache.addresses[key] = found[symbol]
    return cache.addresses[key]
