"""Stand-ins: classes that Tensors have for a while are nobody else's matter, whatever threads and subclasses do."""
from __future__ import annotations

import abc
import copy
import pickle
import threading
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.dims import symbol
from tracegrad import sized
from tracegrad.deferred_runs import DeferredRun
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.sized import SIZED, Sized
from tracegrad.stand_ins import plain_class, put_class
from tracegrad.symbols import Symbols


def in_thread(work: Callable[[], Any]) -> Any:
    """What `work` gives in another thread, which is over then."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def scaled() -> Any:
    """A function whose results tell which size was taken for its own, when one was recorded already."""
    traced = tg.trace(lambda x: x * x.shape[0])
    traced(tg.ones(9, 4))
    return traced


def check(traced: Any, sizes: tuple[int, ...]) -> None:
    for n in sizes:
        assert traced(tg.ones(n, 4)).tolist() == [[n] * 4] * n


@contextmanager
def run_of(*tensors: tg.Tensor) -> Iterator[Symbols]:
    """A run with a symbol for the first size of these."""
    recorder = Recorder()
    recorder.symbols = symbols = Symbols([(x, (symbol("b0"), *x.shape[1:])) for x in tensors], {"b0": len(tensors[0])})
    token = ACTIVE.set(recorder)
    try:
        symbols.begin()
        yield symbols
    finally:
        symbols.end()
        ACTIVE.reset(token)


def as_library(function: Callable) -> Callable:
    """To who watches a run it is code of the library."""
    function.__code__ = function.__code__.replace(co_filename=sized.__file__)
    return function


def test_two_threads_record_with_one_tensor_and_the_first_is_over_first(monkeypatch: pytest.MonkeyPatch) -> None:
    f, g, x, begin, me = scaled(), scaled(), tg.ones(12, 4), Symbols.begin, threading.get_ident
    looked, began, lost, over = turns = [allocate_lock() for _ in range(4)]
    for turn in turns:
        turn.acquire()
    second = me()
    had: list[type] = []

    @as_library
    def in_turns(symbols: Symbols) -> None:
        if me() == second:
            looked.release()                # there are symbols for the second, too
            began.acquire(timeout=20)
            begin(symbols)
            lost.release()
            over.acquire(timeout=20)
        else:
            looked.acquire(timeout=20)
            begin(symbols)
            had.append(type(x))
            began.release()
            lost.acquire(timeout=20)

    def first() -> None:
        results.append(f(x))
        over.release()

    results: list[tg.Tensor] = []
    with monkeypatch.context() as patch:
        patch.setattr(Symbols, "begin", in_turns)
        thread = threading.Thread(target=first)
        thread.start()
        results.append(g(x))
        thread.join()
    assert had == [Sized] and type(x) is tg.Tensor
    assert [y.tolist() for y in results] == [[[12.0] * 4] * 12] * 2
    check(f, (5, 7))
    assert (f.stats.recordings, f.stats.replays) == (2, 2)
    assert "another thread recorded with the same tensor" in str(g.explain())
    check(g, (5, 7, 12, 9, 6))
    assert g.stats.recordings == 3 and not g.stats.follows      # the third for all sizes


def test_a_thread_calls_with_a_tensor_that_another_records_with(monkeypatch: pytest.MonkeyPatch) -> None:
    f, g, x, begin, me = scaled(), scaled(), tg.ones(12, 4), Symbols.begin, threading.get_ident
    held, call = [x], tg.trace(lambda: held[0] * 2)
    began, called = turns = [allocate_lock() for _ in range(2)]
    for turn in turns:
        turn.acquire()
    caller = me()

    @as_library
    def in_turns(symbols: Symbols) -> None:
        begin(symbols)
        if me() != caller:
            began.release()
            called.acquire(timeout=20)

    with monkeypatch.context() as patch:
        patch.setattr(Symbols, "begin", in_turns)
        thread = threading.Thread(target=f, args=(x,))
        thread.start()
        began.acquire(timeout=20)
        kind, results = type(x), (g(x), call())
        called.release()
        thread.join()
    assert kind is Sized and type(x) is tg.Tensor
    assert [y[0, 0].item() for y in results] == [12.0, 2.0]
    assert g(x)[0, 0].item() == 12.0 and call()[0, 0].item() == 2.0
    assert g.stats.replays == call.stats.replays == 1 and not g.stats.aborts and not call.stats.aborts
    check(f, (5, 7))
    check(g, (5, 7))


def test_one_run_at_a_time_has_symbols_for_a_tensor() -> None:
    x, y = tg.ones(12, 4), tg.ones(12, 4)

    def other() -> tuple:
        with run_of(y, x) as symbols:
            found = symbols.why, type(y), y.shape
            symbols.entered(("input", 0), tg.ones(12, 4), of=x)
            symbols.end()
            return *found, type(x)

    with run_of(x) as symbols:
        why, kind, shape, left = in_thread(other)
        assert symbols.hold and type(x.shape[0]) is not int
        assert "another thread" in why and kind is tg.Tensor and shape == (12, 4) and left is Sized

    def again() -> bool:
        with run_of(x, y) as symbols:
            return symbols.hold and type(x) is type(y) is Sized

    assert type(x) is type(y) is tg.Tensor and in_thread(again)


def test_an_end_does_not_end_what_began_since() -> None:
    x = tg.ones(12, 4)
    with run_of(x) as symbols:
        y = x * 2
        assert type(y) is Sized
        symbols.surprised()
        assert type(x) is type(y) is type(x + 1) is tg.Tensor and not symbols.hold
        with run_of(x):
            symbols.end()
            assert type(x) is Sized
        symbols.entered(("input", 9), tg.ones(12, 4), of=x)
    assert type(x) is tg.Tensor


COPIES: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.mark.parametrize("made", [tg.clone, tg.nn.Parameter])
@pytest.mark.parametrize("name", COPIES)
def test_copies_are_of_the_class_that_users_know(name: str, made: Callable) -> None:
    x = made(tg.ones(12, 4))
    kind = type(x)
    with run_of(x) as symbols:
        assert type(x) is not kind
        there, here = in_thread(lambda: COPIES[name](x)), COPIES[name](x)
        assert type(there) is kind
        assert not symbols.hold or type(here.shape[0]) is type(x.shape[0]) is not int
    assert type(x) is type(here) is kind and here.tolist() == there.tolist() == x.tolist()


class Counted(tg.Tensor):
    """Has its own way of what a stand-in has."""

    __slots__ = ()

    @property
    def size(self) -> int:              # type: ignore[override]
        return 7

    @property
    def nbytes(self) -> str:            # type: ignore[override]
        return "many"


class Tagged(tg.Tensor):
    """Is told of its subclasses."""

    __slots__ = ()

    def __init_subclass__(cls, *, tag: str):
        super().__init_subclass__()


class Abstract(tg.Tensor, metaclass=abc.ABCMeta):
    """Is of a class of its own kind."""

    __slots__ = ()


class Told(tg.Tensor):
    """Is told what is put into it."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        assert name != "__class__"
        super().__setattr__(name, value)


