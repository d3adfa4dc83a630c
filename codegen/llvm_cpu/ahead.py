"""ahead: what the first compiled program of a machine needs, begun while it is recorded.

LLVM takes 10 ms to load, for which a thread asks the system without the interpreter's lock. More in threads would gain
nothing: what holds the lock is not done faster by two, and who gives it up for a moment waits long to get it back.
"""
from __future__ import annotations

from functools import cache

from codegen.llvm_cpu.identity import is_host_known


@cache
def prepare() -> None:
    """If no program was ever compiled on this machine, have a thread load LLVM, which will be needed."""
    if not is_host_known():
        import llvmlite  # noqa: F401 - it reads files, between which the thread would wait for the lock

        from codegen.llvm_cpu.jobs import begin
        from codegen.llvm_cpu.llvm import llvm

        begin(llvm)
