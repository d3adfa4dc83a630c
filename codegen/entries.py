"""entries: a native function that Python calls instead of a method, and which replays what it is told to.

    EntryHost       the classes it serves             native_call(host)     a method for the class that is called
    EntryProgram    what it does for one root

Where objects are not laid out as is expected there is none, and everything goes through Python.
"""
from __future__ import annotations

from typing import Any

from codegen.llvm_cpu.entry_call import EntryHost
from codegen.llvm_cpu.entry_program import Built, EntryProgram, Register
from codegen.llvm_cpu.objects import attribute_offsets, member_offset, slot_offset

__all__ = ["Built", "EntryHost", "EntryProgram", "Register", "attribute_offsets", "member_offset", "native_call",
           "slot_offset"]


def native_call(host: EntryHost) -> Any | None:
    """The method, which is to be the __call__ of the class that has the tree; None if objects cannot be read."""
    from codegen.llvm_cpu.entry_method import native_method  # brings LLVM along

    return native_method(host)
