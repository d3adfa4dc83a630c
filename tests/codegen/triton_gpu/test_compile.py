"""Kernels compile without a GPU, in other processes; what goes wrong there is an exception here."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gpu_extra import needs_triton
from gpu_kernels import EXP_SUM, HEAD, PRODUCTS, SOFTMAX, TAKE, WRITTEN
from machine_code import instructions

from codegen.cache import Cache, DiskCache
from codegen.schedule.plan import CannotLower
from codegen.triton_gpu import compile as compiling
from codegen.triton_gpu.compile import KernelError, arch_name, compile_specs, listing_of, shared_limit
from codegen.triton_gpu.spec import KernelSpec

ARCHS = ((8, 0), (9, 0), "gfx942")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(DiskCache(tmp_path / "cache"))


def broken(body: str, **changes) -> KernelSpec:
    source = f"{HEAD}import os\n\n@triton.jit\ndef bad(b0, n0):\n    x = tl.arange(0, 128)\n    {body}\n"
    return replace(KernelSpec("bad", source, ("fp32",), False, 1, (), 1, 4), **changes)


@needs_triton
@pytest.mark.parametrize("arch", ARCHS, ids=arch_name)
def test_kernels_written_by_hand_compile(cache: Cache, arch) -> None:
    found = compile_specs(WRITTEN.values(), arch, cache)
    assert set(found) == {(spec, aligned) for spec in WRITTEN.values() for aligned in (True, False)}
    for (spec, _), cubin in found.items():
        assert cubin.code.startswith(b"\x7fELF")
        assert cubin.name == spec.name
        assert cubin.threads == spec.warps * (64 if arch == "gfx942" else 32)
        assert 0 <= cubin.shared <= shared_limit(arch)
    assert found[SOFTMAX, True].shared > 0


@needs_triton
@pytest.mark.parametrize("arch", [(8, 6), (8, 9), (10, 0), (12, 0)], ids=arch_name)
def test_other_capabilities_compile_too(cache: Cache, arch) -> None:
    assert compile_specs([EXP_SUM], arch, cache, (True,))[EXP_SUM, True].code


@needs_triton
def test_aligned_code_moves_16_bytes_at_once_and_generic_code_does_not() -> None:
    assert "ld.global.v4.b32" in listing_of(EXP_SUM, (8, 0), True)
    assert ".v4" not in listing_of(EXP_SUM, (8, 0), False)
    assert ".v4" not in listing_of(replace(EXP_SUM, multiples=()), (8, 0), True)      # n0 may cut a block anywhere


@needs_triton
def test_a_product_and_a_sum_are_not_contracted_outside_of_dot_products() -> None:
    assert not re.search(r"\bfma\.", listing_of(EXP_SUM, (9, 0)))
    assert re.search(r"\bfma\.rn\.f32", listing_of(PRODUCTS["ieee"], (9, 0)))


@needs_triton
def test_the_source_is_a_file_that_the_code_names(cache: Cache) -> None:
    compile_specs([EXP_SUM], (9, 0), cache, (True,))
    assert cache.disk
    file, = cache.disk.directory.glob("exp_sum-*.py")
    assert file.read_text() == EXP_SUM.source
    cubin, = cache.cubins.values()
    assert os.fsencode(file.name) in cubin.code and os.fsencode(file.parent) in cubin.code


@needs_triton
def test_nothing_is_compiled_twice(cache: Cache, monkeypatch) -> None:
    first = compile_specs([EXP_SUM, TAKE], (8, 0), cache)
    monkeypatch.setattr(compiling, "_asked", lambda questions: [None for _ in questions])
    assert compile_specs([TAKE, EXP_SUM], (8, 0), cache) == first
    assert compile_specs([TAKE, EXP_SUM], (8, 0), Cache(cache.disk).without_compiling()) == first
    in_memory = Cache(None)
    in_memory.cubins |= cache.cubins
    assert compile_specs([TAKE], (8, 0), in_memory, (False,)) == {(TAKE, False): first[TAKE, False]}


@needs_triton
def test_a_damaged_entry_is_compiled_again(cache: Cache) -> None:
    first = compile_specs([EXP_SUM], (8, 0), cache, (False,))
    assert cache.disk
    for file in cache.disk.directory.glob("*.code"):
        file.write_bytes(file.read_bytes()[:-100])
    shown, = cache.disk.directory.glob("*.py")
    os.utime(shown, (1e9, 1e9))
    again = compile_specs([EXP_SUM], (8, 0), Cache(cache.disk), (False,))
    assert shown.stat().st_mtime == 1e9                         # which is in the code
    assert instructions(again[EXP_SUM, False].code) == instructions(first[EXP_SUM, False].code)


@needs_triton
def test_without_a_disk_code_is_kept_in_memory(monkeypatch) -> None:
    cache = Cache(None)
    first = compile_specs([EXP_SUM], (8, 0), cache, (True,))
    monkeypatch.setattr(compiling, "_asked", lambda questions: [None for _ in questions])
    assert compile_specs([EXP_SUM], (8, 0), cache, (True,)) == first


@needs_triton
def test_a_warm_start_imports_no_triton_and_starts_no_process(cache: Cache) -> None:
    compile_specs(WRITTEN.values(), (9, 0), cache, (True,))
    assert cache.disk
    code = f"""
