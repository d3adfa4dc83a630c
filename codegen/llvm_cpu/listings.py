"""listings: what is compiled for a step, for people to read: written anew when it is asked for.

The code of a kernel may have come from the disk, where only objects are kept. The same kernel gives the same text.
"""
from __future__ import annotations

from codegen.llvm_cpu.blas_panels import multiplier
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.link import assembly
from codegen.schedule.plan import Launch, Matmul, Step
from codegen.schedule.step_reports import Listings


def llvm_text(step: Step, *beside: Step) -> str:
    """The LLVM IR of the function that a step launches, whatever is beside it; "" where that is the driver's own, BLAS,
    or the host's."""
    from codegen.llvm_cpu.emit import emit_kernel  # a process that found all in the cache has not emitted anything
    from codegen.llvm_cpu.matmul import own_function
    from codegen.llvm_cpu.products import FUNCTIONS

    match step:
        case Launch(kernel):
            return emit_kernel(kernel, "kernel", host_features())
        case Matmul() if (name := own_function(step, multiplier(host_features()))) is not None:
            emit, dtype = FUNCTIONS[name]
            return emit(dtype, "matmul", host_features())
        case _:
            return ""


def asm_text(step: Step, *beside: Step) -> str:
    """The assembly of that."""
    text = llvm_text(step)
    return assembly(text) if text else ""


LISTINGS = Listings(llvm_text, asm_text)
