"""The examples in docstrings run and give what they say."""
from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import tracegrad as tg

ROOT = Path(__file__).parent.parent.parent
WITH_EXAMPLES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in sorted((ROOT / "tracegrad").rglob("*.py")) if "    >>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(name.removesuffix(".__init__")), extraglobs={"tg": tg})
    assert found.failed == 0 and found.attempted > 0


def test_there_are_examples() -> None:
    assert len(WITH_EXAMPLES) > 8
