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
from gpu_extra import needs_cupy, needs_triton

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

EVERYTHING = {"test_cuda.py": "an_op or edge or a_call or a_layer or assigned or writes or learns or pickles or a_path "
                              "or traced or transfer or windows or draws or mask or outside or sizes",
              "test_cuda_transforms.py": ""}


def ran(*arguments: str) -> None:
    """Another process, since CuPy is not to be imported here."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_operations_of_cupy() -> None:
    ran("-c", SHOWN)


@pytest.mark.skipif("TRACEGRAD_TEST_CUPY" not in os.environ, reason="takes minutes: see above")
@pytest.mark.parametrize("file", EVERYTHING)
def test_what_the_stand_in_does_cupy_does(file: str) -> None:
    ran("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "emulated_cuda", str(TESTS / "tracegrad" / file), "-k",
        EVERYTHING[file])
