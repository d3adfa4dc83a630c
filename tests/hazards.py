"""Hazards: small programs, each with changes between two calls that a replay must not miss.

The source of a hazard defines `f` and may define `args` and `kwargs` (else `f(2.0)`). It runs in a namespace of its
own, as a module would; so does each change. A change alters what f gives: its guards must fail. A harmless change does
not, and they must hold. A refused hazard must not be replayable at all, for the reason it names.
"""
from __future__ import annotations

import builtins
import decimal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import dedent
from types import ModuleType
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad import dtypes
from tracegrad.aborts import Abort
from tracegrad.dispatch import GRAD
from tracegrad.purity.effects import Effect, effects
from tracegrad.purity.library import NUMPY_ERRORS, Library, Setting
from tracegrad.purity.observation import Observation, observe
from tracegrad.purity.prediction import predict
from tracegrad.purity.read_set import ReadSet, read_set
from tracegrad.tensors import Tensor

LIBRARY = Library(Tensor, settings=(
    NUMPY_ERRORS,
    Setting("grad mode", lambda: GRAD.enabled),
    Setting("the default dtype", dtypes.default_float)))


@dataclass(frozen=True)
class Hazard:
    """One program. `rehearsals`: how many runs it takes until all its code is known."""

    name: str
    source: str
    changes: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    refused: Abort | tuple[Abort, ...] | None = None
    rehearsals: int = 0


@dataclass
class Recorded:
    """A recorded call of a program, and what was seen of it."""

    namespace: dict[str, Any]
    seen: Observation
    changes: list[Effect]
    reads: ReadSet

    @property
    def args(self) -> tuple:
        return self.namespace["args"]

    @property
    def kwargs(self) -> dict:
        return self.namespace["kwargs"]

    def again(self, **names: tuple[str, ...]) -> ReadSet:
        """Watch another call; written=("a", "b") are names of Tensors of the program."""
        tensors = {key: [self.namespace[name] for name in value] for key, value in names.items()}
        return record_call(self.namespace["f"], self.args, self.kwargs, **tensors)[2]

    def holds(self) -> bool:
        """Would the next call be replayed?"""
        held = self.reads.guards.check(self.args, self.kwargs) is not None
        failing = self.reads.guards.explain(self.args, self.kwargs)
        assert held == (failing is None), "check and explain disagree"
        return held

    def run(self) -> str:
        """What a call gives or raises now, as text."""
        return outcome(self.namespace["f"], self.args, self.kwargs)

    def change(self, source: str) -> None:
        """Run more of the program."""
        run_in(self.namespace, source)


def outcome(f: Any, args: tuple, kwargs: dict) -> str:
    """What a call gives or raises, as text."""
    try:
        return repr(f(*args, **kwargs))
    except Exception as error:  # noqa: BLE001 - whatever the program raises is what it does
        return repr(error)


@contextmanager
def restored() -> Iterator[None]:
    """Undo what changes patch outside of their program."""
    patched = ((tg, "relu"), (tg, "tanh"), (tg.Tensor, "exp"), (builtins, "abs"),
               (builtins, "__import__"))
    before = [(owner, name, getattr(owner, name)) for owner, name in patched]
    context = decimal.getcontext().copy()
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        vars(builtins).pop("later", None)
        decimal.setcontext(context)


def run_in(namespace: dict[str, Any], source: str) -> None:
    """Run source in the namespace of a program."""
    exec(compile(dedent(source), "change.py", "exec"), namespace)


def program(source: str) -> dict[str, Any]:
    """The namespace of a new module, in which source has run."""
    module = sys.modules["program"] = ModuleType("program")
    namespace = vars(module)
    namespace.update(tg=tg, np=np, args=(2.0,), kwargs={})
    exec(compile(dedent(source), "program.py", "exec"), namespace)
    return namespace


def record_call(fn: Any, args: tuple, kwargs: dict, extra_codes: Any = (),
                **more: Any) -> tuple[Observation, list[Effect], ReadSet]:
    """Watch one call of fn."""
    prediction = predict(fn, args, kwargs, LIBRARY, extra_codes)
    seen = observe(prediction, lambda: fn(*args, **kwargs))
    changes = effects(prediction)
    return seen, changes, read_set(prediction, seen, changes, **more)


def record(source: str, rehearsals: int = 0, **more: Any) -> Recorded:
    """Run a program, and watch a call of its `f`, after some watched calls of which only their code is remembered."""
    namespace = program(source)
    codes: Any = ()
    for _ in range(rehearsals + 1):
        seen, changes, reads = record_call(namespace["f"], namespace["args"], namespace["kwargs"], codes, **more)
        codes = tuple(seen.codes.values())
    return Recorded(namespace, seen, changes, reads)
