"""Each text below breaks one invariant; the comment on its guilty line is the message that must be given for it."""
from __future__ import annotations

import re

import pytest

from codegen.ir.dims import symbol
from codegen.ir.graph import Graph, Node
from codegen.ir.program import Block, Branch, Exit, Goto, Jump, Program, Return, program_of
from codegen.ir.text import parse
from codegen.ir.types import TensorType
from codegen.ir.verify import VerifyError, verify

GUILTY = {
    "type": """
        graph f(%0: f64[2,3]) {
          %1 = exp %0 : f64[9]  # error: %1 = exp: says f64[9], rule gives f64[2,3]
          return %1
        }""",
    "user's line": """
        graph f(%0: f64[2,3]) {
          %1 = exp %0 : f32[2,3]  @ model.py:42  # error: model.py:42: %1 = exp: says f32[2,3], rule gives f64[2,3]
          return %1
        }""",
    "rule refuses": """
        graph f(%0: f32[6,8], %1: f32[6,1]) {
          %2 = matmul %0, %1 : f32[6,1]  # error: %2 = matmul: operands f32[6,8] and f32[6,1] do not contract (8 vs 6)
          return %2
        }""",
    "operand order": """
        graph f(%0: f32[]) {
          %1 = exp %2 : f32[]  # error: %1 = exp: %2 is not made before it is used
          %2 = exp %0 : f32[]
          return %1
        }""",
    "own operand": """
        graph f() {
          %0 = exp %0 : f32[]  # error: %0 = exp: %0 is not made before it is used
          return %0
        }""",
    "arity": """
        graph f(%0: f32[]) {
          %1 = add %0 : f32[]  # error: %1 = add: takes 2 operands, not 1
          return %1
        }""",
    "returns nothing that exists": """
        graph f(%0: f32[]) {
          return %1  # error: return: %1 is not made before it is used
        }""",
    "literal of another dtype": """
        graph f() {
          %0 = constant value=1.5 dtype=i32 : i32[]  # error: %0 = constant: 1.5 is not how a number of i32 is written
          return %0
        }""",
    "literal not canonical": """
        graph f() {
          %0 = constant value=1 dtype=f32 : f32[]  # error: %0 = constant: 1 is not how a number of f32 is written
          return %0
        }""",
    "unknown symbol": """
        graph f(%0: f32[b], %1: f32[2*c]) {
          %2 = iota shape=[b] axis=0 dtype=i32 : i32[b]
          %3 = iota shape=[c] axis=0 dtype=i32 : i32[c]  # error: %3 = iota: no input has the size c of i32[c]
          return %2, %3
        }""",
    "negative size": """
        graph f(%0: f32[0]) {
          %1 = broadcast %0 shape=[-3,0] : f32[-3,0]  # error: %1 = broadcast: the size -3 is negative
          return %1
        }""",
    "predicate": """
        program f {
          block0(%0: f32[]):
            branch %0 -> exit1, exit2  @ m.py:3  # error: m.py:3: branch: the predicate %0 is f32[], not bool[]
        }""",
    "switch on complex numbers": """
        program f {
          block0(%0: c64[]):
            switch %0 {1: exit1}, exit2  # error: switch: the value %0 is c64[], not a 0-d integer or float
        }""",
    "case twice": """
        program f {
          block0(%0: i64[]):
            switch %0 {1: exit1, 1: exit3}, exit2  # error: switch: the cases [1, 1] name one twice
        }""",
    "block arguments": """
        program f {
          block0(%0: f32[3]):
            jump block1(%0)  # error: jump: passes (f32[3]) to block1, which takes (f32[3], f32[])
          block1(%0: f32[3], %1: f32[]):
            return %0
        }""",
    "no such block": """
        program f {
          block0(%0: f32[3]):
            jump block2()  # error: jump: there is no block2
        }""",
    "exit 0": """
        program f {
          block0(%0: f32[3]):
            jump exit0  # error: jump: exit0 is not numbered from 1
        }""",
    "value of another block": """
        program f {
          block0(%0: f32[]):
            %1 = exp %0 : f32[]
            jump block1(%1)
          block1(%0: f32[]):
            return %1  # error: return: %1 is not made before it is used
        }""",
}


@pytest.mark.parametrize("case", GUILTY)
def test_blames_the_guilty_line(case: str) -> None:
    (guilty, message), = re.findall(r"^ *(.*?)  # error: (.*)$", GUILTY[case], re.MULTILINE)
    with pytest.raises(VerifyError) as caught:
        verify(parse(GUILTY[case]))
    assert str(caught.value) == message
    blamed = message.split(": ")[0 if "@" not in guilty else 1]
    assert guilty.startswith(blamed)


F32 = TensorType("f32")


def node(op: str, *args: int, **attrs: object) -> Graph:
    """One node, of whatever attrs."""
    return Graph("f", (F32,), (Node(op, args, tuple(attrs.items()), F32),), ())  # type: ignore[arg-type]


def block(inputs: tuple[TensorType, ...], terminator: Branch | Jump) -> Program:
    return Program("f", (Block(inputs, (), terminator),))


BUILT = {
    "name": (Graph("f(x)", (), (), ()), "cannot be written"),
    "op": (node("explode", 0), "there is no such op"),
    "dtype": (Graph("f", (TensorType("f8"),), (), ()), "there is no dtype f8"),
    "attrs": (node("sum", 0, axis=(0,)), "has the attrs ['axis', 'keepdims'], not ['axis']"),
    "attrs' order": (node("sum", 0, keepdims=False, axis=()), "not ['keepdims', 'axis']"),
    "ints": (node("sum", 0, axis=0, keepdims=False), "axis=0 is not of the kind ints"),
    "flag": (node("sum", 0, axis=(), keepdims=0), "keepdims=0 is not of the kind flag"),
    "dims": (node("reshape", 0, shape=(1.0,)), "not of the kind dims"),
    "dtype attr": (node("cast", 0, dtype="f8"), "not of the kind dtype"),
    "int": (node("iota", shape=(2,), axis=True, dtype="i32"), "axis=True is not of the kind int"),
    "literal": (node("constant", value=1.0, dtype="f32"), "value=1.0 is not of the kind literal"),
    "symbol": (Graph("f", (TensorType("f32", (symbol("b c"),)),), (), ()), "the symbol 'b c' cannot be written"),
    "no block": (Program("f", ()), "has no block"),
    "exit": (block((TensorType("bool"),), Branch(0, Exit(-1), Exit(1))), "exit-1 is not numbered from 1"),
    "goto": (block((), Jump(Goto(0, (0,)))), "%0 is not made before it is used"),
}


@pytest.mark.parametrize("case", BUILT)
def test_refuses_what_has_no_text(case: str) -> None:
    program, message = BUILT[case]
    with pytest.raises(VerifyError, match=re.escape(message)):
        verify(program)


def test_accepts_loops_and_symbols() -> None:
    verify(parse("""
        program f {
          block0(%0: f32[b,3]):
            %1 = constant value=0 dtype=i64 : i64[]
            %2 = reshape %0 shape=[3*b] : f32[3*b]
            jump block1(%2, %1)
          block1(%0: f32[3*b], %1: i64[]):
            %2 = constant value=1 dtype=i64 : i64[]
            %3 = add %1, %2 : i64[]
            %4 = constant value=5 dtype=i64 : i64[]
            %5 = lt %3, %4 : bool[]
            branch %5 -> block1(%0, %3), block2(%0)
          block2(%0: f32[3*b]):
            return %0, %0
        }"""))
    verify(program_of(Graph("g", (F32,), (), (0,))))
    verify(Program("f", (Block((), (), Return(())),)))
