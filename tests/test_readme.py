"""The README runs as printed, and what it names exists."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def test_the_example_prints_what_it_says(tmp_path):
    file = tmp_path / "example.py"
    file.write_text(block("python"))
    run = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=ROOT,
                         env={"PYTHONPATH": str(ROOT), "TRACEGRAD_CACHE_DIR": str(tmp_path), "PATH": ""})
    assert (run.stdout, run.returncode) == (block("text"), 0), run.stderr


def test_the_example_is_short():
    assert len([line for line in block("python").splitlines() if line.strip()]) <= 15


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
