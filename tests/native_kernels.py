"""Compile a hand-built Kernel for some Features and run it on arrays, with as little as that takes.

    run = compile_kernel(kernel, AVX2)
    failed = run([x, y])                 # all chunks; run([x, y], first, last) for some
"""
from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import pytest

from codegen.ir.ops import OPS
from codegen.ir.types import TensorType
from codegen.llvm_cpu import link
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.features import AVX2, AVX512, PORTABLE, Features, host_features
from codegen.schedule.kernel import Axis, Binary, Cast, Index, Kernel, Load, Param, Pass, Select, Store, Unary
from codegen.schedule.sizes import chunks_at, kernel_at

_symbols = itertools.count()


def runnable() -> dict[str, Features]:
    """The Features whose code this machine can run, by name, each with a text of its own."""
    host = host_features()
    if "x86" not in llvm.get_process_triple():
        return {"host": host}
    presets = {"portable": PORTABLE, "avx2": AVX2, "avx512": AVX512}
    return {"host": host} | {
        name: f for name, f in presets.items() if f.vector_bytes <= host.vector_bytes and f.fma <= host.fma
        and _decisions(f) != _decisions(host)}


def _decisions(features: Features) -> tuple[int, bool, bool, bool]:
    """What the text that is emitted depends on."""
    return features.vector_bytes, features.fma, features.ldexp, features.half


each_features = pytest.mark.parametrize("features", runnable().values(), ids=runnable().keys())


def index(constant: int = 0, /, **coefficients: int) -> Index:
    """index(5, i=64, j=1) is 64*i + j + 5."""
    return Index(tuple(sorted((name, c) for name, c in coefficients.items() if c)), constant)


def elementwise_kernel(op: str, attrs: Mapping[str, str], operands: tuple[str, ...], size: int,
                       vector: str | None = "i") -> Kernel:
    """out[i] = op(in0[i], ...) for operands of these dtypes."""
    result = OPS[op].type_rule(*(TensorType(dtype, (size,)) for dtype in operands), **attrs).dtype
    at, values = index(i=1), range(len(operands))
    match op, len(operands):
        case "cast", _:
            statement = Cast(0, result)
        case "where", _:
            statement = Select(*values)
        case _, 1:
            statement = Unary(op, 0)
        case _:
            statement = Binary(op, *values)
    body = (*(Load(k, at) for k in values), statement, Store(len(operands), at, len(operands)))
    params = (*(Param(dtype, size, "in") for dtype in operands), Param(result, size, "out"))
    return Kernel(params, (Axis("i", size),), (Pass((), body),), vector, 0)


def object_code(text: str, features: Features, level: int = link.HOT) -> bytes:
    """The object code of a module for a processor with these Features."""
    if features is host_features():
        return link.compile_object(text, level)
    with llvm.parse_assembly(text, llvm.create_context()) as module:
        module.verify()
        return _machine(features.cpu, level).emit_object(module)


@cache
def _machine(cpu: str, level: int) -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, opt=level, reloc="pic", codemodel="default")


@cache
def compile_kernel(kernel: Kernel, features: Features, level: int = link.HOT) -> Callable[..., bool]:
    """run(arrays, first=0, last=all) runs chunks on contiguous arrays in the order of the params: did a check fail?

    `words`: those that the kernel is given. A kernel is compiled once for each Features.
    """
    symbol = f"kernel_{next(_symbols)}"
    code = object_code(emit_kernel(kernel, symbol, features), features, level)
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    native = prototype(link.link(code, [symbol])[symbol])

    def run(arrays: list[np.ndarray], first: int = 0, last: int | None = None, words: Sequence[int] = ()) -> bool:
        params = kernel_at(kernel, words).params
        assert all(a.flags.c_contiguous and a.size == p.size for a, p in zip(arrays, params, strict=True))
        given = np.array(words, np.int64)
        table = (ctypes.c_void_p * (len(arrays) + 1))(*[a.ctypes.data for a in (*arrays, given)])
        failed = ctypes.c_int32(0)
        last = chunks_at(kernel, words) if last is None else last
        native(ctypes.addressof(table), first, last, ctypes.addressof(failed))
        assert failed.value in (0, 1)
        return bool(failed.value)

    return run
