"""Runs what Triton compiled, without a GPU: PTX on NumPy arrays, all threads of all blocks side by side.

    run_ptx(listing, buffers, words, programs=4, shared=1024)        the buffers as the launch leaves them

Threads go in lock-step, or warps one after another; where they part, those that are furthest behind in the text go on,
so that they meet again.
What a GPU computes otherwise than Triton's interpreter is here: conversions, shifts, fused multiply-adds, subnormal
numbers, approximations, 32-bit addresses, warps that exchange values, shared memory and its barriers.

An error, not a result: an access outside of the buffers or not aligned, a race (see ptx_memory), a barrier or an
exchange that not all threads of the block or warp reach, an instruction that is not known. Registers and shared memory
hold anything before they are written. Not modelled: time, caches, wgmma, TMA, clusters.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from ptx_actions import ACTIONS, Copy, carry
from ptx_arithmetic import COMPUTES, TYPES, Name
from ptx_memory import Memory, PtxError, Threads
from ptx_text import Address, Function, Instruction, Module, Operand, parse_module

BASE = 0x7F00_0000_0000
"""Where global memory begins: an address that was computed in 32 bits is none."""

GAP = 256
"""Bytes between buffers, which start at addresses that this divides."""

MOST_THREADS = 1 << 16
"""So many run at once; the blocks of larger grids run one after another."""

parsed = lru_cache(64)(parse_module)


def run_ptx(text: str, buffers: Sequence[np.ndarray], words: Sequence[int], programs: int, shared: int,
            aligned: bool = True, order: int = 0) -> None:
    """Launch on flat arrays, in place. Where they are not `aligned`, they begin at odd multiples of their elements.

    `order`: 0 lets all warps go side by side, 1 and -1 one after another, the first or the last first.
    """
    module = parsed(text)
    size = module.entry.threads
    step = max(1, MOST_THREADS // size)
    datas = [*(x.tobytes() for x in buffers), *module.constants.values()]
    starts = np.cumsum([GAP, *(-(-len(data) // GAP) * GAP + GAP for data in datas)]).tolist()
    memory = Memory(starts[-1], BASE, Threads(programs, size), "all")
    if not aligned:
        starts[:len(buffers)] = [start + x.itemsize for start, x in zip(starts, buffers)]
    for start, data in zip(starts, datas):
        memory.allow(start, data)
    symbols = dict(zip(module.constants, (BASE + start for start in starts[len(buffers):])))
    params = [*(BASE + start for start in starts[:len(buffers)]), *words, 0, 0]
    for first in range(0, programs, step):
        Machine(module, memory, symbols, np.arange(first, min(first + step, programs)), programs, shared,
                order).launch(params)
    for x, start in zip(buffers, starts):
        x.view(np.uint8)[:] = memory.bytes[start:start + x.nbytes]


class Frame:
    """A call of a function by some threads: the registers of each, and what it was given."""

    def __init__(self, function: Function, who: np.ndarray, params: dict[str, dict[int, np.ndarray]]) -> None:
        self.function, self.who, self.params = function, who, params
        self.registers: dict[str, np.ndarray] = {}


class Machine:
    """Some blocks of a launch."""

    def __init__(self, module: Module, memory: Memory, symbols: dict[str, int], blocks: np.ndarray, programs: int,
                 shared: int, order: int) -> None:
        self.module, self.symbols, self.programs = module, symbols | {"global_smem": 0}, programs
        size = module.entry.threads
        self.threads, self.order = memory.threads, order
        self.everyone = (blocks[:, None] * size + np.arange(size)).ravel()
        self.first = int(self.everyone[0])
        self.copies: list[Copy] = []
        self.group = np.zeros(self.threads.block.size, np.int64)
        self.shared_size = -(-max(shared, 1) // 16) * 16
        self.local_size = -(-max(f.local for f in module.functions.values()) // 16) * 16 or 16
        self.spaces = {
            "global": memory,
            "shared": Memory(self.shared_size * blocks.size, 0, self.threads, "block"),
            "local": Memory(self.local_size * self.everyone.size, 0, self.threads, "thread")}
        for b in range(blocks.size):
            self.spaces["shared"].allow(b * self.shared_size, shared)
        self.spaces["local"].allow(0, self.spaces["local"].bytes.size)

    def launch(self, params: Sequence[int]) -> None:
        """Run the entry on these."""
        entry = self.module.entry
        given = {name: {0: np.full(self.everyone.size, value % 2**64, np.uint64)}
                 for name, value in zip(entry.params, params, strict=True)}
        with np.errstate(all="ignore"):
            self.run(Frame(entry, self.everyone, given))

    def run(self, frame: Frame) -> None:
        """Until all threads of the frame have returned."""
        code, stops = frame.function.code, set(frame.function.labels.values())
        at = np.zeros(frame.who.size, np.int64)
        waiting = np.zeros(frame.who.size, bool)
        rank = self.order * (frame.who % self.threads.size // 32)
        while (living := at < len(code)).any():
            ready = np.flatnonzero(living & ~waiting)
            if not ready.size:
                raise PtxError("a barrier that not all threads reach")
            ready = ready[rank[ready] == rank[ready].min()]
            k = int(at[ready].min())
            active = ready[at[ready] == k]
            while True:
                instruction = code[k]
                k += 1
                try:
                    target = self.step(frame, instruction, active)
                except PtxError as error:
                    raise PtxError(f"{error}: {instruction.text}") from None
                if target is not None:
                    at[active] = np.where(target[0], target[1], k)
                    break
                if instruction.parts[0] in ("bar", "barrier"):
                    at[active] = k
                    self.barrier(frame, instruction, active, at, waiting)
                    break
                if k in stops or k == len(code):
                    at[active] = k
                    break

    def step(self, frame: Frame, i: Instruction, active: np.ndarray) -> tuple[np.ndarray, int] | None:
        """One instruction. Of a branch: which of the active threads take it, and where to."""
        op = i.parts[0]
        taken = np.ones(active.size, bool)
        if i.guard:
            taken = self.read(frame, i.guard, "pred", active) != i.negated
        if op == "bra":
            return taken, frame.function.labels[str(i.operands[0])]
        if op in ("ret", "exit"):
            return taken, len(frame.function.code)
        if op not in ("bar", "barrier") and taken.any():
            self.execute(frame, i, active[taken])
        return None

    def execute(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        """An instruction on the threads that run it."""
        op = i.parts[0]
        if op in ACTIONS or "cc" in i.parts:
            ACTIONS.get(op, carry)(self, frame, i, active)
            return
        if op not in COMPUTES:
            raise PtxError("an instruction that is not known")
        name = Name(i.parts)
        target, *sources = i.operands
        types = name.operands or (name.type,) * len(sources)
        values = [self.read(frame, x, type, active, name.pairs) for x, type in zip(sources, types)]
        self.write(frame, target, COMPUTES[op](name, *values), active)

    def read(self, frame: Frame, x: Operand, type: str, active: np.ndarray, pairs: bool = False) -> np.ndarray:
        """An operand of the active threads, of this type; `pairs`: two of them in 32 bits."""
        dtype = TYPES[type]
        if pairs and dtype.itemsize == 2:
            return self.read(frame, x, "u32", active).view(dtype).reshape(-1, 2)
        if isinstance(x, int):
            if type == "pred":
                return np.full(active.size, x != 0)
            return np.full(active.size, x % (1 << 8 * dtype.itemsize), f"u{dtype.itemsize}").view(dtype)
        if isinstance(x, tuple):                                    # {low, high}
            parts = [self.read(frame, part, f"u{8 * dtype.itemsize // len(x)}", active) for part in x]
            return np.ascontiguousarray(np.stack(parts, 1)).view(dtype).ravel()
        assert isinstance(x, str)
        if x in SPECIAL:
            value = SPECIAL[x](self, frame.who[active]).astype(np.uint32)
        elif not frame.function.width(x):
            return self.read(frame, self.address_of(x), type, active)
        else:
            value = self.register(frame, x)[active]
        return value if type == "pred" else value.astype(f"u{dtype.itemsize}").view(dtype)

    def write(self, frame: Frame, x: Operand, value: np.ndarray, active: np.ndarray) -> None:
        """To a register of the active threads, or to several."""
        if value.ndim == 2 and value.dtype != bool:
            value = np.ascontiguousarray(value).view(np.uint32).ravel()
        if isinstance(x, tuple):
            if value.ndim == 2:                                     # a comparison of pairs
                parts = value.T
            elif value.dtype == bool:                               # p|q: what holds, and what does not
                parts = np.stack([value, ~value])
            else:                                                   # {low, high}
                parts = np.ascontiguousarray(value).view(f"u{value.itemsize // len(x)}").reshape(-1, len(x)).T
            for one, part in zip(x, parts, strict=True):
                self.write(frame, one, part, active)
            return
        assert isinstance(x, str)
        if x == "_":
            return
        register = self.register(frame, x)
        if value.dtype.kind == "i":
            value = value.astype(f"i{register.itemsize}")
        elif value.dtype.kind not in "ub":
            value = value.view(f"u{value.itemsize}")
        register[active] = value.view(register.dtype) if value.itemsize == register.itemsize else value

    def register(self, frame: Frame, x: str) -> np.ndarray:
        """Of all threads of the frame; one that nobody has written holds what it happens to."""
        if x not in frame.registers:
            width = frame.function.width(x)
            found = np.random.default_rng(len(frame.registers)).integers(0, 2**63, frame.who.size)
            frame.registers[x] = found % 2 == 1 if width == 1 else found.astype(f"u{width // 8}")
        return frame.registers[x]

    def address_of(self, name: str) -> int:
        """Of a variable."""
        return 0 if name.startswith("__local_depot") else self.symbols[name]

    def addresses(self, frame: Frame, x: Operand, space: str, active: np.ndarray) -> np.ndarray:
        """Of all active threads, in a space; what each block or thread has for itself is one after another there."""
        assert isinstance(x, Address)
        if x.base is None:
            found = np.zeros(active.size, np.int64)
        else:
            found = self.read(frame, x.base, "u64" if space == "global" else "u32", active).astype(np.int64)
        found = found + x.offset
        size = {"shared": self.shared_size, "local": self.local_size}.get(space)
        if size is None:
            return found
        found %= 1 << 32
        if (found >= size).any():
            raise PtxError(f"an access outside of {space} memory")
        who = frame.who[active]
        owner = self.threads.block[who] - self.threads.block[self.first] if space == "shared" else who - self.first
        return found + size * owner

    def barrier(self, frame: Frame, i: Instruction, active: np.ndarray, at: np.ndarray, waiting: np.ndarray) -> None:
        """bar.warp.sync of all threads of a warp at once; bar.sync: those of a block wait until all are here."""
        threads, who = self.threads, frame.who[active]
        if "warp" in i.parts:
            self.warps(frame, active)
            threads.warp_time[np.unique(threads.warp[who])] += 1
            return
        if i.guard or i.operands != (0,) or frame.who.size != self.everyone.size:
            raise PtxError("a barrier of some threads")
        waiting[active] = True
        blocks = threads.block[frame.who]
        for block in np.unique(blocks[active]):
            own = np.flatnonzero((blocks == block) & (at < len(frame.function.code)))
            if waiting[own].all() and (at[own] == at[own[0]]).all():
                waiting[own] = False
                threads.block_time[block] += 1
                threads.warp_time[np.unique(threads.warp[frame.who[own]])] += 1

    def warps(self, frame: Frame, active: np.ndarray) -> np.ndarray:
        """The active threads as rows of 32: whole warps."""
        rows = frame.who[active].reshape(-1, 32) if active.size % 32 == 0 else None
        if rows is None or (np.diff(rows, axis=1) != 1).any() or (rows[:, 0] % 32).any():
            raise PtxError("an exchange that not all threads of a warp reach")
        return rows


SPECIAL = {
    "%tid.x": lambda m, who: who % m.threads.size, "%tid.y": lambda m, who: 0 * who,
    "%ctaid.x": lambda m, who: m.threads.block[who], "%ctaid.y": lambda m, who: 0 * who,
    "%ntid.x": lambda m, who: np.full(who.size, m.threads.size), "%laneid": lambda m, who: who % 32,
    "%nctaid.x": lambda m, who: np.full(who.size, m.programs),
}
