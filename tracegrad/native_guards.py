"""Guards as instructions of an entry program, which native code runs (see codegen.entries).

    v2 = v1.array                                    v2 = find "slot", v1, 24;  test "type", v2, ndarray
    type(v1) is k3                                   test "type", v1, k3
    (v2.dtype is k4 or v2.dtype == k4)               test "dtype", v2, k4
    v9 = k.get(v8)  and whatever else                v9 = call a function of this one line, with v8

1. An instruction is at least as strict as its line: where it does not hold, the line is asked in Python.
2. What is read of an object is read only after its type was tested.
3. A line that no row of the table fits is a Python function of its own, called from there.
"""
from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Callable, Sequence
from types import FunctionType, MappingProxyType, MemberDescriptorType
from typing import Any, NamedTuple

import numpy as np

from codegen import EntryProgram, Register, class_bases_offset, member_offset
from tracegrad.dispatch import GRAD
from tracegrad.guards import MISSING, NAMES, Guards, Line
from tracegrad.purity.dict_versions import version
from tracegrad.tensors import Tensor

_TOKEN = re.compile(r"\b[vk]\d+\b|'[^']*'|\b\d+\b")
_NOTHING = object()
_OF_READ = re.compile(r"(?:type\((\S+)\)|(\S+(?:, ABSENT\))?)) is (not )?([vk]\d+|None|True|False|ABSENT)")
_SINGLETONS = {"None": None, "True": True, "False": False, "ABSENT": NAMES["ABSENT"]}
_TENSOR = [re.compile(pattern) for pattern in (
    r"(?P<a>v\d+) = (?P<t>[vk]\d+)\.array", r"type\((?P<t>[vk]\d+)\) is (?P<k>k\d+)",
    r"\((?P<a>v\d+)\.dtype is (?P<k>k\d+) or v\d+\.dtype == k\d+\)", r"(?P<a>v\d+)\.shape == (?P<k>k\d+)",
    r"(?P<a>v\d+)\.flags\.c_contiguous", r"(?P<t>[vk]\d+)\.requires_grad is (?P<k>True|False)",
    r"(?P<t>[vk]\d+)\.grad_fn is None", r"not (?P<t>[vk]\d+)\.hooks")]
"""The lines about a Tensor, most of the time: `t` is the Tensor, `a` its array, `k` a constant."""
SIZED = (list, tuple)
C_CONTIGUOUS = 1


class Operand(NamedTuple):
    """A variable or a constant of a line: its text, where it is, and what it is if that is always the same."""

    text: str
    value: Any = _NOTHING

    @property
    def is_constant(self) -> bool:
        return self.value is not _NOTHING


class NotNative(Exception):
    """No instruction does what a line does."""


