"""drafts: functions that are compiled quickly, so that a program can run, and well while it does.

    kernel  --COLD--> draft, which runs now, and is kept nowhere
            --HOT---> code that takes the draft's place in all programs that call it, and is kept on disk

1. Both compute the same bits: no level of LLVM's changes what an operation gives. So does the function for products
   of usual width, a copy of which is the draft of that for wide ones where both are new (see products).
2. An address is one word of a program (see encoding), written in one piece: a run calls the one or the other.
3. A fork waits until no drafts are left, which nobody in the child would replace, and so does the interpreter's end.
"""
from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from codegen.cache import Cache, default_cache
from codegen.ir.structs import struct
from codegen.llvm_cpu.encoding import PROGRAM, Encoding
from codegen.llvm_cpu.jobs import Job, begin_later, run_later
from codegen.llvm_cpu.link import LinkError, link


@struct
class Draft:
    """A function that runs before it is compiled well: its key, the symbol that its text defines, what gives the text,
    and how well it will be compiled."""

    key: str
    symbol: str
    write: Callable[[], str]
    level: int


def follow_drafts(encoding: Encoding, key_at: Mapping[int, str], cache: Cache) -> None:
    """See to it that a program calls what takes the place of its drafts; `key_at`: of the function at each address."""
    words = {PROGRAM: encoding.words, **dict(encoding.constant_slots)}
    with cache.lock:
        for slot, at in encoding.calls:
            key = key_at.get(int(words[slot][at]))
            if key is not None:
                words[slot][at] = cache.addresses[key]          # it may have been replaced meanwhile
                if key in cache.callers:
                    cache.callers[key].append((words[slot], at))


def replace_drafts(drafts: Sequence[Draft], cache: Cache) -> None:
    """Have a thread compile these well, one after the other, while others leave it a processor."""
    _wait_at_forks()
    with _changing:
        thread = begin_later(partial(_replace, drafts, cache))
        if thread is not None:
            _replacing.add(thread)
    if thread is None:
        _replace(drafts, cache)


def wait_for_drafts() -> None:
    """Return when every draft of this process has been replaced."""
    for thread in (*_replacing,):
        thread.join()


_changing = threading.Lock()
_replacing: set[threading.Thread] = set()


def _replace(drafts: Sequence[Draft], cache: Cache) -> None:
    for draft in drafts:
        job = Job(draft.write(), draft.level, partial(_keep, cache, draft.key))
        run_later(job.run)
        try:
            address = link(job.code(), (draft.symbol,))[draft.symbol]
        except LinkError:               # the draft is the same function
            address = 0
        with cache.lock:
            callers = cache.callers.pop(draft.key)
            if address:
                cache.addresses[draft.key] = address
                for words, at in callers:
                    words[at] = address
    with _changing:
        _replacing.discard(threading.current_thread())


def _keep(cache: Cache, key: str, code: bytes) -> None:
    if cache.disk:
        cache.disk.put(key, code)


@cache
def _wait_at_forks() -> None:
    """Forks do first what was registered last: they wait for drafts before they take the locks that replacing needs."""
    default_cache()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=wait_for_drafts)
