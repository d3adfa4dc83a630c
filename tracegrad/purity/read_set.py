"""read_set: everything a run can have read, written as guards; and every reason why it cannot be replayed.

The walk sees the state as it was before the run: the Tensors that the run replaced are put back while it goes.

1. Guards use only the code that ran: the names it mentions, the functions it belongs to.
2. Each object is read and checked once; a second route to it is checked to lead to the same object.
3. Guards come in the order in which they make later reads safe: no code of the user's runs in a check.
4. All code that ran belongs to a function that the walk reached, or is trusted; else the run is refused.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

from tracegrad.aborts import Abort, Aborted
from tracegrad.guards import Guards, Line, Slot
from tracegrad.purity.anatomy import parts_of
from tracegrad.purity.code_facts import Mentions, family
from tracegrad.purity.effects import Effect, Kind
from tracegrad.purity.library import Library, Trust
from tracegrad.purity.memory import NotOwned, apart, owner
from tracegrad.purity.observation import Observation
from tracegrad.purity.part import Child, Part, View
from tracegrad.purity.prediction import MOST_OBJECTS, Prediction, Root
from tracegrad.purity.values import PLAIN
from tracegrad.source_lines import first_line

MOST_REFUSALS = 20
SIMPLE = PLAIN | {BuiltinFunctionType}  # judged at each route anew; no second route is compared with the first
IS_CONSTANT = "{p} is {0}"
FEW = 4                                 # as many are compared pair by pair
INLINE = (int, bool, type(None))        # constants that are written into the text; so are short names


@dataclass(frozen=True, slots=True, eq=False)
class ReadSet:
    """What a run read. `tensors` are the Tensors it can have read, in the order in which `guards.check` returns them."""

    tensors: tuple[Any, ...]
    guards: Guards
    refusals: tuple[Aborted, ...]
    _slots: dict[Hashable, Slot]
    _writer: _Writer

    def slot(self, effect: Effect) -> Slot | None:
        """Where the replaced Tensor of an effect is to be written on replay; None if that cannot be found again."""
        return self._slots.get(effect.place)

    def source(self, o: Any) -> Callable[[tuple, Mapping[str, Any]], Any] | None:
        """How to find a captured object again: a container, an instance, a function that the run may have read.

        None for Tensors, plain values and everything else that the walk did not meet. A result that is such an object
        must be returned by its source: a copy would not be the same.
        """
        return self._writer.source(o, self.guards)


def read_set(prediction: Prediction, seen: Observation, changes: Collection[Effect], *,
             lifted: Collection[str] = (), grads_read: Collection[Any] = (), written: Collection[Any] = ()) -> ReadSet:
    """Guards for everything that the run read.

    Numbers whose route is in `lifted` (`args[1]`, `kwargs['lr']`) are inputs: only their type is guarded. The grads of
    the Tensors in `grads_read` are followed. Tensors in `written` were written in place: no other Tensor may share
    their memory.
    """
    writer = _Writer(prediction, seen, frozenset(lifted), frozenset(map(id, grads_read)))
    slots = [e for e in changes if e.kind is Kind.SLOT]
    with _as_before(prediction, slots):
        writer.write(frozenset(map(id, written)), slots)
    refusals = [*seen.refusals, *(e.refusal for e in changes if e.refusal is not None), *writer.refusals]
    guards = Guards(tuple(writer.sources), writer.lines, writer.leaves, writer.constants)
    found = {key: guards.slot(*place) for key, place in writer.slots.items()}
    refusals += [Aborted(Abort.EFFECT, f"{e.what}, which cannot be found again") for e in slots
                 if e.place not in found]
    return ReadSet(tuple(writer.tensors), guards, tuple(dict.fromkeys(refusals)), found, writer)


@contextmanager
def _as_before(prediction: Prediction, slots: Collection[Effect]) -> Iterator[None]:
    """Put the Tensors back that the run replaced; then the new ones again."""
    for e in slots:
        _store(e, e.before)
    try:
        yield
    finally:
        for e in slots:
            _store(e, e.after)


def _store(e: Effect, tensor: Any) -> None:
    """Do by hand what the child's `write` does in generated code."""
    names = {"owner": e.owner, "t": tensor, **{f"k{i}": c for i, c in enumerate(e.child.constants)}}
    space = "object.__getattribute__(owner, '__dict__')"
    assert e.child.write is not None
    exec(e.child.write.format(*(f"k{i}" for i in range(len(e.child.constants))), p="owner", d=space), names)


