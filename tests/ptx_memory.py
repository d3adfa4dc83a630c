"""The memories of a GPU, as bytes: what is read and written is inside, aligned, and in an order that threads keep.

    memory = Memory(bytes, base, threads)       a space that all threads see, from an address on
    memory.load(addresses, np.dtype("u4"), who)

1. An access outside of what `allow` has allowed, or at an address that its size does not divide, is a PtxError.
2. Two threads that access one byte, one of them to write it, do so in an order: they are of one warp and a barrier of
   the warp is between, or of one block and a barrier of the block is. Atomic operations need no order among themselves.
"""
from __future__ import annotations

import numpy as np


class PtxError(Exception):
    """A program does what has no defined result."""


class Threads:
    """Who runs: for each thread its `block` and `warp`, and the barriers that those have passed."""

    def __init__(self, blocks: int, size: int) -> None:
        ids = np.arange(blocks * size)
        self.size, self.block, self.warp = size, ids // size, ids // 32
        self.block_time = np.zeros(blocks, np.int32)
        self.warp_time = np.zeros(-(-blocks * size // 32), np.int32)


class Memory:
    """Bytes, from the address `base` on; `per` block or thread that many, or all threads see the same."""

    def __init__(self, size: int, base: int, threads: Threads, ordered: bool = True) -> None:
        self.bytes = np.random.default_rng(0).integers(0, 256, -(-size // 16) * 16, np.uint8)
        self.base, self.threads, self.ordered = base, threads, ordered
        self.allowed = np.zeros(self.bytes.size, bool)
        self.writer, self.reader = (np.full(self.bytes.size, -1, np.int32) for _ in range(2))
        self.several = np.zeros(self.bytes.size, bool)          # did others than `reader` read at its time?
        self.times = {name: np.full((2, self.bytes.size), -1, np.int32) for name in ("writer", "reader")}
        self.atomic = np.zeros(self.bytes.size, bool)

    def allow(self, start: int, data: bytes | int) -> None:
        """Accesses to these bytes, or to that many, from offset `start`."""
        size = data if isinstance(data, int) else len(data)
        self.allowed[start:start + size] = True
        if not isinstance(data, int):
            self.bytes[start:start + size] = np.frombuffer(data, np.uint8)

    def places(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """Where elements of `size` bytes are, in units of that."""
        offsets = addresses.astype(np.int64) - self.base
        if (offsets % size).any():
            raise PtxError(f"an address is not divisible by {size}")
        inside = (offsets >= 0) & (offsets + size <= self.bytes.size)
        if not inside.all() or not self.allowed.reshape(-1, size)[offsets // size].all():
            raise PtxError("an access outside of the buffers")
        return offsets // size

    def load(self, addresses: np.ndarray, size: int, who: np.ndarray, constant: bool = False) -> np.ndarray:
        """What is there, as unsigned integers. `constant`: it must not have been written."""
        places = self.places(addresses, size)
        if self.ordered:
            self._check("writer", places, size, who)
            if constant and (self.writer.reshape(-1, size)[places] >= 0).any():
                raise PtxError("what is read as a constant was written")
            time = self._time(who)
            for k in range(size):
                at = size * places + k
                other = (self.reader[at] >= 0) & (self.reader[at] != who) & self._meets("reader", at, who)
                self.reader[at] = who
                self.several[at] |= other | (self.reader[at] != who)
                self.times["reader"][:, at] = time
        return self.bytes.view(f"u{size}")[places]

    def store(self, addresses: np.ndarray, values: np.ndarray, who: np.ndarray) -> None:
        """Write unsigned integers. Threads that write to one place at once write the same."""
        size = values.itemsize
        places = self.places(addresses, size)
        memory = self.bytes.view(values.dtype)
        if self.ordered:
            self._check("writer", places, size, who)
            self._check("reader", places, size, who)
            self._wrote(places, size, who, False)
        memory[places] = values
        if not np.array_equal(memory[places], values):
            raise PtxError("threads write different values to one place at once")

    def atomic_order(self, addresses: np.ndarray, size: int, who: np.ndarray) -> np.ndarray:
        """The places of an atomic operation."""
        places = self.places(addresses, size)
        if self.ordered:
            at = (size * places[:, None] + np.arange(size)).ravel()
            plain = ~self.atomic[at]
            self._check("writer", at[plain], 1, np.repeat(who, size)[plain])
            self._check("reader", places, size, who)
            self._wrote(places, size, who, True)
        return places

    def _time(self, who: np.ndarray) -> np.ndarray:
        threads = self.threads
        return np.stack([threads.block_time[threads.block[who]], threads.warp_time[threads.warp[who]]])

    def _wrote(self, places: np.ndarray, size: int, who: np.ndarray, atomic: bool) -> None:
        for k in range(size):
            at = size * places + k
            self.writer[at], self.atomic[at], self.times["writer"][:, at] = who, atomic, self._time(who)

    def _meets(self, kind: str, at: np.ndarray, who: np.ndarray) -> np.ndarray:
        """May what is noted of another thread be at the same time?"""
        threads, other = self.threads, getattr(self, kind)[at]
        block, warp = self.times[kind][:, at]
        same_block, same_warp = threads.block[other] == threads.block[who], threads.warp[other] == threads.warp[who]
        now_block, now_warp = self._time(who)
        return ~same_block | np.where(same_warp, warp == now_warp, block == now_block)

    def _check(self, kind: str, places: np.ndarray, size: int, who: np.ndarray) -> None:
        for k in range(size):
            at = size * places + k
            other = getattr(self, kind)[at]
            apart = (other >= 0) & ((other != who) | (self.several[at] if kind == "reader" else False))
            bad = apart & self._meets(kind, at, who)
            if bad.any():
                which = int(np.flatnonzero(bad)[0])
                raise PtxError(f"thread {who[which]} accesses what thread {other[which]} did not yet finish to "
                               f"{'write' if kind == 'writer' else 'read'}: no barrier is between")
