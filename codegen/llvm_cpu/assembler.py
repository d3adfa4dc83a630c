"""Assembler: LLVM IR text, written by calls that carry types. In: typed Values. Out: the text of one function.

    a = Assembler()
    two = a.constant(F32, 2.0)
    total = a.loop(zero, stop, 1, [two], lambda i, carried: [a.binary("fmul", carried[0], two)])

1. Code nests in scopes: the function, a loop's body, a conditional region. A pure instruction is written once, in the
   outermost scope where its operands exist; writing it again gives the same register. So invariant code is hoisted and
   common subexpressions are shared while the text is made, and no pass over it is needed afterwards.
2. What is hoisted must not trap and must not touch memory. A load or a store goes no further out than the innermost
   scope that may be skipped (`barrier`): where it stands, it runs only if it would have run anyway.
3. Loops run at least once; one that may be empty stands in a conditional region.
4. The dtype of a Value is one of the IR's; "bool" is i1 in a register, so a bool in memory has dtype "u8".
"""
from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

ELEMENTS = {
    "bool": "i1", "i8": "i8", "u8": "i8", "i16": "i16", "u16": "i16", "i32": "i32", "u32": "i32", "i64": "i64",
    "u64": "i64", "f32": "float", "f64": "double", "ptr": "ptr",
}
"""The LLVM type that holds each dtype."""

_SUFFIXES = {"float": "f32", "double": "f64", "ptr": "p0"}
BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "float": 4, "double": 8, "ptr": 8}


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """`lanes` elements of `dtype`; a scalar has one lane. Interned, so identity is equality."""

    dtype: str
    lanes: int
    element: str      # "float"
    text: str         # "<8 x float>"
    suffix: str       # "v8f32", as in the names of intrinsics


@cache
def vector(dtype: str, lanes: int = 1) -> Type:
    """The type of `lanes` elements of `dtype`."""
    element = ELEMENTS[dtype]
    suffix = _SUFFIXES.get(element, element)
    if lanes == 1:
        return Type(dtype, 1, element, element, suffix)
    return Type(dtype, lanes, element, f"<{lanes} x {element}>", f"v{lanes}{suffix}")


BOOL, I32, I64, F32, F64, PTR = (vector(dtype) for dtype in ("bool", "i32", "i64", "f32", "f64", "ptr"))


class Value:
    """A register or a constant: its text, its type, and the depth of the scope in which it exists (0 for a constant)."""

    __slots__ = ("text", "type", "scope")

    def __init__(self, text: str, type: Type, scope: int = 0):
        self.text, self.type, self.scope = text, type, scope

    @property
    def operand(self) -> str:
        return f"{self.type.text} {self.text}"


class _Scope:
    """Lines so far, the label they are under, the registers that hold pure expressions."""

    __slots__ = ("lines", "label", "known", "barrier")

    def __init__(self, label: str, barrier: int):
        self.lines: list[str] = []
        self.known: dict[str, str] = {}
        self.label, self.barrier = label, barrier


