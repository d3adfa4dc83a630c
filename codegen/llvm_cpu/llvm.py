"""llvm: the few functions of LLVM that make objects, from the library that llvmlite brings.

    llvm().emit(text, machine, OBJECT)      text --parse, instruction selection--> object, or assembly for people

1. They are called directly: importing all that llvmlite wraps takes as long as compiling several kernels. A version of
   llvmlite whose functions are not known here is asked through its own wrappers.
2. Loading the library and compiling go on without the interpreter's lock, and nothing else: a thread that gives it up
   waits long to get it back from one that computes.
3. A machine is used by one thread at a time; a text has a context of its own, which nobody else sees.
"""
from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

ASSEMBLY, OBJECT = 0, 1
"""What is made of a text."""

KNOWN = ((0, 45), (0, 50))
"""The first and the last version of llvmlite whose functions are as below."""


class Llvm(Protocol):
    """The library. Functions raise RuntimeError with LLVM's words."""

    def processor(self) -> tuple[str, str]:
        """The name of this machine's processor and its features, as LLVM writes them: ("znver4", "+avx,-sse4a,...")."""

    def new_machine(self, level: int) -> Any:
        """What makes code for this machine, at a level of optimization from 0 to 3."""

    def emit(self, text: str, machine: Any, what: int) -> bytes:
        """OBJECT or ASSEMBLY of a text."""

    def version(self) -> str:
        """The version, for people."""


_loading = threading.Lock()


def llvm() -> Llvm:
    """The library, loaded when first needed."""
    with _loading:
        return _llvm()


@cache
def _llvm() -> Llvm:
    import llvmlite

    version = tuple(int(part) for part in llvmlite.__version__.split(".")[:2] if part.isdigit())
    path = _library_path()
    return Direct(path) if path is not None and KNOWN[0] <= version <= KNOWN[1] else Wrapped()


def _library_path() -> Path | None:
    """Where llvmlite keeps its library, unless that is no file."""
    spec = find_spec("llvmlite")
    if spec is None or spec.origin is None:
        return None
    name = {"win32": "llvmlite.dll", "darwin": "libllvmlite.dylib"}.get(sys.platform, "libllvmlite.so")
    path = Path(spec.origin).parent / "binding" / name
    return path if path.is_file() else None


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "InitializeNativeTarget": (None, ()),
    "InitializeNativeAsmPrinter": (None, ()),
    "GetVersionInfo": (ctypes.c_uint, ()),
    "GetHostCPUName": (None, (POINTER(c_void_p),)),
    "GetHostCPUFeatures": (c_int, (POINTER(c_void_p),)),
    "GetDefaultTargetTriple": (None, (POINTER(c_void_p),)),
    "GetTargetFromTriple": (c_void_p, (c_char_p, POINTER(c_void_p))),
    "CreateTargetMachine": (c_void_p, (c_void_p, c_char_p, c_char_p, c_char_p, c_int, c_char_p, c_char_p, c_int, c_int,
                                       c_char_p)),
    "ContextCreate": (c_void_p, ()),
    "ContextDispose": (None, (c_void_p,)),
    "ParseAssembly": (c_void_p, (c_void_p, c_char_p, POINTER(c_void_p))),
    "DisposeModule": (None, (c_void_p,)),
    "TargetMachineEmitToMemory": (c_void_p, (c_void_p, c_void_p, c_int, POINTER(c_void_p))),
    "GetBufferStart": (c_void_p, (c_void_p,)),
    "GetBufferSize": (c_size_t, (c_void_p,)),
    "DisposeMemoryBuffer": (None, (c_void_p,)),
    "DisposeString": (None, (c_void_p,)),
}
"""By name, without what all names begin with: what a function gives and what it takes."""


_LONG = ("ParseAssembly", "TargetMachineEmitToMemory")
"""Functions that are called without the interpreter's lock."""


