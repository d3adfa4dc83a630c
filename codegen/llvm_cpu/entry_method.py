"""entry_method: @call (see entry_call) as a method that a class can have. It is compiled once for a machine.

Compiling it takes longer than most programs do, so nobody waits for it: a thread does, and until it is done there is no
method, and calls go through Python.
"""
from __future__ import annotations

import ctypes
from typing import Any

from codegen.cache import content_key, default_cache
from codegen.llvm_cpu.entry_call import call_imports, call_text
from codegen.llvm_cpu.entry_host import EntryHost
from codegen.llvm_cpu.identity import machine_identity
from codegen.llvm_cpu.link import LinkError
from codegen.llvm_cpu.loading import Loading
from codegen.llvm_cpu.runtime import runtime

_FASTCALL_KEYWORDS = 0x80 | 0x02


class _Definition(ctypes.Structure):
    """What the interpreter calls a PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p)]


_made: list[Any] = []       # what a method reads stays until the process ends, as the method may


class HostMethod:
    """The method for the class of host.tree. Unless it `is_ready`, `get` waits."""

    def __init__(self, host: EntryHost):
        self._host = host
        self._loading: Loading | None = None
        text = call_text(host)
        if text is not None:
            self._loading = Loading(content_key("entry", machine_identity(), text), default_cache().disk, lambda: text,
                                    ("call",), call_imports(host, runtime().symbols), later=True)

    @property
    def is_ready(self) -> bool:
        return self._loading is None or self._loading.is_ready

    def get(self) -> Any | None:
        """The method; None where objects are not laid out as expected, or LLVM has failed: Python is right, too."""
        try:
            address = None if self._loading is None else self._loading.addresses()["call"]
        except LinkError:
            address = None
        if address is None:
            return None
        definition = _Definition(b"__call__", address, _FASTCALL_KEYWORDS, None)
        make = ctypes.pythonapi.PyDescr_NewMethod
        make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]
        _made.extend((definition, self._host))
        return make(self._host.tree[0], ctypes.addressof(definition))
