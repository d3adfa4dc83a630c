"""Text becomes code; what is not valid is refused in LLVM's words."""
from __future__ import annotations

import ctypes

import pytest

from codegen.llvm_cpu.link import LinkError, compile_object, link

DOUBLE = "define i64 @twice(i64 %x) {\n  %y = add i64 %x, %x\n  ret i64 %y\n}\n"
CALLS = "declare i64 @given(i64)\ndefine i64 @call(i64 %x) {\n  %y = call i64 @given(i64 %x)\n  ret i64 %y\n}\n"
FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


def test_text_becomes_a_function() -> None:
    assert FUNCTION(link(compile_object(DOUBLE), ["twice"])["twice"])(21) == 42


def test_one_object_may_be_linked_again() -> None:
    code = compile_object(DOUBLE)
    first, second = (link(code, ["twice"])["twice"] for _ in range(2))
    assert first != second
    assert FUNCTION(first)(1) == FUNCTION(second)(1) == 2


def test_an_object_holds_no_address_of_what_it_imports() -> None:
    code = compile_object(CALLS)
    for factor in (3, 5):
        given = FUNCTION(lambda x, factor=factor: factor * x)
        call = FUNCTION(link(code, ["call"], {"given": ctypes.cast(given, ctypes.c_void_p).value})["call"])
        assert call(10) == 10 * factor


def test_the_same_text_gives_the_same_object() -> None:
    assert compile_object(DOUBLE) == compile_object(DOUBLE)


@pytest.mark.parametrize("text", [
    "define i64 @f() { ret i32 0 }", "nonsense", "define void @f() {\n  call void @g()\n  ret void\n}"])
def test_wrong_text_is_refused(text: str) -> None:
    with pytest.raises(LinkError):
        compile_object(text)


def test_a_missing_symbol_is_refused() -> None:
    with pytest.raises(LinkError):
        link(compile_object(CALLS), ["call"])


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(LinkError):
        link(b"no object at all", ["f"])
