"""compiled: the code of a generated text. That of a long text is kept on disk: another process need not compile it.

    compiled("def check(args, kwargs): ...", "<check>")     compile(text, name, "exec"), at a tenth of its time

1. Code is found by its text and by the Python that runs it, as native code is by what it was made from (see
   codegen.cache); what cannot be read is compiled anew.
"""
from __future__ import annotations

import marshal
import sys
from importlib.util import MAGIC_NUMBER
from types import CodeType

from codegen import content_key, default_cache

LONG = 4000
"""From so many characters on, compiling takes longer than reading a file."""


def compiled(text: str, name: str) -> CodeType:
    """The code of the statements `text`, which says that it comes from the file `name`."""
    disk = default_cache().disk
    if len(text) < LONG or disk is None:
        return compile(text, name, "exec")
    key = content_key("generated", MAGIC_NUMBER, sys.version, str(sys.flags), name, text)
    kept = disk.get(key)
    if kept is not None:
        found: CodeType = marshal.loads(kept)
        return found
    code = compile(text, name, "exec")
    disk.put(key, marshal.dumps(code))
    return code
