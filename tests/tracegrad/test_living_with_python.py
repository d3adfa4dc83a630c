"""A traced function among the rest of Python: what plain functions do, it does too, and goes on being replayed."""
from __future__ import annotations

import asyncio
import copy
import doctest
import functools
import gc
import inspect
import os
import pickle
import pydoc
import signal
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

ROOT = Path(__file__).parents[2]


def vector(seed: int, n: int = 3) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).integers(-8, 8, n).astype(float))


# ---- kinds of functions ----------------------------------------------------------------------------------------------


class Scaled:
    """Every kind of method."""

    factor = 3.0

    def __init__(self, by: float):
        self.by = by

    @tg.trace
    def method(self, x: tg.Tensor, shift: float = 0.0) -> tg.Tensor:
        """Multiply, and shift."""
        return x * self.by + shift

    @classmethod
    @tg.trace
    def of_class(cls, x: tg.Tensor) -> tg.Tensor:
        return x * cls.factor

    @staticmethod
    @tg.trace
    def static(x: tg.Tensor) -> tg.Tensor:
        return x * 5.0

    @property
    @tg.trace
    def computed(self) -> tg.Tensor:
        return tg.ones(3) * self.by

    @tg.trace
    def __call__(self, x: tg.Tensor) -> tg.Tensor:
        return x - self.by

    @tg.trace
    def __matmul__(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.doubled

    @property
    def doubled(self) -> float:
        return 2.0 * self.by


class Derived(Scaled):
    factor = 7.0

    @tg.trace
    def method(self, x: tg.Tensor, shift: float = 0.0) -> tg.Tensor:
        return super().method(x, shift) + 1.0


class Net(tg.nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.w = tg.nn.Parameter(tg.full((3,), by, dtype=tg.float64))

    @tg.trace
    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.w


class Deeper(Net):
    @tg.trace
    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return super().forward(x) * 2.0


def doubling(function: Callable) -> Callable:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) * 2.0
    return inner


@contextmanager
def factor(k: float) -> Iterator[float]:
    yield k


def multiples(x: tg.Tensor) -> Iterator[tg.Tensor]:
    for k in range(1, 4):
        yield x * k


@functools.singledispatch
def kind(x: Any) -> str:
    return "other"


@dataclass(frozen=True)
class Pair:
    a: tg.Tensor
    b: tg.Tensor

    @tg.trace
    def total(self, k: float) -> tg.Tensor:
        return (self.a + self.b) * k


def scale(x: tg.Tensor, k: float) -> tg.Tensor:
    return x * k


def with_generator(x: tg.Tensor) -> tg.Tensor:
    return sum(multiples(x))        # type: ignore[return-value]


def with_context(x: tg.Tensor) -> tg.Tensor:
    with factor(2.0) as k:
        return x * k


def with_walrus_and_match(x: tg.Tensor) -> tg.Tensor:
    match x.shape:
        case (n,) if (m := n + 1) > 2:
            return x * m
        case _:
            return x


traced_inner = tg.trace(scale)
A, B, NET = Scaled(2.0), Derived(4.0), Deeper(3.0)
TRACED_SCALE = tg.trace(lambda k, x: x * k)

KINDS: dict[str, tuple[Any, Callable[[tg.Tensor], tg.Tensor], Callable[[tg.Tensor], tg.Tensor]]] = {
    "a method": (Scaled.method, lambda x: A.method(x, shift=1.0), lambda x: x * 2.0 + 1.0),
    "a method that calls the base's": (Derived.method, B.method, lambda x: x * 4.0 + 1.0),
    "a classmethod": (Scaled.__dict__["of_class"].__func__, Derived.of_class, lambda x: x * 7.0),
    "a staticmethod": (Scaled.static, A.static, lambda x: x * 5.0),
    "a property": (Scaled.__dict__["computed"].fget, lambda x: A.computed, lambda x: tg.full((3,), 2.0)),
    "__call__": (Scaled.__call__, A, lambda x: x - 2.0),
    "an operator": (Scaled.__matmul__, lambda x: A @ x, lambda x: x * 4.0),
    "a Module's forward": (Deeper.forward, NET, lambda x: x * 6.0),
    "a method of a frozen dataclass": (Pair.total, lambda x: Pair(x, x).total(3.0), lambda x: x * 6.0),
    "a partial of it": (TRACED_SCALE, functools.partial(TRACED_SCALE, 2.0), lambda x: x * 2.0),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_functions(name: str) -> None:
    traced, call, plain = KINDS[name]
    for k in range(4):
        assert call(vector(k)).tolist() == plain(vector(k)).tolist()
    assert traced.stats.replays == 3, str(traced.explain())


INSIDE: dict[str, tuple[Callable, Callable]] = {
    "a partial": (functools.partial(scale, k=2.0), lambda x: x * 2.0),
    "a wrapped function": (doubling(lambda x: x + 1.0), lambda x: (x + 1.0) * 2.0),
    "a Module": (Net(3.0), lambda x: x * 3.0),
    "a bound method": (Scaled(3.0).method.eager.__get__(Scaled(3.0)), lambda x: x * 3.0),
    "a generator inside": (with_generator, lambda x: x * 6.0),
    "a context manager inside": (with_context, lambda x: x * 2.0),
    "a match and a walrus inside": (with_walrus_and_match, lambda x: x * 4.0),
    "another traced function inside": (lambda x: traced_inner(x, 2.0) + 1.0, lambda x: x * 2.0 + 1.0),
    "a comprehension inside": (lambda x: sum([y for y in multiples(x) if y is not None]), lambda x: x * 6.0),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_may_be_traced_and_be_inside(name: str) -> None:
    function, plain = INSIDE[name]
    traced = tg.trace(function)
    for k in range(4):
        assert traced(vector(k)).tolist() == plain(vector(k)).tolist()
    assert traced.stats.replays == 3, str(traced.explain())
    assert traced_inner.stats.calls == 0


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_generators_and_coroutines_run_as_they_are() -> None:
    """Their code runs after the call has returned: the call gives the generator, and it is not replayed."""
    traced = tg.trace(multiples)

    @tg.trace
    async def later(x: tg.Tensor) -> tg.Tensor:
        await asyncio.sleep(0)
        return inner(x) + 1.0

    @tg.trace
    async def several(x: tg.Tensor) -> AsyncIterator[tg.Tensor]:
        for k in range(2):
            yield x * k

    async def gather(x: tg.Tensor) -> list[tg.Tensor]:
        return [y async for y in several(x)] + list(await asyncio.gather(later(x), later(x)))

    inner = tg.trace(lambda x: x * 2.0)
    for k in range(4):
        x = vector(k)
        assert [y.tolist() for y in traced(x)] == [(x * k).tolist() for k in (1, 2, 3)]
        assert [y.tolist() for y in asyncio.run(gather(x))] == [
            (x * 0.0).tolist(), x.tolist(), *2 * [(x * 2.0 + 1.0).tolist()]]
    assert traced.stats.replays == later.stats.replays == several.stats.replays == 0
    assert inner.stats.replays == 7         # what a coroutine calls is replayed
    with pytest.raises(tg.NotCompiled, match="generator"):
        tg.trace(strict=True)(multiples)(vector(0))


# ---- what is asked of functions --------------------------------------------------------------------------------------


@tg.trace
def documented(x: tg.Tensor, k: float = 2.0, *, flag: bool = False) -> tg.Tensor:
    """Multiply.

    >>> documented(tg.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    return x * k


documented.note = "mine"        # type: ignore[attr-defined]


def test_introspection() -> None:
    plain = documented.eager        # type: ignore[attr-defined]
    assert inspect.signature(documented) == inspect.signature(plain) and callable(documented)
    assert inspect.signature(A.method) == inspect.signature(Scaled.method.eager.__get__(A))     # type: ignore[attr-defined]
    assert inspect.unwrap(documented) is plain and inspect.getsource(documented) == inspect.getsource(plain)
    assert inspect.getdoc(documented) == inspect.getdoc(plain)
    assert inspect.getmodule(documented) is sys.modules[__name__]
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(documented, name) == getattr(plain, name)
    assert documented.__wrapped__ is plain and documented.note == "mine"        # type: ignore[attr-defined]
    text = pydoc.plain(pydoc.render_doc(documented))
    assert "documented(x" in text and "Multiply." in text
    method = pydoc.plain(pydoc.render_doc(Scaled))
    assert "Multiply, and shift." in method
    found = doctest.DocTestFinder().find(sys.modules[__name__], globs={"tg": tg, "documented": documented})
    assert any(test.name.endswith("documented") and test.examples for test in found)
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test)
    assert runner.failures == 0 and runner.tries


def test_copies_pickles_references() -> None:
    assert pickle.loads(pickle.dumps(documented)) is documented
    assert pickle.loads(pickle.dumps(Scaled.method)) is Scaled.method
    bound = pickle.loads(pickle.dumps(A.method))
    assert bound(vector(1)).tolist() == A.method(vector(1)).tolist()
    net = pickle.loads(pickle.dumps(NET))
    assert net(vector(1)).tolist() == NET(vector(1)).tolist()
    assert copy.copy(documented) is documented and copy.deepcopy(documented) is documented
    assert copy.deepcopy({"f": documented})["f"] is documented
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(tg.trace(lambda x: x))         # as that of a function that has no name
    local = tg.trace(lambda x: x * 2.0)
    local(vector(0)), local(vector(1))
    gone = weakref.ref(local)
    assert gone() is local and {local: 1}[local] == 1 and local == local and local != documented
    del local
    gc.collect()
    assert gone() is None


# ---- exceptions, signals, limits -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_an_interrupt_in_a_recording_leaves_everything_as_before(heard: None) -> None:
    interrupts = [True]

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x * 2.0
        if interrupts[0]:
            os.kill(os.getpid(), signal.SIGINT)
        return y + 1.0

    with pytest.raises(KeyboardInterrupt):
        f(vector(0))
    assert sys.getprofile() is None
    stats = f.stats
    assert (stats.calls, stats.eager_calls, stats.recordings, stats.new_paths) == (1, 1, 1, 0)
    interrupts[0] = False
    for k in range(3):
        assert f(vector(k)).tolist() == (vector(k) * 2.0 + 1.0).tolist()
    assert stats.replays == 2 and stats.new_paths == 1


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_a_signal_handler_may_run_in_a_recording_and_in_a_replay() -> None:
    hits: list[int] = []
    sends = [True]

    def handler(number: int, frame: Any) -> None:
        hits.append(len(hits))

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        if sends[0]:
            signal.raise_signal(signal.SIGUSR1)
        return x + 1.0

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        f(vector(0))
        sends[0] = False
        for k in range(4):
            signal.raise_signal(signal.SIGUSR1)
            assert f(vector(k)).tolist() == (vector(k) + 1.0).tolist()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert hits == [0, 1, 2, 3, 4] and f.stats.replays >= 1


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_the_recursion_limit(capsys: pytest.CaptureFixture[str]) -> None:
    @tg.trace
    def without_end(x: tg.Tensor) -> tg.Tensor:
        return without_end(x * 2.0)

    @tg.trace
    def power(x: tg.Tensor, n: int) -> tg.Tensor:
        return x if n == 0 else power(x * 1.5, n - 1)

    for _ in range(2):
        with pytest.raises(RecursionError):
            without_end(vector(0))
    for k in range(3):
        with tg.eager():
            expected = power(vector(k), 100).tolist()
        assert power(vector(k), 100).tolist() == expected
    assert power.stats.replays == 2

    def deep(n: int) -> int:
        return 1 + deep(n + 1)

    @tg.trace
    def survives(x: tg.Tensor) -> tg.Tensor:
        try:
            deep(0)
        except RecursionError:
            pass
        print("said")           # what watches the run could not follow it down, and has lost sight
        return x * 2.0

    for k in range(3):
        assert survives(vector(k)).tolist() == (vector(k) * 2.0).tolist()
    assert capsys.readouterr().out == "said\n" * 3 and survives.stats.replays == 0


# ---- eager -----------------------------------------------------------------------------------------------------------


def test_eager_by_the_environment_and_by_the_context() -> None:
    program = ("import tracegrad as tg\n@tg.trace\ndef f(x):\n    print('ran')\n    return x * 2\n"
               "for _ in range(3): f(tg.ones(2))\nprint(f.stats.calls, f.stats.recordings)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "TRACEGRAD_EAGER": "1"}, timeout=60)
    assert done.stdout.split() == ["ran", "ran", "ran", "0", "0"], done.stderr

    runs: list[int] = []

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        runs.append(1) if RUNS[0] else None
        return x * 2.0

    RUNS[0] = False
    for k in range(3):
        f(vector(k))
    RUNS[0] = True
    with tg.eager():
        f(vector(0))
        with pytest.raises(ZeroDivisionError), tg.eager():
            raise ZeroDivisionError
        f(vector(0))
    assert len(runs) == 2 and f.stats.calls == 3 and f.stats.replays == 2


RUNS = [False]


def test_lists_with_a_will_of_their_own_are_arguments():
    """Where many states are known, the likeliest is found by the shapes of arguments: no code of the user's runs."""
    class Strange(list):
        def __len__(self): return 99
        def __iter__(self): raise ZeroDivisionError
        def __getitem__(self, k): return 5

    endless: list[Any] = []
    endless.append(endless)

    def f(x, o):
        return x * (len(o) if isinstance(o, list) else 7)

    traced = tg.trace(f)
    for _ in range(3):
        for o in (*"abcdef", Strange([3, 4]), [1.0], endless):
            assert traced(tg.ones(1), o).item() == f(tg.ones(1), o).item()
    assert traced.stats.replays == 16       # all but the endless list


def test_a_class_of_lists_is_not_asked_for_the_arrays_in_it():
    asked = []

    class Noted(list):
        def __iter__(self):
            asked.append(self)
            return super().__iter__()

    traced = tg.trace(lambda a, o: print(end="") or a * 2)        # a print: it is rehearsed
    for _ in range(3):
        assert traced(np.ones(2), Noted([np.ones(1)])).tolist() == [2, 2]
    assert not asked
