"""EntryHost: the classes that the native entry serves, and where their objects keep what.

1. What the host is, is data: its classes, their slots, the functions that are called where native code does not go on.
2. Every slot is found by looking (see objects), so an entry exists only where all of them are as expected.
"""
from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from weakref import ReferenceType

from codegen.ir.structs import struct
from codegen.llvm_cpu.objects import slot_offset


@struct
class Keeping:
    """How an object that the host makes keeps its present value, for whoever asks for it as it was.

    The object holds a `value`'s class in the slot `kept`, a weak reference to it in `known`, and in `shared` None or
    a `sharing`'s class: its slot has a list of such references, `foreign` True if others write to the memory unseen. A
    value holds the array in its slot, and a weak reference to the object in `owner` (`gone` if that has another array).
    `keep(object)` gives the value, and `prepare(object)` is called before it changes, unless
    `watching` is empty and nothing but the object has the value.
    """

    kept: str
    known: str
    shared: str
    value: tuple[type, str]
    owner: str
    sharing: tuple[type, str]
    foreign: str
    gone: ReferenceType
    watching: list[Any]
    keep: Callable[..., Any]
    prepare: Callable[..., Any]


@struct
class EntryHost:
    """The classes that the entry serves: each pair is a class and one of its slots.

    `tree` of the object called holds a `entry`'s class, whose slot holds an `order`'s class, whose slot holds the array
    of words. `array` is where what is made holds an array, `flag` where a bool; all `others` of its slots hold None.
    What counts holds ints in the slots `counts` of its class, one more for each call that comes to an end.
    `idle` are context variables: where any holds something, and where no root fits, otherwise(self, args, kwargs) is
    called; where one leaves at an exit, left(self, root, exit, args, kwargs).
    """

    tree: tuple[type, str]
    entry: tuple[type, str]
    order: tuple[type, str]
    made: type
    array: str
    flag: str
    others: tuple[str, ...]
    keeping: Keeping
    counts: tuple[type, tuple[str, ...]]
    idle: tuple[ContextVar, ...]
    otherwise: Callable[..., Any]
    left: Callable[..., Any]

    def imports(self) -> dict[str, int]:
        """The addresses of the objects it is made of."""
        keeping = self.keeping
        return {"host_entry_type": id(self.entry[0]), "host_order_type": id(self.order[0]), "host_made": id(self.made),
                "host_otherwise": id(self.otherwise), "host_left": id(self.left),
                "host_value": id(keeping.value[0]), "host_sharing": id(keeping.sharing[0]),
                "host_gone": id(keeping.gone), "host_watching": id(keeping.watching), "host_keep": id(keeping.keep),
                "host_prepare": id(keeping.prepare),
                **{f"host_idle_{k}": id(variable) for k, variable in enumerate(self.idle)}}


@struct
class HostOffsets:
    """Where the classes of a host keep what, in bytes."""

    tree: int
    entry: int
    order: int
    array: int
    flag: int
    others: tuple[int, ...]
    counts: tuple[int, ...]
    kept: int
    known: int
    shared: int
    value: int
    owner: int
    sharing: int
    foreign: int


def host_offsets(host: EntryHost) -> HostOffsets | None:
    """Where the classes keep what, or None if objects are not laid out as expected."""
    keeping = host.keeping
    missing = False

    def at(cls: type, name: str) -> int:
        nonlocal missing
        offset = slot_offset(cls, name)
        missing |= offset is None
        return offset or 0

    def each(cls: type, names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(at(cls, name) for name in names)
    offsets = HostOffsets(
        at(*host.tree), at(*host.entry), at(*host.order), at(host.made, host.array), at(host.made, host.flag),
        each(host.made, host.others), each(*host.counts), at(host.made, keeping.kept), at(host.made, keeping.known),
        at(host.made, keeping.shared), at(*keeping.value), at(keeping.value[0], keeping.owner),
        at(*keeping.sharing), at(keeping.sharing[0], keeping.foreign))
    return None if missing else offsets
