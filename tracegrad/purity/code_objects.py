"""The parts of functions, classes, modules and of everything else that can be called.

A function whose code ran is watched whole: its code, defaults, cells and the globals it names. One that did not run
is watched by identity. Of a class every special method and every mentioned name is watched at each step of its
method resolution order, so that a patched, added or removed method is seen.
"""
from __future__ import annotations

import abc
import decimal
import re
import sys
import types
from collections.abc import Mapping
from typing import Any

from tracegrad.purity.classes import SPECIAL
from tracegrad.purity.code_facts import facts_of, family
from tracegrad.purity.declared_pure import (
    HEAP_TYPE,
    IMMUTABLE_TYPE,
    PURE_METHODS,
    PURE_TYPES,
    c_base,
    is_numpy_value,
    is_of_module,
    is_pure_function,
)
from tracegrad.purity.instances import attribute, reads_every_attribute
from tracegrad.purity.library import Setting, Trust
from tracegrad.purity.part import ABSENT, DECIMAL_CONTEXT, Child, Condition, Part, View, has_the_same, is_same
from tracegrad.purity.values import cell_contents

OUTSIDE_NAMESPACE = ("__name__", "__qualname__", "__doc__", "__module__")
"""Attributes of functions and classes that are not in their namespace."""

BORING = frozenset("""__module__ __doc__ __dict__ __weakref__ __annotations__ __qualname__ __dataclass_fields__
__dataclass_params__ __abstractmethods__ _abc_impl __orig_bases__ __parameters__ __slots__ __match_args__
__static_attributes__ __firstlineno__ __classcell__ __type_params__ __annotate__""".split())
"""Entries of a class's namespace that only code that names them reads."""

FOUND_BY_OTHERS = frozenset({"__dataclass_fields__", "__match_args__"})
"""Those of them that standard modules read by names which they compute: dataclasses.fields, asdict, replace."""

SUPER = "__class__"         # the variable that super() reads without an instruction

MODULE_NAMES = 200          # a module with more is not searched for a name that code computes
MODULE_MACHINERY = frozenset({"__builtins__", "__spec__", "__loader__", "__cached__"})
RECURSION_LIMIT = Setting("the recursion limit", sys.getrecursionlimit)
VIRTUAL_SUBCLASSES = Setting("the registered subclasses of abstract classes", abc.get_cache_token)


# ---- functions -------------------------------------------------------------------------------------------------------

def of_function(view: View, f: types.FunctionType, via: str | None) -> Part:
    trust = view.library.trust(f.__code__)
    if trust is not None:
        part = Part([is_same(f)], _cells(f, "{p}.__closure__", only_callables=trust is not Trust.STANDARD))
    elif not view.mentions.covers(f.__code__):
        part = Part([is_same(f)])
        if view.mentions.catches:       # a call that fails to bind its arguments runs nothing, and may be caught
            part.conditions.append(Condition(
                "{p}.__code__ is {0} and {p}.__defaults__ is {1} and {p}.__kwdefaults__ is {2}",
                "has the code and the defaults", (f.__code__, f.__defaults__, f.__kwdefaults__)))
            if f.__kwdefaults__:
                part.children.append(Child(".__kwdefaults__", f.__kwdefaults__, "{p}.__kwdefaults__"))
    else:
        part = _ran(view, f)
    part.names = f.__dict__
    if trust in (Trust.CORE, Trust.NUMPY) or not view.is_value(via):
        return part
    part.children += _outside_namespace(view, f)
    part.conditions += view.has_none_of(f.__dict__, "(not {p}.__dict__ or {p}.__dict__.keys().isdisjoint({0}))")
    chosen = f.__dict__ if view.mentions.computed else view.mentions.attributes.intersection(f.__dict__)
    part.children += [attribute(n, f.__dict__[n], "{p}.__dict__", not view.mentions.computed) for n in chosen]
    return part


def _ran(view: View, f: types.FunctionType) -> Part:
    code, defaults, keyword_defaults = f.__code__, f.__defaults__, f.__kwdefaults__
    part = Part([Condition("({p} is {0} or type({p}) is FunctionType and {p}.__globals__ is {1})", "is still",
                           (f, f.__globals__)),
                 Condition("{p}.__code__ is {0}", "has the code", (code,))], function=f)
    if defaults is None and keyword_defaults is None:
        part.conditions.append(Condition("{p}.__defaults__ is {p}.__kwdefaults__ is None", "has no defaults"))
    else:
        part.children += [Child(".__defaults__", defaults, "{p}.__defaults__"),
                          Child(".__kwdefaults__", keyword_defaults, "{p}.__kwdefaults__")]
    if f.__closure__:
        part.namespace = "{p}.__closure__"
        used = {SUPER}.union(*(facts_of(c).cells for c in family(code) if view.mentions.covers(c)))
        part.children += [cell for cell in _cells(f, "{d}") if view.mentions.computed or cell.route in used]
        part.conditions += [Condition(f"{{d}}[{k}] is {{0}}", "shares the variable", (cell,))
                            for k, cell in enumerate(f.__closure__) if id(cell) in view.held_cells]
    for c in family(code):
        if view.mentions.covers(c):
            _add_globals(view, part, f, facts_of(c).globals)
            _add_imports(part, f, facts_of(c).imports)
            if reflects := facts_of(c).reflects:
                part.refusal = f"{c.co_qualname} reads {', '.join(sorted(reflects))}"
    return part