class Assembler:
    """Writes the body of one function."""

    def __init__(self) -> None:
        self.declarations: set[str] = set()
        self._scopes = [_Scope("body", 0)]
        self._count = 0

    # ---- constants ------------------------------------------------------------------------------------------------

    def constant(self, type: Type, number: bool | int | float) -> Value:
        """`number` in every lane."""
        if type.dtype == "f64":
            text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
        elif type.dtype == "f32":      # LLVM writes a float as the double that equals it
            text = f"0x{struct.unpack('<Q', struct.pack('<d', _as_f32(number)))[0]:016X}"
        elif type.dtype == "bool":
            text = "true" if number else "false"
        else:
            text = str(int(number))
        return Value(text if type.lanes == 1 else f"splat ({type.element} {text})", type)

    def lane_numbers(self, type: Type, step: int = 1) -> Value:
        """0, step, 2*step, ... : one number for each lane."""
        return Value(f"<{', '.join(f'{type.element} {k * step}' for k in range(type.lanes))}>", type)

    # ---- pure instructions ----------------------------------------------------------------------------------------

    def binary(self, opcode: str, x: Value, y: Value) -> Value:
        return self._pure(f"{opcode} {x.type.text} {x.text}, {y.text}", x.type, max(x.scope, y.scope))

    def negate(self, x: Value) -> Value:
        return self._pure(f"fneg {x.type.text} {x.text}", x.type, x.scope)

    def compare(self, predicate: str, x: Value, y: Value) -> Value:
        """`predicate` names instruction and condition, as in "fcmp olt" or "icmp ult"."""
        return self._pure(f"{predicate} {x.type.text} {x.text}, {y.text}", vector("bool", x.type.lanes), max(x.scope, y.scope))

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return self._pure(f"select {condition.operand}, {x.operand}, {y.operand}", x.type, max(condition.scope, x.scope, y.scope))

    def convert(self, opcode: str, x: Value, type: Type) -> Value:
        return self._pure(f"{opcode} {x.operand} to {type.text}", type, x.scope)

    def relabel(self, x: Value, type: Type) -> Value:
        """x with another dtype of the same bits in LLVM (i32 and u32)."""
        return Value(x.text, type, x.scope)

    def intrinsic(self, name: str, *operands: Value, type: Type | None = None, suffix: str | None = None) -> Value:
        """A pure intrinsic `llvm.<name>.<suffix>`; type and suffix are those of the first operand unless given."""
        type = type or operands[0].type
        return self._pure(self._call(name, suffix or operands[0].type.suffix, type, operands), type, max(v.scope for v in operands))

    def splat(self, x: Value, lanes: int) -> Value:
        """x in each of `lanes` lanes; x itself if it has them already."""
        if x.type.lanes == lanes:
            return x
        type = vector(x.type.dtype, lanes)
        if not x.text.startswith("%"):
            return Value(f"splat ({x.operand})", type)
        first = self._pure(f"insertelement {type.text} poison, {x.operand}, i64 0", type, x.scope)
        return self.shuffle(first, first, [0] * lanes)

    def shuffle(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        """The lanes of x and y, numbered through, in the given order."""
        order = "zeroinitializer" if not any(lanes) else f"<{', '.join(f'i32 {k}' for k in lanes)}>"
        return self._pure(f"shufflevector {x.operand}, {y.operand}, <{len(lanes)} x i32> {order}",
                          vector(x.type.dtype, len(lanes)), max(x.scope, y.scope))

    def extract(self, x: Value, lane: int) -> Value:
        return self._pure(f"extractelement {x.operand}, i64 {lane}", vector(x.type.dtype), x.scope)

    def insert(self, x: Value, element: Value, lane: int) -> Value:
        return self._pure(f"insertelement {x.operand}, {element.operand}, i64 {lane}", x.type, max(x.scope, element.scope))

    def address(self, pointer: Value, element: Type, index: Value) -> Value:
        """The address of element `index`; a vector of indices gives a vector of addresses."""
        return self._pure(f"getelementptr {element.element}, {pointer.operand}, {index.operand}",
                          vector("ptr", index.type.lanes), max(pointer.scope, index.scope))

    # ---- memory ---------------------------------------------------------------------------------------------------

    def load(self, type: Type, address: Value, invariant: bool) -> Value:
        """*address; `invariant`: nothing writes this memory while the function runs, so it is read once."""
        text = f"load {type.text}, {address.operand}, align {BYTES[type.element]}"
        return self._pure(text + ", !invariant.load !0", type, self._after_barrier(address.scope)) if invariant else self._effect(text, type)

    def store(self, x: Value, address: Value) -> None:
        self._scopes[-1].lines.append(f"store {x.operand}, {address.operand}, align {BYTES[x.type.element]}")

    def masked_load(self, type: Type, address: Value, mask: Value, invariant: bool) -> Value:
        """Contiguous lanes from `address` where mask holds, 0 elsewhere. With a vector of addresses: each lane from its own."""
        name, suffix = ("gather", f"{type.suffix}.{address.type.suffix}") if address.type.lanes > 1 else ("load", f"{type.suffix}.p0")
        operands = (address, self.constant(I32, BYTES[type.element]), mask, Value("zeroinitializer", type))
        text = self._call("masked." + name, suffix, type, operands)
        scope = max(address.scope, mask.scope)
        return self._pure(text, type, self._after_barrier(scope)) if invariant else self._effect(text, type)

    def masked_store(self, x: Value, address: Value, mask: Value) -> None:
        """Store the lanes where mask holds; with a vector of addresses each to its own, the last lane last."""
        name, suffix = ("scatter", f"{x.type.suffix}.{address.type.suffix}") if address.type.lanes > 1 else ("store", f"{x.type.suffix}.p0")
        operands = (x, address, self.constant(I32, BYTES[x.type.element]), mask)
        self._scopes[-1].lines.append(self._call("masked." + name, suffix, None, operands))

    def store_if(self, condition: Value, x: Value, address: Value) -> None:
        """Store x where the scalar condition holds, as far out as condition and address exist."""
        scope = self._scopes[self._after_barrier(max(condition.scope, x.scope, address.scope))]
        self._count += 1
        n = self._count
        scope.lines += [f"br {condition.operand}, label %set.{n}, label %on.{n}", f"set.{n}:",
                        f"store {x.operand}, {address.operand}, align {BYTES[x.type.element]}", f"br label %on.{n}", f"on.{n}:"]
        scope.label = f"on.{n}"

    # ---- control --------------------------------------------------------------------------------------------------

    def loop(self, start: Value, stop: Value, step: int, carried: Sequence[Value],
             body: Callable[[Value, list[Value]], list[Value]]) -> list[Value]:
        """For i = start, start + step, ... below stop, start < stop: carried = body(i, carried). Gives the last carried.

        start:  before ── loop: i = phi, carried = phi; body; i + step < stop ? loop : after
        """
        n, depth = self._open("loop", barrier=False)
        index = Value(f"%i.{n}", start.type, depth)
        inside = [Value(f"%c.{n}.{k}", value.type, depth) for k, value in enumerate(carried)]
        results = body(index, inside)
        scope, parent = self._scopes.pop(), self._scopes[-1]
        parent.lines += [f"br label %loop.{n}", f"loop.{n}:",
                         f"{index.text} = phi {start.type.text} [ {start.text}, %{parent.label} ], [ %n.{n}, %{scope.label} ]"]
        parent.lines += [f"{phi.text} = phi {phi.type.text} [ {before.text}, %{parent.label} ], [ {after.text}, %{scope.label} ]"
                         for phi, before, after in zip(inside, carried, results, strict=True)]
        parent.lines += scope.lines
        parent.lines += [f"%n.{n} = add nsw {start.type.text} {index.text}, {step}",
                         f"%r.{n} = icmp slt {start.type.text} %n.{n}, {stop.text}",
                         f"br i1 %r.{n}, label %loop.{n}, label %after.{n}", f"after.{n}:"]
        parent.label = f"after.{n}"
        return [Value(value.text, value.type, depth - 1) for value in results]

    def when(self, condition: Value, otherwise: Sequence[Value], body: Callable[[], list[Value]]) -> list[Value]:
        """body() if the scalar condition holds, else `otherwise`."""
        n, depth = self._open("then", barrier=True)
        results = body()
        scope, parent = self._scopes.pop(), self._scopes[-1]
        parent.lines += [f"br {condition.operand}, label %then.{n}, label %after.{n}", f"then.{n}:", *scope.lines,
                         f"br label %after.{n}", f"after.{n}:"]
        merged = [Value(f"%m.{n}.{k}", value.type, depth - 1) for k, value in enumerate(results)]
        parent.lines += [f"{phi.text} = phi {phi.type.text} [ {then.text}, %{scope.label} ], [ {other.text}, %{parent.label} ]"
                         for phi, then, other in zip(merged, results, otherwise, strict=True)]
        parent.label = f"after.{n}"
        return merged

    def function(self, symbol: str, parameters: str, condition: str) -> str:
        """The finished text: `define void @symbol(parameters)`, whose body runs if `condition`, an icmp, holds."""
        body = "\n".join(self._scopes[0].lines)
        return (f"{''.join(sorted(self.declarations))}define void @{symbol}({parameters}) nounwind {{\nentry:\n%run = {condition}\n"
                f"br i1 %run, label %body, label %done\nbody:\n{body}\nbr label %done\ndone:\nret void\n}}\n!0 = !{{}}\n")

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _pure(self, expression: str, type: Type, depth: int) -> Value:
        scope = self._scopes[depth]
        register = scope.known.get(expression)
        if register is None:
            self._count += 1
            register = scope.known[expression] = f"%v{self._count}"
            scope.lines.append(f"{register} = {expression}")
        return Value(register, type, depth)

    def _effect(self, expression: str, type: Type) -> Value:
        self._count += 1
        self._scopes[-1].lines.append(f"%v{self._count} = {expression}")
        return Value(f"%v{self._count}", type, len(self._scopes) - 1)

    def _call(self, name: str, suffix: str, type: Type | None, operands: Sequence[Value]) -> str:
        result = type.text if type else "void"
        symbol = f"@llvm.{name}.{suffix}"
        self.declarations.add(f"declare {result} {symbol}({', '.join(v.type.text for v in operands)})\n")
        return f"call {result} {symbol}({', '.join(v.operand for v in operands)})"

    def _after_barrier(self, depth: int) -> int:
        return max(depth, self._scopes[-1].barrier)

    def _open(self, kind: str, barrier: bool) -> tuple[int, int]:
        self._count += 1
        depth = len(self._scopes)
        self._scopes.append(_Scope(f"{kind}.{self._count}", depth if barrier else self._scopes[-1].barrier))
        return self._count, depth


def _as_f32(number: float) -> float:
    """The f32 nearest to number; beyond the largest, infinity."""
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
