"""The memories of a GPU, as bytes: what is read and written is inside, aligned, and in an order that threads keep.

    memory = Memory(1024, 0, threads)
    memory.load(addresses, 4, who)          unsigned integers of 4 bytes, for threads `who`

1. An access outside of what `allow` has allowed, or at an address that its size does not divide, is a PtxError.
2. So is one to a byte that another thread accesses, one of them to write it, unless a barrier is between that both
   keep: of their warp, or of their block. Atomic operations need none among themselves.
3. In memory that all blocks see a thread may write what another of its block reads: Triton lets all threads read a
   number that one then replaces. Whether that matters is seen by letting warps run in another order.
"""
from __future__ import annotations

import numpy as np


class PtxError(Exception):
    """A program does what has no defined result."""


class Threads:
    """Who runs: for each thread its `block` and `warp`, and how many barriers those have passed."""

    def __init__(self, blocks: int, size: int) -> None:
        ids = np.arange(blocks * size)
        self.size, self.block, self.warp = size, ids // size, ids // 32
        self.block_time = np.zeros(blocks, np.int32)
        self.warp_time = np.zeros(blocks * size // 32, np.int32)


class Accesses:
    """The last access to each byte: by which thread, and when; and was it by `several`, which no barrier parts?"""

    def __init__(self, size: int, threads: Threads) -> None:
        self.threads = threads
        self.thread = np.full(size, -1, np.int32)
        self.several, self.atomic = np.zeros(size, bool), np.zeros(size, bool)
        self.block_time, self.warp_time = np.zeros(size, np.int32), np.zeros(size, np.int32)

    def note(self, at: np.ndarray, who: np.ndarray, atomic: bool = False) -> None:
        """Threads `who` access these bytes."""
        apart = self.meet(at, who)
        self.thread[at], self.atomic[at] = who, atomic
        self.several[at] = apart
        self.several[at[self.thread[at] != who]] = True
        self.block_time[at] = self.threads.block_time[self.threads.block[who]]
        self.warp_time[at] = self.threads.warp_time[self.threads.warp[who]]

    def meet(self, at: np.ndarray, who: np.ndarray, blocks_only: bool = False) -> np.ndarray:
        """Which of them meet accesses of others?"""
        threads, other = self.threads, self.thread[at]
        same_block, same_warp = threads.block[other] == threads.block[who], threads.warp[other] == threads.warp[who]
        now = np.where(same_warp, self.warp_time[at] == threads.warp_time[threads.warp[who]],
                       self.block_time[at] == threads.block_time[threads.block[who]])
        return (other >= 0) & ((other != who) | self.several[at]) & (~same_block | now & (not blocks_only))


class Memory:
    """Bytes, from the address `base` on. `seen`: by all blocks, by each block for itself, or by each thread."""

    def __init__(self, size: int, base: int, threads: Threads, seen: str) -> None:
        self.bytes = np.random.default_rng(0).integers(0, 256, -(-size // 16) * 16, np.uint8)
        self.allowed = np.zeros(self.bytes.size, bool)
        self.base, self.threads, self.seen = base, threads, seen
        self.writes, self.reads = (Accesses(self.bytes.size, threads) for _ in range(2))

    def allow(self, start: int, data: bytes | int) -> None:
        """Accesses to these bytes, or to that many, from offset `start`."""
        size = data if isinstance(data, int) else len(data)
        self.allowed[start:start + size] = True
        if isinstance(data, bytes):
            self.bytes[start:start + size] = np.frombuffer(data, np.uint8)

    def load(self, addresses: np.ndarray, size: int, who: np.ndarray, constant: bool = False) -> np.ndarray:
        """What is there, as unsigned integers. `constant`: nothing may have written it."""
        places, at, who = self._places(addresses, size, who)
        if self.seen != "thread":
            self._refuse(self.writes.meet(at, who), who, "reads what another writes")
            self._refuse(constant & (self.writes.thread[at] >= 0), who, "reads as a constant what was written")
            self.reads.note(at, who)
        return self.bytes.view(f"u{size}")[places]

    def store(self, addresses: np.ndarray, values: np.ndarray, who: np.ndarray) -> None:
        """Write unsigned integers. What is there already may be written in any order, and by many at once."""
        places, at, who = self._places(addresses, values.itemsize, who)
        memory = self.bytes.view(values.dtype)
        if self.seen != "thread":
            new = np.repeat(memory[places] != values, values.itemsize)
            self._order_write(at[new], who[new], self.writes.meet(at[new], who[new]))
            self.writes.note(at[new], who[new])
        memory[places] = values
        self._refuse(np.repeat(memory[places] != values, values.itemsize), who, "writes something else than another")
        if self.seen != "thread":
            self.writes.several[at] = False

    def atomic_places(self, addresses: np.ndarray, size: int, who: np.ndarray) -> np.ndarray:
        """Where, in units of `size`, an atomic operation is about to read and write."""
        places, at, who = self._places(addresses, size, who)
        self._order_write(at, who, self.writes.meet(at, who) & ~self.writes.atomic[at])
        self.writes.note(at, who, atomic=True)
        return places

    def _order_write(self, at: np.ndarray, who: np.ndarray, meets_writes: np.ndarray) -> None:
        self._refuse(meets_writes, who, "writes what another writes")
        self._refuse(self.reads.meet(at, who, self.seen == "all"), who, "writes what another reads")

    def _places(self, addresses: np.ndarray, size: int, who: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where elements of `size` bytes are, in units of that; all bytes of them, and who accesses each."""
        offsets = addresses.astype(np.int64) - self.base
        self._refuse(offsets % size != 0, who, f"uses an address that {size} does not divide")
        self._refuse((offsets < 0) | (offsets + size > self.bytes.size), who, "goes outside of the buffers")
        at = (offsets[:, None] + np.arange(size)).ravel()
        self._refuse(~self.allowed[at], np.repeat(who, size), "goes outside of the buffers")
        return offsets // size, at, np.repeat(who, size)

    @staticmethod
    def _refuse(wrong: np.ndarray, who: np.ndarray, what: str) -> None:
        if np.any(wrong):
            raise PtxError(f"thread {who[np.flatnonzero(wrong)[0]]} {what}")
