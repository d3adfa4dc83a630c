"""What is in a cubin, by the tools that come with Triton: registers, stack and instructions."""
from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def _cuobjdump() -> str:
    spec = find_spec("triton")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump")


def _dumped(code: bytes, option: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        return subprocess.run([_cuobjdump(), option, file.name], capture_output=True, text=True, check=True).stdout


def registers_and_stack(code: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes of stack, which what does not fit into them is put into."""
    found = re.search(r"REG:(\d+) STACK:(\d+)", _dumped(code, "--dump-resource-usage"))
    assert found is not None
    return int(found[1]), int(found[2])


def instructions(code: bytes) -> Counter[str]:
    """How often each instruction is there, by its name with all that belongs to it: LDG.E.128, HMMA.16816.F32."""
    return Counter(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", _dumped(code, "-sass"), re.M))
