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
4. The dtype of a Value is one of the IR's; "bool" is i1 in a register, so a bool in memory has dtype "u8". "half" is
   what conversions of f16 go through.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from struct import pack, unpack

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.llvm_cpu.rooms import INSIDE, MOST_ON_STACK, PARAMETER, with_room

ELEMENTS = {
    "bool": "i1", "i8": "i8", "u8": "i8", "i16": "i16", "u16": "i16", "i32": "i32", "u32": "i32", "i64": "i64",
    "u64": "i64", "f16": "float", "bf16": "float", "f32": "float", "f64": "double", "half": "half", "ptr": "ptr",
}
"""The LLVM type that holds each dtype in a register; f16 and bf16 as the f32 that equals them (see halves)."""

_SUFFIXES = {"half": "f16", "float": "f32", "double": "f64", "ptr": "p0"}
BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "half": 2, "float": 4, "double": 8, "ptr": 8}

STACK = "alignstack(64)"
"""Of every kernel. Without it LLVM keeps spilled vectors at multiples of 16 bytes, wherever the caller's stack was:
those that lie across two lines, or two pages, made a kernel 1.3 to 6 times slower in one process out of ten."""


@struct(eq=False)
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
    """A register or a constant: its text, its type, the depth of the scope in which it exists (0 for a constant)."""

    __slots__ = ("text", "type", "scope")

    def __init__(self, text: str, type: Type, scope: int = 0):
        self.text, self.type, self.scope = text, type, scope

    @property
    def operand(self) -> str:
        """Type and text, as most operands are written."""
        return f"{self.type.text} {self.text}"

    @property
    def number(self) -> int | None:
        """The number that a scalar integer constant is; None for a register."""
        return None if self.text.startswith("%") else int(self.text)


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
        self.words: dict[str, Value] = {}           # the sizes that the function is given, by name
        self.declarations: set[str] = set()
        self._scopes = [_Scope("entry", 0)]
        self._count = 0
        self._rooms: list[tuple[str, int]] = []     # registers, and their bytes
        self._shared: dict[str, int] = {}           # which of them are shared, by what for

    # ---- constants ------------------------------------------------------------------------------------------------

    def constant(self, type: Type, number: bool | int | float) -> Value:
        """`number` in every lane."""
        if type.dtype == "f64":
            text = f"0x{unpack('<Q', pack('<d', number))[0]:016X}"
        elif type.element == "float":      # LLVM writes a float as the double that equals it
            text = f"0x{unpack('<Q', pack('<d', _as_f32(number)))[0]:016X}"
        elif type.dtype == "bool":
            text = "true" if number else "false"
        else:
            text = str(int(number))
        return Value(text if type.lanes == 1 else f"splat ({type.element} {text})", type)

    def size(self, size: Size) -> Value:
        """A size as i64: a number, or computed from the words that the function is given."""
        if isinstance(size, int):
            return self.constant(I64, size)
        total: Value | None = None
        for symbol, c in size.terms:
            assert isinstance(symbol, str), "a word is one symbol"
            word = self.words[symbol]
            part = word if c == 1 else self.binary("mul nsw", word, self.constant(I64, c))
            total = part if total is None else self.binary("add nsw", total, part)
        assert total is not None
        return self.binary("add nsw", total, self.constant(I64, size.constant)) if size.constant else total

    def size_in_lanes(self, size: Size, type: Type) -> Value:
        """A size in every lane of an integer type, which it fits."""
        if isinstance(size, int):
            return self.constant(type, size)
        number, one = self.size(size), vector(type.dtype)
        return self.splat(number if one.element == "i64" else self.convert("trunc", number, one), type.lanes)

    def lane_numbers(self, type: Type, step: int = 1) -> Value:
        """0, step, 2*step, ... : one number for each lane."""
        return Value(f"<{', '.join(f'{type.element} {k * step}' for k in range(type.lanes))}>", type)

    def numbers(self, type: Type, numbers: Sequence[int]) -> Value:
        """The whole numbers, one for each lane."""
        return Value(f"<{', '.join(f'{type.element} {n}' for n in numbers)}>", type)

    def first_lanes(self, lanes: int, count: int) -> Value:
        """A mask that holds in the first `count` of `lanes` lanes."""
        return Value(f"<{', '.join(f'i1 {str(k < count).lower()}' for k in range(lanes))}>", vector("bool", lanes))

    # ---- pure instructions ----------------------------------------------------------------------------------------

    def binary(self, opcode: str, x: Value, y: Value) -> Value:
        return self._pure(f"{opcode} {x.type.text} {x.text}, {y.text}", x.type, x, y)

    def negate(self, x: Value) -> Value:
        return self._pure(f"fneg {x.operand}", x.type, x)

    def compare(self, predicate: str, x: Value, y: Value) -> Value:
        """`predicate` names instruction and condition, as in "fcmp olt" or "icmp ult"."""
        return self._pure(f"{predicate} {x.type.text} {x.text}, {y.text}", vector("bool", x.type.lanes), x, y)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return self._pure(f"select {condition.operand}, {x.operand}, {y.operand}", x.type, condition, x, y)

    def convert(self, opcode: str, x: Value, type: Type) -> Value:
        return self._pure(f"{opcode} {x.operand} to {type.text}", type, x)

    def relabel(self, x: Value, type: Type) -> Value:
        """x with another dtype that is the same in LLVM (i32 and u32)."""
        return Value(x.text, type, x.scope)

    def intrinsic(self, name: str, *operands: Value, type: Type | None = None, suffix: str | None = None) -> Value:
        """A pure intrinsic `llvm.<name>.<suffix>`; type and suffix are those of the first operand unless given."""
        type = type or operands[0].type
        return self._pure(self._call(name, suffix or operands[0].type.suffix, type, operands), type, *operands)

    def halved(self, low: Value, high: Value) -> Value:
        """The lanes of two vectors of f32 rounded to bf16, as their bits. Subnormals may become 0 (see halves)."""
        both, lanes = self.shuffle(low, high, range(2 * low.type.lanes)), 2 * low.type.lanes
        target = vector("u16", lanes)
        rounded = self._pure(f"fptrunc {both.operand} to <{lanes} x bfloat>", target, both)
        return self._pure(f"bitcast <{lanes} x bfloat> {rounded.text} to {target.text}", target, rounded)

    def splat(self, x: Value, lanes: int) -> Value:
        """x in each of `lanes` lanes; x itself if it has them already."""
        if x.type.lanes == lanes:
            return x
        type = vector(x.type.dtype, lanes)
        if not x.text.startswith("%"):      # a constant
            return Value(f"splat ({x.operand})", type)
        first = self._pure(f"insertelement {type.text} poison, {x.operand}, i64 0", type, x)
        return self.shuffle(first, first, [0] * lanes)

    def shuffle(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        """The lanes of x and y, numbered through, in the given order."""
        order = f"<{', '.join(f'i32 {k}' for k in lanes)}>" if any(lanes) else "zeroinitializer"
        type = vector(x.type.dtype, len(lanes))
        return self._pure(f"shufflevector {x.operand}, {y.operand}, <{len(lanes)} x i32> {order}", type, x, y)

    def extract(self, x: Value, lane: int) -> Value:
        return self._pure(f"extractelement {x.operand}, i64 {lane}", vector(x.type.dtype), x)

    def insert(self, x: Value, element: Value, lane: int) -> Value:
        return self._pure(f"insertelement {x.operand}, {element.operand}, i64 {lane}", x.type, x, element)

    def extract_at(self, x: Value, lane: Value) -> Value:
        """The lane whose number is known only at run time."""
        return self._pure(f"extractelement {x.operand}, {lane.operand}", vector(x.type.dtype), x, lane)

    def insert_at(self, x: Value, element: Value, lane: Value) -> Value:
        return self._pure(f"insertelement {x.operand}, {element.operand}, {lane.operand}", x.type, x, element, lane)

    def address(self, pointer: Value, element: Type, index: Value) -> Value:
        """The address of element `index`; a vector of indices gives a vector of addresses."""
        type = vector("ptr", index.type.lanes)
        return self._pure(f"getelementptr {element.element}, {pointer.operand}, {index.operand}", type, pointer, index)

    def inside(self, x: Value) -> Value:
        """x as a value of the innermost scope: what is made of it stays there, and runs only if that scope does."""
        register = f"%v{self._next()}"
        self._scopes[-1].lines.append(f"{register} = freeze {x.operand}")
        return Value(register, x.type, len(self._scopes) - 1)

    # ---- memory ---------------------------------------------------------------------------------------------------

    def load(self, type: Type, address: Value, invariant: bool) -> Value:
        """*address; `invariant`: nothing writes this memory while the function runs, so it is read once."""
        return self._read(f"load {type.text}, {address.operand}, align {BYTES[type.element]}", type, invariant, address)

    def store(self, x: Value, address: Value) -> None:
        self._scopes[-1].lines.append(_store(x, address))

    def stream(self, x: Value, address: Value, align: int) -> None:
        """Store past the caches, to an address that is a multiple of `align`; other threads see it after `settle`."""
        self._scopes[-1].lines.append(f"store {x.operand}, {address.operand}, align {align}, !nontemporal !1")

    def settle(self) -> None:
        """What was streamed comes before whatever follows, for all threads."""
        self._scopes[-1].lines.append("fence seq_cst")

    def masked_load(self, type: Type, address: Value, mask: Value, invariant: bool) -> Value:
        """Neighbors from `address` on where mask holds, else 0; with a vector of addresses each lane from its own."""
        operands = (address, self.constant(I32, BYTES[type.element]), mask, Value("zeroinitializer", type))
        name = "masked.gather" if address.type.lanes > 1 else "masked.load"
        text = self._call(name, f"{type.suffix}.{address.type.suffix}", type, operands)
        return self._read(text, type, invariant, address, mask)

    def masked_store(self, x: Value, address: Value, mask: Value) -> None:
        """Store the lanes where mask holds; with a vector of addresses each to its own, the last lane last."""
        operands = (x, address, self.constant(I32, BYTES[x.type.element]), mask)
        name = "masked.scatter" if address.type.lanes > 1 else "masked.store"
        self._scopes[-1].lines.append(self._call(name, f"{x.type.suffix}.{address.type.suffix}", None, operands))

    def prefetch(self, address: Value, near: int = 3) -> None:
        """Ask for the line at an address, which need not be there; `near`: 3 the first cache, 2 the second."""
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)\n")
        self._scopes[-1].lines.append(f"call void @llvm.prefetch.p0({address.operand}, i32 0, i32 {near}, i32 1)")

    def call(self, name: str, *operands: Value) -> None:
        """The intrinsic `llvm.<name>`, which is there for what it does."""
        self.declarations.add(f"declare void @llvm.{name}({', '.join(v.type.text for v in operands)})\n")
        self._scopes[-1].lines.append(f"call void @llvm.{name}({', '.join(v.operand for v in operands)})")

    def store_if(self, condition: Value, x: Value, address: Value) -> None:
        """Store x where the scalar condition holds, as far out as condition and address exist."""
        scope = self._scopes[self._depth(True, condition, x, address)]
        n = self._next()
        scope.lines += [f"br {condition.operand}, label %set.{n}, label %on.{n}",
                        f"set.{n}:", _store(x, address), f"br label %on.{n}", f"on.{n}:"]
        scope.label = f"on.{n}"

    def room(self, size: int) -> Value:
        """`size` bytes of the function's own, aligned to 64, for as long as it runs: on the stack if all are few."""
        register = f"%v{self._next()}"
        self._rooms.append((register, -(-size // 64) * 64))
        return Value(register, PTR)

    def shared_room(self, purpose: str, size: int) -> Value:
        """A room for what is taken out of it again before anything else asks for one for this purpose."""
        if purpose not in self._shared:
            self._shared[purpose] = len(self._rooms)
            self.room(0)
        number, needed = self._shared[purpose], -(-size // 64) * 64
        register, before = self._rooms[number]
        self._rooms[number] = register, max(before, needed)
        return Value(register, PTR)

    # ---- control --------------------------------------------------------------------------------------------------

    def loop(self, start: Value, stop: Value, step: int, carried: Sequence[Value],
             body: Callable[[Value, list[Value]], list[Value]]) -> list[Value]:
        """carried = body(i, carried) for i = start, start + step, ... below stop, where start < stop; the last of it.

            br loop
            loop:   i = phi [start, before], [next, end of body];  carried = phi [.., before], [.., end of body]
                    body
                    next = i + step;  br next < stop, loop, after
            after:
        """
        n = self._open("loop", barrier=False)
        type, depth = start.type, len(self._scopes) - 1
        i, following = Value(f"%i.{n}", type, depth), Value(f"%n.{n}", type, depth)
        inside = [Value(f"%c.{n}.{k}", value.type, depth) for k, value in enumerate(carried)]
        results = body(i, inside)
        scope, before = self._close(f"br label %loop.{n}", f"loop.{n}:")
        phis = zip((i, *inside), (start, *carried), (following, *results), strict=True)
        before.lines += [_phi(phi, first, before.label, later, scope.label) for phi, first, later in phis]
        before.lines += [*scope.lines, f"{following.text} = add nsw {type.text} {i.text}, {step}",
                         f"%r.{n} = icmp slt {type.text} {following.text}, {stop.text}",
                         f"br i1 %r.{n}, label %loop.{n}, label %after.{n}", f"after.{n}:"]
        before.label = f"after.{n}"
        return [Value(value.text, value.type, depth - 1) for value in results]

    def when(self, condition: Value, otherwise: Sequence[Value], body: Callable[[], list[Value]]) -> list[Value]:
        """body() if the scalar condition holds, else `otherwise`."""
        n = self._open("then", barrier=True)
        results = body()
        scope, before = self._close(f"br {condition.operand}, label %then.{n}, label %after.{n}", f"then.{n}:")
        before.lines += [*scope.lines, f"br label %after.{n}", f"after.{n}:"]
        merged = [Value(f"%m.{n}.{k}", value.type, len(self._scopes) - 1) for k, value in enumerate(results)]
        before.lines += [_phi(phi, then, scope.label, other, before.label)
                         for phi, then, other in zip(merged, results, otherwise, strict=True)]
        before.label = f"after.{n}"
        return merged

    def function(self, symbol: str, parameters: str) -> str:
        """What was written, as the text of a module with the one function `symbol`."""
        declarations = "".join(sorted(self.declarations))
        lines = "\n".join(self._scopes[0].lines)
        notes = "!1 = !{i32 1}\n" if "!nontemporal" in lines else ""
        size = sum(size for _, size in self._rooms)
        more, rest = "", ""
        if size > MOST_ON_STACK:
            starts = accumulate((size for _, size in self._rooms), initial=0)
            rooms = [f"{register} = getelementptr i8, ptr %room, i64 {start}\n"
                     for (register, _), start in zip(self._rooms, starts)]
            symbol, more, rest = symbol + INSIDE, PARAMETER, with_room(symbol, parameters, size)
        else:
            rooms = [f"{register} = alloca [{size} x i8], align 64\n" for register, size in self._rooms]
        head = f"define void @{symbol}({parameters}{more}) nounwind {STACK}"
        return f"{declarations}{head} {{\nentry:\n{''.join(rooms)}{lines}\nret void\n}}\n!0 = !{{}}\n{notes}{rest}"

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _pure(self, expression: str, type: Type, *operands: Value) -> Value:
        return self._once(expression, type, self._depth(False, *operands))

    def _read(self, expression: str, type: Type, invariant: bool, *operands: Value) -> Value:
        if invariant:
            return self._once(f"{expression}, !invariant.load !0", type, self._depth(True, *operands))
        register = f"%v{self._next()}"
        self._scopes[-1].lines.append(f"{register} = {expression}")
        return Value(register, type, len(self._scopes) - 1)

    def _once(self, expression: str, type: Type, depth: int) -> Value:
        """The register that holds `expression` in the scope at `depth`, written there if it is not yet."""
        scope = self._scopes[depth]
        register = scope.known.get(expression)
        if register is None:
            register = scope.known[expression] = f"%v{self._next()}"
            scope.lines.append(f"{register} = {expression}")
        return Value(register, type, depth)

    def _depth(self, touches_memory: bool, *operands: Value) -> int:
        """Of the outermost scope where the operands exist; for what touches memory not beyond the last barrier."""
        depth = self._scopes[-1].barrier if touches_memory else 0
        for value in operands:
            if value.scope > depth:
                depth = value.scope
        return depth

    def _call(self, name: str, suffix: str, type: Type | None, operands: Sequence[Value]) -> str:
        result = type.text if type else "void"
        symbol = f"@llvm.{name}.{suffix}"
        self.declarations.add(f"declare {result} {symbol}({', '.join(v.type.text for v in operands)})\n")
        return f"call {result} {symbol}({', '.join(v.operand for v in operands)})"

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _open(self, kind: str, barrier: bool) -> int:
        """Enter a scope; its number."""
        n = self._next()
        self._scopes.append(_Scope(f"{kind}.{n}", len(self._scopes) if barrier else self._scopes[-1].barrier))
        return n

    def _close(self, *lines: str) -> tuple[_Scope, _Scope]:
        """Leave the innermost scope: it and the one around it, which ends with `lines`."""
        scope = self._scopes.pop()
        self._scopes[-1].lines += lines
        return scope, self._scopes[-1]


def _store(x: Value, address: Value) -> str:
    return f"store {x.operand}, {address.operand}, align {BYTES[x.type.element]}"


def _phi(phi: Value, x: Value, x_label: str, y: Value, y_label: str) -> str:
    return f"{phi.text} = phi {phi.type.text} [ {x.text}, %{x_label} ], [ {y.text}, %{y_label} ]"


def _as_f32(number: float) -> float:
    """The f32 nearest to number; beyond the largest, infinity."""
    try:
        return unpack("<f", pack("<f", number))[0]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
