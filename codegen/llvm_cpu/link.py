"""link: LLVM text -> object code -> addresses in this process.

    text --parse, instruction selection--> object (bytes, may be kept on disk) --link--> {symbol: address}

1. No pass over the IR is run: what is emitted is already in the shape that instruction selection wants.
2. An object holds no address of the process: whatever it needs is an imported symbol, resolved when it is linked.
3. Linked code stays until the process ends, since other threads may be in it. So does the linker.
4. LLVM is loaded by what needs it: not by linking where objects are known (see elf), nor by knowing this machine where
   a process before has asked (see machine).
"""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from codegen.llvm_cpu import elf

if TYPE_CHECKING:
    from codegen.llvm_cpu.llvm import Llvm

HOT, PLAIN, COLD = 2, 1, 0
"""Levels of instruction selection, scheduling and register allocation: for loops over data; for loops that are written
as they are to run; for quick compilation."""

_library_numbers = itertools.count()


class LinkError(Exception):
    """Text that LLVM refuses, or an object that does not link."""


def llvm() -> Llvm:
    """The library."""
    from codegen.llvm_cpu.llvm import llvm as library  # who finds all in the cache needs none of it

    return library()


def compile_object(text: str, level: int = HOT) -> bytes:
    """Object code of a module for this machine; LinkError with LLVM's words if the text is not valid."""
    from codegen.llvm_cpu.llvm import OBJECT

    return _emitted(text, level, OBJECT)


def assembly(text: str, level: int = HOT) -> str:
    """What `compile_object` makes, as assembly for people; LinkError as there."""
    from codegen.llvm_cpu.llvm import ASSEMBLY

    return _emitted(text, level, ASSEMBLY).decode()


def _emitted(text: str, level: int, what: int) -> bytes:
    with _machine(level) as machine:
        try:
            return llvm().emit(text, machine, what)
        except RuntimeError as error:
            raise LinkError(str(error)) from None


def link(code: bytes, exports: Iterable[str], imports: Mapping[str, int] | None = None) -> dict[str, int]:
    """Load object code; the addresses of `exports`. `imports`: addresses of symbols that are not in the process.

    LinkError for what is no object, or names what is nowhere.
    """
    names = tuple(exports)
    if elf.is_known_here():
        try:
            return elf.load(code, names, imports or {})
        except elf.Missing as missing:
            raise LinkError(f"there is no symbol {missing}") from None
        except elf.Unusual:
            pass                        # LLVM knows all there are
    return link_by_llvm(code, names, imports or {})


def link_by_llvm(code: bytes, names: tuple[str, ...], imports: Mapping[str, int]) -> dict[str, int]:
    """`link` for whatever LLVM makes, on any machine."""
    import llvmlite.binding

    builder = llvmlite.binding.JITLibraryBuilder().add_object_img(code).add_current_process()
    for name, address in imports.items():
        builder.import_symbol(name, address)
    for name in names:
        builder.export_symbol(name)
    try:
        library = builder.link(_linker(), f"library{next(_library_numbers)}")
    except RuntimeError as error:
        raise LinkError(str(error)) from None
    addresses = {name: library[name] for name in names}
    library.detach()                # invariant 3: never unloaded
    return addresses


def processor_by_llvm() -> tuple[str, str]:
    """The name of this machine's processor and its features, as LLVM writes them: ("znver4", "+avx,-amx-bf16,...")."""
    return llvm().processor()


def versions() -> str:
    """What makes the objects, for people."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {llvm().version()}"


_idle_machines: dict[int, list[Any]] = {HOT: [], PLAIN: [], COLD: []}


@contextmanager
def _machine(level: int) -> Iterator[Any]:
    """A machine that no other thread has meanwhile."""
    idle = _idle_machines[level]
    try:
        machine = idle.pop()
    except IndexError:
        machine = llvm().new_machine(level)
    try:
        yield machine
    finally:
        idle.append(machine)


@cache
def _linker() -> Any:
    import llvmlite.binding

    from codegen.llvm_cpu.llvm import Wrapped

    return llvmlite.binding.create_lljit_compiler(Wrapped().new_machine(HOT))
