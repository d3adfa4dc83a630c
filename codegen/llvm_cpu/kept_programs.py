"""kept_programs: programs on disk as the driver runs them, so that a process which meets one again schedules nothing.

    key: the tree as it was recorded, its aliases, the machine    ->    words, slots, constants; functions by name

1. An entry holds no address: in the place of each is the number of a function, and how that is found again: a kernel
   by the key of its object, what multiplies and what every plan runs on by its name.
2. An entry that is not of this form is removed, and one whose kernels are not all there is not used.
3. Programs that call Python on the host are not kept: they hold more than words.
"""
from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from codegen.cache import DiskCache
from codegen.ir.structs import struct
from codegen.ir.types import TensorType
from codegen.llvm_cpu.encoding import PROGRAM, Encoding
from codegen.llvm_cpu.host_calls import HostCalls

KERNEL, PRODUCT, SYMBOL = "kernel", "product", "symbol"
"""How a function is found: by the key of its object, the name of what multiplies, a name that the runtime exports."""

Function = tuple[str, str]
"""One of these and what it is looked up by."""


@struct(eq=False)
class KeptProgram:
    """All that running a program takes, with the numbers of `functions` where the words have addresses."""

    inputs: tuple[TensorType, ...]
    slots: tuple[TensorType, ...]
    ends: tuple[tuple[int, ...], ...]
    arena_bytes: int
    functions: tuple[Function, ...]
    encoding: Encoding

    def encoding_at(self, addresses: Mapping[Function, int]) -> Encoding:
        """The encoding that calls the functions at these addresses. The program takes it over."""
        words = {PROGRAM: self.encoding.words, **dict(self.encoding.constant_slots)}
        for slot, at in self.encoding.calls:
            words[slot][at] = addresses[self.functions[int(words[slot][at])]]
        return self.encoding


def keep(disk: DiskCache, key: str, inputs: tuple[TensorType, ...], slots: tuple[TensorType, ...],
         ends: tuple[tuple[int, ...], ...], arena_bytes: int, encoding: Encoding,
         function_at: Mapping[int, Function]) -> None:
    """Keep a program; `function_at`: what is at each address that it calls."""
    if encoding.host_calls:
        return
    words = {PROGRAM: encoding.words.tolist(), **{slot: words.tolist() for slot, words in encoding.constant_slots}}
    functions: dict[Function, int] = {}
    for slot, at in encoding.calls:
        words[slot][at] = functions.setdefault(function_at[words[slot][at]], len(functions))
    disk.put(key, json.dumps({
        "inputs": _written(inputs), "slots": _written(slots), "ends": ends, "arena_bytes": arena_bytes,
        "functions": list(functions), "words": words.pop(PROGRAM), "constant_slots": list(words.items()),
        "arguments": encoding.arguments, "arena_slots": encoding.arena_slots, "frame_words": encoding.frame_words,
        "steps": [(at, *step) for at, step in encoding.steps.items()], "is_long": encoding.is_long,
        "calls": encoding.calls,
    }, separators=(",", ":")).encode())


def find(disk: DiskCache, key: str) -> KeptProgram | None:
    """The program kept under `key`, if there is one."""
    data = disk.get(key)
    if data is None:
        return None
    try:
        entry = json.loads(data)
        constants = tuple((slot, np.array(words, np.int64)) for slot, words in entry["constant_slots"])
        encoding = Encoding(
            np.array(entry["words"], np.int64), entry["arguments"], _tuples(entry["arena_slots"]), constants,
            entry["frame_words"], HostCalls(), {at: (block, step) for at, block, step in entry["steps"]},
            entry["is_long"], _tuples(entry["calls"]))
        return KeptProgram(_read(entry["inputs"]), _read(entry["slots"]), _tuples(entry["ends"]), entry["arena_bytes"],
                           tuple((kind, name) for kind, name in entry["functions"]), encoding)
    except (ValueError, TypeError, KeyError):
        disk.discard(key)
        return None


def _written(types: tuple[TensorType, ...]) -> list[tuple[object, ...]]:
    return [(type.dtype, *type.shape) for type in types]


def _read(types: list[list]) -> tuple[TensorType, ...]:
    return tuple(TensorType(dtype, tuple(shape)) for dtype, *shape in types)


def _tuples(lists: list[list]) -> tuple[tuple, ...]:
    return tuple(map(tuple, lists))
