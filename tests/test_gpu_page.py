"""The examples of docs/gpu.md print what they say: on a stand-in of CuPy, and in Triton's interpreter."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_extra import needs_triton

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
ON_A_GPU, INTERPRETED = re.findall(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", PAGE, re.DOTALL)

STAND_IN = """
import stub_cupy
from codegen import TARGETS

TARGETS["triton_gpu"] = stub_cupy.on_numpy(TARGETS["llvm_cpu"])
with stub_cupy.installed():
"""


def printed(program: str, folder: Path, **environment: str) -> str:
    file = folder / "example.py"
    file.write_text(program)
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=folder, env={
        **os.environ, "PYTHONPATH": paths, "TRACEGRAD_CACHE_DIR": str(folder), **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_on_a_gpu(tmp_path: Path) -> None:
    code, text = ON_A_GPU
    inside = "".join(f"    {line}\n" for line in code.splitlines())
    assert printed(STAND_IN + inside, tmp_path) == text


@needs_triton
def test_the_example_in_the_interpreter(tmp_path: Path) -> None:
    code, text = INTERPRETED
    assert printed(code, tmp_path, TRITON_INTERPRET="1") == text


def test_the_commands_exist() -> None:
    from benchmarks.gpu.__main__ import KNOWN
    commands = re.findall(r"^    python -m benchmarks.gpu(.*?)(?:    |$)", PAGE, re.MULTILINE)
    named = {word for command in commands for word in command.split() if not word.startswith("-")}
    assert len(commands) == 3 and named and named <= KNOWN.keys()


def test_no_heading_comes_twice() -> None:
    headings = re.findall(r"^#+ .*", PAGE, re.MULTILINE)
    assert len(set(headings)) == len(headings) >= 6


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE))))
def test_what_is_linked_is_there(name: str) -> None:
    assert (ROOT / "docs" / name).exists()
