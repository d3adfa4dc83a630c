"""The rows by which guards become instructions: each is the text of a read or a test, and what that is natively.

    "o.shape == o"      of `v2.shape == k5`         test "shape", v2, 2, 3, 4
    "o[o]"              of `v1['layers']`           find "key", v1, 'layers'

1. An instruction is at least as strict as its text: where it does not hold, the text is asked in Python.
2. What is read of an object is read only after its type was tested.
"""
from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable
from types import FunctionType, MappingProxyType, MemberDescriptorType
from typing import Any, NamedTuple

import numpy as np

from codegen import EntryProgram, Register, attribute_offsets, member_offset
from tracegrad.dispatch import GRAD, GradMode
from tracegrad.guards import NAMES, Guards
from tracegrad.purity.values import PLAIN
from tracegrad.tensors import Tensor

_TOKEN = re.compile(r"\b[vk]\d+\b|'[^']*'|\b\d+\b")
_NOTHING = object()
SIZED = (list, tuple)
C_CONTIGUOUS, ALIGNED = 0x1, 0x100
MADE_BY_CODE = 1 << 9
"""The flag of a class that is on the heap, as those that Python code makes are."""


class Operand(NamedTuple):
    """A variable or a constant of a line: its text, where it is, and what it is if that is always the same."""

    text: str
    value: Any = _NOTHING

    @property
    def is_constant(self) -> bool:
        return self.value is not _NOTHING


class NotNative(Exception):
    """No instruction does what a line does."""


class NoProgram(Exception):
    """No program does what these guards do."""