def _cells(f: types.FunctionType, space: str, only_callables: bool = False) -> list[Child]:
    """The closure, at `space`. Of the library's functions only what they may call back matters."""
    return [Child(name, cell, f"{space}[{k}]", absolute=True)
            for k, (name, cell) in enumerate(zip(f.__code__.co_freevars, f.__closure__ or ()))
            if not only_callables or callable(value := cell_contents(cell)) and not issubclass(type(value), type)]


def _add_globals(view: View, part: Part, f: types.FunctionType, names: tuple[str, ...]) -> None:
    """The globals that f names. Guards watch one that several functions name as a part of the first."""
    own, inherited = f.__globals__, builtins_of(f)
    for n in names:
        once = "global", id(own), n
        if view.writes_guards:
            if once in view.globals_met:
                continue
            view.globals_met.add(once)
        if n in own:
            part.children.append(Child(n, own[n], "{0}[{1}]", (own, n), n, "{0}[{1}] = t", once, True))
        else:
            absent = Condition("{0} not in {1}", "is not a global", (n, own), ("no global", id(own), n))
            part.conditions.append(absent)
            part.children.append(_builtin(inherited, n))


def builtins_of(f: types.FunctionType) -> dict[str, Any]:
    """Where a function finds names that are not in its globals."""
    namespace: dict[str, Any] = object.__getattribute__(f, "__builtins__")
    return namespace


def _builtin(namespace: dict[str, Any], n: str) -> Child:
    return Child(n, namespace.get(n, ABSENT), "{0}.get({1}, ABSENT)", (namespace, n), via=n,
                 once=("global", id(namespace), n), absolute=True)


def _add_imports(part: Part, f: types.FunctionType, imports: frozenset[str]) -> None:
    for n in sorted({i for name in imports for i in (name, name.partition(".")[0])}):
        part.children.append(Child(n, sys.modules.get(n, ABSENT), "modules.get({0}, ABSENT)", (n,), via=n,
                                   once=("import", n), absolute=True))
    if imports:
        part.children.append(_builtin(builtins_of(f), "__import__"))


def _outside_namespace(view: View, o: Any) -> list[Child]:
    m = view.mentions
    return [Child(f".{n}", value, "{p}." + n) for n in OUTSIDE_NAMESPACE
            if n in m.attributes or m.computed or m.by_identity and n in ("__qualname__", "__module__")
            if type(value := getattr(o, n, None)) is str]


def of_method(view: View, o: types.MethodType) -> Part:
    return Part([Condition("type({p}) is {0}", "has type", (types.MethodType,))],
                [Child(".__func__", o.__func__, "{p}.__func__"), Child(".__self__", o.__self__, "{p}.__self__")])


# ---- callables of C --------------------------------------------------------------------------------------------------

def of_builtin(view: View, o: Any, via: str | None) -> Part:
    """A builtin function, or a method of an object of C. Called directly it is judged when it is called."""
    if is_of_module(o) or isinstance(o.__self__, type):
        judged = is_pure_function(o) or not view.is_value(via)
        if o is sys.getrecursionlimit:
            view.needs(RECURSION_LIMIT)
        condition = is_same(o) if not isinstance(o.__self__, type) else Condition("{p} == {0}", "is still", (o,))
        why = f"{_called(o)} is not known to be pure, and is used as a value"
        return Part([condition], refusal=None if judged else why)
    return Part([Condition("type({p}) is {0} and {p}.__name__ == {1}", "has type", (type(o), o.__name__))],
                [Child(".__self__", o.__self__, "{p}.__self__")],
                refusal=None if is_pure_function(o) else f"{_called(o)} is not known to be pure")


def _called(o: Any) -> str:
    return f"{o.__module__}.{o.__qualname__}" if o.__module__ else o.__qualname__


def of_c_descriptor(view: View, o: Any) -> Part:
    pure = o.__objclass__ in PURE_METHODS or is_numpy_value(o.__objclass__) or issubclass(o.__objclass__, BaseException)
    return Part([is_same(o)], refusal=None if pure else f"{o.__qualname__} is not known to be pure")


def of_method_wrapper(view: View, o: Any) -> Part:
    return Part([Condition("type({p}) is {0} and {p}.__name__ == {1}", "has type", (type(o), o.__name__))],
                [Child(".__self__", o.__self__, "{p}.__self__")])


def of_operator_getter(view: View, o: Any) -> Part:
    """An attrgetter or methodcaller reads attributes that no code mentions."""
    view.names_met.update(re.findall(r"\w+", repr(o)))
    return Part([is_same(o)])


