"""Stale answers: small programs, each run twice through the same changes, as plain Python and traced.

The source of a hazard defines `f` and may define `args` and `kwargs` (else `f(x)`, x a Tensor of two). It runs in a
module of its own, and so does each change. After every call all that can be seen is compared: what it gave or raised,
every object in reach of the module, the memory its Tensors share, printed text, warnings, files, random states.

    change; call; call; call      the first of these calls may record. The others must run as the hazard demands
    harmless change; call; ...    all of them must

The plain program runs its whole life first, then the traced one: nothing that is global is shared by the two.
"""
from __future__ import annotations

import builtins
import copy
import decimal
import gc
import io
import math
import os
import random
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
from stale_pictures import Picture, Seen

import tracegrad as tg
from tracegrad.fallbacks import NotReplayed
from tracegrad.tracing import Stats, Traced

REPLAY, FOLLOW, EAGER, RECORD = "replay", "follow", "eager", "record"
RAISE = "raise"     # the Python runs, followed or not, and raises
PROBE = "probe"     # a recording that comes to nothing: now and then what is followed is tried once more
ALLOWED = {REPLAY: (REPLAY,), FOLLOW: (FOLLOW, PROBE), EAGER: (EAGER, PROBE),
           RAISE: (FOLLOW, PROBE, EAGER)}
"""How unchanged calls may run. Of those that are followed no two in a row are probes. What asks
for the type of something is not followed, but runs eagerly."""
UNCHANGED = 2       # calls that follow one another, with nothing changed, once the program has settled


@dataclass(frozen=True)
class Change:
    """A change, where more is to be said of it: calls after it run in another way than the hazard's, or it matters to
    nothing. The latter is what `harmless` of a hazard makes of its texts."""

    text: str
    mode: str | None = None
    harmless: bool = False


@dataclass(frozen=True)
class Hazard:
    """One program, and how calls must run once they are repeated. `settle`: how many calls that takes, at first and
    after each change."""

    name: str
    source: str
    changes: tuple[str | Change, ...]
    harmless: tuple[str, ...] = ()
    mode: str = REPLAY
    settle: int = 1

    @property
    def all_changes(self) -> list[Change]:
        """Those that matter, then the harmless ones."""
        changes = [Change(c) if isinstance(c, str) else c for c in self.changes]
        return changes + [Change(text, harmless=True) for text in self.harmless]


class Mismatch(AssertionError):
    """The traced program differs from plain Python, or a call does not run as it must."""


# ---- running a program -----------------------------------------------------------------------------------------------

PATCHED = ((tg, "relu"), (tg, "tanh"), (tg, "exp"), (tg.Tensor, "exp"),
           *((tg.Tensor, f"__{name}__") for name in ("mul", "neg", "len", "getitem")), (math, "sqrt"), (math, "pi"),
           (time, "time"),
           (builtins, "abs"), (builtins, "pow"), (builtins, "__import__"), (np, "tanh"))
"""Places outside of a program that changes patch."""


@contextmanager
def restored(folder: Path) -> Iterator[None]:
    """A world as it is when a process starts, in an empty folder; afterwards all is as it was."""
    patched = [(owner, name, vars(owner)[name]) for owner, name in PATCHED]
    environ, modules, where, stdin = dict(os.environ), dict(sys.modules), os.getcwd(), sys.stdin
    context, errors, known = decimal.getcontext().copy(), np.geterr(), set(vars(builtins))
    states, limit, collects = (random.getstate(), np.random.get_state()), sys.getrecursionlimit(), gc.isenabled()
    folder.mkdir()
    os.chdir(folder)
    sys.stdin = io.StringIO("".join(f"{k}\n" for k in range(1, 1000)))
    random.seed(5)
    np.random.seed(5)
    tg.manual_seed(5)
    try:
        yield
    finally:
        for owner, name, value in patched:
            setattr(owner, name, value)
        for name in set(vars(builtins)) - known:
            delattr(builtins, name)
        os.environ.clear()
        os.environ.update(environ)
        for name in [name for name, module in list(sys.modules.items()) if getattr(module, "__spec__", None) is None]:
            del sys.modules[name]       # those that programs made; what was imported meanwhile must not be twice
        sys.modules.update(modules)
        os.chdir(where)
        sys.stdin = stdin
        sys.setrecursionlimit(limit)
        (gc.enable if collects else gc.disable)()
        decimal.setcontext(context)
        np.seterr(**errors)
        random.setstate(states[0])
        np.random.set_state(states[1])
        tg.set_default_dtype(tg.float32)


def program(source: str) -> dict[str, Any]:
    """The namespace of a new module, in which source has run."""
    module = sys.modules["program"] = types.ModuleType("program")
    names = vars(module)
    names.update(tg=tg, np=np, x=tg.tensor([1.0, 2.0]), kwargs={})
    run_in(names, source, "program.py")
    names.setdefault("args", (names["x"],))
    return names


