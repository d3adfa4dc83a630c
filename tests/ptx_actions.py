"""Instructions of PTX that are more than arithmetic: memory, exchanges between threads, matrices, calls.

    ACTIONS["ld"](machine, frame, instruction, active)          by the first part of the name, for the active threads
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ptx_arithmetic import TYPES, Name
from ptx_matrices import as_tf32, multiplied
from ptx_memory import PtxError
from ptx_text import Address, Instruction

if TYPE_CHECKING:
    from ptx_machine import Frame, Machine


class Copy:
    """What threads `who` have begun to copy to addresses of shared memory, and by which of their groups of copies."""

    def __init__(self, who: np.ndarray, addresses: np.ndarray, values: np.ndarray, group: np.ndarray) -> None:
        self.who, self.addresses, self.values, self.group = who, addresses, values, group

    def keep(self, some: np.ndarray) -> None:
        """Forget all others."""
        self.who, self.addresses = self.who[some], self.addresses[some]
        self.values, self.group = self.values[some], self.group[some]


def load(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """ld: from memory, or of what a function was given."""
    if "param" in i.parts:
        source = i.operands[1]
        assert isinstance(source, Address)
        value = frame.params[str(source.base)][source.offset][active]
        m.write(frame, i.operands[0], value.astype(TYPES["u" + i.parts[-1][1:]]), active)
        return
    space, type = space_of(i), TYPES[i.parts[-1]]
    first = m.addresses(frame, i.operands[1], space, active)
    targets = i.operands[0] if isinstance(i.operands[0], tuple) else (i.operands[0],)
    if (first % (type.itemsize * len(targets))).any():
        raise PtxError("an address of a vector that is not aligned")
    values = [m.spaces[space].load(first + type.itemsize * k, type.itemsize, frame.who[active], "nc" in i.parts)
              for k in range(len(targets))]
    for target, value in zip(targets, values):
        m.write(frame, target, value.view(type), active)


def store(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """st: to memory, or to what a function is given."""
    values = i.operands[1] if isinstance(i.operands[1], tuple) else (i.operands[1],)
    bits = "u" + i.parts[-1][1:]
    if "param" in i.parts:
        target = i.operands[0]
        assert isinstance(target, Address)
        whole = np.zeros(frame.who.size, TYPES[bits])
        whole[active] = m.read(frame, values[0], bits, active)
        frame.params.setdefault(str(target.base), {})[target.offset] = whole
        return
    space, size = space_of(i), TYPES[bits].itemsize
    first = m.addresses(frame, i.operands[0], space, active)
    if (first % (size * len(values))).any():
        raise PtxError("an address of a vector that is not aligned")
    for k, value in enumerate(values):
        m.spaces[space].store(first + size * k, m.read(frame, value, bits, active), frame.who[active])


def copy(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """cp.async: what is copied to shared memory is there when the thread has waited for it; before, anything is."""
    who = frame.who[active]
    if i.parts[2] == "commit_group":
        m.group[who] += 1
        return
    if i.parts[2] in ("wait_group", "wait_all"):
        m.group[who] += i.parts[2] == "wait_all"
        latest = m.group - int(i.operands[0] if i.operands else 0)
        for copy in m.copies:
            done = np.isin(copy.who, who) & (copy.group < latest[copy.who])
            m.spaces["shared"].store(copy.addresses[done], copy.values[done], copy.who[done])
            copy.keep(~done)
        m.copies = [copy for copy in m.copies if copy.who.size]
        return
    target, source, size, *given = i.operands
    assert isinstance(size, int)
    sizes = m.read(frame, given[0] if given else size, "u32", active)
    to, of = m.addresses(frame, target, "shared", active), m.addresses(frame, source, "global", active)
    if ((sizes != size) & (sizes != 0)).any() or (to % size).any() or (of % size).any():
        raise PtxError("a copy of a part, or that is not aligned")
    for k in range(0, size, 4):
        values = np.zeros(active.size, np.uint32)
        read = sizes > 0
        values[read] = m.spaces["global"].load(of[read] + k, 4, who[read])
        m.spaces["shared"].store(to + k, np.full(active.size, 0x7FEDCBA9, np.uint32), who)
        m.copies.append(Copy(who, to + k, values, m.group[who]))


def space_of(i: Instruction) -> str:
    """Which memory an instruction is about."""
    for part in i.parts:
        if part.split("::")[0] in ("global", "shared", "local"):
            return part.split("::")[0]
    raise PtxError("an access to an address of any memory")


def atomic(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """atom and red, one thread after another; of a vector, one element after another."""
    returns = i.parts[0] == "atom"
    target, sources = i.operands[0] if returns else None, i.operands[returns:]
    space, name, who = space_of(i), Name(i.parts), frame.who[active]
    dtype, how = name.dtype, next(part for part in i.parts[1:] if part in _ATOMIC)
    memory = m.spaces[space].bytes.view(dtype)
    first = m.addresses(frame, sources[0], space, active)
    elements = [x if isinstance(x, tuple) else (x,) for x in sources[1:]]
    if (first % (dtype.itemsize * len(elements[0]))).any():
        raise PtxError("an address of a vector that is not aligned")
    before = np.zeros(active.size, dtype)
    for e, operands in enumerate(zip(*elements)):
        places = m.spaces[space].atomic_places(first + e * dtype.itemsize, dtype.itemsize, who)
        values = [m.read(frame, x, name.type, active) for x in operands]
        for k, place in enumerate(places):
            before[k] = memory[place]
            memory[place] = _ATOMIC[how](memory[place], *(x[k] for x in values))
    if target is not None:
        m.write(frame, target, before, active)


def shuffle(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """shfl.sync: each lane gets what another has."""
    target, source, b, c, mask = i.operands
    rows = m.warps(frame, active)
    value, b, c, mask = (m.read(frame, x, "u32", active).reshape(rows.shape) for x in (source, b, c, mask))
    if (mask != 0xFFFFFFFF).any():
        raise PtxError("an exchange between some threads of a warp")
    lane, b, within = np.arange(32), (b & 31).astype(int), (c >> 8 & 31).astype(int)
    last = lane & within | (c & 31).astype(int) & ~within
    other = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": lane & within | b & ~within}[i.parts[2]]
    inside = other >= last if i.parts[2] == "up" else other <= last
    found = np.take_along_axis(value, np.where(inside, other, lane), 1).ravel()
    if isinstance(target, tuple):
        m.write(frame, target[0], found, active)
        m.write(frame, target[1], inside.ravel(), active)
    else:
        m.write(frame, target, found, active)


def reduce(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """redux.sync: all lanes get what those of the warp come to."""
    rows = m.warps(frame, active)
    value = m.read(frame, i.operands[1], i.parts[-1], active).reshape(rows.shape)
    function = {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
                "xor": np.bitwise_xor}[i.parts[2]]
    m.write(frame, i.operands[0], np.repeat(function.reduce(value, 1).astype(value.dtype), 32), active)


def vote(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """vote.sync: what holds for all lanes, or any, or for which."""
    rows = m.warps(frame, active)
    value = m.read(frame, i.operands[1], "pred", active).reshape(rows.shape)
    match i.parts[2]:
        case "ballot":
            found = (value.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(1).astype(np.uint32)
        case how:
            found = value.all(1) if how == "all" else value.any(1)
    m.write(frame, i.operands[0], np.repeat(found, 32), active)


def multiply(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """mma.sync of matrices that lie in the registers of a warp."""
    rows, (form, type) = m.warps(frame, active), (i.parts[3], i.parts[7])
    assert i.parts[4:6] == ("row", "col") and i.parts[6] == i.parts[9] in ("f32", "f64") and type == i.parts[8]
    bits, dtype = ("u64", "f64") if type == "f64" else ("u32", "f32" if type == "tf32" else type)
    operands = []
    for registers, own in zip(i.operands[1:], (dtype, dtype, i.parts[6])):
        assert isinstance(registers, tuple)
        values = np.stack([m.read(frame, x, bits, active) for x in registers], 1)
        operands.append(values.view(TYPES[own]).reshape(len(rows), 32, -1))
    a, b, c = operands
    if type == "tf32":
        a, b = as_tf32(a), as_tf32(b)
    found = multiplied(form, a, b, c)
    targets = i.operands[0]
    assert isinstance(targets, tuple)
    for k, target in enumerate(targets):
        m.write(frame, target, found[..., k].ravel(), active)


def matrices(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """ldmatrix, stmatrix: each 8 threads have the addresses of the rows of an 8 x 8 matrix of 16 bits; a thread has
    two neighbors in row lane // 4 of each matrix, or, transposed, in a column."""
    rows, loads = m.warps(frame, active), i.parts[0] == "ldmatrix"
    registers, address = i.operands if loads else i.operands[::-1]
    assert isinstance(registers, tuple) and "m8n8" in i.parts and "b16" in i.parts
    count = len(registers)
    first = m.addresses(frame, address, "shared", active).reshape(-1, 32)[:, :8 * count]
    if (first % 16).any():
        raise PtxError("an address of a row that is not aligned")
    places, who = (first[..., None] + 2 * np.arange(8)).ravel(), np.repeat(rows[:, :8 * count].ravel(), 8)
    shared, shape = m.spaces["shared"], (len(rows), count, 8, 8)
    if loads:
        found = shared.load(places, 2, who).reshape(shape)
        found = found.swapaxes(2, 3) if "trans" in i.parts else found
        for k, register in enumerate(registers):
            m.write(frame, register, found[:, k].reshape(-1, 2), active)
        return
    values = [m.read(frame, x, "u32", active).view(np.uint16).reshape(-1, 8, 8) for x in registers]
    matrices = np.stack(values, 1)
    shared.store(places, (matrices.swapaxes(2, 3) if "trans" in i.parts else matrices).ravel(), who)


