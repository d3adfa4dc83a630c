"""Compile a hand-built Kernel for some Features and run it on arrays, with as little as that takes.

    run = compile_kernel(kernel, AVX2)
    failed = run([x, y])                 # all chunks; run([x, y], first, last) for some
"""
from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

from codegen.llvm_cpu import link
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.features import AVX2, AVX512, PORTABLE, Features, host_features
from codegen.schedule.kernel import Index, Kernel

_symbols = itertools.count()


def runnable() -> dict[str, Features]:
    """The Features that code can run with on this machine, by name."""
    host = host_features()
    if "x86" not in llvm.get_process_triple():
        return {"host": host}
    return {"host": host, "portable": PORTABLE} | {
        name: f for name, f in (("avx2", AVX2), ("avx512", AVX512)) if f.vector_bytes <= host.vector_bytes and host.fma}


def index(constant: int = 0, /, **coefficients: int) -> Index:
    """index(5, i=64, j=1) is 64*i + j + 5."""
    return Index(tuple(sorted((name, c) for name, c in coefficients.items() if c)), constant)


def object_code(text: str, features: Features) -> bytes:
    """The object code of a module for a processor with these Features."""
    if features is host_features():
        return link.compile_object(text)
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=features.cpu, opt=2, reloc="pic", codemodel="default")
    with llvm.parse_assembly(text) as module:
        module.verify()
        return machine.emit_object(module)


def compile_kernel(kernel: Kernel, features: Features) -> Callable[..., bool]:
    """run(arrays, first=0, last=all): runs chunks on C-contiguous arrays in the order of the params; did a check fail?"""
    symbol = f"kernel_{next(_symbols)}"
    code = object_code(emit_kernel(kernel, symbol, features), features)
    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(link.link(code, [symbol])[symbol])

    def run(arrays: list[np.ndarray], first: int = 0, last: int | None = None) -> bool:
        assert all(a.flags.c_contiguous and a.size == p.size for a, p in zip(arrays, kernel.params, strict=True))
        table = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        failed = ctypes.c_int32(0)
        native(ctypes.addressof(table), first, kernel.chunks if last is None else last, ctypes.addressof(failed))
        assert failed.value in (0, 1)
        return bool(failed.value)

    return run
