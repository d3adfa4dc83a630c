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
from ptx_arithmetic import COMPUTES, TYPES, Name
from ptx_matrices import as_tf32, multiplied
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


class Copy:
    """What threads `who` have begun to copy to addresses of shared memory, and by which of their groups of copies."""

    def __init__(self, who: np.ndarray, addresses: np.ndarray, values: np.ndarray, group: np.ndarray) -> None:
        self.who, self.addresses, self.values, self.group = who, addresses, values, group

    def keep(self, some: np.ndarray) -> None:
        """Forget all others."""
        self.who, self.addresses = self.who[some], self.addresses[some]
        self.values, self.group = self.values[some], self.group[some]


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
            ACTIONS.get(op, Machine.carry)(self, frame, i, active)
            return
        if op not in COMPUTES:
            raise PtxError("an instruction that is not known")
        name = Name(i.parts)
        target, *sources = i.operands
        types = name.operands or (name.type,) * len(sources)
        values = [self.read(frame, x, type, active, name.pairs) for x, type in zip(sources, types)]
        self.write(frame, target, COMPUTES[op](name, *values), active)

    # ---- registers ---------------------------------------------------------------------------------------------------

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
        if not x.startswith("%") and x not in frame.function.widths:
            return self.read(frame, self.address_of(x), type, active)
        if x in SPECIAL:
            value = SPECIAL[x](self, frame.who[active]).astype(np.uint32)
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
            width = frame.function.widths.get(x) or frame.function.widths[x.rstrip("0123456789")]
            found = np.random.default_rng(len(frame.registers)).integers(0, 2**63, frame.who.size)
            frame.registers[x] = found % 2 == 1 if width == 1 else found.astype(f"u{width // 8}")
        return frame.registers[x]

    def address_of(self, name: str) -> int:
        """Of a variable."""
        return 0 if name.startswith("__local_depot") else self.symbols[name]

    # ---- memory ------------------------------------------------------------------------------------------------------

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

    def load(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        if "param" in i.parts:
            source = i.operands[1]
            assert isinstance(source, Address)
            value = frame.params[str(source.base)][source.offset][active]
            self.write(frame, i.operands[0], value.astype(TYPES["u" + i.parts[-1][1:]]), active)
            return
        space, type = self.space(i), TYPES[i.parts[-1]]
        first = self.addresses(frame, i.operands[1], space, active)
        targets = i.operands[0] if isinstance(i.operands[0], tuple) else (i.operands[0],)
        if (first % (type.itemsize * len(targets))).any():
            raise PtxError("an address of a vector that is not aligned")
        values = [self.spaces[space].load(first + type.itemsize * k, type.itemsize, frame.who[active], "nc" in i.parts)
                  for k in range(len(targets))]
        for target, value in zip(targets, values):
            self.write(frame, target, value.view(type), active)

    def store(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        values = i.operands[1] if isinstance(i.operands[1], tuple) else (i.operands[1],)
        bits = "u" + i.parts[-1][1:]
        if "param" in i.parts:
            target = i.operands[0]
            assert isinstance(target, Address)
            whole = np.zeros(frame.who.size, TYPES[bits])
            whole[active] = self.read(frame, values[0], bits, active)
            frame.params.setdefault(str(target.base), {})[target.offset] = whole
            return
        space, size = self.space(i), TYPES[bits].itemsize
        first = self.addresses(frame, i.operands[0], space, active)
        if (first % (size * len(values))).any():
            raise PtxError("an address of a vector that is not aligned")
        for k, value in enumerate(values):
            self.spaces[space].store(first + size * k, self.read(frame, value, bits, active), frame.who[active])

    def copy(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        """cp.async: what is copied to shared memory is there when the thread has waited for it; before, anything is."""
        who = frame.who[active]
        if i.parts[2] == "commit_group":
            self.group[who] += 1
            return
        if i.parts[2] in ("wait_group", "wait_all"):
            self.group[who] += i.parts[2] == "wait_all"
            latest = self.group - int(i.operands[0] if i.operands else 0)
            for copy in self.copies:
                done = np.isin(copy.who, who) & (copy.group < latest[copy.who])
                self.spaces["shared"].store(copy.addresses[done], copy.values[done], copy.who[done])
                copy.keep(~done)
            self.copies = [copy for copy in self.copies if copy.who.size]
            return
        target, source, size, *given = i.operands
        assert isinstance(size, int)
        sizes = self.read(frame, given[0] if given else size, "u32", active)
        to, of = self.addresses(frame, target, "shared", active), self.addresses(frame, source, "global", active)
        if ((sizes != size) & (sizes != 0)).any() or (to % size).any() or (of % size).any():
            raise PtxError("a copy of a part, or that is not aligned")
        for k in range(0, size, 4):
            values = np.zeros(active.size, np.uint32)
            read = sizes > 0
            values[read] = self.spaces["global"].load(of[read] + k, 4, who[read])
            self.spaces["shared"].store(to + k, np.full(active.size, 0x7FEDCBA9, np.uint32), who)
            self.copies.append(Copy(who, to + k, values, self.group[who]))

    @staticmethod
    def space(i: Instruction) -> str:
        """Which memory an instruction is about."""
        for part in i.parts:
            if part.split("::")[0] in ("global", "shared", "local"):
                return part.split("::")[0]
        raise PtxError("an access to an address of any memory")

    def atomic(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        """atom and red, one thread after another; of a vector, one element after another."""
        returns = i.parts[0] == "atom"
        target, sources = i.operands[0] if returns else None, i.operands[returns:]
        space, name, who = self.space(i), Name(i.parts), frame.who[active]
        dtype, how = name.dtype, next(part for part in i.parts[1:] if part in _ATOMIC)
        memory = self.spaces[space].bytes.view(dtype)
        first = self.addresses(frame, sources[0], space, active)
        elements = [x if isinstance(x, tuple) else (x,) for x in sources[1:]]
        if (first % (dtype.itemsize * len(elements[0]))).any():
            raise PtxError("an address of a vector that is not aligned")
        before = np.zeros(active.size, dtype)
        for e, operands in enumerate(zip(*elements)):
            places = self.spaces[space].atomic_places(first + e * dtype.itemsize, dtype.itemsize, who)
            values = [self.read(frame, x, name.type, active) for x in operands]
            for k, place in enumerate(places):
                before[k] = memory[place]
                memory[place] = _ATOMIC[how](memory[place], *(x[k] for x in values))
        if target is not None:
            self.write(frame, target, before, active)

    # ---- threads together --------------------------------------------------------------------------------------------

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

    def shuffle(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        target, source, b, c, mask = i.operands
        rows = self.warps(frame, active)
        value, b, c, mask = (self.read(frame, x, "u32", active).reshape(rows.shape) for x in (source, b, c, mask))
        if (mask != 0xFFFFFFFF).any():
            raise PtxError("an exchange between some threads of a warp")
        lane, b, within = np.arange(32), (b & 31).astype(int), (c >> 8 & 31).astype(int)
        last = lane & within | (c & 31).astype(int) & ~within
        other = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": lane & within | b & ~within}[i.parts[2]]
        inside = other >= last if i.parts[2] == "up" else other <= last
        found = np.take_along_axis(value, np.where(inside, other, lane), 1).ravel()
        if isinstance(target, tuple):
            self.write(frame, target[0], found, active)
            self.write(frame, target[1], inside.ravel(), active)
        else:
            self.write(frame, target, found, active)

    def reduce(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        rows = self.warps(frame, active)
        value = self.read(frame, i.operands[1], i.parts[-1], active).reshape(rows.shape)
        function = {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
                    "xor": np.bitwise_xor}[i.parts[2]]
        self.write(frame, i.operands[0], np.repeat(function.reduce(value, 1).astype(value.dtype), 32), active)

    def vote(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        rows = self.warps(frame, active)
        value = self.read(frame, i.operands[1], "pred", active).reshape(rows.shape)
        match i.parts[2]:
            case "ballot":
                found = (value.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(1).astype(np.uint32)
            case how:
                found = value.all(1) if how == "all" else value.any(1)
        self.write(frame, i.operands[0], np.repeat(found, 32), active)

    def matrices(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        """ldmatrix, stmatrix: each 8 threads have the addresses of the rows of an 8 x 8 matrix of 16 bits; a thread has
        two neighbors in row lane // 4 of each matrix, or, transposed, in a column."""
        rows, loads = self.warps(frame, active), i.parts[0] == "ldmatrix"
        registers, address = i.operands if loads else i.operands[::-1]
        assert isinstance(registers, tuple) and "m8n8" in i.parts and "b16" in i.parts
        count = len(registers)
        first = self.addresses(frame, address, "shared", active).reshape(-1, 32)[:, :8 * count]
        if (first % 16).any():
            raise PtxError("an address of a row that is not aligned")
        places, who = (first[..., None] + 2 * np.arange(8)).ravel(), np.repeat(rows[:, :8 * count].ravel(), 8)
        shared, shape = self.spaces["shared"], (len(rows), count, 8, 8)
        if loads:
            found = shared.load(places, 2, who).reshape(shape)
            found = found.swapaxes(2, 3) if "trans" in i.parts else found
            for k, register in enumerate(registers):
                self.write(frame, register, found[:, k].reshape(-1, 2), active)
            return
        values = [self.read(frame, x, "u32", active).view(np.uint16).reshape(-1, 8, 8) for x in registers]
        matrices = np.stack(values, 1)
        shared.store(places, (matrices.swapaxes(2, 3) if "trans" in i.parts else matrices).ravel(), who)

    def multiply(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        """mma.sync of matrices that lie in the registers of a warp."""
        rows, (form, type) = self.warps(frame, active), (i.parts[3], i.parts[7])
        assert i.parts[4:6] == ("row", "col") and i.parts[6] == i.parts[9] in ("f32", "f64") and type == i.parts[8]
        bits, dtype = ("u64", "f64") if type == "f64" else ("u32", "f32" if type == "tf32" else type)
        operands = []
        for registers, own in zip(i.operands[1:], (dtype, dtype, i.parts[6])):
            assert isinstance(registers, tuple)
            values = np.stack([self.read(frame, x, bits, active) for x in registers], 1)
            operands.append(values.view(TYPES[own]).reshape(len(rows), 32, -1))
        a, b, c = operands
        if type == "tf32":
            a, b = as_tf32(a), as_tf32(b)
        found = multiplied(form, a, b, c)
        targets = i.operands[0]
        assert isinstance(targets, tuple)
        for k, target in enumerate(targets):
            self.write(frame, target, found[..., k].ravel(), active)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def move(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        target, source = i.operands
        type = i.parts[-1] if i.parts[-1] == "pred" else "u" + i.parts[-1][1:]
        self.write(frame, target, self.read(frame, source, type, active), active)

    def carry(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        """add, sub and mad with .cc, and addc, subc and madc, on 32 or 64 bits."""
        name = Name(i.parts)
        a, b, *c = (self.read(frame, x, "u" + name.type[1:], active).astype(object) for x in i.operands[1:])
        bits = 8 * name.dtype.itemsize
        given = frame.registers.get("%CC", np.zeros(frame.who.size, bool))[active].astype(int)
        given = given if i.parts[0] in ("addc", "subc", "madc") else 0
        if "mad" in name.op:
            product = a * b
            a, b = (product >> bits if "hi" in name.modifiers else product % (1 << bits)), c[0]
        total = a - b - given if "sub" in name.op else a + b + given
        self.write(frame, i.operands[0], (total % (1 << bits)).astype(f"u{bits // 8}"), active)
        if "cc" in name.modifiers:
            frame.registers.setdefault("%CC", np.zeros(frame.who.size, bool))[active] = (total >> bits) != 0

    def call(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        results, function, *args = i.operands
        called = self.module.functions[str(function)]
        given = {name: {offset: x[active] for offset, x in frame.params[str(arg)].items()}
                 for name, arg in zip(called.params, args[0] if args else (), strict=True)}
        inner = Frame(called, frame.who[active], given)
        self.run(inner)
        for name in results if isinstance(results, tuple) else ():
            frame.params[str(name)] = {}
            for offset, value in inner.params["func_retval0"].items():
                whole = np.zeros(frame.who.size, value.dtype)
                whole[active] = value
                frame.params[str(name)][offset] = whole

    def nothing(self, frame: Frame, i: Instruction, active: np.ndarray) -> None:
        """An order of accesses that is kept anyway."""


SPECIAL = {
    "%tid.x": lambda m, who: who % m.threads.size, "%tid.y": lambda m, who: 0 * who,
    "%ctaid.x": lambda m, who: m.threads.block[who], "%ctaid.y": lambda m, who: 0 * who,
    "%ntid.x": lambda m, who: np.full(who.size, m.threads.size), "%laneid": lambda m, who: who % 32,
    "%nctaid.x": lambda m, who: np.full(who.size, m.programs),
}

_ATOMIC = {
    "add": lambda old, x: old + x, "min": lambda old, x: np.minimum(old, x), "max": lambda old, x: np.maximum(old, x),
    "and": lambda old, x: old & x, "or": lambda old, x: old | x, "xor": lambda old, x: old ^ x,
    "exch": lambda old, x: x, "cas": lambda old, expected, x: x if old == expected else old,
}

ACTIONS = {
    "mov": Machine.move, "ld": Machine.load, "st": Machine.store, "atom": Machine.atomic, "red": Machine.atomic,
    "shfl": Machine.shuffle, "redux": Machine.reduce, "vote": Machine.vote, "call": Machine.call,
    "cp": Machine.copy, "mma": Machine.multiply, "ldmatrix": Machine.matrices, "stmatrix": Machine.matrices,
    "addc": Machine.carry, "subc": Machine.carry, "madc": Machine.carry, "fence": Machine.nothing,
    "membar": Machine.nothing,
}
