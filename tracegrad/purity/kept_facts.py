"""KeptFacts: what code says, on disk: another process need not take the bytecode apart that a prediction meets.

    facts_of(code)      the same as code_facts.facts_of, in a fifth of its time where an earlier process has asked
    mentioned           what all code mentioned that was met in the end, the last time

1. Facts are found by what they follow from: all that a code object holds, the Python that runs it, and the sources that
   take it apart. They are kept together for all code that is met from the same first code on.
2. What was `mentioned` may be another now: who uses it compares it with what is found.
3. Where little code is met, nothing is kept: it is taken apart sooner.
"""
from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import cache
from hashlib import blake2b
from importlib.util import MAGIC_NUMBER
from operator import attrgetter
from types import CodeType
from typing import Any

from codegen import content_key, default_cache
from tracegrad.purity import bytecode, code_facts, inside_tensors
from tracegrad.purity.code_facts import Facts, Mentioned, facts_of, known_facts, remembered

FEW = 8
"""So many are taken apart before they are kept."""

TAKING_APART = (bytecode, code_facts, inside_tensors)
"""The modules that facts depend on."""

_NAMES = tuple(field.name for field in fields(Facts) if field.name != "code")
_values = attrgetter(*_NAMES)
Kept = dict[bytes, tuple[Any, ...]]
"""What facts say, by the digest of their code."""


class KeptFacts:
    """The facts of the code that one prediction meets; `first` is what it begins with, where that is known."""

    def __init__(self, first: CodeType | None = None) -> None:
        self._kept: Kept | None = None      # once the disk was asked
        self._key = ""
        self._taken_apart = 0
        self.mentioned: Mentioned | None = None
        if first is not None and known_facts(first) is None:    # else this process has met it, and what comes after
            self._ask(first)

    def facts_of(self, code: CodeType) -> Facts:
        """The facts of one code object."""
        found = known_facts(code)
        if found is not None:
            return found
        if self._kept is None:
            self._ask(code)
        values = self._kept.get(digest(code)) if self._kept else None
        if values is None:
            self._taken_apart += 1
            return facts_of(code)
        return remembered(Facts(code, *values))

    def _ask(self, first: CodeType) -> None:
        self._key = content_key("facts", MAGIC_NUMBER, sys.version, *_sources(), digest(first))
        self._kept, self.mentioned = _read(self._key)

    def keep(self, codes: Iterable[CodeType], mentioned: Callable[[], Mentioned | None]) -> None:
        """The prediction is made, and has met `codes`: the next process is to find what this one did not."""
        disk = default_cache().disk
        if disk is None or self._kept is None or not self._kept and self._taken_apart <= FEW:
            return
        last = mentioned()
        if not self._taken_apart and last == self.mentioned:
            return
        kept = {digest(code): _values(facts_of(code)) for code in codes}
        kept.pop(b"", None)
        disk.put(self._key, marshal.dumps((kept, last and (*last,))))


def digest(code: CodeType) -> bytes:
    """A short word for all that a code object holds; b"" where it holds what no text of Python's gives."""
    try:
        return blake2b(marshal.dumps(code, 2), digest_size=16).digest()     # later formats depend on who holds it
    except ValueError:
        return b""


@cache
def _sources() -> tuple[str, ...]:
    """What takes code apart: files, with size and time, as Python tells whether its bytecode is stale."""
    found = []
    for module in TAKING_APART:
        status = os.stat(str(module.__file__))
        found.append(f"{module.__name__} {status.st_size} {status.st_mtime_ns}")
    return tuple(found)


def _read(key: str) -> tuple[Kept, Mentioned | None]:
    disk = default_cache().disk
    data = None if disk is None else disk.get(key)
    if data is None:
        return {}, None
    try:
        kept, last = marshal.loads(data)
        if all(len(values) == len(_NAMES) for values in kept.values()):
            return kept, last and Mentioned(*last)
    except (ValueError, TypeError, EOFError, AttributeError):
        pass
    assert disk is not None
    disk.discard(key)
    return {}, None