class Dressed(Counted):
    __slots__ = ()


@pytest.mark.parametrize("kind", [Counted, Tagged, Abstract, Told, Dressed])
def test_nothing_stands_in_for_a_class_that_it_is_not_like(kind: type) -> None:
    assert SIZED.of(kind) is None
    traced = tg.trace(lambda x: x * 2 * x.size)
    for n in (9, 12, 5, 700, 9, 12, 5, 800):
        x = kind(np.ones((n, 400), np.float32))
        assert traced(x).numpy().tolist() == (np.ones((n, 400)) * 2 * x.size).tolist()


def test_nothing_stands_in_for_a_stand_in() -> None:
    assert SIZED.of(SIZED.of(tg.nn.Parameter)) is SIZED.of(Sized) is None
    assert plain_class(3) is int and SIZED.of(type("Other", (tg.Tensor,), {"__slots__": ()})) is not None


def test_what_stands_in_stands_in_for_another_class() -> None:
    class Quiet(tg.Tensor):
        __slots__ = ()

    made = tg.ones(3)
    put_class(made, Quiet)
    assert type(made) is Quiet
    made.__class__ = SIZED.of(Quiet)
    put_class(made, tg.nn.Parameter)
    assert type(made) is SIZED.of(tg.nn.Parameter) and plain_class(made) is tg.nn.Parameter
    put_class(made, Counted)
    assert type(made) is Counted


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("how", ["recorded", "followed", "to be made"])
def test_another_thread_begins_to_record_with_what_is_to_be_written(
        how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    w, begun, over = tg.zeros(600, 400), threading.Event(), threading.Event()
    lines: list[str] = []

    def other() -> None:
        with run_of(w):
            begun.set()
            over.wait(20)

    @as_library
    def meet(*of_method: Any) -> Any:
        if not begun.is_set():
            thread.start()
            begun.wait(20)
        return None if how == "to be made" else method(*of_method)

    def f(x: tg.Tensor) -> tg.Tensor:
        w.add_(x)
        if how == "followed":
            lines.append("added")
        return x * 2

    where: Any = (DeferredRun, "replay") if how == "to be made" else (tg.Tensor, "keep_saved")
    method, thread, traced = getattr(*where), threading.Thread(target=other), tg.trace(f)
    if how == "followed":
        traced(tg.zeros(600, 400))
    with monkeypatch.context() as patch:
        patch.setattr(*where, meet)
        result = traced(tg.ones(600, 400))
    kind = type(w)
    over.set()
    thread.join()
    assert kind is Sized and type(w) is tg.Tensor and (w.numpy() == 1).all() and (result.numpy() == 2).all()
    traced(tg.ones(600, 400))
    assert (w.numpy() == 2).all()


def test_what_errors_and_users_see_of_a_stand_in_is_the_class_it_stands_for() -> None:
    x = tg.ones(12, 4)
    with run_of(x):
        x.__class__ = tg.nn.Parameter
        assert type(x) is SIZED.of(tg.nn.Parameter) and x.__class__ is tg.nn.Parameter
        x.__class__ = tg.Tensor
        assert type(x) is Sized and repr(type(x)) == repr(tg.Tensor)
        with pytest.raises(TypeError, match="'Tensor' object is not callable"):
            x()                         # type: ignore[operator]
    assert type(x) is tg.Tensor
