"""Generated code is compiled once for a machine, and anew where what is kept cannot be believed."""
from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from codegen import Cache, DiskCache
from tracegrad import generated


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are compiled, with a cache of its own."""
    found: list[str] = []
    original = compile

    def noting(text: str, *of: Any) -> Any:
        found.append(text)
        return original(text, *of)

    cache = Cache(DiskCache(tmp_path))
    monkeypatch.setattr(generated, "default_cache", lambda: cache)
    monkeypatch.setattr(builtins, "compile", noting)
    return found


def value_of(text: str) -> Any:
    space: dict[str, Any] = {}
    exec(generated.compiled(text, "<generated>"), space)
    return space["x"]


def test_a_long_text_is_compiled_once(texts: list[str], tmp_path: Path) -> None:
    long = "x = 0\n" + "x += 1\n" * generated.LONG
    assert [value_of(long) for _ in range(3)] == [generated.LONG] * 3 and texts == [long]
    assert value_of(long + "x += 1") == generated.LONG + 1 and len(texts) == 2
    for entry in tmp_path.iterdir():
        entry.write_bytes(entry.read_bytes()[:-1])
    assert value_of(long) == generated.LONG and len(texts) == 3


def test_a_short_text_is_not_kept(texts: list[str], tmp_path: Path) -> None:
    assert [value_of("x = 3") for _ in range(2)] == [3, 3] and len(texts) == 2 and not list(tmp_path.iterdir())
