"""runtime: the functions that every plan runs on: driver, pool, entry, BLAS. Loaded once for a process."""
from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping
from functools import cache

from codegen.cache import content_key, default_cache
from codegen.ir.structs import struct
from codegen.llvm_cpu.blas import Blas, hold_text
from codegen.llvm_cpu.blas_panels import blas_symbols, blas_text, multiplier
from codegen.llvm_cpu.driver import DRIVER_TEXT, EXPORTS
from codegen.llvm_cpu.entry import entry_text
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.identity import machine_identity
from codegen.llvm_cpu.interruptions import EXPORTS as INTERRUPTIONS
from codegen.llvm_cpu.interruptions import follow_main_thread, host_poll_text
from codegen.llvm_cpu.link import COLD
from codegen.llvm_cpu.loading import Loading
from codegen.llvm_cpu.objects import object_layout
from codegen.llvm_cpu.pool import pool_text
from codegen.llvm_cpu.threads import THREADS


@struct
class Runtime:
    """The addresses of the functions that plans run on, and who multiplies matrices."""

    symbols: Mapping[str, int]
    blas: Blas


@cache
def runtime() -> Runtime:
    """The runtime of this process, loaded when first needed; its pool follows THREADS."""
    return load_runtime(multiplier(host_features()))


def begin_runtime() -> None:
    """If the runtime was never compiled on this machine, have a thread begin now, since it will be needed."""
    if not runtime.cache_info().currsize:
        _loading(multiplier(host_features()))


def load_runtime(blas: Blas) -> Runtime:
    """A runtime with a pool of its own."""
    loading = _loading(blas)
    _loading.cache_clear()              # the next one is another, as is one after this has failed
    symbols = loading.addresses()
    THREADS.attach(ctypes.CFUNCTYPE(None, ctypes.c_int)(symbols["set_helpers"]))
    tell_main_thread = follow_main_thread(symbols)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=tell_main_thread)
        os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(symbols["after_fork"]))
    return Runtime(symbols, blas)


@cache
def _loading(blas: Blas) -> Loading:
    """It is compiled quickly: little time is spent in it."""
    layout = object_layout()
    pool = pool_text(platform.system(), platform.machine())
    text = "".join((pool, host_poll_text(), hold_text(blas), blas_text(blas), DRIVER_TEXT, entry_text(layout)))
    exports = (*EXPORTS, *INTERRUPTIONS, *blas_symbols(blas), "enter_table", *(("enter",) if layout else ()),
               "set_helpers", "launch")
    key = content_key("runtime", machine_identity(), text)
    return Loading(key, default_cache().disk, lambda: text, exports, blas.imports, COLD)
