"""Guards as instructions of an entry program, which native code runs (see codegen.entries).

    v2 = v1.array                                    v2 = find "slot", v1, 24;  test "type", v2, ndarray
    type(v1) is k3                                   test "type", v1, k3
    (v2.dtype is k4 or v2.dtype == k4)               test "dtype", v2, k4
    v9 = k.get(v8)  and whatever else                v9 = call a function of this one line, with v8

A line that no row of native_rows fits is a Python function of its own, called from there.
"""
from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracegrad.guards import MISSING, NAMES, Guards, Line
from tracegrad.native_rows import (
    ALIGNED,
    C_CONTIGUOUS,
    READS,
    SIZED,
    TENSOR_SLOTS,
    TESTS,
    NoProgram,
    NotNative,
    Operand,
    Rows,
    dict_of,
)
from tracegrad.purity.dict_versions import version
from tracegrad.purity.observation import ERROR_STATE
from tracegrad.tensors import Tensor

_OF_READ = re.compile(r"(?:type\((\S+)\)|(\S+(?:, ABSENT\))?)) is (not )?([vk]\d+|None|True|False|ABSENT)")
_SINGLETONS = {"None": None, "True": True, "False": False, "ABSENT": NAMES["ABSENT"]}
_TENSOR = [re.compile(pattern) for pattern in (
    r"(?P<a>v\d+) = (?P<t>[vk]\d+)\.array", r"type\((?P<t>[vk]\d+)\) is (?P<k>k\d+)",
    r"\((?P<a>v\d+)\.dtype is (?P<k>k\d+) or v\d+\.dtype == k\d+\)", r"(?P<a>v\d+)\.shape == (?P<k>k\d+)",
    r"(?P<a>v\d+)\.flags\.c_contiguous", r"(?P<t>[vk]\d+)\.requires_grad is (?P<k>True|False)",
    r"(?P<t>[vk]\d+)\.grad_fn is None", r"not (?P<t>[vk]\d+)\.hooks")]
"""The lines about a Tensor, most of the time: `t` is the Tensor, `a` its array, `k` a constant."""


