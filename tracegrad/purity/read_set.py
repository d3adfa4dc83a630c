"""read_set: everything a run can have read, as guards; and every reason why the run cannot be replayed.

1. Guards use only the code that ran: the names it mentions, the functions it belongs to.
2. The walk sees the state as it was before the run: the Tensors that the run replaced are put back while it goes.
3. All code that ran belongs to a function that the walk reached, or is trusted; else the run is refused.
4. What callbacks were given to call is not looked into where the function does nothing else with it; and where there
   are callbacks, a change of what the code that ran cannot have read is theirs.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from codegen.ir.structs import struct
from tracegrad.aborts import Abort, Aborted
from tracegrad.guards import Guards, Slot
from tracegrad.purity.code_facts import Mentions
from tracegrad.purity.effects import Effect, Kind, store
from tracegrad.purity.guard_writer import GuardWriter
from tracegrad.purity.handed import handed_routes
from tracegrad.purity.library import Trust
from tracegrad.purity.memory import NotOwned, apart, owner
from tracegrad.purity.observation import Observation
from tracegrad.purity.part import View
from tracegrad.purity.prediction import MOST_OBJECTS, Prediction
from tracegrad.source_lines import first_line

FEW = 4     # as many objects are compared pair by pair


@struct(eq=False)
class ReadSet:
    """What a run read. `tensors` are the Tensors it can have read, in the order in which `check` returns them."""

    tensors: tuple[Any, ...]
    guards: Guards
    refusals: tuple[Aborted, ...]
    own_changes: tuple[Effect, ...]     # those that the code that ran can have made
    _slots: dict[Hashable, Slot]
    _find: Callable[[Any], Callable[[tuple, Mapping[str, Any]], Any] | None]

    def slot(self, effect: Effect) -> Slot | None:
        """Where the replaced Tensor of an effect is to be written on replay; None if that cannot be found again."""
        return self._slots.get(effect.place)

    def source(self, o: Any) -> Callable[[tuple, Mapping[str, Any]], Any] | None:
        """How to find a captured object again: a container, an instance, a function that the run may have read.

        None for Tensors, plain values and everything else that the walk did not meet. A result that is such an object
        must be returned by its source: a copy would not be the same.
        """
        return self._find(o)


def read_set(prediction: Prediction, seen: Observation, changes: Collection[Effect], *,
             lifted: Collection[str] = (), grads_read: Collection[Any] = (), written: Collection[Any] = ()) -> ReadSet:
    """Guards for everything that the run read.

    Numbers whose route is in `lifted` (`args[1]`, `kwargs['lr']`) are inputs: only their type is guarded. The grads of
    the Tensors in `grads_read` are followed. Tensors in `written` were written in place: no other Tensor may share
    their memory.
    """
    slots = [e for e in changes if e.kind is Kind.SLOT]
    mentions = _mentions(prediction, seen)
    view = View(mentions, prediction.library, writes_guards=True, grads_read=frozenset(map(id, grads_read)),
                handed=handed_routes(mentions, prediction.fn),
                held_cells=frozenset(map(id, seen.held_cells)),
                tensor_states={id(entry.object): entry.state for entry in prediction.snapshot if entry.is_tensor})
    writer = GuardWriter(view, frozenset(lifted), frozenset(e.place for e in slots))
    with _as_before(slots):
        _write(writer, prediction, seen, frozenset(map(id, written)))
    if seen.handing:
        changes = [e for e in changes if _can_have_made(writer, e)]
        slots = [e for e in slots if e in changes]
    codes = tuple(code for code in seen.codes.values() if prediction.library.trust(code) is None)
    refusals = [*seen.refusals, *filter(None, [e.refusal(codes) for e in changes]), *writer.refusals]
    refusals += [Aborted(Abort.EFFECT, f"{e.what}, which cannot be found again") for e in slots
                 if e.place not in writer.places]
    guards = Guards(tuple(writer.sources), writer.lines, writer.leaves, writer.constants, writer.watched(),
                    prediction.fn, codes)
    found = {key: guards.slot(*place) for key, place in writer.places.items()}
    return ReadSet(tuple(writer.tensors), guards, tuple(dict.fromkeys(refusals)), tuple(changes), found,
                   lambda o: writer.source(o, guards))


def _can_have_made(writer: GuardWriter, e: Effect) -> bool:
    """Does the code that ran, callbacks left out, reach what changed?"""
    if e.kind is Kind.GRAD:
        return True
    return e.place in writer.visited or writer.has_met(e.owner) and (
        e.child.route.removeprefix(".") in {"", *writer.view.mentions.attributes})


def _mentions(prediction: Prediction, seen: Observation) -> Mentions:
    """What the code that ran mentions."""
    library = prediction.library
    mentions = Mentions((code for code in seen.codes.values() if library.trust(code) in (None, Trust.STANDARD)),
                        seen.handing)
    mentions.codes_of_class = prediction.mentions.codes_of_class
    mentions.reads_of_strangers()
    mentions.computed |= seen.computed
    mentions.attributes |= prediction.names_met
    mentions.catches |= seen.caught
    mentions.by_identity |= seen.left_by_error and mentions.by_identity_if_raised
    return mentions


@contextmanager
def _as_before(slots: Collection[Effect]) -> Iterator[None]:
    """Put the Tensors back that the run replaced; then the new ones again."""
    for e in slots:
        store(e, e.before)
    try:
        yield
    finally:
        for e in slots:
            store(e, e.after)


# ---- the guards, in their order --------------------------------------------------------------------------------------

def _write(writer: GuardWriter, prediction: Prediction, seen: Observation, written: frozenset[int]) -> None:
    if not prediction.complete:
        writer.refuse(Abort.HIDDEN_STATE, f"more than {MOST_OBJECTS} objects are in reach")
    _write_signature(writer, prediction)
    for root in prediction.roots:
        writer.walk(root)
    mentions = writer.view.mentions
    if unmentioned := writer.view.names_met - mentions.attributes:
        writer.refuse(Abort.HIDDEN_STATE, f"attributes are read that no code names: {', '.join(sorted(unmentioned))}")
    _write_distinct(writer, writer.leaves, "are distinct")
    if not written.isdisjoint(map(id, writer.tensors)) and len(writer.leaves) > 1:
        _write_memory(writer, written)
    if writer.arrays and not written.isdisjoint(map(id, writer.tensors)):
        _write_apart_from_arrays(writer, written)
    if mentions.compares:
        _write_distinct(writer, writer.mutable, "are distinct")
    _write_settings(writer, prediction)
    for key, code in seen.codes.items():
        if key not in writer.reached and prediction.library.trust(code) is None:
            writer.refuse(Abort.UNSEEN_CODE, f"{code.co_qualname} ran, and no guard watches it", first_line(code))


def _write_signature(writer: GuardWriter, prediction: Prediction) -> None:
    writer.test(f"len(args) == {len(prediction.args)}", "args", "has length", (len(prediction.args),))
    if not prediction.kwargs:
        writer.test("not kwargs", "kwargs", "is empty")
        return
    names = list(prediction.kwargs)
    writer.test(f"[*kwargs] == {writer.constant(names)}", "kwargs", "has the keys", (names,))


def _write_distinct(writer: GuardWriter, names: list[str], says: str) -> None:
    """No two of these are the same object."""
    if len(names) > FEW:
        writer.test(f"len({{*map(id, ({', '.join(names)}))}}) == {len(names)}", "the objects in reach", says)
    elif len(names) > 1:
        pairs = itertools.combinations(names, 2)
        writer.test(" and ".join(f"{a} is not {b}" for a, b in pairs), "the objects in reach", says)


def _write_memory(writer: GuardWriter, written: frozenset[int]) -> None:
    """Memory that is owned apart stays apart; views of one array stay views of one array, and no others become so.

    Where that does not tell, it is looked at: what was written is apart from every other view of the same array, and
    from memory that does not belong to an array.
    """
    layout = writer.view.library.layout
    groups: dict[int, list[str]] = {}       # the owner of memory -> how generated code finds it, from each leaf
    leaves: list[tuple[str, Any, int | None]] = []
    for tensor, variable in zip(writer.tensors, writer.leaves):
        text, array = layout.array.format(p=variable), getattr(tensor, layout.array.removeprefix("{p}."))
        try:
            whole = id(owner(array))
        except NotOwned:
            leaves.append((text, array, None))
            continue
        leaves.append((text, array, whole))
        owns = whole == id(array)
        groups.setdefault(whole, []).append(text if owns else f"owner({text})")
        if owns:
            writer.test(f"{text}.base is None", "the Tensors", "own their memory")
    for first, *others in groups.values():
        for other in others:
            writer.test(f"{other} is {first}", "the Tensors", "share memory as they did")
    _write_distinct(writer, [first for first, *_ in groups.values()], "share no memory")
    targets = [leaf for tensor, leaf in zip(writer.tensors, leaves) if id(tensor) in written]
    pairs = [(target, leaf) for target in targets for leaf in leaves
             if leaf is not target and (leaf[2] is None or target[2] is None or leaf[2] == target[2])]
    if pairs:
        if not apart((a, b) for (_, a, _), (_, b, _) in pairs):
            writer.refuse(Abort.VIEW_WRITE, "another tensor in reach shares its memory")
        texts = ", ".join(f"({a}, {b})" for (a, _, _), (b, _, _) in pairs)
        writer.test(f"apart(({texts},))", "the Tensors", "share no memory")


def _write_apart_from_arrays(writer: GuardWriter, written: frozenset[int]) -> None:
    """What the run writes in place is not the memory of an array whose contents were taken as they were on entry."""
    layout = writer.view.library.layout
    targets = [(layout.array.format(p=variable), getattr(tensor, layout.array.removeprefix("{p}.")))
               for tensor, variable in zip(writer.tensors, writer.leaves) if id(tensor) in written]
    pairs = [(target, array) for target in targets for array in writer.arrays]
    if not apart((a, b) for (_, a), (_, b) in pairs):
        writer.refuse(Abort.VIEW_WRITE, "an array in reach shares its memory")
    texts = ", ".join(f"({a}, {b})" for (a, _), (b, _) in pairs)
    writer.test(f"apart(({texts},))", "the Tensors that are written", "share no memory with arrays")


def _write_settings(writer: GuardWriter, prediction: Prediction) -> None:
    before = dict(prediction.settings)
    for s in (*(s for s in prediction.library.settings if s.guarded), *writer.view.settings.values()):
        value = before[s.name] if s.name in before else s.read()
        if s.of is not None:
            text = f"all(map(is_, {writer.constant(s.read)}(), {writer.constant(value)}))"
            writer.test(text, s.name, "are the same", namespace=s.of)
            continue
        if s.place is None:
            text = f"{writer.constant(s.read)}() == {writer.constant(value)}"
        else:
            owner, name = s.place
            text = f"{writer.constant(owner)}{f'[{name!r}]' if type(owner) is dict else f'.{name}'}"
            text = f"{text} is {writer.constant(value)}"
        writer.test(text, s.name, "is", (value,))
