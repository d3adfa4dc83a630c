"""A CUDA driver that starts nothing, built from stub_cuda.c, and what it was asked to launch."""
from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from codegen.triton_gpu.compile import Arch, Cubin
from codegen.triton_gpu.spec import KernelSpec

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

BYTES = {"u64": 8, "s64": 8, "b64": 8, "f64": 8, "u32": 4, "s32": 4, "b32": 4, "f32": 4, "u16": 2, "b16": 2, "u8": 1}


class Launched(NamedTuple):
    """A launch as the driver has seen it."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    stream: int
    parameters: tuple[bytes, ...]


def build(folder: Path) -> Path:
    """The stub as libcuda.so.1."""
    library = folder / "libcuda.so.1"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library,
                    Path(__file__).with_suffix(".c")], check=True)
    return library


def launches(log: Path) -> list[Launched]:
    """What was launched since this was last asked."""
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    found = []
    for line in lines:
        name, *numbers = line.split(" ")
        gx, gy, gz, bx, by, bz, shared, stream = map(int, numbers[:8])
        found.append(Launched(name, (gx, gy, gz), (bx, by, bz), shared, stream,
                              tuple(map(bytes.fromhex, numbers[8:]))))
    return found


def parameter_sizes(ptx: str) -> list[int]:
    """The bytes of each parameter of the entry in a PTX text."""
    entry = re.search(r"\.entry \w+\((.*?)\)", ptx, re.DOTALL)
    assert entry
    sizes = []
    for line in entry[1].strip().splitlines():
        kind, array = re.search(r"\.param (?:\.align \d+ )?\.(\w+)", line), re.search(r"\[(\d+)\]", line)
        assert kind
        sizes.append(int(array[1]) if array else BYTES[kind[1]])
    return sizes


def expected(spec: KernelSpec, pointers: Sequence[int], words: Sequence[int], failed: int = 0) -> tuple[bytes, ...]:
    """What the parameters of a launch are, byte for byte."""
    flag = (failed,) if spec.flagged else ()
    size = 4 if spec.word_type == "i32" else 8
    return (*(p.to_bytes(8, "little") for p in (*pointers, *flag)),
            *(w.to_bytes(size, "little", signed=True) for w in words), bytes(8), bytes(8))


class StubDriver:
    """The same calls as CupyDriver's, by ctypes, of the stub."""

    def __init__(self, library: Path, arch: Arch = (9, 0), stream: int = 77):
        self.arch, self.current = arch, stream
        self._cuda = ctypes.CDLL(str(library))
        self._cuda.cuLaunchKernel.argtypes = [ctypes.c_void_p, *[ctypes.c_uint] * 7, *[ctypes.c_void_p] * 3]
        self.loads = 0

    def sizes(self, sizes: Sequence[int]) -> None:
        """How many bytes of each parameter are read from now on."""
        self._cuda.stub_sizes(len(sizes), (ctypes.c_int * len(sizes))(*sizes))

    def load(self, cubin: Cubin) -> ctypes.c_void_p:
        self.loads += 1
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self._checked(self._cuda.cuModuleLoadData(ctypes.byref(module), cubin.code))
        self._checked(self._cuda.cuModuleGetFunction(ctypes.byref(function), module, cubin.name.encode()))
        return function

    def permit_shared(self, function: ctypes.c_void_p, size: int) -> None:
        self._checked(self._cuda.cuFuncSetAttribute(function, 8, size))

    def launch(self, function: ctypes.c_void_p, programs: int, threads: int, shared: int, parameters: int) -> None:
        self._checked(self._cuda.cuLaunchKernel(function, programs, 1, 1, threads, 1, 1, shared, self.current,
                                                parameters, None))

    def _checked(self, status: int) -> None:
        if status:
            raise RuntimeError(f"status {status}")
