"""compile: KernelSpec -> code for a GPU, ahead of time, in other processes. Nothing of Triton is imported here.

    compile_specs(specs, (9, 0), cache)   ->   {(spec, aligned): Cubin(code=b"...", name="exp_sum", shared=0, ...)}

1. The target is given, so a machine without a GPU compiles for any. Code for capability 8.x, 10.x or 12.x also runs on
   later ones of the same x; what is compiled for 9.0 runs on that alone.
2. Compiled code is kept in the cache with all that a launch needs: who finds it there needs no Triton, only to know
   which version is installed.
3. A crash, a hang or an error of the compiler is a KernelError here, which names the kernel and says what was said.
   More shared memory than the target has is a CannotLower.
4. Arithmetic is never contracted into fused multiply-adds; dot products do what the hardware does. The device library
   keeps subnormal numbers: told to take them as 0, as Triton would, it has NaN as the cube root of one.
"""
from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache as remembered
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codegen.cache import Cache, DiskCache, content_key
from codegen.ir.structs import struct
from codegen.schedule.plan import CannotLower, NoDevice
from codegen.triton_gpu.spec import KernelError, KernelSpec
from codegen.triton_gpu.workers import WorkerDied, WorkerPool

Arch = tuple[int, int] | str
"""A compute capability of CUDA, or the name of an AMD processor."""

Variants = Mapping[tuple[KernelSpec, bool], "Cubin"]
"""Compiled code by (spec, aligned)."""

LAYOUT = "cubin 2"
"""Part of every key; the number changes with what is kept, or with what is asked of Triton beside the key."""

MOST_WORKERS = 8

SHARED_BYTES = {(8, 0): 163 << 10, (8, 6): 99 << 10, (8, 7): 163 << 10, (8, 9): 99 << 10, (9, 0): 227 << 10,
                (10, 0): 227 << 10, (10, 3): 227 << 10, (12, 0): 99 << 10, (12, 1): 99 << 10}
"""What a block of threads can have of shared memory at most, by capability, from NVIDIA's tables: 1 KiB less than is
there, which the system keeps. Of the capabilities that are not here nothing is known."""

AMD_SHARED_BYTES = 64 << 10


@struct
class Cubin:
    """Code for a GPU. `name`: of its entry; `threads` of a block, and `shared` memory that a launch must give it."""

    code: bytes
    name: str
    threads: int
    shared: int


def compile_specs(specs: Iterable[KernelSpec], arch: Arch, cache: Cache,
                  variants: tuple[bool, ...] = (True, False)) -> Variants:
    """Code of each spec for a GPU, in these variants (is it `aligned`?); KernelError or CannotLower for the first
    that cannot be had. What compiles beside that is kept."""
    wanted = list(dict.fromkeys((spec, aligned) for spec in specs for aligned in variants))
    with cache.lock:
        keys = {item: _key(*item, arch) for item in wanted}
        found = {item: _known(key, cache) for item, key in keys.items()}
        missing = [item for item, cubin in found.items() if cubin is None]
        if missing and not cache.compiles:
            raise CannotLower("there is a kernel in it that was not compiled before")
        questions = [_question(*item, arch, _written(item[0], cache.disk)) for item in missing]
        errors = dict[tuple[KernelSpec, bool], Exception]()
        for item, answer in zip(missing, _asked(questions), strict=True):
            try:
                found[item] = cubin = _checked(item[0], arch, answer)
            except (KernelError, CannotLower) as error:
                errors[item] = error
                continue
            cache.cubins[keys[item]] = cubin
            if cache.disk:
                cache.disk.put(keys[item], _packed(cubin))
        if errors:
            raise next(iter(errors.values()))
    return {item: cubin for item, cubin in found.items() if cubin is not None}


def is_known(spec: KernelSpec, aligned: bool, arch: Arch, cache: Cache) -> bool:
    """Is there code of it already?"""
    with cache.lock:
        return _known(_key(spec, aligned, arch), cache) is not None


def listing_of(spec: KernelSpec, arch: Arch, aligned: bool = True) -> str:
    """The assembly of a spec, PTX or AMD's, for people and for tests; compiled anew."""
    return listings_of([spec], arch, aligned)[0][1]


def listings_of(specs: Sequence[KernelSpec], arch: Arch, aligned: bool = True) -> list[tuple[Cubin, str]]:
    """The code and the assembly of each spec."""
    with tempfile.TemporaryDirectory() as folder:
        shown = DiskCache(Path(folder))
        answers = _asked([_question(spec, aligned, arch, _written(spec, shown), listing=True) for spec in specs])
        return [(_checked(spec, arch, answer), answer["listing"])
                for spec, answer in zip(specs, answers, strict=True)]


def arch_name(arch: Arch) -> str:
    """sm_90, gfx942."""
    return arch if isinstance(arch, str) else f"sm_{arch[0]}{arch[1]}"


