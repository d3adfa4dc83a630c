"""What launches pass to CUDA's driver, byte for byte, by a driver that starts nothing."""
from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gpu_extra import needs_cupy, needs_triton
from gpu_kernels import EXP_SUM, PRODUCTS, SOFTMAX, TAKE, WRITTEN
from stub_cuda import StubDriver, build, expected, launches, needs_compiler, parameter_sizes

from codegen.cache import Cache, DiskCache
from codegen.ir.dims import evaluate
from codegen.ir.text import parse
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import CannotLower
from codegen.triton_gpu.compile import Arch, Cubin, compile_specs, listing_of
from codegen.triton_gpu.kernels import kernel_launches
from codegen.triton_gpu.launch import NARROW, Launcher, needs_wide
from codegen.triton_gpu.spec import KernelSpec
from codegen.triton_gpu.target import gpu_machine


class Noted:
    """A driver that notes its calls; its functions are the cubins."""

    arch: Arch = (9, 0)

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def load(self, cubin: Cubin) -> Cubin:
        return cubin

    def permit_shared(self, function: Cubin, size: int) -> None:
        self.calls.append(("permit", function.code, size))

    def launch(self, function: Cubin, programs: int, threads: int, shared: int, parameters: int) -> None:
        self.calls.append((function.code, programs, threads, shared))


@pytest.fixture
def launcher(monkeypatch) -> Launcher:
    """Nothing is compiled: the code says which variant of what it is."""
    def compiled(specs, arch, cache, variants):
        return {(spec, aligned): Cubin(f"{spec.name} {'aligned' if aligned else 'generic'}".encode(), spec.name,
                                       32 * spec.warps, 100_000 if spec.name == "product" else 16)
                for spec in specs for aligned in variants}

    monkeypatch.setattr("codegen.triton_gpu.launch.compile_specs", compiled)
    return Launcher(Noted(), Cache(None))


def calls(launcher: Launcher) -> list[tuple]:
    found, launcher._driver.calls = launcher._driver.calls, []
    return found


@pytest.mark.parametrize("pointers, words, variant", [
    ((512, 1024, 2048), (1024,), "aligned"),
    ((512, 1024, 2048 + 16), (16,), "aligned"),
    ((512, 1024, 2048 + 8), (1024,), "generic"),
    ((512 + 4, 1024, 2048), (1024,), "generic"),
    ((512, 1024, 2048), (1000,), "generic"),
])
def test_the_variant_is_chosen_by_pointers_and_words(launcher, pointers, words, variant) -> None:
    launcher.bind(EXP_SUM, pointers, words)()
    (code, programs, threads, shared), = calls(launcher)
    assert code.decode() == f"exp_sum {variant}"
    assert (programs, threads, shared) == (1, 128, 16)


def test_words_that_are_not_promised_may_be_anything(launcher) -> None:
    launcher.bind(TAKE, (512, 1024, 2048), (1024, 7), 4)()
    assert calls(launcher)[0][0] == b"take aligned"
    launcher.bind(TAKE, (512, 1024, 2048), (1023, 16), 4)()
    assert calls(launcher)[0][0] == b"take generic"


def test_programs_are_what_the_words_say_and_none_are_not_launched(launcher) -> None:
    launcher.bind(EXP_SUM, (512, 512, 512), (100_000,))()
    launcher.bind(SOFTMAX, (512, 512), (100_000,))()                # more than 65,535
    launcher.bind(replace(SOFTMAX, words=0, grid=7), (512, 512))()
    assert [call[1] for call in calls(launcher)] == [98, 100_000, 7]
    launcher.bind(EXP_SUM, (0, 0, 0), (0,))()
    launcher.bind(replace(SOFTMAX, words=0, grid=0), (0, 0))()
    assert calls(launcher) == []


def test_more_shared_memory_is_permitted_once_before_the_first_launch(launcher) -> None:
    for _ in range(2):
        launcher.bind(PRODUCTS["bf16"], (512, 512, 512), (128, 128, 64))()
    permit, *launched = calls(launcher)
    assert permit == ("permit", b"product aligned", 100_000)
    assert [call[3] for call in launched] == [100_000, 100_000]


def test_what_a_kernel_does_not_take_is_refused(launcher) -> None:
    for pointers, words, failed in (((512, 512), (16,), 0), ((512,) * 3, (), 0), ((512,) * 3, (16,), 4)):
        with pytest.raises(TypeError, match="exp_sum takes 3 buffers, no flag and 1 words"):
            launcher.bind(EXP_SUM, pointers, words, failed)
    with pytest.raises(TypeError, match="take takes 3 buffers, a flag and 2 words, not 3, none and 2"):
        launcher.bind(TAKE, (512,) * 3, (16, 16))


def test_words_of_32_bits_hold_what_they_are_given(launcher) -> None:
    launcher.bind(EXP_SUM, (512,) * 3, (NARROW,))()
    with pytest.raises(OverflowError, match="exp_sum computes with 32 bits"):
        launcher.bind(EXP_SUM, (512,) * 3, (NARROW + 1,))
    launcher.bind(TAKE, (512,) * 3, (2**33, 5), 4)()
    with pytest.raises(CannotLower, match="programs; there can be 2,147,483,647"):
        launcher.bind(TAKE, (512,) * 3, (2**40, 5), 4)
    assert needs_wide([5, 2**31]) and not needs_wide([5, 2**30])


# ---- against the stub ------------------------------------------------------------------------------------------------


