"""entry_method: @call (see entry_call) as a method that a class can have. It is compiled once for a machine."""
from __future__ import annotations

import ctypes
from typing import Any

from codegen.cache import content_key, default_cache
from codegen.llvm_cpu.entry_call import EntryHost, call_imports, call_text
from codegen.llvm_cpu.link import HOT
from codegen.llvm_cpu.runtime import load, machine_identity, runtime

_FASTCALL_KEYWORDS = 0x80 | 0x02


class _Definition(ctypes.Structure):
    """What the interpreter calls a PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p)]


_made: list[Any] = []       # what a method reads stays until the process ends, as the method may


def native_method(host: EntryHost) -> Any | None:
    """The method, for the class of host.tree; None where objects are not laid out as expected."""
    text = call_text(host)
    if text is None:
        return None
    cache = default_cache()
    with cache.lock:
        key = content_key("entry", *machine_identity(), text)
        symbols, _ = load(key, cache.disk, lambda: text, ("call",), call_imports(host, runtime().symbols), HOT)
    definition = _Definition(b"__call__", symbols["call"], _FASTCALL_KEYWORDS, None)
    make = ctypes.pythonapi.PyDescr_NewMethod
    make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]
    _made.extend((definition, host))
    return make(host.tree[0], ctypes.addressof(definition))
