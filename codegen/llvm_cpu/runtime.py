"""runtime: compiled code into this process, through the cache; and the functions that every plan runs on.

1. Code is known by its key: what it was made from, the processor, the versions of LLVM and the sources that emit.
   An object from the cache that does not link is forgotten and made anew.
2. The pool and the driver are loaded once for a process, whatever the cache.
"""
from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from codegen.cache import DiskCache, content_key, default_cache
from codegen.ir.structs import struct
from codegen.llvm_cpu.blas import Blas, hold_text
from codegen.llvm_cpu.driver import DRIVER_TEXT, EXPORTS
from codegen.llvm_cpu.entry import entry_text
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.interruptions import EXPORTS as INTERRUPTIONS
from codegen.llvm_cpu.interruptions import follow_main_thread, host_poll_text
from codegen.llvm_cpu.link import COLD, VERSIONS, LinkError, compile_object, host, link
from codegen.llvm_cpu.matmul import blas_symbols, blas_text, multiplier
from codegen.llvm_cpu.objects import object_layout
from codegen.llvm_cpu.threads import THREADS, pool_text


@struct
class Runtime:
    """The addresses of the functions that plans run on, and who multiplies matrices."""

    symbols: Mapping[str, int]
    blas: Blas


@cache
def runtime() -> Runtime:
    """The runtime of this process, loaded when first needed; its pool follows THREADS."""
    return load_runtime(multiplier(host_features()))


def load_runtime(blas: Blas) -> Runtime:
    """A runtime with a pool of its own. It is compiled quickly: little time is spent in it."""
    layout = object_layout()
    pool = pool_text(platform.system(), platform.machine())
    text = "".join((pool, host_poll_text(), hold_text(blas), blas_text(blas), DRIVER_TEXT, entry_text(layout)))
    exports = (*EXPORTS, *INTERRUPTIONS, *blas_symbols(blas), "enter_table", *(("enter",) if layout else ()),
               "set_helpers", "launch")
    key = content_key("runtime", *machine_identity(), text)
    symbols, _ = load(key, default_cache().disk, lambda: text, exports, blas.imports, COLD)
    THREADS.attach(ctypes.CFUNCTYPE(None, ctypes.c_int)(symbols["set_helpers"]))
    tell_main_thread = follow_main_thread(symbols)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=tell_main_thread)
        os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(symbols["after_fork"]))
    return Runtime(symbols, blas)


def load(key: str, disk: DiskCache | None, write: Callable[[], str], exports: tuple[str, ...],
         imports: Mapping[str, int], level: int) -> tuple[dict[str, int], bool]:
    """Link the object kept under `key`, or else that of the text that `write` gives, which is then kept.

    `level`: how well it is compiled. The addresses of `exports`, and whether the text was compiled now.
    """
    kept = load_kept(key, disk, exports, imports) if disk else None
    if kept is not None:
        return kept, False
    code = compile_object(write(), level)
    addresses = link(code, exports, imports)
    if disk:
        disk.put(key, code)
    return addresses, True


def load_kept(key: str, disk: DiskCache, exports: tuple[str, ...], imports: Mapping[str, int]
              ) -> dict[str, int] | None:
    """The addresses of `exports` of the object kept under `key`; None if there is none that links."""
    code = disk.get(key)
    if code is not None:
        try:
            return link(code, exports, imports)
        except LinkError:
            disk.discard(key)
    return None


@cache
def machine_identity() -> tuple[str, ...]:
    """What an object depends on beside the text it was made from."""
    return *host(), platform.machine(), platform.system(), VERSIONS, _sources_digest()


@cache
def _sources_digest() -> str:
    """The digest of the files of codegen: what is scheduled and emitted changes with them."""
    package = Path(__file__).parents[1]
    files = sorted(path for folder in (package, *package.iterdir()) if folder.is_dir()
                   for path in folder.iterdir() if path.suffix in {".py", ".pyc"} and folder.name != "__pycache__")
    return content_key(*(path.read_bytes() for path in files))
