"""Part: what can be read from one object, and how generated code reads and checks it again.

Templates are text for str.format: {p} is the object, {d} its namespace (see Part.namespace), {0}, {1}, ... constants.

    a list of two   ->   Condition("type({p}) is {0}", "has type", (list,)), Condition("{1}({p}) == {0}", ...)
                         unpack "{p}"; Child("[0]", first), Child("[1]", second)
"""
from __future__ import annotations

import decimal
import locale
from collections.abc import Hashable, Mapping
from functools import cached_property
from types import FunctionType
from typing import Any, NamedTuple

from tracegrad.purity.classes import SPECIAL
from tracegrad.purity.code_facts import Mentions
from tracegrad.purity.library import Library, Setting


class Absent:
    """Stands for an attribute, a variable or a cell that has no value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<absent>"


ABSENT = Absent()


class Condition(NamedTuple):
    """What must hold of an object. `says` is the middle of a sentence whose end is the first constant."""

    test: str
    says: str
    constants: tuple[Any, ...] = ()
    once: Hashable = None           # conditions with equal `once` are the same


class Child(NamedTuple):
    """Something one step below an object.

    `route` is the text of the step (or of the whole route, where `absolute`); `read` is None for what the parent's
    `unpack` gives; `write` stores variable `t` in the place of the child; `via` is the name it is read by, if code
    mentions that. Children with equal `once` are the same, whatever they are a child of.
    """

    route: str
    value: Any
    read: str | None = None
    constants: tuple[Any, ...] = ()
    via: str | None = None
    write: str | None = None
    once: Hashable = None
    absolute: bool = False

    def place(self, owner: Any) -> Hashable:
        """What this child of `owner` has in common with every other way to the same place."""
        return self.once or (id(owner), self.route)


class Part:
    """One object, taken apart. (No struct: a walk makes hundreds.)

    `state` is what it holds beside its children, comparable with ==; `names` is its whole namespace, for what may be
    changed without being read; `refusal` says why guards cannot watch it.
    """

    __slots__ = ("conditions", "children", "unpack", "namespace", "state", "names", "mutable", "is_tensor", "function",
                 "refusal")

    def __init__(self, conditions: list[Condition] | None = None, children: list[Child] | None = None,
                 unpack: str | None = None, namespace: str | None = None, state: Any = None,
                 names: dict[str, Any] | None = None, mutable: bool = False, is_tensor: bool = False,
                 function: FunctionType | None = None, refusal: str | None = None):
        self.conditions: list[Condition] = [] if conditions is None else conditions
        self.children: list[Child] = [] if children is None else children
        self.unpack, self.namespace, self.state, self.names = unpack, namespace, state, names
        self.mutable, self.is_tensor = mutable, is_tensor
        self.function = function                    # whose code ran, or may
        self.refusal = refusal


def is_same(o: Any, says: str = "is still") -> Condition:
    """The object itself and no other."""
    return Condition("{p} is {0}", says, (o,))


def has_the_same(names: Mapping[str, Any]) -> Condition:
    """That a namespace holds what it holds now: any of it may be read by a name that is computed."""
    values = tuple(names.values())
    return Condition("len({1}) == len({0}) and all(map(is_, {1}.values(), {0}))", "has the attributes it had:",
                     (values, names), once=("namespace", id(names)))


def unwatched(o: Any, why: str) -> Part:
    """An object that guards cannot watch."""
    return Part([is_same(o)], refusal=why)


class View:
    """What decides how far an object is taken apart: the names that code mentions, and the library.

    `grads_read` are the ids of the Tensors whose grads count, None for all; `tensor_states` is what is known of
    Tensors from before a run; `handed` tells by which names objects are found that are only given to callbacks,
    `held_cells` are the ids of the variables that these share with the function. A view also collects what the walk
    finds beside objects: ambient `settings` that matter, `names_met`, which C code reads on behalf of objects that were
    met, and the `globals_met` so far.
    """

    def __init__(self, mentions: Mentions, library: Library, *, writes_guards: bool = False,
                 tensor_states: dict[int, Any] | None = None, grads_read: frozenset[int] | None = None,
                 handed: dict[str, set[str]] | None = None, held_cells: frozenset[int] = frozenset()):
        self.mentions, self.library, self.writes_guards = mentions, library, writes_guards
        self.tensor_states, self.handed, self.held_cells = tensor_states or {}, handed or {}, held_cells
        self.grads_read = grads_read
        self.names_met: set[str] = set()
        self.globals_met: set[Hashable] = set()
        self.settings: dict[str, Setting] = {}
        if mentions.formats_numbers or mentions.attributes & {"format", "strcoll"}:
            self.needs(NUMBER_LOCALE)

    @cached_property
    def absent(self) -> frozenset[str]:
        """Names that an instance, a module or a function may be asked for."""
        return frozenset(self.mentions.attributes - SPECIAL)

    @cached_property
    def class_absent(self) -> frozenset[str]:
        """Names that a class may be asked for."""
        return frozenset(self.mentions.attributes | SPECIAL)

    def has_none_of(self, names: Mapping[str, Any], test: str = "{1}.keys().isdisjoint({0})", *, of_class: str = "",
                    once: Hashable = None) -> list[Condition]:
        """The condition that what is absent from a namespace stays absent; none where no guards are written."""
        if not self.writes_guards:
            return []
        absent = (self.class_absent if of_class else self.absent).difference(names)
        says = f"{of_class} defines none of" if of_class else "has none of the attributes"
        return [Condition(test, says, (absent, names), once)] if absent else []

    def needs(self, setting: Setting) -> None:
        """Note that an ambient setting matters."""
        self.settings[setting.name] = setting

    def is_value(self, via: str | None) -> bool:
        """May what is read by this name be used other than by being called at once?"""
        return via is None or via in self.mentions.values


def _decimal_context() -> tuple[Any, ...]:
    c = decimal.getcontext()
    return c.prec, c.rounding, c.Emin, c.Emax, c.capitals, c.clamp, tuple(k for k, v in c.traps.items() if v)


NUMBER_LOCALE = Setting("the locale of numbers", lambda: locale.setlocale(locale.LC_NUMERIC))
DECIMAL_CONTEXT = Setting("the decimal context", _decimal_context)
