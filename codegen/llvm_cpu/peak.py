"""peak: a plan that does nothing but multiply-adds in registers, to see how many this processor does.

    x = x y + z        in each of CHAINS vectors, ROUNDS times, in every chunk

1. The chains do not depend on each other, so that a multiply-add need not wait for the one before.
2. Where there is no fused instruction a multiply-add is two.
"""
from __future__ import annotations

from codegen.cache import Cache
from codegen.executable import Executable
from codegen.ir.types import TensorType
from codegen.llvm_cpu.assembler import I64, Assembler, Value
from codegen.llvm_cpu.build import build
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.gemm_halves import SIDE, TERMS, configure, register
from codegen.schedule.blocks import program_of_plan
from codegen.schedule.kernel import Axis, Kernel, Param, Pass
from codegen.schedule.plan import Buffer, Launch, Output, Plan

CHUNKS, ROUNDS, CHAINS = 64, 1 << 10, 12

OF_TILES = "products of bf16"
"""What the processor does in tile registers, beside the dtypes in vectors."""

_SUMS, _OPERANDS = range(6), (6, 7)
"""Registers for tiles: as many chains as there is room for."""

_LLVM_TYPES = {"f32": "float", "f64": "double"}
_ITEM_BYTES = {"f32": 4, "f64": 8}


def peak_run(dtype: str) -> tuple[Executable, int]:
    """What to run, and how many operations it does; its one slot takes an element for each chunk."""
    lanes = host_features().vector_bytes // _ITEM_BYTES[dtype]
    kernel = Kernel((Param(dtype, CHUNKS, "out"),), (Axis("i", CHUNKS),), (Pass((), ()),), None, 1)
    result, buffer = TensorType(dtype, (CHUNKS,)), Buffer(dtype, CHUNKS, Output(0))
    plan = Plan((), (result,), (), (buffer,), (Launch(kernel, (0,)),), 0)

    def emit(_: Kernel, symbol: str, features: Features) -> str:
        return peak_text(dtype, symbol, features)

    return build(program_of_plan(plan), Cache(None), emit), 2 * lanes * CHAINS * ROUNDS * CHUNKS


def tiles_run() -> tuple[Executable, int]:
    """The same for the multiply-adds of tile registers, where there are any."""
    kernel = Kernel((Param("f32", CHUNKS, "out"),), (Axis("i", CHUNKS),), (Pass((), ()),), None, 1)
    result, buffer = TensorType("f32", (CHUNKS,)), Buffer("f32", CHUNKS, Output(0))
    plan = Plan((), (result,), (), (buffer,), (Launch(kernel, (0,)),), 0)
    work = 2 * SIDE * SIDE * TERMS * len(_SUMS) * ROUNDS * CHUNKS
    return build(program_of_plan(plan), Cache(None), lambda _, symbol, features: tiles_text(symbol)), work


def tiles_text(symbol: str) -> str:
    """The LLVM text of its kernel."""
    a = Assembler()
    configure(a)
    for number in (*_SUMS, *_OPERANDS):
        a.call("x86.tilezero", register(number))

    def round() -> list[Value]:
        for number in _SUMS:
            a.call("x86.tdpbf16ps", *map(register, (number, *_OPERANDS)))
        return []

    zero, one = a.constant(I64, 0), Value("%first", I64)
    a.loop(one, Value("%last", I64), 1, [], lambda _, __: a.loop(
        zero, a.constant(I64, ROUNDS), 1, [], lambda _, __: round()))
    a.call("x86.tilerelease")
    return a.function(symbol, "ptr noalias readonly %buffers, i64 %first, i64 %last, ptr noalias %failed")


def peak_text(dtype: str, symbol: str, features: Features) -> str:
    """The LLVM text of the kernel."""
    element = _LLVM_TYPES[dtype]
    vector = f"<{features.vector_bytes // _ITEM_BYTES[dtype]} x {element}>"
    suffix = f"v{features.vector_bytes // _ITEM_BYTES[dtype]}{dtype}"
    lines = [f"declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})",
             f"define void @{symbol}(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {{",
             "entry:",
             "  %out = load ptr, ptr %buffers",
             f"  %half = insertelement {vector} poison, {element} 0.5, i64 0",
             f"  %y = shufflevector {vector} %half, {vector} poison, <{vector[1:].split()[0]} x i32> zeroinitializer",
             "  br label %chunk",
             "chunk:",
             "  %c = phi i64 [ %first, %entry ], [ %c.next, %store ]",
             "  %more = icmp ult i64 %c, %last",
             "  br i1 %more, label %loop, label %out.of.it",
             "loop:",
             "  %k = phi i64 [ 0, %chunk ], [ %k.next, %loop ]"]
    lines += [f"  %x{n} = phi {vector} [ %y, %chunk ], [ %x{n}.next, %loop ]" for n in range(CHAINS)]
    for n in range(CHAINS):
        if features.fma:
            lines.append(f"  %x{n}.next = call {vector} @llvm.fma.{suffix}({vector} %x{n}, {vector} %y, {vector} %y)")
        else:
            lines += [f"  %x{n}.half = fmul {vector} %x{n}, %y", f"  %x{n}.next = fadd {vector} %x{n}.half, %y"]
    lines += ["  %k.next = add i64 %k, 1",
              f"  %again = icmp ult i64 %k.next, {ROUNDS}",
              "  br i1 %again, label %loop, label %store",
              "store:"]
    lines += [f"  %s{n} = fadd {vector} {f'%s{n - 1}' if n > 1 else '%x0.next'}, %x{n}.next" for n in range(1, CHAINS)]
    lines += [f"  %lane = extractelement {vector} %s{CHAINS - 1}, i64 0",
              f"  %at = getelementptr {element}, ptr %out, i64 %c",
              f"  store {element} %lane, ptr %at",
              "  %c.next = add i64 %c, 1",
              "  br label %chunk",
              "out.of.it:",
              "  ret void",
              "}"]
    return "\n".join(lines) + "\n"
