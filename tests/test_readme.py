"""The README and the pages about traced functions run as printed, and what they name exists."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README, *PAGES = ((ROOT / name).read_text(encoding="utf-8") for name in (
    "README.md", "docs/tracing.md", "docs/debugging.md", "docs/explaining.md", "docs/profiling.md",
    "docs/func.md", "docs/autograd.md", "docs/mixed_precision.md"))


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("code,printed", [
    pair for page in (README, *PAGES)
    for pair in zip(blocks("python", page), blocks("text", page), strict=True)])
def test_the_examples_print_what_they_say(code, printed, tmp_path):
    file = tmp_path / "example.py"
    file.write_text(code)
    run = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=tmp_path,
                         env={"PYTHONPATH": str(ROOT), "TRACEGRAD_CACHE_DIR": str(tmp_path), "PATH": ""})
    assert (run.stdout, run.returncode) == (printed, 0), run.stderr


def test_the_examples_are_short():
    assert all(len([line for line in code.splitlines() if line.strip()]) <= 15 for code in blocks("python"))


def test_the_commands_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make (\w+)", README)) - {"a", "it"}
    assert {"demo", "test"} <= named <= targets


def test_the_map_names_what_is_there():
    section = README.split("## The map of the code")[1].split("##")[0]
    folder = ROOT
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip())
        for name in re.findall(r"^\s+((?:[\w./]+(?: |$))+)", line):
            for part in name.split():
                if part.endswith(("/", ".py")):
                    base = ROOT if indent == 4 else folder
                    assert (base / part).exists(), f"the map names {part}"
                    folder = base / part if indent == 4 else folder