class NativeGuards:
    """The lines of one root's guards, written into `program`; `arrays`: by the variable of a Tensor, its array's."""

    def __init__(self, guards: Guards, positional: int, names: Sequence[str]):
        self.program = EntryProgram(positional, names)
        self.arrays: dict[str, str] = {}
        self.in_python = 0                                  # how many lines are
        self._guards, self._names, self._positional = guards, names, positional
        self._registers: dict[str, Register] = {}
        self._kinds: dict[str, Any] = {}                    # variable -> the type that it was tested to have
        self._done: set[int] = set()                        # ids of lines that were written before their turn
        for namespace, lines in guards.namespaces:
            self._write_namespace(namespace, lines)
        self._write(guards.lines)

    def register(self, text: str) -> Register:
        """Where a variable is, or a constant."""
        found = self._registers.get(text)
        return self.program.constant(self._guards.constants[text]) if found is None else found

    def array(self, leaf: str) -> Register:
        """Where the array of a Tensor is."""
        if leaf not in self.arrays:
            self._read_array(f"{leaf}.array", Operand(leaf))
        return self._registers[self.arrays[leaf]]

    # ---- lines ------------------------------------------------------------------------------------------------------

    def _write_namespace(self, namespace: Any, lines: Sequence[Line]) -> None:
        """Guards that hold as long as a namespace does not change."""
        number = version(namespace)
        if number is None:
            return self._write(lines)
        self.program.constant(_dict_of(namespace))      # it lives as long as its version is read
        address = ctypes.addressof(number)
        start, depth = self.program.versioned(address), self.program.depth
        self._write(lines)
        self.program.held(start, address, depth)

    def _write(self, lines: Sequence[Line]) -> None:
        for k, line in enumerate(lines):
            if id(line) not in self._done and not self._write_tensor(lines[k:k + len(_TENSOR)]):
                if not line.test:
                    self._write_type_first(line, lines[k + 1:k + 3])
                self._write_line(line)

    def _write_tensor(self, lines: Sequence[Line]) -> bool:
        """The lines about a Tensor at once, if these are all about one in C order, and as they mostly are."""
        if not lines[0].text.endswith(".array") or len(lines) < len(_TENSOR):
            return False
        matches = [pattern.fullmatch(line.text) for pattern, line in zip(_TENSOR, lines)]
        if not all(matches):
            return False
        read, kind, dtype, shape, _, requires_grad, *_ = (m for m in matches if m is not None)
        tensor, array = read["t"], read["a"]
        if any(m is not None and m.groupdict().get(name, one) != one
               for m in matches for name, one in (("t", tensor), ("a", array))):
            return False
        constants = self._guards.constants
        sizes, expected, at = constants[shape["k"]], constants[kind["k"]], self.at(self._normalized(tensor)[1][0])
        if not issubclass(expected, Tensor):
            return False
        k, slots = self.program.constant, TENSOR_SLOTS
        self._kinds |= {tensor: expected, array: np.ndarray}
        self.arrays[tensor] = array
        self._registers[array] = self.program.find(
            "array of", at, k(expected), slots["array"], k(constants[dtype["k"]]), C_CONTIGUOUS, len(sizes), *sizes)
        self.program.test("holds", at, 3, slots["requires_grad"], k(requires_grad["k"] == "True"),
                          slots["grad_fn"], k(None), slots["hooks"], k(None))
        self._done.update(map(id, lines))
        return True

    def _write_type_first(self, line: Line, following: Sequence[Line]) -> None:
        """The test of the type of what is read from comes before the read."""
        source = line.text.partition(" = ")[2].partition(".")[0]
        for after in following:
            if after.test and after.text.startswith(f"type({source}) is "):
                self._write_line(after)
                self._done.add(id(after))

    def _write_line(self, line: Line) -> None:
        text = line.text
        try:
            if line.test:
                self._write_test(text)
            else:
                targets, _, expression = text.partition(" = ")
                self._write_read([t.strip() for t in targets.split(",") if t.strip()], expression, "," in targets)
        except NotNative:
            self._write_python(line)

    def _write_test(self, text: str) -> None:
        shape, operands = self._normalized(text)
        row = TESTS.get(shape)
        if row is not None:
            return row(self, *operands)
        parts = text.split(" and ")
        if len(parts) > 1 and "(" not in text:
            rows = [(TESTS.get(shape), given) for shape, given in map(self._normalized, parts)]
            if all(row is not None for row, _ in rows):
                for row, given in rows:
                    assert row is not None
                    row(self, *given)
                return
        if shape.startswith("len({*map(id, (o") and shape.endswith(")}) == n"):
            return self.program.distinct([self.register(o.text) for o in operands[:-1]])
        self._write_test_of_read(text)

    def _write_test_of_read(self, text: str) -> None:
        """A test whether what is read is a certain object, or of a certain type."""
        match = _OF_READ.fullmatch(text)
        if match is None:
            raise NotNative
        typed, plain, negated, expected = match.groups()
        shape, operands = self._normalized(typed or plain)
        row = READS.get(shape)
        if row is None or shape == "o.array":
            raise NotNative
        _, (other,) = self._normalized(expected) if expected not in _SINGLETONS else (
            "", [Operand(expected, _SINGLETONS[expected])])
        found = row(self, "", *operands)
        op = "type" if typed else "is not" if negated else "is"
        self.program.test(op, found, self.at(other))

    def _write_read(self, targets: list[str], expression: str, unpacked: bool) -> None:
        shape, operands = self._normalized(expression)
        if unpacked:
            self._unpack(targets, shape, operands)
            return
        row = READS.get(shape)
        if row is None:
            raise NotNative
        (target,) = targets
        self._registers[target] = row(self, target, *operands)

    def _unpack(self, targets: list[str], shape: str, operands: list[Operand]) -> None:
        o = operands[0]
        kind = self._kinds.get(o.text)
        if shape == "o" and kind in SIZED:
            found = self.program.find_all(len(targets), "items", self.at(o), len(targets))
        elif shape == "o.values()" and kind is dict:
            found = self.program.find_all(len(targets), "values", self.at(o), len(targets))
        else:
            raise NotNative
        self._registers.update(zip(targets, found))

    def _write_python(self, line: Line) -> None:
        """A line as a function of the variables that it reads, which gives those that it sets, or None."""
        self.in_python += 1
        left, _, right = ("", "", line.text) if line.test else line.text.partition(" = ")
        targets = [t.strip() for t in left.split(",") if t.strip()]
        variables = [v for v in dict.fromkeys(re.findall(r"\bv\d+\b", right)) if v in self._registers]
        given = [self._registers[v] for v in variables]
        for expression in dict.fromkeys(re.findall(r"args\[\d+\]|kwargs\[[^]]*\]", right)):
            variables.append(f"given{len(variables)}")
            given.append(self.argument("", self._normalized(expression)[1][0]))
            right = right.replace(expression, variables[-1])
        if re.search(r"\b(kw)?args\b", right):
            raise NotNative
        body = ([f"if not ({right}): return None", "return ()"] if line.test
                else [f"{left} = {right}", f"return ({''.join(f'{t}, ' for t in targets)})"])
        text = "\n".join((f"def guard({', '.join(variables)}):", " try:", *(f"  {one}" for one in body),
                          " except MISSING: return None"))
        space = {**NAMES, **self._guards.constants, "MISSING": MISSING, "__builtins__": {}}
        exec(compile(text, "<guard>", "exec"), space)
        self._registers.update(zip(targets, self.program.call(space["guard"], given, len(targets))))

    # ---- operands ---------------------------------------------------------------------------------------------------

    def _normalized(self, text: str) -> tuple[str, list[Operand]]:
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
                constants = self._guards.constants
                operands.append(Operand(token, constants[token] if token in constants else _NOTHING))
            return "o"
        return _TOKEN.sub(replace, text), operands

    def at(self, o: Operand) -> Register:
        """Where an operand is."""
        if o.is_constant:
            return self.program.constant(o.value)
        return self._registers[o.text]

    def constant(self, o: Operand) -> Any:
        """What an operand is, which is always the same."""
        if not o.is_constant:
            raise NotNative
        return o.value

    def dict_at(self, o: Operand) -> Register:
        """Where a dict is: of a read-only view, the one viewed."""
        return self.program.constant(_dict_of(o.value)) if o.is_constant else self.at(o)

    # ---- what the rows do -------------------------------------------------------------------------------------------

    def argument(self, target: str, o: Operand) -> Register:
        if isinstance(o.value, int):
            return self.program.arguments[o.value]
        return self.program.arguments[self._positional + list(self._names).index(o.value)]

    def has_type(self, o: Operand, kind: Operand) -> None:
        self._kinds[o.text] = self.constant(kind)
        self.program.test("type", self.at(o), self.at(kind))

    def is_kind(self, o: Operand, kind: type) -> None:
        """The object was tested to be of this class, or one derived from it."""
        if not issubclass(self._kinds.get(o.text, object), kind):
            raise NotNative

    def slot(self, o: Operand, name: str) -> Register:
        """What a Tensor holds in a slot."""
        self.is_kind(o, Tensor)
        return self.program.find("slot", self.at(o), TENSOR_SLOTS[name])

    def grad_mode(self, o: Operand) -> Register:
        if self.constant(o) is not GRAD:
            raise NotNative
        return self.program.find("attribute", self.at(o), self.program.constant("enabled"))

    def _read_array(self, target: str, o: Operand) -> Register:
        found = self._registers[target] = self.slot(o, "array")
        self.program.test("type", found, self.program.constant(np.ndarray))
        self._kinds[target] = np.ndarray
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
        kind = self._kinds.get(o.text)
        if length is not None and length.value is not len:
            raise NotNative
        if kind in SIZED:
            return self.program.test("size", self.at(o), self.constant(n))
        if kind is not dict:
            raise NotNative
        self.program.test("dict size", self.at(o), self.constant(n))

    def keys(self, o: Operand, expected: Operand) -> None:
        if self._kinds.get(o.text) is not dict:
            raise NotNative
        names = self.constant(expected)
        self.program.test("keys", self.at(o), len(names), *map(self.program.constant, names))

    def none_of(self, o: Operand, names: Operand) -> None:
        self.program.test("none of", self.dict_at(o), self.at(names))

    def function(self, o: Operand, same: Operand, likes: Operand) -> None:
        if type(self.constant(same)) is not FunctionType:
            raise NotNative
        self._kinds[o.text] = FunctionType
        self.program.test("function", self.at(o), self.at(same), self.at(likes))

    def of_function(self, op: str, o: Operand, *others: Operand) -> None:
        if type(o.value) is not FunctionType:
            self.is_kind(o, FunctionType)
        self.program.test(op, self.at(o), *map(self.at, others))

    def bases(self, o: Operand, expected: Operand) -> None:
        if not isinstance(self.constant(o), type):
            raise NotNative
        found = self.program.find("slot", self.at(o), class_bases_offset())
        self.program.test("is", found, self.at(expected))

    def value_of(self, o: Operand, key: Operand) -> Register:
        """An item of a dict, which others that are read by key are not."""
        if o.is_constant and type(_dict_of(o.value)) is not dict:
            raise NotNative
        return self.program.find("key", self.dict_at(o), self.at(key))

    def value_or(self, o: Operand, key: Operand, otherwise: Any) -> Register:
        return self.program.find("key or", self.dict_at(o), self.at(key), self.program.constant(otherwise))