def move(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """mov, which also takes registers apart and puts them together."""
    target, source = i.operands
    type = i.parts[-1] if i.parts[-1] == "pred" else "u" + i.parts[-1][1:]
    m.write(frame, target, m.read(frame, source, type, active), active)


def carry(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """add, sub and mad with .cc, and addc, subc and madc, on 32 or 64 bits."""
    name = Name(i.parts)
    a, b, *c = (m.read(frame, x, "u" + name.type[1:], active).astype(object) for x in i.operands[1:])
    bits = 8 * name.dtype.itemsize
    given = frame.registers.get("%CC", np.zeros(frame.who.size, bool))[active].astype(int)
    given = given if i.parts[0] in ("addc", "subc", "madc") else 0
    if "mad" in name.op:
        product = a * b
        a, b = (product >> bits if "hi" in name.modifiers else product % (1 << bits)), c[0]
    total = a - b - given if "sub" in name.op else a + b + given
    m.write(frame, i.operands[0], (total % (1 << bits)).astype(f"u{bits // 8}"), active)
    if "cc" in name.modifiers:
        frame.registers.setdefault("%CC", np.zeros(frame.who.size, bool))[active] = (total >> bits) != 0


def call(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """call.uni: the function runs in a frame of its own."""
    results, function, *args = i.operands
    called = m.module.functions[str(function)]
    given = {name: {offset: x[active] for offset, x in frame.params[str(arg)].items()}
             for name, arg in zip(called.params, args[0] if args else (), strict=True)}
    inner = type(frame)(called, frame.who[active], given)
    m.run(inner)
    for name in results if isinstance(results, tuple) else ():
        frame.params[str(name)] = {}
        for offset, value in inner.params["func_retval0"].items():
            whole = np.zeros(frame.who.size, value.dtype)
            whole[active] = value
            frame.params[str(name)][offset] = whole


def nothing(m: Machine, frame: Frame, i: Instruction, active: np.ndarray) -> None:
    """An order of accesses that is kept anyway."""


_ATOMIC = {
    "add": lambda old, x: old + x, "min": lambda old, x: np.minimum(old, x), "max": lambda old, x: np.maximum(old, x),
    "and": lambda old, x: old & x, "or": lambda old, x: old | x, "xor": lambda old, x: old ^ x,
    "exch": lambda old, x: x, "cas": lambda old, expected, x: x if old == expected else old,
}

ACTIONS = {
    "mov": move, "ld": load, "st": store, "atom": atomic, "red": atomic,
    "shfl": shuffle, "redux": reduce, "vote": vote, "call": call,
    "cp": copy, "mma": multiply, "ldmatrix": matrices, "stmatrix": matrices,
    "addc": carry, "subc": carry, "madc": carry, "fence": nothing,
    "membar": nothing,
}
