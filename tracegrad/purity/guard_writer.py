"""GuardWriter: walks over what a run can have read, and writes the lines of its guards.

    model.layers[0].w      v1 = k1['model']            a read
                           type(v1) is k2              a test
                           v2 = v1.__dict__
                           v3 = v2['layers'] ...

1. Each object is read and tested once; a second route to it is tested to lead to the same object.
2. Lines come in the order in which they make later reads safe: no code of the user's runs in a check.
3. Tests of what a module or a class holds, that need nothing but constants, are kept apart, by namespace.
4. NaNs that were one object stay one, and others others: dicts, sets and `in` find a NaN by its identity.
5. What a test has shown to be a constant is called by the constant's name from there on, and needs no variable.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import BuiltinFunctionType, CellType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from tracegrad.aborts import Abort, Aborted
from tracegrad.guards import Guards, Line
from tracegrad.purity.anatomy import parts_of
from tracegrad.purity.code_facts import family
from tracegrad.purity.handed import methods_handed, of_handed
from tracegrad.purity.part import Child, Condition, Part, View
from tracegrad.purity.prediction import Root
from tracegrad.purity.values import PLAIN

MOST_REFUSALS = 20
SIMPLE = PLAIN | {BuiltinFunctionType}  # judged at each route anew; no second route is compared with the first
INLINE = (int, bool, type(None))        # constants that are written into the text; so are short names
IS_CONSTANT = "{p} is {0}"
NAMESPACE_AT = {"global": 0, "entry": 0, "class": 1, "module": 1, "no global": 1, "namespace": 1}
"""Which constant of a child or a condition is the namespace, by the first word of its `once`."""


class Pending(NamedTuple):
    """A child to be visited, with the variables of its owner and of the owner's namespace, and the owner's route."""

    child: Child
    owner: str | None
    space: str | None
    above: str


class Place(NamedTuple):
    """Where a Tensor was replaced: its route, the lines that lead to its owner, the text to read and to write it."""

    route: str
    reads: list[Line]
    read: str
    write: str


class GuardWriter:
    """The guards of one run, while they are written. `wanted` are the places of Tensors that the run replaced."""

    def __init__(self, view: View, lifted: frozenset[str], wanted: frozenset[Hashable]):
        self.view, self.lifted = view, lifted
        self.lines: list[Line] = []
        self.constants: dict[str, Any] = {}
        self.refusals: list[Aborted] = []
        self.namespaces: dict[int, tuple[Mapping[str, Any] | type, list[Line]]] = {}
        self.tensors: list[Any] = []
        self.leaves: list[str] = []                         # their variables
        self.sources: list[str] = []                        # and routes
        self.mutable: list[str] = []                        # variables of other objects that can change
        self.arrays: list[tuple[str, np.ndarray]] = []      # of them the arrays, and their variables
        self._nans: list[tuple[float, str]] = []            # and their variables
        self.reached: set[int] = set()                      # ids of the code of functions that were met
        self.places: dict[Hashable, Place] = {}
        self.visited: set[Hashable] = set()                 # every place that was looked at, wanted or not
        self._wanted = wanted
        self._handed_met: set[int] = set()                  # objects that are the same in every call
        self._names: dict[int, str] = {}                    # constant -> its name
        self._variables: dict[int, str] = {}                # object -> its variable
        self._routes: dict[str, str] = {}                   # variable -> where its object was met first
        self._made_by: dict[str, tuple[Line, str | None]] = {}      # variable -> its line, and the variable that reads
        self._values: set[int] = set()                      # objects that may be used other than by being called
        self._once: set[Hashable] = set()
        self._keep: list[Any] = []                          # so that ids stay theirs
        self._count = 0

    # ---- what others ask for ----------------------------------------------------------------------------------------

    def walk(self, root: Root) -> None:
        """Write guards for everything in reach of a root: an object before what is below it, siblings in order."""
        first = Child(root.route, root.value, root.read, root.constants, root.via, absolute=True)
        todo = [Pending(first, None, None, "")]
        while todo and len(self.refusals) < MOST_REFUSALS:
            pending = todo.pop()
            once = pending.child.once
            if once is None or once not in self._once:
                self._once.add(once)
                todo += reversed(self._visit(*pending))

    def test(self, text: str, route: str, says: str, expected: tuple[Any, ...] = (),
             namespace: Mapping[str, Any] | type | None = None) -> None:
        """Write one guard; if it is on a namespace and on nothing that may change beside it, among those."""
        self._lines_of(namespace).append(Line(text, route, True, says, expected))

    def watched(self) -> list[tuple[Mapping[str, Any] | type, list[Line]]]:
        """The namespaces that are watched as such, with their guards."""
        return list(self.namespaces.values())

    def refuse(self, reason: Abort, detail: str, line: str | None = None) -> None:
        """Note why the run cannot be replayed."""
        if len(self.refusals) < MOST_REFUSALS:
            self.refusals.append(Aborted(reason, detail, line))

    def constant(self, value: Any) -> str:
        """How a constant is written."""
        if type(value) in INLINE or type(value) is str and value.isidentifier():
            return repr(value)
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = f"k{len(self.constants)}"
            self.constants[name] = value
        return name

    def has_met(self, o: Any) -> bool:
        """Was it met on the walk, and looked into?"""
        return id(o) in self._variables and id(o) not in self._handed_met

    def source(self, o: Any, guards: Guards) -> Callable[[tuple, Mapping[str, Any]], Any] | None:
        """How to find an object again; None for Tensors, plain values and what was not met."""
        if id(o) in self._handed_met:
            return lambda args, kwargs: o
        variable = self._variables.get(id(o))
        if variable is None or variable in self.leaves:
            return None
        return guards.slot(self._routes[variable], self._reads_to(variable), variable, "pass").read

    # ---- objects -----------------------------------------------------------------------------------------------------

    def _visit(self, child: Child, owner: str | None, space: str | None, above: str) -> list[Pending]:
        o, simple = child.value, type(child.value) in SIMPLE
        route = child.route if child.absolute else above + child.route
        expression = owner if child.read is None else self._fill(child.read, owner, space, child.constants)
        assert expression is not None
        if route in self.lifted:
            self.test(f"type({expression}) is {self.constant(type(o))}", route, "has type", (type(o),))
            return []
        handed = None if type(o) in (FunctionType, CellType) else methods_handed(self.view.handed, route)
        known, namespace = None if simple else self._variables.get(id(o)), _namespace_of(child)
        kept_apart = namespace if type(o) in PLAIN and o == o else None     # where the variable of `o` is known, too
        as_value = self.view.is_value(child.via)
        new_as_value = as_value and id(o) not in self._values
        if as_value:
            self._values.add(id(o))
        if known is not None:
            if handed is None and id(o) in self._handed_met:
                self.refuse(Abort.HIDDEN_STATE, f"{route}: a callback may change it, and the function reads it")
            if known != expression:
                self.test(f"{expression} is {known}", route, "is the same object as", (self._routes[known],),
                          namespace if known in self.constants else None)
            if type(o) is not FunctionType or not new_as_value:
                return []
            return self._write_part(o, parts_of(self.view, o, child.via), known, self._routes[known])
        if handed is None:
            part = parts_of(self.view, o, child.via)
        else:
            part = of_handed(o, handed)
            self._handed_met.add(id(o))
        if part.refusal:
            self.refuse(Abort.HIDDEN_STATE, f"{route}: {part.refusal}")
        if part.conditions and part.conditions[0].test == IS_CONSTANT:
            variable, first = self.constant(o), part.conditions.pop(0)
            if expression != variable:
                self.test(f"{expression} is {variable}", route, first.says, (o,), namespace)
        elif child.read is None or expression in self.constants:
            variable = expression
        else:
            reads_from = space if space is not None and "{d}" in child.read else owner
            variable = self._assign(expression, route, reads_from, kept_apart)
        if not simple:
            self._variables[id(o)] = variable
            self._routes[variable] = route
            self._keep.append(o)
        if type(o) is float and o != o:
            for nan, other in self._nans:
                self.test(f"{variable} is {'' if nan is o else 'not '}{other}", route, "is the NaN that it was")
            self._nans.append((o, variable))
        return self._write_part(o, part, variable, route, kept_apart)

    def _write_part(self, o: Any, part: Part, p: str, route: str,
                    namespace: Mapping[str, Any] | None = None) -> list[Pending]:
        """The tests of one object, which is a value found in `namespace`, if given; gives its children."""
        if part.function is not None:
            self.reached.update(map(id, family(part.function.__code__)))
        d = None
        if part.namespace is not None and any("{d}" in text for text in (
                *(c.test for c in part.conditions), *(c.read or "" for c in part.children))):
            d = self._assign(part.namespace.format(p=p), route, p)
        for condition in part.conditions:
            if condition.once is None or condition.once not in self._once:
                self._once.add(condition.once)
                text = self._fill(condition.test, p, d, condition.constants)
                self.test(text, route, condition.says, condition.constants, _namespace_of(condition) or namespace)
        if part.is_tensor:
            self.tensors.append(o)
            self.leaves.append(p)
            self.sources.append(route)
        elif part.mutable:
            self.mutable.append(p)
            if isinstance(o, np.ndarray):
                self.arrays.append((p, o))
        for child in part.children:
            self.visited.add(child.place(o))
            if child.write is not None and child.place(o) in self._wanted:
                self._note_place(o, child, child.write, p, d, route)
        unpacked = iter(self._unpack(part, p, route))
        return [Pending(child, next(unpacked) if child.read is None else p, d, route) for child in part.children]

    def _unpack(self, part: Part, p: str, route: str) -> list[str]:
        """Variables for the children that one statement reads."""
        variables = [self._new_variable() for child in part.children if child.read is None]
        if variables:
            assert part.unpack is not None
            line = Line(f"{', '.join(variables)}, = {part.unpack.format(p=p)}", route)
            self.lines.append(line)
            self._made_by.update(dict.fromkeys(variables, (line, p)))
        return variables

    def _note_place(self, owner: Any, child: Child, write: str, p: str, d: str | None, above: str) -> None:
        text = self._fill(write, p, d, child.constants)
        place, _, _ = text.rpartition(" = ")
        read = place or f"slot_value({p}, {self.constant(child.constants[0])})"
        route = child.route if child.absolute else above + child.route
        reads = self._reads_to(d if d is not None and "{d}" in write else p)
        self.places[child.place(owner)] = Place(route, reads, read, text)

    # ---- lines -------------------------------------------------------------------------------------------------------

    def _lines_of(self, namespace: Mapping[str, Any] | type | None) -> list[Line]:
        return self.lines if namespace is None else self.namespaces.setdefault(id(namespace), (namespace, []))[1]

    def _assign(self, expression: str, route: str, reads_from: str | None,
                namespace: Mapping[str, Any] | None = None) -> str:
        """A new variable for what is read from another."""
        variable = self._new_variable()
        line = Line(f"{variable} = {expression}", route)
        self._lines_of(namespace).append(line)
        self._made_by[variable] = line, reads_from
        return variable

    def _new_variable(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _fill(self, template: str, p: str | None, d: str | None, constants: tuple[Any, ...]) -> str:
        return template.format(*map(self.constant, constants), p=p, d=d)

    def _reads_to(self, variable: str | None) -> list[Line]:
        """The lines that lead to a variable, from the start."""
        reads: list[Line] = []
        while variable is not None and variable in self._made_by:
            line, variable = self._made_by[variable]
            reads.insert(0, line)
        return reads


def _namespace_of(thing: Child | Condition) -> Mapping[str, Any] | None:
    """The namespace of a module or a class that this is a read or a test of, and of nothing else."""
    kind = thing.once[0] if isinstance(thing.once, tuple) else None
    return thing.constants[NAMESPACE_AT[kind]] if kind in NAMESPACE_AT else None
