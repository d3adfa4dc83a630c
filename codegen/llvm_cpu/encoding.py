"""encoding: a program as the driver runs it (see encode), which the cache keeps."""
from __future__ import annotations

import numpy as np

from codegen.ir.structs import struct
from codegen.llvm_cpu.host_calls import HostCalls

PROGRAM = -1
"""In the place of a slot: the words of the program."""


@struct
class Encoding:
    """`words` is the program; `arena_slots`: (slot, offset) of what is in the arena; `constant_slots`: (slot, content)
    of what is in neither it nor the arguments; `frame_words`: a frame's size.

    `host_calls`: the functions in Python that it launches. `steps`: (block, step of its plan) by the word of the launch
    that does it. `is_long`: a run takes tens of microseconds, or more. `calls`: where addresses of functions are: (slot
    of the constant or PROGRAM, word).
    """

    words: np.ndarray
    arguments: int
    arena_slots: tuple[tuple[int, int], ...]
    constant_slots: tuple[tuple[int, np.ndarray], ...]
    frame_words: int
    host_calls: HostCalls
    steps: dict[int, tuple[int, int]]
    is_long: bool
    calls: tuple[tuple[int, int], ...]
