"""CuPy itself does what we ask of it: its own code, with a CPU in the place of the GPU. See emulated_cuda.

All that test_cuda.py asks of the stand-in, and derivatives, some minutes, more where no kernel is compiled yet:

    TRACEGRAD_TEST_CUPY=1 python -m pytest tests/tracegrad/test_real_cupy.py
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_extra import REASON, needs_cupy, needs_triton

TESTS = Path(__file__).parents[1]
pytestmark = [needs_cupy, needs_triton,                 # Triton brings CUDA's headers
              pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")]

SHOWN = """
import emulated_cuda
import tracegrad as tg
with emulated_cuda.installed():
    x = tg.arange(4.0, device="cuda")
    x[1:] = x[:-1]
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0]
    halves = x.to(tg.bfloat16)
    assert tg.where(x > 0, halves, halves).dtype == tg.bfloat16
"""

KERNEL = """
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/float16.cuh>
#include <cupy/bfloat16.cuh>
#include <cupy/atomics.cuh>
extern "C" __global__ void f(bfloat16* x, float16* y, complex<float>* z, double* sum) {
  x[0] = bfloat16(float(y[0]) + exp(z[0]).real());
  atomicAdd(x + 1, x[0]);
  atomicAdd(sum, 1.0);
}
"""

COMPILED = """
import sys
from cuda.pathfinder import load_nvidia_dynamic_lib
load_nvidia_dynamic_lib("nvrtc")
from cupy._core import core
from cupy.cuda import compiler
for arch in ("80", "90"):
    program = compiler._NVRTCProgram(sys.argv[1], "f.cu", method="cubin")
    code, _ = program.compile(core.assemble_cupy_compiler_options(()) + ("-arch=sm_" + arch,))
    assert code[1:4] == b"ELF"
"""
"""What CuPy does before a kernel runs for the first time."""

EVERYTHING = {"test_cuda.py": "an_op or edge or a_call or a_layer or assigned or writes or learns or pickles or a_path "
                              "or traced or transfer or windows or draws or mask or outside or sizes",
              "test_cuda_transforms.py": ""}


def ran(*arguments: str) -> None:
    """Another process, since CuPy is not to be imported here."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    if "DynamicLibNotFoundError" in done.stderr and "TRACEGRAD_TEST_GPU" not in os.environ:
        pytest.skip(REASON)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_operations_of_cupy() -> None:
    ran("-c", SHOWN)


def test_what_the_extra_installs_compiles_kernels_of_cupy() -> None:
    ran("-c", COMPILED, KERNEL)


@pytest.mark.skipif("TRACEGRAD_TEST_CUPY" not in os.environ, reason="takes minutes: see above")
@pytest.mark.parametrize("file", EVERYTHING)
def test_what_the_stand_in_does_cupy_does(file: str) -> None:
    ran("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "emulated_cuda", str(TESTS / "tracegrad" / file), "-k",
        EVERYTHING[file])
