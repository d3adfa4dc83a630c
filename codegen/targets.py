"""targets: what a program can be compiled for. One literal table; a backend is a folder and a row here."""
from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from codegen.cache import Cache
from codegen.executable import DONE, Aliases, Executable, storage_of_ends
from codegen.ir.interpret import walk
from codegen.ir.program import Exit
from codegen.ir.structs import struct
from codegen.ir.tree import closed
from codegen.observers import Observers
from codegen.source import Source


def describe_host() -> dict[str, str]:
    """What the llvm_cpu target found here, by name: processor, compiler, BLAS, threads, entry, cache."""
    from codegen.llvm_cpu.target import describe_host as describe

    return describe()


def describe_gpu() -> dict[str, str]:
    """What the triton_gpu target found here, by name: the GPU or why there is none, and what is installed for it."""
    from codegen.triton_gpu.target import describe_gpu as describe

    return describe()


def calibrate_products() -> dict[tuple[str, str], tuple[float, ...]]:
    """Measure what BLAS takes of the time of our own products, by dtype and form, at some sizes, growing. Who is faster
    multiplies in processes to come; in this one nothing changes."""
    from codegen.llvm_cpu.calibration import calibrate

    return calibrate()


def native_observer() -> Observers:
    """What notes the runs of compiled code in this process, their steps and the parts that threads do in them."""
    from codegen.llvm_cpu.observer import observer
    from codegen.triton_gpu.step_times import STEP_TIMES

    return Observers([observer(), STEP_TIMES])


def finish_compiling() -> None:
    """Return when all programs run the code that they will go on running: what had to be compiled quickly, because a
    call waited for it, has been compiled well too."""
    from codegen.llvm_cpu.drafts import wait_for_drafts

    wait_for_drafts()


@struct
class Target:
    """`compile(source, aliases of each end, cache)` makes an Executable or raises CannotLower.

    `binds`: can the source have symbols? Else sizes make no difference to the code. `prepare()` says that a program is
    about to be recorded that will be compiled: what takes long and does not depend on it may begin.
    """

    name: str
    about: str
    compile: Callable[[Source, tuple[Aliases, ...], Cache], Executable]
    binds: bool = False
    prepare: Callable[[], object] = lambda: None


def _llvm_cpu(source: Source, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    from codegen.llvm_cpu.target import compile_source  # brings LLVM along, which only compiling needs

    return compile_source(source, aliases, cache)


def _prepare_llvm_cpu() -> None:
    try:
        ahead = import_module("codegen.llvm_cpu.ahead")
    except ImportError:         # a program may have an __import__ of its own: compiling will say what is wrong
        return
    ahead.prepare()


def _triton_gpu(source: Source, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    from codegen.triton_gpu.target import compile_source

    return compile_source(source, aliases, cache)


def _interpret(source: Source, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    tree = source.optimized()
    program = closed(tree)
    types = tree.types()
    outputs = [tuple(types[v] for v in values) for values in tree.ends().values()]
    slots, ends = storage_of_ends(len(tree.inputs), outputs, aliases)
    end_in_block = {block: end for end, block in enumerate(tree.ends())}

    def run(arrays: tuple[np.ndarray, ...]) -> int:
        block, results = walk(program, arrays[:len(program.inputs)])
        if isinstance(results, Exit):
            return results.number
        end = end_in_block[block]
        for place, result in zip(ends[end], results, strict=True):
            arrays[place][...] = result
        return DONE - end

    return Executable(program.inputs, slots, ends, run)


TARGETS: dict[str, Target] = {target.name: target for target in (
    Target("llvm_cpu", "native code for this machine's processor, by LLVM", _llvm_cpu, binds=True,
           prepare=_prepare_llvm_cpu),
    Target("triton_gpu", "a GPU, by Triton and CuPy; with TRITON_INTERPRET=1 Triton's interpreter, to check it without",
           _triton_gpu, binds=True),
    Target("interpret", "the reference of every op, in NumPy: the oracle of the others", _interpret),
)}
"""Every target by name."""