def shared_limit(arch: Arch) -> int:
    """The bytes of shared memory that a block can have; NoDevice for what Triton does not compile for."""
    if isinstance(arch, str):
        return AMD_SHARED_BYTES
    if arch < (8, 0):
        raise NoDevice(f"GPUs of compute capability {arch[0]}.{arch[1]} are not supported: it takes 8.0 (Ampere) or "
                       "later; compile for the CPU, target=\"llvm_cpu\"")
    known = [capability for capability in SHARED_BYTES if capability <= arch]
    return SHARED_BYTES.get(arch, SHARED_BYTES[max(known)])


def triton_version() -> str:
    """The version of Triton that is installed; NoDevice where there is none."""
    for name in ("triton", "pytorch-triton"):
        try:
            return version(name)
        except PackageNotFoundError:
            pass
    if find_spec("triton"):
        return "unknown"
    raise NoDevice("code for a GPU is compiled by Triton, which is not installed: pip install 'tracegrad[gpu]'")


# ---- asking the workers ----------------------------------------------------------------------------------------------


@remembered
def _pool() -> WorkerPool:
    """The workers of this process: as many as it has processors, of which each compiles on one."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return WorkerPool(Path(__file__).with_name("compile_worker.py"), _environment(), min(processors, MOST_WORKERS))


def _environment() -> dict[str, str]:
    """Of a worker: no settings of Triton or LLVM, but of where ptxas is, make a difference for the code."""
    return {name: value for name, value in os.environ.items()
            if name in PTXAS or not name.startswith(("TRITON_", "MLIR_", "LLVM_"))}


PTXAS = ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH")
"""What to assemble with, if not with what Triton brings: for drivers that are too old for that."""


def _asked(questions: list[dict[str, Any]]) -> list[Any]:
    return _pool().answers(questions) if questions else []


def _question(spec: KernelSpec, aligned: bool, arch: Arch, path: Path, listing: bool = False) -> dict[str, Any]:
    """See compile_worker."""
    target = ("hip", arch, 64) if isinstance(arch, str) else ("cuda", 10 * arch[0] + arch[1], 32)
    first_word = len(spec.pointers) + spec.flagged
    divisible = (*range(len(spec.pointers)), *(first_word + word for word in spec.multiples)) if aligned else ()
    return {"source": spec.source, "path": str(path), "name": spec.name, "signature": spec.signature,
            "constants": dict(spec.constants), "divisible": divisible, "target": target, "options": _options(spec),
            "listing": listing}


def _options(spec: KernelSpec) -> dict[str, Any]:
    return {"num_warps": spec.warps, "num_stages": spec.stages, "enable_fp_fusion": False,
            "enable_reflect_ftz": False}


def _checked(spec: KernelSpec, arch: Arch, answer: Any) -> Cubin:
    """The code in an answer."""
    where = f"{spec.name} for {arch_name(arch)}"
    if isinstance(answer, WorkerDied):
        raise KernelError(f"{where}: the compiler did not return; {answer}")
    if "error" in answer:
        raise KernelError(f"{where}: {answer['error']}")
    if answer["shared"] > shared_limit(arch):
        raise CannotLower(f"{where}: a block takes {answer['shared']:,} bytes of shared memory, and can have "
                          f"{shared_limit(arch):,}")
    return Cubin(answer["code"], answer["name"], answer["threads"], answer["shared"])


# ---- what is kept ----------------------------------------------------------------------------------------------------


def _key(spec: KernelSpec, aligned: bool, arch: Arch) -> str:
    shared_limit(arch)                                          # is it one that there is code for?
    assembler = [os.environ.get(name, "") for name in PTXAS]
    return content_key(LAYOUT, triton_version(), arch_name(arch), spec.source, spec.name,
                       repr((spec.signature, spec.constants, spec.multiples, aligned, _options(spec), assembler)))


def _known(key: str, cache: Cache) -> Cubin | None:
    """What this process or the disk has under a key."""
    if key not in cache.cubins:
        data = cache.disk.get(key) if cache.disk else None
        if data is None:
            return None
        cache.cubins[key] = _unpacked(data)
    return cache.cubins[key]


def _packed(cubin: Cubin) -> bytes:
    about = {"name": cubin.name, "threads": cubin.threads, "shared": cubin.shared}
    return json.dumps(about).encode() + b"\n" + cubin.code


def _unpacked(data: bytes) -> Cubin:
    about, code = data.split(b"\n", 1)
    return Cubin(code, **json.loads(about))


def _written(spec: KernelSpec, disk: DiskCache | None) -> Path:
    """The file that shows the source of a spec; without a disk only its name."""
    name = f"{spec.name}-{content_key(spec.source)[:16]}"
    return disk.show(name, spec.source) if disk else Path(f"<{name}>")