class Direct:
    """The functions of the library."""

    def __init__(self, path: Path):
        unlocked, locked = _loaded(path), ctypes.PyDLL(str(path))
        self._call: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(unlocked if name in _LONG else locked, f"LLVMPY_{name}")
            function.restype, function.argtypes = result, arguments
            self._call[name] = function
        self._call["InitializeNativeTarget"]()
        self._call["InitializeNativeAsmPrinter"]()

    def processor(self) -> tuple[str, str]:
        features = self._said("GetHostCPUFeatures").split(",")
        return self._said("GetHostCPUName"), ",".join(sorted(filter(None, features), key=lambda feature: feature[1:]))

    def new_machine(self, level: int) -> int:
        triple, problem = self._said("GetDefaultTargetTriple").encode(), c_void_p()
        target = self._call["GetTargetFromTriple"](triple, byref(problem))
        if not target:
            raise RuntimeError(self._taken(problem))
        cpu, features = (word.encode() for word in self.processor())
        machine = self._call["CreateTargetMachine"](target, triple, cpu, features, level, b"pic", b"default", 0, 0, b"")
        if not machine:
            raise RuntimeError(f"no machine for {triple.decode()}")
        return machine

    def emit(self, text: str, machine: int, what: int) -> bytes:
        call, problem = self._call, c_void_p()
        context = call["ContextCreate"]()
        try:
            module = call["ParseAssembly"](context, text.encode(), byref(problem))
            if not module:
                raise RuntimeError(self._taken(problem))
            try:
                buffer = call["TargetMachineEmitToMemory"](machine, module, what, byref(problem))
            finally:
                call["DisposeModule"](module)
        finally:
            call["ContextDispose"](context)
        if not buffer:
            raise RuntimeError(self._taken(problem))
        try:
            return ctypes.string_at(call["GetBufferStart"](buffer), call["GetBufferSize"](buffer))
        finally:
            call["DisposeMemoryBuffer"](buffer)

    def version(self) -> str:
        number = self._call["GetVersionInfo"]()
        return ".".join(str(number >> shift & 0xFF) for shift in (16, 8, 0))

    def _said(self, function: str) -> str:
        words = c_void_p()
        self._call[function](byref(words))
        return self._taken(words)

    def _taken(self, words: c_void_p) -> str:
        """What LLVM has written, which is its caller's."""
        if not words:
            return ""
        try:
            return ctypes.string_at(words.value or 0).decode()
        finally:
            self._call["DisposeString"](words)


def _loaded(path: Path) -> ctypes.CDLL:
    """The library at a path. Loading takes 10 ms, for which CDLL would keep the interpreter's lock: whoever asks the
    system, as any other function is called, does not, and CDLL finds it loaded."""
    if os.name == "posix":
        load = getattr(ctypes.CDLL(None), "dlopen", None)
        if load is not None:
            load.restype, load.argtypes = c_void_p, (c_char_p, c_int)
            load(os.fsencode(path), os.RTLD_NOW)
    return ctypes.CDLL(str(path))


class Wrapped:
    """The same, through what llvmlite wraps it in."""

    def __init__(self) -> None:
        import llvmlite.binding as binding

        self._binding = binding
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()

    def processor(self) -> tuple[str, str]:
        return self._binding.get_host_cpu_name(), self._binding.get_host_cpu_features().flatten()

    def new_machine(self, level: int) -> Any:
        cpu, features = self.processor()
        return self._binding.Target.from_default_triple().create_target_machine(
            cpu=cpu, features=features, opt=level, reloc="pic", codemodel="default")

    def emit(self, text: str, machine: Any, what: int) -> bytes:
        with self._binding.parse_assembly(text, self._binding.create_context()) as module:
            return machine.emit_object(module) if what == OBJECT else machine.emit_assembly(module).encode()

    def version(self) -> str:
        return ".".join(map(str, self._binding.llvm_version_info))
