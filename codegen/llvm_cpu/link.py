"""link: LLVM text -> object code -> addresses in this process.

    text --parse, instruction selection--> object (bytes, may be kept on disk) --link--> {symbol: address}

1. No pass over the IR is run: what is emitted is already in the shape that instruction selection wants.
2. An object holds no address of the process: whatever it needs is an imported symbol, resolved when it is linked.
3. Linked code stays until the process ends, since other threads may be in it. So does the linker.
"""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import cache

import llvmlite
import llvmlite.binding as llvm

HOT, PLAIN, COLD = 2, 1, 0
"""Levels of instruction selection, scheduling and register allocation: for loops over data; for loops that are written
as they are to run; for quick compilation."""

VERSIONS = f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}"
"""What makes the objects: part of the key they are kept under."""

_library_numbers = itertools.count()


class LinkError(Exception):
    """Text that LLVM refuses, or an object that does not link."""


@cache
def host() -> tuple[str, str]:
    """The name of this machine's processor and its features, as LLVM writes them: ("znver4", "+avx,-amx-bf16,...")."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def compile_object(text: str, level: int = HOT) -> bytes:
    """Object code of a module for this machine; LinkError with LLVM's words if the text is not valid."""
    try:
        with llvm.parse_assembly(text, llvm.create_context()) as module:
            return _machine(level).emit_object(module)
    except RuntimeError as error:
        raise LinkError(str(error)) from None


def assembly(text: str, level: int = HOT) -> str:
    """What `compile_object` makes, as assembly for people; LinkError as there."""
    try:
        with llvm.parse_assembly(text, llvm.create_context()) as module:
            return _machine(level).emit_assembly(module)
    except RuntimeError as error:
        raise LinkError(str(error)) from None


def link(code: bytes, exports: Iterable[str], imports: Mapping[str, int] | None = None) -> dict[str, int]:
    """Load object code; the addresses of `exports`. `imports`: addresses of symbols that are not in the process."""
    names = tuple(exports)
    linker = _linker()
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    for name, address in (imports or {}).items():
        builder.import_symbol(name, address)
    for name in names:
        builder.export_symbol(name)
    try:
        library = builder.link(linker, f"library{next(_library_numbers)}")
    except RuntimeError as error:
        raise LinkError(str(error)) from None
    addresses = {name: library[name] for name in names}
    library.detach()                # invariant 3: never unloaded
    return addresses


@cache
def _machine(level: int) -> llvm.TargetMachine:
    return _new_machine(level)


def _new_machine(level: int) -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = host()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=level, reloc="pic", codemodel="default")


@cache
def _linker() -> llvm.LLJIT:
    return llvm.create_lljit_compiler(_new_machine(HOT))
