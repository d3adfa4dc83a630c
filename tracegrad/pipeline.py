"""A run, watched, then made a Trace: where values that entered are found, what it left behind, one graph.

    record(function, args, kwargs)   ->   Run          the eager result, the recorder, what purity saw
    compile_run(run, ...)            ->   Grafted | list[Aborted]

A run that was recorded because a call left a root by an unknown way is added to that root (see grafting).
"""
from __future__ import annotations

import time
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import CodeType
from typing import Any, Protocol

import numpy as np

from codegen import CannotLower, CompileError, collector_paused, made_to_last
from codegen.ir.dims import Undecided
from codegen.ir.structs import struct
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.aborts import Abort, Aborted, Declined
from tracegrad.all_sizes import sized_source, with_plain_attrs, with_symbols
from tracegrad.autograd import is_grad_enabled
from tracegrad.callbacks import Callback, Recipes, made_before
from tracegrad.compiling import Compiling
from tracegrad.deferred_runs import DeferredRun
from tracegrad.dispatch import GRAD
from tracegrad.dtypes import default_float
from tracegrad.entry import GradExpected, Source, own_memory
from tracegrad.generators import Generator, default_generator
from tracegrad.grafting import Departure, Grafted, NewPath, grafted
from tracegrad.lifted import LiftedNumber, plain, read_lifted
from tracegrad.made import Made
from tracegrad.made_tensors import MadeTensors, in_memory_order, shared_storage
from tracegrad.other_sizes import Resized, catches_errors
from tracegrad.purity.effects import Effect, Kind, effects, store
from tracegrad.purity.library import Library, Setting, numpy_error_state
from tracegrad.purity.observation import Observation, observe
from tracegrad.purity.prediction import Root, predict
from tracegrad.purity.read_set import ReadSet, read_set
from tracegrad.purity.type_questions import may_ask_for_types
from tracegrad.recorded import Input, Recording
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.replay import GradEffect, SlotEffect, Trace
from tracegrad.results import Leaves, Read, Rebuild, UnknownResult, recipe
from tracegrad.routes import Route, with_outputs
from tracegrad.segments import KnownPath, Path
from tracegrad.size_numbers import NO_NUMBER_HAS, read_but_in_tuples, read_size
from tracegrad.spans import begin, end
from tracegrad.stand_ins import plain_class
from tracegrad.symbols import Symbols
from tracegrad.tensors import Tensor

LIBRARY = Library(
    Tensor,
    settings=(
        Setting("the grad mode", is_grad_enabled, place=(GRAD, "enabled")),
        Setting("the default dtype", default_float, place=(vars(dtypes), "_default_float")),
        Setting("NumPy's error state", numpy_error_state, guarded=False),
    ),
    follow={Generator: ("key", "counter")},
    class_of=plain_class)
"""What the walk over captured state must know of tracegrad."""


LEAVES_NO_TRACE = frozenset({Abort.HOST_READ, Abort.NOT_RECORDED, Abort.VIEW_WRITE, Abort.RAISED})
"""After a run that is refused for one of these alone, it is as if it had not been but for its arguments."""