def _dict_of(namespace: Any) -> Any:
    """A namespace itself: of a read-only view, the one viewed."""
    if type(namespace) is MappingProxyType:
        (namespace,) = gc.get_referents(namespace)
    return namespace


TENSOR_SLOTS = {name: member_offset(Tensor.__dict__[name]) or 0
                for name in ("array", "requires_grad", "_grad", "grad_fn", "hooks")}

ABSENT = NAMES["ABSENT"]
G, O = NativeGuards, Operand

READS: dict[str, Callable[..., Register]] = {
    "args[n]": G.argument,
    "kwargs[o]": G.argument,
    "o.array": lambda g, target, o: g._read_array(target, o),
    **{f"o.{name}": lambda g, target, o, name=name: g.slot(o, name)
       for name in ("requires_grad", "grad_fn", "hooks", "_grad")},
    "o": lambda g, target, o: g.at(o),
    "o.enabled": lambda g, target, o: g.grad_mode(o),
    "o.__dict__": lambda g, target, o: g.program.find("namespace", g.at(o)),
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
    "[*o] == o and [*map(type, o)] == o": lambda g, o, names, again, kinds: g.keys(o, names),
    "o.isdisjoint(o)": lambda g, names, o: g.none_of(o, names),
    "o.keys().isdisjoint(o)": G.none_of,
    "(o is o or type(o) is FunctionType and o.__globals__ is o)": lambda g, o, same, _, again, likes:
        g.function(o, same, likes),
    "o.__code__ is o": lambda g, o, code: g.of_function("code", o, code),
    "o.__defaults__ is o.__kwdefaults__ is None": lambda g, o, again: g.of_function("no defaults", o),
    "(not o.__dict__ or o.__dict__.keys().isdisjoint(o))": lambda g, o, again, names:
        g.of_function("function has none of", o, names),
    "o.__mro__ is o": G.bases,
    "o.get(o, ABSENT) is ABSENT": lambda g, o, key: g.program.test("no key", g.dict_at(o), g.at(key)),
    "o not in o": lambda g, key, o: g.program.test("no key", g.dict_at(o), g.at(key)),
}
"""By the text of a test: what it is as instructions."""