class _Writer:
    """Walks over what was read and writes the lines of the guards."""

    def __init__(self, prediction: Prediction, seen: Observation, lifted: frozenset[str], grads_read: frozenset[int]):
        self.prediction, self.seen, self.lifted = prediction, seen, lifted
        self.library: Library = prediction.library
        self.view = View(self._mentions(), self.library, writes_guards=True, grads_read=grads_read, tensor_states={
            id(entry.object): entry.state for entry in prediction.snapshot if entry.is_tensor})
        self.lines: list[Line] = []
        self.constants: dict[str, Any] = {}
        self.refusals: list[Aborted] = []
        self.tensors: list[Any] = []
        self.leaves: list[str] = []
        self.sources: list[str] = []
        self.slots: dict[Hashable, tuple[str, list[Line], str, str]] = {}
        self._names: dict[int, str] = {}                    # constant -> its name
        self._variables: dict[int, str] = {}                # object -> the variable that holds it
        self._made_by: dict[str, tuple[Line, str | None]] = {}      # variable -> the statement and what it reads from
        self._values: set[int] = set()                      # objects that may be used other than by being called
        self._variable_count = 0
        self._known_routes: dict[str, str] = {}             # variable -> where its object was found first
        self._once: set[Hashable] = set()
        self._mutable: list[str] = []
        self._reached: set[int] = set()                     # code of functions that the walk reached
        self._keep: list[Any] = []
        self._wanted: set[Hashable] = set()

    def _mentions(self) -> Mentions:
        """What the code that ran mentions. Code of the library reads nothing that is not its own."""
        mentions = Mentions(code for code in self.seen.codes.values()
                            if self.library.trust(code) in (None, Trust.STANDARD))
        mentions.attributes |= self.prediction.names_met
        mentions.by_identity |= self.seen.left_by_error and mentions.by_identity_if_raised
        return mentions

    def write(self, written: frozenset[int], slots: Collection[Effect]) -> None:
        prediction = self.prediction
        self._wanted = {e.place for e in slots}
        if not prediction.complete:
            self.refuse(Abort.HIDDEN_STATE, f"more than {MOST_OBJECTS} objects are in reach")
        self._test(f"len(args) == {len(prediction.args)}", "args", "has length", (len(prediction.args),))
        if prediction.kwargs:
            names = list(prediction.kwargs)
            self._test(f"[*kwargs] == {self._constant(names)}", "kwargs", "has the keys", (names,))
        else:
            self._test("not kwargs", "kwargs", "is empty", ())
        for root in prediction.roots:
            self._walk(root)
        if unmentioned := self.view.names_met - self.view.mentions.attributes:
            self.refuse(Abort.HIDDEN_STATE, f"attributes are read that no code names: {', '.join(sorted(unmentioned))}")
        self._write_aliases(written)
        self._write_settings()
        self._check_coverage()

    def refuse(self, reason: Abort, detail: str, line: str | None = None) -> None:
        """Note why the run cannot be replayed."""
        if len(self.refusals) < MOST_REFUSALS:
            self.refusals.append(Aborted(reason, detail, line))

    # ---- objects ------------------------------------------------------------------------------------------------------

    def _walk(self, root: Root) -> None:
        """Everything in reach of a root, an object before what is below it and siblings in their order."""
        first = Child(root.route, root.value, root.read, root.constants, root.via, absolute=True)
        todo: list[tuple[Child, str | None, str | None, str]] = [(first, None, None, "")]      # child, {p}, {d}, its route
        while todo and len(self.refusals) < MOST_REFUSALS:
            child, owner, space, above = todo.pop()
            route = child.route if child.absolute else above + child.route
            if child.once is not None:
                if child.once in self._once:
                    continue
                self._once.add(child.once)
            todo += reversed(self._visit(child, owner, space, route))

    def _visit(self, child: Child, owner: str | None, space: str | None, route: str) -> list[tuple[Child, str | None, str | None, str]]:
        o, simple = child.value, type(child.value) in SIMPLE
        expression = owner if child.read is None else self._fill(child.read, owner, space, child.constants)
        assert expression is not None
        if route in self.lifted:
            self._test(f"type({expression}) is {self._constant(type(o))}", route, "has type", (type(o),))
            return []
        as_value = self.view.is_value(child.via)
        if not simple and (known := self._variables.get(id(o))) is not None:
            if known != expression:
                self._test(f"{expression} is {known}", route, "is the same object as", (self._known_routes[known],))
            if type(o) is not FunctionType or not as_value or id(o) in self._values:
                return []
            self._values.add(id(o))         # a function that was met as something called may now be asked for more
            return self._write_part(o, parts_of(self.view, o, child.via), known, self._known_routes[known])
        if as_value:
            self._values.add(id(o))
        part = parts_of(self.view, o, child.via)
        if part.refusal:
            self.refuse(Abort.HIDDEN_STATE, f"{route}: {part.refusal}")
        if part.conditions and part.conditions[0].test == IS_CONSTANT:
            read, first = self._constant(o), part.conditions.pop(0)        # what is known to be o may be called that
            if expression != read:
                self._test(f"{expression} is {read}", route, first.says, (o,))
        elif child.read is None:
            read = expression
        else:
            read = self._new_variable()
            reads_from = space if space is not None and "{d}" in child.read else owner
            self._add(Line(f"{read} = {expression}", route), read, reads_from)
        if not simple:
            self._variables[id(o)] = read
            self._known_routes[read] = route
            self._keep.append(o)
        if part.function is not None:
            self._reached.update(map(id, family(part.function.__code__)))
        return self._write_part(o, part, read, route)

    def _write_part(self, o: Any, part: Part, p: str, route: str) -> list[tuple[Child, str | None, str | None, str]]:
        d = None
        for c in part.conditions:
            if c.once is not None:
                if c.once in self._once:
                    continue
                self._once.add(c.once)
            if d is None and "{d}" in c.test:
                d = self._open_namespace(part, p, route)
            self._test(self._fill(c.test, p, d, c.constants), route, c.says, c.constants)
        if part.is_tensor:
            self.tensors.append(o)
            self.leaves.append(p)
            self.sources.append(route)
        elif part.mutable:
            self._mutable.append(p)
        if d is None and any(c.read and "{d}" in c.read for c in part.children):
            d = self._open_namespace(part, p, route)
        below: list[tuple[Child, str | None, str | None, str]] = []
        unpacked = [c for c in part.children if c.read is None]
        variables = iter(self._unpack(part, p, unpacked, route))
        for c in part.children:
            below.append((c, next(variables) if c.read is None else p, d, route))
            if c.place(o) in self._wanted and c.write is not None:
                self._make_slot(o, c, p, d, route)
        return below

    def _open_namespace(self, part: Part, p: str, route: str) -> str:
        assert part.namespace is not None
        d = self._new_variable()
        self._add(Line(f"{d} = {part.namespace.format(p=p)}", route), d, p)
        return d

    def _unpack(self, part: Part, p: str, children: list[Child], route: str) -> list[str]:
        if not children:
            return []
        assert part.unpack is not None
        variables = [self._new_variable() for _ in children]
        line = Line(f"{', '.join(variables)}, = {part.unpack.format(p=p)}", route)
        self.lines.append(line)
        self._made_by.update(dict.fromkeys(variables, (line, p)))
        return variables

    def _make_slot(self, owner: Any, child: Child, p: str, d: str | None, above: str) -> None:
        """Where to write child of owner, with the statements that lead there."""
        assert child.write is not None
        write = self._fill(child.write, p, d, child.constants)
        place, _, _ = write.rpartition(" = ")
        read = place or f"slot_value({p}, {self._fill('{0}', p, d, child.constants)})"
        reads = self._reads_to(d if d is not None and "{d}" in child.write else p)
        route = child.route if child.absolute else above + child.route
        self.slots[child.place(owner)] = route, reads, read, write

    def _reads_to(self, variable: str | None) -> list[Line]:
        """The statements that lead to a variable, from the start."""
        reads: list[Line] = []
        while variable is not None and variable in self._made_by:
            line, variable = self._made_by[variable]
            reads.insert(0, line)
        return reads

    def source(self, o: Any, guards: Guards) -> Callable[[tuple, Mapping[str, Any]], Any] | None:
        """See ReadSet.source."""
        variable = self._variables.get(id(o))
        if variable is None or variable in self.leaves:
            return None
        return guards.slot(self._known_routes[variable], self._reads_to(variable), variable, "pass").read

    # ---- lines --------------------------------------------------------------------------------------------------------

    def _add(self, line: Line, variable: str, reads_from: str | None) -> None:
        self.lines.append(line)
        self._made_by[variable] = line, reads_from

    def _test(self, text: str, route: str, says: str, expected: tuple[Any, ...]) -> None:
        self.lines.append(Line(text, route, True, says, expected))

    def _new_variable(self) -> str:
        self._variable_count += 1
        return f"v{self._variable_count}"

    def _fill(self, template: str, p: str | None, d: str | None, constants: tuple[Any, ...]) -> str:
        return template.format(*map(self._constant, constants), p=p, d=d)

    def _constant(self, value: Any) -> str:
        if type(value) in INLINE or type(value) is str and value.isidentifier():
            return repr(value)
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = f"k{len(self.constants)}"
            self.constants[name] = value
        return name

    # ---- what concerns the run as a whole -----------------------------------------------------------------------------

    def _write_aliases(self, written: frozenset[int]) -> None:
        """Tensors that were distinct are distinct; so is the memory of those that were written; and, where code
        compares, so are other objects that can change."""
        if len(self.leaves) > 1:
            self._test(_distinct(self.leaves), "the Tensors", "are distinct", ())
        if written & set(map(id, self.tensors)) and len(self.leaves) > 1:
            self._write_memory_groups(written)
        if len(self._mutable) > 1 and self.view.mentions.compares:
            self._test(_distinct(self._mutable), "the objects in reach", "are distinct", ())

    def _write_memory_groups(self, written: frozenset[int]) -> None:
        """Memory that is owned apart stays apart; views of one array stay views of one array, and no others become so."""
        groups: dict[int, list[str]] = {}
        foreign: list[str] = []
        for tensor, variable in zip(self.tensors, self.leaves):
            array = self._array_text(variable)
            try:
                key = id(owner(self._array(tensor)))
            except NotOwned:
                foreign.append(array)
            else:
                whole = self._array(tensor).base is None
                groups.setdefault(key, []).append(array if whole else f"owner({array})")
                if whole:
                    self._test(f"{array}.base is None", "the Tensors", "own their memory", ())
        for first, *others in groups.values():
            for other in others:
                self._test(f"{other} is {first}", "the Tensors", "share memory as they did", ())
        if len(groups) > 1:
            self._test(_distinct([first for first, *_ in groups.values()]), "the Tensors", "share no memory", ())
        if foreign:
            targets = [self._array_text(v) for t, v in zip(self.tensors, self.leaves) if id(t) in written]
            if not apart([self._array(t) for t in self.tensors if id(t) in written], [
                    self._array(t) for t, v in zip(self.tensors, self.leaves) if self._array_text(v) in foreign]):
                self.refuse(Abort.VIEW_WRITE, "memory that is not NumPy's own")
            self._test(f"apart(({', '.join(targets)},), ({', '.join(foreign)},))", "the Tensors", "share no memory", ())

    def _array(self, tensor: Any) -> Any:
        return getattr(tensor, self.library.layout.array.removeprefix("{p}."))

    def _array_text(self, variable: str) -> str:
        return self.library.layout.array.format(p=variable)

    def _write_settings(self) -> None:
        before = dict(self.prediction.settings)
        for s in (*(s for s in self.library.settings if s.guarded), *self.view.settings.values()):
            value = before.get(s.name, s.read()) if s.name in before else s.read()
            self._test(f"{self._constant(s.read)}() == {self._constant(value)}", s.name, "is", (value,))

    def _check_coverage(self) -> None:
        for key, code in self.seen.codes.items():
            if key not in self._reached and self.library.trust(code) is None:
                self.refuse(Abort.UNSEEN_CODE, f"{code.co_qualname} ran, and no guard watches it", first_line(code))


def _distinct(names: list[str]) -> str:
    """That no two of these are the same object."""
    if len(names) <= FEW:
        return " and ".join(f"{a} is not {b}" for a, b in itertools.combinations(names, 2))
    return f"len({{{', '.join(f'id({name})' for name in names)}}}) == {len(names)}"