class NativeGuards(Rows):
    """The lines of one root's guards, written into `program`."""

    def __init__(self, guards: Guards, of_arrays: bool = False):
        super().__init__(guards, of_arrays)
        self.in_python = 0                                  # how many lines are
        self._done: set[int] = set()                        # ids of lines that were written before their turn
        if of_arrays:
            if ERROR_STATE is None:
                raise NoProgram
            self.program.test("context is none", self.program.constant(ERROR_STATE))
        for namespace, lines in guards.namespaces:
            self._write_namespace(namespace, lines)
        self._write(guards.lines)

    # ---- lines ------------------------------------------------------------------------------------------------------

    def _write_namespace(self, namespace: Any, lines: Sequence[Line]) -> None:
        """Guards that hold as long as a namespace does not change."""
        number = version(namespace)
        if number is None:
            return self._write(lines)
        self.program.constant(dict_of(namespace))      # it lives as long as its version is read
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
        self.requires_grad[tensor], self.has_history[tensor] = requires_grad["k"] == "True", False
        if self.of_arrays and tensor in self.given:
            self._write_adopted(tensor, array, lines)
            return True
        constants = self.guards.constants
        sizes, expected, at = constants[shape["k"]], constants[kind["k"]], self.at(self.normalized(tensor)[1][0])
        if not issubclass(expected, Tensor):
            return False
        k, slots = self.program.constant, TENSOR_SLOTS
        self.kinds |= {tensor: expected, array: np.ndarray}
        self.arrays[tensor] = array
        self.registers[array] = self.program.find(
            "array of", at, k(expected), slots["held"], k(constants[dtype["k"]]), C_CONTIGUOUS, len(sizes), *sizes)
        self.program.test("holds", at, 3, slots["requires_grad"], k(requires_grad["k"] == "True"),
                          slots["grad_fn"], k(None), slots["hooks"], k(None))
        self._done.update(map(id, lines))
        return True

    def _write_adopted(self, tensor: str, array: str, lines: Sequence[Line]) -> None:
        """The lines about a Tensor that stands for an array which was given."""
        if self.requires_grad[tensor]:
            raise NoProgram
        given = self.registers[array] = self.registers[tensor]
        self.kinds |= {tensor: Tensor, array: np.ndarray}
        self.arrays[tensor] = array
        self.adopted.add(tensor)
        self.program.test("type", given, self.program.constant(np.ndarray))
        self.program.test("flags", given, ALIGNED)
        self._done.update(map(id, lines))
        for line in lines[2:5]:
            self._write_line(line)

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
            self._write_python(line.text, line.test)

    def _write_test(self, text: str) -> None:
        shape, operands = self.normalized(text)
        row = TESTS.get(shape)
        if row is not None:
            return row(self, *operands)
        if shape == "(o is o or plain_items([*o(o)]) == o)":
            return self._plain_tuple(text, *operands[:2])
        parts = text.split(" and ")
        if len(parts) > 1 and "(" not in text:
            rows = [(TESTS.get(shape), given) for shape, given in map(self.normalized, parts)]
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
        shape, operands = self.normalized(typed or plain)
        row = READS.get(shape)
        if row is None or shape == "o.array":
            raise NotNative
        _, (other,) = self.normalized(expected) if expected not in _SINGLETONS else (
            "", [Operand(expected, _SINGLETONS[expected])])
        found = row(self, "", *operands)
        if shape == "o.requires_grad":
            self.requires_grad[operands[0].text] = expected == "True"
        if shape == "o.grad_fn":
            self.has_history[operands[0].text] = bool(negated)
        op = "type" if typed else "is not" if negated else "is"
        self.program.test(op, found, self.at(other))

    def _write_read(self, targets: list[str], expression: str, unpacked: bool) -> None:
        shape, operands = self.normalized(expression)
        if unpacked:
            self._unpack(targets, shape, operands)
            return
        row = READS.get(shape)
        if row is None:
            raise NotNative
        (target,) = targets
        self.registers[target] = row(self, target, *operands)

    def _unpack(self, targets: list[str], shape: str, operands: list[Operand]) -> None:
        o = operands[0]
        kind = self.kinds.get(o.text)
        if shape == "o" and kind in SIZED:
            found = self.program.find_all(len(targets), "items", self.at(o), len(targets))
        elif shape == "o.values()" and kind is dict:
            found = self.program.find_all(len(targets), "values", self.at(o), len(targets))
        else:
            raise NotNative
        self.registers.update(zip(targets, found))

    def _write_python(self, text: str, is_test: bool) -> None:
        """A line as a function of the variables that it reads, which gives those that it sets, or None."""
        self.in_python += 1
        left, _, right = ("", "", text) if is_test else text.partition(" = ")
        targets = [t.strip() for t in left.split(",") if t.strip()]
        for tensor in self.adopted:
            right = re.sub(rf"\b{tensor}\.array\b", self.arrays[tensor], right)
        variables = [v for v in dict.fromkeys(re.findall(r"\bv\d+\b", right)) if v in self.registers]
        given = [self.registers[v] for v in variables]
        for expression in dict.fromkeys(re.findall(r"args\[\d+\]|kwargs\[[^]]*\]", right)):
            variables.append(f"given{len(variables)}")
            given.append(self.argument("", self.normalized(expression)[1][0]))
            right = right.replace(expression, variables[-1])
        if re.search(r"\b(kw)?args\b", right):
            raise NotNative
        body = ([f"if not ({right}): return None", "return ()"] if is_test
                else [f"{left} = {right}", f"return ({''.join(f'{t}, ' for t in targets)})"])
        text = "\n".join((f"def guard({', '.join(variables)}):", " try:", *(f"  {one}" for one in body),
                          " except MISSING: return None"))
        space = {**NAMES, **self.guards.constants, "MISSING": MISSING, "__builtins__": {}}
        exec(compile(text, "<guard>", "exec"), space)
        self.registers.update(zip(targets, self.program.call(space["guard"], given, len(targets))))

    def _plain_tuple(self, text: str, o: Operand, same: Operand) -> None:
        """A tuple of plain values that is mostly the same one."""
        start = self.program.skipping("skip if", self.at(o), self.at(same))
        self._write_python(text, True)
        self.program.skip_to_here(start)
