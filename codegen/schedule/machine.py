"""Machine: what the scheduler knows of the machine it schedules for. How results round never depends on it, nor on its threads.

A chunk's size is a matter of shapes and of these constants, so a plan for one Machine is the same on every run.
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """`vector_bytes`: width of a vector register. `cache_bytes`: what one core's own cache holds.

    `serial_work`: operations on elements below which a launch is one chunk. `chunk_work`: the least for a chunk of several.
    `most_chunks`: about how many a large launch is cut into. `most_operations`: how long a kernel may become, in additions.
    """

    vector_bytes: int = 64
    cache_bytes: int = 1 << 20
    serial_work: int = 1 << 15
    chunk_work: int = 1 << 14
    most_chunks: int = 64
    most_operations: int = 640