import subprocess, sys
from pathlib import Path
subprocess.Popen = None
from codegen.cache import Cache, DiskCache
from codegen.triton_gpu.compile import compile_specs
from gpu_kernels import WRITTEN
found = compile_specs(WRITTEN.values(), (9, 0), Cache(DiskCache(Path({str(cache.disk.directory)!r}))), (True,))
print(len(found), [name for name in sys.modules if name.split(".")[0] in ("triton", "cupy")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.path.abspath("tests")])})
    assert done.stdout == f"{len(WRITTEN)} []\n"


FIELDS = {
    "source": EXP_SUM.source + "\n", "pointers": ("fp32", "fp32", "fp64"), "checked": True, "words": 2,
    "constants": (("X", 512),), "warps": 8, "stages": 2, "word_type": "i64", "multiples": (), "name": "other",
}


@pytest.mark.parametrize("field", FIELDS)
def test_the_key_holds_everything_that_makes_a_difference(monkeypatch, field: str) -> None:
    monkeypatch.setattr(compiling, "triton_version", lambda: "3")
    changed = replace(EXP_SUM, **{field: FIELDS[field]})
    assert compiling._key(changed, True, (8, 0)) != compiling._key(EXP_SUM, True, (8, 0))


def test_the_key_holds_the_target_the_variant_the_version_and_the_assembler(monkeypatch) -> None:
    keys = set()
    for version, assembler in (("3.6.0", ""), ("3.9.0", ""), ("3.9.0", "/ptxas")):
        monkeypatch.setattr(compiling, "triton_version", lambda version=version: version)
        monkeypatch.setenv("TRITON_PTXAS_BLACKWELL_PATH", assembler)
        keys |= {compiling._key(EXP_SUM, aligned, arch) for arch in ARCHS for aligned in (True, False)}
    assert len(keys) == 3 * 2 * len(ARCHS)
    assert compiling._key(replace(EXP_SUM, grid=7), True, (8, 0)) in {
        compiling._key(EXP_SUM, True, (8, 0))}                  # which launches know, not the code


# ---- what goes wrong -------------------------------------------------------------------------------------------------