class Rows:
    """What the rows of the tables write for one root. `arrays`: by the variable of a Tensor, its array's.

    `of_arrays`: the call has arrays where the guards have Tensors. `adopted` are these, by variable; each is where its
    array is.
    """

    def __init__(self, guards: Guards, of_arrays: bool = False):
        positional, names = guards.arguments
        self.program = EntryProgram(positional, names)
        self.of_arrays = of_arrays
        self.adopted: set[str] = set()
        self.arrays: dict[str, str] = {}
        self.requires_grad: dict[str, bool] = {}            # by the variable of a Tensor
        self.has_history: dict[str, bool] = {}
        self.guards, self.names, self.positional = guards, names, positional
        self.registers: dict[str, Register] = {}
        self.fixed: dict[str, Any] = {}                    # variable -> what it is, if that is always the same
        self.kinds: dict[str, Any] = {}                    # variable -> the type that it was tested to have
        self.given: set[str] = set()                       # variables that are arguments

    def register(self, text: str) -> Register:
        """Where a variable is, or a constant."""
        found = self.registers.get(text)
        return self.program.constant(self.guards.constants[text]) if found is None else found

    def array(self, leaf: str) -> Register:
        """Where the array of a Tensor is; of one that was adopted, that is where it is itself."""
        if leaf not in self.arrays:
            self.read_array(f"{leaf}.array", Operand(leaf))
        return self.registers[self.arrays[leaf]]

    # ---- operands ---------------------------------------------------------------------------------------------------

    def normalized(self, text: str) -> tuple[str, list[Operand]]:
        """The text with `o` for each variable and constant, and `n` for each number; and those."""
        operands: list[Operand] = []

        def replace(match: re.Match[str]) -> str:
            token = match.group()
            if token[0] == "'":
                operands.append(Operand(token, sys.intern(token[1:-1])))
            elif token[0].isdigit():
                operands.append(Operand(token, int(token)))
                return "n"
            else:
                known = self.guards.constants if token in self.guards.constants else self.fixed
                operands.append(Operand(token, known.get(token, _NOTHING)))
            return "o"
        return _TOKEN.sub(replace, text), operands

    def at(self, o: Operand) -> Register:
        """Where an operand is."""
        if o.is_constant:
            return self.program.constant(o.value)
        return self.registers[o.text]

    def constant(self, o: Operand) -> Any:
        """What an operand is, which is always the same."""
        if not o.is_constant:
            raise NotNative
        return o.value

    def dict_at(self, o: Operand) -> Register:
        """Where a dict is: of a read-only view, the one viewed."""
        return self.program.constant(dict_of(o.value)) if o.is_constant else self.at(o)

    # ---- what the rows do -------------------------------------------------------------------------------------------

    def argument(self, target: str, o: Operand) -> Register:
        self.given.add(target)
        if isinstance(o.value, int):
            return self.program.arguments[o.value]
        return self.program.arguments[self.positional + list(self.names).index(o.value)]

    def has_type(self, o: Operand, kind: Operand) -> None:
        if self.of_arrays and o.text in self.given and self.constant(kind) not in PLAIN:
            raise NoProgram                             # it may be a container of arrays
        self.kinds[o.text] = self.constant(kind)
        self.program.test("type", self.at(o), self.at(kind))

    def is_kind(self, o: Operand, kind: type) -> None:
        """The object was tested to be of this class, or one derived from it."""
        if not issubclass(self.kinds.get(o.text, object), kind):
            raise NotNative

    def slot(self, o: Operand, name: str) -> Register:
        """What a Tensor holds in a slot."""
        self.is_kind(o, Tensor)
        return self.program.find("slot", self.at(o), TENSOR_SLOTS[name])

    def mode(self, o: Operand, name: str) -> Register:
        """A mode of this thread."""
        if self.constant(o) is not GRAD:
            raise NotNative
        k = self.program.constant
        return self.program.find("of thread", self.at(o), k(name), k(getattr(GradMode, name)), 0, 0)

    def read_array(self, target: str, o: Operand) -> Register:
        found = self.registers[target] = self.slot(o, "held")
        self.program.test("type", found, self.program.constant(np.ndarray))
        self.kinds[target] = np.ndarray
        self.arrays[o.text] = target
        return found

    def member(self, o: Operand, member: Operand) -> Register:
        described = self.constant(member)
        offset = member_offset(described) if type(described) is MemberDescriptorType else None
        if offset is None:
            raise NotNative
        self.is_kind(o, described.__objclass__)
        return self.program.find("slot", self.at(o), offset)

    def numbers(self, op: str, o: Operand, expected: Operand) -> None:
        self.is_kind(o, np.ndarray)
        numbers = self.constant(expected)
        self.program.test(op, self.at(o), len(numbers), *numbers)

    def dtype(self, o: Operand, *expected: Operand) -> None:
        self.is_kind(o, np.ndarray)
        self.program.test("dtype", self.at(o), self.at(expected[-1]))

    def flags(self, o: Operand, flags: int) -> None:
        self.is_kind(o, np.ndarray)
        self.program.test("flags", self.at(o), flags)

    def owns(self, o: Operand) -> None:
        """`o` is a Tensor: its array owns its memory."""
        self.program.test("owns", self.array(o.text))

    def equal(self, o: Operand, *others: Operand) -> None:
        expected = others[-1]
        value = self.constant(expected)
        if type(value) not in (int, str, bytes) and not (type(value) is float and value == value and value):
            raise NotNative
        self.program.test("equal", self.at(o), self.at(expected))

    def bits(self, o: Operand, expected: Operand, *others: Operand) -> None:
        if type(self.constant(expected)) is not float:
            raise NotNative
        self.program.test("bits", self.at(o), self.at(expected))

    def size(self, o: Operand, n: Operand, length: Operand | None = None) -> None:
        kind = self.kinds.get(o.text)
        if length is not None and length.value is not len:
            raise NotNative
        if kind in SIZED:
            return self.program.test("size", self.at(o), self.constant(n))
        if kind is not dict:
            raise NotNative
        self.program.test("dict size", self.at(o), self.constant(n))

    def keys(self, o: Operand, expected: Operand) -> None:
        names = self.constant(expected)
        if self.kinds.get(o.text) is not dict or not all(type(name) is str for name in names):
            raise NotNative
        self.program.test("keys", self.at(o), len(names), *map(self.program.constant, names))

    def none_of(self, o: Operand, names: Operand) -> None:
        self.program.test("none of", self.dict_at(o), self.at(names))

    def function(self, o: Operand, same: Operand, likes: Operand) -> None:
        if type(self.constant(same)) is not FunctionType:
            raise NotNative
        self.kinds[o.text] = FunctionType
        self.program.test("function", self.at(o), self.at(same), self.at(likes))

    def no_part(self, o: Operand, *names: str) -> None:
        """A function has none of these."""
        self.is_function(o)
        for name in names:
            self.program.test("nothing at", self.at(o), attribute_offsets(FunctionType)[name])

    def is_function(self, o: Operand) -> None:
        if type(o.value) is not FunctionType:
            self.is_kind(o, FunctionType)

    def defaults(self, target: str, o: Operand) -> Register:
        self.is_function(o)
        return self.program.find("slot", self.at(o), attribute_offsets(FunctionType)["__defaults__"])

    def name_of(self, o: Operand, name: str) -> Register:
        """A name that a function has, or a class that Python code made."""
        if type(o.value) is not type:
            self.is_function(o)
            return self.program.find("slot", self.at(o), attribute_offsets(FunctionType)[name])
        if not o.value.__flags__ & MADE_BY_CODE:
            raise NotNative
        if name == "__module__":
            return self.program.find("key", self.program.constant(dict_of(vars(o.value))), self.program.constant(name))
        return self.program.find("slot", self.at(o), attribute_offsets(type)[name])

    def closure(self, target: str, o: Operand) -> Register:
        """The variables of a function, which are the same as long as the function is."""
        if type(self.constant(o)) is not FunctionType:
            raise NotNative
        self.fixed[target] = o.value.__closure__
        return self.program.constant(o.value.__closure__)

    def closed_over(self, o: Operand, k: Operand) -> Register:
        """One of them."""
        if type(self.constant(o)) is not FunctionType:
            raise NotNative
        return self.program.constant(o.value.__closure__[k.value])

    def item_of(self, target: str, o: Operand, k: Operand) -> Register:
        """An item of a tuple that is always the same."""
        if type(self.constant(o)) is not tuple:
            raise NotNative
        self.fixed[target] = o.value[k.value]
        return self.program.constant(o.value[k.value])

    def of_function(self, op: str, o: Operand, *others: Operand) -> None:
        self.is_function(o)
        self.program.test(op, self.at(o), *map(self.at, others))

    def bases(self, o: Operand, expected: Operand) -> None:
        if not isinstance(self.constant(o), type):
            raise NotNative
        found = self.program.find("slot", self.at(o), attribute_offsets(type)["__mro__"])
        self.program.test("is", found, self.at(expected))

    def namespace(self, target: str, o: Operand) -> Register:
        found = self.program.find("namespace", self.at(o))
        self.program.test("type", found, self.program.constant(dict))
        self.kinds[target] = dict
        return found

    def value_of(self, o: Operand, key: Operand) -> Register:
        """An item of a dict, which others that are read by key are not."""
        if o.is_constant and type(dict_of(o.value)) is not dict:
            raise NotNative
        return self.program.find("key", self.dict_at(o), self.at(key))

    def value_or(self, o: Operand, key: Operand, otherwise: Any) -> Register:
        return self.program.find("key or", self.dict_at(o), self.at(key), self.program.constant(otherwise))