def emitted() -> dict[str, KernelSpec]:
    """The kernels of a plan for all sizes: a checked one, a product, reductions."""
    plan = schedule(optimize(parse("""graph f(%0: f32[b,s], %1: f32[s,c], %2: i64[b]) {
      %3 = gather %0, %2 axis=0 : f32[b,s]
      %4 = matmul %3, %1 : f32[b,c]
      %5 = tanh %4 : f32[b,c]
      %6 = sum %5 axis=[1] keepdims=false : f32[b]
      %7 = max %5 axis=[0] keepdims=false : f32[c]
      return %5, %6, %7
    }""")), (), gpu_machine())
    made = kernel_launches(plan, (9, 0)).values()
    return {f"{launch.spec.name} of a plan": launch.spec for launch in made if launch is not None}


EMITTED = emitted()


def cases(spec: KernelSpec) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Addresses and words with different bytes, aligned and not."""
    count = len(spec.pointers)
    pointers = tuple(0x7f00_1122_0000 + 0x0001_0203_0400 * k for k in range(count))
    words = tuple(0x0003_0400 + 0x0001_0010 * k for k in range(spec.words))
    failed = 0x7fff_eeee_dd00 if spec.flagged else 0
    odd = tuple(word + 1 for word in words)
    return [(pointers, words, failed), (tuple(p + 4 for p in pointers), odd, failed)]


@pytest.fixture(scope="module")
def stub(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("stub"))


@pytest.fixture
def log(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("STUB_CUDA_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Cache:
    cache = Cache(DiskCache(tmp_path_factory.mktemp("cache")))
    compile_specs([*WRITTEN.values(), *EMITTED.values()], (9, 0), cache)
    return cache


@needs_triton
@needs_compiler
@pytest.mark.parametrize("spec", [*WRITTEN.values(), *EMITTED.values()], ids=[*WRITTEN, *EMITTED])
def test_every_byte_of_a_launch(spec: KernelSpec, stub: Path, log: Path, compiled: Cache) -> None:
    driver = StubDriver(stub)
    launcher = Launcher(driver, compiled)
    for aligned, (pointers, words, failed) in zip((True, False), cases(spec)):
        cubin = compile_specs([spec], driver.arch, compiled, (aligned,))[spec, aligned]
        driver.sizes(parameter_sizes(listing_of(spec, driver.arch, aligned)))
        work = launcher.bind(spec, pointers, words, failed)
        driver.current += 1
        work()
        launched, = launches(log)
        assert launched.parameters == expected(spec, pointers, words, failed)
        programs = evaluate(spec.grid, {f"n{k}": word for k, word in enumerate(words)})
        assert launched[:5] == (cubin.name, (programs, 1, 1), (cubin.threads, 1, 1), cubin.shared, driver.current)
    assert driver.loads == 2


@needs_triton
@needs_compiler
def test_what_the_driver_refuses_is_raised(stub: Path, log: Path, compiled: Cache, monkeypatch) -> None:
    driver = StubDriver(stub)
    monkeypatch.setattr(driver, "permit_shared", lambda function, size: None)
    work = Launcher(driver, compiled).bind(PRODUCTS["bf16"], (512, 512, 512), (128, 128, 64))
    with pytest.raises(RuntimeError, match="status 1"):
        work()
    assert launches(log) == []


@needs_triton
@needs_cupy
@needs_compiler
def test_cupy_passes_the_same_bytes(stub: Path, log: Path, compiled: Cache) -> None:
    """In another process, where CuPy takes the stub for CUDA's driver. Its runtime does not: that needs a GPU."""
    assert compiled.disk
    code = f"""
from pathlib import Path
from types import SimpleNamespace
import sys
from codegen.cache import Cache, DiskCache
from codegen.triton_gpu import cupy_driver
from codegen.triton_gpu.launch import Launcher
from gpu_kernels import WRITTEN
from stub_cuda import StubDriver, parameter_sizes
from test_launch import cases
import cupy.cuda
cupy_driver.current_capability = lambda: (9, 0)
cupy.cuda.get_current_stream = lambda: SimpleNamespace(ptr=78)
launcher = Launcher(cupy_driver.CupyDriver(), Cache(DiskCache(Path({str(compiled.disk.directory)!r}))))
stub = StubDriver({str(stub)!r})
for spec in WRITTEN.values():
    for pointers, words, failed in cases(spec):
        stub.sizes([8] * (len(pointers) + spec.flagged) + [4 if spec.word_type == "i32" else 8] * len(words) + [8, 8])
        launcher.bind(spec, pointers, words, failed)()
try:
    cupy_driver.CupyDriver().load(SimpleNamespace(code=b"no code", name=""))
except Exception as error:
    print(type(error).__name__)
assert "triton" not in sys.modules
"""
    folders = [os.getcwd(), os.path.abspath("tests"), str(Path(__file__).parent)]
    paths = {"PYTHONPATH": os.pathsep.join(folders), "LD_LIBRARY_PATH": str(stub.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env=os.environ | paths)
    assert (done.stderr, done.stdout) == ("", "CUDADriverError\n")
    found = launches(log)
    wanted = [(spec, aligned, *case) for spec in WRITTEN.values() for aligned, case in zip((True, False), cases(spec))]
    cubins = compile_specs(WRITTEN.values(), (9, 0), compiled)
    for launched, (spec, aligned, pointers, words, failed) in zip(found, wanted, strict=True):
        assert launched.parameters == expected(spec, pointers, words, failed)
        assert (launched.name, launched.shared, launched.stream) == (spec.name, cubins[spec, aligned].shared, 78)
        assert launched.block == (cubins[spec, aligned].threads, 1, 1)
