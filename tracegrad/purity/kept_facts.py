"""KeptFacts: the facts of code that a prediction meets, on disk: another process need not take its bytecode apart.

    facts_of(code)      the same as code_facts.facts_of, in a fifth of its time where an earlier process has asked

1. Facts are found by what they follow from: all that a code object holds, the Python that runs it, and the sources that
   take it apart. They are kept together for all code that is met from the same first code on.
2. Where little code is met, it is taken apart: that is done sooner than a file is read.
"""
from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Iterable
from dataclasses import fields
from functools import cache, cached_property
from hashlib import blake2b
from importlib.util import MAGIC_NUMBER
from operator import attrgetter
from types import CodeType
from typing import Any

from codegen import content_key, default_cache
from tracegrad.purity import bytecode, code_facts, inside_tensors
from tracegrad.purity.code_facts import Facts, facts_of, known_facts, remembered

FEW = 8
"""So many are taken apart before the disk is asked."""

TAKING_APART = (bytecode, code_facts, inside_tensors)
"""The modules that facts depend on."""

_NAMES = tuple(field.name for field in fields(Facts) if field.name != "code")
_values = attrgetter(*_NAMES)
Kept = dict[bytes, tuple[Any, ...]]
"""What facts say, by the digest of their code."""


class KeptFacts:
    """The facts of the code that one prediction meets."""

    def __init__(self) -> None:
        self._first: list[CodeType] = []    # those that were taken apart
        self._kept: Kept | None = None      # once the disk was asked
        self._is_whole = True               # did that know all that it was asked for?

    def facts_of(self, code: CodeType) -> Facts:
        """The facts of one code object."""
        found = known_facts(code)
        if found is not None:
            return found
        if len(self._first) < FEW:
            self._first.append(code)
            return facts_of(code)
        if self._kept is None:
            self._kept = _read(self._key)
        values = self._kept.get(digest(code)) if self._kept else None
        if values is None:
            self._is_whole = False
            return facts_of(code)
        return remembered(Facts(code, *values))

    @cached_property
    def _key(self) -> str:
        """Under what the facts are kept of all that is met from the first code on."""
        return content_key("facts", MAGIC_NUMBER, sys.version, *_sources(), digest(self._first[0]))

    def keep(self, codes: Iterable[CodeType]) -> None:
        """The prediction is made, and has met `codes`: the next process is to find what this one did not."""
        disk = default_cache().disk
        if self._kept is None or self._is_whole or disk is None:
            return
        kept = {digest(code): _values(facts_of(code)) for code in codes}
        kept.pop(b"", None)
        disk.put(self._key, marshal.dumps(kept))


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


def _read(key: str) -> Kept:
    disk = default_cache().disk
    data = None if disk is None else disk.get(key)
    if data is None:
        return {}
    try:
        kept: Kept = marshal.loads(data)
        if all(len(values) == len(_NAMES) for values in kept.values()):
            return kept
    except (ValueError, TypeError, EOFError, AttributeError):
        pass
    assert disk is not None
    disk.discard(key)
    return {}