def dict_of(namespace: Any) -> Any:
    """A namespace itself: of a read-only view, the one viewed."""
    if type(namespace) is MappingProxyType:
        (namespace,) = gc.get_referents(namespace)
    return namespace


def offsets_of(cls: type) -> dict[str, int]:
    """Where the instances of a class have their slots; 0 where that is not known."""
    slots = ((base, name) for base in cls.__mro__ for name in base.__dict__.get("__slots__", ()) if name[:2] != "__")
    return {name: member_offset(base.__dict__[name]) or 0 for base, name in slots}


TENSOR_SLOTS = offsets_of(Tensor)

ABSENT = NAMES["ABSENT"]
G = Rows

READS: dict[str, Callable[..., Register]] = {
    "args[n]": G.argument,
    "kwargs[o]": G.argument,
    "o.array": lambda g, target, o: g.read_array(target, o),
    **{f"o.{name}": lambda g, target, o, name=name: g.slot(o, name)
       for name in ("requires_grad", "grad_fn", "hooks", "_grad")},
    "o": lambda g, target, o: g.at(o),
    "o.__defaults__": G.defaults,
    "o.__closure__[n]": lambda g, target, o, k: g.closed_over(o, k),
    "o.enabled": lambda g, target, o: g.mode(o, "enabled"),
    "o.casting": lambda g, target, o: g.mode(o, "casting"),
    "o.__closure__": G.closure,
    "o[n]": G.item_of,
    **{f"o.{name}": lambda g, target, o, name=name: g.name_of(o, name)
       for name in ("__name__", "__qualname__", "__module__")},
    "o.__dict__": G.namespace,
    "o[o]": lambda g, target, o, key: g.value_of(o, key),
    "o.get(o, ABSENT)": lambda g, target, o, key: g.value_or(o, key, ABSENT),
    "o.cell_contents": lambda g, target, o: g.program.find("cell", g.at(o)),
    "slot_value(o, o)": lambda g, target, o, member: g.member(o, member),
}
"""By the text of a read, with o for objects and n for numbers: what it is as instructions."""