# ---- descriptors, modules --------------------------------------------------------------------------------------------

def of_property(view: View, o: property) -> Part:
    return Part([is_same(o)], [_fixed(f".{n}", getattr(o, n)) for n in ("fget", "fset", "fdel")])


def of_bound_function(view: View, o: Any) -> Part:
    return Part([is_same(o)], [_fixed("", o.__func__)])


def _fixed(route: str, value: Any) -> Child:
    """What an object that is known by its identity holds and cannot exchange."""
    return Child(route, value, "{0}", (value,))


def of_module(view: View, o: types.ModuleType) -> Part:
    names, trust = o.__dict__, view.library.trust_module(o)
    part = Part([is_same(o)], names=None if trust else names)
    chosen = view.mentions.attributes.intersection(names)
    if view.mentions.computed and trust is not None:
        chosen |= _patched(view, names)
    if view.mentions.computed and trust is None:
        if len(names) > MODULE_NAMES:
            part.refusal = f"an attribute of module {names.get('__name__')} is read by a name that is computed"
        else:
            chosen = names.keys() - MODULE_MACHINERY
    computed = view.mentions.computed and trust is None
    part.children = [Child(f".{n}", names[n], "{0}[{1}]", (names, n), via=None if computed else n,
                           write="{0}[{1}] = t", once=("global", id(names), n)) for n in sorted(chosen)]
    if trust is not None:
        if view.mentions.computed:
            part.conditions.append(has_the_same(names))
        return part
    if "__getattr__" in names and "__getattr__" not in chosen:
        part.children.append(Child(".__getattr__", names["__getattr__"], "{0}[{1}]", (names, "__getattr__")))
    if type(o) is not types.ModuleType:
        part.children.append(Child(" (its class)", type(o), "type({p})"))
    part.conditions += view.has_none_of(names, once=("module", id(names)))
    return part


def _patched(view: View, names: Mapping[str, Any]) -> set[str]:
    """The names, in a namespace that is trusted, of functions that are not."""
    return {n for n, value in names.items()
            if type(value) is types.FunctionType and view.library.trust(value.__code__) is None}


# ---- classes ---------------------------------------------------------------------------------------------------------

def of_class(view: View, cls: type) -> Part:
    base, trust = c_base(cls), view.library.trust_class(cls)
    if issubclass(cls, decimal.Decimal):
        view.needs(DECIMAL_CONTEXT)
    if base is cls:
        known = cls in PURE_TYPES or is_numpy_value(cls) or issubclass(cls, BaseException)
        why = f"{cls.__module__}.{cls.__qualname__} is not known to be pure"
        return Part([is_same(cls)], refusal=None if known else why)
    part = Part([is_same(cls)])
    if trust in (Trust.CORE, Trust.NUMPY):
        chosen = view.mentions.attributes & vars(cls).keys()
        if view.mentions.computed:
            part.conditions.append(has_the_same(vars(cls)))
            chosen |= _patched(view, vars(cls))
        elif cls is view.library.tensor:
            chosen |= _patched(view, {n: vars(cls)[n] for n in SPECIAL & vars(cls).keys()})
        _add_entries(view, part, cls, chosen)
        return part
    same_bases = Condition("{1}.__mro__ is {0}", "has the bases", (cls.__mro__, cls), once=("bases", id(cls)))
    part.conditions.append(same_bases)
    part.children += _outside_namespace(view, cls)
    every = reads_every_attribute(view, cls)
    for k in cls.__mro__:
        if not k.__flags__ & HEAP_TYPE or k.__flags__ & IMMUTABLE_TYPE:
            continue
        entries, trusted = vars(k), view.library.trust_class(k) is not None
        if "__match_args__" in view.mentions.attributes and type(names := entries.get("__match_args__")) is tuple:
            view.names_met.update(n for n in names if type(n) is str)
        chosen = {n for n in entries if n in view.mentions.attributes}
        if not trusted:
            unread = BORING - FOUND_BY_OTHERS if every else BORING
            chosen |= {n for n in entries.keys() - unread if every or n in SPECIAL or n[:2] == "__" == n[-2:]}
            part.conditions += view.has_none_of(entries, of_class=k.__qualname__, once=("class", id(k)))
        _add_entries(view, part, k, chosen)
    if isinstance(cls, abc.ABCMeta):
        view.needs(VIRTUAL_SUBCLASSES)
    if type(cls) is not type and not issubclass(type(cls), abc.ABCMeta):
        part.children.append(Child(" (its class)", type(cls), "type({p})"))
    return part


def _add_entries(view: View, part: Part, cls: type, names: set[str]) -> None:
    entries = vars(cls)
    for n in sorted(names):
        part.children.append(Child(f"{cls.__qualname__}.{n}", entries[n], "{0}[{1}]", (entries, n), via=n,
                                   once=("entry", id(cls), n), absolute=True))


def of_c_entry(view: View, o: Any) -> Part:
    """A slot's descriptor, an attribute of a C type, and such: what it is follows from its identity."""
    return Part([is_same(o)])


