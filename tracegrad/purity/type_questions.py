"""Which code could see, by asking for types, that something stands in for what it was given.

    if type(n) is int:          n may be a SizeNumber while a run is recorded: it is not, where such code may run
    isinstance(n, int)          asks for n.__class__, which is int: what stands in says what it stands for
"""
from __future__ import annotations

import os
from functools import lru_cache
from types import CodeType

from tracegrad.purity.bytecode import steps
from tracegrad.purity.code_facts import only_raises
from tracegrad.purity.prediction import Prediction
from tracegrad.source_lines import is_inside

ASKS_FOR_TYPES = frozenset({"type", "__getattribute__", "getattr_static"})
"""Names in code that could tell what stands in for something from that."""

_STANDARD = os.path.dirname(os.__file__) + os.sep
UNCONCERNED = tuple(_STANDARD + name for name in ("logging" + os.sep, "warnings.py", "traceback.py", "linecache.py",
                                                  "inspect.py"))
"""Code that asks for the types of other things, and of these for their text at most."""


@lru_cache(maxsize=4096)
def asks_for_types(code: CodeType) -> bool:
    """Could `code` tell what stands in for something from that, but in the text of an error it raises?"""
    file = code.co_filename
    if ASKS_FOR_TYPES.isdisjoint(code.co_names) or is_inside(file) or file.startswith(UNCONCERNED):
        return False
    program = steps(code)
    return any(step.value in ASKS_FOR_TYPES and not only_raises(code, program, k) for k, step in enumerate(program)
               if step.kind in ("global", "attribute", "import from"))


def may_ask_for_types(prediction: Prediction) -> bool:
    """Could anything that may run?"""
    return prediction.asks_for_types or any(map(asks_for_types, prediction.codes.values()))
