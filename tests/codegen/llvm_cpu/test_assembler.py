"""The assembler writes each expression once, as far out as it may, and what it writes is valid."""
from __future__ import annotations

import numpy as np
import pytest
from native_kernels import object_code

from codegen.llvm_cpu.assembler import F32, I32, I64, PTR, Assembler, Value, vector
from codegen.llvm_cpu.features import host_features

POINTER, COUNT = Value("%p", PTR), Value("%n", I64)


def text_of(a: Assembler) -> str:
    """The function so far, which LLVM must accept."""
    text = a.function("f", "ptr %p, i64 %n")
    assert object_code(text, host_features())
    return text


def zero_to(a: Assembler, stop: Value, body) -> None:
    a.loop(a.constant(I64, 0), stop, 1, [], body)


def position(text: str, part: str) -> int:
    assert text.count(part) == 1, text
    return text.index(part)


def test_an_expression_is_written_once():
    a = Assembler()
    first, second = (a.binary("add", COUNT, a.constant(I64, 7)) for _ in range(2))
    assert first.text == second.text
    assert position(text_of(a), "add i64 %n, 7")


def test_an_expression_keeps_the_dtype_it_was_asked_for():
    """u32 and i32 are one type to LLVM; a register that serves both is signed for one and unsigned for the other."""
    a = Assembler()
    signed, unsigned = (a.convert("trunc", COUNT, vector(dtype)) for dtype in ("i32", "u32"))
    assert signed.text == unsigned.text
    assert (signed.type.dtype, unsigned.type.dtype) == ("i32", "u32")


def test_what_is_invariant_stands_before_the_loop():
    a = Assembler()

    def inner(j: Value, _) -> list[Value]:
        a.store(a.binary("mul", a.binary("add", COUNT, a.constant(I64, 1)), j), POINTER)
        return []

    def outer(i: Value, _) -> list[Value]:
        zero_to(a, COUNT, inner)
        return []

    zero_to(a, COUNT, outer)
    text = text_of(a)
    assert position(text, "add i64 %n, 1") < text.index("loop.")
    assert position(text, "mul i64") > text.rindex("loop.2:")


def test_an_invariant_load_leaves_a_loop_but_not_a_condition():
    def loads(certain: bool) -> str:
        a = Assembler()

        def body(i: Value, _) -> list[Value]:
            a.store(a.load(F32, POINTER, invariant=True), a.address(POINTER, F32, i))
            return []

        def run() -> list[Value]:
            zero_to(a, COUNT, body)
            return []

        run() if certain else a.when(a.compare("icmp sgt", COUNT, a.constant(I64, 0)), [], run)
        return text_of(a)

    assert position(loads(True), "load float") < loads(True).index("loop.")
    guarded = loads(False)
    assert guarded.index("then.") < position(guarded, "load float") < guarded.index("loop.")


def test_a_load_of_memory_that_is_written_stays_where_it_is():
    a = Assembler()

    def body(i: Value, _) -> list[Value]:
        for _ in range(2):
            a.store(a.load(F32, POINTER, invariant=False), POINTER)
        return []

    zero_to(a, COUNT, body)
    text = text_of(a)
    assert text.count("load float") == 2 and text.index("load float") > text.index("loop.")


def test_a_loop_carries_values_and_a_condition_chooses_between_them():
    a = Assembler()
    one = a.constant(I64, 1)

    def body(i: Value, carried: list[Value]) -> list[Value]:
        return [a.binary("add", carried[0], i), a.binary("mul", carried[1], i)]

    looped = a.when(a.compare("icmp sgt", COUNT, one), [one, one],
                    lambda: a.loop(one, COUNT, 1, [one, one], body))
    for k, value in enumerate(looped):
        a.store(value, a.address(POINTER, I64, a.constant(I64, k)))
    assert text_of(a).count("phi") == 5


@pytest.mark.parametrize("dtype, number, text", [
    ("f32", 0.1, "0x3FB99999A0000000"), ("f32", 1e39, "0x7FF0000000000000"), ("f32", -1e39, "0xFFF0000000000000"),
    ("f64", 0.1, "0x3FB999999999999A"), ("f64", -0.0, "0x8000000000000000"), ("i32", -1, "-1"),
    ("u64", 2**64 - 1, "18446744073709551615"), ("bool", True, "true")])
def test_constants(dtype, number, text):
    a = Assembler()
    assert a.constant(vector(dtype), number).text == text
    element = vector(dtype).element
    assert a.constant(vector(dtype, 4), number).text == f"splat ({element} {text})"


def test_a_nan_is_a_nan():
    text = Assembler().constant(F32, float("nan")).text
    assert np.isnan(np.array([int(text, 16)], np.uint64).view(np.float64)[0])


def test_types_are_shared():
    assert vector("f32", 8) is vector("f32", 8)
    assert (vector("f32", 8).text, vector("f32", 8).suffix, I32.text) == ("<8 x float>", "v8f32", "i32")
