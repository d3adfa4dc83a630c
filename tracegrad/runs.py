"""One run of a function, watched: what it gave, what the recorder noted, what purity saw.

    record(function, args, kwargs)   ->   Run

While it runs, much stands in for something else: see _Disguise. Code that asks for types is never shown that.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import CodeType, FrameType
from typing import Any, Protocol

import numpy as np

from codegen import collector_paused
from codegen.ir.structs import struct
from tracegrad import dtypes
from tracegrad.aborts import Abort, Aborted
from tracegrad.callbacks import made_before
from tracegrad.called import left_by
from tracegrad.deferred_runs import DeferredRun
from tracegrad.dispatch import GRAD
from tracegrad.dtypes import default_float
from tracegrad.generators import Generator, default_generator
from tracegrad.grad_modes import is_grad_enabled
from tracegrad.grafting import Departure
from tracegrad.left_behind import forget, forget_in_frames
from tracegrad.lifted import LiftedNumber, plain, read_lifted
from tracegrad.other_sizes import Resized, catches_errors
from tracegrad.purity.effects import Effect, Kind, effects, store
from tracegrad.purity.library import Library, Setting, methods_of, numpy_error_state
from tracegrad.purity.observation import Observation, observe
from tracegrad.purity.prediction import Prediction, Root, predict
from tracegrad.purity.read_set import ReadSet, read_set
from tracegrad.purity.type_questions import may_ask_for_types
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.results import Read, Rebuild
from tracegrad.size_numbers import NO_NUMBER_HAS, read_but_in_tuples, read_size
from tracegrad.spans import begin, end
from tracegrad.stand_ins import plain_class
from tracegrad.symbols import Symbols
from tracegrad.tensors import Tensor

LIBRARY = Library(
    Tensor,
    settings=(
        Setting("the grad mode", is_grad_enabled, place=(GRAD, "enabled")),
        Setting("autocast", lambda: GRAD.casting, place=(GRAD, "casting")),
        Setting("the default dtype", default_float, place=(vars(dtypes), "_default_float")),
        Setting("NumPy's error state", numpy_error_state, guarded=False),
        methods_of(Tensor),
    ),
    follow={Generator: ("key", "counter")},
    class_of=plain_class)
"""What the walk over captured state must know of tracegrad."""

GENERATOR = Root("tg.random.default_generator", default_generator, "{0}", (default_generator,))

LEAVES_NO_TRACE = frozenset({Abort.HOST_READ, Abort.NOT_RECORDED, Abort.HISTORY, Abort.VIEW_WRITE, Abort.RAISED})
"""After a run that is refused for one of these alone, it is as if it had not been but for its arguments."""


class Front(Protocol):
    """What stands between a function and the Tensors of a run: it runs the function on something else."""

    def call(self, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any: ...
    def as_called(self, function: Callable[..., Any]) -> Any: ...
    def surprised(self, frame: FrameType) -> None: ...
    def result(self, value: Any) -> Any: ...
    def recipe(self, value: Any, place: Callable[[Tensor], int],
               source: Callable[[Any], Read | None]) -> Rebuild | None: ...


@struct
class Run:
    """One watched run: what it gave or raised, what was recorded, what it read, why it cannot be replayed, if so."""

    result: Any
    error: Exception | None
    aborts: tuple[Aborted, ...]
    recorder: Recorder
    reads: ReadSet | None
    replaced: tuple[Effect, ...]            # slots in which it replaced a Tensor
    known: frozenset[int]                   # ids of the objects in reach before it
    lifted: frozenset[str]                  # arguments that were made inputs
    numbers_read: frozenset[str]            # those of them whose value Python asked for
    seen: Observation
    codes: frozenset[CodeType]
    seconds: float                          # what running the Python took
    left: dict[int, dict[str, Any]]         # what calls of custom functions have put on ctx, by node
    front: Front | None = None
    departure: Departure | None = None      # the root it left, and how
    symbols: Symbols | None = None          # what its sizes are, if it was recorded for all sizes
    undoable: bool = False                  # did it change nothing but its arguments?


@collector_paused
def record(function: Callable[..., Any], args: tuple, kwargs: dict, codes: frozenset[CodeType],
           lifted: frozenset[str], strict: bool, deferred: DeferredRun, front: Front | None = None,
           departure: Departure | None = None, resized: Resized | None = None, for_all_sizes: bool = True) -> Run:
    """Run `function` eagerly, watched. `codes`: what earlier runs entered; `lifted`: routes of numbers made inputs.

    `deferred` may put off the work; it is to be asked to `finish` it, whatever happens.
    `front` runs it on arrays that stand for the Tensors of args and kwargs. `departure`: the root that this call left;
    `resized`: one that it differs from in sizes only; then it may be recorded `for_all_sizes`.
    """
    recorder = Recorder(strict, called_from=None if front is not None else _run.__code__)
    prediction = predict(function, args, kwargs, LIBRARY, codes, (GENERATOR,), resized is None or front is not None)
    recorder.outside = {id(entry.object) for entry in prediction.snapshot if entry.is_tensor}
    like = (resized or departure) if for_all_sizes and GRAD.anomaly is None else None
    disguise = _Disguise(prediction, recorder, lifted, front, like, departure is not None)
    symbols, lifted = disguise.symbols, disguise.lifted

    def surprised() -> None:
        disguise.surprised(sys._getframe(1))
        deferred.surprised()

    began, start = begin(), time.perf_counter()
    if front is None and departure is None and not lifted and symbols is None:
        deferred.begin(prediction)
    seen = observe(prediction, lambda: disguise.run(function, args, kwargs), surprised, front is not None)
    deferred.end(bool(seen.error or seen.refusals or recorder.aborts or recorder.reads or recorder.callbacks))
    seconds = time.perf_counter() - start
    end(began, "record", getattr(function, "__name__", ""))
    seen.handing |= {id(noted.code): noted.code for noted in recorder.callbacks}
    seen.held_cells += [cell for noted in recorder.callbacks for cell in noted.cells]
    changes = effects(prediction)
    if lifted or symbols is not None:
        only_raised = all(refusal.reason is Abort.RAISED for refusal in seen.refusals)
        if seen.error is not None and only_raised and not changes and not recorder.written:   # C code wants a number
            with made_before(len(recorder.callbacks)):      # sizes are plain first, then arguments
                again = record(function, args, kwargs, codes, frozenset() if symbols is None else lifted, strict,
                               deferred, front, resized=resized, for_all_sizes=False)
                return again if symbols is not None else replace(again, numbers_read=lifted)
        changes = _undisguised(seen, changes, prediction)
    left = left_by(recorder, _read if lifted or symbols is not None else None)
    if front is not None:
        _mend(front, changes)
    aborts, reads = list(recorder.aborts), None
    if seen.error is None and not aborts:
        reads, prediction = _reads(prediction, seen, changes, recorder, lifted - disguise.read, departure, resized)
        changes = list(reads.own_changes)
    aborts += seen.refusals if reads is None else reads.refusals
    if symbols is not None:
        symbols.assumptions.over = True
        if seen.error is not None:
            symbols.close(recorder, None)
    return Run(seen.result, seen.error, tuple(dict.fromkeys(aborts)), recorder, reads,
               tuple(e for e in changes if e.kind is Kind.SLOT),
               frozenset(id(entry.object) for entry in prediction.snapshot), lifted, frozenset(disguise.read), seen,
               codes | frozenset(seen.codes.values()), seconds, left, front, departure, symbols,
               not changes and all(refusal.reason in LEAVES_NO_TRACE for refusal in aborts))


def _reads(prediction: Prediction, seen: Observation, changes: list[Effect], recorder: Recorder,
           lifted: frozenset[str], departure: Departure | None, resized: Resized | None) -> tuple[ReadSet, Prediction]:
    """What the run depends on. `lifted`: numbers that are inputs and nothing else."""
    inputs = [entry.tensor for entry in recorder.inputs]
    written = list(recorder.written.values())
    if departure is not None:           # what is guarded from now on is what any path of the root depends on
        seen.include(departure.root.seen)
        inputs += departure.leaves
        written += departure.written
    if not any(t is default_generator.counter for t in inputs):
        prediction = replace(prediction, roots=tuple(root for root in prediction.roots if root is not GENERATOR))

    def whole() -> ReadSet:
        return read_set(prediction, seen, changes, lifted=lifted, written=written)
    known = None if resized is None else resized.read_set(
        prediction, seen, changes, lifted, recorder.inputs, written, whole)
    return whole() if known is None else known, prediction


def _run(function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    """The call itself: who is called from here is the traced function."""
    return function(*args, **kwargs)


def _undisguised(seen: Observation, changes: list[Effect], prediction: Prediction) -> list[Effect]:
    """The result, and the state that was changed, have numbers where something stood in for them."""
    seen.result = read_but_in_tuples(plain(seen.result))
    for e in changes:
        after = plain(e.after, replace=_read)
        if after is not e.after and e.child.write is not None:
            store(e, after)
    return effects(prediction)


def _mend(front: Front, changes: list[Effect]) -> None:
    """What the run put into state that outlives it is given as those who run it expect."""
    for e in changes:
        after = front.result(e.after)
        if after is not e.after and e.child.write is not None:
            store(e, after)
        front.result(e.owner)


def _read(value: Any) -> Any:
    """A number that stands in for another, as what it is; anything else as it is."""
    return read_size(read_lifted(value))


class _Disguise:
    """What stands in for something else in one run: numbers that are inputs, sizes, arrays, what a mask selects.

    1. Where code may run that asks for types there are no such numbers and sizes, and nothing is selected; code over
       the namespace of a front asks what knows Arrays.
    2. Before other code runs that nothing is known of, what is in variables is what it stands in for, and the run is
       not replayed.
    """

    def __init__(self, prediction: Prediction, recorder: Recorder, lifted: frozenset[str], front: Front | None,
                 like: Resized | Departure | None, departs: bool):
        asks = may_ask_for_types(prediction)
        self.read: set[str] = set()             # the numbers whose value Python asked for all the same
        self.lifted = frozenset() if asks and not departs else lifted       # a root's inputs stay what they are
        self.symbols: Symbols | None = None
        if like is not None and not (asks or any(map(catches_errors, prediction.codes.values()))
                                     or not NO_NUMBER_HAS.isdisjoint(prediction.mentions.attributes)):
            self.symbols = like.symbols()
        self._recorder, self._front = recorder, front
        self._numbers: list[LiftedNumber] = []
        self._hands_on_type = prediction.asks_for_types
        recorder.symbols, recorder.selects = self.symbols, not asks

    def run(self, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """Call the function, recorded."""
        given = tuple([self._lift(f"args[{k}]", a) for k, a in enumerate(args)])
        named = {name: self._lift(f"kwargs[{name!r}]", a) for name, a in kwargs.items()}
        token = ACTIVE.set(self._recorder)
        try:
            if self.symbols is not None:
                self.symbols.begin()
            if self._front is None:
                return _run(function, given, named)
            if self._hands_on_type:
                self._recorder.abort(Abort.NOT_RECORDED, "`type` is handed on as a value")
                return self._front.as_called(function)
            return self._front.call(function, given, named)
        finally:
            try:
                try:
                    self._recorder.settle()
                finally:
                    ACTIVE.reset(token)
                    self._end()
            finally:                            # again: Ctrl-C may have come in the lines above
                self._end()

    def surprised(self, frame: FrameType) -> None:
        """Code is about to run, called from this frame or in it, that may tell what stands in for something."""
        self._recorder.selects = False
        self._recorder.settle()
        if self.symbols is not None:
            self.symbols.surprised()
        if self._numbers:
            forget_in_frames(frame, read_lifted)
            forget(self._numbers, None, read_lifted)
        if self._front is not None:
            self._front.surprised(frame)

    def _end(self) -> None:
        if self.symbols is not None:
            self.symbols.end()

    def _lift(self, route: str, argument: Any) -> Any:
        """The argument, or what stands in for it."""
        if route not in self.lifted:
            return argument
        tensor = Tensor(np.asarray(argument, np.float64 if type(argument) is float else np.int64))
        self._recorder.enter_number(tensor, route)
        number = LiftedNumber(argument, tensor, lambda: self.read.add(route))
        self._numbers.append(number)
        return number