def run_in(names: dict[str, Any], source: str, file: str = "change.py") -> None:
    """Run source in the namespace of a program."""
    exec(compile(dedent(source), file, "exec"), names)


def play(hazard: Hazard, traced: bool, folder: Path) -> list[list[Seen]]:
    """The whole life of a program: what was seen of each call, first those before any change, then those after each."""
    with restored(folder), warnings.catch_warnings(), nullcontext() if traced else tg.eager():
        names = program(hazard.source)
        plain = names["f"]
        function = tg.trace(plain) if traced and traced_in(plain) is None else plain

        def call() -> Seen:
            return watch(function if names["f"] is plain else names["f"], names, traced_in(function))

        seen = []
        for change in (Change(""), *hazard.all_changes):
            run_in(names, change.text)
            seen.append([call() for _ in range(hazard.settle + UNCHANGED)])
        return seen


def traced_in(function: Any) -> Traced | None:
    """The traced function that a call of this one runs."""
    function = getattr(function, "__func__", function)
    return function if isinstance(function, Traced) else None


def watch(function: Callable, names: dict[str, Any], traced: Traced | None) -> Seen:
    """One call, and what can be seen after it."""
    out, result = io.StringIO(), None
    before = copy.copy(traced.stats) if traced else None
    with warnings.catch_warnings(record=True) as heard, redirect_stdout(out), redirect_stderr(out):
        warnings.simplefilter("always")
        try:
            result = function(*names["args"], **names["kwargs"])
            outcome = ""
        except Exception as error:  # noqa: BLE001 - whatever a program raises is compared
            outcome = f"{type(error).__name__}: {error}"
    seen = Seen(outcome, way_of(before, traced.stats) if traced and before else "")
    said = [f"{w.category.__name__}: {w.message}" for w in heard if not issubclass(w.category, NotReplayed)]
    seen.things["output"], seen.things["warnings"] = out.getvalue(), str(said)
    picture = Picture(seen)
    picture.draw("result", result)
    for name in sorted(names):
        if not name.startswith("__") and name not in ("tg", "np"):
            picture.draw(name, names[name])
    picture.draw_world()
    return seen


def way_of(before: Stats, after: Stats) -> str:
    """How a call ran, by what it added to the stats."""
    if after.replays > before.replays:
        return REPLAY
    if after.follows > before.follows:
        return FOLLOW
    if after.recordings == before.recordings:
        return EAGER
    return PROBE if after.eager_calls > before.eager_calls else RECORD


# ---- comparing -------------------------------------------------------------------------------------------------------

def compare(hazard: Hazard, plain: list[list[Seen]], traced: list[list[Seen]]) -> None:
    """Mismatch unless both programs show the same after every call, and calls run as they must."""
    for change, expected, found in zip((Change(""), *hazard.all_changes), plain, traced):
        mode = change.mode or hazard.mode
        for k, (e, t) in enumerate(zip(expected, found)):
            where = f"{hazard.name}: call {k + 1} after {change.text!r}"
            compare_calls(where, e, t)
            if (change.harmless or k >= hazard.settle) and t.way not in ALLOWED[mode]:
                raise Mismatch(f"{where} is a {t.way}, not a {mode}")
        if mode == FOLLOW and [t.way for t in found[-UNCHANGED:]] == [PROBE] * UNCHANGED:
            raise Mismatch(f"{hazard.name}: {UNCHANGED} unchanged calls were recorded, one after the other")


def compare_calls(where: str, plain: Seen, traced: Seen) -> None:
    """Mismatch unless two calls came to the same."""
    if plain.outcome != traced.outcome:
        raise Mismatch(f"{where}: plain {plain.outcome!r}, traced {traced.outcome!r}")
    if plain.things != traced.things:
        routes = [r for r in {**plain.things, **traced.things} if plain.things.get(r) != traced.things.get(r)]
        raise Mismatch(f"{where}: " + "; ".join(
            f"{r}: plain {plain.things.get(r)!r}, traced {traced.things.get(r)!r}" for r in routes[:4]))
    for route, numbers in plain.numbers.items():
        if not close(numbers, traced.numbers[route]):
            raise Mismatch(f"{where}: {route}: plain {numbers}, traced {traced.numbers[route]}")


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """The same numbers, but for rounding."""
    if a.dtype.kind not in "fc":
        return np.array_equal(a, b)
    tolerance = 1e-5 if a.dtype.itemsize <= 4 + 4 * (a.dtype.kind == "c") else 1e-12
    return np.allclose(a, b, tolerance, tolerance, equal_nan=True)


def has_effect(before: Seen, after: Seen) -> bool:
    """Does the first call after a change show another outcome than the last one before it?"""
    if before.outcome != after.outcome or before.things["output"] != after.things["output"]:
        return True
    routes = [r for r in {**before.things, **after.things} if r.startswith("result")]
    if any(before.things.get(r) != after.things.get(r) for r in routes):
        return True
    return any(not close(n, after.numbers[r]) for r, n in before.numbers.items() if r.startswith("result"))