@needs_triton
@pytest.mark.parametrize("spec, said", [
    (broken("tl.store(b0 + x, tl.exp(x))"),
     ["bad for sm_80", "CompilationError", "tl.store(b0 + x, tl.exp(x))", "fp32"]),
    (broken("tl.store(b0 + x, y)"), ["CompilationError", "tl.store(b0 + x, y)", "y is not defined"]),
    (broken("pass", words=2), ["TypeError: bad takes (b0, n0)"]),
    (broken("pass", name="other"), ["other for sm_80: KeyError: 'other'"]),
    (broken("x x"), ["SyntaxError", "line 10"]),
    (broken("tl.store(b0 + x, tl.inline_asm_elementwise('nonsense $0, $1;', '=r,r', [x], tl.int32, False, 1))"),
     ["PTXASError", "nonsense"]),
], ids=["type", "name", "arguments", "function", "syntax", "ptxas"])
def test_an_error_says_what_triton_says_and_of_which_line(cache: Cache, capfd, spec: KernelSpec, said) -> None:
    with pytest.raises(KernelError) as caught:
        compile_specs([spec], (8, 0), cache, (True,))
    for part in said:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 3200
    assert capfd.readouterr() == ("", "")


@needs_triton
@pytest.mark.parametrize("end, said", [("os.abort()", "signal 6"), ("os._exit(1)", "code 1"),
                                       ("os.kill(os.getpid(), 11)", "signal 11")], ids=["abort", "exit", "segv"])
def test_a_crash_of_the_compiler_names_the_kernel_and_the_next_compiles(cache: Cache, end: str, said: str) -> None:
    crashing = replace(broken("pass"), source=f"{broken('pass').source}\nprint('last words', flush=True)\n{end}\n")
    with pytest.raises(KernelError, match=rf"(?s)bad for sm_90: the compiler did not return; .*{said}: last words"):
        compile_specs([EXP_SUM, crashing], (9, 0), cache, (True,))
    assert compile_specs([EXP_SUM], (9, 0), cache.without_compiling(), (True,))         # it was kept all the same
    assert compile_specs([TAKE], (9, 0), cache, (True,))


@needs_triton
def test_an_error_that_llvm_only_prints_is_an_error(cache: Cache) -> None:
    said = r"b'x\n<inline asm>:1:2: error: bad\n'"
    printing = replace(EXP_SUM, source=f"{EXP_SUM.source}\nimport os\nos.write(2, {said})\n")
    with pytest.raises(KernelError, match="exp_sum for gfx942: <inline asm>:1:2: error: bad$"):
        compile_specs([printing], "gfx942", cache, (True,))


@needs_triton
def test_more_shared_memory_than_there_is_cannot_be_lowered(cache: Cache) -> None:
    large = replace(PRODUCTS["bf16"], stages=7)
    with pytest.raises(CannotLower, match=r"product for sm_80: a block takes [\d,]+ bytes of shared memory, "
                                          "and can have 166,912"):
        compile_specs([large], (8, 0), cache, (True,))
    assert compile_specs([large], (9, 0), cache, (True,))[large, True].shared > shared_limit((8, 0))


def test_a_gpu_that_is_too_old_is_named_with_what_to_do(cache: Cache) -> None:
    with pytest.raises(CannotLower, match=r"capability 7\.5 are not supported.*llvm_cpu"):
        compile_specs([EXP_SUM], (7, 5), cache)


def test_without_triton_it_says_what_to_install(cache: Cache, monkeypatch) -> None:
    def missing(name: str) -> str:
        raise compiling.PackageNotFoundError(name)

    monkeypatch.setattr(compiling, "version", missing)
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    with pytest.raises(CannotLower, match=r"pip install 'tracegrad\[gpu\]'"):
        compile_specs([EXP_SUM], (8, 0), cache)


def test_what_may_not_compile_says_so(cache: Cache, monkeypatch) -> None:
    monkeypatch.setattr(compiling, "triton_version", lambda: "3")
    with pytest.raises(CannotLower, match="not compiled before"):
        compile_specs([EXP_SUM], (8, 0), cache.without_compiling())


@needs_triton
def test_settings_of_triton_make_no_difference(cache: Cache, monkeypatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("MLIR_ENABLE_DUMP", "1")
    assert not {"TRITON_INTERPRET", "MLIR_ENABLE_DUMP"} & set(compiling._environment())
