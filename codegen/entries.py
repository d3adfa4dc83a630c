"""entries: a native function that Python calls instead of a method, and which replays what it is told to.

    EntryHost       the classes it serves             native_call(host)     a method for the class that is called, soon
    EntryProgram    what it does for one root

Where objects are not laid out as is expected there is none, and everything goes through Python.
"""
from __future__ import annotations

from typing import Any, Protocol

from codegen.llvm_cpu.entry_host import EntryHost, Keeping
from codegen.llvm_cpu.entry_program import Built, EntryProgram, Register
from codegen.llvm_cpu.objects import attribute_offsets, member_offset, slot_offset


class NativeMethod(Protocol):
    """A method that a thread may still be compiling: `get` gives it, or None if objects cannot be read."""

    @property
    def is_ready(self) -> bool: ...
    def get(self) -> Any | None: ...

__all__ = ["Built", "EntryHost", "EntryProgram", "Keeping", "NativeMethod", "Register", "attribute_offsets",
           "member_offset", "native_call", "slot_offset"]


def native_call(host: EntryHost) -> NativeMethod:
    """What is to be the __call__ of the class that has the tree."""
    from codegen.llvm_cpu.entry_method import HostMethod  # brings the runtime along

    return HostMethod(host)
