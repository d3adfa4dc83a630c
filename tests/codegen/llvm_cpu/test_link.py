"""Text becomes code, by our own loader and by LLVM's; what is not valid is refused."""
from __future__ import annotations

import ctypes
import os
import signal
import threading

import pytest

from codegen.llvm_cpu import elf, jobs
from codegen.llvm_cpu import link as linking
from codegen.llvm_cpu import llvm as library
from codegen.llvm_cpu.jobs import Job, submit
from codegen.llvm_cpu.link import COLD, HOT, PLAIN, LinkError, assembly, compile_object, link
from codegen.llvm_cpu.llvm import Direct, Wrapped, llvm

DOUBLE = "define i64 @twice(i64 %x) {\n  %y = add i64 %x, %x\n  ret i64 %y\n}\n"
CALLS = "declare i64 @given(i64)\ndefine i64 @call(i64 %x) {\n  %y = call i64 @given(i64 %x)\n  ret i64 %y\n}\n"
COUNTS = """
@count = internal global i64 5
@zeros = internal global [3 x i64] zeroinitializer
@table = internal constant [4 x i64] [i64 10, i64 20, i64 30, i64 40]
declare ptr @memset(ptr, i32, i64)
define internal i64 @bump(i64 %k) noinline {
  %held = load i64, ptr @count
  %more = add i64 %held, %k
  store i64 %more, ptr @count
  ret i64 %more
}
define i64 @counted(i64 %k) {
  %ignored = call ptr @memset(ptr @zeros, i32 1, i64 8)
  %set = load i64, ptr @zeros
  %low = and i64 %set, 255
  %at = getelementptr i64, ptr @table, i64 %k
  %found = load i64, ptr %at
  %bumped = call i64 @bump(i64 %found)
  %sum = add i64 %bumped, %low
  ret i64 %sum
}
"""
FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


@pytest.fixture(params=["our own", "LLVM's"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "LLVM's":
        monkeypatch.setattr(elf, "is_known_here", lambda: False)


@pytest.fixture
def wrapped(monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    """LLVM is asked through llvmlite's own functions."""
    library = Wrapped()
    monkeypatch.setattr(linking, "llvm", lambda: library)
    monkeypatch.setattr(linking, "_idle_machines", {HOT: [], PLAIN: [], COLD: []})
    return library


def test_the_functions_that_are_called_directly_do_what_their_wrappers_do(request: pytest.FixtureRequest) -> None:
    assert isinstance(llvm(), Direct)
    made, written, direct = compile_object(COUNTS), assembly(COUNTS), (llvm().processor(), llvm().version())
    wrapped = request.getfixturevalue("wrapped")
    assert compile_object(COUNTS) == made and assembly(COUNTS) == written
    assert (wrapped.processor(), wrapped.version()) == direct
    with pytest.raises(LinkError):
        compile_object("nonsense")


def test_an_unknown_llvmlite_is_asked_through_its_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "KNOWN", ((0, 1), (0, 2)))
    assert isinstance(library._llvm.__wrapped__(), Wrapped)
    monkeypatch.undo()
    monkeypatch.setattr(library, "_library_path", lambda: None)
    assert isinstance(library._llvm.__wrapped__(), Wrapped)


def test_data_constants_and_functions_of_the_process() -> None:
    counted = FUNCTION(link(compile_object(COUNTS), ["counted"])["counted"])
    assert [counted(2), counted(0), counted(3)] == [36, 46, 86]


def test_what_our_loader_does_not_know_is_loaded_by_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    by_llvm = []
    monkeypatch.setattr(elf, "CALL", -1)
    monkeypatch.setattr(linking, "link_by_llvm", lambda *of: by_llvm.append(of) or right(*of))
    assert FUNCTION(link(compile_object(COUNTS), ["counted"])["counted"])(1) == 26
    assert len(by_llvm) == 1


right = linking.link_by_llvm


def test_what_nobody_waits_for_is_kept_for_the_next_process() -> None:
    kept: list[bytes] = []
    submit(DOUBLE, HOT, kept.append)
    for thread in threading.enumerate():
        if thread.name == "tracegrad-compiler":
            thread.join()
    assert kept == [compile_object(DOUBLE)]


def test_a_job_without_a_thread_is_done_by_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert submit(DOUBLE, HOT).code() == compile_object(DOUBLE)


def test_a_job_that_is_interrupted_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*of: object) -> bytes:
        raise KeyboardInterrupt

    job = Job(DOUBLE, HOT, lambda code: None)
    monkeypatch.setattr(jobs, "compile_object", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.code()
    with pytest.raises(LinkError, match="interrupted"):
        job.code()


def test_a_child_compiles_what_no_thread_has() -> None:
    submitted = [submit(DOUBLE.replace("@twice", f"@twice{k}"), HOT) for k in range(8)]
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if all(job.code() for job in submitted) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert all(job.code() for job in submitted)


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
