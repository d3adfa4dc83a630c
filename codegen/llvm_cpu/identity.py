"""identity: what compiled code depends on beside the text it was made from. It is part of every key it is kept under.

    machine_identity()    processor and features, system, the library that compiles, the sources that emit

1. It is known without reading much: files by their size and time, as Python tells whether its bytecode is stale; and
   what LLVM calls the processor is kept, so that a process which finds all it needs in the cache never loads LLVM.
"""
from __future__ import annotations

import os
import platform
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from codegen.cache import content_key, default_cache
from codegen.llvm_cpu.link import processor_by_llvm

_CPUINFO = "/proc/cpuinfo"
_FIRST_PROCESSOR_BYTES = 1 << 14
_CHANGING = frozenset({"cpu mhz", "bogomips", "processor", "core id", "apicid", "initial apicid", "physical id",
                       "siblings", "cpu cores"})
"""What /proc/cpuinfo says that differs from time to time, or from one core to the next."""


@cache
def host() -> tuple[str, str]:
    """The name of this machine's processor and its features, as LLVM writes them: ("znver4", "+avx,-amx-bf16,...")."""
    disk, key = default_cache().disk, _host_key()
    kept = _kept_host(key)
    if kept is not None:
        return kept
    name, features = processor_by_llvm()
    if disk is not None and key:
        disk.put(key, f"{name}\n{features}".encode())
    return name, features


def is_host_known() -> bool:
    """Is it known without asking LLVM?"""
    return _kept_host(_host_key()) is not None


def _kept_host(key: str) -> tuple[str, str] | None:
    disk = default_cache().disk
    kept = (disk.get(key) or b"").decode().split("\n") if disk is not None and key else ()
    return (kept[0], kept[1]) if len(kept) == 2 else None


@cache
def _host_key() -> str:
    """Under what it is kept; "" where nothing tells one processor from another."""
    text = processor_text(_CPUINFO)
    return content_key("host", *compiler_identity(), text) if text else ""


def processor_text(path: str) -> str:
    """What the system says of the first processor, without what changes; "" where it says nothing."""
    try:
        with open(path) as file:
            first = file.read(_FIRST_PROCESSOR_BYTES).partition("\n\n")[0]
    except OSError:
        return ""
    return "\n".join(line for line in first.splitlines() if line.partition(":")[0].strip().lower() not in _CHANGING)


@cache
def machine_identity() -> str:
    """What an object depends on beside the text it was made from, in one word."""
    return content_key(*host(), platform.machine(), platform.system(), *compiler_identity(), *_sources())


@cache
def compiler_identity() -> tuple[str, ...]:
    """What makes the objects: the files of llvmlite, found without importing it."""
    spec = find_spec("llvmlite")
    if spec is None or spec.origin is None:
        return ()
    folder = Path(spec.origin).parent
    return tuple(_files(folder)) + tuple(_files(folder / "binding"))


@cache
def _sources() -> tuple[str, ...]:
    """The files of codegen: what is scheduled and emitted changes with them."""
    package = Path(__file__).parents[1]
    folders = [package, *sorted(entry for entry in package.iterdir() if entry.name != "__pycache__")]
    return tuple(file for folder in folders for file in _files(folder))


def _files(folder: Path) -> list[str]:
    """Each file that is loaded of a folder: its name, size and time."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries
                     if entry.name.endswith((".py", ".pyc", ".so", ".dylib", ".dll"))]
    except OSError:
        return []
    return sorted(f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in found)