class Front(Protocol):
    """What stands between a function and the Tensors of a run: it runs the function on something else."""

    def call(self, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any: ...
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
    generator = Root("tg.random.default_generator", default_generator, "{0}", (default_generator,))
    ahead = resized is None or front is not None
    prediction = predict(function, args, kwargs, LIBRARY, codes, (generator,), ahead)

    recorder.outside = {id(entry.object) for entry in prediction.snapshot if entry.is_tensor}

    symbols, tells = None, may_ask_for_types(prediction)
    like = resized or departure
    if for_all_sizes and like is not None and GRAD.anomaly is None:
        told = (tells or any(map(catches_errors, prediction.codes.values()))
                or not NO_NUMBER_HAS.isdisjoint(prediction.mentions.attributes))
        symbols = None if told else like.symbols()
    recorder.symbols, recorder.selects = symbols, not tells
    if tells and departure is None:
        lifted = frozenset()
    numbers = _Numbers(lifted, recorder)
    given_args = tuple(numbers.lift(f"args[{k}]", a) for k, a in enumerate(args))
    given_kwargs = {name: numbers.lift(f"kwargs[{name!r}]", a) for name, a in kwargs.items()}

    def surprised() -> None:
        recorder.selects = False
        recorder.settle()
        if symbols is not None:
            symbols.surprised()
        deferred.surprised()

    def call() -> Any:
        token = ACTIVE.set(recorder)
        try:
            if symbols is not None:
                symbols.begin()
            if front is not None:
                return front.call(function, given_args, given_kwargs)
            return _run(function, given_args, given_kwargs)
        finally:
            try:
                try:
                    recorder.settle()
                finally:
                    ACTIVE.reset(token)
                if symbols is not None:
                    symbols.end()
            finally:
                if symbols is not None:         # again: Ctrl-C may have come in the lines above
                    symbols.end()

    began, start = begin(), time.perf_counter()
    if front is None and departure is None and not lifted and symbols is None:
        deferred.begin(prediction)
    seen = observe(prediction, call, surprised)
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
        seen.result = read_but_in_tuples(plain(seen.result))
        for e in changes:
            after = plain(e.after, replace=_read)
            if after is not e.after and e.child.write is not None:
                store(e, after)
        changes = effects(prediction)
    aborts: list[Aborted] = list(recorder.aborts)
    reads = None
    if front is not None:
        _mend(front, changes)
    if seen.error is None and not aborts:
        inputs = [entry.tensor for entry in recorder.inputs]
        written = list(recorder.written.values())
        if departure is not None:           # what is guarded from now on is what any path of the root depends on
            seen.include(departure.root.seen)
            inputs += departure.leaves
            written += departure.written
        if not any(t is default_generator.counter for t in inputs):
            prediction = replace(prediction, roots=tuple(root for root in prediction.roots if root is not generator))
        inputs_only = lifted - numbers.read
        if resized is not None:
            reads = resized.read_set(prediction, seen, changes, inputs_only, recorder.inputs, written,
                                     lambda: read_set(prediction, seen, changes, lifted=inputs_only, written=written))
        if reads is None:
            reads = read_set(prediction, seen, changes, lifted=inputs_only, written=written)
        changes = list(reads.own_changes)
    aborts += seen.refusals if reads is None else reads.refusals
    if symbols is not None:
        symbols.assumptions.over = True
        if seen.error is not None:
            symbols.close(recorder, None)
    return Run(seen.result, seen.error, tuple(dict.fromkeys(aborts)), recorder, reads,
               tuple(e for e in changes if e.kind is Kind.SLOT),
               frozenset(id(entry.object) for entry in prediction.snapshot), lifted, frozenset(numbers.read), seen,
               codes | frozenset(seen.codes.values()), seconds, front, departure, symbols,
               not changes and all(refusal.reason in LEAVES_NO_TRACE for refusal in aborts))


def _run(function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    """The call itself: who is called from here is the traced function."""
    return function(*args, **kwargs)


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


class _Numbers:
    """The arguments that are lifted in one run, and those of them whose value Python asked for all the same."""

    def __init__(self, lifted: frozenset[str], recorder: Recorder):
        self.read: set[str] = set()
        self._lifted, self._recorder = lifted, recorder

    def lift(self, route: str, argument: Any) -> Any:
        """The argument, or what stands in for it."""
        if route not in self._lifted:
            return argument
        tensor = Tensor(np.asarray(argument, np.float64 if type(argument) is float else np.int64))
        self._recorder.enter_number(tensor, route)
        return LiftedNumber(argument, tensor, lambda: self.read.add(route))


@collector_paused
@made_to_last
def compile_run(run: Run, name: str, compiling: Compiling, deferred: DeferredRun) -> Grafted | list[Aborted]:
    """Make a Trace of a run, or say why not. Its `deferred` work is done."""
    began = begin()
    try:
        if run.aborts:
            return list(run.aborts)
        try:
            return _compile(run, name, compiling, deferred)
        except (CannotLower, CompileError, Undecided) as failure:
            if run.symbols is None or not run.symbols.hold:
                raise
            run.symbols.give_up(str(failure))       # what is not compiled for all sizes may be for those of the run
            return _compile(run, name, compiling, deferred)
    except Declined as declined:
        return [declined.aborted]
    except KnownPath:
        assert run.departure is not None
        return [run.departure.segment.differs_compiled()]
    except (CannotLower, TypeRuleError) as reason:      # eager execution is more generous than the type rules
        return [Aborted(Abort.NOT_LOWERED, str(reason))]
    except CompileError as failure:
        return [Aborted(Abort.COMPILER_FAILED, str(failure))]
    except Exception as failure:  # noqa: BLE001 - the call has its result: whatever fails now must not be the caller's
        return [Aborted(Abort.COMPILER_FAILED, f"{type(failure).__name__}: {failure}")]
    finally:
        if run.symbols is not None:
            run.symbols.close(run.recorder, run.result)
        end(began, "compile", name)
        deferred.finish()


def _compile(run: Run, name: str, compiling: Compiling, deferred: DeferredRun) -> Grafted:
    recorder, reads = run.recorder, run.reads
    assert reads is not None
    leaves, texts = reads.tensors, reads.guards.sources
    place_of_leaf = {id(t): k for k, t in enumerate(leaves)}
    sources = tuple(_source(entry, place_of_leaf, texts) for entry in recorder.inputs)
    for views_of_made in (False, True):
        made = MadeTensors(recorder, place_of_leaf, len(leaves), views_of_made)
        held = set(run.known)
        rebuild = _recipe(run, run.result, reads, made, held)
        made.require_floats()
        slot_effects = tuple(_slot_effect(run, reads, effect, made, held) for effect in run.replaced)
        callbacks = tuple(_callbacks(run, reads, made))
        grad_effects = tuple(_grad_effects(recorder, place_of_leaf, made))
        shared = shared_storage(recorder, made.tensors, {id(leaves[e.leaf]._grad) for e in grad_effects})
        if shared is None:
            break
        if views_of_made:
            raise Declined(Abort.SHARED_OUTPUT, shared)

    written = [recorder.index_of(t) for t in recorder.written.values()]
    for t in recorder.written.values():
        if not t.array.flags.c_contiguous:
            raise Declined(Abort.NOT_RECORDED, f"a write to {type_of(t.array)}, which is not contiguous")
    if any(entry.tensor is not None and entry.tensor.grad_fn is not entry.history for entry in recorder.inputs):
        raise Declined(Abort.NOT_RECORDED, "a write in place gave a tensor a new history")
    makes = [m for m in made.makes if isinstance(m, Made)]
    live = [k for k, m in enumerate(makes) if m.has_history]
    recording, symbols = _recording(run, name, [*recorder.written.values(), *made.tensors], makes)
    graph, route = recording.graph, None
    if live:
        history = _history([made.tensors[k] for k in live], recorder.nodes())
        if not recorder.hooked().isdisjoint(history):
            raise Declined(Abort.HOOK, "a result is differentiated through it")
        if not recording.lost.isdisjoint(history):
            raise Declined(Abort.NOT_RECORDED, "a result is differentiated by a tensor the run made or had updated")
        outputs = [graph.outputs[len(written) + k] for k in live]
        carries = (*(entry.carries for entry in recorder.inputs), *[False] * (len(graph.inputs) - len(sources)))
        route = Route(with_outputs(graph, outputs), carries, replace(compiling, fast_math=False), recording.freed)
        graph = with_outputs(graph, (*graph.outputs, *route.saved))
    orders = {len(written) + k: m.order for k, m in enumerate(makes) if m.order is not None}
    graph = in_memory_order(graph, orders) if orders else graph
    if symbols is not None:
        values = symbols.computing()(*symbols.numbers.values())
        sources = (*sources, *map(sized_source, symbols.operands.values(), values))
        route = None if route is None else route.at(symbols.numbers)
    path = Path(graph, recording.reads, tuple(range(len(sources))), tuple(written))
    trace = Trace(path, tuple(range(len(leaves))), tuple(map(with_plain_attrs, made.makes)), route, grad_effects,
                  slot_effects, rebuild, callbacks)
    grads_expected = tuple(_grads_expected(recorder, place_of_leaf, leaves))
    new = NewPath(trace, reads, sources, grads_expected, run.lifted - run.numbers_read, run.seen.kept(), symbols,
                  () if symbols is None else with_symbols(made, symbols, recorder))
    joined = grafted(new, run.departure, name, compiling)
    if symbols is None and run.symbols is not None:
        joined.root.one_size = run.symbols.why
    if symbols is None and run.departure is not None:
        run.departure.segment.growth.for_one_size = True
    deferred.replay(joined.root, made.tensors, recorder)
    return joined


def _recording(run: Run, name: str, outputs: list[Tensor], makes: Sequence[Made]) -> tuple[Recording, Symbols | None]:
    """The run as a graph; and the symbols that are in it, if it is one for all sizes."""
    recorder, symbols = run.recorder, run.symbols
    if symbols is not None and recorder.callbacks:
        symbols.give_up("a function looks inside", recorder.callbacks[0].site.line)
    if symbols is not None and any(m.strides is not None and symbols.strides_of(t, recorder) is None
                                   for m, t in zip(makes, outputs[len(recorder.written):])):
        symbols.give_up("a result may have gaps in memory that are others at other sizes")
    if symbols is not None and symbols.hold:
        return recorder.recording(name, outputs, symbols), symbols
    return recorder.recording(name, outputs), None


def _source(entry: Input, place_of_leaf: dict[int, int], texts: tuple[str, ...]) -> Source:
    """Where an input is found again; Declined if nothing that was read leads to it."""
    if entry.frozen is not None:
        return Source("a constant", array=entry.frozen)
    if entry.number is not None:
        argument = entry.number.partition("[")[2].removesuffix("]")
        return Source(entry.number, number=literal_eval(argument), dtype=entry.tensor.dtype)
    owner = entry.tensor if entry.grad_of is None else entry.grad_of
    leaf = place_of_leaf.get(id(owner))
    if leaf is None:
        raise Declined(Abort.UNKNOWN_TENSOR, f"a tensor {entry.type}")
    if entry.grad_of is not None:
        return Source(f"{texts[leaf]}.grad", leaf, of_grad=True)
    return Source(texts[leaf], leaf, contiguous=owner.array.flags.c_contiguous)


def _slot_effect(run: Run, reads: ReadSet, effect: Effect, made: MadeTensors, held: set[int]) -> SlotEffect:
    slot = reads.slot(effect)
    if slot is None:
        raise Declined(Abort.EFFECT, effect.what)
    return SlotEffect(slot, _recipe(run, effect.after, reads, made, held, Abort.EFFECT))


def _history(tensors: list[Tensor], inside: set[int]) -> set[int]:
    """The ids of those operations that these tensors were computed by that are inside the run."""
    seen: set[int] = set()
    todo = [t.grad_fn for t in tensors]
    while todo:
        node = todo.pop()
        if id(node) in inside and id(node) not in seen:
            seen.add(id(node))
            todo += (edge for edge in node.edges if edge is not None)
    return seen


def _recipe(run: Run, value: Any, reads: ReadSet, made: MadeTensors, held: set[int],
            reason: Abort = Abort.RESULT_TYPE) -> Rebuild:
    try:
        leaves_as: Leaves = made.returned_float if run.front is None else run.front.recipe
        if run.symbols is not None:
            leaves_as = run.symbols.returned(reads.tensors, leaves_as)
        return recipe(value, made.place, reads.source, held, leaves_as)
    except UnknownResult as unknown:
        raise Declined(reason, str(unknown)) from None


def _callbacks(run: Run, reads: ReadSet, made: MadeTensors) -> Iterator[Callback]:
    """What looks inside the run, made again."""
    recipes = Recipes(run.recorder, made.place, reads.source, None if run.front is None else run.front.recipe)
    for noted in run.recorder.callbacks:
        try:
            yield recipes.callback(noted)
        except UnknownResult as unknown:
            raise Declined(Abort.CALLBACK, str(unknown), noted.site.line) from None


def _grad_on_entry(recorder: Recorder, tensor: Tensor) -> Tensor | None:
    return next((e.tensor for e in recorder.inputs if e.grad_of is tensor), None)


def _grads_expected(recorder: Recorder, place_of_leaf: dict[int, int],
                    leaves: Sequence[Tensor]) -> Iterator[GradExpected]:
    """What a replay assumes of the grads that the run read; Declined where they are not memory of their own."""
    grads = [e.tensor for e in recorder.inputs if e.grad_of is not None]
    if not own_memory(leaves, grads):
        raise Declined(Abort.SHARED_OUTPUT, "a grad shares its memory with another tensor")
    for tensor, existed in recorder.grads_read.values():
        leaf = place_of_leaf.get(id(tensor))
        if leaf is None:
            continue
        grad = _grad_on_entry(recorder, tensor)
        if grad is None:
            if existed:
                raise Declined(Abort.SHARED_OUTPUT, "a grad is a tensor that the run found elsewhere too")
            yield GradExpected(leaf)
        else:
            yield GradExpected(leaf, type_of(grad.array), grad.requires_grad, grad.grad_fn is not None)


def _grad_effects(recorder: Recorder, place_of_leaf: dict[int, int], made: MadeTensors) -> Iterator[GradEffect]:
    """What the run did to grads: nothing where the same Tensor is there as on entry (written in place or not)."""
    for tensor in recorder.grads_written.values():
        leaf = place_of_leaf.get(id(tensor))
        if leaf is None:
            if recorder.made(tensor):
                continue                        # it dies with the run, or made.place refuses it
            raise Declined(Abort.UNKNOWN_TENSOR, f"the owner of a grad, {type_of(tensor.array)}")
        grad = tensor._grad
        if grad is None:
            yield GradEffect(leaf, None)
        elif grad is not _grad_on_entry(recorder, tensor):
            yield GradEffect(leaf, made.place(grad))
