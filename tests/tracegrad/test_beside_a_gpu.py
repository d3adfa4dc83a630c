"""Tensors on the CPU do what they did where a GPU is in use, too: tests of theirs run again in a process that uses one.

Much asks whether CuPy is in use, and takes another way then. A selection by default; the whole files, in half a minute
a processor, with TRACEGRAD_ALL_BESIDE_A_GPU=1 in the environment.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVERYTHING = "TRACEGRAD_ALL_BESIDE_A_GPU" in os.environ

PROGRAM = """
import sys
import pytest, stub_cupy

class InUse:
    def pytest_sessionstart(self):                  # after what configures the tests
        import tracegrad as tg
        tg.ones(2, device="cuda")
        assert tg.devices.CUPY

with stub_cupy.installed():
    sys.exit(pytest.main(sys.argv[1:], plugins=[InUse()]))
"""

QUICK = "tracegrad/test_writes tracegrad/test_windows tracegrad/test_indexing tracegrad/test_updates"
MORE = ("tracegrad/test_assignment tracegrad/test_tensors tracegrad/test_dispatch tracegrad/test_autograd "
        "tracegrad/test_optim tracegrad/test_tracing tracegrad/test_routes tracegrad/test_interop agreement/test_views "
        "agreement/test_programs agreement/test_paths")
SLOW = "pytorch or numerical or second_derivatives or traced or recorded or every_key or basic_keys"
"""Tests that take long: comparisons with PyTorch and many drawn programs."""


def test_cpu_tensors_beside_a_gpu() -> None:
    files = [f"tests/{name}.py" for name in (f"{QUICK} {MORE}" if EVERYTHING else QUICK).split()]
    chosen = [] if EVERYTHING else ["-k", f"not ({SLOW})"]
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([sys.executable, "-c", PROGRAM, "-q", "-p", "no:cacheprovider", *chosen, *files], cwd=ROOT,
                          env={**environment, "PYTHONPATH": paths}, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"with CuPy in use:\n{done.stdout[-8000:]}{done.stderr[-2000:]}", pytrace=False)
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= (900 if EVERYTHING else 150)