TESTS: dict[str, Callable[..., None]] = {
    "len(args) == n": lambda g, n: None,        # that is how a program is found
    "not kwargs": lambda g: None,
    "[*kwargs] == o": lambda g, names: None,
    "type(o) is o": G.has_type,
    "(o.dtype is o or o.dtype == o)": G.dtype,
    "o.shape == o": lambda g, o, shape: g.numbers("shape", o, shape),
    "o.strides == o": lambda g, o, strides: g.numbers("strides", o, strides),
    "o.flags.c_contiguous": lambda g, o: g.flags(o, C_CONTIGUOUS),
    "o.array.base is None": G.owns,
    "not o.hooks": lambda g, o: g.program.test("empty", g.slot(o, "hooks")),
    "o is o": lambda g, o, other: g.program.test("is", g.at(o), g.at(other)),
    "o is not o": lambda g, o, other: g.program.test("is not", g.at(o), g.at(other)),
    "type(o) is int and o == n": G.equal,
    "type(o) is int and o == o": G.equal,
    "type(o) is o and o == o": lambda g, o, kind, again, expected: g.equal(o, expected),
    "(o is o or type(o) is o and bits(o) == o)": G.bits,
    "o(o) == n": lambda g, length, o, n: g.size(o, n, length),
    "[*o] == o": G.keys,
    "[*o] == o and [*map(type, o)] == o": lambda g, o, names, again, kinds: g.keys(o, names),
    "o.isdisjoint(o)": lambda g, names, o: g.none_of(o, names),
    "o.keys().isdisjoint(o)": G.none_of,
    "(o is o or type(o) is FunctionType and o.__globals__ is o)": lambda g, o, same, _, again, likes:
        g.function(o, same, likes),
    "o.__code__ is o": lambda g, o, code: g.of_function("code", o, code),
    "o.__defaults__ is o.__kwdefaults__ is None": lambda g, o, _: g.no_part(o, "__defaults__", "__kwdefaults__"),
    "o.__kwdefaults__ is None": lambda g, o: g.no_part(o, "__kwdefaults__"),
    "(not o.__dict__ or o.__dict__.keys().isdisjoint(o))": lambda g, o, again, names:
        g.of_function("function has none of", o, names),
    "o.__mro__ is o": G.bases,
    "o.get(o, ABSENT) is ABSENT": lambda g, o, key: g.program.test("no key", g.dict_at(o), g.at(key)),
    "o not in o": lambda g, key, o: g.program.test("no key", g.dict_at(o), g.at(key)),
}
"""By the text of a test: what it is as instructions."""
