"""tile_registers: may this process use the tile registers of AMX, and does a program want to?

The system keeps no room for a thread's tiles until its process has asked, once, which no process does that multiplies
no bf16: each signal then needs more of its stack.
"""
from __future__ import annotations

import ctypes
import platform
from functools import cache

from codegen.ir.tree import Tree
from codegen.llvm_cpu.features import host_features

_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18
"""The system call of Linux on x86-64, ARCH_REQ_XCOMP_PERM, and what is asked for."""


def multiplies_halves(tree: Tree) -> bool:
    """Does the tree have products of bf16 that are computed in tiles?"""
    return host_features().tiles and any(
        node.op == "matmul" and node.type.dtype == "bf16" for block in tree.blocks for node in block.nodes
    ) and are_permitted()


@cache
def are_permitted() -> bool:
    """Has the system let this process use tiles? Threads and forked children may then, too."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0
