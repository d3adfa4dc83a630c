"""A watched run (see runs) is made a Trace: where values that entered are found, what it left behind, one graph.

    compile_run(run, ...)   ->   Grafted | list[Aborted]

A run that was recorded because a call left a root by an unknown way is added to that root (see grafting).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from codegen import CannotLower, CompileError, NoDevice, collector_paused, made_to_last
from codegen.ir.dims import Undecided
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.aborts import Abort, Aborted, Declined
from tracegrad.all_sizes import sized_source, with_plain_attrs, with_symbols
from tracegrad.callbacks import Callback, Recipes
from tracegrad.called import State, call_again, state_of
from tracegrad.compiling import Compiling
from tracegrad.deferred_runs import DeferredRun
from tracegrad.devices import CUPY
from tracegrad.entry import GradExpected, Source, own_memory
from tracegrad.grafting import Grafted, NewPath, grafted
from tracegrad.lifted import LiftedNumber, argument_of
from tracegrad.made import Made
from tracegrad.made_tensors import MadeTensors, in_memory_order, shared_storage
from tracegrad.purity.effects import Effect
from tracegrad.purity.read_set import ReadSet
from tracegrad.recorded import Input, Recording
from tracegrad.recorder import Recorder
from tracegrad.replay import GradEffect, SlotEffect, Trace
from tracegrad.results import Leaves, Read, Rebuild, UnknownResult, given_at, recipe
from tracegrad.route_graphs import with_outputs
from tracegrad.routes import Route
from tracegrad.runs import Run
from tracegrad.segments import KnownPath, Path
from tracegrad.spans import begin, end
from tracegrad.symbols import Symbols
from tracegrad.tensors import Tensor


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
    except NoDevice as reason:
        return [Aborted(Abort.NO_DEVICE, str(reason))]
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
    compiling = compiling.on(recorder.device)
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
        history, states = _calls(run, reads, made, held)
        shared = shared_storage(recorder, made.tensors, {id(leaves[e.leaf]._grad) for e in grad_effects})
        if shared is None:
            break
        if views_of_made:
            raise Declined(Abort.SHARED_OUTPUT, shared)

    written = [recorder.index_of(t) for t in recorder.written.values()]
    for t in recorder.written.values():
        if not t.array.flags.c_contiguous:
            raise Declined(Abort.NOT_RECORDED, f"a write to {type_of(t.array)}, which is not contiguous")
    for t in made.tensors if CUPY else ():
        if t.device != recorder.device:
            raise Declined(Abort.DEVICE, f"a result {type_of(t)} on {t.device}, of a run on {recorder.device}")
    if any(entry.tensor is not None and entry.tensor.grad_fn is not entry.history for entry in recorder.inputs):
        raise Declined(Abort.NOT_RECORDED, "a write in place gave a tensor a new history")
    makes = [m for m in made.makes if isinstance(m, Made)]
    live = [k for k, m in enumerate(makes) if m.has_history]
    recording, symbols = _recording(run, name, [*recorder.written.values(), *made.tensors], makes)
    graph, route = recording.graph, None
    if live:
        if not recorder.hooked().isdisjoint(history):
            raise Declined(Abort.HOOK, "a result is differentiated through it")
        if not recording.lost.isdisjoint(history):
            raise Declined(Abort.HISTORY, "it is differentiated by a tensor the run made or had updated")
        calls = [call_again(call, states[id(call.node)], symbols) for call in recording.calls
                 if id(call.node) in states]
        outputs = [graph.outputs[len(written) + k] for k in live]
        carries = (*(entry.carries for entry in recorder.inputs), *[False] * (len(graph.inputs) - len(sources)))
        route = Route(with_outputs(graph, outputs), carries, replace(compiling, fast_math=False), recording.freed,
                      recording.regions, None if symbols is None else symbols.numbers,
                      tuple(sorted(calls, key=lambda call: call.first)))
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
    if not states:                          # their nodes are those of the run
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
        return Source(entry.number, number=argument_of(entry.number), dtype=entry.tensor.dtype)
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


def _calls(run: Run, reads: ReadSet, made: MadeTensors, held: set[int]) -> tuple[set[int], dict[int, State]]:
    """The history of what the run made, and by node what calls of custom functions in it have left for backward."""
    states: dict[int, State] = {}
    routes, symbols = run.recorder.routes(), run.symbols

    def lifted(value: Any, place: Any, source: Callable[[Any], Read | None]) -> Rebuild | None:
        return given_at(routes[id(value.tensor)]) if type(value) is LiftedNumber else None
    leaves_as: Leaves = lifted if symbols is None else symbols.returned(reads.tensors, lifted)

    def again(value: Any) -> Rebuild:
        return recipe(value, made.place, reads.source, held, leaves_as)
    while True:
        history = _history(made.tensors, run.recorder.nodes())
        new = [node for node in run.recorder.called() if id(node) in history and id(node) not in states]
        if not new:
            return history, states
        for node in new:                    # which may be tensors with a history
            states[id(node)] = state_of(node, run.left.get(id(node), {}), run.known, again)


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
