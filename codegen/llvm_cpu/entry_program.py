"""EntryProgram: the words that @call runs for one root (see entry_call), while they are written, and their frames.

    program = EntryProgram(1, ())
    x = program.find("slot", program.arguments[0], offset)
    program.test("type", x, program.constant(ndarray))
    ...
    built = program.built(root, run)        built.address is where @call finds it

1. What a program names lives as long as it does.
2. A frame is made when a call finds none idle, and then used again.
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codegen.executable import EntryRun
from codegen.ir.structs import struct
from codegen.llvm_cpu.driver import FRAME_SLOTS
from codegen.llvm_cpu.entry_call import CODES, FRAME_HEADER, GROW, HEADER, IDLE, NAMED, NAMES, POSITIONAL, ROOT
from codegen.llvm_cpu.entry_code import WORD


@struct(eq=False)
class Register:
    """Where an object is: found or an argument, number `index` of those; or a constant."""

    index: int
    is_constant: bool = False


@struct(eq=False)
class Room:
    """A place in the frame behind the registers, so many words from where these end."""

    offset: int


Operand = Register | Room | int


class Built:
    """A program that is complete. What is in `held` lives as long."""

    def __init__(self, words: np.ndarray, frame: np.ndarray, run: EntryRun, fixed: Sequence[tuple[int, int]],
                 inside: Sequence[tuple[int, int]], held: Any):
        self.address: int = words.ctypes.data
        self._words, self._frame, self._run, self._fixed, self._inside, self._held = (
            words, frame, run, fixed, inside, held)
        self._frames: list[Any] = []
        self._grow = self.grow
        words[GROW] = id(self._grow)

    def grow(self) -> None:
        """Make one more frame, an idle one."""
        frame, driven = self._frame.copy(), self._run.frame()
        address = frame.ctypes.data
        frame[0], frame[1] = self._words[IDLE], driven.address
        slots = driven.address + WORD * FRAME_SLOTS
        for slot, pointer in (*self._fixed, *((slot, address + offset) for slot, offset in self._inside)):
            ctypes.c_int64.from_address(slots + WORD * slot).value = pointer
        self._frames.append((frame, driven))
        self._words[IDLE] = address


class EntryProgram:
    """The words of a root, while they are written. `arguments`: where the arguments are, the named ones last."""

    def __init__(self, positional: int, names: Sequence[str] = ()):
        self.arguments = [Register(k) for k in range(positional + len(names))]
        self._positional, self._names = positional, tuple(names)
        self._found = self._most = len(self.arguments)
        self._words: list[int | Register | Room | None] = []
        self._constants: dict[int, Register] = {}
        self._objects: list[Any] = []
        self._room = 0
        self._called_with = 1                               # by "prepare", at least
        self._fixed: list[tuple[int, int]] = []
        self._inside: list[tuple[int, Room]] = []

    # ---- operands ---------------------------------------------------------------------------------------------------

    def constant(self, o: Any) -> Register:
        """Where an object that is always the same is."""
        known = self._constants.get(id(o))
        if known is None:
            known = self._constants[id(o)] = Register(len(self._objects), True)
            self._objects.append(o)
        return known

    def room(self, words: int) -> Room:
        """Words of the frame that are the program's own."""
        room = Room(self._room)
        self._room += words
        return room

    # ---- instructions -----------------------------------------------------------------------------------------------

    def test(self, op: str, *operands: Operand) -> None:
        """An instruction that finds nothing."""
        self._words += [CODES[op], *operands]

    def find(self, op: str, *operands: Operand) -> Register:
        """An instruction that finds an object."""
        (found,) = self.find_all(1, op, *operands)
        return found

    def find_all(self, count: int, op: str, *operands: Operand) -> list[Register]:
        """One that finds so many."""
        self.test(op, *operands)
        found = [Register(self._found + k) for k in range(count)]
        self._found += count
        self._most = max(self._most, self._found)
        return found

    def call(self, function: Callable[..., Any], given: Sequence[Register], finds: int | None = None) -> list[Register]:
        """Call a Python function: what it gives is found. With `finds`: a tuple of so many, or what does not fit."""
        self._called_with = max(self._called_with, len(given))
        k = self.constant(function)
        if finds is None:
            return self.find_all(1, "call", k, len(given), *given)
        return self.find_all(finds, "check", k, finds, len(given), *given)

    def distinct(self, objects: Sequence[Register]) -> None:
        """They are as many objects."""
        self.test("distinct", *self._hashing(objects), *objects)

    def own_memory(self, tensors: Sequence[Register], or_else: Callable[..., Any]) -> None:
        """Their arrays have memory of their own, or `or_else` gives a tuple for them, not None."""
        self._called_with = max(self._called_with, len(tensors))
        self.test("own memory", *self._hashing(tensors), self.constant(or_else), *tensors)

    def _hashing(self, objects: Sequence[Register]) -> tuple[Operand, ...]:
        bits = max(2, (2 * len(objects)).bit_length())
        return self.room(1 << bits), bits, len(objects)

    def skipping(self, op: str, *operands: Operand) -> int:
        """An instruction that may skip what follows, up to where `skip_to_here` is told of it."""
        self.test(op, *operands, 0)
        return len(self._words)

    def skip_to_here(self, start: int) -> None:
        """The instruction that `skipping` wrote skips what was written since."""
        self._words[start - 1] = len(self._words) - start

    def versioned(self, address: int) -> int:
        """What follows, up to `held`, is skipped while the number at an address is one for which it held."""
        self.test("version", address, -1)
        self._words.append(0)
        return len(self._words)

    def held(self, start: int, address: int, depth: int) -> None:
        """It held for the number at this address. Of what was found only the first `depth` are still needed."""
        self.test("held", address, len(self._words) - start + 4, Register(depth))
        self.skip_to_here(start)
        self._found = depth

    @property
    def depth(self) -> int:
        """How many objects were found so far, arguments among them."""
        return self._found

    def fixed(self, slot: int, array: np.ndarray) -> None:
        """An argument of the run that is always this array."""
        self._fixed.append((slot, array.ctypes.data))
        self._objects.append(array)

    def number(self, op: str, register: Register, slot: int) -> None:
        """An argument of the run that is a number, which `op` writes into the frame."""
        room = self.room(1)
        self._inside.append((slot, room))
        self.test(op, register, room)

    def drive(self, run: EntryRun, ends: int) -> int:
        """Run; `end` tells where it goes on at each end."""
        self.test("drive", int(run.is_long), *[0] * ends)
        return len(self._words) - ends

    def end(self, driven: int, number: int, depth: int) -> None:
        """Here it goes on after end `number`, with the first `depth` that were found."""
        self._words[driven + number] = HEADER + len(self._words)
        self._found = depth

    # ---- the whole --------------------------------------------------------------------------------------------------

    def built(self, root: Any, run: EntryRun) -> Built:
        """The program. `root` is what an exit is reported with."""
        constants = FRAME_HEADER + self._most + self._called_with
        room = constants + len(self._objects)
        keyed = HEADER + len(self._words)

        def number(word: int | Register | Room | None) -> int:
            match word:
                case Register(index, True):
                    return WORD * (constants + index)
                case Register(index):
                    return WORD * (FRAME_HEADER + index)
                case Room(offset):
                    return WORD * (room + offset)
                case _:
                    assert word is not None
                    return word
        words = np.array([0] * HEADER + [number(word) for word in self._words] + [id(n) for n in self._names], np.int64)
        words[POSITIONAL], words[NAMED], words[ROOT], words[NAMES] = (
            self._positional, len(self._names), id(root), keyed)
        frame = np.zeros(room + self._room, np.int64)
        frame[constants:room] = [id(o) for o in self._objects]
        inside = [(slot, number(place)) for slot, place in self._inside]
        return Built(words, frame, run, self._fixed, inside, (root, self._objects, self._names))
